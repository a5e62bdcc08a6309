"""How a deployment goes when all goes well: its strategy is asked, with nodes that do at once what they shall."""

from __future__ import annotations

from dataclasses import replace

from eyeflow.base.record import dataclass
from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.verdict import Kind, Verdict
from eyeflow.rollout import actions, strategies
from eyeflow.rollout.actions import Begin, Enter, GoBack, InStates, Situation
from eyeflow.rollout.deployment import Deployment, DeploymentState, NodeState, Place

_PASSED = Verdict(Kind.PASS, "", 0.0, Outcomes(), None, 1.0, 1.0)
_ROUNDS_MAX = 10_000
"""More decisions than the longest deployment needs: a node at a time, of the most that there may be."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many steps change nodes, and how long it is watched in all: it cannot end before."""

    steps: int
    least_s: int


def forecast(deployment: Deployment, nodes: int) -> Forecast:
    """Return how a deployment to so many nodes goes, which all have a link and pass."""
    now_us, steps, counts = deployment.created_us, 0, {NodeState.HELD: nodes}
    deployment = replace(deployment, paused=())
    for _ in range(_ROUNDS_MAX):
        if deployment.over:
            break
        watches = deployment.state is DeploymentState.OBSERVING
        situation = Situation(deployment, counts, (), {}, _PASSED if watches else None)
        decided = strategies.STRATEGIES[deployment.strategy](situation, now_us)
        if not decided and now_us > deployment.phase_since_us:
            break  # time has passed, and it still waits: for people
        if not decided:
            now_us = deployment.phase_since_us + deployment.options.observe_s * 1_000_000
        for action in decided:
            if isinstance(action, Begin | GoBack):
                steps += isinstance(action, Begin)
                counts = _moved(counts, action)
            elif isinstance(action, Enter):
                deployment = actions.entered(deployment, action, now_us)
    return Forecast(steps, (now_us - deployment.created_us) // 1_000_000)


def _moved(counts: dict[NodeState, int], action: Begin | GoBack) -> dict[NodeState, int]:
    """Return the counts once the nodes of an action have done it."""
    assert isinstance(action.which, InStates), "a strategy that does not know its nodes names none"
    if isinstance(action, GoBack):
        target = NodeState.RETURNED
    else:
        target = NodeState.STAGED if action.place is Place.CANDIDATE else NodeState.INSTALLED
    left = sum(counts.values()) if action.which.limit is None else action.which.limit
    after = dict(counts)
    for state in counts.keys() & action.which.states - {target}:
        moved = min(left, counts[state])
        after[state], left = counts[state] - moved, left - moved
        after[target] = after.get(target, 0) + moved
    return {state: count for state, count in after.items() if count}
