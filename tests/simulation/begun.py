"""The cluster as a story finds it: nodes have joined, and the coordinator has programs. Made once for all runs of a process.

To make it again in each run would be a sixth of the run, and what fails there is not the same in any two runs anyway: nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from simulation.cluster import Cluster
from simulation.disk import Image
from simulation.loop import pass_time
from simulation.programs import Built, programs

STOP_S = 20.0
"""How long nodes and coordinator may take to end in good order."""


@dataclass(frozen=True)
class Begun:
    """What the disks hold at `time_s`, by the name of the host, and the operator's token."""

    time_s: float
    token: str
    images: Mapping[str, Image]


async def set_up(cluster: Cluster, built: Iterable[Built]) -> None:
    """Start coordinator and nodes on empty disks, let the nodes join, and upload the programs."""
    cluster.coordinator.start()
    await pass_time(1.0)
    cluster.token = cluster.coordinator.token
    for node in cluster.nodes.values():
        node.give_token((await cluster.surely("POST", "/api/nodes/join-tokens", {}))["token"])
        node.start()
    for program in built:
        await cluster.surely("POST", "/api/programs", data=program.data)
    await pass_time(3.0)


@cache
def begun(names: tuple[str, ...], refuses: str) -> Begun:
    """Return the disks of a cluster that was set up with all programs, and stopped."""
    with tempfile.TemporaryDirectory(prefix="eyeflow-simulation-") as directory:
        cluster = Cluster(0, Path(directory), names, refuses)
        cluster.run(_set_up_and_stop)
        hosts = (cluster.coordinator, *cluster.nodes.values())
        return Begun(cluster.loop.time(), cluster.token, {host.name: host.image for host in hosts})


async def _set_up_and_stop(cluster: Cluster) -> None:
    await set_up(cluster, programs())
    for host in (*cluster.nodes.values(), cluster.coordinator):
        host.stop()
        await pass_time(STOP_S)
        assert not host.runs, f"{host.name} does not stop"


async def go_on(cluster: Cluster, before: Begun) -> None:
    """Start a cluster on the disks of another one."""
    cluster.token = before.token
    cluster.coordinator.image = before.images[cluster.coordinator.name]
    cluster.coordinator.start()
    await pass_time(1.0)
    for node in cluster.nodes.values():
        node.image = before.images[node.name]
        node.give_token("used")
        node.start()
    await pass_time(3.0)
