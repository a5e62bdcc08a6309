"""How far a token for some nodes reaches: what it starts must change nothing of other nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from eyeflow.coordinator.acting import overlapping
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.rollout.deployment import Deployment


def is_within(reading: Reading, deployment: Deployment, names: frozenset[str]) -> bool:
    """Say whether all nodes of a deployment are among `names`."""
    if sum(reading.counts(deployment.id).values()) > len(names):
        return False
    return all(one.node in names for one in reading.progress(deployment.id))


def check_reach(reading: Reading, names: Collection[str], rules: Collection[str], scope: Mapping[str, str]) -> None:
    """Raise Problem where a new deployment to `names` would end one that also goes to nodes without these labels."""
    if not scope:
        return
    within = frozenset(reading.labelled(scope))
    for name in names:
        for older, _ in overlapping(reading, name, frozenset(rules)):
            if not is_within(reading, older, within):
                detail = f"A deployment is under way on {name} that also goes to nodes that this token is not for."
                raise Problem("deployment_open", detail, "wait for its end; a token for all nodes can cancel it")
