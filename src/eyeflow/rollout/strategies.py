"""The strategies by name, and what users and the coordinator do to a deployment beside them."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from eyeflow.rollout.actions import Action, SetPauses, Strategy, Waive
from eyeflow.rollout.blue_green import blue_green
from eyeflow.rollout.canary import canary
from eyeflow.rollout.deployment import Deployment, DeploymentState, Pause
from eyeflow.rollout.immediate import immediate
from eyeflow.rollout.rolling import batch_size, rolling
from eyeflow.rollout.shadow import shadow
from eyeflow.rollout.stepwise import APPROVAL, USER, roll_back

STRATEGIES: Mapping[str, Strategy] = {
    "blue_green": blue_green,
    "canary": canary,
    "immediate": immediate,
    "rolling": rolling,
    "shadow": shadow,
}

OBSERVE_S: Mapping[str, int] = {"blue_green": 60, "canary": 60, "immediate": 0, "rolling": 60, "shadow": 3600}
"""For how long each watches after a step, until told otherwise."""
WITH_CANDIDATES = frozenset({"blue_green", "canary", "shadow"})
"""The strategies that let two programs of a rule run beside each other."""


def steps_of(deployment: Deployment, nodes: int) -> int:
    """Return how many steps of a deployment to so many nodes are judged; at least 1."""
    options = deployment.options
    if deployment.strategy == "rolling":
        return max(1, ceil(nodes / batch_size(options, nodes)))
    return len(options.steps) if deployment.strategy == "canary" else 1


def cancel(deployment: Deployment, now_us: int) -> tuple[Action, ...]:
    """Return what ends a deployment early: every node goes back to its last known good."""
    return () if deployment.over else roll_back(now_us, "cancelled", DeploymentState.CANCELLED)


def supersede(deployment: Deployment, by: str, now_us: int) -> tuple[Action, ...]:
    """Return what ends a deployment because a newer one takes over: what the newer one does not bring goes back."""
    if deployment.over:
        return ()
    return roll_back(now_us, f"superseded by deployment {by}", DeploymentState.SUPERSEDED)


def take_back(deployment: Deployment, by: str, now_us: int) -> tuple[Action, ...]:
    """Return what takes back a deployment that succeeded."""
    return roll_back(now_us, f"taken back by {by}", DeploymentState.ROLLED_BACK)


def pause(deployment: Deployment, by: str, now_us: int) -> tuple[Action, ...]:
    """Return what keeps a deployment from going on until `resume`."""
    others = tuple(one for one in deployment.paused if one.code != USER)
    return (SetPauses((*others, Pause(USER, f"paused by {by}", now_us))),)


def resume(deployment: Deployment) -> tuple[Action, ...]:
    """Return what lets a deployment go on that somebody paused."""
    return (SetPauses(tuple(one for one in deployment.paused if one.code != USER)),)


def promote() -> tuple[Action, ...]:
    """Return what lets a deployment go on although there is not enough evidence: somebody takes it upon them."""
    return (Waive(),)


def approve(deployment: Deployment) -> tuple[Action, ...]:
    """Return what lets a deployment go on that waited for somebody to agree."""
    return (SetPauses(tuple(one for one in deployment.paused if one.code != APPROVAL)),)
