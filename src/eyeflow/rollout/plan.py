"""A deployment as data: its states, what strategies decide, and how decisions change it. No clock, no disk, no network.

A strategy looks at a `Situation` and the time and returns `Action`s. It never sees all nodes: it sees how many stand in
each state, and the few that matter now. So what follows from one report costs the same among 10 nodes and among 1,000.
`coordinator.deployments` carries the actions out, in the transaction that stores the new state: a crash at any step
leaves either all of it or nothing. `ordered`, `sent`, `lost`, `reported` and `disowned` change one node each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
NAMED_MAX = 10
"""Nodes of one state that a reason names; how many more there are is said as a number."""


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


BACK = frozenset({NodeState.RETURNING, NodeState.RETURNED})
NOT_BACK = frozenset(NodeState) - BACK


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

    `manifest_version` is the node's manifest that holds what the deployment wants of it now, 0 while it wants nothing.
    `due_us` is when the answer to it is due, 0 while the node is offline. `touched_us` is when something other than
    `previous` first went out to the node, by this deployment or by one that it superseded; 0 for never.
    `revision` is that of the stored row.
    """

    node: str
    state: NodeState = NodeState.WAITING
    reason: str = ""
    previous: Target | None = None
    manifest_version: int = 0
    due_us: int = 0
    touched_us: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Deployment:
    """One attempt to move a rule to a program on a set of nodes. Times are microseconds since 1970 UTC.

    `deadline_us` ends the wait for offline nodes; `state_deadline_us` ends ROLLING_BACK. `outcome` is the terminal
    state that follows ROLLING_BACK. `revision` is that of the stored row.
    """

    id: str
    rule: str
    target: Target
    strategy: str
    rollback: Rollback
    created_us: int
    deadline_us: int
    created_by: str = ""
    state: DeploymentState = DeploymentState.PENDING
    reason: str = ""
    updated_us: int = 0
    state_deadline_us: int = 0
    outcome: DeploymentState = DeploymentState.FAILED
    revision: int = 0

    @property
    def over(self) -> bool:
        """Whether the deployment has ended."""
        return self.state in TERMINAL

    @property
    def due_us(self) -> int:
        """When a deadline of the deployment itself passes; those of its nodes are `NodeProgress.due_us`."""
        return self.state_deadline_us or self.deadline_us


@dataclass(frozen=True, slots=True)
class Situation:
    """What a strategy sees: `counts` of nodes by state, the nodes whose answer is `overdue`, and some by name.

    `named` holds up to NAMED_MAX nodes of each state, ascending: what people are told of, never what is decided on.
    """

    deployment: Deployment
    counts: Mapping[NodeState, int]
    overdue: tuple[str, ...]
    named: Mapping[NodeState, tuple[NodeProgress, ...]]

    def count(self, *states: NodeState) -> int:
        """Return how many nodes stand in one of these states."""
        return sum(self.counts.get(state, 0) for state in states)

    def names(self, *states: NodeState, reasons: bool = False) -> str:
        """Return the nodes in these states for people: the first by name, the others as a number."""
        found = [one for state in states for one in self.named.get(state, ())][:NAMED_MAX]
        more = self.count(*states) - len(found)
        texts = [f"{one.node}: {one.reason}" if reasons else one.node for one in found]
        return ("; " if reasons else ", ").join([*texts, f"and {more} more"] if more > 0 else texts)


@dataclass(frozen=True, slots=True)
class Nodes:
    """These nodes of a deployment."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InStates:
    """All nodes of a deployment that stand in one of these states."""

    states: frozenset[NodeState]


Which = Nodes | InStates


@dataclass(frozen=True, slots=True)
class Begin:
    """Make the wanted set of these nodes hold the deployment's program."""

    which: Which


@dataclass(frozen=True, slots=True)
class GoBack:
    """Make the wanted set of these nodes hold their last known good again."""

    which: Which


@dataclass(frozen=True, slots=True)
class Mark:
    """Put nodes into `state`, without changing what is wanted of them."""

    which: Which
    state: NodeState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KnownGood:
    """The deployment passed on these nodes: its program is their last known good from now on."""

    which: Which


@dataclass(frozen=True, slots=True)
class Enter:
    """Put the deployment into `state`. `outcome` is given with ROLLING_BACK."""

    state: DeploymentState
    reason: str = ""
    deadline_us: int = 0
    outcome: DeploymentState = DeploymentState.FAILED


NodeAction = Begin | GoBack | Mark | KnownGood
Action = NodeAction | Enter
Strategy = Callable[[Situation, int], tuple[Action, ...]]
"""(situation, now_us) -> what to do now; nothing when there is nothing to do until the next event or deadline."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """What a `NodeAction` makes of one node: its progress, and whether the node's wanted set changes."""

    progress: NodeProgress
    wants: bool = False


