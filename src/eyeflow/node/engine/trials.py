"""A node judges its programs on trial by itself, and takes back those that fail: online, offline and after a crash.

It looks when something has been counted, once a second at most, so an idle node is not woken. It looks before anything
runs, too: a program under which the node crashed again and again never runs again. Only a failure makes it act. A pass
is what the coordinator says, or nobody.
"""

from __future__ import annotations

import asyncio
import logging

from eyeflow.base.reasons import internal
from eyeflow.evidence.verdict import Kind, Verdict
from eyeflow.node.clock import Clock
from eyeflow.node.control import InstallOutcome
from eyeflow.node.engine.installer import Installer
from eyeflow.node.engine.judging import judge_active, judge_candidate
from eyeflow.node.engine.running import RunningRule
from eyeflow.node.run_key import active, previous
from eyeflow.node.store.types import SlotRow
from eyeflow.protocol.slot import Slot

_log = logging.getLogger("eyeflow.node")

LOOK_S = 1.0
"""How long after a look the next one comes at the earliest, and when a change that the disk refused is tried again."""


class Trials:
    """Watches the programs on trial. Tell it with `stir` that something was counted."""

    def __init__(self, installer: Installer, clock: Clock) -> None:
        self._installer, self._clock = installer, clock
        self._stirred = asyncio.Event()
        self._told: set[tuple[str, str]] = set()
        """Programs and deployments that the log was told of."""

    def stir(self) -> None:
        """Something was counted: look soon, if a program is on trial."""
        if self._installer.table.has_trials:
            self._stirred.set()

    async def look(self) -> bool:
        """Judge each program on trial and take back those that failed; False when one is to be tried again."""
        results = [await self._act(rule) for rule in self._installer.on_trial()]
        return all(results)

    def verdict(self, rule: RunningRule) -> Verdict:
        """Return how a program on trial does. A candidate that runs alone is judged by what is allowed."""
        trial, now_us, table = rule.row.trial, self._clock.now_us(), self._installer.table
        assert trial is not None, "it is on trial"
        if rule.key.slot is Slot.ACTIVE:
            return judge_active(rule.evidence, table.evidence.get(previous(rule.name)), trial, now_us)
        beside = self._installer.running(active(rule.name))
        if beside is None:  # it is the first of its rule, or the active one was taken back
            return judge_active(rule.evidence, None, trial, now_us)
        return judge_candidate(rule.evidence, beside.evidence, trial, rule.row.deployment, now_us)

    async def _act(self, rule: RunningRule) -> bool:
        row = rule.row
        try:
            found = self.verdict(rule)
        except Exception as error:  # a bug in the judgement must not end the node, nor keep it from its start
            self._tell(row, f"it could not be judged: {internal(error)}")
            return True
        if found.kind is not Kind.FAIL:
            return True
        if row.trial is not None and row.trial.rollback:
            result = await self._installer.take_back(row, found.reason)
            if result.outcome is not InstallOutcome.REFUSED:
                return True
            if result.code.startswith("storage"):
                return False
            self._tell(row, f"it failed, and stays: {result.message}. {found.reason}")
        else:
            self._tell(row, f"it failed: {found.reason}")
        return True

    def _tell(self, row: SlotRow, why: str) -> None:
        what = (row.program_id.hex(), row.deployment)
        if what not in self._told:
            self._told.add(what)
            _log.error("trial of %s: %s", row.key, why)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            if not await self.look():
                self._stirred.set()
            await self._clock.sleep(LOOK_S)
