"""The strategy `rolling`: some nodes, watch them, then the next ones. It stops at a failed verdict. A pure function.

Nodes without a link come last, each once it is back: waited for in their turn, one would hold up all behind it. Begun
without waiting, more than a batch could change at once when they come back.
"""

from __future__ import annotations

from eyeflow.rollout.actions import Action, Situation
from eyeflow.rollout.deployment import NOT_BEGUN, WHOLE, Deployment, NodeState, Options, Place
from eyeflow.rollout.stepwise import Step, decide


def rolling(situation: Situation, now_us: int) -> tuple[Action, ...]:
    """Return what to do now."""
    return decide(_step, situation, now_us)


def _step(deployment: Deployment, phase: int, situation: Situation) -> Step | None:
    options = deployment.options
    if phase != deployment.phase and not situation.count(*NOT_BEGUN):
        return None
    return Step(Place.ACTIVE, frozenset({NodeState.HELD}), options.observe_s, batch_size(options, situation.total))


def batch_size(options: Options, total: int) -> int:
    """Return how many nodes change at once: at least one."""
    return max(1, total * options.batch_share // WHOLE) if options.batch_share else options.batch
