"""Rows of the database as values, and back. What has no columns of its own is JSON text, written only here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from eyeflow.coordinator.histories import NO_PROOF, Dial, Doubt, Finding, History, Proof
from eyeflow.coordinator.store.facts import ApiToken, Change, ChangeKind, JoinToken, NodeRecord, ProgramRecord
from eyeflow.coordinator.store.sql import Row
from eyeflow.evidence.outcomes import Outcomes, Tally
from eyeflow.protocol.coordinator_log import Entry
from eyeflow.protocol.messages import BOOT_BYTES, Head, RuleResult, RuleState
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import (
    LOOK_S,
    Deployment,
    DeploymentState,
    NodeProgress,
    NodeState,
    Options,
    Pause,
    Place,
    Rollback,
    Target,
    Targets,
    Trial,
    Wanted,
)

NODE = (
    "name, public_key, joined_us, last_seen_us, software, epoch, next_seq, manifest_version, applied_version, problem, "
    "protocol, facts, drained_us, executions, errors, failing_since_us"
)
PROGRAM = "id, rule, version, sequence, profile, about, uploaded_us, uploaded_by, length(bytes)"
API_TOKEN = "id, name, role, hash, created_us, revoked_us, expires_us, used_us, created_by, labels, person"
JOIN_TOKEN = "id, hash, created_us, expires_us, used_us, used_by"
DEPLOYMENT = (
    "id, targets, strategy, rollback, created_us, deadline_us, created_by, options, state, reason, updated_us, "
    "state_deadline_us, outcome, phase, phase_since_us, paused, waived, judgement, judged_us, revision"
)
LOG = "number, time_us, actor, action, subject, detail, prev"
PROGRESS = "node, state, reason, previous, place, phase, manifest_version, due_us, touched_us, revision"


def dump(value: Any) -> str:
    """Return a value as JSON text."""
    return json.dumps(value, separators=(",", ":"))


def dump_target(target: Target) -> str:
    """Return a target as JSON text."""
    return dump(_target(target))


def load_target(text: str) -> Target:
    """Return the target that `dump_target` wrote."""
    return _target_of(json.loads(text))


def _target(target: Target) -> list[Any]:
    boards = [target.board_programs] if target.board_programs else []
    return [target.program_id, target.deployment_id, target.params, *boards]


def _target_of(value: list[Any]) -> Target:
    program_id, deployment_id, params, *boards = value
    pairs = (tuple((name, value) for name, value in one) for one in (params, *boards))
    return Target(program_id, deployment_id, *pairs)


def dump_targets(targets: Targets) -> str:
    """Return targets by rule as JSON text."""
    return dump([[rule, None if target is None else _target(target)] for rule, target in targets])


def load_targets(text: str) -> Targets:
    """Return the targets that `dump_targets` wrote."""
    return tuple((rule, None if value is None else _target_of(value)) for rule, value in json.loads(text))


def dump_how(one: Wanted) -> str:
    """Return how a program is wanted, beside which one, as JSON text."""
    return dump([one.share, one.keyless, None if one.trial is None else asdict(one.trial), one.is_return])


def wanted_of(row: Row) -> Wanted:
    """Return one program that a node shall run, from the columns rule, slot, target, how."""
    rule, slot, target, how = row
    share, keyless, trial, *is_return = json.loads(how)  # rows of older stores do not tell the last
    tried = None if trial is None else Trial(**trial)
    return Wanted(rule, slot, load_target(target), share, keyless, tried, *is_return)


def node_of(row: Row) -> NodeRecord:
    """Return a node from the columns NODE."""
    name, public_key, *rest, facts, drained_us, executions, errors, failing_since_us = row
    told = (_facts_of(json.loads(facts)), drained_us, executions, errors, failing_since_us)
    fields: Row = (name, bytes(public_key), *rest, *told)
    return NodeRecord(*fields)


def dump_facts(facts: NodeFacts | None) -> str:
    """Return what a node told of itself as JSON text."""
    if facts is None:
        return dump(None)
    machine = [facts.profile, facts.chip, facts.architecture, facts.memory_bytes, facts.abi]
    return dump([*machine, facts.grants, facts.drivers, facts.sources])


def _facts_of(value: list[Any] | None) -> NodeFacts | None:
    if value is None:
        return None
    *machine, grants, drivers, sources = value
    return NodeFacts(*machine, *(None if names is None else tuple(names) for names in (grants, drivers, sources)))


def program_of(row: Row) -> ProgramRecord:
    """Return a program from the columns PROGRAM."""
    program_id, rule, version, sequence, profile, about, *rest = row
    return ProgramRecord(program_id, rule, version, sequence, profile, json.loads(about), *rest)


def api_token_of(row: Row) -> ApiToken:
    """Return an API token from the columns API_TOKEN."""
    token_id, name, role, token_hash, *rest = row
    *rest, labels, person = rest
    pairs = tuple((key, value) for key, value in json.loads(labels))
    return replace(ApiToken(token_id, name, role, bytes(token_hash), *rest), labels=pairs, person=person)


def join_token_of(row: Row) -> JoinToken:
    """Return a join token from the columns JOIN_TOKEN."""
    token_id, token_hash, *rest = row
    return JoinToken(token_id, bytes(token_hash), *rest)


def deployment_of(row: Row) -> Deployment:
    """Return a deployment from the columns DEPLOYMENT."""
    made_id, targets, strategy, rollback, created_us, deadline_us, created_by, options, state, reason, *rest = row
    updated_us, state_deadline_us, outcome, phase, phase_since_us, paused, waived, judgement, judged_us, revision = rest
    chosen = json.loads(options)
    return Deployment(
        id=made_id,
        targets=load_targets(targets),
        options=Options(**{**chosen, "steps": tuple(chosen["steps"])}),
        phase=phase,
        phase_since_us=phase_since_us,
        paused=tuple(Pause(*one) for one in json.loads(paused)),
        waived=waived,
        judgement=json.loads(judgement),
        judged_us=judged_us,
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


def due_us(one: Deployment) -> int:
    """Return when a deployment is to be looked at, beside the times when answers of its nodes are due."""
    looked_us = one.judged_us + LOOK_S * 1_000_000
    times = [one.state_deadline_us or one.deadline_us] + [looked_us] * (one.state is DeploymentState.OBSERVING)
    return min(times)


def deployment_row(one: Deployment) -> Row:
    """Return the columns DEPLOYMENT of a deployment, then `due_us` and `over`."""
    return (
        one.id,
        dump_targets(one.targets),
        one.strategy,
        one.rollback.value,
        one.created_us,
        one.deadline_us,
        one.created_by,
        dump(asdict(one.options)),
        one.state.value,
        one.reason,
        one.updated_us,
        one.state_deadline_us,
        one.outcome.value,
        one.phase,
        one.phase_since_us,
        dump([[pause.code, pause.text, pause.since_us] for pause in one.paused]),
        one.waived,
        dump(one.judgement),
        one.judged_us,
        one.revision,
        due_us(one),
        int(one.over),
    )


def progress_of(row: Row) -> NodeProgress:
    """Return where a node stands from the columns PROGRESS."""
    node, state, reason, previous, place, *rest = row
    return NodeProgress(node, NodeState(state), reason, load_targets(previous), Place(place), *rest)


def progress_row(one: NodeProgress) -> Row:
    """Return the columns PROGRESS of where a node stands."""
    numbers = (one.phase, one.manifest_version, one.due_us, one.touched_us, one.revision)
    return (one.node, one.state.value, one.reason, dump_targets(one.previous), one.place.value, *numbers)


def tally_of(counts: Sequence[int]) -> Tally:
    """Return the outcomes of the columns executions, failures, acted, failed_actions."""
    executions, failures, acted, failed_actions = counts
    return Tally(Outcomes(executions, failures), Outcomes(acted, failed_actions))


def result_of(row: Row) -> RuleResult:
    """Return what a node said of a rule."""
    rule, program_id, state, reason, slot = row
    return RuleResult(rule, program_id, RuleState(state), reason, Slot(slot))


def history_of(head: Row | None, findings: list[Row]) -> History:
    """Return what is known of a node's audit chain."""
    found = tuple(
        Finding(Doubt(kind), since_us, last_us, text, _proof_of(json.loads(proof)))
        for kind, since_us, last_us, text, proof in findings
    )
    if head is None:
        return History(findings=found)
    epoch, seq, record_hash, boots, dials = head
    split = tuple(bytes(boots[at : at + BOOT_BYTES]) for at in range(0, len(boots), BOOT_BYTES))
    return History(Head(b"", epoch, seq, bytes(record_hash)), split, found, _dials_of(json.loads(dials)))


