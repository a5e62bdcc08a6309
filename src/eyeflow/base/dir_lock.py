"""One daemon for each data directory: a lock that the kernel drops when its process ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why

LOCK_NAME = "lock"


class DataDirLock:
    """Holds `data_dir/lock` until `release`. Raises EyeflowError when another process holds it.

    `daemon` is what runs on the directory, for the message: `node`.
    """

    def __init__(self, data_dir: Path, daemon: str) -> None:
        try:
            self._fd = _open(data_dir / LOCK_NAME)
        except OSError as error:
            raise _unusable(data_dir, error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise _in_use(data_dir, holder, daemon) from error
        with suppress(OSError):  # the number is for people; a full disk must not keep the daemon from its start
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have the directory."""
        os.close(self._fd)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # flock(2) asks for no write access


def _in_use(data_dir: Path, holder: str, daemon: str) -> EyeflowError:
    return EyeflowError(
        f"another {daemon} already runs on {data_dir}",
        cause=f"Process {holder or 'unknown'} holds its lock.",
        next_step=f"Stop that {daemon} first, or give this one another data_dir.",
        code="data_dir_in_use",
    )


def _unusable(data_dir: Path, error: OSError) -> EyeflowError:
    return EyeflowError(
        f"the data directory {data_dir} cannot be used",
        cause=why(error),
        next_step="Check that the disk is not full and that you may write there.",
        code="data_dir",
    )
