"""The policy over REST: show it, check a text, apply one."""

from __future__ import annotations

from typing import Any

from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.policies import apply_policy, read_policy, subjects
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.store.facts import AppliedPolicy
from eyeflow.rollout.policy import Demand


async def get_policy(hub: Hub, call: Call) -> Reply:
    """Return the policy that holds now, with the nodes that each demand is for; its text is empty before the first."""
    applied = await hub.store.read(lambda reading: reading.policy())
    return Reply(200, await _view(hub, applied or AppliedPolicy("", 0, "")))


async def check_policy(hub: Hub, call: Call) -> Reply:
    """Return what a policy would be, with the nodes that each demand is for. Nothing is written."""
    return Reply(200, await _view(hub, AppliedPolicy(call.body["text"], 0, "")))


async def set_policy(hub: Hub, call: Call) -> Reply:
    """Make this the policy: it is held against deployments that are asked for from now on."""
    applied = await apply_policy(hub.store, call.body["text"], hub.clock(), call.actor.name)
    return Reply(200, await _view(hub, applied))


async def _view(hub: Hub, applied: AppliedPolicy) -> dict[str, Any]:
    demands = read_policy(applied.text)

    def look(reading: Reading) -> list[dict[str, Any]]:
        nodes = subjects(reading, reading.node_names())
        return [_demand(one, [node.name for node in nodes if one.is_for(node)]) for one in demands]

    return {
        "text": applied.text,
        "appliedUs": applied.time_us,
        "appliedBy": applied.actor,
        "demands": await hub.store.read(look),
    }


def _demand(one: Demand, nodes: list[str]) -> dict[str, Any]:
    return {
        "name": one.name,
        "line": one.line,
        "strategies": list(one.strategies),
        "observeS": one.observe_s,
        "signers": one.signers,
        "approval": one.approval,
        "nodes": nodes,
    }
