"""The node's durable store: programs, state, audit chain and unfinished actions in one SQLite file.

`commit` writes a batch in one transaction with synchronous=FULL: when it returns, the batch survives a power cut. The
store is synchronous and belongs to one thread; `eyeflow.node.store.writer` gives it one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import FreeBytes, free_bytes_of
from eyeflow.node.store.cursors import Cursors
from eyeflow.node.store.file import STORE_NAME, FrozenFile, StoreFile, storage_error
from eyeflow.node.store.marker import mark_epoch, marked_epoch
from eyeflow.node.store.reads import Reads
from eyeflow.node.store.rows import (
    read_evidence,
    read_kept,
    read_pending,
    read_pending_programs,
    read_progress,
    read_rejected,
    read_slots,
    read_states,
    write_rows,
)
from eyeflow.node.store.transaction import transaction
from eyeflow.node.store.types import (
    Batch,
    BufferFull,
    BufferLimits,
    Committed,
    Draft,
    OnFull,
    Restored,
    StorageError,
    StoreCounters,
    StoreDamaged,
)
from eyeflow.protocol.audit import ZERO_HASH, Record, decode_record, encode_record, record_hash
from eyeflow.protocol.audit_bodies import COPIED, AuditError, GapBody
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.identity import Identity

_log = logging.getLogger("eyeflow.node")

RESERVE_BYTES = 256 * 1024
"""Room that is kept free for the records that report the loss of others."""
DROP_SHARE = 16
"""When the buffer is full, one part in so many of the records goes at once, as one range with one gap record."""
DROP_RECORDS_MIN, DROP_RECORDS_MAX = 16, 8192
STEP_SHARE = 100
"""Steps of the clock that together stay below one part in so many of the age bound change no record's age by much."""
DROPS_MAX = 64
"""Ranges dropped for one batch at most."""


