"""Whose programs nodes may trust, said by a root key that the coordinator does not hold. No I/O.

The root, kept offline, signs a list of signer keys with a version that only grows. The coordinator hands the list
on; it can neither make nor change one, nor go back to an older one at a node that has seen a newer one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.protocol import wire
from eyeflow.protocol.identity import KEY_BYTES, SIGNATURE_BYTES, verifies

VERSION_MAX = 2**53 - 1
TEXT_BYTES_MAX = 64 * 1024
_FIELDS = {"version", "createdUs", "expiresUs", "signers", "root", "signature"}


class SignerListError(Exception):
    """A list is malformed, not the root's, or not newer than the one that is known; its message is for people."""


@dataclass(frozen=True, slots=True)
class SignerList:
    """The keys (32 bytes, ascending) of those who may sign programs. `expires_us` 0: never."""

    version: int
    created_us: int
    expires_us: int
    signers: tuple[bytes, ...]
    root: bytes
    signature: bytes = b""

    @property
    def signed_bytes(self) -> bytes:
        """What the root signs: everything but the signature."""
        fields = [self.version, self.created_us, self.expires_us, list(self.signers), self.root]
        return b"eyeflow signers v1\0" + wire.pack(fields)

    @property
    def is_signed(self) -> bool:
        """Whether the signature is by the root that the list names."""
        return verifies(self.root, self.signed_bytes, self.signature)

    def is_expired(self, now_us: int) -> bool:
        """Say whether nothing new may come by this list any more."""
        return 0 < self.expires_us <= now_us

    def text(self) -> str:
        """Return the list as JSON, as it stands in a file and goes over the wire."""
        plain = {
            "version": self.version,
            "createdUs": self.created_us,
            "expiresUs": self.expires_us,
            "signers": [key.hex() for key in self.signers],
            "root": self.root.hex(),
            "signature": self.signature.hex(),
        }
        return json.dumps(plain, indent=1) + "\n"


def make_list(
    version: int, now_us: int, expires_us: int, signers: Collection[bytes], root: bytes, sign: Callable[[bytes], bytes]
) -> SignerList:
    """Return a list that the root signs: `root` is its public key, `sign` signs with the private one."""
    unsigned = SignerList(version, now_us, expires_us, tuple(sorted(set(signers))), root)
    return SignerList(version, now_us, expires_us, unsigned.signers, root, sign(unsigned.signed_bytes))


def parse_list(text: str | bytes) -> SignerList:
    """Return the list that `text` made. Raises SignerListError for another form, or one that its root did not sign."""
    try:
        plain = parse_json(text.encode() if isinstance(text, str) else text, unique_names=True)
    except Unreadable as error:
        raise SignerListError(f"it is {error}") from error
    if not isinstance(plain, dict) or plain.keys() != _FIELDS:
        raise SignerListError("it has other fields than a list of signers")
    version, created_us, expires_us = (_number(plain[name]) for name in ("version", "createdUs", "expiresUs"))
    keys = plain["signers"] if isinstance(plain["signers"], list) else [None]
    signers = tuple(_bytes(key, KEY_BYTES) for key in keys)
    if version < 1 or list(signers) != sorted(set(signers)) or len(signers) > wire.SIGNERS_MAX:
        raise SignerListError(f"its version is 0, its keys do not ascend, or there are more than {wire.SIGNERS_MAX}")
    root, signature = _bytes(plain["root"], KEY_BYTES), _bytes(plain["signature"], SIGNATURE_BYTES)
    made = SignerList(version, created_us, expires_us, signers, root, signature)
    if not made.is_signed:
        raise SignerListError("the root that it names has not signed it")
    return made


def check_newer(new: SignerList, known: SignerList | None) -> bool:
    """Say whether `new` takes the place of `known`: False when it is the same. Raises SignerListError for an older one.

    Another list with the same version is refused, too: of two that a root signed, nobody could say which holds. A new
    root goes on with the versions of the one before: else an old list of that one could come back.
    """
    if known is None or new.version > known.version:
        return True
    if new.version < known.version:
        raise SignerListError(f"version {new.version} is older than version {known.version}, which is known here")
    if new.signed_bytes != known.signed_bytes:
        raise SignerListError(f"it differs from the version {new.version} that is known here")
    return False


class RootTrust:
    """What a node knows of its roots. Without roots it lets every signer pass that the coordinator names."""

    def __init__(self, roots: Collection[bytes]) -> None:
        self.roots = frozenset(roots)
        self.newest: SignerList | None = None

    def take(self, text: str | bytes) -> bool:
        """Take a list that came; say whether it is a new one. Raises SignerListError, and then nothing changes."""
        new = parse_list(text)
        if new.root not in self.roots:
            raise SignerListError("it is signed by a root that this node does not know")
        if not check_newer(new, self.newest):
            return False
        self.newest = new
        return True

    def allowed(self, signers: Collection[bytes]) -> set[bytes]:
        """Return which of the signers that the coordinator names the root allows."""
        if not self.roots:
            return set(signers)
        return set(signers) & set(self.newest.signers if self.newest is not None else ())

    def refusal(self, now_us: int) -> str:
        """Return why no new program may come now, empty when one may."""
        if self.newest is None or not self.newest.is_expired(now_us):
            return ""
        return f"the root's list of signers (version {self.newest.version}) has expired"


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= VERSION_MAX:
        raise SignerListError("a number in it is out of its bounds")
    return value


def _bytes(value: Any, size: int) -> bytes:
    try:
        found = bytes.fromhex(value)
    except (TypeError, ValueError):
        found = b""
    if len(found) != size or value != found.hex():
        raise SignerListError(f"a key or signature in it has not {2 * size} small hex digits")
    return found
