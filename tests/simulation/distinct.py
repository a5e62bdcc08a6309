"""Which steps of a process leave something else than the step before: at the others it need not die once more.

SQLite writes a transaction page by page. A process that dies between two of these writes leaves what it left before
the first: the next start finds the same tables. What counts is what a start reads, and what others have been sent.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import apsw

from simulation.disk import Image, SimDisk
from simulation.loop import Process

_SQLITE = b"SQLite format 3\0"
_LOGS = ("-wal", "-journal")


class Footprint:
    """Notes, before each step of `process`, whether its sudden end would leave something new.

    `ends` are the numbers of these steps, counted from the moment this was made, each with whether the power goes: one
    way after the other, and both where a power cut may leave something else. `directory` is for its own use.
    """

    def __init__(self, process: Process, disk: SimDisk, directory: Path) -> None:
        self._process, self._disk, self._directory = process, disk, directory
        self._from, self._last = process.effects, ()  # type: tuple[int, tuple[object, ...]]
        self.ends: list[tuple[int, bool]] = []
        process.on_effect = self._note

    def _note(self) -> None:
        killed = self._disk.after_kill()
        content, synced = self._content(killed), self._content(self._disk.synced_only(killed))
        left = (content, synced, self._process.messages)
        if left != self._last:
            step = self._process.effects - self._from
            ways = (False, True) if content != synced else (len(self.ends) % 2 == 1,)
            self.ends += [(step, power_cut) for power_cut in ways]
        self._last = left

    def _content(self, image: Image) -> str:
        """Return a digest of what the next start reads: the rows of each database, and the other files."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir()
        for name, data in image.items():
            (self._directory / name).write_bytes(data)
        digest = hashlib.sha256()
        for name in sorted(image):
            if not name.endswith(_LOGS):
                is_database = image[name].startswith(_SQLITE) or f"{name}-wal" in image
                digest.update(f"{name} ".encode())
                digest.update(repr(_rows(self._directory / name)).encode() if is_database else image[name])
        return digest.hexdigest()


def _rows(path: Path) -> list[object]:
    db = apsw.Connection(str(path))
    tables = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    found = [(table, db.execute(f'SELECT * FROM "{table[0]}"').fetchall()) for table in tables]
    db.close()
    return list(found)
