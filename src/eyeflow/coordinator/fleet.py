"""What the cluster shall run: deployments, wanted manifests, and what nodes answered. Every step is one transaction.

No sockets and no clock: the loop hands in the time and tells of links, and sends what changed. So a crash between two
steps loses nothing, and a simulation can run a whole cluster from a seed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from eyeflow.coordinator.heads import Heads
from eyeflow.coordinator.records import dump_deployment, dump_target, load_deployment, load_target
from eyeflow.coordinator.store import Store
from eyeflow.protocol.messages import (
    Head,
    Hello,
    Manifest,
    ManifestEntry,
    ManifestResult,
    RuleState,
    WantedManifest,
    encode_manifest,
    manifest_bytes,
)
from eyeflow.protocol.session import Offer
from eyeflow.rollout import plan
from eyeflow.rollout.immediate import immediate
from eyeflow.rollout.plan import Action, Deployment, DeploymentState, Enter, NodeProgress, Report, Target

STRATEGIES: dict[str, plan.Strategy] = {"immediate": immediate}
DEPLOYMENTS_MAX = 10_000
"""Deployments that are kept; ended ones beyond this are forgotten, the oldest first."""
STEPS_MAX = 8
"""Decisions that may follow from one event without another event: a strategy that needs more is wrong."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a user asks for: `nodes` are known names, `program_id` is in the store."""

    rule: str
    program_id: str
    params: plan.Params
    nodes: tuple[str, ...]
    strategy: str
    rollback: plan.Rollback
    deadline_s: int = plan.OFFLINE_S


