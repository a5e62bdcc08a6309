"""Deployments: what users ask for, what nodes answer, and what the strategies let follow. Each step is one transaction.

A report of a node writes that node's row. What follows from it is decided by `follow`, which reads the change feed
behind a durable cursor: after a crash it goes on where it was, and many reports that came together are judged once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from eyeflow.base.names import near
from eyeflow.coordinator.acting import Acting, save
from eyeflow.coordinator.cases import keep_verdict
from eyeflow.coordinator.choosing import Where, chip_of, chosen_nodes, found_node
from eyeflow.coordinator.drafts import Draft, again, changed, check_programs, drafted
from eyeflow.coordinator.fitness import check_fitness
from eyeflow.coordinator.judging import shown
from eyeflow.coordinator.manifests import WantedSets
from eyeflow.coordinator.policies import check_promotion, check_retiring, is_one_person, under_policy
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.reach import check_reach
from eyeflow.coordinator.requests import RequestKey, answered, remember
from eyeflow.coordinator.store.cluster_store import ClusterStore, CursorTooOldError, Reading, Step, T, Writing, doubt
from eyeflow.coordinator.store.facts import ChangeKind, EvidenceRow, LogEntry, NodeReport
from eyeflow.coordinator.tokens import Actor
from eyeflow.protocol.messages import ManifestResult, RuleState
from eyeflow.protocol.slot import Slot
from eyeflow.rollout import actions, progress, strategies
from eyeflow.rollout.actions import Action, Enter, InStates, Nodes
from eyeflow.rollout.deployment import (
    BACK,
    Deployment,
    DeploymentState,
    NodeProgress,
    NodeState,
    Place,
)
from eyeflow.rollout.progress import Report
from eyeflow.rollout.stepwise import APPROVAL
from eyeflow.rollout.wanting import is_same

Linked = Callable[[Reading], frozenset[str]]
"""Tells which nodes have a link, at any coordinator of the cluster, at the moment of a step."""
CHANGES_READ_MAX = 1_000
"""Changes of the feed that one step lets follow: as many rows as it may touch before others get their turn."""
READER = "deployments"
"""The name of the durable cursor of `follow`."""


class Deployments:
    """The deployments in `store`. `new_id` makes ids. `check_lead` raises NotLeadingError where another one decides."""

    def __init__(self, store: ClusterStore, new_id: Callable[[], str], check_lead: Callable[[Writing], None]) -> None:
        self._store = store
        self._new_id = new_id
        self._check_lead = check_lead
        self._cursor: int | None = None

    def deploy(
        self,
        draft: Draft,
        now_us: int,
        actor: str,
        check: Callable[[Reading], None] = lambda reading: None,
        linked: Linked = lambda reading: frozenset(),
        evidence: Sequence[EvidenceRow] = (),
        request: RequestKey | None = None,
    ) -> Awaitable[Deployment | None]:
        """Start a deployment; open deployments that bring one of its rules to one of its nodes are superseded.

        `check` runs first, in the same transaction. `linked` tells who has a link, `evidence` is what nodes
        told last of the rules: how the programs did that it replaces. Returns None when nothing is left to change, and
        what was begun before for the same `request`.
        Raises Problem for unknown nodes, for nodes without room and for nodes that cannot run it.
        """
        deployment_id, asked = self._new_id(), draft

        def step(writing: Writing) -> Deployment | None:
            if (before := answered(writing, request, now_us)) is not None:
                return found_deployment(writing, before.deployment_id) if before.deployment_id else None
            check(writing)
            names, draft = chosen_nodes(writing, asked.rules, asked.where), asked
            if asked.skips_unchanged:
                draft = replace(asked, changes=changed(writing, asked.changes, names))
            remember(writing, request, deployment_id if draft.changes else "", now_us)
            if not draft.changes:
                return None
            drawn_up = drafted(draft, deployment_id, now_us, actor)
            return self._start(writing, draft, drawn_up, names, linked, evidence)

        return self._store.write(step)

    def _start(
        self,
        writing: Writing,
        draft: Draft,
        drawn_up: Deployment,
        names: tuple[str, ...],
        linked: Linked,
        evidence: Sequence[EvidenceRow],
    ) -> Deployment:
        check_fitness(writing, names, drawn_up, draft.where.nodes or ())
        check_reach(writing, names, draft.rules, draft.where.scope)
        drawn_up = under_policy(writing, names, drawn_up)
        with self._acting(writing, drawn_up.created_us, is_asked=True) as acting:
            writing.record_evidence(evidence)
            return acting.start(drawn_up, names, linked(writing))

    def cancel(self, deployment_id: str, now_us: int, actor: str) -> Awaitable[Deployment]:
        """End a deployment early: its nodes go back to their last known good. Raises Problem when it has ended."""
        return self._steer(deployment_id, now_us, actor, "cancel", lambda one: strategies.cancel(one, now_us))

    def pause(self, deployment_id: str, now_us: int, actor: str) -> Awaitable[Deployment]:
        """Let a deployment begin nothing new; a failure still takes it back. Raises Problem when it has ended."""
        return self._steer(deployment_id, now_us, actor, "pause", lambda one: strategies.pause(one, actor, now_us))

    def resume(self, deployment_id: str, now_us: int, actor: str) -> Awaitable[Deployment]:
        """Let a deployment go on that somebody paused. Raises Problem when it has ended."""
        return self._steer(deployment_id, now_us, actor, "resume", strategies.resume)

    def promote(self, deployment_id: str, now_us: int, actor: str) -> Awaitable[Deployment]:
        """Let a deployment take its next step without more evidence. Raises Problem unless it watches its nodes."""

        def decide(writing: Writing, deployment: Deployment) -> tuple[Action, ...]:
            if deployment.state is not DeploymentState.OBSERVING:
                detail = f"Deployment {deployment.id} is {deployment.state.value}; only one that observes can go on."
                raise Problem("nothing_to_promote", detail)
            check_promotion(writing, deployment, now_us)
            if (verdict := shown(writing, deployment, now_us)) is not None:
                keep_verdict(writing, deployment, verdict, now_us)
            return strategies.promote()

        return self._steer_by(deployment_id, now_us, actor, "promote", decide)

    def approve(self, deployment_id: str, now_us: int, actor: str) -> Awaitable[Deployment]:
        """Agree to a deployment that waits for it. Raises Problem for whoever asked for it, and when none waits."""

        def decide(reading: Reading, deployment: Deployment) -> tuple[Action, ...]:
            if not any(one.code == APPROVAL for one in deployment.paused):
                raise Problem("nothing_to_approve", f"Deployment {deployment.id} waits for nobody's approval.")
            if is_one_person(reading, deployment.created_by, actor):
                by = deployment.created_by
                detail = f"`{by}` asked for it; another person must approve it, with a token that neither made."
                raise Problem("own_approval", detail, "an admin makes a token for each person: eyeflow tokens new")
            return strategies.approve(deployment)

        return self._steer_by(deployment_id, now_us, actor, "approve", decide)

    def is_by(self, created_by: str, actor: str) -> Awaitable[bool]:
        """Say whether the person of a token began what `created_by` began: then another one must approve it."""
        return self._store.read(lambda reading: is_one_person(reading, created_by, actor))

    def _steer(
        self, deployment_id: str, now_us: int, actor: str, verb: str, decide: Callable[[Deployment], tuple[Action, ...]]
    ) -> Awaitable[Deployment]:
        return self._steer_by(deployment_id, now_us, actor, verb, lambda _, deployment: decide(deployment))

    def _steer_by(
        self,
        deployment_id: str,
        now_us: int,
        actor: str,
        verb: str,
        decide: Callable[[Writing, Deployment], tuple[Action, ...]],
    ) -> Awaitable[Deployment]:
        """As `_steer`, where more than the deployment decides."""

        def step(writing: Writing) -> Deployment:
            deployment = found_deployment(writing, deployment_id)
            if deployment.over:
                raise Problem("deployment_over", f"Deployment {deployment.id} is {deployment.state.value} already.")
            decided = decide(writing, deployment)
            writing.add_log_entry(LogEntry(now_us, actor, verb, deployment.id))
            with self._acting(writing, now_us) as acting:
                return acting.settle(acting.carry_out(deployment, decided))

        return self._store.write(step)

    def take_back(self, deployment_id: str, now_us: int, actor: str) -> Awaitable[Deployment]:
        """Bring what a deployment that succeeded replaced back to its nodes, where it is still what they shall run."""

        def step(writing: Writing) -> Deployment:
            deployment = found_deployment(writing, deployment_id)
            if deployment.state is not DeploymentState.SUCCEEDED:
                next_step = "" if deployment.over else f"cancel it: eyeflow deployments cancel {deployment.id}"
                detail = f"Deployment {deployment.id} is {deployment.state.value}; one that succeeded is taken back."
                raise Problem("nothing_to_take_back", detail, next_step)
            writing.add_log_entry(LogEntry(now_us, actor, "take_back", deployment.id))
            with self._acting(writing, now_us) as acting:
                return acting.take_back(deployment, actor)

        return self._store.write(step)

    def retry(
        self,
        deployment_id: str,
        now_us: int,
        actor: Actor,
        linked: Linked = lambda reading: frozenset(),
        evidence: Sequence[EvidenceRow] = (),
        request: RequestKey | None = None,
    ) -> Awaitable[Deployment]:
        """Start a deployment that has ended again: the same programs, on those of its nodes that are still here.

        Raises Problem while it is under way, and when one of its programs is not trusted any more.
        """
        new_id = self._new_id()

        def step(writing: Writing) -> Deployment:
            if (before := answered(writing, request, now_us)) is not None:
                return found_deployment(writing, before.deployment_id)
            old = found_deployment(writing, deployment_id)
            if not old.over:
                detail = f"Deployment {old.id} is {old.state.value}; only one that has ended starts again."
                next_step = f"wait, or cancel it: eyeflow deployments cancel {old.id}"
                raise Problem("deployment_open", detail, next_step)
            check_programs(writing, old)
            known = frozenset(writing.node_names())
            names = tuple(one.node for one in writing.progress(old.id) if one.node in known)
            if not names:
                raise Problem("unknown_nodes", f"No node of deployment {old.id} is in the cluster any more.")
            draft = again(old, Where(names, scope=actor.labels))
            names = chosen_nodes(writing, draft.rules, draft.where)
            remember(writing, request, new_id, now_us)
            drawn_up = drafted(draft, new_id, now_us, actor.name)
            return self._start(writing, draft, drawn_up, names, linked, evidence)

        return self._store.write(step)

    def retire(self, node: str, rule: str, now_us: int, actor: str) -> Awaitable[None]:
        """Take a rule off a node: its next manifest does not name it. Raises Problem while a deployment brings it."""

        def step(writing: Writing) -> None:
            _check_retirable(writing, node, rule)
            with self._acting(writing, now_us) as acting:
                acting.remove(node, rule)
            # Else the next deployment of the rule would go back to a program that was taken off on purpose.
            writing.forget_known_good(node, rule)
            writing.add_log_entry(LogEntry(now_us, actor, "retire", node, rule))

        return self._store.write(step)

    def drain(self, node: str, now_us: int, actor: str) -> Awaitable[None]:
        """Take all rules off a node, and keep deployments away that do not name it, until `undrain`.

        Raises Problem while a deployment brings it a rule.
        """

        def step(writing: Writing) -> None:
            found_node(writing, node)
            rules = sorted({one.rule for one in writing.wanted(node)})
            for rule in rules:
                _check_retirable(writing, node, rule)
            with self._acting(writing, now_us) as acting:
                for rule in rules:
                    acting.remove(node, rule)
                    writing.forget_known_good(node, rule)
            writing.set_drained(node, now_us, now_us)
            writing.add_log_entry(LogEntry(now_us, actor, "drain", node, ", ".join(rules)))

        return self._store.write(step)

    def undrain(self, node: str, now_us: int, actor: str) -> Awaitable[None]:
        """Let deployments go to a node again."""

        def step(writing: Writing) -> None:
            found_node(writing, node)
            writing.set_drained(node, 0, now_us)
            writing.add_log_entry(LogEntry(now_us, actor, "undrain", node))

        return self._store.write(step)

    def sent(self, node: str, version: int, now_us: int, *, is_away: bool = False) -> Awaitable[None]:
        """Manifest `version` is about to go out to the node on a live link: from now on its answer is due.

        Not from a board that is away: its gateway keeps the manifest for it, and may carry it out at any time.
        """

        def step(writing: Writing) -> None:
            for deployment, at in writing.open_progress(node):
                # A manifest is the whole wanted set: a newer one also brings what older deployments wait for.
                if 0 < at.manifest_version <= version:
                    save(writing, deployment, at, progress.sent(at, now_us, is_away=is_away), now_us)

        return self._store.write(step)

    def lost(
        self, nodes: Iterable[str], now_us: int, is_lost: Callable[[Writing, str], bool] = lambda writing, node: True
    ) -> Awaitable[None]:
        """The links of these nodes are gone, if `is_lost` says so in the same step."""
        names = tuple(nodes)

        def step(writing: Writing) -> None:
            for node in filter(partial(is_lost, writing), names):
                lose(writing, node, now_us)

        return self._store.write(step)

    def linked(self, node: str, now_us: int) -> Awaitable[None]:
        """The node's link is open: its turn in open deployments may come."""

        def step(writing: Writing) -> None:
            for deployment, at in writing.open_progress(node):
                save(writing, deployment, at, progress.linked(at), now_us)

        return self._store.write(step)

    async def restarted(self, now_us: int) -> None:
        """The coordinator starts: no link is up yet, whatever the store says, but those that others hold."""
        linked = await self._store.read(_with_link)
        await self.lost(linked, now_us, lambda writing, node: writing.link(node) is None)

    def reported(self, node: str, result: ManifestResult, now_us: int) -> Awaitable[None]:
        """The node applied a whole manifest and says what became of each rule."""

        def step(writing: Writing) -> None:
            found = writing.record_report(NodeReport(node, result.manifest_version, result.results), now_us)
            why = doubt(writing, node) if found.doubtful else ""
            for deployment, at in found.open:
                here = deployment.on(chip_of(writing.node(node))) if deployment.has_board_programs else deployment
                said = Report(result.manifest_version, why) if why else _report(here, at, result)
                save(writing, deployment, at, progress.reported(at, said), now_us)

        return self._store.write(step)

    async def tick(self, now_us: int) -> None:
        """Let open deployments notice deadlines. It costs what is due, and writes nothing while nothing is."""
        due = await self._store.read(lambda reading: reading.due_deployments(now_us))
        if due:
            await self._store.write(self._leading(lambda writing: self._settle_all(writing, due, now_us)))

    def clock_was_set(self, step_us: int, now_us: int) -> Awaitable[None]:
        """Somebody set the coordinator's clock by `step_us`: all deadlines of open deployments move along."""

        def step(writing: Writing) -> None:
            for deployment in writing.open_deployments():
                writing.save_deployment(actions.moved(deployment, step_us))
            for deployment_id, node in writing.awaited():
                for at in writing.progress(deployment_id, Nodes((node,))):
                    writing.save_progress(deployment_id, at, replace(at, due_us=at.due_us + step_us), now_us)
            text = f"by {step_us / 1e6:+.1f} s: the deadlines of deployments were moved along"
            writing.add_log_entry(LogEntry(now_us, "coordinator", "clock set", "", text))

        return self._store.write(self._leading(step))

    def _leading(self, step: Step[T]) -> Step[T]:
        """Return a step that only the leader may do: two that judge at the same time would both act."""

        def checked(writing: Writing) -> T:
            self._check_lead(writing)
            return step(writing)

        return checked

    def leads_anew(self) -> None:
        """Another coordinator led since this one did: go on where that one was."""
        self._cursor = None

    async def follow(self, now_us: int) -> None:
        """Let follow what the feed tells of nodes since the last time. One caller at a time."""
        is_all = False
        while not is_all:
            cursor = self._cursor
            touched, read_to, is_all = await self._store.read(partial(_unsettled, cursor=cursor))
            if touched:
                read_to = await self._store.write(self._leading(partial(self._follow, cursor=cursor, now_us=now_us)))
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
    def _acting(self, writing: Writing, now_us: int, *, is_asked: bool = False) -> Iterator[Acting]:
        acting = Acting(writing, WantedSets(self._store, writing, now_us), now_us)
        yield acting
        acting.wanted.sign(is_asked=is_asked)


