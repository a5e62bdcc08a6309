"""A disk that fails, and that forgets at a power cut what was not synced: the real SQLite works on it.

The files are real ones in a directory of their own for each start of a process, so the process sees what it wrote. Beside
them stands what a power cut would leave: for each file the bytes that were synced, and the writes since then, of which
any may be lost or torn. A dead process keeps its directory: nothing it still does reaches the next one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from enum import Enum
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import apsw

from simulation.loop import Process

SECTOR_BYTES = 512
KEPT_SHARE, TORN_SHARE = 0.5, 0.1
BOARDS = "boards"
"""The folder of a node's boards: each has one there."""
FORGOTTEN = ("-shm", ".sock")
"""Files that live in memory only."""
ROOM_BYTES = 1 << 32

Image = Mapping[str, bytes]
"""What lies on a disk: the bytes of each file by its name."""


class Failure(Enum):
    """What a disk refuses: with SYNCS, what was written is there for all who read it, and nobody knows for how long.

    With ROOM it is full: it takes nothing more, and gives back all that it has.
    """

    EVERYTHING = "everything"
    SYNCS = "syncs"
    ROOM = "room"


class _Tracked:
    """One file of SQLite: its synced bytes, and what was written since."""

    def __init__(self, data: bytes, number: int) -> None:
        self.synced, self.number = bytearray(data), number
        self.since: list[tuple[int, bytes | None]] = []
        """(offset, bytes), or (length, None) for a truncation."""

    def sync(self) -> None:
        for place, data in self.since:
            _apply(self.synced, place, data)
        self.since.clear()

    def after_power_cut(self, rng: Random) -> bytes:
        left = bytearray(self.synced)
        for place, data in self.since:
            if rng.random() < KEPT_SHARE:
                torn = data is not None and rng.random() < TORN_SHARE
                _apply(
                    left, place, data[: rng.randrange(len(data) + 1) // SECTOR_BYTES * SECTOR_BYTES] if torn else data
                )  # type: ignore[index]
        return bytes(left)


def _number_of(path: Path) -> int:
    """Return by what a file differs from another one that had its name before."""
    return path.stat().st_ino if path.exists() else 0


def _apply(content: bytearray, place: int, data: bytes | None) -> None:
    if data is None:
        del content[place:]
        return
    content.extend(bytes(max(0, place - len(content))))
    content[place : place + len(data)] = data


class SimDisk(apsw.VFS):
    """The disk of one start of a process, holding `image`; see `Machine` of the product for its last three.

    `failure` is what it refuses. `dies_after` counts down the writes and syncs until the process dies in one.
    """

    _numbers = count(1)

    def __init__(self, directory: Path, process: Process, rng: Random, image: Image) -> None:
        self.directory, self._process, self._rng = directory, process, rng
        self.failure: Failure | None = None
        self.dies_after = -1
        self.syncs = 0
        self._files: dict[str, _Tracked] = {}
        directory.mkdir(parents=True, mode=0o700)
        for name, data in image.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            (directory / name).write_bytes(data)
            (directory / name).chmod(0o600)
        self.vfs = f"simulated-{next(self._numbers)}"
        super().__init__(self.vfs, "")

    def free_bytes(self, directory: Path) -> int:
        return 0 if self.failure is Failure.ROOM else ROOM_BYTES

    def write_whole(self, path: Path, data: bytes, mode: int) -> None:
        if self._refuses() or self.failure is Failure.EVERYTHING:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        if self.failure is Failure.ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        path.write_bytes(data)
        path.chmod(mode)

    def _refuses(self) -> bool:
        self._process.effect()
        if self.dies_after >= 0:
            self.dies_after -= 1
            self._process.doomed |= self.dies_after < 0
        return self._process.doomed and self._process.alive  # a dead one may believe what it likes

    def after_power_cut(self) -> dict[str, bytes]:
        """Return what is left when the power goes now."""
        left = self.after_kill()
        return left | {name: file.after_power_cut(self._rng) for name, file in sorted(self._files.items())}

    def synced_only(self, left: Image) -> dict[str, bytes]:
        """Return what is left of `left` when the power goes and everything is lost that was not synced."""
        return {**left, **{name: bytes(file.synced) for name, file in self._files.items()}}

    def after_kill(self) -> dict[str, bytes]:
        """Return what is left when the process ends now: the system still writes what it was given."""
        files = [*sorted(self.directory.iterdir()), *sorted((self.directory / BOARDS).rglob("*"))]
        kept = [file for file in files if file.is_file() and not file.name.endswith(FORGOTTEN)]
        return {self._name(file): file.read_bytes() for file in kept}

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.directory)) if path.is_relative_to(self.directory) else path.name

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "")
        tracked = self._name(path)
        opened = _File(self, tracked, name, flags)
        if path.name and (tracked not in self._files or self._files[tracked].number != _number_of(path)):
            self._files[tracked] = _Tracked(path.read_bytes() if path.exists() else b"", _number_of(path))
        return opened

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.check()
        super().xDelete(filename, syncdir)
        self._files.pop(self._name(Path(filename)), None)

    def check(self, syncs: bool = False) -> None:
        fails = self.failure is Failure.EVERYTHING or (syncs and self.failure is Failure.SYNCS)
        if self._refuses() or fails:
            raise apsw.IOError("the simulated disk failed")

    def wrote(self, name: str, place: int, data: bytes | None) -> None:
        if name in self._files:
            self._files[name].since.append((place, data))

    def synced(self, name: str) -> None:
        self.syncs += 1
        if name in self._files:
            self._files[name].sync()

    def excepthook(self, kind: Any, error: Any, trace: Any) -> None:
        """What fails here is told to SQLite."""


class _File(apsw.VFSFile):
    def __init__(self, disk: SimDisk, name: str, filename: Any, flags: list[int]) -> None:
        self._disk, self._name = disk, name
        super().__init__("", filename, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.check()
        if self._disk.failure is Failure.ROOM and offset + len(data) > self.xFileSize():
            raise apsw.FullError("the simulated disk is full")
        super().xWrite(data, offset)
        self._disk.wrote(self._name, offset, bytes(data))

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if self._disk.failure is Failure.EVERYTHING:
            raise apsw.IOError("the simulated disk failed")
        return super().xRead(amount, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.check()
        super().xTruncate(newsize)
        self._disk.wrote(self._name, newsize, None)

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Nothing is synced in fact: what counts is what `after_power_cut` keeps."""
        self._disk.check(syncs=True)
        self._disk.synced(self._name)

    def excepthook(self, kind: Any, error: Any, trace: Any) -> None:
        """What fails here is told to SQLite."""
