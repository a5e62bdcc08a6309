"""Reads the audit of a node, running or not, without changing anything: `eyeflow audit verify` and `show`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reasons import why
from eyeflow.node.store.audit_log import read_dropped, read_oldest, read_tip
from eyeflow.node.store.cursors import read_kept_heads
from eyeflow.node.store.file import BUSY_MS, DAMAGED, STORE_NAME, files_bytes, storage_error, used_bytes
from eyeflow.node.store.schema import PROGRAMS_SINCE, known_version
from eyeflow.node.store.types import Depth
from eyeflow.protocol.collecting import KeptHead

PAGE_RECORDS = 512
"""Records read at once: a longer read would keep the node from tidying its write-ahead log."""


class AuditReader:
    """The audit records of the store in `data_dir`. Raises EyeflowError when there is none or it is no store."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / STORE_NAME
        if not self.path.exists():
            raise EyeflowError(
                f"there is no node's store in {data_dir}",
                cause=f"{self.path} does not exist.",
                next_step="Name the configuration of the node with --config, or its data_dir.",
                code="no_store",
            )
        try:
            self._db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
            self._db.set_busy_timeout(BUSY_MS)
            version = known_version(self._db)
        except apsw.Error as error:
            raise self._unreadable(error) from error
        if version == 0:
            raise EyeflowError(
                f"the node's store {self.path} is empty",
                cause="No node has written to it yet.",
                next_step="Start the node, or name the configuration of another with --config.",
                code="no_store",
            )
        self._programs = "programs" if version >= PROGRAMS_SINCE else "slots"  # what else is read, all have alike

    def __enter__(self) -> AuditReader:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _unreadable(self, error: apsw.Error | UnicodeDecodeError) -> EyeflowError:
        if isinstance(error, (*DAMAGED, UnicodeDecodeError)):  # SQLite may take the bytes of a damaged row for text
            return EyeflowError(
                f"the node's store {self.path} is damaged",
                cause=why(error),
                next_step=f"Keep a copy of {self.path.parent}, then restore {self.path.name} from a backup.",
                code="store_damaged",
                exit_code=ExitCode.PROBLEMS,
            )
        return storage_error(error, self.path)

    @property
    def public_key(self) -> bytes:
        """The public key of the node that wrote the store."""
        try:
            return bytes(self._db.execute("SELECT value FROM meta WHERE key = 'public_key'").get)
        except apsw.Error as error:
            raise self._unreadable(error) from error

    def program(self, program_id: bytes) -> bytes | None:
        """Return the stored program with this id (32 bytes), None when the node needs it no more."""
        rows = self._page(f"SELECT program FROM {self._programs} WHERE program_id = ?", (program_id,))
        return bytes(rows[0][0]) if rows else None

    def depth(self) -> Depth:
        """Return what the audit log holds. Its cursors are `kept`."""
        try:
            db = self._db
            (first_seq, oldest_us), (_, last_seq) = read_oldest(db), self.range
            return Depth(first_seq, last_seq, oldest_us, used_bytes(db), read_dropped(db))
        except apsw.Error as error:
            raise self._unreadable(error) from error

    def kept(self) -> dict[str, KeptHead]:
        """Return what each destination held when the node wrote it down last; nothing in a store of an older node."""
        try:
            if not self._db.table_exists("main", "cursors"):
                return {}
            return read_kept_heads(self._db, self.epoch)
        except apsw.Error as error:
            raise self._unreadable(error) from error

    @property
    def size_bytes(self) -> int:
        """Bytes that all files of the store take on disk."""
        return files_bytes(self.path)

    @property
    def epoch(self) -> int:
        """The epoch of the audit."""
        return int(self._page("SELECT value FROM meta WHERE key = ?", ("epoch",))[0][0])

    @property
    def node(self) -> str:
        """The name of the node."""
        return str(self._page("SELECT value FROM meta WHERE key = ?", ("node",))[0][0])

    @property
    def actions_waiting(self) -> int:
        """How many actions and emitted events had not ended."""
        return int(self._page("SELECT count(*) FROM pending", ())[0][0])

    @property
    def range(self) -> tuple[int, int]:
        """The first and the last seq that are there; (0, 0) when there is none."""
        first, last = self._page("SELECT min(seq), max(seq) FROM audit", ())[0]
        return (first, last) if first is not None else (0, 0)

    @property
    def tip(self) -> tuple[int, bytes] | None:
        """Seq and hash of the last record, as the node noted them; None in a store of an older node."""
        try:
            return read_tip(self._db)
        except apsw.Error as error:
            raise self._unreadable(error) from error

    def records(self, from_seq: int = 1, to_seq: int | None = None) -> Iterator[bytes]:
        """Yield the stored records as `rows` does, without their times."""
        for _, record in self.rows(from_seq, to_seq):
            yield record

    def rows(self, from_seq: int = 1, to_seq: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield time (us) and record from seq `from_seq` to `to_seq` (None: the last one now), ascending.

        Raises EyeflowError when the running node drops records that were about to be read, and for a damaged file,
        behind all that can be read of it.
        """
        first, last = self.range
        query = "SELECT seq, time_us, record FROM audit WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT ?"
        at, last = max(from_seq, first), last if to_seq is None else min(to_seq, last)
        while at <= last:
            rows, damage = self._readable(query, (at, last, PAGE_RECORDS))
            if (not rows or rows[0][0] != at) and self.range[0] > at:
                raise _overtaken(at)
            yield from ((time_us, record) for _, time_us, record in rows)
            if damage is not None:
                raise self._unreadable(damage) from damage
            if not rows:
                return
            at = rows[-1][0] + 1

    def before(self, seq: int) -> list[bytes]:
        """Return the last records before a seq, the newest first, PAGE_RECORDS at most."""
        query = "SELECT record FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?"
        return [row[0] for row in self._page(query, (seq, PAGE_RECORDS))]

    def _readable(
        self, query: str, bindings: tuple[int, ...]
    ) -> tuple[list[Any], apsw.Error | UnicodeDecodeError | None]:
        """Return the rows up to where the file cannot be read, and the reason."""
        rows: list[Any] = []
        try:
            rows.extend(self._db.execute(query, bindings))
        except (apsw.Error, UnicodeDecodeError) as error:
            return rows, error
        return rows, None

    def _page(self, query: str, bindings: tuple[int | bytes | str, ...]) -> list[Any]:
        try:
            return list(self._db.execute(query, bindings))
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error


def _overtaken(seq: int) -> EyeflowError:
    return EyeflowError(
        f"the node dropped audit record {seq} while it was about to be read",
        cause="Its buffer is at its bound, and the oldest records go first.",
        next_step="Run the command again, or stop the node first.",
        code="audit_dropped",
    )
