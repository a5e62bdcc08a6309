"""One attempt at an action through its driver, and the record of how an action ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial

from eyeflow.base.reasons import internal
from eyeflow.node.clock import Clock
from eyeflow.node.engine.arbiter import Arbiter
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.intake import plain_text
from eyeflow.node.engine.rounds import Dispatch, PlannedAction
from eyeflow.node.engine.rule_host import named_failure
from eyeflow.node.io.ports import Driver
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody
from eyeflow.protocol.executions import FailureKind
from eyeflow.protocol.node_facts import namespace_of
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Site

_log = logging.getLogger("eyeflow.node")

TIMEOUT_S = 30.0
"""Bound of one attempt whose rule declares no `timeout`."""
START_US = 10_000_000
"""For so long after the start of a node an action waits for what its driver needs: a connection that is not up yet, a
server that cannot be reached yet. Later that is a failed attempt, and the rule has an answer for it."""
ERROR_CHARACTERS_MAX = 200
FAILURES = (ActionOutcome.FAILED, ActionOutcome.SKIPPED)
"""Outcomes that count against a program. What was cancelled or interrupted was never tried."""


class Performer:
    """Performs single attempts; tells `core` how actions ended and calls `wake` when that makes work for it."""

    def __init__(
        self, core: Core, drivers: Mapping[str, Driver], arbiter: Arbiter, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self.core, self.clock, self.wake = core, clock, wake
        self._drivers, self._arbiter = drivers, arbiter
        self._started_us = clock.steady_us()
        self._suspects = asyncio.Lock()

    @property
    def start_left_s(self) -> float:
        """Seconds for which actions still wait for their drivers; 0 once the start is over."""
        return max(0.0, (self._started_us + START_US - self.clock.steady_us()) / 1e6)

    def driver_of(self, action: PlannedAction) -> Driver:
        """Return the driver that serves an action."""
        return self._drivers[namespace_of(action.site.capability)]

    def begin(self, action: PlannedAction) -> asyncio.Future[None] | None:
        """Start an action whose end the next one need not wait for; None: `attempt` performs it.

        Not one on a physical resource, which needs its lease, and not one with retries: a later message would come
        before the one that is repeated.
        """
        driver = self.driver_of(action)
        if action.resource or action.site.retries or not driver.is_ready:
            return None
        try:
            return driver.begin(action.site.capability, action.named)
        except Exception as error:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(failure_of(action, error))
            return failed

    @asynccontextmanager
    async def counted(self, dispatch: Dispatch, action: PlannedAction, ends: int) -> AsyncIterator[None]:
        """Let what a crash left be told to its driver in the block: once it is durable that it is (`tries`).

        One under which the node has ended before, `ends` times, is told alone: of several, nobody could say which one
        ends the node. How the one before it ended is durable by then, with the same batch.
        """
        async with self._suspects if ends else nullcontext():
            kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.core.tries.put(dispatch.seq, action.index, ends + 1, partial(_settle, kept))
            self.wake()
            await kept
            yield

    def answered(self, dispatch: Dispatch, action: PlannedAction) -> None:
        """The driver answered, and the action has not ended: it is not what ends the node."""
        self.core.tries.put(dispatch.seq, action.index, 0)
        self.wake()

    async def attempt(
        self, dispatch: Dispatch, action: PlannedAction, told: Callable[[], None]
    ) -> CapabilityFailure | None:
        """Try once; return what went wrong. `told` is called when the driver is told to act."""
        try:
            if not action.resource:
                told()
                await self._act(action)
            else:
                async with self._arbiter.lease(action.resource, dispatch.key, dispatch.rule.program.priority):
                    told()
                    await self._act(action)
        except Exception as error:
            return failure_of(action, error)
        return None

    async def _act(self, action: PlannedAction) -> None:
        async with asyncio.timeout(timeout_s(action.site)):
            await self.driver_of(action).act(action.site.capability, action.named)

    def _count(self, dispatch: Dispatch, action: PlannedAction, outcome: ActionOutcome) -> None:
        """Count an execution that acted once it is known how that ended: until then it is pending.

        A verdict that took actions under way for good ones would pass a program whose messages all run into time-outs.
        What was given up speaks neither for the program nor against it.
        """
        evidence, is_over = dispatch.evidence, outcome in FAILURES or action.index == dispatch.last_acting
        if evidence is None or dispatch.has_acted or not is_over:
            return
        dispatch.has_acted = True
        evidence.pending -= 1
        evidence.acted += outcome is ActionOutcome.DONE or outcome in FAILURES

    def end(
        self, dispatch: Dispatch, action: PlannedAction, outcome: ActionOutcome, attempts: int, error: str = ""
    ) -> None:
        """Count and record how an action ended; it is pending no more."""
        rule, now_us = dispatch.rule, self.clock.now_us()
        self._count(dispatch, action, outcome)
        if outcome is ActionOutcome.DONE:
            rule.health.actions += 1
            if action.site.level:
                self.core.levels.done(action.site, action.named, action.resource, dispatch.key)
        else:
            rule.health.action_failures += 1
            if dispatch.evidence is not None and outcome in FAILURES and not dispatch.has_failed:
                dispatch.has_failed = True
                dispatch.evidence.failed_actions += 1
                what = named_failure(action.site.capability, error) + rule.loaded.at_line(action.site)
                dispatch.evidence.note(FailureKind.ACTION, now_us, what, dispatch.seq)
            rule.health.fail(named_failure(action.site.capability, error), now_us)
            if action.site.level:
                self.core.levels.failed(action.resource, dispatch.key)
        has_news = self.core.finish(dispatch.seq, action.index, now_us)
        if dispatch.seq and (outcome is not ActionOutcome.DONE or attempts > 1):
            self.core.note(now_us, _result(dispatch, action, outcome, attempts, error))
            has_news = True
        if has_news:
            self.wake()


def _settle(kept: asyncio.Future[None]) -> None:
    if not kept.done():
        kept.set_result(None)


def timeout_s(site: Site) -> float:
    """Return how long one attempt may take."""
    return site.timeout_us / 1e6 if site.timeout_us else TIMEOUT_S


def failure_of(action: PlannedAction, error: BaseException) -> CapabilityFailure:
    """Return what a rule and its record hear of an attempt that failed; its text is never empty."""
    if isinstance(error, CapabilityFailure):
        return _with_words(error)
    if isinstance(error, TimeoutError | asyncio.CancelledError):
        return CapabilityFailure(f"no answer within {timeout_s(action.site):g}s")
    # A driver's bug must not end the node; the rule has an answer for a failure.
    _log.error("driver of %s failed in an unforeseen way", action.site.capability, exc_info=error)
    return CapabilityFailure(f"in the driver: {internal(error)}")


def _with_words(error: CapabilityFailure) -> CapabilityFailure:
    return error if str(error) else CapabilityFailure("failed")


def _result(
    dispatch: Dispatch, action: PlannedAction, outcome: ActionOutcome, attempts: int, error: str
) -> ActionResultBody:
    error = plain_text(error, ERROR_CHARACTERS_MAX)
    decided = (dispatch.key.rule, dispatch.program_id, dispatch.seq, action.index)
    return ActionResultBody(*decided, int(outcome), attempts, error, dispatch.key.slot.value)
