"""How far the audit has been handed on, for each destination, and the pages in which it is read for that."""

from __future__ import annotations

import apsw

from eyeflow.protocol.collecting import KeptHead

COORDINATOR, KAFKA = "coordinator", "kafka"
"""The names of the destinations."""
_PUT = "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?, ?, ?)"


class Cursors:
    """What each destination said last that it holds durably."""

    def __init__(self) -> None:
        self._kept: dict[str, KeptHead] = {}
        self._unwritten: dict[str, KeptHead] = {}
        self._written: dict[str, KeptHead] = {}
        self._gone: set[str] = set()

    def kept(self, destination: str) -> KeptHead | None:
        """Return what a destination holds, None while it has told nothing of this epoch."""
        return self._kept.get(destination)

    @property
    def all_kept(self) -> dict[str, KeptHead]:
        """What each destination holds that has told."""
        return dict(self._kept)

    @property
    def held_by_all(self) -> int:
        """Return the last record that every destination holds; 0: there is none, or no destination has told."""
        return min((one.seq for one in self._kept.values()), default=0)

    def read(self, db: apsw.Connection, epoch: int) -> None:
        """Read what is stored; of another epoch nothing is here any more that it is about."""
        self._kept = read_kept_heads(db, epoch)

    def note(self, destination: str, kept: KeptHead) -> None:
        """Take note of what a destination holds now."""
        if kept != self._kept.get(destination):
            self._kept[destination] = self._unwritten[destination] = kept

    def forget(self, destination: str) -> None:
        """Nothing goes there any more: what it holds says nothing of what others have."""
        self._kept.pop(destination, None)
        self._unwritten.pop(destination, None)
        self._gone.add(destination)

    def write(self, db: apsw.Connection) -> None:
        """Write what was noted since the last commit; call it inside of a transaction."""
        self._written = dict(self._unwritten)
        db.executemany("DELETE FROM cursors WHERE destination = ?", [(name,) for name in self._gone])
        db.executemany(
            _PUT,
            [(name, one.epoch, one.seq, one.hash, one.time_us, one.signature) for name, one in self._written.items()],
        )

    def were_written(self) -> None:
        """The transaction of the last `write` was committed."""
        self._unwritten = {name: one for name, one in self._unwritten.items() if self._written.get(name) != one}
        self._gone.clear()


def read_kept_heads(db: apsw.Connection, epoch: int) -> dict[str, KeptHead]:
    """Return what each destination held of this epoch when it was last written."""
    query = "SELECT destination, epoch, seq, hash, time_us, signature FROM cursors WHERE epoch = ?"
    return {name: KeptHead(*row) for name, *row in db.execute(query, (epoch,))}


def read_after(db: apsw.Connection, seq: int, bytes_max: int, records_max: int) -> tuple[int, list[bytes]]:
    """Return the records that follow `seq`, as `Store.records_after`."""
    first_seq, size_bytes, found = 0, 0, list[bytes]()
    query = "SELECT seq, record FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"
    for number, record in db.execute(query, (seq, records_max)):
        first_seq = first_seq or number
        size_bytes += len(record)
        # A hole is for the next page to show: whoever compares numbers sees it there.
        if found and (size_bytes > bytes_max or number != first_seq + len(found)):
            break
        found.append(record)
    return first_seq, found