def dump_dials(dials: Sequence[Dial]) -> str:
    """Return links of a node as JSON text."""
    return dump([[one.boot.hex(), one.address, one.time_us] for one in dials])


def _dials_of(value: list[Any]) -> tuple[Dial, ...]:
    return tuple(Dial(bytes.fromhex(boot), address, time_us) for boot, address, time_us in value)


def dump_proof(proof: Proof) -> str:
    """Return what shows a contradiction as JSON text."""
    return dump([proof.epoch, proof.seq, proof.known.hex(), proof.told.hex(), dump_dials(proof.dials)])


def _proof_of(value: list[Any]) -> Proof:
    if not value:
        return NO_PROOF
    epoch, seq, known, told, dials = value
    return Proof(epoch, seq, bytes.fromhex(known), bytes.fromhex(told), _dials_of(json.loads(dials)))


def change_of(row: Row) -> Change:
    """Return one entry of the feed."""
    number, time_us, kind, subject, node, labels = row
    return Change(
        number, time_us, ChangeKind(kind), subject, node, tuple((key, one) for key, one in json.loads(labels))
    )


def log_entry_of(row: Row) -> Entry:
    """Return one entry of the log from the columns LOG. One from before there was a chain has no hash before it."""
    number, time_us, actor, action, subject, detail, prev = row
    return Entry(number, time_us, actor, action, subject, detail, bytes(prev or b""))
