"""Carries out what strategies decide, inside one step of the store: progress, wanted sets, the last known good."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from eyeflow.coordinator.cases import keep_verdict
from eyeflow.coordinator.choosing import chip_of
from eyeflow.coordinator.judging import judged, looks_at
from eyeflow.coordinator.manifests import WantedSets
from eyeflow.coordinator.store.cluster_store import Reading, Writing, doubt
from eyeflow.coordinator.store.facts import LogEntry
from eyeflow.evidence.route import chosen
from eyeflow.evidence.verdict import Kind
from eyeflow.protocol.slot import Slot
from eyeflow.rollout import actions, progress, strategies
from eyeflow.rollout.actions import NAMED_MAX, Action, Begin, Enter, InStates, KnownGood, SetPauses, Situation, Waive
from eyeflow.rollout.deployment import (
    Deployment,
    DeploymentState,
    NodeProgress,
    NodeState,
    Target,
    Targets,
)
from eyeflow.rollout.wanting import Rules, as_before, begun, passed

DEPLOYMENTS_MAX = 10_000
"""Deployments that are kept; ended ones beyond this are forgotten, the oldest first."""
FAILING = (DeploymentState.ROLLING_BACK, DeploymentState.FAILED)
DECISIONS_MAX = 8
"""Decisions that may follow from one event without another event: a strategy that needs more is wrong."""


class Acting:
    """What one step does to deployments. `wanted` is signed at its end."""

    def __init__(self, writing: Writing, wanted: WantedSets, now_us: int) -> None:
        self.wanted = wanted
        self._writing = writing
        self._now_us = now_us

    def start(self, deployment: Deployment, names: Iterable[str], linked: frozenset[str]) -> Deployment:
        """Keep a new deployment, and let it and those that it supersedes take their next step."""
        rules, nodes = frozenset(deployment.rules), []
        for name in names:
            older = overlapping(self._writing, name, rules)
            nodes.append(self._first(deployment, name, [found for _, found in older], name in linked))
        self._supersede(deployment, [one.node for one in nodes])
        self._writing.add_deployment(deployment, nodes)
        self._writing.forget_old_deployments(DEPLOYMENTS_MAX, self._now_us)
        self._log(deployment.created_by, "deploy", deployment.id, _told(deployment))
        return self.settle(deployment)

    def settle(self, deployment: Deployment) -> Deployment:
        """Let the strategy decide until nothing is left to decide."""
        verdict = None
        if looks_at(deployment, self._now_us):
            for node, reason in self._writing.taken_back(deployment.id):
                self._take_back(deployment, node, reason)
            deployment, verdict = judged(self._writing, deployment, self._now_us)
        for _ in range(DECISIONS_MAX):
            situation = situation_of(self._writing, deployment, self._now_us)
            decided = strategies.STRATEGIES[deployment.strategy](replace(situation, verdict=verdict), self._now_us)
            if not decided:
                break
            judged_as, deployment = deployment, self.carry_out(deployment, decided)
            if verdict is not None and (deployment.state in FAILING or verdict.kind is Kind.PASS):
                keep_verdict(self._writing, judged_as, verdict, self._now_us)
            verdict = None  # it was of the phase before
        return deployment

    def take_back(self, deployment: Deployment, by: str) -> Deployment:
        """Bring back what a deployment replaced that succeeded, on the nodes where nothing newer came since."""
        for at in self._writing.progress(deployment.id):
            wanted = {one.rule: one.target for one in self._writing.wanted(at.node) if one.slot == Slot.ACTIVE.value}
            kept = []
            for rule, target in at.previous:
                self._good_is(at.node, rule, target, deployment.id)
                here = wanted.get(rule)
                if here is None or here.deployment_id == deployment.id:  # else a newer deployment brought another one
                    kept.append((rule, target))
            after = replace(at, previous=tuple(kept), touched_us=at.touched_us or self._now_us)
            if not kept:
                after = replace(after, state=NodeState.RETURNED, reason="something newer runs there")
            save(self._writing, deployment, at, after, self._now_us)
        return self.settle(self.carry_out(deployment, strategies.take_back(deployment, by, self._now_us)))

    def _good_is(self, node: str, rule: str, target: Target | None, instead_of: str) -> None:
        """What deployment `instead_of` brought is the last known good no more, also for who is to go back to it."""
        good_by = self._writing.good_by(node, rule)
        if good_by != instead_of:
            self._nobody_returns_to(instead_of, node, rule, target, good_by)
            return
        if target is None:
            self._writing.forget_known_good(node, rule)
        else:
            self._writing.keep_known_good(node, rule, target)
        for newer, at in self._writing.open_progress(node):
            previous = tuple((name, target if name == rule else old) for name, old in at.previous)
            save(self._writing, newer, at, replace(at, previous=previous), self._now_us)

    def _nobody_returns_to(self, taken: str, node: str, rule: str, target: Target | None, newer: str) -> None:
        """Let the first of the newer deployments that passed go back to `target`, should it be taken back as well."""
        while deployment := self._writing.deployment(newer):
            at = next(iter(self._writing.progress(newer, actions.Nodes((node,)))), None)
            previous = {} if at is None else dict(at.previous)
            before = previous.get(rule)
            newer = "" if before is None else before.deployment_id
            if at is not None and newer == taken:
                after = replace(at, previous=tuple((previous | {rule: target}).items()))
                save(self._writing, deployment, at, after, self._now_us)
                return

    def remove(self, node: str, rule: str) -> None:
        """Take a rule off a node."""
        for slot in (Slot.ACTIVE, Slot.CANDIDATE):
            self._writing.unwant(node, rule, slot.value)
        self.wanted.touch(node)

    def carry_out(self, deployment: Deployment, decided: tuple[Action, ...]) -> Deployment:
        """Do what was decided; returns the deployment as it is stored then."""
        for action in decided:
            if isinstance(action, Enter):
                self._log("coordinator", action.state.value, deployment.id, action.reason)
                deployment = self._writing.save_deployment(actions.entered(deployment, action, self._now_us))
            elif isinstance(action, SetPauses):
                deployment = self._writing.save_deployment(actions.paused(deployment, action, self._now_us))
            elif isinstance(action, Waive):
                deployment = self._writing.save_deployment(actions.waived(deployment, self._now_us))
            else:
                self._order_all(deployment, action)
        return deployment

    def _order_all(self, deployment: Deployment, action: actions.NodeAction) -> None:
        found = self._writing.progress(deployment.id, action.which)
        share = action.share if isinstance(action, Begin) else 0
        # Which nodes act without a key is known only when all of this step are.
        keyless = self._keyless(deployment, [one.node for one in found], share) if share else frozenset()
        for one in found:
            self._order(deployment, action, one, one.node in keyless)
        if isinstance(action, Begin) and action.trial is not None:
            self._writing.keep_baselines(deployment, action.phase)

    def _keyless(self, deployment: Deployment, names: list[str], share: int) -> frozenset[str]:
        """Boards are chosen among boards: their programs are others, and one of them at least must show itself."""
        boards = self._writing.boards_told().keys() & set(names)
        return frozenset().union(*(chosen(deployment.rules[0], one, share) for one in (set(names) - boards, boards)))

    def _order(self, deployment: Deployment, action: actions.NodeAction, before: NodeProgress, keyless: bool) -> None:
        if deployment.has_board_programs:
            deployment = deployment.on(chip_of(self._writing.node(before.node)))
        ordered = progress.ordered(action, before)
        after = ordered.progress
        now = {(one.rule, one.slot): one for one in self._writing.wanted(before.node)}
        if isinstance(action, KnownGood):
            self._keep_known_good(deployment, before.node)
        if isinstance(action, Begin):
            shall = begun(deployment, action, before, now, keyless)
        elif ordered.wants:
            shall = as_before(before, now)
        else:
            shall = passed(deployment, now) if isinstance(action, KnownGood) else now
        rules = {rule for rule, _ in before.previous} if ordered.wants else set(deployment.rules)
        is_news = before.touched_us > 0 and ordered.wants  # else it need not be told again what it runs
        if self._want(before.node, rules, now, shall) or is_news:
            after = replace(after, manifest_version=self.wanted.touch(before.node))
        save(self._writing, deployment, before, after, self._now_us)

    def _want(self, node: str, rules: set[str], now: Rules, shall: Rules) -> bool:
        """Make the node's wanted set hold `shall` for these rules; return whether that is another."""
        changed = False
        for rule in sorted(rules):
            for slot in (Slot.ACTIVE.value, Slot.CANDIDATE.value):
                wanted = shall.get((rule, slot))
                if wanted == now.get((rule, slot)):
                    continue
                changed = True
                if wanted is None:
                    self._writing.unwant(node, rule, slot)
                else:
                    self._writing.want(node, wanted)
        return changed

    def _keep_known_good(self, deployment: Deployment, node: str) -> None:
        for rule, target in deployment.targets:
            self._writing.keep_known_good(node, rule, target or Target("", deployment.id))

    def _take_back(self, deployment: Deployment, node: str, reason: str) -> None:
        for one in self._writing.progress(deployment.id, actions.Nodes((node,))):
            after = progress.took_back(one, f"it went back by itself: {reason}")
            save(self._writing, deployment, one, after, self._now_us)

    def _first(self, deployment: Deployment, node: str, older: list[NodeProgress], is_linked: bool) -> NodeProgress:
        """A node whose history is in doubt cannot vouch for anything: another copy of it may run another program."""
        why = doubt(self._writing, node)
        state = NodeState.REFUSED if why else NodeState.HELD if is_linked else NodeState.AWAY
        previous: Targets = tuple((rule, self._writing.known_good(node, rule)) for rule in deployment.rules)
        active = {one.rule: one.target for one in self._writing.wanted(node) if one.slot == Slot.ACTIVE.value}
        is_known_good = all(active.get(rule) == target for rule, target in previous)
        touched_us = 0 if is_known_good else self._now_us
        if older:
            touched_us = max(one.touched_us for one in older)
        return NodeProgress(node, state, why, previous, touched_us=touched_us)

    def _supersede(self, deployment: Deployment, names: list[str]) -> None:
        """What the new deployment brings is its own from now on; all else of the older ones goes back.

        One that goes back already ends as it would have, without what is not its own any more.
        """
        rules, older = frozenset(deployment.rules), {}
        for name in names:
            for old, at in overlapping(self._writing, name, rules):
                older[old.id] = old
                after = progress.taken_over(at, rules, deployment.id)
                save(self._writing, old, at, after, self._now_us)
        for old in older.values():
            goes_back = old.state is DeploymentState.ROLLING_BACK
            end = () if goes_back else strategies.supersede(old, deployment.id, self._now_us)
            self.settle(self.carry_out(old, end))

    def _log(self, actor: str, action: str, subject: str, detail: str = "") -> None:
        self._writing.add_log_entry(LogEntry(self._now_us, actor, action, subject, detail))


