"""The cluster's signing key in a file, where several coordinators share a database: the database never holds it.

Whoever reads the database, or a copy of it, could otherwise sign manifests for every node (docs/decisions/0013).
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from eyeflow.base.errors import EyeflowError
from eyeflow.base.private import require_private
from eyeflow.base.reasons import why
from eyeflow.client.profile import write_secret
from eyeflow.protocol.identity import Identity, key_fingerprint

KEY_FILE = "cluster-key"
KEY_BYTES = 32


class ClusterKey:
    """The file `path` with the private Ed25519 key: 64 hexadecimal digits. Call it with what the database knows."""

    def __init__(self, path: Path, random: Random) -> None:
        self.path, self._random = path, random

    def __call__(self, public_key: bytes | None) -> Identity:
        """Return the cluster's key: that of `public_key`, or for None a new one unless there is one.

        Raises EyeflowError when the file is not there or holds the key of another cluster.
        """
        identity = self._read()
        if public_key is None:
            return identity or self._make()
        if identity is None:
            raise self._refusal(public_key, "there is no such file")
        if identity.public_key != public_key:
            raise self._refusal(public_key, f"it is the key of cluster {_short(identity.public_key)}")
        return identity

    def _read(self) -> Identity | None:
        require_private(self.path, "the cluster's key")
        try:
            data = bytes.fromhex(self.path.read_text(encoding="ascii").strip())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unusable(why(error) if isinstance(error, OSError) else "it holds no key") from error
        if len(data) != KEY_BYTES:
            raise self._unusable("it holds no key")
        return Identity(data)

    def _make(self) -> Identity:
        identity = Identity.generate(self._random)
        write_secret(self.path, identity.private_bytes().hex() + "\n")
        return identity

    def _unusable(self, cause: str) -> EyeflowError:
        return EyeflowError(
            f"the cluster's key {self.path} cannot be used",
            cause=cause,
            next_step="copy it from another coordinator of the cluster, or from your backup",
            code="cluster_key",
        )

    def _refusal(self, public_key: bytes, cause: str) -> EyeflowError:
        return EyeflowError(
            f"{self.path} is not the key of the cluster {_short(public_key)}, whose database this is",
            cause=cause,
            next_step=f"copy {KEY_FILE} from the data directory of another coordinator of the cluster (mode 600)",
            code="cluster_key",
        )


def _short(public_key: bytes) -> str:
    return key_fingerprint(public_key)[:16]
