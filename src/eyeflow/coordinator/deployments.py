"""Deployments: what users ask for, what nodes answer, and what the strategies let follow. Each step is one transaction.

A report of a node writes that node's row. What follows from it is decided by `follow`, which reads the change feed
behind a durable cursor: after a crash it goes on where it was, and many reports that came together are judged once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from eyeflow.base.names import near
from eyeflow.coordinator.manifests import WantedSets
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.store.cluster_store import ClusterStore, CursorTooOldError, Reading, Writing, doubt
from eyeflow.coordinator.store.facts import ChangeKind, LogEntry, NodeReport
from eyeflow.protocol.messages import ManifestResult, RuleState
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import RULES_MAX
from eyeflow.rollout import plan
from eyeflow.rollout.immediate import immediate
from eyeflow.rollout.plan import (
    Action,
    Deployment,
    DeploymentState,
    Enter,
    NodeProgress,
    NodeState,
    Report,
    Situation,
    Target,
)

STRATEGIES: dict[str, plan.Strategy] = {"immediate": immediate}
DEPLOYMENTS_MAX = 10_000
"""Deployments that are kept; ended ones beyond this are forgotten, the oldest first."""
DECISIONS_MAX = 8
"""Decisions that may follow from one event without another event: a strategy that needs more is wrong."""
CHANGES_READ_MAX = 1_000
"""Changes of the feed that one step lets follow: as many rows as it may touch before others get their turn."""
READER = "deployments"
"""The name of the durable cursor of `follow`."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a user asks for: `nodes` None for all, `program_id` is in the store."""

    rule: str
    program_id: str
    params: plan.Params
    nodes: tuple[str, ...] | None
    strategy: str
    rollback: plan.Rollback
    deadline_s: int = plan.OFFLINE_S


