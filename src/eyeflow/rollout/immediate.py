"""The strategy `immediate`: all nodes at once; each verifies, swaps between two events, reports. A pure function."""

from __future__ import annotations

from eyeflow.rollout.actions import Action, Situation
from eyeflow.rollout.deployment import NOT_BEGUN, Deployment, Place
from eyeflow.rollout.stepwise import Step, decide


def immediate(situation: Situation, now_us: int) -> tuple[Action, ...]:
    """Return what to do now. It watches nothing, unless it is told for how long."""
    return decide(_step, situation, now_us)


def _step(deployment: Deployment, phase: int, situation: Situation) -> Step | None:
    return None if phase else Step(Place.ACTIVE, NOT_BEGUN, deployment.options.observe_s)
