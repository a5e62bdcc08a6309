"""How the API shows what the store holds: plain JSON-able objects that fit `shapes.SCHEMAS`."""

from __future__ import annotations

import base64
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from eyeflow.audit.view import word_of
from eyeflow.coordinator import cases, judging
from eyeflow.coordinator.archive.chain import NO_OUTCOME, Row
from eyeflow.coordinator.archive.database import Chain
from eyeflow.coordinator.boards import Heard, board_view
from eyeflow.coordinator.collecting import Copy
from eyeflow.coordinator.healths import health_list
from eyeflow.coordinator.histories import NEXT_STEPS, Proof
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.queries import cursor_of
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.store.facts import ApiToken, Kept, NodeRecord, ProgramRecord, SignerKey
from eyeflow.coordinator.store.lists import NodeDetails, NodeSums, ProgressAsked, RuleRow
from eyeflow.evidence.outcomes import Tally
from eyeflow.protocol.audit_bodies import Kind
from eyeflow.protocol.coordinator_log import Entry, Head
from eyeflow.protocol.identity import key_fingerprint
from eyeflow.protocol.messages import Head as ChainHead
from eyeflow.protocol.messages import RuleResult
from eyeflow.protocol.messages import Status as NodeStatus
from eyeflow.protocol.node_facts import NodeFacts as ToldFacts
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import Deployment, DeploymentState, NodeProgress, Options, Rollback, Target, Targets
from eyeflow.svm.execution import Outcome

DECIDED = frozenset(
    {DeploymentState.SUCCEEDED, DeploymentState.FAILED, DeploymentState.ROLLING_BACK, DeploymentState.ROLLED_BACK}
)
"""In these states a deployment shows the verdict that decided it."""
NODES_SHOWN = 100
"""Nodes that a deployment shows with itself; the others are on pages of their own."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """How much there is of what."""

    nodes: int
    in_doubt: int
    rules: int
    open_deployments: int
    links: int
    alarms: int
    new_alarms: int


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the store knows of one node."""

    node: NodeRecord
    details: NodeDetails

    @property
    def wanted(self) -> dict[str, Target]:
        """Return the active program of each rule that it shall run."""
        return {one.rule: one.target for one in self.details.wanted if one.slot == Slot.ACTIVE.value}

    @property
    def said(self) -> dict[str, RuleResult]:
        """Return what it said of the active program of each rule."""
        return {one.rule: one for one in self.details.said if one.slot is Slot.ACTIVE}


def cluster_facts(reading: Reading) -> ClusterFacts:
    """Count what the cluster has."""
    nodes, links, rules = (reading.count(kept) for kept in (Kept.NODES, Kept.LINKS, Kept.RULES))
    lasting = reading.open_alarms()
    alarms = (len(lasting), sum(not one.seen_us for one in lasting))
    return ClusterFacts(nodes, reading.in_doubt(), rules, reading.count(Kept.OPEN_DEPLOYMENTS), links, *alarms)


def node_facts(reading: Reading, node: NodeRecord) -> NodeFacts:
    """Return what the store knows of one node."""
    return facts_of(reading, [node])[0]


def facts_of(reading: Reading, nodes: Sequence[NodeRecord]) -> list[NodeFacts]:
    """Return what the store knows of some nodes, in their order."""
    details = reading.node_details([node.name for node in nodes])
    return [NodeFacts(node, details[node.name]) for node in nodes]


def status_view(hub: Hub, facts: ClusterFacts, sums: NodeSums) -> dict[str, Any]:
    """Return a `Status`."""
    rates = [hub.nodes.rates[name].a_minute() for name in hub.links if name in hub.nodes.rates]
    executions, errors = (sum(one[place] or 0.0 for one in rates) for place in (0, 1))
    return {
        "coordinatorId": hub.store.coordinator_id,
        "software": hub.own.software,
        "startedUs": hub.started_us,
        "nodes": facts.nodes,
        "connected": hub.count_linked(facts.links),
        "inDoubt": facts.in_doubt,
        "rules": facts.rules,
        "openDeployments": facts.open_deployments,
        "alarms": {"open": facts.alarms, "new": facts.new_alarms},
        "trouble": hub.trouble,
        "summary": {
            "nodes": sums.nodes,
            "active": sums.active,
            "failing": sums.failing,
            "pending": sums.pending,
            "drained": sums.drained,
            "waiting": sums.waiting + hub.nodes.standings.waiting(hub.links),
            "executionsPerMinute": round(sums.executions_a_minute + executions, 1),
            "errorsPerMinute": round(sums.errors_a_minute + errors, 1),
        },
    }


