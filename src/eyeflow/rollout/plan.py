"""A deployment as data: its states, what strategies decide, and how decisions change it. No clock, no disk, no network.

A strategy looks at a `Deployment` and the time and returns `Action`s; `decide` applies them. The loop around it
(`coordinator.fleet`) carries out what an action means for the outside, in the same transaction that stores the new
state, so a crash at any step leaves either all of a step or nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from eyeflow.base.record import dataclass

Scalar = bool | int | float | str
Params = tuple[tuple[str, Scalar], ...]

INSTALL_S = 60
"""A connected node must answer a manifest within this time."""
RETURN_S = 120
"""Nodes that changed must be back at their last known good within this time; an offline one returns when it is back."""
OFFLINE_S = 72 * 3600
"""How long a deployment waits for offline nodes, until told otherwise: as long as a node's buffer lasts."""
DEADLINE_S_MAX = 30 * 86_400
NODES_MAX = 1024
"""Nodes in one deployment."""


class DeploymentState(Enum):
    """Where a deployment stands. The last four are terminal."""

    PENDING = "pending"
    INSTALLING = "installing"
    ROLLING_BACK = "rollingBack"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


TERMINAL = frozenset(
    {
        DeploymentState.SUCCEEDED,
        DeploymentState.FAILED,
        DeploymentState.CANCELLED,
        DeploymentState.SUPERSEDED,
    }
)


class NodeState(Enum):
    """Where one node of a deployment stands."""

    WAITING = "waiting"
    SENT = "sent"
    INSTALLED = "installed"
    REFUSED = "refused"
    SILENT = "silent"
    RETURNING = "returning"
    RETURNED = "returned"


class Rollback(Enum):
    """What a failure means for the nodes that changed: `rollbackOnError` of the API."""

    ON_ERROR = "onError"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Target:
    """What a node shall run for the rule of a deployment."""

    program_id: str
    deployment_id: str
    params: Params = ()


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """One node of a deployment. `previous` is its last known good when the deployment started, None for no program.

    `manifest_version` is the node's manifest that holds what the deployment wants of it now; `sent_us` is when that
    went out on a live link, 0 while the node is offline.
    """

    node: str
    state: NodeState = NodeState.WAITING
    reason: str = ""
    previous: Target | None = None
    manifest_version: int = 0
    sent_us: int = 0
    touched_us: int = 0


@dataclass(frozen=True, slots=True)
class Deployment:
    """One attempt to move a rule to a program on a set of nodes. Times are microseconds since 1970 UTC.

    `deadline_us` ends the wait for offline nodes; `state_deadline_us` ends ROLLING_BACK. `outcome` is the terminal
    state that follows ROLLING_BACK.
    """

    id: str
    rule: str
    target: Target
    strategy: str
    rollback: Rollback
    created_us: int
    deadline_us: int
    nodes: tuple[NodeProgress, ...]
    created_by: str = ""
    state: DeploymentState = DeploymentState.PENDING
    reason: str = ""
    updated_us: int = 0
    state_deadline_us: int = 0
    outcome: DeploymentState = DeploymentState.FAILED

    def node(self, name: str) -> NodeProgress | None:
        """Return the progress of one node, None when it is not part of this deployment."""
        return next((progress for progress in self.nodes if progress.node == name), None)

    @property
    def over(self) -> bool:
        """Whether the deployment has ended."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class Want:
    """Make the node's wanted set hold `target` for the rule (None: nothing) and put its progress into `state`."""

    node: str
    target: Target | None
    state: NodeState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Put a node's progress into `state`, without changing what is wanted of it."""

    node: str
    state: NodeState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Enter:
    """Put the deployment into `state`. `outcome` is given with ROLLING_BACK."""

    state: DeploymentState
    reason: str = ""
    deadline_us: int = 0
    outcome: DeploymentState = DeploymentState.FAILED


@dataclass(frozen=True, slots=True)
class KnownGood:
    """The deployment passed on this node: its program is the node's last known good from now on."""

    node: str


Action = Want | Mark | Enter | KnownGood
Strategy = Callable[[Deployment, int], tuple[Action, ...]]
"""(deployment, now_us) -> what to do now; nothing when there is nothing to do until the next event or deadline."""


def decide(deployment: Deployment, action: Action, now_us: int) -> Deployment:
    """Return the deployment after `action`; what it wants of nodes and the last known good is the caller's to store."""
    if isinstance(action, Enter):
        return replace(
            deployment,
            state=action.state,
            reason=action.reason or deployment.reason,
            state_deadline_us=action.deadline_us,
            outcome=action.outcome,
            updated_us=now_us,
        )
    if isinstance(action, KnownGood):
        return deployment
    return with_node(deployment, action.node, now_us, state=action.state, reason=action.reason, sent_us=0)


