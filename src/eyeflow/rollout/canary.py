"""The strategy `canary`: the candidate acts for a share of the keys, then for more, then for all. A pure function.

The candidate runs on every node that has a link, and sees all events: what a rule remembers is of all of them. Shared
out is who acts, by a stable hash of (rule, key); exactly one of the two acts for a key (docs/decisions/0014).
"""

from __future__ import annotations

from eyeflow.rollout.actions import Action, Situation
from eyeflow.rollout.deployment import Deployment, NodeState, Place
from eyeflow.rollout.stepwise import Step, decide

BESIDE = frozenset({NodeState.HELD, NodeState.WAITING, NodeState.SENT, NodeState.STAGED})
"""Also those whose answer is due: their link came back after the step began, and the next one is theirs, too."""


def canary(situation: Situation, now_us: int) -> tuple[Action, ...]:
    """Return what to do now."""
    return decide(_step, situation, now_us)


def _step(deployment: Deployment, phase: int, situation: Situation) -> Step | None:
    options = deployment.options
    if phase > len(options.steps):
        return None
    if phase == len(options.steps):  # it was watched as a candidate: what comes now has passed
        return Step(Place.ACTIVE, BESIDE | {NodeState.AWAY}, 0)
    return Step(Place.CANDIDATE, BESIDE, options.observe_s, share=options.steps[phase], awaits_all=False)
