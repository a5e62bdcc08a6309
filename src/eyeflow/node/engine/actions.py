"""Performs recorded actions: in order within a rule, rules side by side, with the retries that the rule declares."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from eyeflow.node.clock import Clock
from eyeflow.node.engine.admission import namespace_of
from eyeflow.node.engine.arbiter import Arbiter
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.intake import plain_text
from eyeflow.node.engine.rounds import Dispatch, PlannedAction
from eyeflow.node.engine.rule_host import backoff_s, named_failure
from eyeflow.node.engine.running import RunningRule
from eyeflow.node.ports import Driver
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import OnFailure, Site

_log = logging.getLogger("eyeflow.node")

WAITING_MAX = 64
"""Executions of one rule whose actions wait. Beyond that the rule runs no more events until its actions catch up."""
TIMEOUT_S = 30.0
"""Bound of one attempt whose rule declares no `timeout`."""
ERROR_CHARACTERS_MAX = 200


@dataclass(slots=True)
class _Lane:
    """The actions of one rule that wait, and the task that performs them; `ended` of the first dispatch have ended."""

    waiting: deque[Dispatch] = field(default_factory=deque)
    ended: int = 0
    task: asyncio.Task[None] | None = None


class ActionRunner:
    """Performs actions through the drivers; tells `core` how each ended and calls `wake` when it did."""

    def __init__(
        self, core: Core, drivers: Mapping[str, Driver], arbiter: Arbiter, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._core, self._drivers, self._arbiter, self._clock, self._wake = core, drivers, arbiter, clock, wake
        self._lanes: dict[str, _Lane] = {}

    def submit(self, dispatch: Dispatch) -> None:
        """Perform the actions of one recorded execution after those of the rule's earlier ones."""
        lane = self._lanes.setdefault(dispatch.rule.name, _Lane())
        lane.waiting.append(dispatch)
        self._mark(dispatch.rule.name, lane)
        if lane.task is None:
            lane.task = asyncio.create_task(self._work(dispatch.rule.name, lane))

    def _mark(self, name: str, lane: _Lane) -> None:
        rule = self._core.rules.get(name)
        if rule is not None and rule.stalled is not (stalled := len(lane.waiting) >= WAITING_MAX):
            rule.stalled = stalled
            self._wake()

    async def _work(self, name: str, lane: _Lane) -> None:
        try:
            while lane.waiting:
                await self._perform_all(lane)
                lane.waiting.popleft()
                lane.ended = 0
                self._mark(name, lane)
        finally:
            lane.task = None
            if not lane.waiting:
                self._lanes.pop(name, None)

    async def _perform_all(self, lane: _Lane) -> None:
        dispatch = lane.waiting[0]
        for place, action in enumerate(dispatch.actions):
            goes_on = await self._perform(dispatch, action)
            lane.ended += 1
            if not goes_on:
                for cancelled in dispatch.actions[place + 1 :]:
                    self._end(dispatch, cancelled, ActionOutcome.CANCELLED, 0, f"{action.site.capability} failed")
                return

    async def _perform(self, dispatch: Dispatch, action: PlannedAction) -> bool:
        """Perform one action with its retries; False when the rest of the execution is to be cancelled."""
        site, error = action.site, ""
        for attempt in range(1, site.retries + 2):
            if attempt > 1:
                dispatch.rule.health.action_retries += 1
                await self._clock.sleep(backoff_s(site, attempt - 1))
            error = await self._attempt(dispatch.rule, action)
            if not error:
                self._end(dispatch, action, ActionOutcome.DONE, attempt, "")
                return True
        skipped = site.on_failure is OnFailure.SKIP
        outcome = ActionOutcome.SKIPPED if skipped else ActionOutcome.FAILED
        self._end(dispatch, action, outcome, site.retries + 1, error)
        return skipped

    async def _attempt(self, rule: RunningRule, action: PlannedAction) -> str:
        """Try once; return what went wrong, empty when nothing did."""
        try:
            if not action.resource:
                await self._act(action)
            else:
                async with self._arbiter.lease(action.resource, rule.name, rule.program.priority):
                    await self._act(action)
        except CapabilityFailure as error:
            return str(error) or "failed"
        except TimeoutError:
            return f"no answer within {_timeout_s(action.site):g}s"
        except Exception as error:  # a driver's bug must not end the node; the rule has an answer for a failure
            _log.exception("driver of %s failed in an unforeseen way", action.site.capability)
            return f"internal error of the driver: {error!r}"
        return ""

    async def _act(self, action: PlannedAction) -> None:
        driver = self._drivers[namespace_of(action.site.capability)]
        async with asyncio.timeout(_timeout_s(action.site)):
            await driver.act(action.site.capability, action.named)

    def _end(
        self, dispatch: Dispatch, action: PlannedAction, outcome: ActionOutcome, attempts: int, error: str
    ) -> None:
        rule, now_us = dispatch.rule, self._clock.now_us()
        if outcome is ActionOutcome.DONE:
            rule.health.actions += 1
            if action.site.level:
                self._core.levels.done(action.site, action.named, action.resource, rule.name)
        else:
            rule.health.action_failures += 1
            rule.health.fail(named_failure(action.site.capability, error), now_us)
            if action.site.level:
                self._core.levels.failed(action.resource, rule.name)
        has_news = self._core.finish(dispatch.seq, action.index, now_us)
        if dispatch.seq and (outcome is not ActionOutcome.DONE or attempts > 1):
            self._core.note(now_us, _result(dispatch, action, outcome, attempts, error))
            has_news = True
        if has_news:
            self._wake()

    def cancel_rule(self, name: str) -> None:
        """Give up the actions of a rule that goes away: the one under way too."""
        lane = self._lanes.pop(name, None)
        if lane is None:
            return
        if lane.task is not None:
            lane.task.cancel()
        for number, dispatch in enumerate(lane.waiting):
            for action in dispatch.actions[lane.ended if number == 0 else 0 :]:
                self._end(dispatch, action, ActionOutcome.CANCELLED, 0, "the rule was removed")

    @property
    def waiting(self) -> int:
        """How many executions have actions that have not ended."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    async def stop(self, grace_s: float) -> None:
        """Let actions under way end within `grace_s`, then leave them: they stay pending in the store."""
        tasks = {lane.task for lane in self._lanes.values() if lane.task is not None}
        if not tasks:
            return
        timer = asyncio.ensure_future(self._clock.sleep(grace_s))
        while tasks and not timer.done():
            done, _ = await asyncio.wait({timer, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            tasks -= done
        timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(timer, *tasks, return_exceptions=True)


def _timeout_s(site: Site) -> float:
    return site.timeout_us / 1e6 if site.timeout_us else TIMEOUT_S


def _result(
    dispatch: Dispatch, action: PlannedAction, outcome: ActionOutcome, attempts: int, error: str
) -> ActionResultBody:
    error = plain_text(error, ERROR_CHARACTERS_MAX)
    return ActionResultBody(
        dispatch.rule.name, dispatch.program_id, dispatch.seq, action.index, int(outcome), attempts, error
    )
