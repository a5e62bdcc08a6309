"""Performs recorded actions: in order within a rule, rules side by side, with the retries that the rule declares."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import partial

from eyeflow.node.clock import Clock
from eyeflow.node.engine.arbiter import Arbiter
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.lane import Lane
from eyeflow.node.engine.performing import Performer
from eyeflow.node.engine.rounds import Dispatch
from eyeflow.node.io.ports import Driver
from eyeflow.node.run_key import RunKey, active, candidate
from eyeflow.protocol.slot import Slot

WAITING_MAX = 64
"""Executions of one rule whose actions wait. Beyond that the rule runs no more events until its actions catch up."""


class ActionRunner:
    """Performs actions through the drivers; tells `core` how each ended and calls `wake` when it did."""

    def __init__(
        self, core: Core, drivers: Mapping[str, Driver], arbiter: Arbiter, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._core, self._clock, self._wake = core, clock, wake
        self._performer = Performer(core, drivers, arbiter, clock, wake)
        self._lanes: dict[RunKey, Lane] = {}
        self._resumed: dict[str, Lane] = {}
        """One for each rule: on a key the candidate may have acted after the active program, in the last run."""
        self._parted: dict[str, list[int]] = {}
        """Rules whose events came to go to another of their programs, and the last record before each time."""

    def submit(self, dispatch: Dispatch) -> None:
        """Perform the actions of one recorded execution after those of the rule's earlier ones."""
        key = dispatch.key
        lane = self._lanes.get(key)
        if lane is None:
            changed, is_behind = partial(self._mark, key), partial(self._is_behind, key)
            lane = self._lanes[key] = Lane(self._performer, changed, is_behind=is_behind)
        lane.add(dispatch)
        self._mark(key)

    def resume(self, dispatch: Dispatch) -> None:
        """Perform what a crash left of one execution, once its driver is ready, however long that takes.

        A lane of its own: a broker that is away for days must not keep the rule from switching its pumps meanwhile.
        """
        rule = dispatch.key.rule
        lane = self._resumed.get(rule)
        if lane is None:
            lane = self._resumed[rule] = Lane(self._performer, partial(self._resumed_changed, rule), resumed=True)
        lane.add(dispatch)

    def _resumed_changed(self, rule: str) -> None:
        if rule in self._resumed and not self._resumed[rule]:
            del self._resumed[rule]

    def part(self, rule: str, seq: int) -> None:
        """From now on other events go to each program of a rule: what comes after record `seq` is done after the rest.

        Else an action on a key could overtake an earlier one, which the other program had asked for.
        """
        lanes = [lane for key in (active(rule), candidate(rule)) if (lane := self._lanes.get(key))]
        oldest = min((lane.oldest_seq for lane in lanes), default=seq + 1)
        self._parted[rule] = [one for one in self._parted.get(rule, []) if one >= oldest] + [seq]

    def _waits_for_other(self, key: RunKey) -> bool:
        """Say whether the other program of a rule has yet to do what came before events were parted otherwise."""
        if not (parted := self._parted.get(key.rule)):
            return False
        other = self._lanes.get(candidate(key.rule) if key.slot is Slot.ACTIVE else active(key.rule))
        own = self._lanes.get(key)
        if not other or not own:
            return False
        return bisect_left(parted, other.oldest_seq) < bisect_left(parted, own.next_seq)

    def _is_behind(self, key: RunKey) -> bool:
        """Say whether new actions of a program must wait for older ones of its rule, to come after them.

        Those of the node's last run: when the start is over, not for what a driver holds up that is not there. And
        those that came before its events were parted otherwise between both programs.
        """
        if self._waits_for_other(key):
            return True
        resumed = self._resumed.get(key.rule)
        if resumed is None:
            return False
        driver = resumed.blocked_by
        return driver is None or driver.is_ready or self._performer.start_left_s > 0

    def _mark(self, key: RunKey) -> None:
        """Let the rule run no more events while too many of its executions have actions that have not ended."""
        rule = self._core.rules.get(key)
        lane = self._lanes.get(key)
        if rule is None or lane is None:
            return
        stalled = len(lane) >= WAITING_MAX
        if rule.stalled is not stalled:
            rule.stalled = stalled
            self._wake()

    def cancel(self, key: RunKey, reason: str) -> None:
        """Give up the actions of a program that goes away: those under way too."""
        if resumed := self._resumed.get(key.rule):
            resumed.cancel(reason, lambda dispatch: dispatch.key == key)
        if lane := self._lanes.pop(key, None):
            lane.cancel(reason)

    def withhold(self, is_withheld: Callable[[Dispatch], bool], reason: str) -> None:
        """Give up the actions of some executions, the ones under way too; those of others go on in their order."""
        for lane in self._all():
            lane.cancel(reason, is_withheld)

    @property
    def waiting(self) -> int:
        """How many executions have actions that have not ended."""
        return sum(len(lane) for lane in self._all())

    def _all(self) -> list[Lane]:
        return [*self._lanes.values(), *self._resumed.values()]

    async def stop(self, grace_s: float) -> None:
        """Let actions under way end within `grace_s`, then leave them: they stay pending in the store."""
        timer = asyncio.ensure_future(self._clock.sleep(grace_s))
        while not timer.done() and (busy := set[asyncio.Future[None]]().union(*(lane.busy for lane in self._all()))):
            await asyncio.wait({timer, *busy}, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        left = [one for lane in self._all() for one in lane.leave()]
        self._lanes.clear()
        self._resumed.clear()
        await asyncio.gather(timer, *left, return_exceptions=True)