def _with_link(reading: Reading) -> list[str]:
    """Return the nodes of open deployments of which the store says that they have a link."""
    linked = InStates(frozenset({NodeState.HELD, NodeState.SENT}))
    found = (reading.progress(one.id, linked) for one in reading.open_deployments())
    return sorted({at.node for nodes in found for at in nodes})


def _unsettled(reading: Reading, cursor: int | None) -> tuple[set[str], int, bool]:
    """Return the deployments of which nodes changed since the cursor, the cursor behind them, and if those are all."""
    start = reading.cursor(READER) if cursor is None else cursor
    try:
        changes = reading.changes(start, CHANGES_READ_MAX)
    except CursorTooOldError as error:
        return {deployment.id for deployment in reading.open_deployments()}, error.newest, True
    touched = {change.subject for change in changes if change.kind is ChangeKind.PROGRESS}
    return touched, changes[-1].number if changes else start, len(changes) < CHANGES_READ_MAX


def lose(writing: Writing, node: str, now_us: int) -> None:
    """The node's link is gone: open deployments await its answer once it is back."""
    for deployment, at in writing.open_progress(node):
        save(writing, deployment, at, progress.lost(at), now_us)


def disown(writing: Writing, node: str, now_us: int) -> None:
    """Let nothing count that a node in doubt said in open deployments; what follows from it, the feed brings."""
    why = doubt(writing, node)
    for deployment, at in writing.open_progress(node):
        if why and deployment.state is not DeploymentState.ROLLING_BACK:
            save(writing, deployment, at, progress.disowned(at, why), now_us)


