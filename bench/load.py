"""A coordinator with a hundred, and with a thousand real nodes: processor time and memory for each, and how both grow.

The nodes are real daemons over real WebSockets on loopback, in a few processes. What counts is the coordinator's own
process: on a busy machine its processor time stays what it is, and the wall tells of the nodes on the same cores, too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from bench.cluster import Cluster, cluster
from bench.measure import Report, Row
from bench.plant import RULE

SIZES = (100, 1000)
HOST_NODES = 250
QUIET_S = 15.0
GROWTH_MAX = 1.5
"""How much more a node may cost among the most than among the fewest."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one size took of the coordinator: processor seconds, MB, and seconds on the wall."""

    nodes: int
    linked_s: float
    quiet_s: float
    deployed_s: float
    status_s: float
    memory_mb: float
    empty_mb: float
    converged_wall_s: float
    status_wall_s: float

    def each_ms(self, what: float) -> float:
        """Return milliseconds for one node."""
        return 1000 * what / self.nodes

    @property
    def node_kb(self) -> float:
        return 1024 * (self.memory_mb - self.empty_mb) / self.nodes


def memory_mb(made: Cluster) -> float:
    return float(psutil.Process(made.coordinator.pid).memory_info().rss) / 2**20


def measured(nodes: int, quiet_s: float = QUIET_S) -> Spent:
    """Start so many nodes and measure each thing once."""
    with cluster() as made:
        empty_mb = memory_mb(made)
        names = [f"node-{number:04}" for number in range(nodes)]
        for first in range(0, nodes, HOST_NODES):
            made.host(names[first : first + HOST_NODES])
        before = made.spent_s()
        made.until_ready()
        linked_s = made.spent_s() - before
        change = {"rule": RULE, "programId": made.upload(1, RULE)}
        time.sleep(5)
        before = made.spent_s()
        time.sleep(quiet_s)
        quiet_s = (made.spent_s() - before) * 60 / quiet_s
        before, begins = made.spent_s(), time.perf_counter()
        ended = made.ended(made.deploy([change], "immediate"), look_s=1.0)
        wall_s, deployed_s = time.perf_counter() - begins, made.spent_s() - before
        if ended["state"] != "succeeded":
            raise RuntimeError(f"the deployment is {ended['state']}: {ended['reason']}")
        before, begins = made.spent_s(), time.perf_counter()
        made.status()
        status_wall_s, status_s = time.perf_counter() - begins, made.spent_s() - before
        largest = memory_mb(made)
        return Spent(nodes, linked_s, quiet_s, deployed_s, status_s, largest, empty_mb, wall_s, status_wall_s)


def report() -> Report:
    """Measure each size once."""
    spent = [measured(nodes) for nodes in SIZES]
    few, many = spent[0], spent[-1]
    rows = []
    for one in spent:
        rows += [
            Row(f"{one.nodes} nodes: to link one", one.each_ms(one.linked_s), "ms processor"),
            Row(f"{one.nodes} nodes: one for a minute, without events", one.each_ms(one.quiet_s), "ms processor"),
            Row(f"{one.nodes} nodes: to deploy to one", one.each_ms(one.deployed_s), "ms processor"),
            Row(f"{one.nodes} nodes: memory of one", one.node_kb, "KB"),
            Row(f"{one.nodes} nodes: a deployment to all", one.converged_wall_s, "s on the wall"),
            Row(f"{one.nodes} nodes: eyeflow status", one.status_wall_s, "s", f"coordinator: {one.status_s:.2f} s"),
        ]
    growths = {
        what: (getattr(many, what) / many.nodes) / max(1e-9, getattr(few, what) / few.nodes)
        for what in ("linked_s", "quiet_s", "deployed_s")
    }
    bars = [
        (f"{what[:-2]}: at most {GROWTH_MAX} times for each node ({grown:.2f})", grown <= GROWTH_MAX)
        for what, grown in growths.items()
    ]
    return Report(f"A coordinator with {few.nodes} to {many.nodes} nodes", tuple(rows), tuple(bars))
