"""Keeps the audit log within its bounds: what is dropped when the file is full, or when records are too old."""

from __future__ import annotations

import logging

import apsw

from eyeflow.base.clock import NowUs
from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.node.store.audit_log import AuditLog
from eyeflow.node.store.file import StoreFile
from eyeflow.node.store.meta import read_number, write_meta
from eyeflow.node.store.types import Batch, BufferFull, BufferLimits, OnFull

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


class AuditBounds:
    """The bounds of `log`, which is in a file. It belongs to the thread of the store; raises apsw.Error, OSError."""

    def __init__(self, log: AuditLog, limits: BufferLimits, now_us: NowUs) -> None:
        self._audit, self._limits, self._now_us = log, limits, now_us
        self._drift_us = self._step_seq = 0
        self.altered_seq = 0
        """A record that was to be dropped for its age and is not what the node wrote; 0: none."""

    def attach(self, file: StoreFile) -> None:
        """Take the file that the log is in now."""
        self._file = file
        self._step_seq = read_number(file.db, "step_seq")

    def make_room(self, batch: Batch) -> None:
        """Drop old records until a batch has room, or nothing is left to drop. Raises BufferFull."""
        needed_bytes = RESERVE_BYTES + sum(2 * len(row.program) + 8192 for row in batch.put_slots)
        for _ in range(DROPS_MAX):
            if self._file.room_bytes > needed_bytes:
                return
            if not self.drop_for_room():
                return

    def shrink(self) -> None:
        """Bring a file back within a bound that was lowered; where that cannot be, only say so."""
        if not self._file.is_oversized:
            return
        set_mb = self._limits.size_bytes_max / 2**20
        try:
            while self._file.room_bytes <= RESERVE_BYTES and self.drop_for_room():
                pass
            self._file.compact()
        except (apsw.Error, EyeflowError) as error:
            _log.warning("the store stays larger than its bound of %.0f MB for now: %s", set_mb, why(error))

    def drop_for_room(self) -> bool:
        """Drop a share of the oldest records; False when that frees nothing. Raises BufferFull where they are kept.

        What others hold goes first, and by itself, whatever `on_full` says: nothing is lost by it.
        """
        share, held = self.share(), self._held()
        if held >= DROP_RECORDS_MIN:
            return self._drop("size", min(share, held)) > 1
        if self._limits.on_full is not OnFull.DROP_OLDEST:
            raise self.buffer_full()
        # A gap takes the place of what goes: where it is one record, that is the gap of the time before.
        return self._drop("size", share) > 1

    def _drop(self, reason: str, count: int) -> int:
        dropped = self._audit.drop_oldest(reason, count)
        if dropped:
            self._file.tidy()
        return dropped

    def _held(self) -> int:
        """How many of the oldest records every destination holds; none where that is less than one."""
        return self._audit.cursors.held_by_all - self._audit.oldest[0] + 1

    def share(self) -> int:
        """How many records to drop at once, counted from the oldest."""
        kept = self._audit.head_seq - self._audit.oldest[0] + 1
        return max(DROP_RECORDS_MIN, min(kept // DROP_SHARE, DROP_RECORDS_MAX))

    def buffer_full(self) -> BufferFull:
        """Return the error that says so, with the bound in force."""
        return BufferFull(self._file.size_bytes_max, self._limits.size_bytes_max)

    def drop_aged(self) -> int:
        """Drop one range of records older than the age bound; return how many (call again until it is 0)."""
        limit_us = self._now_us() - self._limits.age_us_max
        # Records from before a step of the clock have no known age. They go along with the first one after it.
        recent = "SELECT seq, time_us FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"
        query = f"SELECT max(seq) FROM ({recent}) WHERE time_us < ?"
        self._file.fit()
        self._keep_step()  # if the disk refused it: the step would pass for the age of what is stored
        aged = self._file.db.execute(query, (self._step_seq, DROP_RECORDS_MAX, limit_us)).get
        if aged is None or not self._is_as_written(aged):
            return 0
        # Where the clock was set back, younger records lie before it: the chain has no holes, so they go too.
        count = min(aged - self._audit.oldest[0] + 1, DROP_RECORDS_MAX)
        # A gap takes the place of what goes: for one old gap after the other, a quiet node would write gaps for ever.
        if count < DROP_RECORDS_MIN and self._audit.begins_with_gaps(count):
            return 0
        return self._drop("age", count)

    def clock_was_set(self, step_us: int) -> None:
        """Take a known step of the wall clock for no age: what is stored now is dropped only after what comes now."""
        self._drift_us += step_us
        self._keep_step()

    def _keep_step(self) -> None:
        if abs(self._drift_us) * STEP_SHARE < self._limits.age_us_max:
            return
        write_meta(self._file.db, "step_seq", self._audit.head_seq)
        self._drift_us, self._step_seq = 0, self._audit.head_seq

    def _is_as_written(self, seq: int) -> bool:
        """Whether the record that ends a range is what the node wrote.

        Else whoever changes a time in the file would let the node itself drop the evidence, with its signature.
        """
        whole = self._audit.is_as_written(seq)
        if not whole and self.altered_seq != seq:
            _log.error(
                "audit record %d is not as this node wrote it: nothing is dropped for its age. Keep a copy of %s and "
                "run `eyeflow audit verify`",
                seq,
                self._file.path.parent,
            )
        self.altered_seq = 0 if whole else seq
        return whole