def deployment_view(hub: Hub, reading: Reading, deployment: Deployment, now_us: int) -> dict[str, Any]:
    """Return a `Deployment` with its first nodes, without `own`: that is of whoever asks."""
    page = reading.progress_page(ProgressAsked(deployment.id, NODES_SHOWN))
    linked = hub.linked_of(reading, [one.node for one in page.rows])
    nodes = progress_views(reading, deployment.id, page.rows, linked)
    verdict = judging.shown(reading, deployment, now_us)
    differing = 0 if verdict is None else judging.evidence_now(reading, deployment, now_us).differing
    shown = None if verdict is None else cases.verdict_view(verdict, differing)
    if verdict is None and deployment.state in DECIDED:  # else it is of the step before
        shown = cases.kept_verdict(reading, deployment.id)
    told = {
        "failures": cases.failures(reading, deployment.id),
        "differences": cases.differences(reading, deployment.id),
    }
    summary = deployment_summary(reading, deployment)
    return {**summary, "verdict": shown, "nodes": nodes, "nextCursor": cursor_of(page.after), **told}


def progress_views(
    reading: Reading, deployment_id: str, rows: Sequence[NodeProgress], linked: Container[str]
) -> list[dict[str, Any]]:
    """Return the `NodeProgress` of some nodes of a deployment."""
    tallies = reading.tallies(deployment_id, [one.node for one in rows])
    return [_progress_view(one, one.node in linked, tallies.get(one.node)) for one in rows]


def _progress_view(progress: NodeProgress, connected: bool, tally: Tally | None) -> dict[str, Any]:
    previous = [{"rule": one["rule"], "programId": one["programId"]} for one in _changes(progress.previous)]
    return {
        "node": progress.node,
        "connected": connected,
        "state": progress.state.value,
        "reason": progress.reason,
        "place": progress.place.value,
        "phase": progress.phase,
        "executions": tally.decisions.executions if tally else None,
        "failures": tally.decisions.failed + tally.actions.failed if tally else None,
        "previous": previous,
    }


def _changes(targets: Targets) -> list[dict[str, Any]]:
    return [
        {
            "rule": rule,
            "programId": target.program_id if target else "",
            "boardPrograms": [
                {"chip": chip, "programId": one} for chip, one in (target.board_programs if target else ())
            ],
            "params": dict(target.params) if target else {},
        }
        for rule, target in targets
    ]


def _options_view(options: Options) -> dict[str, Any]:
    batch = {"batchPercent": options.batch_share / 100} if options.batch_share else {"batch": options.batch}
    return {
        **batch,
        "observeS": options.observe_s,
        "steps": [step / 100 for step in options.steps],
        "samplesMin": options.samples_min,
        "failuresMaxPercent": options.failures_max / 100,
        "startsMax": options.starts_max,
    }


def deployment_summary(reading: Reading, deployment: Deployment) -> dict[str, Any]:
    """Return a `DeploymentSummary`."""
    return {
        "id": deployment.id,
        "name": deployment.name,
        "changes": _changes(deployment.targets),
        "strategy": deployment.strategy,
        "options": _options_view(deployment.options),
        "phase": deployment.phase,
        "phaseSinceUs": deployment.phase_since_us,
        "paused": [{"code": one.code, "text": one.text, "sinceUs": one.since_us} for one in deployment.paused],
        "rollbackOnError": deployment.rollback is Rollback.ON_ERROR,
        "state": deployment.state.value,
        "over": deployment.over,
        "reason": deployment.reason,
        "createdBy": deployment.created_by,
        "createdUs": deployment.created_us,
        "updatedUs": deployment.updated_us,
        "deadlineUs": deployment.deadline_us,
        "counts": {state.value: count for state, count in reading.counts(deployment.id).items()},
    }


def program_view(program: ProgramRecord) -> dict[str, Any]:
    """Return a `Program`."""
    return {
        "id": program.id,
        "rule": program.rule,
        "version": program.version,
        "sequence": program.sequence,
        "profile": program.profile,
        "sources": [],
        **program.about,
        "sizeBytes": program.size_bytes,
        "uploadedUs": program.uploaded_us,
        "uploadedBy": program.uploaded_by,
    }