class Deployments:
    """The deployments in `store`. `new_id` makes ids."""

    def __init__(self, store: ClusterStore, new_id: Callable[[], str]) -> None:
        self._store = store
        self._new_id = new_id
        self._cursor: int | None = None

    def deploy(
        self, draft: Draft, now_us: int, actor: str, check: Callable[[Reading], None] = lambda reading: None
    ) -> Awaitable[Deployment]:
        """Start a deployment; open deployments of the rule that share a node with it are superseded.

        `check` runs first, in the same transaction. Raises Problem for unknown nodes and for nodes without room.
        """
        deployment_id = self._new_id()

        def step(writing: Writing) -> Deployment:
            check(writing)
            names = chosen_nodes(writing, draft.rule, draft.nodes)
            with self._acting(writing, now_us) as acting:
                return acting.start(_drafted(draft, deployment_id, now_us, actor), names)

        return self._store.write(step)

    def cancel(self, deployment_id: str, now_us: int, actor: str) -> Awaitable[Deployment]:
        """End a deployment early: its nodes go back to their last known good. Raises Problem when it has ended."""

        def step(writing: Writing) -> Deployment:
            deployment = found_deployment(writing, deployment_id)
            if deployment.over:
                raise Problem("deployment_over", f"Deployment {deployment.id} is {deployment.state.value} already.")
            writing.add_log_entry(LogEntry(now_us, actor, "cancel", deployment.id))
            with self._acting(writing, now_us) as acting:
                return acting.settle(acting.carry_out(deployment, plan.cancel(deployment, now_us)))

        return self._store.write(step)

    def retire(self, node: str, rule: str, now_us: int, actor: str) -> Awaitable[None]:
        """Take a rule off a node: its next manifest does not name it. Raises Problem while a deployment brings it."""

        def step(writing: Writing) -> None:
            _check_retirable(writing, node, rule)
            with self._acting(writing, now_us) as acting:
                acting.wanted.want(node, rule, None)
            # Else the next deployment of the rule would go back to a program that was taken off on purpose.
            writing.forget_known_good(node, rule)
            writing.add_log_entry(LogEntry(now_us, actor, "retire", node, rule))

        return self._store.write(step)

    def sent(self, node: str, version: int, now_us: int) -> Awaitable[None]:
        """Manifest `version` is about to go out to the node on a live link: from now on its answer is due."""

        def step(writing: Writing) -> None:
            for deployment, progress in writing.open_progress(node):
                # A manifest is the whole wanted set: a newer one also brings what older deployments wait for.
                if 0 < progress.manifest_version <= version:
                    _save(writing, deployment, progress, plan.sent(progress, now_us), now_us)

        return self._store.write(step)

    def lost(self, nodes: Iterable[str], now_us: int) -> Awaitable[None]:
        """The links of these nodes are gone."""
        names = tuple(nodes)

        def step(writing: Writing) -> None:
            for node in names:
                for deployment, progress in writing.open_progress(node):
                    _save(writing, deployment, progress, plan.lost(progress), now_us)

        return self._store.write(step)

    async def restarted(self, now_us: int) -> None:
        """The coordinator starts: no link is up yet, whatever the store says."""
        awaited = await self._store.read(lambda reading: reading.awaited())
        await self.lost(sorted({node for _, node in awaited}), now_us)
        await self.follow(now_us)

    def reported(self, node: str, result: ManifestResult, now_us: int) -> Awaitable[None]:
        """The node applied a whole manifest and says what became of each rule."""

        def step(writing: Writing) -> None:
            writing.record_report(NodeReport(node, result.manifest_version, result.results), now_us)
            why = doubt(writing, node)
            for deployment, progress in writing.open_progress(node):
                said = Report(result.manifest_version, why) if why else _report(deployment, progress, result)
                _save(writing, deployment, progress, plan.reported(progress, said), now_us)

        return self._store.write(step)

    async def tick(self, now_us: int) -> None:
        """Let open deployments notice deadlines. It costs what is due, and writes nothing while nothing is."""
        due = await self._store.read(lambda reading: reading.due_deployments(now_us))
        if due:
            await self._store.write(lambda writing: self._settle_all(writing, due, now_us))

    def clock_was_set(self, step_us: int, now_us: int) -> Awaitable[None]:
        """Somebody set the coordinator's clock by `step_us`: all deadlines of open deployments move along."""

        def step(writing: Writing) -> None:
            for deployment in writing.open_deployments():
                writing.save_deployment(plan.moved(deployment, step_us))
            for deployment_id, node in writing.awaited():
                for progress in writing.progress(deployment_id, plan.Nodes((node,))):
                    after = replace(progress, due_us=progress.due_us + step_us)
                    writing.save_progress(deployment_id, progress, after, now_us)
            text = f"by {step_us / 1e6:+.1f} s: the deadlines of deployments were moved along"
            writing.add_log_entry(LogEntry(now_us, "coordinator", "clock set", "", text))

        return self._store.write(step)

    async def follow(self, now_us: int) -> None:
        """Let follow what the feed tells of nodes since the last time. One caller at a time."""
        is_all = False
        while not is_all:
            cursor = self._cursor
            touched, read_to, is_all = await self._store.read(partial(_unsettled, cursor=cursor))
            if touched:
                read_to = await self._store.write(partial(self._follow, cursor=cursor, now_us=now_us))
            self._cursor = read_to  # only now: what a failing store did not keep is found again

    def _follow(self, writing: Writing, cursor: int | None, now_us: int) -> int:
        # Again, inside the transaction: others may have committed since `follow` looked.
        touched, read_to, is_all = _unsettled(writing, cursor)
        self._settle_all(writing, sorted(touched), now_us)
        settled_to = writing.newest_change() if is_all else read_to  # what this step changed was settled to rest
        writing.move_cursor(READER, settled_to)
        return settled_to

    def _settle_all(self, writing: Writing, deployment_ids: Iterable[str], now_us: int) -> None:
        with self._acting(writing, now_us) as acting:
            for deployment_id in deployment_ids:
                deployment = writing.deployment(deployment_id)
                if deployment is not None and not deployment.over:
                    acting.settle(deployment)

    @contextmanager
    def _acting(self, writing: Writing, now_us: int) -> Iterator[_Acting]:
        acting = _Acting(writing, WantedSets(self._store, writing, now_us), now_us)
        yield acting
        acting.wanted.sign()


def _unsettled(reading: Reading, cursor: int | None) -> tuple[set[str], int, bool]:
    """Return the deployments of which nodes changed since the cursor, the cursor behind them, and if those are all."""
    start = reading.cursor(READER) if cursor is None else cursor
    try:
        changes = reading.changes(start, CHANGES_READ_MAX)
    except CursorTooOldError as error:
        return {deployment.id for deployment in reading.open_deployments()}, error.newest, True
    touched = {change.subject for change in changes if change.kind is ChangeKind.PROGRESS}
    return touched, changes[-1].number if changes else start, len(changes) < CHANGES_READ_MAX


