"""How the API shows what the store holds: plain JSON-able objects that fit `shapes.SCHEMAS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eyeflow.coordinator import judging
from eyeflow.coordinator.healths import health_list
from eyeflow.coordinator.histories import NEXT_STEPS, History
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.store.coordination import Link
from eyeflow.coordinator.store.facts import ApiToken, Kept, NodeRecord, ProgramRecord, SignerKey
from eyeflow.evidence.verdict import Verdict
from eyeflow.protocol.coordinator_log import Entry, Head
from eyeflow.protocol.identity import key_fingerprint
from eyeflow.protocol.messages import RuleResult
from eyeflow.protocol.node_facts import NodeFacts as ToldFacts
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import Deployment, NodeProgress, Options, Rollback, Target, Targets


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """How much there is of what."""

    nodes: int
    in_doubt: int
    rules: int
    open_deployments: int
    links: int


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the store knows of one node. `link`: the one that it has; `health`: what others heard."""

    node: NodeRecord
    link: Link | None
    health: list[dict[str, Any]]
    history: History
    wanted: dict[str, Target]
    said: dict[str, RuleResult]
    labels: dict[str, str]


def cluster_facts(reading: Reading) -> ClusterFacts:
    """Count what the cluster has."""
    open_deployments = len(reading.open_deployments())
    links = reading.count(Kept.LINKS)
    return ClusterFacts(reading.count(Kept.NODES), reading.in_doubt(), len(reading.rules()), open_deployments, links)


def node_facts(reading: Reading, node: NodeRecord) -> NodeFacts:
    """Return what the store knows of one node."""
    said = {one.rule: one for one in reading.said(node.name) if one.slot is Slot.ACTIVE}
    wanted = {one.rule: one.target for one in reading.wanted(node.name) if one.slot == Slot.ACTIVE.value}
    labels, link = reading.labels(node.name), reading.link(node.name)
    return NodeFacts(node, link, reading.health(node.name), reading.history(node.name), wanted, said, labels)


def all_node_facts(reading: Reading) -> list[NodeFacts]:
    """Return what the store knows of all nodes, ascending by name."""
    return [node_facts(reading, node) for node in reading.nodes()]


def deployment_views(reading: Reading, limit: int) -> list[dict[str, Any]]:
    """Return the newest deployments as `DeploymentSummary`, newest first."""
    return [_summary(reading, one) for one in reading.deployments(limit)]


def deployment_view(reading: Reading, deployment: Deployment, linked: frozenset[str], now_us: int) -> dict[str, Any]:
    """Return a `Deployment`; `linked` are the nodes whose link is open."""
    nodes = [_progress_view(progress, progress.node in linked) for progress in reading.progress(deployment.id)]
    verdict = judging.shown(reading, deployment, now_us)
    differing = 0 if verdict is None else judging.evidence_now(reading, deployment, now_us).differing
    shown = None if verdict is None else _verdict_view(verdict, differing)
    return {**_summary(reading, deployment), "verdict": shown, "nodes": nodes}


def _progress_view(progress: NodeProgress, connected: bool) -> dict[str, Any]:
    previous = [{"rule": one["rule"], "programId": one["programId"]} for one in _changes(progress.previous)]
    return {
        "node": progress.node,
        "connected": connected,
        "state": progress.state.value,
        "reason": progress.reason,
        "place": progress.place.value,
        "previous": previous,
    }


def _changes(targets: Targets) -> list[dict[str, Any]]:
    return [
        {
            "rule": rule,
            "programId": target.program_id if target else "",
            "params": dict(target.params) if target else {},
        }
        for rule, target in targets
    ]


def _verdict_view(verdict: Verdict, differing: int) -> dict[str, Any]:
    before = verdict.before
    return {
        "kind": verdict.kind.value,
        "reason": verdict.reason,
        "leftS": verdict.left_s,
        "executions": verdict.candidate.executions,
        "failures": verdict.candidate.failed,
        "executionsBefore": before.executions if before else 0,
        "failuresBefore": before.failed if before else 0,
        "e": verdict.e,
        "alarmE": verdict.alarm_e,
        "differing": differing,
    }


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


def _summary(reading: Reading, deployment: Deployment) -> dict[str, Any]:
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


def rule_views(reading: Reading) -> list[dict[str, Any]]:
    """Return all rules as `Rule`."""
    return [_rule_view(reading, rule) for rule in reading.rules()]


def _rule_view(reading: Reading, rule: str) -> dict[str, Any]:
    programs = [
        {"id": one.id, "version": one.version, "uploadedUs": one.uploaded_us} for one in reading.programs_of(rule)
    ]
    nodes = [
        {"node": node, "programId": one.target.program_id}
        for node, one in reading.wanted_of_rule(rule)
        if one.slot == Slot.ACTIVE.value
    ]
    return {"rule": rule, "programs": programs, "nodes": nodes}


def node_view(hub: Hub, facts: NodeFacts) -> dict[str, Any]:
    """Return a `Node`: what the store knows, and what the node told last over its link."""
    node = facts.node
    status = hub.nodes.health.get(node.name)
    link = facts.link
    is_elsewhere = link is not None and link.coordinator != hub.store.own_id
    rates = hub.nodes.rates.get(node.name)
    executions, errors = rates.a_minute() if rates is not None and node.name in hub.links else (None, None)
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
        "labels": facts.labels,
        "drainedUs": node.drained_us,
        "joinedUs": node.joined_us,
        "lastSeenUs": max(node.last_seen_us, hub.nodes.seen_us.get(node.name, 0)),
        "epoch": status.epoch if status is not None else node.epoch,
        "nextSeq": status.next_seq if status is not None else node.next_seq,
        "manifestVersion": node.manifest_version,
        "appliedVersion": node.applied_version,
        "problem": node.problem,
        **_history_view(facts),
        "rules": [_rule_on_node(facts, rule) for rule in sorted(facts.wanted.keys() | facts.said.keys())],
        "health": health_list(status) if status is not None else facts.health,
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
    history, head = facts.history, facts.history.head
    shown = None if head is None else {"epoch": head.epoch, "seq": head.seq, "hash": head.hash.hex()}
    findings = [
        {
            "kind": one.kind.value,
            "blocks": one.blocks,
            "sinceUs": one.since_us,
            "lastUs": one.last_us,
            "evidence": one.evidence,
            "nextStep": NEXT_STEPS[one.kind].format(node=facts.node.name),
        }
        for one in history.findings
    ]
    return {"inDoubt": history.doubtful, "head": shown, "findings": findings}


def _rule_on_node(facts: NodeFacts, rule: str) -> dict[str, Any]:
    target, said = facts.wanted.get(rule), facts.said.get(rule)
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
