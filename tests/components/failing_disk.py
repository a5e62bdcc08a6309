"""Disks that fail, fill up or lose power, as apsw VFSes: the real SQLite does the real work on them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw


class Disk(apsw.VFS):
    """A disk with switches. `full`, `write_errors` and `sync_errors` make it fail, `sync_errors_left` so many times; `syncs` counts what it was asked.

    `capacity_bytes` is its size, of which `foreign_bytes` hold other files. `dead` is a disk that no call reaches, as
    after a bus error: give `free_bytes` to the store, which asks the directory with it. With `image`, it copies a file there at each sync: what would be left after a power cut. A file that was
    deleted is deleted there too.
    """

    def __init__(self, name: str, image: Path | None = None) -> None:
        self.name, self.image = name, image
        self.full = self.write_errors = self.sync_errors = self.dead = False
        self.capacity_bytes, self.foreign_bytes = 1 << 60, 0
        self.syncs = self.writes = self.sync_errors_left = 0
        super().__init__(name, "")

    def free_bytes(self, directory: Path) -> int:
        if self.dead:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(directory))
        if self.full:
            return 0
        used_bytes = sum(file.stat().st_size for file in directory.iterdir() if file.is_file())
        return max(0, self.capacity_bytes - self.foreign_bytes - used_bytes)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        if self.image is not None:
            (self.image / Path(filename).name).unlink(missing_ok=True)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary")
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.full:
            raise apsw.FullError("no space left on the test's disk")
        growth_bytes = offset + len(data) - (self._path.stat().st_size if self._path.exists() else 0)
        if self._disk.capacity_bytes < 1 << 60 and 0 < growth_bytes > self._disk.free_bytes(self._path.parent):
            raise apsw.FullError("the test's disk is at its capacity")
        if self._disk.write_errors:
            raise apsw.IOError("the test's disk failed")
        self._disk.writes += 1
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.sync_errors or self._disk.sync_errors_left:
            self._disk.sync_errors_left = max(0, self._disk.sync_errors_left - 1)
            raise apsw.IOError("fsync failed on the test's disk")
        self._disk.syncs += 1
        super().xSync(flags)
        if self._disk.image is not None and self._path.exists():
            shutil.copy(self._path, self._disk.image / self._path.name)


@contextmanager
def registered_disk(name: str, image: Path | None = None) -> Iterator[Disk]:
    """Register a disk while the block runs; give its name to the store as `vfs`."""
    disk = Disk(name, image)
    try:
        yield disk
    finally:
        disk.unregister()
