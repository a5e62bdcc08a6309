"""Watches programs that passed: one that begins to fail later raises an alarm, and people may take it back.

Nothing is taken back by itself: days after a rollout the cause is as likely the plant as the program. Nodes and boards
are judged apart, as while the deployment went on (docs/decisions/0025): busy nodes must hide no board.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from eyeflow.base.record import dataclass
from eyeflow.coordinator.judging import settings_of, tally_of, while_judged
from eyeflow.coordinator.store.cases import Case, CaseKind, kept
from eyeflow.coordinator.store.cluster_store import ClusterStore, Writing
from eyeflow.coordinator.store.facts import LogEntry
from eyeflow.evidence.eprocess import OneProportion, against
from eyeflow.evidence.outcomes import Tally
from eyeflow.evidence.verdict import ACTED, DECIDED, Check, Kind, Settings, Verdict, Watch, judge
from eyeflow.protocol.messages import EvidenceStanding, Status
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import Deployment, DeploymentState

LOOK_S = 30
"""How often programs that passed are looked at."""
WATCHED_MAX = 1_000
"""Deployments that are watched at most: the newest that nodes tell of."""
FAILED_MAX = 1_000
"""Executions that wait for an alarm, of all deployments: about 10 MB at most."""

_log = logging.getLogger("eyeflow.coordinator")


Totals = tuple[Tally, Tally]
"""The outcomes on nodes, and those on boards."""


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes or boards with one deployment: what they had told by the last look, and the tests of what came since."""

    total: Tally
    tests: tuple[OneProportion, OneProportion]

    def after(self, total: Tally) -> Part:
        """Return the part after what was told now."""
        new, (decides, acts) = total.since(self.total), self.tests
        return Part(total, (decides.after(new.decisions), acts.after(new.actions)))

    def verdict(self, settings: Settings) -> Verdict:
        """Return whether it began to fail."""
        checks = (Check(self.tests[0], DECIDED), Check(self.tests[1], ACTED))
        return judge(Watch(checks, settings.observe_s), settings)


@dataclass(frozen=True, slots=True)
class Watched:
    """One deployment that passed, on nodes and on boards. `is_mixed`: it went to both."""

    nodes: Part
    boards: Part
    settings: Settings
    is_mixed: bool

    def failure(self) -> str:
        """Return why it began to fail, empty when it did not."""
        for name, part in (("nodes", self.nodes), ("boards", self.boards)):
            verdict = part.verdict(self.settings)
            if verdict.kind is Kind.FAIL:
                return f"{name}: {verdict.reason}" if self.is_mixed else verdict.reason
        return ""


class Aftercare:
    """What is watched lives in memory: after a restart of the coordinator it begins anew."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self._watched: dict[str, Watched | None] = {}
        """None: told already, or not to be watched."""
        self._failed: dict[str, list[Case]] = {}
        """The newest executions that failed after a pass, by deployment: an alarm is kept with them."""
        self._looked_us = 0

    def takes(self, case: Case) -> bool:
        """Take an execution of a program that is watched here: only an alarm makes it worth a place in the store.

        A program that fails in 2 % of its executions, as it may, would be a load that never ends.
        """
        if case.kind is not CaseKind.FAILED or case.deployment_id not in self._watched:
            return False
        if self._watched[case.deployment_id] is not None:
            self._failed[case.deployment_id] = kept([*self._failed.pop(case.deployment_id, ()), case])
            while sum(map(len, self._failed.values())) > FAILED_MAX:
                self._failed.pop(next(iter(self._failed)))
        return True

    async def look(self, told: Mapping[str, Status], now_us: int) -> None:
        """Look at what nodes told last, once in LOOK_S. It costs as much as nodes and their programs are many."""
        if 0 <= now_us - self._looked_us < LOOK_S * 1_000_000:
            return
        self._looked_us = now_us
        totals = passed_totals(told.values())
        self._watched = {one: self._watched[one] for one in self._watched if one in totals}
        self._failed = {one: self._failed[one] for one in self._failed if one in totals}
        for deployment_id, told_now in list(totals.items())[-WATCHED_MAX:]:
            if deployment_id not in self._watched:
                found = await self._store.read(lambda reading, one=deployment_id: reading.deployment(one))  # type: ignore[misc]
                self._watched[deployment_id] = _begun(found, told_now)
            elif (watched := self._watched[deployment_id]) is not None:
                await self._judge(deployment_id, watched, told_now, now_us)

    async def _judge(self, deployment_id: str, watched: Watched, totals: Totals, now_us: int) -> None:
        of_nodes, of_boards = totals
        looked = replace(watched, nodes=watched.nodes.after(of_nodes), boards=watched.boards.after(of_boards))
        self._watched[deployment_id] = looked
        if not (reason := looked.failure()):
            return
        failed = self._failed.get(deployment_id, [])
        await self._store.write(lambda writing: _raise_alarm(writing, deployment_id, reason, failed, now_us))
        self._watched[deployment_id] = None
        self._failed.pop(deployment_id, None)


def passed_totals(told: Iterable[Status]) -> dict[str, Totals]:
    """Return the outcomes of each deployment's active programs that passed."""
    totals: dict[str, Totals] = {}
    for status in told:
        for one in status.evidence:
            if one.standing is EvidenceStanding.PASSED and one.slot is Slot.ACTIVE and one.deployment_id:
                nodes, boards = totals.get(one.deployment_id, (Tally(), Tally()))
                seen = tally_of(one)
                totals[one.deployment_id] = (nodes + seen, boards) if status.board is None else (nodes, boards + seen)
    return totals


def _begun(deployment: Deployment | None, totals: Totals) -> Watched | None:
    """What the program did while it was judged is what it may go on doing.

    Where nobody judged it, that is what it did until now: it may have begun to fail already.
    """
    if deployment is None or deployment.state is not DeploymentState.SUCCEEDED or deployment.reason:
        return None
    settings, is_mixed = settings_of(deployment, 1), deployment.has_board_programs
    if is_mixed:  # two that are judged apart are two chances of a false alarm
        settings = replace(settings, judges=2 * settings.judges)
    nodes, boards = (_part(*pair, settings) for pair in zip(while_judged(deployment), totals, strict=True))
    return Watched(nodes, boards, settings, is_mixed)


def _part(judged: Tally, total: Tally, settings: Settings) -> Part:
    known = judged if judged.decisions.executions else total
    decides, acts = (
        against(settings.tolerance, was, samples_min=settings.samples_min) for was in (known.decisions, known.actions)
    )
    return Part(total, (decides, acts))


def _raise_alarm(writing: Writing, deployment_id: str, reason: str, failed: Sequence[Case], now_us: int) -> None:
    deployment = writing.deployment(deployment_id)
    if deployment is None or deployment.state is not DeploymentState.SUCCEEDED or deployment.reason:
        return
    told = f"it began to fail after it had passed: {reason}"
    _log.warning("deployment %s of %s: %s. Take it back: eyeflow deployments rollback %s", deployment.id,
                 deployment.name, told, deployment.id)  # fmt: skip
    writing.save_deployment(replace(deployment, reason=told, updated_us=now_us))
    writing.record_cases(failed)
    writing.add_log_entry(LogEntry(now_us, "coordinator", "alarm", deployment_id, told))