class _Acting:
    """Carries out what strategies decide, inside one step."""

    def __init__(self, writing: Writing, wanted: WantedSets, now_us: int) -> None:
        self.wanted = wanted
        self._writing = writing
        self._now_us = now_us

    def start(self, deployment: Deployment, names: Iterable[str]) -> Deployment:
        """Keep a new deployment, and let it and those that it supersedes take their next step."""
        older = {name: self._older(deployment.rule, name) for name in names}
        nodes = [self._first(deployment, name, found and found[1]) for name, found in older.items()]
        for old in {found[0].id: found[0] for found in older.values() if found}.values():
            self.carry_out(old, plan.supersede(old, deployment.id))
        self._writing.add_deployment(deployment, nodes)
        self._writing.forget_old_deployments(DEPLOYMENTS_MAX)
        text = f"{deployment.rule} {deployment.target.program_id}"
        self._log(deployment.created_by, "deploy", deployment.id, text)
        return self.settle(deployment)

    def settle(self, deployment: Deployment) -> Deployment:
        """Let the strategy decide until nothing is left to decide."""
        for _ in range(DECISIONS_MAX):
            situation = situation_of(self._writing, deployment, self._now_us)
            actions = STRATEGIES[deployment.strategy](situation, self._now_us)
            if not actions:
                break
            deployment = self.carry_out(deployment, actions)
        return deployment

    def carry_out(self, deployment: Deployment, actions: tuple[Action, ...]) -> Deployment:
        """Do what was decided; returns the deployment as it is stored then."""
        for action in actions:
            if isinstance(action, Enter):
                self._log("coordinator", action.state.value, deployment.id, action.reason)
                deployment = self._writing.save_deployment(plan.entered(deployment, action, self._now_us))
                continue
            for progress in self._writing.progress(deployment.id, action.which):
                self._order(deployment, action, progress)
        return deployment

    def _order(self, deployment: Deployment, action: plan.NodeAction, progress: NodeProgress) -> None:
        if isinstance(action, plan.KnownGood):
            self._writing.keep_known_good(progress.node, deployment.rule, deployment.target)
        ordered = plan.ordered(action, progress)
        after = ordered.progress
        target = deployment.target if isinstance(action, plan.Begin) else progress.previous
        # A node that was never told of anything else need not be told again what it runs.
        is_news = progress.touched_us > 0 or self._wanted(progress.node, deployment.rule) != target
        if ordered.wants and is_news:
            version = self.wanted.want(progress.node, deployment.rule, target)
            after = replace(after, manifest_version=version)
        _save(self._writing, deployment, progress, after, self._now_us)

    def _first(self, deployment: Deployment, node: str, older: NodeProgress | None) -> NodeProgress:
        """A node whose history is in doubt cannot vouch for anything: another copy of it may run another program."""
        previous, why = self._writing.known_good(node, deployment.rule), doubt(self._writing, node)
        state = NodeState.REFUSED if why else NodeState.WAITING
        touched_us = 0 if self._wanted(node, deployment.rule) == previous else self._now_us
        if older is not None:
            touched_us = older.touched_us
        return NodeProgress(node, state, why, previous, touched_us=touched_us)

    def _older(self, rule: str, node: str) -> tuple[Deployment, NodeProgress] | None:
        """Return the open deployment of the rule that the node is part of: there is one at most."""
        return next((found for found in self._writing.open_progress(node) if found[0].rule == rule), None)

    def _wanted(self, node: str, rule: str) -> Target | None:
        return dict(self._writing.wanted(node)).get(rule)

    def _log(self, actor: str, action: str, subject: str, detail: str = "") -> None:
        self._writing.add_log_entry(LogEntry(self._now_us, actor, action, subject, detail))


def disown(writing: Writing, node: str, now_us: int) -> None:
    """Let nothing count that a node in doubt said in open deployments; what follows from it, the feed brings."""
    why = doubt(writing, node)
    for deployment, progress in writing.open_progress(node):
        if why and deployment.state is DeploymentState.INSTALLING:
            _save(writing, deployment, progress, plan.disowned(progress, why), now_us)


