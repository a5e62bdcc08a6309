"""The actions of one running program, in order.

An action starts after all earlier ones of its program have ended, but for one case: where a driver starts actions in
order and hears later how they ended (`Driver.begin`), up to UNDER_WAY_MAX executions are under way. Within an execution
the next action always waits for the one before, whose failure cancels it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial

from eyeflow.base.subject import Subject
from eyeflow.node.engine.performing import Performer, failure_of, timeout_s
from eyeflow.node.engine.rounds import Dispatch, PlannedAction
from eyeflow.node.engine.rule_host import backoff_s
from eyeflow.node.io.ports import Driver, Unreachable
from eyeflow.protocol.audit_bodies import ActionOutcome
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import OnFailure

UNDER_WAY_MAX = 64
"""Executions of one program whose last action was sent and is not confirmed."""
BEHIND_S = 0.05
"""How often a rule looks whether what its last run left has been performed."""
AGAIN_S = 0.2
"""Wait before an action is tried again that could not reach its server at the start of the node."""


class Lane:
    """The actions of one program that have not ended. `is_behind` says whether they have to wait for those of another.

    `resumed`: a crash left them; they wait for their driver for as long as it takes. `blocked_by` is that driver.
    """

    def __init__(
        self,
        performer: Performer,
        changed: Callable[[], None],
        *,
        resumed: bool = False,
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._performer, self._changed = performer, changed
        self._resumed, self._is_behind = resumed, is_behind
        self._queue: deque[Dispatch] = deque()
        self._ended = 0
        self._attempt = 0
        """The number of the attempt of `task` that its driver was told of and has not answered; 0: there is none."""
        self._under_way: dict[asyncio.Future[None], tuple[Dispatch, PlannedAction, float]] = {}
        """With the moment at which nobody waits for the answer any more, on the clock of the event loop."""
        self._timer: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()
        self.blocked_by: Driver | None = None
        self.task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many executions have actions that have not ended."""
        return len(self._queue) + len(self._under_way)

    @property
    def oldest_seq(self) -> int:
        """The lowest record number of an execution whose actions have not ended; 0: there is none."""
        waiting = [dispatch for dispatch, *_ in self._under_way.values()] + [*self._queue][:1]
        return min((dispatch.seq for dispatch in waiting), default=0)

    @property
    def next_seq(self) -> int:
        """The record number of the execution whose actions start next; 0: there is none."""
        return self._queue[0].seq if self._queue else 0

    @property
    def busy(self) -> set[asyncio.Future[None]]:
        """What has to end before this lane has nothing to do, as far as it is not blocked."""
        if self._resumed and not self._attempt:
            return set()  # it waits for its driver, or to be counted: nothing was told that could end
        return {*self._under_way, *([] if self.task is None else [self.task])}

    def add(self, dispatch: Dispatch) -> None:
        """Perform the actions of one recorded execution after those of the earlier ones."""
        self._queue.append(dispatch)
        with Subject(f"rule {dispatch.rule.key}"):  # the task and the callbacks of this lane start there
            self._go()

    def _go(self) -> None:
        """Start what may start now; a task does the rest."""
        if self.task is not None:
            return
        # Only executions with one action: where there are more, the next one waits for how the one before has ended.
        while self._queue and len(self._queue[0].actions) == 1 and not self._resumed and not self._is_behind():
            if len(self._under_way) >= UNDER_WAY_MAX:
                return  # whatever ends next comes here again
            if not self._begin(self._queue[0], self._queue[0].actions[0]):
                break
            self._queue.popleft()
        if self._queue:
            self.task = asyncio.create_task(self._work())

    def _begin(self, dispatch: Dispatch, action: PlannedAction) -> bool:
        """Start an action and let it end by itself; False where it cannot."""
        answer = self._performer.begin(action)
        if answer is None:
            return False
        until_s = asyncio.get_running_loop().time() + timeout_s(action.site)
        self._under_way[answer] = (dispatch, action, until_s)
        if self._timer is None or until_s < self._timer.when():
            self._wake_at(until_s)
        self._drained.clear()
        answer.add_done_callback(self._confirmed)
        return True

    def _wake_at(self, until_s: float) -> None:
        """Look for answers that did not come. One timer for all: one for each action costs more than the action."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(until_s, self._give_up_late)

    def _give_up_late(self) -> None:
        self._timer, now_s = None, asyncio.get_running_loop().time()
        for answer in [one for one, (*_, until_s) in self._under_way.items() if until_s <= now_s]:
            answer.cancel()
        left = [until_s for *_, until_s in self._under_way.values() if until_s > now_s]
        if left:
            self._wake_at(min(left))

    def _confirmed(self, answer: asyncio.Future[None]) -> None:
        if answer not in self._under_way:
            return  # it ended just before `leave`, which cannot take back this call
        self._take_answer(answer)
        if not self._under_way:
            self._drained.set()
        self._go()
        self._changed()

    def _take_answer(self, answer: asyncio.Future[None]) -> None:
        dispatch, action, _ = self._under_way.pop(answer)
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        self._end(dispatch, action, 1, None if error is None else failure_of(action, error))

    async def _work(self) -> None:
        try:
            while self._queue:
                while self._is_behind():
                    await self._performer.clock.sleep(BEHIND_S)
                await self._perform_all(self._queue[0])
                self._queue.popleft()
                self._ended = 0
                self._changed()
        finally:
            self.task = None
        self._changed()

    async def _perform_all(self, dispatch: Dispatch) -> None:
        for place, action in enumerate(dispatch.actions):
            is_last = place + 1 == len(dispatch.actions)
            if is_last and not self._resumed and len(self._under_way) < UNDER_WAY_MAX and self._begin(dispatch, action):
                return
            # This action is performed to its end here: it must not get ahead of messages that are not confirmed yet.
            if self._under_way:
                await self._drained.wait()
            goes_on = await self._perform(dispatch, action)
            self._ended += 1
            if not goes_on:
                for cancelled in dispatch.actions[place + 1 :]:
                    reason = f"{action.site.capability} failed"
                    self._performer.end(dispatch, cancelled, ActionOutcome.CANCELLED, 0, reason)
                return

    async def _perform(self, dispatch: Dispatch, action: PlannedAction) -> bool:
        """Perform one action with its retries; False when the rest of the execution is to be cancelled."""
        site, driver, attempts, ends = action.site, self._performer.driver_of(action), 0, action.ends
        while True:
            await self._until_ready(driver)
            error = await self._try(dispatch, action, attempts + 1, ends)
            self._attempt = 0
            waits_longer = error is not None and self._waits_longer(driver, error)
            attempts += not waits_longer
            if not waits_longer and (error is None or attempts > site.retries):
                return self._end(dispatch, action, attempts, error)
            if self._resumed:
                ends = 0
                self._performer.answered(dispatch, action)
            dispatch.rule.health.action_retries += not waits_longer
            await self._performer.clock.sleep(AGAIN_S if waits_longer else backoff_s(site, attempts))

    async def _try(
        self, dispatch: Dispatch, action: PlannedAction, attempt: int, ends: int
    ) -> CapabilityFailure | None:
        """Tell the driver once, and wait for its answer: what went wrong, None for nothing."""
        async with self._performer.counted(dispatch, action, ends) if self._resumed else nullcontext():
            return await self._performer.attempt(dispatch, action, partial(self._told, attempt))

    def _told(self, attempt: int) -> None:
        self._attempt = attempt

    async def _until_ready(self, driver: Driver) -> None:
        if driver.is_ready:
            return
        if self._resumed:
            self.blocked_by = driver
            await driver.until_ready()
            self.blocked_by = None
        elif (left_s := self._performer.start_left_s) > 0:
            await _first_of(driver.until_ready(), self._performer.clock.sleep(left_s))

    def _waits_longer(self, driver: Driver, error: CapabilityFailure) -> bool:
        """Say whether an attempt does not count, because what the driver needs is not there yet."""
        starts = self._performer.start_left_s > 0
        return (not driver.is_ready and (self._resumed or starts)) or (starts and isinstance(error, Unreachable))

    def _end(self, dispatch: Dispatch, action: PlannedAction, attempts: int, error: CapabilityFailure | None) -> bool:
        """Record how an action ended; False when the rest of its execution is to be cancelled."""
        if error is None:
            self._performer.end(dispatch, action, ActionOutcome.DONE, attempts)
            return True
        skipped = action.site.on_failure is OnFailure.SKIP
        outcome = ActionOutcome.SKIPPED if skipped else ActionOutcome.FAILED
        self._performer.end(dispatch, action, outcome, attempts, str(error))
        return skipped

    def leave(self) -> list[asyncio.Future[None]]:
        """Stop acting; what has not ended stays pending in the store. Returns what is to be waited for."""
        if self._timer is not None:
            self._timer.cancel()
        for answer in self._under_way:
            answer.remove_done_callback(self._confirmed)
        left = [*self._under_way, *([] if self.task is None else [self.task])]
        for one in left:
            one.cancel()
        self._under_way.clear()
        self._queue.clear()
        return left

    def cancel(self, reason: str, is_given_up: Callable[[Dispatch], bool] = lambda dispatch: True) -> None:
        """Give up the actions of these executions, the ones under way too; the others go on.

        What a driver was told and has not answered is interrupted, what was told nobody is cancelled.
        """
        for dispatch, action in self._take_under_way(is_given_up):
            self._performer.end(dispatch, action, ActionOutcome.INTERRUPTED, 1, reason)
        left = list[tuple[Dispatch, PlannedAction]]()
        for number, dispatch in enumerate(queue := list(self._queue)):
            if is_given_up(dispatch):
                left += [(dispatch, action) for action in dispatch.actions[self._ended if number == 0 else 0 :]]
        if queue and is_given_up(queue[0]):
            if self._attempt:
                self._performer.end(*left.pop(0), ActionOutcome.INTERRUPTED, self._attempt, reason)
            self._stop_working()
        self._queue = deque(dispatch for dispatch in queue if not is_given_up(dispatch))
        for dispatch, action in left:
            self._performer.end(dispatch, action, ActionOutcome.CANCELLED, 0, reason)
        self._go()
        self._changed()

    def _take_under_way(self, is_given_up: Callable[[Dispatch], bool]) -> list[tuple[Dispatch, PlannedAction]]:
        """Wait no more for the confirmations of these executions; return what they are of.

        What its driver has answered ended so, although this lane was to hear of it only in the next step of the loop.
        """
        taken = [answer for answer, (dispatch, _, _) in self._under_way.items() if is_given_up(dispatch)]
        found = []
        for answer in taken:
            if answer.done():
                self._take_answer(answer)
                continue
            dispatch, action, _ = self._under_way.pop(answer)
            answer.cancel()
            found.append((dispatch, action))
        if not self._under_way:
            self._drained.set()
        return found

    def _stop_working(self) -> None:
        """Leave the first execution; what comes after it starts when its action has let go of its driver."""
        self._ended, self._attempt, self.blocked_by = 0, 0, None
        if self.task is not None:
            self.task.cancel()
            self.task.add_done_callback(self._work_ended)

    def _work_ended(self, task: asyncio.Future[None]) -> None:
        if self.task is task:
            self.task = None  # it was cancelled before its first step
        self._go()


async def _first_of(*waits: Awaitable[None]) -> None:
    """Return when one of them ends; the others are cancelled."""
    tasks = {asyncio.ensure_future(wait) for wait in waits}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