class Fleet:
    """The wanted and known state of the cluster, in `store`. `new_id` makes ids of deployments."""

    def __init__(self, store: Store, new_id: Callable[[], str]) -> None:
        self._store = store
        self._new_id = new_id
        self.heads = Heads(store)
        self._changed: set[str] = set()
        self._dirty: set[str] = set()

    def take_changed(self) -> set[str]:
        """Return the nodes whose manifest changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def deploy(self, draft: Draft, now_us: int, actor: str) -> Deployment:
        """Start a deployment; open deployments of the rule that share a node with it are superseded."""
        with self._step(now_us):
            deployment = self._drafted(draft, now_us, actor)
            self._supersede(deployment, now_us)
            self._store.run(
                "INSERT INTO deployments(id, rule, over, body) VALUES(?, ?, 0, ?)",
                (deployment.id, deployment.rule, dump_deployment(deployment)),
            )
            self._store.run(
                "DELETE FROM deployments WHERE over = 1 AND number <= (SELECT max(number) FROM deployments) - ?",
                (DEPLOYMENTS_MAX,),
            )
            self._store.log(now_us, actor, "deploy", deployment.id, f"{draft.rule} {draft.program_id}")
            return self._advance(deployment, now_us)

    def cancel(self, deployment: Deployment, now_us: int, actor: str) -> Deployment:
        """End a deployment early: its nodes go back to their last known good."""
        with self._step(now_us):
            self._store.log(now_us, actor, "cancel", deployment.id)
            return self._advance(self._carry_out(deployment, plan.cancel(deployment, now_us), now_us), now_us)

    def tick(self, now_us: int) -> None:
        """Let open deployments notice deadlines, and make durable how far nodes have come since the last tick."""
        self._keep_heads(now_us)
        with self._step(now_us):
            for deployment in self.open():
                self._advance(deployment, now_us)

    def said_hello(self, node: str, hello: Hello, now_us: int) -> None:
        """The node's link is up."""
        row = self._store.row("SELECT applied_version FROM nodes WHERE name = ?", (node,))
        if row is not None and hello.manifest_version < row[0]:
            self.heads.went_back(node, row[0], hello.manifest_version, now_us)
            self._doubted(node, now_us)
        with self._step(now_us):
            self._store.run(
                "UPDATE nodes SET last_seen_us = ?, software = ?, epoch = ?, next_seq = ?, problem = '' WHERE name = ?",
                (now_us, hello.software, hello.epoch, hello.next_seq, node),
            )

    def told(self, node: str, head: Head, now_us: int) -> None:
        """The node told where its audit chain ends."""
        if self.heads.told(node, head, now_us):
            self._doubted(node, now_us)

    def recollected(self, node: str, known: Head, record_hash: bytes, now_us: int) -> None:
        """The node told the hash of the record that the coordinator knew as its last."""
        if self.heads.recollected(node, known, record_hash, now_us):
            self._doubted(node, now_us)

    def accept(self, node: str, now_us: int, actor: str) -> None:
        """Take the history that the node has now for the right one, whatever was seen of it before."""
        with self._step(now_us):
            for finding in self.heads.of(node).findings:
                self._store.log(now_us, actor, "accept_node", node, f"{finding.kind.value}: {finding.evidence}")
            self._store.run("UPDATE nodes SET applied_version = 0 WHERE name = ?", (node,))
            self.heads.accept(node)
        self._keep_heads(now_us)

    def seen(self, node: str, epoch: int, next_seq: int, now_us: int) -> None:
        """The node told its health."""
        with self._step(now_us):
            self._store.run(
                "UPDATE nodes SET last_seen_us = ?, epoch = ?, next_seq = ? WHERE name = ?",
                (now_us, epoch, next_seq, node),
            )

    def troubled(self, node: str, problem: str, now_us: int) -> None:
        """The node's link was refused or closed for a reason that people should see."""
        with self._step(now_us):
            self._store.run("UPDATE nodes SET problem = ? WHERE name = ?", (problem, node))

    def manifest_sent(self, node: str, version: int, now_us: int) -> None:
        """Manifest `version` went out to the node on a live link: from now on its answer is due."""
        with self._step(now_us):
            for deployment in self.open():
                progress = deployment.node(node)
                if progress is not None and progress.manifest_version <= version:
                    self._save(plan.sent(deployment, node, now_us))

    def disconnected(self, node: str, now_us: int) -> None:
        """The node's link is gone: it may come back as an old copy, so how far it had come is kept now."""
        self._keep_heads(now_us)
        with self._step(now_us):
            for deployment in self.open():
                self._save(plan.lost(deployment, node, now_us))

    def restarted(self, now_us: int) -> None:
        """The coordinator starts: no link is up yet, whatever the store says."""
        with self._step(now_us):
            for deployment in self.open():
                for progress in deployment.nodes:
                    deployment = plan.lost(deployment, progress.node, now_us)
                self._save(deployment)

    def applied(self, node: str, result: ManifestResult, now_us: int) -> None:
        """The node applied a whole manifest and says what became of each rule."""
        with self._step(now_us):
            known = [[one.rule, one.program_id, one.state.value, one.reason] for one in result.results]
            self._store.run(
                "UPDATE nodes SET last_seen_us = ?, applied_version = ?, results = ? "
                "WHERE name = ? AND applied_version <= ?",
                (now_us, result.manifest_version, json.dumps(known), node, result.manifest_version),
            )
            for deployment in self.open():
                progress = deployment.node(node)
                if progress is not None:
                    doubt = self.heads.reason(node)
                    said = Report(result.manifest_version, doubt) if doubt else _report(deployment, progress, result)
                    self._advance(plan.reported(deployment, node, said, now_us), now_us)

    def node_joined(self, node: str, now_us: int) -> None:
        """Give a new node its first manifest."""
        with self._step(now_us):
            self._bump(node)

    def retire(self, node: str, rule: str, now_us: int, actor: str) -> None:
        """Take a rule off a node: its next manifest does not name it. No open deployment may hold the node."""
        with self._step(now_us):
            self._want(node, rule, None)
            self._store.run("DELETE FROM known_good WHERE node = ? AND rule = ?", (node, rule))
            self._store.log(now_us, actor, "retire", node, rule)

    def signers_changed(self, now_us: int) -> None:
        """The trusted signers changed: every node gets a manifest that names them."""
        with self._step(now_us):
            for (name,) in self._store.rows("SELECT name FROM nodes"):
                self._bump(name)

    def node_removed(self, node: str, now_us: int) -> None:
        """Forget what was wanted of a node; open deployments go on without it."""
        with self._step(now_us):
            for deployment in self.open():
                left = tuple(progress for progress in deployment.nodes if progress.node != node)
                if len(left) == len(deployment.nodes):
                    continue
                deployment = replace(deployment, nodes=left)
                if not left:
                    gone = Enter(DeploymentState.CANCELLED, "all its nodes were removed from the cluster")
                    deployment = plan.decide(deployment, gone, now_us)
                self._advance(deployment, now_us)
            self._store.run("DELETE FROM wanted WHERE node = ?", (node,))
            self._store.run("DELETE FROM known_good WHERE node = ?", (node,))
            self.heads.accept(node)
        self._keep_heads(now_us)

    def open(self) -> list[Deployment]:
        """Return the deployments that have not ended, oldest first."""
        rows = self._store.rows("SELECT body FROM deployments WHERE over = 0 ORDER BY number")
        return [load_deployment(body) for (body,) in rows]

    def deployment(self, deployment_id: str) -> Deployment | None:
        """Return one deployment."""
        row = self._store.row("SELECT body FROM deployments WHERE id = ?", (deployment_id,))
        return None if row is None else load_deployment(row[0])

    def deployments(self, limit: int) -> list[Deployment]:
        """Return the newest deployments, newest first."""
        rows = self._store.rows("SELECT body FROM deployments ORDER BY number DESC LIMIT ?", (limit,))
        return [load_deployment(body) for (body,) in rows]

    def wanted(self, node: str) -> list[tuple[str, Target]]:
        """Return what the node shall run, ascending by rule."""
        rows = self._store.rows("SELECT rule, target FROM wanted WHERE node = ? ORDER BY rule", (node,))
        return [(rule, load_target(target)) for rule, target in rows]

    def wanted_of_rule(self, rule: str) -> list[tuple[str, Target]]:
        """Return which node shall run which program of a rule, ascending by node."""
        rows = self._store.rows("SELECT node, target FROM wanted WHERE rule = ? ORDER BY node", (rule,))
        return [(node, load_target(target)) for node, target in rows]

    def offer(self, node: str) -> Offer | None:
        """Return the node's latest signed manifest, None for an unknown node."""
        row = self._store.row("SELECT manifest_version, manifest, signature FROM nodes WHERE name = ?", (node,))
        if row is None:
            return None
        rules = {target.program_id: rule for rule, target in self.wanted(node)}
        return Offer(row[0], Manifest(row[1], row[2]), rules)

    def _doubted(self, node: str, now_us: int) -> None:
        """Keep a finding before anything follows from it, then let the open deployments of the node see it."""
        self._keep_heads(now_us)
        if self.heads.of(node).doubtful:
            with self._step(now_us):
                for deployment in self.open():
                    if deployment.node(node) is not None:
                        self._advance(deployment, now_us)

    def _keep_heads(self, now_us: int) -> None:
        if not self.heads.changed:
            return
        outermost = not self._store.in_transaction
        with self._store.transaction():
            self.heads.write()
        if outermost:  # else it may still be rolled back: the next tick writes it again
            self.heads.written()

    @contextlib.contextmanager
    def _step(self, now_us: int) -> Iterator[None]:
        """One transaction; signs the manifests of the nodes it touched before it commits."""
        self._dirty = set()
        with self._store.transaction():
            yield
            for node in sorted(self._dirty):
                self._sign(node, now_us)
        self._changed |= self._dirty

    def _drafted(self, draft: Draft, now_us: int, actor: str) -> Deployment:
        deployment_id = self._new_id()
        nodes = tuple(NodeProgress(node, previous=self._good(node, draft.rule)) for node in draft.nodes)
        return Deployment(
            id=deployment_id,
            rule=draft.rule,
            target=Target(draft.program_id, deployment_id, draft.params),
            strategy=draft.strategy,
            rollback=draft.rollback,
            created_us=now_us,
            updated_us=now_us,
            deadline_us=now_us + draft.deadline_s * 1_000_000,
            nodes=nodes,
            created_by=actor,
        )

    def _supersede(self, new: Deployment, now_us: int) -> None:
        names = {progress.node for progress in new.nodes}
        for old in self.open():
            if old.rule == new.rule and names & {progress.node for progress in old.nodes}:
                self._save(self._carry_out(old, plan.supersede(old, new.id), now_us))

    def _advance(self, deployment: Deployment, now_us: int) -> Deployment:
        for _ in range(STEPS_MAX):
            deployment = self._without_doubtful(deployment, now_us)
            actions = STRATEGIES[deployment.strategy](deployment, now_us)
            if not actions:
                break
            deployment = self._carry_out(deployment, actions, now_us)
        self._save(deployment)
        return deployment

    def _without_doubtful(self, deployment: Deployment, now_us: int) -> Deployment:
        """A node whose history is in doubt cannot vouch for anything: another copy of it may run another program."""
        if deployment.state is not DeploymentState.INSTALLING:
            return deployment
        for progress in deployment.nodes:
            if reason := self.heads.reason(progress.node):
                deployment = plan.disowned(deployment, progress.node, reason, now_us)
        return deployment

    def _carry_out(self, deployment: Deployment, actions: tuple[Action, ...], now_us: int) -> Deployment:
        for action in actions:
            deployment = plan.decide(deployment, action, now_us)
            if isinstance(action, plan.Want):
                version = self._want(action.node, deployment.rule, action.target)
                deployment = plan.with_node(deployment, action.node, now_us, manifest_version=version)
            elif isinstance(action, plan.KnownGood):
                self._keep("known_good", action.node, deployment.rule, deployment.target)
            elif isinstance(action, Enter):
                self._store.log(now_us, "coordinator", action.state.value, deployment.id, action.reason)
        return deployment

    def _want(self, node: str, rule: str, target: Target | None) -> int:
        if target is None:
            self._store.run("DELETE FROM wanted WHERE node = ? AND rule = ?", (node, rule))
        else:
            self._keep("wanted", node, rule, target)
        return self._bump(node)

    def _keep(self, table: str, node: str, rule: str, target: Target) -> None:
        self._store.run(
            f"INSERT INTO {table}(node, rule, target) VALUES(?, ?, ?) "
            "ON CONFLICT(node, rule) DO UPDATE SET target = excluded.target",
            (node, rule, dump_target(target)),
        )

    def _good(self, node: str, rule: str) -> Target | None:
        row = self._store.row("SELECT target FROM known_good WHERE node = ? AND rule = ?", (node, rule))
        return None if row is None else load_target(row[0])

    def _bump(self, node: str) -> int:
        if node not in self._dirty:
            self._dirty.add(node)
            self._store.run("UPDATE nodes SET manifest_version = manifest_version + 1 WHERE name = ?", (node,))
        row = self._store.row("SELECT manifest_version FROM nodes WHERE name = ?", (node,))
        return 0 if row is None else int(row[0])

    def _sign(self, node: str, now_us: int) -> None:
        entries = tuple(
            ManifestEntry(rule, target.program_id, target.deployment_id, target.params)
            for rule, target in self.wanted(node)
        )
        signers = self._store.rows("SELECT public_key FROM signer_keys WHERE revoked_us = 0 ORDER BY public_key")
        body = encode_manifest(
            WantedManifest(
                self._store.coordinator_id,
                node,
                self._bump(node),
                now_us,
                entries,
                tuple(bytes(key) for (key,) in signers),
            )
        )
        signature = self._store.identity.sign(manifest_bytes(body))
        self._store.run("UPDATE nodes SET manifest = ?, signature = ? WHERE name = ?", (body, signature, node))

    def _save(self, deployment: Deployment) -> None:
        self._store.run(
            "UPDATE deployments SET over = ?, body = ? WHERE id = ? AND body <> ?",
            (int(deployment.over), text := dump_deployment(deployment), deployment.id, text),
        )


def _report(deployment: Deployment, progress: NodeProgress, result: ManifestResult) -> Report:
    """What the node says of the deployment's rule; a wanted rule that it does not name counts as refused."""
    returning = progress.state is plan.NodeState.RETURNING
    wanted = progress.previous if returning else deployment.target
    mine = next((one for one in result.results if one.rule == deployment.rule), None)
    if mine is not None and mine.state is RuleState.REFUSED:
        return Report(result.manifest_version, mine.reason or "refused")
    if wanted is not None and (mine is None or mine.program_id != wanted.program_id):
        return Report(result.manifest_version, "the node did not report this program")
    return Report(result.manifest_version)
