"""What the engine does when the disk refuses: it stops acknowledging, says so, and goes on by itself when it can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from eyeflow.base.clock import ClockWatch
from eyeflow.node.backoff import Backoff
from eyeflow.node.clock import Clock
from eyeflow.node.config.sections import Durability
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.options import EngineOptions
from eyeflow.node.store.types import Batch, BufferFull, OnFull, StorageError, Unrecorded
from eyeflow.node.store.writer import Writer
from eyeflow.protocol.audit_bodies import Body

_log = logging.getLogger("eyeflow.node")

RETRY_FIRST_S, RETRY_LAST_S = 0.5, 10.0
SETTLE_US = 600_000_000
"""Nothing is dropped for its age before: how long the node was off is known from a wall clock that a time service may
set right within the first minutes."""
DROPS_PER_VISIT = 16
"""Ranges of old records that one visit of the housekeeping drops, so that it never holds up events for long."""


Undo = Callable[[], Batch]
"""Returns the batch that makes the file say again what this node holds, whether an earlier change is in it or not."""


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A batch that was handed to the store and not confirmed: it may be in the file all the same.

    `acted`: its actions were performed nevertheless.
    """

    batch: Batch
    undo: Undo | None = None
    undoes: bool = False
    acted: bool = False


class DiskGuard:
    """Commits batches and bears with a failing disk, as `durability` and `on_full` say."""

    def __init__(self, writer: Writer, clock: Clock, options: EngineOptions) -> None:
        self._writer, self._clock, self._options = writer, clock, options
        self.grown = asyncio.Event()
        """Set whenever the chain may have grown; whoever waits for that clears it first."""
        self._backoff = Backoff(options.random, first_s=RETRY_FIRST_S, last_s=RETRY_LAST_S)
        self._retry_at_us, self._wait_s = 0, 0.0
        self._watch, self._opened_us = ClockWatch(clock.now_us, clock.steady_us), clock.steady_us()
        self._lost: Unrecorded | None = None
        self._in_doubt: _Doubt | None = None
        """Of the batch that was handed to the store last."""
        self._undo: Undo | None = None
        """Due when a change is in the file, or may be, that this node has not carried out."""
        self._disowned: list[tuple[int, int]] = []
        """Actions that were performed as without a record, and are in the file after all: no start resumes them."""
        self.problem: StorageError | None = None
        self.since_us = 0
        self.unrecorded_total = 0
        self.stopping = False
        if writer.store.trouble is not None:
            self._failed(writer.store.trouble)

    async def commit(self, batch: Batch, executions: int) -> int:
        """Make a batch durable and return the seq of its first draft; waits for as long as the disk refuses.

        With `durability = "none-on-full-disk"` it does not wait: 0 then says that nothing was recorded.
        """
        may_act = self._options.durability is Durability.NONE_ON_FULL_DISK
        if may_act and self.retry_in_s > 0:
            return self._unrecorded(batch, executions)
        while True:
            try:
                return await self._try(batch)
            except StorageError as error:
                self._failed(error)
                if may_act:
                    return self._unrecorded(batch, executions)
                if self.stopping:
                    raise
            await self._clock.sleep(self.retry_in_s)
            # Records that have grown too old meanwhile make room in a full buffer.
            await self.drop_aged()

    async def _try(self, batch: Batch, undo: Undo | None = None) -> int:
        if self.problem is not None and not isinstance(self.problem, BufferFull):
            # A full buffer leaves the file sound. After any other error nobody knows what of the batch is on the disk.
            first_seq = await self._find_out(batch)
            if first_seq:
                return first_seq
        await self._undo_change()
        return await self._hand_over(_Doubt(batch, undo))

    async def _find_out(self, batch: Batch) -> int:
        """Open the file anew and see what of the last batch is in it: its first seq if that is `batch`, else 0."""
        written = await self._writer.run(lambda store: store.recover())
        tried, self._in_doubt = self._in_doubt, None
        if tried is None:
            return 0
        if not written:
            if not tried.batch.drafts:  # of such a batch the file cannot be asked
                self._undo = tried.undo or self._undo
            return 0
        before = tried.batch
        first_seq = self._writer.store.head[0] - len(before.drafts) - (before.unrecorded is not None) + 1
        # It is in the file after all. Written again, each of its executions would have two records.
        if before is batch:
            self._recovered()
            self.grown.set()
            return first_seq
        self._undo = None if tried.undoes else tried.undo or self._undo
        if tried.acted:  # else the node stops before anything of it happened: the next start goes on with it
            self._disowned += [(first_seq + row.seq, row.index) for row in before.pending]
        return 0

    async def _undo_change(self) -> None:
        """Let the file say what this node holds, before anything is recorded that builds on it."""
        if self._undo is not None:
            await self._hand_over(_Doubt(self._undo(), undoes=True))
            self._undo = None

    async def _hand_over(self, tried: _Doubt) -> int:
        self._in_doubt = tried  # until the store has answered: what `recover` finds is of no batch that came later
        batch, finished = tried.batch, [*tried.batch.finished, *self._disowned]
        committed = await self._writer.commit(replace(batch, finished=finished) if self._disowned else batch)
        self._in_doubt = None
        self._disowned.clear()
        self._recovered()
        self.grown.set()
        return committed.first_seq

    async def commit_once(self, batch: Batch, undo: Undo | None = None) -> None:
        """Make a change durable or raise StorageError; never waits for the disk.

        Its code is `disk_in_doubt` when nobody knows what the file holds now. Then `undo` is called once the disk is
        back and the change is found in the file: whoever asked has no answer, so this node stays as it is.
        """
        try:
            await self._try(batch, undo)
        except StorageError as error:
            self._failed(error)
            handed_over = self._in_doubt is not None and self._in_doubt.batch is batch
            if error.full or not handed_over:  # full: the write failed that would have ended it in the file
                raise
            await self._judge(batch, error)

    async def _judge(self, batch: Batch, error: StorageError) -> None:
        """Return if a change is in the file although its commit failed, raise `error` if it is not."""
        try:
            if await self._find_out(batch):
                return
            await self._undo_change()
        except StorageError as later:
            raise StorageError(
                "it is not known whether the change was recorded",
                cause=f"{error.brief}. Then its file could not be read.",
                next_step="Mend the disk. The node then undoes the change if it finds it; ask again after that.",
                full=False,
                code="disk_in_doubt",
            ) from later
        raise error

    async def look(self) -> None:
        """Try a disk that is due while nothing waits to be recorded.

        Else a node without events never sees that its disk works again, and its loop spins until an event comes.
        """
        if self.problem is not None and self.retry_in_s <= 0:
            try:
                await self._try(Batch())
            except StorageError as error:
                self._failed(error)

    def _failed(self, error: StorageError) -> None:
        now_us = self._clock.now_us()
        if self.problem is None:
            self.since_us = now_us
            _log.error("%s", error.whole)
        self.problem = error
        self._wait_s = self._backoff.next_s()
        self._retry_at_us = now_us + int(self._wait_s * 1e6)

    def _recovered(self) -> None:
        if self.problem is not None:
            _log.warning("the store takes records again after %.1fs", (self._clock.now_us() - self.since_us) / 1e6)
        self.problem = None
        self._backoff.reset()

    def _unrecorded(self, batch: Batch, executions: int) -> int:
        """Count the executions of a batch that act without a record; they become a gap once the disk is back."""
        now_us = self._clock.now_us()
        if self._in_doubt is not None and self._in_doubt.batch is batch:
            self._in_doubt = replace(self._in_doubt, acted=True)
        before = batch.unrecorded or self._lost
        count = executions + (before.count if before else 0)
        self._lost = Unrecorded(count, before.since_us if before else now_us, now_us) if count else None
        self.unrecorded_total += executions
        return 0

    def take_unrecorded(self) -> Unrecorded | None:
        """Return what the next batch must report as lost, None while the disk is not to be tried."""
        if self.retry_in_s > 0:
            return None
        lost, self._lost = self._lost, None
        return lost

    @property
    def retry_in_s(self) -> float:
        """Seconds until a disk that refuses is tried again; 0 when it is to be tried now, or works."""
        if self.problem is None:
            return 0.0
        left_s = (self._retry_at_us - self._clock.now_us()) / 1e6
        return left_s if 0 < left_s <= self._wait_s else 0.0  # more is left only where the clock was set back

    @property
    def refuses_events(self) -> bool:
        """Whether the buffer is full and new events are to be rejected."""
        return isinstance(self.problem, BufferFull) and self._options.limits.on_full is OnFull.REJECT_NEW

    async def drop_aged(self) -> None:
        """Drop records that are older than the bound, as far as their age is known."""
        if self.problem is not None and not isinstance(self.problem, BufferFull):
            return
        try:
            step_us = self._watch.step_us()
            if step_us:
                await self._writer.run(lambda store: store.clock_was_set(step_us))
            if self._clock.steady_us() - self._opened_us < SETTLE_US:
                return
            for _ in range(DROPS_PER_VISIT):
                if not await self._writer.run(lambda store: store.drop_aged()):
                    return
                self.grown.set()  # by the gap
        except StorageError as error:
            self._failed(error)

    async def last_words(self, core: Core, bodies: Sequence[Body]) -> bool:
        """Commit what is left and the bodies, once; False when the disk refuses."""
        now_us = self._clock.now_us()
        core.evidence.hurry()
        for body in bodies:
            core.note(now_us, body)
        round_ = core.next_round(now_us, self.take_unrecorded())
        if round_ is None:
            return True
        try:
            first_seq = await self._try(round_.batch)
        except StorageError as error:
            self._failed(error)
            return False
        core.settle(round_, first_seq, now_us)
        core.acknowledge(round_)
        return True

    def as_dict(self) -> dict[str, object]:
        """Return JSON-able data."""
        problem = self.problem
        return {
            "state": "up" if problem is None else "failed",
            "problem": "" if problem is None else problem.brief,
            "next_step": "" if problem is None else problem.next_step,
            "since_us": self.since_us if problem else 0,
            "unrecorded": self.unrecorded_total,
        }
