"""One daemon for each data directory: a lock that the kernel drops when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from eyeflow.base.errors import EyeflowError

LOCK_NAME = "lock"


class DataDirLock:
    """Holds `data_dir/lock` until `release`. Raises EyeflowError when another process holds it."""

    def __init__(self, data_dir: Path) -> None:
        self._fd = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise _in_use(data_dir, holder) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have the directory."""
        os.close(self._fd)


def _in_use(data_dir: Path, holder: str) -> EyeflowError:
    return EyeflowError(
        f"another node already runs on {data_dir}",
        cause=f"Process {holder or 'unknown'} holds its lock.",
        next_step="Stop that node first, or give this one another data_dir.",
        code="data_dir_in_use",
    )