def drop_node(writing: Writing, node: str, now_us: int) -> None:
    """Let open deployments go on without a node; one that has no other node is cancelled."""
    for deployment, progress in writing.open_progress(node):
        writing.drop_progress(deployment.id, node)
        writing.add_change(now_us, ChangeKind.PROGRESS, deployment.id, progress.node)
        if not writing.counts(deployment.id):
            gone = Enter(DeploymentState.CANCELLED, "all its nodes were removed from the cluster")
            writing.save_deployment(plan.entered(deployment, gone, now_us))


def situation_of(reading: Reading, deployment: Deployment, now_us: int) -> Situation:
    """Return what a strategy sees of a deployment: its cost does not grow with the number of nodes."""
    counts = reading.counts(deployment.id)
    named = {
        state: tuple(reading.progress(deployment.id, plan.InStates(frozenset({state})), plan.NAMED_MAX))
        for state in counts
    }
    return Situation(deployment, counts, reading.overdue(deployment.id, now_us), named)


def found_deployment(reading: Reading, deployment_id: str) -> Deployment:
    """Return one deployment; raises Problem 404."""
    deployment = reading.deployment(deployment_id)
    if deployment is None:
        raise Problem("deployment_not_found", f"No deployment has the id `{deployment_id[:64]}`.")
    return deployment


def chosen_nodes(reading: Reading, rule: str, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the nodes of a deployment, None for all; raises Problem 422 for unknown ones and for ones without room."""
    known = reading.node_names()
    nodes = tuple(known) if asked is None else asked
    strangers = set(nodes) - set(known)
    unknown = [node for node in nodes if node in strangers]
    if unknown or not nodes:
        errors = [FieldError(f"/nodeIds/{nodes.index(node)}", _unknown_node(node, known)) for node in unknown]
        detail = f"Not in the cluster: {', '.join(unknown)}." if unknown else "The cluster has no nodes yet."
        raise Problem("unknown_nodes", detail, "list the nodes with `eyeflow status`", errors)
    full = [node for node in nodes if not _has_room(reading, node, rule)]
    if full:
        raise Problem("limit_reached", f"These nodes run as many rules as they can: {', '.join(full)}.")
    return nodes


def _unknown_node(node: str, known: list[str]) -> str:
    guess = near(node, known)
    return "is not in the cluster" + (f"; did you mean `{guess}`?" if guess else "")


def _has_room(reading: Reading, node: str, rule: str) -> bool:
    rules = {name for name, _ in reading.wanted(node)}
    return rule in rules or len(rules) < RULES_MAX


def _check_retirable(reading: Reading, node: str, rule: str) -> None:
    if rule not in dict(reading.wanted(node)):
        raise Problem("rule_not_found", f"The node `{node}` is not to run a rule `{rule[:64]}`.")
    for deployment, _ in reading.open_progress(node):
        if deployment.rule == rule:
            detail = f"Deployment {deployment.id} is bringing `{rule}` to `{node}` right now."
            raise Problem("deployment_open", detail, f"cancel it first: eyeflow deployments {deployment.id} --cancel")


def _drafted(draft: Draft, deployment_id: str, now_us: int, actor: str) -> Deployment:
    return Deployment(
        id=deployment_id,
        rule=draft.rule,
        target=plan.Target(draft.program_id, deployment_id, draft.params),
        strategy=draft.strategy,
        rollback=draft.rollback,
        created_us=now_us,
        updated_us=now_us,
        deadline_us=now_us + draft.deadline_s * 1_000_000,
        created_by=actor,
    )


def _save(
    writing: Writing, deployment: Deployment, before: NodeProgress, after: NodeProgress, now_us: int
) -> NodeProgress:
    return before if after == before else writing.save_progress(deployment.id, before, after, now_us)


def _report(deployment: Deployment, progress: NodeProgress, result: ManifestResult) -> Report:
    """What the node says of the deployment's rule; a wanted rule that it does not name counts as refused."""
    returning = progress.state is NodeState.RETURNING
    wanted = progress.previous if returning else deployment.target
    mine = next((one for one in result.results if one.rule == deployment.rule and one.slot is Slot.ACTIVE), None)
    if mine is not None and mine.state is RuleState.REFUSED:
        return Report(result.manifest_version, mine.reason or "refused")
    if wanted is not None and (mine is None or mine.program_id != wanted.program_id):
        return Report(result.manifest_version, "the node did not report this program")
    return Report(result.manifest_version)
