"""A deployment and its nodes in memory, carried out as the coordinator does it, with the same pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.route import chosen
from eyeflow.evidence.verdict import Kind, Verdict
from eyeflow.rollout import actions, progress, strategies
from eyeflow.rollout.actions import NAMED_MAX, Action, Begin, Enter, KnownGood, Nodes, SetPauses, Situation, Waive
from eyeflow.rollout.deployment import (
    Deployment,
    DeploymentState,
    NodeProgress,
    NodeState,
    Options,
    Rollback,
    Target,
    Wanted,
)
from eyeflow.rollout.progress import Report
from eyeflow.rollout.wanting import Rules, as_before, begun, passed

SECOND = 1_000_000
RULE = "pump"
OLD, NEW = Target("1" * 64, "d-0"), Target("2" * 64, "d-1")
DEADLINE_S = 100_000
OBSERVE_S = 60
ACTIVE, CANDIDATE = (RULE, "active"), (RULE, "candidate")
AS_OLD: Rules = {ACTIVE: Wanted(RULE, "active", OLD)}


def verdict(kind: Kind, reason: str = "because") -> Verdict:
    return Verdict(kind, reason, 0.0, Outcomes(), None, 1.0, 20.0)


class Board:
    """`wanted` is what nodes shall run. Links are up unless `away` names a node."""

    def __init__(
        self,
        names: str = "ab",
        rollback: Rollback = Rollback.ON_ERROR,
        strategy: str = "immediate",
        options: Options | None = None,
        away: str = "",
    ) -> None:
        options = options or Options(observe_s=strategies.OBSERVE_S[strategy] and OBSERVE_S)
        self.deployment = Deployment("d-1", ((RULE, NEW),), strategy, rollback, 0, DEADLINE_S * SECOND, options=options)
        self.nodes = {
            name: NodeProgress(name, NodeState.AWAY if name in away else NodeState.HELD, previous=((RULE, OLD),))
            for name in names
        }
        self.wanted: dict[str, Rules] = dict.fromkeys(names, AS_OLD)
        self.good: set[str] = set()
        self.version = 0
        self.verdict: Verdict | None = None

    @classmethod
    def started(cls, names: str = "ab", rollback: Rollback = Rollback.ON_ERROR, **how: object) -> Board:
        board = cls(names, rollback, **how)  # type: ignore[arg-type]
        board.run(0)
        return board

    def situation(self) -> Situation:
        counts: dict[NodeState, int] = {}
        named: dict[NodeState, tuple[NodeProgress, ...]] = {}
        for one in self.nodes.values():
            counts[one.state] = counts.get(one.state, 0) + 1
            named[one.state] = (*named.get(one.state, ()), one)[:NAMED_MAX]
        overdue = tuple(name for name, one in self.nodes.items() if 0 < one.due_us <= self.now_us)
        seen = self.verdict if self.state is DeploymentState.OBSERVING else None
        return Situation(self.deployment, counts, overdue, named, seen)

    def run(self, now_us: int) -> None:
        """Decide until nothing is left to decide."""
        self.now_us = now_us
        for _ in range(8):
            decided = strategies.STRATEGIES[self.deployment.strategy](self.situation(), now_us)
            if not decided:
                return
            phase = self.deployment.phase
            self.carry_out(decided)
            if self.deployment.phase != phase:
                self.verdict = None
        raise AssertionError("the strategy does not come to rest")

    def carry_out(self, decided: tuple[Action, ...]) -> None:
        for action in decided:
            if isinstance(action, Enter):
                self.deployment = actions.entered(self.deployment, action, self.now_us)
            elif isinstance(action, SetPauses):
                self.deployment = actions.paused(self.deployment, action, self.now_us)
            elif isinstance(action, Waive):
                self.deployment = actions.waived(self.deployment, self.now_us)
            else:
                found = [one for one in self.nodes.values() if self.meant(action.which, one)]
                if not isinstance(action.which, Nodes):
                    found = found[: action.which.limit]
                share = action.share if isinstance(action, Begin) else 0
                keyless = chosen(RULE, [one.node for one in found], share) if share else frozenset()
                for one in found:
                    self.order(action, one, one.node in keyless)

    def meant(self, which: actions.Which, one: NodeProgress) -> bool:
        return one.node in which.names if isinstance(which, Nodes) else one.state in which.states

    def order(self, action: actions.NodeAction, one: NodeProgress, keyless: bool) -> None:
        ordered = progress.ordered(action, one)
        now = self.wanted[one.node]
        shall: Mapping[tuple[str, str], Wanted] = now
        if isinstance(action, KnownGood):
            self.good.add(one.node)
            shall = passed(self.deployment, now)
        elif isinstance(action, Begin):
            shall = begun(self.deployment, action, one, now, keyless)
        elif ordered.wants:
            shall = as_before(one, now)
        after = ordered.progress
        if shall != now or (one.touched_us and ordered.wants):
            self.version += 1
            after = replace(after, manifest_version=self.version)
        self.wanted[one.node] = shall
        self.nodes[one.node] = after

    @property
    def plain(self) -> dict[str, Rules]:
        """What each node shall run, whether as a way back or not."""
        return {
            node: {key: replace(one, is_return=False) for key, one in rules.items()}
            for node, rules in self.wanted.items()
        }

    def change(self, node: str, change: Callable[[NodeProgress], NodeProgress], now_us: int | None = None) -> None:
        self.nodes[node] = change(self.nodes[node])
        self.run(self.now_us if now_us is None else now_us)

    def sent(self, node: str, now_us: int | None = None) -> None:
        at_us = self.now_us if now_us is None else now_us
        self.change(node, lambda one: progress.sent(one, at_us or 1), now_us)

    def lost(self, node: str, now_us: int | None = None) -> None:
        self.change(node, progress.lost, now_us)

    def linked(self, node: str, now_us: int | None = None) -> None:
        self.change(node, progress.linked, now_us)

    def answer(self, node: str, refused: str = "", now_us: int | None = None) -> None:
        self.change(node, lambda one: progress.reported(one, Report(one.manifest_version, refused)), now_us)

    def took_back(self, node: str, reason: str) -> None:
        self.change(node, lambda one: progress.took_back(one, reason))

    def done(self, *names: str) -> None:
        """These nodes do what they are told at once."""
        for name in names:
            self.sent(name)
            self.answer(name)

    def sees(self, kind: Kind, after_s: int = OBSERVE_S) -> None:
        """So much time passes, and this is what the evidence tells then."""
        self.verdict = verdict(kind)
        self.run(self.now_us + after_s * SECOND)

    def cancel(self) -> None:
        self.carry_out(strategies.cancel(self.deployment, self.now_us))
        self.run(self.now_us)

    def steer(self, decided: tuple[Action, ...]) -> None:
        self.carry_out(decided)
        self.run(self.now_us)

    @property
    def state(self) -> DeploymentState:
        return self.deployment.state

    @property
    def states(self) -> dict[str, str]:
        return {name: one.state.value for name, one in self.nodes.items()}

    def runs(self, node: str) -> tuple[str, str]:
        """Which program a node shall run in the slots active and candidate: `old`, `new` or nothing."""
        names = {OLD.program_id: "old", NEW.program_id: "new"}
        found = (self.wanted[node].get(slot) for slot in (ACTIVE, CANDIDATE))
        active, candidate = (names[one.target.program_id] if one else "" for one in found)
        return active, candidate