def overlapping(reading: Reading, node: str, rules: frozenset[str]) -> list[tuple[Deployment, NodeProgress]]:
    """Return the open deployments that are about one of these rules on the node: they bring it, or take it back."""
    return [(one, at) for one, at in reading.open_progress(node) if not rules.isdisjoint(one.rules)]


def situation_of(reading: Reading, deployment: Deployment, now_us: int) -> Situation:
    """Return what a strategy sees of a deployment: its cost does not grow with the number of nodes."""
    counts = reading.counts(deployment.id)
    named = {state: tuple(reading.progress(deployment.id, InStates(frozenset({state})), NAMED_MAX)) for state in counts}
    return Situation(deployment, counts, reading.overdue(deployment.id, now_us), named)


def save(
    writing: Writing, deployment: Deployment, before: NodeProgress, after: NodeProgress, now_us: int
) -> NodeProgress:
    """Write where a node stands, if that is another."""
    return before if after == before else writing.save_progress(deployment.id, before, after, now_us)


def _told(deployment: Deployment) -> str:
    named = [f"{rule} {target.program_id if target else 'removed'}" for rule, target in deployment.targets[:NAMED_MAX]]
    more = len(deployment.targets) - len(named)
    return ", ".join([*named, f"and {more} more"] if more > 0 else named)
