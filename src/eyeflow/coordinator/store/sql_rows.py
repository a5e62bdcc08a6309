"""Rows of the database as values, and back. What has no columns of its own is JSON text, written only here."""

from __future__ import annotations

import json

from eyeflow.coordinator.histories import Doubt, Finding, History
from eyeflow.coordinator.store.facts import ApiToken, Change, ChangeKind, JoinToken, NodeRecord, ProgramRecord
from eyeflow.coordinator.store.sql import Row
from eyeflow.protocol.messages import BOOT_BYTES, Head, RuleResult, RuleState
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.plan import Deployment, DeploymentState, NodeProgress, NodeState, Rollback, Target

NODE = (
    "name, public_key, joined_us, last_seen_us, software, epoch, next_seq, manifest_version, applied_version, problem, "
    "protocol"
)
PROGRAM = "id, rule, version, sequence, profile, about, uploaded_us, uploaded_by, length(bytes)"
API_TOKEN = "id, name, role, hash, created_us, revoked_us, expires_us, used_us"
JOIN_TOKEN = "id, hash, created_us, expires_us, used_us, used_by"
DEPLOYMENT = (
    "id, rule, target, strategy, rollback, created_us, deadline_us, created_by, state, reason, updated_us, "
    "state_deadline_us, outcome, revision"
)
PROGRESS = "node, state, reason, previous, manifest_version, due_us, touched_us, revision"


def dump_target(target: Target) -> str:
    """Return a target as JSON text."""
    return json.dumps([target.program_id, target.deployment_id, target.params], separators=(",", ":"))


def load_target(text: str) -> Target:
    """Return the target that `dump_target` wrote."""
    program_id, deployment_id, params = json.loads(text)
    return Target(program_id, deployment_id, tuple((name, value) for name, value in params))


def node_of(row: Row) -> NodeRecord:
    """Return a node from the columns NODE."""
    name, public_key, *rest = row
    return NodeRecord(name, bytes(public_key), *rest)


def program_of(row: Row) -> ProgramRecord:
    """Return a program from the columns PROGRAM."""
    program_id, rule, version, sequence, profile, about, *rest = row
    return ProgramRecord(program_id, rule, version, sequence, profile, json.loads(about), *rest)


def api_token_of(row: Row) -> ApiToken:
    """Return an API token from the columns API_TOKEN."""
    token_id, name, role, token_hash, *rest = row
    return ApiToken(token_id, name, role, bytes(token_hash), *rest)


def join_token_of(row: Row) -> JoinToken:
    """Return a join token from the columns JOIN_TOKEN."""
    token_id, token_hash, *rest = row
    return JoinToken(token_id, bytes(token_hash), *rest)


def deployment_of(row: Row) -> Deployment:
    """Return a deployment from the columns DEPLOYMENT."""
    made_id, rule, target, strategy, rollback, created_us, deadline_us, created_by, state, reason, *rest = row
    updated_us, state_deadline_us, outcome, revision = rest
    return Deployment(
        id=made_id,
        rule=rule,
        target=load_target(target),
        strategy=strategy,
        rollback=Rollback(rollback),
        created_us=created_us,
        deadline_us=deadline_us,
        created_by=created_by,
        state=DeploymentState(state),
        reason=reason,
        updated_us=updated_us,
        state_deadline_us=state_deadline_us,
        outcome=DeploymentState(outcome),
        revision=revision,
    )


def deployment_row(one: Deployment) -> Row:
    """Return the columns DEPLOYMENT of a deployment, then `due_us` and `over`."""
    return (
        one.id,
        one.rule,
        dump_target(one.target),
        one.strategy,
        one.rollback.value,
        one.created_us,
        one.deadline_us,
        one.created_by,
        one.state.value,
        one.reason,
        one.updated_us,
        one.state_deadline_us,
        one.outcome.value,
        one.revision,
        one.due_us,
        int(one.over),
    )


def progress_of(row: Row) -> NodeProgress:
    """Return where a node stands from the columns PROGRESS."""
    node, state, reason, previous, *rest = row
    return NodeProgress(node, NodeState(state), reason, None if previous is None else load_target(previous), *rest)


def progress_row(one: NodeProgress) -> Row:
    """Return the columns PROGRESS of where a node stands."""
    previous = None if one.previous is None else dump_target(one.previous)
    place = (one.manifest_version, one.due_us, one.touched_us, one.revision)
    return (one.node, one.state.value, one.reason, previous, *place)


def result_of(row: Row) -> RuleResult:
    """Return what a node said of a rule."""
    rule, program_id, state, reason, slot = row
    return RuleResult(rule, program_id, RuleState(state), reason, Slot(slot))


def history_of(head: Row | None, findings: list[Row]) -> History:
    """Return what is known of a node's audit chain."""
    found = tuple(Finding(Doubt(kind), since_us, last_us, text) for kind, since_us, last_us, text in findings)
    if head is None:
        return History(findings=found)
    epoch, seq, record_hash, boots = head
    split = tuple(bytes(boots[at : at + BOOT_BYTES]) for at in range(0, len(boots), BOOT_BYTES))
    return History(Head(b"", epoch, seq, bytes(record_hash)), split, found)


def change_of(row: Row) -> Change:
    """Return one entry of the feed."""
    number, time_us, kind, subject, node = row
    return Change(number, time_us, ChangeKind(kind), subject, node)
