"""One deployment to more and more nodes: what the coordinator's process spends, and how long its event loop stands.

Real store with its threads and real commits; the nodes are played by their reports, all at once. The reports go through
the same steps as over links, without sockets.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Report, Row
from eyeflow.coordinator.choosing import Where
from eyeflow.coordinator.drafts import Change, Draft
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.sqlite_store import SqliteStore
from eyeflow.protocol.messages import ManifestResult, RuleResult, RuleState
from eyeflow.rollout.deployment import Rollback

COUNTS = (32, 256, 1024)
PROGRAM = "1" * 64
GROWTH_MAX = 1.5
BEAT_S = 0.001


@dataclass(frozen=True, slots=True)
class Spent:
    """What one deployment took."""

    cpu_s: float
    wall_s: float
    stood_s: float


def report() -> Report:
    """Measure in this process."""
    spent = {count: asyncio.run(deploy_to(count)) for count in COUNTS}
    rows = []
    for count, one in spent.items():
        rows.append(Row(f"{count} nodes", one.cpu_s * 1000, "ms processor", f"{one.cpu_s * 1000 / count:.2f} a node"))
        rows.append(Row(f"{count} nodes, longest stand of the loop", one.stood_s * 1000, "ms"))
    few, many = COUNTS[0], COUNTS[-1]
    growth = (spent[many].cpu_s / spent[few].cpu_s) / (many / few)
    rows.append(Row(f"growth from {few} to {many} nodes, for each node", growth, "times", "1 is a straight line"))
    return Report("One deployment to many nodes", tuple(rows), ((f"at most {GROWTH_MAX} times", growth <= GROWTH_MAX),))


async def deploy_to(count: int) -> Spent:
    """Deploy to `count` nodes that all answer, and return what it took."""
    names = [f"node-{number:04}" for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "store.sqlite")
        hub = await Hub.started(store)
        await store.write(lambda writing: _join_all(writing, hub, names))
        heart = Heart()
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(heart.beat())
            working = tasks.create_task(hub.run())
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            await _deploy(hub, names)
            spent = (time.process_time() - cpu_s, time.perf_counter() - wall_s)
            beating.cancel()
            working.cancel()
        store.close()
    return Spent(*spent, heart.longest_s)


async def _deploy(hub: Hub, names: list[str]) -> None:
    draft = Draft((Change("pump", PROGRAM),), Where(), "immediate", Rollback.ON_ERROR)
    made = await hub.deployments.deploy(draft, hub.clock(), "bench")
    assert made is not None
    versions = await hub.store.read(_versions)
    await asyncio.gather(*(hub.deployments.sent(name, versions[name], hub.clock()) for name in names))
    results = (RuleResult("pump", PROGRAM, RuleState.INSTALLED),)
    await asyncio.gather(
        *(hub.deployments.reported(name, ManifestResult(versions[name], results), hub.clock()) for name in names)
    )
    while not (await hub.store.read(lambda reading: reading.deployment(made.id))).over:  # type: ignore[union-attr]
        await asyncio.sleep(BEAT_S)


def _join_all(writing: Writing, hub: Hub, names: list[str]) -> None:
    for name in names:
        writing.register_node(name, bytes(32), 1)
    hub.nodes.signers_changed(writing, 1)


def _versions(reading: Reading) -> dict[str, int]:
    return {node.name: node.manifest_version for node in reading.nodes()}


class Heart:
    """Beats once each millisecond; `longest_s` is by how much a beat came late at most: so long the loop stood."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            started = time.perf_counter()
            await asyncio.sleep(BEAT_S)
            self.longest_s = max(self.longest_s, time.perf_counter() - started - BEAT_S)
