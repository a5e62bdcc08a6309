"""How the API shows what the store holds: plain JSON-able objects that fit `shapes.SCHEMAS`."""

from __future__ import annotations

from typing import Any

from eyeflow.coordinator.heads import NEXT_STEPS
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.registry import NodeRecord, ProgramRecord, SignerKey
from eyeflow.protocol.identity import key_fingerprint
from eyeflow.rollout.plan import Deployment, Rollback, Target


def deployment_view(hub: Hub, deployment: Deployment) -> dict[str, Any]:
    """Return a `Deployment`."""
    return {
        "id": deployment.id,
        "rule": deployment.rule,
        "programId": deployment.target.program_id,
        "params": dict(deployment.target.params),
        "strategy": deployment.strategy,
        "rollbackOnError": deployment.rollback is Rollback.ON_ERROR,
        "state": deployment.state.value,
        "over": deployment.over,
        "reason": deployment.reason,
        "createdBy": deployment.created_by,
        "createdUs": deployment.created_us,
        "updatedUs": deployment.updated_us,
        "deadlineUs": deployment.deadline_us,
        "nodes": [
            {
                "node": progress.node,
                "connected": progress.node in hub.links,
                "state": progress.state.value,
                "reason": progress.reason,
                "previousProgramId": progress.previous.program_id if progress.previous else "",
            }
            for progress in deployment.nodes
        ],
    }


def program_view(program: ProgramRecord) -> dict[str, Any]:
    """Return a `Program`."""
    return {
        "id": program.id,
        "rule": program.rule,
        "version": program.version,
        "sequence": program.sequence,
        "profile": program.profile,
        **program.about,
        "sizeBytes": program.size_bytes,
        "uploadedUs": program.uploaded_us,
        "uploadedBy": program.uploaded_by,
    }


def rule_view(hub: Hub, rule: str) -> dict[str, Any]:
    """Return a `Rule`."""
    programs = [
        {"id": one.id, "version": one.version, "uploadedUs": one.uploaded_us} for one in hub.registry.programs_of(rule)
    ]
    nodes = [{"node": node, "programId": target.program_id} for node, target in hub.fleet.wanted_of_rule(rule)]
    return {"rule": rule, "programs": programs, "nodes": nodes}


def node_view(hub: Hub, node: NodeRecord) -> dict[str, Any]:
    """Return a `Node`."""
    status = hub.health.get(node.name)
    health = [
        {
            "kind": one.kind,
            "name": one.name,
            "state": one.state.value,
            "detail": one.detail,
            "programId": one.program_id,
            "counters": dict(one.counters),
        }
        for one in (status.health if status is not None else ())
    ]
    return {
        "name": node.name,
        "connected": node.name in hub.links,
        "fingerprint": key_fingerprint(node.public_key),
        "software": node.software,
        "joinedUs": node.joined_us,
        "lastSeenUs": max(node.last_seen_us, hub.seen_us.get(node.name, 0)),
        "epoch": status.epoch if status is not None else node.epoch,
        "nextSeq": status.next_seq if status is not None else node.next_seq,
        "manifestVersion": node.manifest_version,
        "appliedVersion": node.applied_version,
        "problem": node.problem,
        **_history(hub, node.name),
        "rules": _rules_on_node(hub, node),
        "health": health,
    }


def _history(hub: Hub, node: str) -> dict[str, Any]:
    history = hub.fleet.heads.of(node)
    head = history.head
    shown = None if head is None else {"epoch": head.epoch, "seq": head.seq, "hash": head.hash.hex()}
    findings = [
        {
            "kind": one.kind.value,
            "blocks": one.blocks,
            "sinceUs": one.since_us,
            "lastUs": one.last_us,
            "evidence": one.evidence,
            "nextStep": NEXT_STEPS[one.kind].format(node=node),
        }
        for one in history.findings
    ]
    return {"inDoubt": history.doubtful, "head": shown, "findings": findings}


def _rules_on_node(hub: Hub, node: NodeRecord) -> list[dict[str, Any]]:
    wanted = dict(hub.fleet.wanted(node.name))
    said = {rule: (program_id, state, reason) for rule, program_id, state, reason in node.results}
    return [_rule_on_node(rule, wanted.get(rule), said.get(rule)) for rule in sorted(wanted.keys() | said.keys())]


def _rule_on_node(rule: str, target: Target | None, said: tuple[str, str, str] | None) -> dict[str, Any]:
    program_id = target.program_id if target is not None else ""
    current = said is not None and said[0] == program_id
    return {
        "rule": rule,
        "wanted": _target_view(target) if target is not None else None,
        "state": said[1] if said is not None and current else "pending",
        "reason": said[2] if said is not None and current else "",
    }


def _target_view(target: Target) -> dict[str, Any]:
    return {"programId": target.program_id, "params": dict(target.params), "deploymentId": target.deployment_id}


def token_view(token_id: str, name: str, role: str, created_us: int, revoked_us: int) -> dict[str, Any]:
    """Return a `TokenInfo`."""
    return {"id": token_id, "name": name, "role": role, "createdUs": created_us, "revokedUs": revoked_us}


def key_view(key: SignerKey) -> dict[str, Any]:
    """Return a `Key`."""
    return {
        "publicKey": key.public_key.hex(),
        "fingerprint": key_fingerprint(key.public_key),
        "name": key.name,
        "addedUs": key.added_us,
        "revokedUs": key.revoked_us,
    }