def drop_node(writing: Writing, node: str, now_us: int) -> None:
    """Let open deployments go on without a node; one that has no other node is cancelled."""
    for deployment, _ in writing.open_progress(node):
        writing.drop_progress(deployment.id, node)
        writing.add_change(now_us, ChangeKind.PROGRESS, deployment.id, node)
        if not writing.counts(deployment.id):
            gone = Enter(DeploymentState.CANCELLED, "all its nodes were removed from the cluster")
            writing.save_deployment(actions.entered(deployment, gone, now_us))


def found_deployment(reading: Reading, deployment_id: str) -> Deployment:
    """Return one deployment; raises Problem 404."""
    deployment = reading.deployment(deployment_id)
    if deployment is None:
        raise Problem("deployment_not_found", f"No deployment has the id `{deployment_id[:64]}`.")
    return deployment


def _check_retirable(reading: Reading, node: str, rule: str) -> None:
    known = {one.rule for one in reading.wanted(node)}
    if rule not in known:
        guess = near(rule, known)
        hint = f" Did you mean `{guess}`?" if guess else ""
        raise Problem("rule_not_found", f"The node `{node}` is not to run a rule `{rule[:64]}`.{hint}")
    for deployment, at in reading.open_progress(node):
        if rule in deployment.rules and at.state not in BACK:
            detail = f"Deployment {deployment.id} is bringing `{rule}` to `{node}` right now."
            raise Problem("deployment_open", detail, f"cancel it first: eyeflow deployments cancel {deployment.id}")
    check_retiring(reading, node)


def _report(deployment: Deployment, at: NodeProgress, result: ManifestResult) -> Report:
    """What the node says of the deployment's rules; a wanted rule that it does not name counts as refused."""
    said = {(one.rule, one.slot): one for one in result.results}
    returning = at.state is NodeState.RETURNING
    slot = Slot.CANDIDATE if at.place is Place.CANDIDATE and not returning else Slot.ACTIVE
    previous = dict(at.previous)
    for rule, target in at.previous if returning else deployment.targets:
        if target is None or (slot is Slot.CANDIDATE and is_same(target, previous.get(rule))):
            continue  # nothing runs, or the same as before: no candidate is wanted
        mine = said.get((rule, slot))
        where = "" if len(deployment.targets) == 1 else f"{rule}: "
        if mine is not None and mine.state is RuleState.REFUSED:
            return Report(result.manifest_version, where + (mine.reason or "refused"))
        if mine is None or mine.program_id != target.program_id:
            return Report(result.manifest_version, where + "the node did not report this program")
    return Report(result.manifest_version)
