"""Where a client finds its coordinator: `~/.config/eyeflow/client.toml` (0600) and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import tomli_w

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, parse_toml, read_text
from eyeflow.base.reasons import why
from eyeflow.base.record import dataclass
from eyeflow.base.whole_file import write_whole

ENV_URL = "EYEFLOW_COORDINATOR"
ENV_TOKEN = "EYEFLOW_TOKEN"
KNOWN = frozenset({"url", "token", "ca_file"})


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the user's configuration directory for eyeflow (XDG base directory specification)."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "eyeflow"


def profile_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the client profile lies."""
    return config_dir(environ) / "client.toml"


def write_secret(path: Path, text: str) -> None:
    """Write `text` to a file that only its owner may read: atomically, durably, with its directory made (0700)."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, text.encode(), 0o600)
    except OSError as error:
        raise EyeflowError(
            f"cannot write {path}",
            cause=why(error),
            next_step="check that the disk is not full and that you may write there",
            code="cannot_write",
        ) from error


@dataclass(frozen=True, slots=True)
class ClientProfile:
    """The coordinator's URL, a token for it, and a CA file for its certificate (empty: the system's CAs)."""

    url: str
    token: str
    ca_file: str = ""

    def write(self, path: Path) -> None:
        """Write the profile, readable by its owner only."""
        values = {"url": self.url, "token": self.token}
        write_secret(path, tomli_w.dumps(values | ({"ca_file": self.ca_file} if self.ca_file else {})))

    @classmethod
    def load(cls, path: Path | None = None, environ: Mapping[str, str] = os.environ) -> ClientProfile:
        """Return the profile in `path` (default: the user's), overridden by EYEFLOW_COORDINATOR and EYEFLOW_TOKEN.

        Raises EyeflowError: `no_profile` when neither says where the coordinator is, `bad_profile` for a broken file.
        """
        file = path if path is not None else profile_path(environ)
        values = _read(file) if file.exists() else {}
        url, token = environ.get(ENV_URL) or values.get("url", ""), environ.get(ENV_TOKEN) or values.get("token", "")
        if not url or not token:
            missing = "no coordinator" if not url else "no token"
            raise EyeflowError(
                f"{missing} is known",
                cause=f"{file} does not say, and {ENV_URL if not url else ENV_TOKEN} is not set",
                next_step=f"start one here with `eyeflow coordinator start`, or set {ENV_URL} and {ENV_TOKEN}",
                code="no_profile",
            )
        return cls(url.rstrip("/"), token, values.get("ca_file", ""))


PROFILE_BYTES_MAX = 65_536


def _read(path: Path) -> dict[str, str]:
    try:
        mode = path.stat().st_mode
        values = parse_toml(read_text(path, PROFILE_BYTES_MAX))
    except (OSError, Unreadable) as error:
        raise _bad(path, why(error)) from error
    if mode & 0o077:
        raise _bad(path, f"others may read it (mode {mode & 0o777:o})", f"chmod 600 {path}")
    unknown = sorted(values.keys() - KNOWN)
    if unknown or not all(isinstance(value, str) for value in values.values()):
        raise _bad(path, f"it has the unknown key `{unknown[0]}`" if unknown else "a value is not text")
    return values


def _bad(path: Path, cause: str, next_step: str = "mend or remove the file") -> EyeflowError:
    return EyeflowError(
        f"the client profile {path} cannot be used",
        cause=cause,
        next_step=next_step,
        code="bad_profile",
        exit_code=ExitCode.ENVIRONMENT,
    )
