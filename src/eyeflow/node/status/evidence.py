"""What a node tells its coordinator of its programs: the counts that they are judged by, and how they stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eyeflow.node.engine.run_evidence import counts_of
from eyeflow.node.engine.running import RunningRule
from eyeflow.node.store.types import EvidenceRow, RejectedRow, Standing
from eyeflow.protocol.messages import Difference, Evidence, EvidenceStanding
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import REASON_CHARS_MAX, cut

_STANDINGS = {Standing.ON_TRIAL: EvidenceStanding.TRIAL, Standing.PASSED: EvidenceStanding.PASSED}


def evidence_told(running: Iterable[RunningRule], taken_back: Iterable[RejectedRow]) -> tuple[Evidence, ...]:
    """Return what the coordinator is told: of each program that runs, and of those that this node took back."""
    told = [_message(one.evidence.row(one.row), _STANDINGS[one.row.standing]) for one in running]
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
            one.active.seq,
            one.candidate.seq,
            one.active.actions,
            one.candidate.actions,
        )
        for rule in running
        if rule.shadow is not None and rule.key.slot is Slot.CANDIDATE
        for one in rule.shadow.newest
    ]
    return tuple(sorted(found, key=lambda one: one.candidate_seq))


def _message(row: EvidenceRow, standing: EvidenceStanding, reason: str = "") -> Evidence:
    who = (row.key.rule, row.key.slot, row.program_id.hex(), row.deployment)
    counts: Any = counts_of(row)
    return Evidence(*who, **counts, standing=standing, reason=cut(reason, REASON_CHARS_MAX))