def rule_view(row: RuleRow) -> dict[str, Any]:
    """Return a `Rule`."""
    programs = [
        {"id": one.id, "version": one.version, "uploadedUs": one.uploaded_us, "nodes": row.nodes.get(one.id, 0)}
        for one in row.programs
    ]
    return {"rule": row.rule, "programs": programs, "nodes": sum(row.nodes.values())}


def node_view(hub: Hub, facts: NodeFacts) -> dict[str, Any]:
    """Return a `Node`: what the store knows, and what the node told last over its link."""
    node = facts.node
    status = hub.nodes.health.get(node.name)
    link = facts.details.link
    is_elsewhere = link is not None and link.coordinator != hub.store.own_id
    rates = hub.nodes.rates.get(node.name)
    executions, errors = rates.a_minute() if rates is not None and node.name in hub.links else (None, None)
    if is_elsewhere:
        executions, errors = node.executions_a_minute, node.errors_a_minute
    return {
        "name": node.name,
        "connected": node.name in hub.links or is_elsewhere,
        "connectedSinceUs": link.since_us if link is not None else 0,
        "executionsPerMinute": executions,
        "errorsPerMinute": errors,
        "fingerprint": key_fingerprint(node.public_key),
        "software": node.software,
        "protocol": node.protocol,
        "facts": None if node.facts is None else facts_view(node.facts),
        "board": _board_of(hub, facts, status),
        "labels": facts.details.labels,
        "drainedUs": node.drained_us,
        "joinedUs": node.joined_us,
        "lastSeenUs": max(node.last_seen_us, hub.nodes.seen_us.get(node.name, 0)),
        "epoch": status.epoch if status is not None else node.epoch,
        "nextSeq": status.next_seq if status is not None else node.next_seq,
        "manifestVersion": node.manifest_version,
        "appliedVersion": node.applied_version,
        "aheadVersion": facts.details.ahead_version,
        "problem": node.problem,
        **_history_view(facts),
        "copy": copy_view(hub.copies.by_node.get(node.name), facts.details.history.head),
        "rules": _rules_of(facts),
        "health": health_list(status) if status is not None else facts.details.health,
    }


def _board_of(hub: Hub, facts: NodeFacts, status: NodeStatus | None) -> dict[str, Any] | None:
    """Return how a board stands, None for a node that is none."""
    kept, name = facts.details.board, facts.node.name
    if kept is None:
        return None
    seen_us = max(facts.node.last_seen_us, hub.nodes.seen_us.get(name, 0))
    own_id, link = hub.store.own_id, facts.details.link
    is_linked = name in hub.links or (link is not None and link.coordinator != own_id)
    gateway_is_linked = kept.gateway in hub.all_links or kept.gateway_held_by not in ("", own_id)
    heard = Heard(is_linked, gateway_is_linked, seen_us, hub.clock())
    return board_view(kept, None if status is None else status.board, heard)


def copy_view(copy: Copy | None, head: ChainHead | None) -> dict[str, Any] | None:
    """Return how far the copy of a node's audit is, None while there is none."""
    if copy is None:
        return None
    # Whichever coordinator heard of the head: this one may not hold the link.
    told = head.seq - copy.kept.seq if head is not None and head.epoch == copy.kept.epoch else 0
    return {
        "epoch": copy.kept.epoch,
        "seq": copy.kept.seq,
        "hash": copy.kept.hash.hex(),
        "behind": max(copy.behind, told),
        "keptUs": copy.kept.time_us,
        "trouble": copy.trouble,
    }


def record_row_view(row: Row) -> dict[str, Any]:
    """Return a `KeptRecord`."""
    return {
        "seq": row.seq,
        "timeUs": row.time_us,
        "kind": word_of(Kind, row.kind),
        "rule": row.rule,
        "slot": row.slot,
        "key": row.key,
        "outcome": "" if row.outcome == NO_OUTCOME else word_of(Outcome, row.outcome),
        "record": base64.b64encode(row.data).decode(),
    }


