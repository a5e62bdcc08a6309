"""The strategy `immediate`: all nodes at once; each verifies, swaps between two events, reports. A pure function."""

from __future__ import annotations

from eyeflow.rollout.plan import (
    INSTALL_S,
    Action,
    Deployment,
    DeploymentState,
    Enter,
    KnownGood,
    Mark,
    NodeProgress,
    NodeState,
    Rollback,
    Want,
    finish_return,
    roll_back,
)


def immediate(deployment: Deployment, now_us: int) -> tuple[Action, ...]:
    """Return what to do now. A refusal fails the deployment; an offline node is waited for until the deadline."""
    if deployment.state is DeploymentState.PENDING:
        return _begin(deployment)
    if deployment.state is DeploymentState.INSTALLING:
        return _install(deployment, now_us)
    if deployment.state is DeploymentState.ROLLING_BACK:
        return finish_return(deployment, now_us)
    return ()


def _begin(deployment: Deployment) -> tuple[Action, ...]:
    wants = tuple(Want(progress.node, deployment.target, NodeState.WAITING) for progress in deployment.nodes)
    return (*wants, Enter(DeploymentState.INSTALLING))


def _install(deployment: Deployment, now_us: int) -> tuple[Action, ...]:
    silent = [progress for progress in deployment.nodes if _is_silent(progress, now_us)]
    if silent:
        return tuple(Mark(one.node, NodeState.SILENT, f"no answer within {INSTALL_S} s") for one in silent)
    refused = [one for one in deployment.nodes if one.state in {NodeState.REFUSED, NodeState.SILENT}]
    open_ = [one for one in deployment.nodes if one.state in {NodeState.WAITING, NodeState.SENT}]
    if refused and (deployment.rollback is Rollback.ON_ERROR or not open_):
        return _fail(deployment, now_us, _refusals(refused))
    if open_ and now_us >= deployment.deadline_us:
        names = ", ".join(progress.node for progress in open_)
        return _fail(deployment, now_us, f"the deadline passed before these nodes came back: {names}")
    return () if open_ else _succeed(deployment)


def _is_silent(progress: NodeProgress, now_us: int) -> bool:
    return progress.state is NodeState.SENT and now_us >= progress.sent_us + INSTALL_S * 1_000_000


def _refusals(refused: list[NodeProgress]) -> str:
    return "; ".join(f"{progress.node}: {progress.reason}" for progress in refused)


def _fail(deployment: Deployment, now_us: int, reason: str) -> tuple[Action, ...]:
    if deployment.rollback is Rollback.ON_ERROR:
        return roll_back(deployment, now_us, reason, DeploymentState.FAILED)
    return (Enter(DeploymentState.FAILED, reason),)


def _succeed(deployment: Deployment) -> tuple[Action, ...]:
    good = tuple(KnownGood(progress.node) for progress in deployment.nodes)
    return (*good, Enter(DeploymentState.SUCCEEDED))
