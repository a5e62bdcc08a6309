"""Runs programs: takes events, gives them their turns, makes each round durable, and only then lets it happen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from eyeflow.base.clock import ClockWatch
from eyeflow.node.clock import Clock
from eyeflow.node.engine.actions import ActionRunner
from eyeflow.node.engine.arbiter import Arbiter
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.disk import DiskGuard, Undo
from eyeflow.node.engine.options import EngineOptions
from eyeflow.node.engine.rounds import Round
from eyeflow.node.engine.running import QueuedEvent, RunningRule
from eyeflow.node.engine.turns import EVENTS_PER_ROUND
from eyeflow.node.io.ports import Driver, IncomingEvent
from eyeflow.node.run_key import RunKey
from eyeflow.node.store.types import Batch, StorageError
from eyeflow.node.store.writer import Writer
from eyeflow.protocol.audit_bodies import Body, CheckpointBody, StopBody

_log = logging.getLogger("eyeflow.node")

IDLE_S_MAX = 60.0
"""The engine looks at the clock at least this often: somebody may have set it."""
EARLY_US_MAX = 200_000
"""By how much a timer may wake the engine too early. Not by more: it may stand still while the machine sleeps."""
HOUSEKEEPING_US = 60_000_000
STOP_GRACE_S = 5.0
TELL_US = 60_000_000
"""The log is told that a rule does not keep up at most this often."""
FULL_REASON = "the node's buffer is full"


class Engine:
    """The shell around `Core`: one task runs `run`; `deliver` is what sources call."""

    def __init__(
        self,
        core: Core,
        writer: Writer,
        drivers: Mapping[str, Driver],
        arbiter: Arbiter,
        clock: Clock,
        options: EngineOptions,
    ) -> None:
        self.core, self.clock, self.arbiter, self.drivers = core, clock, arbiter, drivers
        self.actions = ActionRunner(core, drivers, arbiter, clock, self.wake)
        self.disk = DiskGuard(writer, clock, options)
        self._writer, self._options = writer, options
        self._clock_watch = ClockWatch(clock.now_us, clock.steady_us)
        self._wakeup, self._space = asyncio.Event(), asyncio.Event()
        self._turn = asyncio.Lock()
        self._beside: set[asyncio.Task[None]] = set()
        self._housekept_us = self._timer_us = 0
        self._timer: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.on_counted: Callable[[], None] = lambda: None
        """Called after each round that recorded something: the evidence of programs may be another."""

    @property
    def last_seq(self) -> int:
        """The number of the last record."""
        return self._writer.store.head[0]

    def wake(self) -> None:
        """Make `run` look for work."""
        self._wakeup.set()

    async def deliver(self, event: IncomingEvent) -> None:
        """Take an event from a source; waits while a rule has no room for it, so that its source is slowed down."""
        while (full := self.core.intake.waits_for(event)) and not self._stopping:
            await self._wait_for_room(event, full)
        if self._stopping:
            return  # never acknowledged: its sender sends it again
        self._look_at_clock()
        if self.disk.refuses_events:
            self.core.intake.offer(event._replace(rejected=FULL_REASON, done=None), self.clock.now_us())
            if answer := event.refused or event.done:
                answer()
            return
        self.core.intake.offer(event, self.clock.now_us())
        self.wake()

    async def _wait_for_room(self, event: IncomingEvent, full: list[RunningRule]) -> None:
        now_us = self.clock.now_us()
        for rule in full:
            rule.holds_back += 1
            if rule.is_slow and abs(now_us - rule.told_us) >= TELL_US:
                rule.told_us = now_us
                _log.warning("rule %s does not keep up: %s waits for it", rule.key, event.subscription.source)
        self._space.clear()
        try:
            await self._space.wait()
        finally:
            for rule in full:
                rule.holds_back -= 1

    async def run(self) -> None:
        """Run rounds until `stop`."""
        self._task = asyncio.current_task()
        while not self._stopping:
            self._wakeup.clear()
            try:
                await self.turn()
            except StorageError:
                if not self._stopping:
                    raise
                return  # the disk refused in the moment of the stop: the round is given up, unacknowledged
            if not self._has_work():
                await self._idle()
            else:
                # Without it a node under load would leave sources, lanes and the link no turn.
                await asyncio.sleep(0)

    def _has_work(self) -> bool:
        """Whether a turn would do something; what can only be recorded waits until the disk is tried again."""
        beside = any(rule.runs_beside and rule.is_ready for rule in self.core.rules.values())
        return beside or (self.core.has_events if self.disk.retry_in_s > 0 else self.core.has_work(self.clock.now_us()))

    async def _idle(self) -> None:
        """Sleep until something happens, a timer is due or the disk is tried again."""
        waits_for_disk = self.disk.retry_in_s > 0
        due_us = self.core.scheduler.next_us() if waits_for_disk else self.core.next_due_us()
        wait_s = IDLE_S_MAX if due_us is None else min((due_us - self.clock.now_us()) / 1e6, IDLE_S_MAX)
        if self.disk.problem is not None:
            wait_s = min(wait_s, self.disk.retry_in_s)
        if wait_s <= 0:
            await asyncio.sleep(0)
            return
        self._wake_within(wait_s)
        await self._wakeup.wait()

    def _wake_within(self, wait_s: float) -> None:
        """Let time wake `run`. One that fires little earlier is kept, which at a steady pace saves one an event."""
        fires_us = self.clock.steady_us() + int(wait_s * 1e6)
        if self._timer is not None and not self._timer.done():
            if self._timer_us <= fires_us <= self._timer_us + EARLY_US_MAX:
                return
            self._timer.cancel()
        self._timer, self._timer_us = asyncio.ensure_future(self._wake_later(wait_s)), fires_us

    async def _wake_later(self, wait_s: float) -> None:
        await self.clock.sleep(wait_s)
        self.wake()

    async def turn(self) -> bool:
        """Run one round and make it durable; False when there was nothing to do."""
        async with self._turn:
            await self._housekeep()
            self._look_at_clock()
            self.core.tick(self.clock.now_us())
            self.core.intake.shedding.look(self.clock.now_us())
            self._start_slow()
            round_ = self.core.next_round(self.clock.now_us(), self.disk.take_unrecorded())
            if round_ is None:
                await self.disk.look()
                return False
            await self._record(round_)
        return True

    def _look_at_clock(self) -> None:
        step_us = self._clock_watch.step_us()
        if step_us:
            way = "forward" if step_us > 0 else "back"
            _log.warning(
                "the clock was set %s by %.1fs: time words go on as if it had not been", way, abs(step_us) / 1e6
            )
            self.core.clock_was_set(step_us, self.clock.now_us())

    async def _record(self, round_: Round) -> None:
        first_seq = await self.disk.commit(round_.batch, len(round_.executed))
        for dispatch in self.core.settle(round_, first_seq, self.clock.now_us()):
            self.actions.submit(dispatch)
        self.core.acknowledge(round_)  # last: somebody waits for what the actions do
        self._space.set()
        if round_.batch.drafts:
            self.on_counted()

    async def _housekeep(self) -> None:
        now_us = self.clock.now_us()
        if abs(now_us - self._housekept_us) >= HOUSEKEEPING_US:
            self._housekept_us = now_us
            await self.disk.drop_aged()

    def _start_slow(self) -> None:
        """Give each rule that asks models or makes slow reads a thread for its next event."""
        for rule in self.core.rules.values():
            if rule.runs_beside and rule.is_ready:
                rule.busy = True
                task = asyncio.create_task(self._run_beside(rule, rule.queue.popleft()))
                self._beside.add(task)
                task.add_done_callback(self._beside.discard)

    async def _run_beside(self, rule: RunningRule, event: QueuedEvent) -> None:
        try:
            self.core.complete(await self._options.in_thread(partial(self.core.step, rule, event, self.clock.now_us())))
        except Exception as error:  # of the SVM, or the system has no thread left: else the rule stays busy for ever
            self.core.failed(rule, event, error, self.clock.now_us())
            rule.busy = False
        self._space.set()
        self.wake()

    @asynccontextmanager
    async def between_events(self, *keys: RunKey) -> AsyncIterator[None]:
        """Hold these programs and the engine between two events: for a swap."""
        rules = [rule for key in keys if (rule := self.core.rules.get(key)) is not None]
        for rule in rules:
            rule.held = True
        try:
            while any(rule.busy for rule in rules):
                self._space.clear()
                await self._space.wait()
            async with self._turn:
                yield
        finally:
            for rule in rules:
                rule.held = False
            self.wake()

    async def run_out(self, key: RunKey, count: int) -> None:
        """Run what waited for a program, held between two events: the first `count`, not what comes meanwhile.

        Not for one that runs beside the turns, which may take minutes: its events wait for whoever comes after it.
        """
        rule = self.core.rules.get(key)
        left = 0 if rule is None or rule.runs_beside else count
        while rule is not None and left > 0:
            round_ = self.core.round_of(rule, left, self.clock.now_us())
            left -= EVENTS_PER_ROUND
            await to_its_end(self._record(round_))

    async def commit_change(
        self, batch: Batch, then: Callable[[], None] = lambda: None, undo: Undo | None = None
    ) -> None:
        """Make a change that is no round durable, then let it happen; raises StorageError as `DiskGuard.commit_once`.

        What `Core.keep` was given goes along: whom the node trusts is durable with the first program that runs or stops
        because of that. Whoever is cancelled meanwhile is so after both: what is durable is what runs.
        """

        async def carry_out() -> None:
            kept = dict(self.core.kept)
            await self.disk.commit_once(replace(batch, put_meta=(*batch.put_meta, *kept.items())), undo)
            self.core.was_kept(kept)
            then()

        await to_its_end(carry_out())

    async def keep_now(self) -> None:
        """Make durable what `Core.keep` was given, before anybody is told that it is. Raises StorageError."""
        async with self.between_events():
            if self.core.kept:
                await self.commit_change(Batch())

    def subscriptions_changed(self) -> None:
        """Tell the sources what is wanted now."""
        self._options.on_subscriptions(self.core.intake.subscriptions())
        self._space.set()
        self.wake()

    def finish(self) -> None:
        """Make `run` return after its round. One that waits for the disk is given up, unacknowledged."""
        self._stopping = self.disk.stopping = True
        self.wake()
        self._space.set()
        if self._task is not None and self.disk.problem is not None:
            self._task.cancel()

    async def stop(self, reason: str, public_key: bytes) -> bool:
        """End `run` and the actions, record the stop with a checkpoint; False when the disk did not take that."""
        self.finish()
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._timer is not None:
            self._timer.cancel()
        await self.actions.stop(STOP_GRACE_S)
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        for rule in self.core.rules.values():
            rule.held = True  # what still waits was not acknowledged: it comes again
        bodies: tuple[Body, ...] = (StopBody(reason), CheckpointBody(public_key))
        return await self.disk.last_words(self.core, bodies)


async def to_its_end(work: Coroutine[None, None, None]) -> None:
    """Wait for `work` to its end. Who is cancelled meanwhile is so after it: half of it would be durable only."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
