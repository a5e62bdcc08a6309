"""The node's durable store: programs, state, audit chain and unfinished actions in one SQLite file.

`commit` writes a batch in one transaction with synchronous=FULL: when it returns, the batch survives a power cut. The
store is synchronous and belongs to one thread; `eyeflow.node.store.writer` gives it one. What it keeps has a module
each: `audit_log` with `audit_bounds` and `cursors`, `programs`, `outbox`, `stream_progress`, `meta`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import FreeBytes, free_bytes_of
from eyeflow.base.reasons import why
from eyeflow.node.store.audit_bounds import DROPS_MAX, RESERVE_BYTES, AuditBounds
from eyeflow.node.store.audit_log import AuditLog
from eyeflow.node.store.cursors import Cursors
from eyeflow.node.store.file import STORE_NAME, FrozenFile, StoreFile, storage_error
from eyeflow.node.store.marker import mark_epoch, marked_epoch
from eyeflow.node.store.meta import (
    MetaValue,
    read_kept,
    read_meta,
    read_meta_or_set,
    read_number,
    write_kept,
    write_meta,
)
from eyeflow.node.store.outbox import forget_ends, read_pending, read_pending_programs, write_pending
from eyeflow.node.store.programs import (
    forget_programs,
    read_evidence,
    read_rejected,
    read_slots,
    read_states,
    write_programs,
)
from eyeflow.node.store.reads import Reads
from eyeflow.node.store.stream_progress import read_progress, write_progress
from eyeflow.node.store.transaction import transaction
from eyeflow.node.store.types import (
    Batch,
    BufferLimits,
    Committed,
    Depth,
    Restored,
    StorageError,
    StoreCounters,
    StoreDamaged,
)
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.identity import Identity

_NO_FILE, _ANOTHER = "There is no such file any more.", "Another file is in its place."


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
        self.node, self.counters = node, StoreCounters()
        self._audit = AuditLog(node, identity, self.counters, now_us)
        self._bounds = AuditBounds(self._audit, limits, now_us)
        self._doubt: tuple[int, bytes] | None = None
        self._in_use = False
        self.trouble: StorageError | None = None
        self._file = self._open()
        try:
            self._prepare()
        except BaseException:
            self.abandon()
            raise

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

    @contextmanager
    def _saying(self) -> Iterator[None]:
        """Turn what SQLite or the disk says into the StorageError that it means."""
        try:
            yield
        except (apsw.Error, OSError) as error:
            raise storage_error(error, self._path) from error

    @contextmanager
    def _as_written(self) -> Iterator[None]:
        """Turn rows that cannot be decoded into the damage that they are."""
        try:
            yield
        except (ValueError, TypeError, LookupError) as error:
            raise StoreDamaged(self._path, f"a row is not what a node writes: {why(error)}") from error

    def _prepare(self) -> None:
        with self._saying(), self._as_written():
            db = self._file.db
            self.replaced_epoch = self._replaced_epoch(db)
            # Later than the lost one, also where the clock was set back: an epoch never comes twice.
            first = max(self._now_us() // 1_000_000, self.replaced_epoch + 1)
            self.epoch = self._audit.epoch = int(read_meta_or_set(db, "epoch", first))
            mark_epoch(self._path.parent, self.epoch)
            self._check_owner("node", self.node, "node name")
            self._check_owner("public_key", self._identity.public_key, "key")
            self._audit.cursors.read(db, self.epoch)
            self._attach()
            if self.trouble is None:
                self._bounds.shrink()

    def _attach(self) -> None:
        self._audit.attach(self._file.db)
        self._bounds.attach(self._file)
        self._file.seen_used_bytes = self._file.used_bytes

    def _replaced_epoch(self, db: apsw.Connection) -> int:
        """Return the epoch of a store that was here before this one and is gone, 0 when there was none."""
        if read_meta(db, "epoch") is None:
            return int(read_meta_or_set(db, "replaced_epoch", marked_epoch(self._path.parent)))
        return read_number(db, "replaced_epoch")

    def _check_owner(self, key: str, value: MetaValue, what: str) -> None:
        stored = read_meta_or_set(self._file.db, key, value)
        if stored != value:
            shown = stored.hex() if isinstance(stored, bytes) else stored
            raise EyeflowError(
                f"the store in {self._path.parent} belongs to another node",
                cause=f"Its {what} is {shown}.",
                next_step="Give this node a data_dir of its own, or restore its name and node.key.",
                code="store_foreign",
            )

    @property
    def cursors(self) -> Cursors:
        """How far the audit has been handed on."""
        return self._audit.cursors

    @property
    def head(self) -> tuple[int, bytes]:
        """Seq and hash of the last durable record; (0, zeros) when there is none."""
        return self._audit.tip

    @property
    def newest_seq(self) -> int:
        """Seq of the last record that can be read: before `head` where damage took the last ones."""
        return self._audit.newest_seq

    @property
    def altered_seq(self) -> int:
        """A record that was to be dropped for its age and is not what the node wrote; 0: none."""
        return self._bounds.altered_seq

    @property
    def depth(self) -> Depth:
        """What the audit log holds; any thread may ask."""
        (first_seq, oldest_us), file = self._audit.oldest, self._file
        return Depth(first_seq, self.head[0], oldest_us, file.seen_used_bytes, self._audit.dropped)

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
        with self._saying(), self._as_written():
            clean = read_meta(db, "clean")
            programs = (read_slots(db), read_states(db), read_rejected(db), read_evidence(db))
            waiting = (read_pending(db), read_pending_programs(db))
            return Restored(clean != 0, *programs, *waiting, read_kept(db), read_progress(db))

    def commit(self, batch: Batch) -> Committed:
        """Make a batch durable. Raises StorageError: then nothing of it is, as far as anyone may know.

        After an error, call `recover` and then commit the same batch again, unless `recover` says it was written.
        """
        try:
            with self._saying():
                committed = self._commit(batch)
        except StorageError:
            self.counters.failed_commits += 1
            raise
        self.counters.commits += 1
        self.counters.records += len(batch.drafts)
        return committed

    def _commit(self, batch: Batch) -> Committed:
        self._doubt = None
        self._require_place()
        self._file.tidy()
        self._bounds.make_room(batch)
        for _ in range(DROPS_MAX):
            try:
                return self._write(batch)
            except apsw.FullError:
                self._file.fit()  # others may have filled the disk meanwhile
                # The bound has room, so the disk has none: to drop records would lose them for nothing.
                if self._file.room_bytes > 2 * RESERVE_BYTES:
                    raise
                self._bounds.drop_for_room()
        raise self._bounds.buffer_full()

    def _require_place(self) -> None:
        """Refuse a file that was removed or replaced: what it takes is gone when the node ends."""
        if not self._file.is_in_place:
            raise self._gone(_ANOTHER if self._path.exists() else _NO_FILE)

    def _write(self, batch: Batch) -> Committed:
        first_seq, new = self._audit.head_seq + 1, self._audit.chained(batch)
        self._doubt = new.tip if new.rows else None
        db = self._file.db
        with transaction(db):
            self._audit.write(new)
            write_programs(db, batch)
            write_pending(db, batch, first_seq)
            forget_programs(db, batch)
            write_progress(db, batch.progress)
            write_kept(db, batch.put_meta)
            # With the first commit, not when it is opened: a store that is only read stays as it was.
            if not self._in_use:
                write_meta(db, "clean", 0)
        self._audit.were_written(new)
        self._states_changed(batch)
        self._doubt, self._in_use = None, True
        return Committed(first_seq)

    def drop_aged(self) -> int:
        """Drop one range of records older than the age bound; return how many (call again until it is 0)."""
        with self._saying():
            return self._bounds.drop_aged()

    def clock_was_set(self, step_us: int) -> None:
        """Take a known step of the wall clock for no age: what is stored now is dropped only after what comes now."""
        with self._saying():
            self._bounds.clock_was_set(step_us)

    def note_kept(self, destination: str, kept: KeptHead) -> bool:
        """Take note of what a destination holds. False when this chain has no such record, or another one there.

        The cursor becomes durable with the next commit. One that is lost says less than what is true, and harms nobody.
        """
        with self._saying():
            return self._audit.note_kept(destination, kept)

    def recover(self) -> bool:
        """Open the file anew after an error and write what it holds again; raises StorageError while that fails.

        Returns whether the batch that failed is in the file after all: a failed fsync leaves that open. Writing a batch
        without drafts twice changes nothing, so of such a one this says False.
        """
        # After a failed fsync the connection may take pages for written that are not: nothing of it is trusted.
        self._file.abandon()
        self._file, self._states = self._own_file(), None
        self._file.flush_log()
        with self._saying():
            self._attach()
        self.counters.recoveries += 1
        self.trouble = None
        doubt, self._doubt = self._doubt, None
        return doubt is not None and doubt == self.head

    def _own_file(self) -> StoreFile:
        """Open the file anew, if it is still there and still this store.

        A disk that went away leaves the directory below its mount point. A store that began there would be hidden once
        the disk is back, and it would give numbers of this epoch to other records.
        """
        try:
            self._path.stat()
        except FileNotFoundError as error:
            raise self._gone(_NO_FILE) from error
        except OSError as error:
            raise storage_error(error, self._path) from error
        try:
            file = StoreFile(self._path, self._limits.size_bytes_max, self._vfs, self._free_bytes)
        except StorageError:
            raise
        except EyeflowError as error:
            raise _replaced(error) from error
        try:
            epoch = read_meta(file.db, "epoch")
        except apsw.Error as error:
            file.abandon()
            raise storage_error(error, self._path) from error
        if epoch != self.epoch:
            file.abandon()
            raise self._gone(_ANOTHER)
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

    def abandon(self) -> None:
        """Close a file that is of no use, and write nothing more of this store."""
        self._file.abandon()

    def close(self, *, clean: bool) -> None:
        """Close the file; `clean` says that everything has been committed and the node stopped in good order."""
        with self._saying():
            if clean and self.trouble is None:
                self.cursors.write(self._file.db)
            if clean and self._in_use:
                forget_ends(self._file.db)
                write_meta(self._file.db, "clean", 1)
            self._file.close()


def _replaced(error: EyeflowError) -> StorageError:
    """Return the error of a file that became another one while the node ran: it waits, as for any other disk."""
    return StorageError(error.message, cause=error.cause, next_step=error.next_step, full=False, code=error.code)
