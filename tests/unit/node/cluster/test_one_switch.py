"""One switch of several nodes, each with two rules that decide one event after the other: none is decided by a mix.

`python -m bench blue_green` does the same with 50 nodes in several processes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bench import blue_green
from bench.cluster import Cluster, cluster
from bench.node_host import feed, made, told, until_linked
from bench.plant import PlantNode

from components.waiting import until
from eyeflow.node.cluster.applying import Applying
from eyeflow.node.cluster.health import installed_of, switched
from eyeflow.node.control import InstallOutcome
from eyeflow.protocol.messages import WantedManifest

NAMES = ("node-a", "node-b", "node-c")
PER_S = 20.0
ROUNDS = 2


async def run(running: Cluster, timid: tuple[str, ...], rounds: int) -> tuple[list[str], dict[str, Any]]:
    """Switch the nodes while events come; return how the deployments ended, and what became of each node."""
    await asyncio.to_thread(running.give_tokens, NAMES)
    orders = {"url": running.url, "folder": str(running.folder), "timid": timid}
    plants = [made(name, orders) for name in NAMES]
    for plant in plants:
        await plant.start()
    await until_linked(plants)
    able = [plant for plant in plants if plant.config.name not in timid]
    await asyncio.to_thread(blue_green.bring_first, running, [plant.config.name for plant in able])
    feeding = [asyncio.create_task(feed(plant, PER_S, number / 100)) for number, plant in enumerate(able)]
    states = await asyncio.to_thread(blue_green.switched, running, rounds)
    for task in feeding:
        task.cancel()
    for plant in able:
        await plant.broker.until_kept()
    for plant in plants:
        await plant.stop()
    return states, {plant.config.name: told(plant) for plant in able}


def rolled_out(timid: tuple[str, ...] = (), rounds: int = ROUNDS) -> tuple[list[str], dict[str, Any]]:
    with cluster() as running:
        return asyncio.run(run(running, timid, rounds))


def test_each_event_is_decided_by_one_version_and_none_goes_back() -> None:
    states, nodes = rolled_out()
    assert states == ["succeeded"] * ROUNDS
    for name, one in nodes.items():
        assert one["events"] > 10 and (one["mixed"], one["turns"]) == (0, ROUNDS), (name, one)


def test_if_one_node_cannot_stage_none_switches() -> None:
    states, nodes = rolled_out(timid=NAMES[-1:], rounds=1)
    assert states == ["failed"]
    assert [(one["swaps_us"], one["mixed"], one["last"]) for one in nodes.values()] == [([], 0, 1)] * 2


def test_control_one_rule_after_the_other_mixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that comes between the two is decided by the new version of one rule and the old one of the next."""
    plants: list[PlantNode] = []
    start = PlantNode.start

    async def noted(self: PlantNode) -> None:
        plants.append(self)
        await start(self)

    async def one_by_one(self: Applying, manifest: WantedManifest) -> dict[str, str]:
        (plant,) = (one for one in plants if one.config.name == manifest.node)
        refused = {}
        for one in switched(manifest.entries, installed_of(self._control.held(), manifest.version)):
            results = await self._control.switch([one], manifest.version)
            refused |= {
                rule: result.code for rule, result in results.items() if result.outcome is InstallOutcome.REFUSED
            }
            acted = len(plant.acted)
            await until(lambda plant=plant, acted=acted: len(plant.acted) > acted + 2)  # type: ignore[misc]
        return refused

    monkeypatch.setattr(PlantNode, "start", noted)
    monkeypatch.setattr(Applying, "_switch", one_by_one)
    _, nodes = rolled_out(rounds=1)
    assert all(one["mixed"] > 0 for one in nodes.values()), nodes
