"""Files and directories that others must not reach: what a mode lets them do, and the command that ends it."""

from __future__ import annotations

import shlex
from pathlib import Path

from eyeflow.base.errors import EyeflowError

OTHERS = 0o077
"""Anybody but the owner, in any way: for secrets that eyeflow makes itself."""
STRANGERS = 0o027
"""Anybody but owner and group, and writing by the group: for secrets that an administrator hands to a service."""
WRITERS = 0o022
"""Others who write: for directories, where who may write may put another file in a secret's place."""


def loose(path: Path, forbidden: int = OTHERS) -> str:
    """Return why others may reach `path` although they must not, or an empty text. Raises OSError."""
    mode = path.stat().st_mode & 0o777
    return f"{path} has mode {mode:o}: others may reach it" if mode & forbidden else ""


def mend(path: Path) -> str:
    """Return the command that keeps others out."""
    return f"chmod {700 if path.is_dir() else 600} {shlex.quote(str(path))}"


def require_private(path: Path, what: str, forbidden: int = OTHERS) -> None:
    """Refuse a file or directory that others may reach; one that is not there is for its reader to miss.

    Raises:
        EyeflowError: code `permissions`, with the command that mends it.
    """
    try:
        problem = loose(path, forbidden)
    except OSError:
        return
    if problem:
        raise EyeflowError(
            f"{what} is not safe to use",
            cause=problem,
            next_step=f"{mend(path)}; who could read it may have copied it",
            code="permissions",
        )
