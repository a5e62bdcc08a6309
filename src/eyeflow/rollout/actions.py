"""What strategies see and decide. A strategy is a pure function (situation, now) -> actions.

It never sees all nodes: it sees how many stand in each state, the few that matter now, and the verdict on what was
observed. So what follows from one report costs the same among 10 nodes and among 1,000. `coordinator.deployments`
carries the actions out, in the transaction that stores the new state: a crash leaves all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from eyeflow.base.record import dataclass
from eyeflow.evidence.verdict import Verdict
from eyeflow.rollout.deployment import (
    TERMINAL,
    Deployment,
    DeploymentState,
    NodeProgress,
    NodeState,
    Pause,
    Place,
    Trial,
)

NAMED_MAX = 10
"""Nodes of one state that a reason names; how many more there are is said as a number."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a strategy sees: `counts` of nodes by state, the nodes whose answer is `overdue`, and some by name.

    `named` holds up to NAMED_MAX nodes of each state, ascending: what people are told of, never what is decided on.
    `verdict` is that on what was observed up to now, None while nothing is.
    """

    deployment: Deployment
    counts: Mapping[NodeState, int]
    overdue: tuple[str, ...]
    named: Mapping[NodeState, tuple[NodeProgress, ...]]
    verdict: Verdict | None = None

    @property
    def total(self) -> int:
        """How many nodes the deployment has."""
        return sum(self.counts.values())

    def count(self, *states: NodeState) -> int:
        """Return how many nodes stand in one of these states."""
        return sum(self.counts.get(state, 0) for state in states)

    def names(self, *states: NodeState, reasons: bool = False) -> str:
        """Return the nodes in these states for people: the first by name, the others as a number.

        With `reasons`: the reason of the first node, and who has the same one. The others tell theirs themselves.
        """
        found = [one for state in states for one in self.named.get(state, ())][:NAMED_MAX]
        more = self.count(*states) - len(found)
        if not reasons or not found:
            return _listed([one.node for one in found], more)
        same = [one.node for one in found if one.reason == found[0].reason]
        others = [one.node for one in found if one.node not in same]
        told = f"{_listed(same, 0)}: {found[0].reason}"
        return f"{told}; also {_listed(others, more)}" if others or more else told


def _listed(names: list[str], more: int) -> str:
    return ", ".join([*names, f"{'and ' * bool(names)}{more} more"] if more > 0 else names)


@dataclass(frozen=True, slots=True)
class Nodes:
    """These nodes of a deployment."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InStates:
    """The nodes of a deployment that stand in one of these states: all, or the first `limit` by name."""

    states: frozenset[NodeState]
    limit: int | None = None


Which = Nodes | InStates


@dataclass(frozen=True, slots=True)
class Begin:
    """Make the wanted set of these nodes hold the deployment's programs in `place`.

    It is their turn in step `phase`. As candidates, they act for `share` of the keys. `trial` None: they pass by being
    installed.
    """

    which: Which
    place: Place
    share: int = 0
    trial: Trial | None = None
    phase: int = 0


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
    """The deployment passed on these nodes: its programs are their last known good from now on."""

    which: Which


@dataclass(frozen=True, slots=True)
class Enter:
    """Put the deployment into `state`, and into `phase` if given. `outcome` is given with ROLLING_BACK."""

    state: DeploymentState
    reason: str = ""
    deadline_us: int = 0
    outcome: DeploymentState = DeploymentState.FAILED
    phase: int | None = None


@dataclass(frozen=True, slots=True)
class Waive:
    """Let the present phase pass, whatever its verdict will be short of a failure."""


@dataclass(frozen=True, slots=True)
class SetPauses:
    """Make these the reasons why the deployment does not go on."""

    pauses: tuple[Pause, ...]


NodeAction = Begin | GoBack | Mark | KnownGood
Action = NodeAction | Enter | SetPauses | Waive
Strategy = Callable[[Situation, int], tuple[Action, ...]]
"""(situation, now_us) -> what to do now; nothing when there is nothing to do until the next event or deadline."""


def entered(deployment: Deployment, action: Enter, now_us: int) -> Deployment:
    """Return the deployment in its new state."""
    return replace(
        deployment,
        state=action.state,
        reason=action.reason or deployment.reason,
        state_deadline_us=action.deadline_us,
        outcome=action.outcome,
        phase=deployment.phase if action.phase is None else action.phase,
        phase_since_us=now_us,
        paused=() if action.state in TERMINAL | {DeploymentState.ROLLING_BACK} else deployment.paused,
        judged_us=0,
        updated_us=now_us,
    )


def paused(deployment: Deployment, action: SetPauses, now_us: int) -> Deployment:
    """Return the deployment with these pauses."""
    return replace(deployment, paused=action.pauses, updated_us=now_us)


def waived(deployment: Deployment, now_us: int) -> Deployment:
    """Return the deployment with the verdict on its present phase waived."""
    return replace(deployment, waived=deployment.phase, updated_us=now_us)


def moved(deployment: Deployment, step_us: int) -> Deployment:
    """The clock was set by `step_us`: return the deployment with its times as far away as before."""

    def move(time_us: int) -> int:
        return time_us and time_us + step_us

    return replace(
        deployment,
        deadline_us=move(deployment.deadline_us),
        state_deadline_us=move(deployment.state_deadline_us),
        phase_since_us=move(deployment.phase_since_us),
        judged_us=move(deployment.judged_us),
    )