def with_node(deployment: Deployment, name: str, now_us: int, **changes: object) -> Deployment:
    """Return the deployment with some fields of one node's progress changed."""
    nodes = tuple(
        replace(progress, **changes) if progress.node == name else progress  # type: ignore[arg-type]
        for progress in deployment.nodes
    )
    return replace(deployment, nodes=nodes, updated_us=now_us)


def sent(deployment: Deployment, node: str, now_us: int) -> Deployment:
    """The node's manifest went out on a live link."""
    progress = deployment.node(node)
    if progress is None or progress.state not in {NodeState.WAITING, NodeState.RETURNING}:
        return deployment
    state = NodeState.SENT if progress.state is NodeState.WAITING else progress.state
    return with_node(deployment, node, now_us, state=state, sent_us=now_us, touched_us=progress.touched_us or now_us)


def lost(deployment: Deployment, node: str, now_us: int) -> Deployment:
    """The node's link is gone: its answer is awaited again once it is back."""
    progress = deployment.node(node)
    if progress is None or not progress.sent_us:
        return deployment
    state = NodeState.WAITING if progress.state is NodeState.SENT else progress.state
    return with_node(deployment, node, now_us, state=state, sent_us=0)


def reported(deployment: Deployment, node: str, report: Report, now_us: int) -> Deployment:
    """The node applied a manifest: take over what it says of the deployment's rule."""
    progress = deployment.node(node)
    if progress is None or report.manifest_version < progress.manifest_version:
        return deployment
    if progress.state in {NodeState.WAITING, NodeState.SENT, NodeState.SILENT}:
        state = NodeState.REFUSED if report.refused else NodeState.INSTALLED
        return with_node(deployment, node, now_us, state=state, reason=report.refused)
    if progress.state is NodeState.RETURNING:
        reason = f"could not go back: {report.refused}" if report.refused else progress.reason
        return with_node(deployment, node, now_us, state=NodeState.RETURNED, reason=reason)
    return deployment


def disowned(deployment: Deployment, node: str, reason: str, now_us: int) -> Deployment:
    """What this node says cannot count, for `reason`: it is refused, also when it has reported already."""
    progress = deployment.node(node)
    counting = {NodeState.WAITING, NodeState.SENT, NodeState.SILENT, NodeState.INSTALLED}
    if progress is None or progress.state not in counting:
        return deployment
    return with_node(deployment, node, now_us, state=NodeState.REFUSED, reason=reason)


@dataclass(frozen=True, slots=True)
class Report:
    """What a node says of one rule after it applied manifest `manifest_version`; `refused` is the reason or empty."""

    manifest_version: int
    refused: str = ""


def cancel(deployment: Deployment, now_us: int) -> tuple[Action, ...]:
    """Return what ends a deployment early: every node goes back to its last known good."""
    if deployment.over:
        return ()
    return roll_back(deployment, now_us, "cancelled", DeploymentState.CANCELLED)


def supersede(deployment: Deployment, by: str) -> tuple[Action, ...]:
    """Return what ends a deployment because a newer one of the same rule takes over one of its nodes."""
    return () if deployment.over else (Enter(DeploymentState.SUPERSEDED, f"superseded by deployment {by}"),)


def roll_back(deployment: Deployment, now_us: int, reason: str, outcome: DeploymentState) -> tuple[Action, ...]:
    """Return what puts every node back to its last known good: also those that may have changed without telling yet."""
    wants = tuple(
        Want(progress.node, progress.previous, _after_return(progress), progress.reason)
        for progress in deployment.nodes
        if progress.state not in {NodeState.RETURNING, NodeState.RETURNED}
    )
    return (*wants, Enter(DeploymentState.ROLLING_BACK, reason, now_us + RETURN_S * 1_000_000, outcome))


def _after_return(progress: NodeProgress) -> NodeState:
    if progress.state is NodeState.REFUSED:
        return NodeState.REFUSED
    untouched = progress.state is NodeState.WAITING and not progress.touched_us
    return NodeState.RETURNED if untouched else NodeState.RETURNING


def finish_return(deployment: Deployment, now_us: int) -> tuple[Action, ...]:
    """Return the end of ROLLING_BACK once every node is back, or its deadline has passed."""
    away = [progress.node for progress in deployment.nodes if progress.state is NodeState.RETURNING]
    if away and now_us < deployment.state_deadline_us:
        return ()
    tail = f"; still to return when back: {', '.join(away)}" if away else ""
    return (Enter(deployment.outcome, deployment.reason + tail),)