def ordered(action: NodeAction, progress: NodeProgress) -> Ordered:
    """Return what `action` makes of one node; wanted sets and the last known good are the caller's to store."""
    if isinstance(action, Begin):
        return Ordered(replace(progress, state=NodeState.WAITING, reason="", due_us=0), wants=True)
    if isinstance(action, GoBack):
        return _going_back(progress)
    if isinstance(action, Mark):
        return Ordered(replace(progress, state=action.state, reason=action.reason, due_us=0))
    return Ordered(progress)


def _going_back(progress: NodeProgress) -> Ordered:
    """A node that may have changed without telling goes back, too: SENT, or touched before its link broke.

    The wanted set changes in any case: it may hold what a superseded deployment wanted, which never passed.
    """
    if progress.state in BACK:
        return Ordered(progress)
    untouched = progress.state is NodeState.WAITING and not progress.touched_us
    state = NodeState.RETURNED if untouched else NodeState.RETURNING
    if progress.state is NodeState.REFUSED:
        state = NodeState.REFUSED
    return Ordered(replace(progress, state=state, due_us=0), wants=True)


def entered(deployment: Deployment, action: Enter, now_us: int) -> Deployment:
    """Return the deployment in its new state."""
    return replace(
        deployment,
        state=action.state,
        reason=action.reason or deployment.reason,
        state_deadline_us=action.deadline_us,
        outcome=action.outcome,
        updated_us=now_us,
    )


def moved(deployment: Deployment, step_us: int) -> Deployment:
    """The clock was set by `step_us`: return the deployment with its deadlines as far away as before."""
    state_deadline_us = deployment.state_deadline_us and deployment.state_deadline_us + step_us
    return replace(deployment, deadline_us=deployment.deadline_us + step_us, state_deadline_us=state_deadline_us)


def sent(progress: NodeProgress, now_us: int) -> NodeProgress:
    """The node's manifest goes out on a live link: from now on its answer is due."""
    if progress.state is not NodeState.WAITING:
        return progress
    due_us, touched_us = now_us + INSTALL_S * 1_000_000, progress.touched_us or now_us
    return replace(progress, state=NodeState.SENT, due_us=due_us, touched_us=touched_us)


def lost(progress: NodeProgress) -> NodeProgress:
    """The node's link is gone: its answer is awaited again once it is back."""
    if progress.state is not NodeState.SENT:
        return progress
    return replace(progress, state=NodeState.WAITING, due_us=0)


@dataclass(frozen=True, slots=True)
class Report:
    """What a node says of one rule after it applied manifest `manifest_version`; `refused` is the reason or empty."""

    manifest_version: int
    refused: str = ""


def reported(progress: NodeProgress, report: Report) -> NodeProgress:
    """The node applied a manifest: take over what it says of the deployment's rule."""
    # It answers an older wanted set, which may not name this program: the answer is still to come.
    if report.manifest_version < progress.manifest_version:
        return progress
    if progress.state in {NodeState.WAITING, NodeState.SENT, NodeState.SILENT}:
        state = NodeState.REFUSED if report.refused else NodeState.INSTALLED
        return replace(progress, state=state, reason=report.refused, due_us=0)
    if progress.state is NodeState.RETURNING:
        reason = f"could not go back: {report.refused}" if report.refused else progress.reason
        return replace(progress, state=NodeState.RETURNED, reason=reason)
    return progress


def disowned(progress: NodeProgress, reason: str) -> NodeProgress:
    """What this node says cannot count, for `reason`: it is refused, also when it has reported already."""
    counting = {NodeState.WAITING, NodeState.SENT, NodeState.SILENT, NodeState.INSTALLED}
    if progress.state not in counting:
        return progress
    return replace(progress, state=NodeState.REFUSED, reason=reason, due_us=0)


def cancel(deployment: Deployment, now_us: int) -> tuple[Action, ...]:
    """Return what ends a deployment early: every node goes back to its last known good."""
    if deployment.over:
        return ()
    return roll_back(now_us, "cancelled", DeploymentState.CANCELLED)


def supersede(deployment: Deployment, by: str) -> tuple[Action, ...]:
    """Return what ends a deployment because a newer one of the same rule takes over one of its nodes."""
    return () if deployment.over else (Enter(DeploymentState.SUPERSEDED, f"superseded by deployment {by}"),)


def roll_back(now_us: int, reason: str, outcome: DeploymentState) -> tuple[Action, ...]:
    """Return what puts every node back to its last known good: also those that may have changed without telling yet."""
    until_us = now_us + RETURN_S * 1_000_000
    return (GoBack(InStates(NOT_BACK)), Enter(DeploymentState.ROLLING_BACK, reason, until_us, outcome))


def finish_return(situation: Situation, now_us: int) -> tuple[Action, ...]:
    """Return the end of ROLLING_BACK once every node is back, or its deadline has passed."""
    deployment = situation.deployment
    away = situation.count(NodeState.RETURNING)
    if away and now_us < deployment.state_deadline_us:
        return ()
    tail = f"; still to return when back: {situation.names(NodeState.RETURNING)}" if away else ""
    return (Enter(deployment.outcome, deployment.reason + tail),)
