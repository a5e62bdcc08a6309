"""The strategy `blue_green`: stage and verify on all nodes, then one switch of all. A pure function.

If one node cannot stage, none switches. The programs before stay warm until the new ones pass: switching back is the
same swap of a pointer between two events.
"""

from __future__ import annotations

from eyeflow.rollout.actions import Action, Situation
from eyeflow.rollout.deployment import NOT_BEGUN, Deployment, NodeState, Place
from eyeflow.rollout.stepwise import Step, decide


def blue_green(situation: Situation, now_us: int) -> tuple[Action, ...]:
    """Return what to do now."""
    return decide(_step, situation, now_us)


def _step(deployment: Deployment, phase: int, situation: Situation) -> Step | None:
    options = deployment.options
    if phase == 0:
        return Step(Place.CANDIDATE, NOT_BEGUN, 0)
    if phase > 1:
        return None
    return Step(Place.SWITCHED, frozenset({NodeState.STAGED}), options.observe_s)
