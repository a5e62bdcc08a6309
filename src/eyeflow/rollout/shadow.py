"""The strategy `shadow`: the candidate sees the same live events, and its actions are withheld. A pure function.

It changes nothing: at its end the candidates go, and what they would have decided otherwise is known.
"""

from __future__ import annotations

from eyeflow.rollout.actions import Action, Enter, Situation
from eyeflow.rollout.deployment import Deployment, DeploymentState, NodeState, Place
from eyeflow.rollout.stepwise import Step, decide, roll_back

BESIDE = frozenset({NodeState.HELD, NodeState.WAITING, NodeState.STAGED})


def shadow(situation: Situation, now_us: int) -> tuple[Action, ...]:
    """Return what to do now."""
    actions = decide(_step, situation, now_us)
    is_done = any(isinstance(one, Enter) and one.state is DeploymentState.SUCCEEDED for one in actions)
    if is_done and situation.deployment.state is not DeploymentState.ROLLING_BACK:
        return roll_back(now_us, "", DeploymentState.SUCCEEDED)
    return actions


def _step(deployment: Deployment, phase: int, situation: Situation) -> Step | None:
    return None if phase else Step(Place.CANDIDATE, BESIDE, deployment.options.observe_s, awaits_all=False)
