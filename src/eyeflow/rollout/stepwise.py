"""What all strategies share: change some nodes, watch them, go on after a pass, and take everything back after a fail.

A strategy says which steps it has. This module says when the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable

from eyeflow.base.record import dataclass
from eyeflow.evidence.verdict import Kind
from eyeflow.rollout.actions import (
    Action,
    Begin,
    Enter,
    GoBack,
    InStates,
    KnownGood,
    Mark,
    Nodes,
    SetPauses,
    Situation,
)
from eyeflow.rollout.deployment import (
    INSTALL_S,
    NOT_BACK,
    NOT_BEGUN,
    RETURN_S,
    Deployment,
    DeploymentState,
    NodeState,
    Pause,
    Place,
    Rollback,
    Trial,
)

FAILED = (NodeState.REFUSED, NodeState.SILENT)
OPEN = (NodeState.WAITING, NodeState.SENT)
USER, APPROVAL, EVIDENCE = "user", "approval", "evidence"
"""Codes of pauses: somebody asked for it, somebody must agree first, or there is too little evidence for a verdict."""


@dataclass(frozen=True, slots=True)
class Step:
    """Bring the programs to `place` on the nodes of `states`, `limit` of them at most, then watch for `observe_s`.

    `awaits_all`: nodes without a link are waited for. Otherwise the step goes on once one node has done it.
    """

    place: Place
    states: frozenset[NodeState]
    observe_s: int
    limit: int | None = None
    share: int = 0
    awaits_all: bool = True


Plan = Callable[[Deployment, int, Situation], Step | None]
"""(deployment, phase, situation) -> the step of that phase, None behind the last one."""


def decide(plan: Plan, situation: Situation, now_us: int) -> tuple[Action, ...]:
    """Return what to do now. A failure comes first, whatever else holds the deployment up."""
    deployment = situation.deployment
    if deployment.over:
        return ()
    if deployment.state is DeploymentState.ROLLING_BACK:
        return _finish_return(situation, now_us)
    # Before the failures: a node that does not answer counts as failed, and the next decision sees it.
    if situation.overdue:
        return (Mark(Nodes(situation.overdue), NodeState.SILENT, f"no answer within {INSTALL_S} s"),)
    if why := _failure(situation, now_us):
        return fail(deployment, now_us, why)
    if deployment.state is DeploymentState.PENDING:
        return _next(plan, situation, 0)
    step = plan(deployment, deployment.phase, situation)
    assert step is not None, "a phase that began has a step"
    if deployment.state is DeploymentState.INSTALLING:
        return _installed(step, situation)
    return _observed(plan, step, situation, now_us)


def _failure(situation: Situation, now_us: int) -> str:
    deployment = situation.deployment
    has_begun = deployment.state is not DeploymentState.PENDING or not situation.count(*NOT_BEGUN)
    is_over = has_begun and not situation.count(*OPEN)
    if situation.count(*FAILED) and (deployment.rollback is Rollback.ON_ERROR or is_over):
        return situation.names(*FAILED, reasons=True)
    if situation.verdict is not None and situation.verdict.kind is Kind.FAIL:
        return situation.verdict.reason
    if now_us >= deployment.deadline_us:
        return _late(situation)
    return ""


def _late(situation: Situation) -> str:
    deployment = situation.deployment
    if missing := situation.names(*OPEN, NodeState.AWAY):
        return f"the deadline passed before these nodes came back: {missing}"
    pauses = "; ".join(one.text for one in deployment.paused)
    return f"the deadline passed while it was {deployment.state.value}" + (f" and paused: {pauses}" if pauses else "")


def _installed(step: Step, situation: Situation) -> tuple[Action, ...]:
    awaited = OPEN if step.awaits_all else (NodeState.SENT,)
    if situation.count(*awaited) or not situation.count(NodeState.STAGED, NodeState.INSTALLED):
        return ()
    return (Enter(DeploymentState.OBSERVING),)


def _observed(plan: Plan, step: Step, situation: Situation, now_us: int) -> tuple[Action, ...]:
    deployment, verdict = situation.deployment, situation.verdict
    is_waived = deployment.waived == deployment.phase
    if now_us < deployment.phase_since_us + step.observe_s * 1_000_000 and not is_waived:
        return ()
    is_passed = not step.observe_s or is_waived or (verdict is not None and verdict.kind is Kind.PASS)
    if is_passed:
        return _next(plan, situation, deployment.phase + 1)
    if verdict is None or any(one.code == EVIDENCE and one.text == verdict.reason for one in deployment.paused):
        return ()
    return (SetPauses((*_others(deployment), Pause(EVIDENCE, verdict.reason, now_us))),)


def _others(deployment: Deployment) -> tuple[Pause, ...]:
    return tuple(one for one in deployment.paused if one.code != EVIDENCE)


def _next(plan: Plan, situation: Situation, phase: int) -> tuple[Action, ...]:
    """A pause for want of evidence ends with the pass; what somebody else asked for does not."""
    deployment = situation.deployment
    if _others(deployment):
        return ()
    step = plan(deployment, phase, situation)
    clear: tuple[Action, ...] = (SetPauses(()),) if deployment.paused else ()
    if step is None:
        return (*clear, *succeed())
    if not situation.count(*step.states):
        return ()  # all nodes whose turn it is are away
    options = deployment.options
    rollback = deployment.rollback is Rollback.ON_ERROR
    judged = (options.samples_min, options.failures_max, options.starts_max, rollback, situation.total)
    trial = Trial(step.observe_s, *judged)
    which = InStates(step.states, step.limit)
    begin = Begin(which, step.place, step.share, trial if step.observe_s else None, phase)
    return (*clear, begin, Enter(DeploymentState.INSTALLING, phase=phase))


def succeed() -> tuple[Action, ...]:
    """Return the end of a deployment that passed."""
    return (KnownGood(InStates(frozenset({NodeState.INSTALLED}))), Enter(DeploymentState.SUCCEEDED))


def fail(deployment: Deployment, now_us: int, reason: str) -> tuple[Action, ...]:
    """Return the end of a deployment that failed."""
    if deployment.rollback is Rollback.ON_ERROR:
        return roll_back(now_us, reason, DeploymentState.FAILED)
    return (Enter(DeploymentState.FAILED, reason),)


def roll_back(now_us: int, reason: str, outcome: DeploymentState) -> tuple[Action, ...]:
    """Return what puts every node back to its last known good: also those that may have changed without telling yet."""
    until_us = now_us + RETURN_S * 1_000_000
    return (GoBack(InStates(NOT_BACK)), Enter(DeploymentState.ROLLING_BACK, reason, until_us, outcome))


def _finish_return(situation: Situation, now_us: int) -> tuple[Action, ...]:
    """Return the end of ROLLING_BACK once every node is back, or its deadline has passed."""
    deployment = situation.deployment
    away = situation.count(NodeState.RETURNING)
    if away and now_us < deployment.state_deadline_us:
        return ()
    tail = f"; still to return when back: {situation.names(NodeState.RETURNING)}" if away else ""
    return (Enter(deployment.outcome, deployment.reason + tail),)