class Store(Reads):
    """The store in `data_dir`. `identity` signs gaps and checkpoints; `now_us` gives the wall clock (UTC)."""

    def __init__(
        self,
        data_dir: Path,
        node: str,
        identity: Identity,
        limits: BufferLimits,
        *,
        now_us: NowUs = wall_clock_us,
        vfs: str | None = None,
        free_bytes: FreeBytes = free_bytes_of,
    ) -> None:
        """Open or create it. Raises EyeflowError when the file is damaged, newer, or of another node.

        On a disk that cannot be written, a store that is there is only read: `trouble` says why, until `recover`.
        """
        self._path, self._vfs, self._free_bytes = data_dir / STORE_NAME, vfs, free_bytes
        self._identity, self._limits, self._now_us = identity, limits, now_us
        self.node, self.counters, self.cursors = node, StoreCounters(), Cursors()
        self._doubt: tuple[int, bytes] | None = None
        self._in_use = False
        self._drift_us = self._step_seq = 0
        self.altered_seq = 0
        """A record that was to be dropped for its age and is not what the node wrote; 0: none."""
        self.trouble: StorageError | None = None
        self._file = self._open()
        self._prepare()

    def _open(self) -> StoreFile:
        size_bytes_set = self._limits.size_bytes_max
        try:
            return StoreFile(self._path, size_bytes_set, self._vfs, self._free_bytes)
        except StoreDamaged:
            raise
        except StorageError as error:
            self.trouble = error
        try:
            return FrozenFile(self._path, size_bytes_set, None, self._free_bytes)
        except StoreDamaged:
            raise
        except EyeflowError:  # there is no store yet, or it is an older one
            raise self.trouble from None

    def _prepare(self) -> None:
        try:
            self._read_meta()
        except apsw.Error as error:
            raise storage_error(error, self._path) from error

    def _read_meta(self) -> None:
        self.replaced_epoch = self._replaced_epoch()
        # Later than the lost one, also where the clock was set back: an epoch never comes twice.
        first = max(self._now_us() // 1_000_000, self.replaced_epoch + 1)
        self.epoch = int(self._meta_or_set("epoch", first))
        mark_epoch(self._path.parent, self.epoch)
        self._check_owner("node", self.node, "node name")
        self._check_owner("public_key", self._identity.public_key, "key")
        self._step_seq = self._read_step()
        self._lost_total = int(self._meta_or_set("lost_total", 0))
        # One attribute: others read it from their thread, and a number with another record's hash looks like a fork.
        self._tip = self._read_head()
        self.cursors.read(self._file.db, self.epoch)

    def _replaced_epoch(self) -> int:
        """Return the epoch of a store that was here before this one and is gone, 0 when there was none."""
        key, db = "replaced_epoch", self._file.db
        if db.execute("SELECT value FROM meta WHERE key = 'epoch'").get is None:
            return int(self._meta_or_set(key, marked_epoch(self._path.parent)))
        return int(db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get or 0)

    def _check_owner(self, key: str, value: str | bytes, what: str) -> None:
        stored = self._meta_or_set(key, value)
        if stored != value:
            shown = stored.hex() if isinstance(stored, bytes) else stored
            raise EyeflowError(
                f"the store in {self._path.parent} belongs to another node",
                cause=f"Its {what} is {shown}.",
                next_step="Give this node a data_dir of its own, or restore its name and node.key.",
                code="store_foreign",
            )

    def _meta_or_set(self, key: str, default: object) -> str | int | bytes:
        """Return a stored value; a store that has it is not written, so that it opens on a full disk, too."""
        query = "SELECT value FROM meta WHERE key = ?"
        try:
            value: str | int | bytes | None = self._file.db.execute(query, (key,)).get
            if value is None:
                self._file.db.execute("INSERT INTO meta VALUES (?, ?)", (key, default))
                value = self._file.db.execute(query, (key,)).get
        except apsw.Error as error:
            raise storage_error(error, self._path) from error
        assert value is not None
        return value

    def _read_head(self) -> tuple[int, bytes]:
        row = self._file.db.execute("SELECT seq, record FROM audit ORDER BY seq DESC LIMIT 1").get
        return (row[0], record_hash(row[1])) if row else (0, ZERO_HASH)

    @property
    def head(self) -> tuple[int, bytes]:
        """Seq and hash of the last durable record; (0, zeros) when there is none."""
        return self._tip

    @property
    def _head_seq(self) -> int:
        return self._tip[0]

    @property
    def _head(self) -> bytes:
        return self._tip[1]

    @property
    def size_bytes(self) -> int:
        """Bytes that all files of the store take on disk."""
        return self._file.disk_bytes

    @property
    def size_bytes_max(self) -> int:
        """The bound in force: the configured one, or what the disk has room for when that is less."""
        return self._file.size_bytes_max

    def restore(self) -> Restored:
        """Return what the last run left; writes nothing. After the first commit a run without `close` is unclean."""
        db = self._file.db
        try:
            clean = db.execute("SELECT value FROM meta WHERE key = 'clean'").get
            programs = (read_slots(db), read_states(db), read_rejected(db), read_evidence(db))
            waiting = (read_pending(db), read_pending_programs(db))
            return Restored(clean != 0, *programs, *waiting, read_kept(db), read_progress(db))
        except apsw.Error as error:
            raise storage_error(error, self._path) from error

    def commit(self, batch: Batch) -> Committed:
        """Make a batch durable. Raises StorageError: then nothing of it is, as far as anyone may know.

        After an error, call `recover` and then commit the same batch again, unless `recover` says it was written.
        """
        try:
            committed = self._commit(batch)
        except (apsw.Error, OSError) as error:
            self.counters.failed_commits += 1
            raise storage_error(error, self._path) from error
        except StorageError:
            self.counters.failed_commits += 1
            raise
        self.counters.commits += 1
        self.counters.records += len(batch.drafts)
        return committed

    def _commit(self, batch: Batch) -> Committed:
        self._doubt = None
        self._file.tidy()
        self._make_room(batch)
        for _ in range(DROPS_MAX):
            try:
                return self._write(batch)
            except apsw.FullError:
                self._file.fit()  # others may have filled the disk meanwhile
                # The bound has room, so the disk has none: to drop records would lose them for nothing.
                if self._file.room_bytes > 2 * RESERVE_BYTES:
                    raise
                self._drop_for_room()
        raise self._buffer_full()

    def _drop_for_room(self) -> bool:
        """Drop a share of the oldest records; False when that frees nothing. Raises BufferFull where they are kept.

        What others hold goes first, and by itself, whatever `on_full` says: nothing is lost by it.
        """
        share, held = self._share(), self._held()
        if held >= DROP_RECORDS_MIN:
            return self._drop_oldest("size", min(share, held)) > 1
        if self._limits.on_full is not OnFull.DROP_OLDEST:
            raise self._buffer_full()
        # A gap takes the place of what goes: where it is one record, that is the gap of the time before.
        return self._drop_oldest("size", share) > 1

    def _held(self) -> int:
        """How many of the oldest records every destination holds."""
        oldest = self._file.db.execute("SELECT min(seq) FROM audit").get
        return 0 if oldest is None else max(0, self.cursors.held_by_all - oldest + 1)

    def _buffer_full(self) -> BufferFull:
        return BufferFull(self._file.size_bytes_max, self._limits.size_bytes_max)

    def _write(self, batch: Batch) -> Committed:
        first_seq = self._head_seq + 1
        drafts, lost_total = self._with_gap(batch)
        rows, seq, head = self._chain(drafts)
        self._doubt = (seq, head) if rows else None
        db = self._file.db
        with transaction(db):
            db.executemany("INSERT INTO audit VALUES (?, ?, ?)", rows)
            write_rows(db, batch, first_seq)
            self.cursors.write(db)
            if lost_total != self._lost_total:
                db.execute("UPDATE meta SET value = ? WHERE key = 'lost_total'", (lost_total,))
            # With the first commit, not when it is opened: a store that is only read stays as it was.
            if not self._in_use:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', 0)")
        self._tip, self._doubt, self._lost_total, self._in_use = (seq, head), None, lost_total, True
        self.cursors.were_written()
        return Committed(first_seq)

    def _with_gap(self, batch: Batch) -> tuple[Sequence[Draft], int]:
        """Return the drafts with the gap of executions that went unrecorded, and the new total of lost records."""
        if (lost := batch.unrecorded) is None:
            return batch.drafts, self._lost_total
        total, key = self._lost_total + lost.count, self._identity.public_key
        gap = GapBody(0, 0, lost.count, "unrecorded", ZERO_HASH, lost.since_us, lost.until_us, total, key)
        return (*batch.drafts, Draft(self._now_us(), gap)), total

    def _chain(self, drafts: Sequence[Draft]) -> tuple[list[tuple[int, int, bytes]], int, bytes]:
        rows, seq, head = [], self._head_seq, self._head
        for draft in drafts:
            seq += 1
            data = self._encode(draft, seq, head)
            rows.append((seq, draft.time_us, data))
            head = record_hash(data)
        return rows, seq, head

    def _encode(self, draft: Draft, seq: int, prev: bytes) -> bytes:
        return encode_record(Record(self.node, self.epoch, seq, prev, draft.time_us, draft.body), self._identity)

    def _make_room(self, batch: Batch) -> None:
        needed_bytes = RESERVE_BYTES + sum(2 * len(row.program) + 8192 for row in batch.put_slots)
        for _ in range(DROPS_MAX):
            if self._file.room_bytes > needed_bytes:
                return
            if not self._drop_for_room():
                return

    def _share(self) -> int:
        """How many records to drop at once, counted from the oldest."""
        oldest = self._file.db.execute("SELECT min(seq) FROM audit").get
        kept = 0 if oldest is None else self._head_seq - oldest + 1
        return max(DROP_RECORDS_MIN, min(kept // DROP_SHARE, DROP_RECORDS_MAX))

    def drop_aged(self) -> int:
        """Drop one range of records older than the age bound; return how many (call again until it is 0)."""
        limit_us = self._now_us() - self._limits.age_us_max
        # Records from before a step of the clock have no known age. They go along with the first one after it.
        recent = "SELECT seq, time_us FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"
        query = f"SELECT max(seq) FROM ({recent}) WHERE time_us < ?"
        try:
            self._file.fit()
            self._keep_step()  # if the disk refused it: the step would pass for the age of what is stored
            aged = self._file.db.execute(query, (self._step_seq, DROP_RECORDS_MAX, limit_us)).get
            if aged is None or not self._is_as_written(aged):
                return 0
            # Where the clock was set back, younger records lie before it: the chain has no holes, so they go too.
            count = aged - self._file.db.execute("SELECT min(seq) FROM audit").get + 1
            return self._drop_oldest("age", min(count, DROP_RECORDS_MAX))
        except (apsw.Error, OSError) as error:
            raise storage_error(error, self._path) from error

    def clock_was_set(self, step_us: int) -> None:
        """Take a known step of the wall clock for no age: what is stored now is dropped only after what comes now."""
        self._drift_us += step_us
        try:
            self._keep_step()
        except apsw.Error as error:
            raise storage_error(error, self._path) from error

    def _keep_step(self) -> None:
        if abs(self._drift_us) * STEP_SHARE < self._limits.age_us_max:
            return
        self._file.db.execute("INSERT OR REPLACE INTO meta VALUES ('step_seq', ?)", (self._head_seq,))
        self._drift_us, self._step_seq = 0, self._head_seq

    def _read_step(self) -> int:
        return int(self._file.db.execute("SELECT value FROM meta WHERE key = 'step_seq'").get or 0)

    def _is_as_written(self, seq: int) -> bool:
        """Whether a record has the time that is stored beside it, and the hash that the next one names.

        Else whoever changes a time in the file would let the node itself drop the evidence, with its signature.
        """
        query = "SELECT time_us, record FROM audit WHERE seq IN (?, ?) ORDER BY seq"
        rows: list[Any] = self._file.db.execute(query, (seq, seq + 1)).fetchall()
        (time_us, data), *after = rows
        try:
            whole: bool = decode_record(data).time_us == time_us
            whole = whole and (not after or decode_record(after[0][1]).prev == record_hash(data))
        except AuditError:
            whole = False
        if not whole and self.altered_seq != seq:
            _log.error(
                "audit record %d is not as this node wrote it: nothing is dropped for its age. Keep a copy of %s and "
                "run `eyeflow audit verify`",
                seq,
                self._path.parent,
            )
        self.altered_seq = 0 if whole else seq
        return whole

    def _drop_oldest(self, reason: str, count: int) -> int:
        """Replace the oldest `count` records (never the last one) by a signed gap; return how many went.

        Only those that some destination does not hold count as lost; where each holds all, the gap says COPIED.
        """
        db = self._file.db
        first_seq = db.execute("SELECT min(seq) FROM audit").get
        if first_seq is None or first_seq >= self._head_seq:
            return 0
        last_seq = min(first_seq + count - 1, self._head_seq - 1)
        record = db.execute("SELECT record FROM audit WHERE seq = ?", (last_seq,)).get
        # Not the first and the last time: the clock may have been set back between them.
        since_us, until_us = db.execute("SELECT min(time_us), max(time_us) FROM audit WHERE seq <= ?", (last_seq,)).get
        dropped: int = last_seq - first_seq + 1
        lost: int = max(0, last_seq - max(first_seq - 1, self.cursors.held_by_all))
        lost_total, key, reason = self._lost_total + lost, self._identity.public_key, reason if lost else COPIED
        gap = GapBody(first_seq, last_seq, dropped, reason, record_hash(record), since_us, until_us, lost_total, key)
        self._replace(gap)
        self._lost_total = lost_total
        self.counters.dropped_records += lost
        self.counters.dropped_copies += dropped - lost
        self.counters.gaps += lost > 0
        return dropped

    def _replace(self, gap: GapBody) -> None:
        db, now_us, seq = self._file.db, self._now_us(), self._head_seq + 1
        data = self._encode(Draft(now_us, gap), seq, self._head)
        with transaction(db):
            db.execute("DELETE FROM audit WHERE seq <= ?", (gap.last_seq,))
            db.execute("INSERT INTO audit VALUES (?, ?, ?)", (seq, now_us, data))
            db.execute("UPDATE meta SET value = ? WHERE key = 'lost_total'", (gap.lost_total,))
            self.cursors.write(db)  # what the gap says of it must be as durable
        self._tip = seq, record_hash(data)
        self.cursors.were_written()
        self._file.tidy()

    def recover(self) -> bool:
        """Open the file anew after an error and write what it holds again; raises StorageError while that fails.

        Returns whether the batch that failed is in the file after all: a failed fsync leaves that open. Writing a batch
        without drafts twice changes nothing, so of such a one this says False.
        """
        # After a failed fsync the connection may take pages for written that are not: nothing of it is trusted.
        self._file.abandon()
        self._file = self._own_file()
        self._file.flush_log()
        try:
            self._lost_total = int(self._meta_or_set("lost_total", 0))
            self._tip = self._read_head()
        except apsw.Error as error:
            raise storage_error(error, self._path) from error
        self.counters.recoveries += 1
        self.trouble = None
        doubt, self._doubt = self._doubt, None
        return doubt is not None and doubt == (self._head_seq, self._head)

    def _own_file(self) -> StoreFile:
        """Open the file anew, if it is still there and still this store.

        A disk that went away leaves the directory below its mount point. A store that began there would be hidden once
        the disk is back, and it would give numbers of this epoch to other records.
        """
        try:
            self._path.stat()
        except FileNotFoundError as error:
            raise self._gone("There is no such file any more.") from error
        except OSError as error:
            raise storage_error(error, self._path) from error
        try:
            file = StoreFile(self._path, self._limits.size_bytes_max, self._vfs, self._free_bytes)
        except StorageError:
            raise
        except EyeflowError as error:
            raise _replaced(error) from error
        try:
            epoch = file.db.execute("SELECT value FROM meta WHERE key = 'epoch'").get
        except apsw.Error as error:
            file.abandon()
            raise storage_error(error, self._path) from error
        if epoch != self.epoch:
            file.abandon()
            raise self._gone("Another file is in its place.")
        return file

    def _gone(self, cause: str) -> StorageError:
        return StorageError(
            f"the node's store {self._path} is gone",
            cause=cause,
            next_step="Mount its disk again, or put the file back with its -wal: the node goes on by itself. "
            "To begin a new store, start the node again.",
            full=False,
            code="store_replaced",
        )

    def note_kept(self, destination: str, kept: KeptHead) -> bool:
        """Take note of what a destination holds. False when this chain has no such record, or another one there.

        The cursor becomes durable with the next commit. One that is lost says less than what is true, and harms nobody.
        """
        if kept.epoch != self.epoch or kept.seq > self._head_seq:
            return False
        seq, found = self.records_after(kept.seq - 1, 1, 1) if kept.seq else (0, [])
        if found and seq == kept.seq and record_hash(found[0]) != kept.hash:
            return False
        self.cursors.note(destination, kept)
        return True

    def close(self, *, clean: bool) -> None:
        """Close the file; `clean` says that everything has been committed and the node stopped in good order."""
        try:
            if clean and self.trouble is None:
                self.cursors.write(self._file.db)
            if clean and self._in_use:
                self._file.db.execute("UPDATE meta SET value = 1 WHERE key = 'clean'")
            self._file.close()
        except apsw.Error as error:
            raise storage_error(error, self._path) from error


def _replaced(error: EyeflowError) -> StorageError:
    """Return the error of a file that became another one while the node ran: it waits, as for any other disk."""
    return StorageError(error.message, cause=error.cause, next_step=error.next_step, full=False, code=error.code)
