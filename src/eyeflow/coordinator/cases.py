"""Single executions that a deployment keeps for people: from what nodes tell to what the API shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.judging import evidence_now
from eyeflow.coordinator.store.cases import Case, CaseKind
from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading, Writing
from eyeflow.evidence.interval import exact_interval
from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.verdict import NAMED_MAX, Verdict
from eyeflow.protocol.executions import Difference, Differences, Failure, Failures, Trace
from eyeflow.rollout.deployment import Deployment, DeploymentState

WAITING_MAX = 10_000
"""Cases that wait for the next tick to be written; the oldest go."""


class Cases:
    """What nodes told since the last tick. What `takes` takes is not kept here."""

    def __init__(self, store: ClusterStore, takes: Callable[[Case], bool] = lambda case: False) -> None:
        self._store, self._takes = store, takes
        self._waiting: list[Case] = []

    def told(self, node: str, said: Differences | Failures) -> None:
        """A node told of executions."""
        new = [one for one in cases_of(node, said) if not self._takes(one)]
        self._waiting = [*self._waiting, *new][-WAITING_MAX:]

    async def write_down(self) -> None:
        """Make durable what nodes told since the last time. Raises StorageError: then it is tried again."""
        found, self._waiting = self._waiting, []
        if not found:
            return
        try:
            await self._store.write(lambda writing: writing.record_cases(_worth_keeping(writing, found)))
        except EyeflowError:
            self._waiting = [*found, *self._waiting][-WAITING_MAX:]
            raise


def _worth_keeping(reading: Reading, found: Sequence[Case]) -> list[Case]:
    """Return the cases without failures of programs that passed: those wait for an alarm (`Aftercare.takes`)."""
    deployments = {one: reading.deployment(one) for one in {case.deployment_id for case in found}}
    passed = {name for name, one in deployments.items() if one is not None and one.state is DeploymentState.SUCCEEDED}
    return [one for one in found if one.kind is not CaseKind.FAILED or one.deployment_id not in passed]


def cases_of(node: str, said: Differences | Failures) -> list[Case]:
    """Return what a node told as cases."""
    if isinstance(said, Failures):
        found: Iterable[tuple[Failure | Difference, CaseKind, dict[str, Any]]] = (
            (one, CaseKind.FAILED, _failure(node, said.epoch, one)) for one in said.failures
        )
    else:
        found = ((one, CaseKind.DIFFERING, _difference(node, said.epoch, one)) for one in said.differences)
    return [
        Case(one.deployment_id, kind, node, one.time_us, json.dumps(body, ensure_ascii=False))
        for one, kind, body in found
    ]


def _failure(node: str, epoch: int, one: Failure) -> dict[str, Any]:
    return {
        "node": node,
        "rule": one.rule,
        "slot": one.slot.value,
        "programId": one.program_id,
        "kind": one.kind.value,
        "timeUs": one.time_us,
        "event": one.event,
        "key": one.key,
        "what": one.what,
        "epoch": epoch,
        **trace_view(one.trace),
    }


def _difference(node: str, epoch: int, one: Difference) -> dict[str, Any]:
    return {
        "node": node,
        "rule": one.rule,
        "programId": one.program_id,
        "timeUs": one.time_us,
        "event": one.event,
        "key": one.key,
        "epoch": epoch,
        "active": trace_view(one.active),
        "candidate": trace_view(one.candidate),
    }


def trace_view(trace: Trace) -> dict[str, Any]:
    """Return a `Trace`."""
    return {"seq": trace.seq, "reads": list(trace.reads), "decided": list(trace.decided)}


def keep_verdict(writing: Writing, deployment: Deployment, verdict: Verdict, now_us: int) -> None:
    """Keep the verdict as of the look by which a deployment, or a step of it, passed or failed, or was promoted."""
    differing = evidence_now(writing, deployment, now_us).differing
    body = json.dumps(verdict_view(verdict, differing) | {"leftS": 0.0})
    writing.record_cases([Case(deployment.id, CaseKind.VERDICT, "", now_us, body)])


def verdict_view(verdict: Verdict, differing: int) -> dict[str, Any]:
    """Return a `Verdict`."""
    before, lack = verdict.before, verdict.lack
    return {
        "kind": verdict.kind.value,
        "reason": verdict.reason,
        "leftS": verdict.left_s,
        "executions": verdict.candidate.executions,
        "failures": verdict.candidate.failed,
        "executionsBefore": before.executions if before else 0,
        "failuresBefore": before.failed if before else 0,
        "interval": _interval(verdict.candidate),
        "intervalBefore": _interval(before),
        "counts": "actions" if verdict.of_actions else "executions",
        "missing": {"executions": lack.executions, "executionsBefore": lack.executions_before, "pending": lack.pending},
        "silent": list(lack.silent[:NAMED_MAX]),
        "e": verdict.e,
        "alarmE": verdict.alarm_e,
        "differing": differing,
    }


def _interval(outcomes: Outcomes | None) -> dict[str, float] | None:
    if outcomes is None or not outcomes.executions:
        return None
    found = exact_interval(outcomes)
    return {"lowPercent": found.low * 100, "highPercent": found.high * 100}


def kept_verdict(reading: Reading, deployment_id: str) -> dict[str, Any] | None:
    """Return the verdict that decided last, None when none did."""
    found = _bodies(reading, deployment_id, CaseKind.VERDICT)
    return found[0] if found else None


def failures(reading: Reading, deployment_id: str) -> list[dict[str, Any]]:
    """Return the newest failed executions of a deployment as `FailedExecution`, newest first."""
    return _bodies(reading, deployment_id, CaseKind.FAILED)


def differences(reading: Reading, deployment_id: str) -> list[dict[str, Any]]:
    """Return the newest events on which a candidate decided otherwise as `Difference`, newest first."""
    return _bodies(reading, deployment_id, CaseKind.DIFFERING)


def _bodies(reading: Reading, deployment_id: str, kind: CaseKind) -> list[dict[str, Any]]:
    return [json.loads(case.body) for case in reading.cases(deployment_id, kind)]
