"""The strategy `immediate`: all nodes at once; each verifies, swaps between two events, reports. A pure function."""

from __future__ import annotations

from eyeflow.rollout.plan import (
    INSTALL_S,
    Action,
    Begin,
    DeploymentState,
    Enter,
    InStates,
    KnownGood,
    Mark,
    Nodes,
    NodeState,
    Rollback,
    Situation,
    finish_return,
    roll_back,
)

FAILED = (NodeState.REFUSED, NodeState.SILENT)
OPEN = (NodeState.WAITING, NodeState.SENT)


def immediate(situation: Situation, now_us: int) -> tuple[Action, ...]:
    """Return what to do now. A refusal fails the deployment; an offline node is waited for until the deadline."""
    state = situation.deployment.state
    if state is DeploymentState.PENDING:
        return _begin(situation, now_us)
    if state is DeploymentState.INSTALLING:
        return _install(situation, now_us)
    if state is DeploymentState.ROLLING_BACK:
        return finish_return(situation, now_us)
    return ()


def _begin(situation: Situation, now_us: int) -> tuple[Action, ...]:
    """A node may be refused before the start: its history is in doubt. Then no other node need change."""
    if situation.count(*FAILED) and situation.deployment.rollback is Rollback.ON_ERROR:
        return _fail(situation, now_us, situation.names(*FAILED, reasons=True))
    return (Begin(InStates(frozenset({NodeState.WAITING}))), Enter(DeploymentState.INSTALLING))


def _install(situation: Situation, now_us: int) -> tuple[Action, ...]:
    # First: a node that does not answer counts as failed, and the next decision sees it.
    if situation.overdue:
        return (Mark(Nodes(situation.overdue), NodeState.SILENT, f"no answer within {INSTALL_S} s"),)
    failed, open_ = situation.count(*FAILED), situation.count(*OPEN)
    deployment = situation.deployment
    if failed and (deployment.rollback is Rollback.ON_ERROR or not open_):
        return _fail(situation, now_us, situation.names(*FAILED, reasons=True))
    if open_ and now_us >= deployment.deadline_us:
        names = situation.names(*OPEN)
        return _fail(situation, now_us, f"the deadline passed before these nodes came back: {names}")
    return () if open_ else _succeed()


def _fail(situation: Situation, now_us: int, reason: str) -> tuple[Action, ...]:
    if situation.deployment.rollback is Rollback.ON_ERROR:
        return roll_back(now_us, reason, DeploymentState.FAILED)
    return (Enter(DeploymentState.FAILED, reason),)


def _succeed() -> tuple[Action, ...]:
    return (KnownGood(InStates(frozenset({NodeState.INSTALLED}))), Enter(DeploymentState.SUCCEEDED))
