"""What a node tells its coordinator of its programs: the counts that they are judged by, and how they stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from eyeflow.audit.traces import bounded, event_text, trace_of
from eyeflow.node.engine.run_evidence import FailureNote, counts_of, notes_of
from eyeflow.node.engine.running import RunningRule
from eyeflow.node.store.types import EvidenceRow, RejectedRow, SlotRow, Standing
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.executions import Difference, Explained, Failure, Trace
from eyeflow.protocol.executions import explained as with_event
from eyeflow.protocol.messages import Evidence, EvidenceStanding
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import REASON_CHARS_MAX, cut
from eyeflow.svm.program import Program

_STANDINGS = {Standing.ON_TRIAL: EvidenceStanding.TRIAL, Standing.PASSED: EvidenceStanding.PASSED}


def evidence_told(running: Iterable[RunningRule], taken_back: Iterable[RejectedRow]) -> tuple[Evidence, ...]:
    """Return what the coordinator is told: of each program that runs, and of those that this node took back."""
    told = [
        _message(one.evidence.row(one.row), _STANDINGS[one.row.standing], pending=one.evidence.pending)
        for one in running
    ]
    told += [
        _message(failed.evidence, EvidenceStanding.ROLLED_BACK, failed.reason)
        for failed in taken_back
        if failed.evidence is not None
    ]
    return tuple(sorted(told, key=lambda one: (one.rule, one.slot.value, one.began_us)))


def differences_told(running: Iterable[RunningRule]) -> tuple[Difference, ...]:
    """Return the newest events on which candidates that only watch decided otherwise, by audit record."""
    found = [
        Difference(
            rule.name,
            rule.loaded.program_id.hex(),
            rule.row.deployment,
            one.time_us,
            bounded(one.active.seq, (), one.active.actions),
            bounded(one.candidate.seq, (), one.candidate.actions),
        )
        for rule in running
        if rule.shadow is not None and rule.key.slot is Slot.CANDIDATE
        for one in rule.shadow.newest
    ]
    return tuple(sorted(found, key=lambda one: one.candidate.seq))


def failures_told(running: Iterable[RunningRule], failed: Iterable[RejectedRow]) -> tuple[Failure, ...]:
    """Return the newest failures of the programs that run, also once they passed, and of those that failed, by time."""
    found = [_failure(rule.row, note) for rule in running if rule.row.deployment for note in rule.evidence.failed]
    found += [_failure(one.row, note) for one in failed if one.evidence is not None for note in notes_of(one.evidence)]
    return tuple(sorted(found, key=lambda one: (one.time_us, one.rule, one.trace.seq)))


def _failure(row: SlotRow, note: FailureNote) -> Failure:
    who = (row.key.rule, row.key.slot, row.program_id.hex(), row.deployment)
    return Failure(*who, note.kind, note.time_us, note.what, Trace(note.seq), note.event, note.key)


Executions = Mapping[int, tuple[ExecutionBody, Program]]
"""Execution records by their number, each with its program."""


def records_of(one: Difference | Failure) -> tuple[int, ...]:
    """Return the numbers of the audit records that tell more of it."""
    seqs = (one.trace.seq,) if isinstance(one, Failure) else (one.active.seq, one.candidate.seq)
    return tuple(seq for seq in seqs if seq)


def explained(one: Explained, executions: Executions) -> Explained:
    """Return it with its event and its traces, as far as their records and programs are still here."""
    for side in ("trace",) if isinstance(one, Failure) else ("active", "candidate"):
        seq = getattr(one, side).seq
        if (found := executions.get(seq)) is not None:
            one = with_event(one, event_text(*found), found[0].key, **{side: trace_of(seq, *found)})
    return one


def _message(row: EvidenceRow, standing: EvidenceStanding, reason: str = "", pending: int = 0) -> Evidence:
    who = (row.key.rule, row.key.slot, row.program_id.hex(), row.deployment)
    counts: Any = counts_of(row)
    told = cut(reason, REASON_CHARS_MAX)
    return Evidence(*who, **counts, pending=pending, standing=standing, reason=told)