def chain_view(chain: Chain) -> dict[str, Any]:
    """Return a `KeptChain`."""
    return {
        "epoch": chain.kept.epoch,
        "branch": chain.branch,
        "firstSeq": chain.first_seq,
        "seq": chain.kept.seq,
        "hash": chain.kept.hash.hex(),
        "keptUs": chain.kept.time_us,
        "signature": chain.kept.signature.hex(),
        "losses": [
            {"reason": one.reason, "gaps": one.gaps, "records": one.records, "lastUs": one.last_us}
            for one in chain.losses
        ],
    }


def facts_view(facts: ToldFacts) -> dict[str, Any]:
    """Return what a node tells of itself."""
    return {
        "profile": facts.profile,
        "chip": facts.chip,
        "architecture": facts.architecture,
        "memoryBytes": facts.memory_bytes,
        "abi": facts.abi,
        "grants": facts.grants,
        "drivers": facts.drivers,
        "sources": facts.sources,
    }


def _history_view(facts: NodeFacts) -> dict[str, Any]:
    history = facts.details.history
    head = history.head
    shown = None if head is None else {"epoch": head.epoch, "seq": head.seq, "hash": head.hash.hex()}
    findings = [
        {
            "kind": one.kind.value,
            "blocks": one.blocks,
            "sinceUs": one.since_us,
            "lastUs": one.last_us,
            "evidence": one.evidence,
            "proof": _proof_view(one.proof),
            "nextStep": NEXT_STEPS[one.kind].format(node=facts.node.name),
        }
        for one in history.findings
    ]
    return {"inDoubt": history.doubtful, "head": shown, "findings": findings}


def _proof_view(proof: Proof) -> dict[str, Any]:
    return {
        "epoch": proof.epoch,
        "seq": proof.seq,
        "knownHash": proof.known.hex(),
        "toldHash": proof.told.hex(),
        "links": [{"process": one.boot.hex(), "address": one.address, "timeUs": one.time_us} for one in proof.dials],
    }


def _rules_of(facts: NodeFacts) -> list[dict[str, Any]]:
    wanted, said = facts.wanted, facts.said
    return [_rule_on_node(rule, wanted.get(rule), said.get(rule)) for rule in sorted(wanted.keys() | said.keys())]


def _rule_on_node(rule: str, target: Target | None, said: RuleResult | None) -> dict[str, Any]:
    program_id = target.program_id if target is not None else ""
    current = said is not None and said.program_id == program_id
    return {
        "rule": rule,
        "wanted": _target_view(target) if target is not None else None,
        "state": said.state.value if said is not None and current else "pending",
        "reason": said.reason if said is not None and current else "",
    }


def _target_view(target: Target) -> dict[str, Any]:
    return {"programId": target.program_id, "params": dict(target.params), "deploymentId": target.deployment_id}


def token_view(token: ApiToken, now_us: int) -> dict[str, Any]:
    """Return a `TokenInfo`."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "createdUs": token.created_us,
        "createdBy": token.created_by,
        "labels": dict(token.labels),
        "person": token.person,
        "expiresUs": token.expires_us,
        "usedUs": token.used_us,
        "revokedUs": token.revoked_us,
        "works": token.works(now_us),
    }


def key_view(key: SignerKey) -> dict[str, Any]:
    """Return a `Key`."""
    return {
        "publicKey": key.public_key.hex(),
        "fingerprint": key_fingerprint(key.public_key),
        "name": key.name,
        "addedUs": key.added_us,
        "revokedUs": key.revoked_us,
    }


def log_view(hub: Hub, reading: Reading) -> dict[str, Any]:
    """Return a `Log`."""
    first, head, signed = reading.log_after(0, 1), reading.log_head(), reading.signed_head()
    return {
        "first": first[0].number if first else 0,
        "head": _head_view(head),
        "signed": None if signed is None else {**_head_view(signed.head), "signature": signed.signature.hex()},
        "coordinatorId": hub.store.coordinator_id,
        "publicKey": hub.store.identity.public_key.hex(),
        "trouble": hub.log.trouble,
    }


def _head_view(head: Head) -> dict[str, Any]:
    return {"number": head.number, "hash": head.hash.hex()}


def log_entry_view(entry: Entry) -> dict[str, Any]:
    """Return a `LogEntry`."""
    return {
        "number": entry.number,
        "timeUs": entry.time_us,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
        "prev": entry.prev.hex(),
    }
