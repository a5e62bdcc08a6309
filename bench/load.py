"""A coordinator with a hundred, and with a thousand real nodes: processor time and memory for each, and how both grow.

The nodes are real daemons over real WebSockets on loopback, in a few processes. What counts is the coordinator's own
process: on a busy machine its processor time stays what it is, and the wall tells of the nodes on the same cores, too.
What the nodes cost by being there is measured first, and left out of what a deployment or a look costs: on a busy
machine those last longer, so more of it falls into their time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from bench.cluster import Cluster, cluster
from bench.measure import Report, Row
from bench.plant import RULE

SIZES = (100, 1000)
HOST_NODES = 250
STALLED_PART = 10
"""One node in so many stands still in the second deployment."""
QUIET_S = 15.0
LOOKS = 5
"""The system counts processor time in hundredths of a second: one look is too short for it."""
GROWTH_MAX = 1.5
"""How much more a node may cost among the most than among the fewest."""
SLOWER_MAX = 1.5
"""How much longer the rest may take for a deployment because of nodes that stand still."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took: processor seconds of the coordinator, without what nodes cost that do nothing, and wall."""

    processor_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What one size took. `quiet_s` is of a minute. `stalled`: a deployment to all but those that stand still."""

    nodes: int
    linked_s: float
    quiet_s: float
    deployed: Cost
    stalled: Cost
    status: Cost
    memory_mb: float
    empty_mb: float

    def each_ms(self, what: float) -> float:
        """Return milliseconds for one node."""
        return 1000 * what / self.nodes

    @property
    def node_kb(self) -> float:
        return 1024 * (self.memory_mb - self.empty_mb) / self.nodes

    @property
    def slower(self) -> float:
        """How much longer the rest took for a deployment while others stood still."""
        return (self.stalled.wall_s / self.live) / (self.deployed.wall_s / self.nodes)

    @property
    def live(self) -> int:
        return self.nodes - self.nodes // STALLED_PART


def memory_mb(made: Cluster) -> float:
    return float(psutil.Process(made.coordinator.pid).memory_info().rss) / 2**20


def cost(made: Cluster, work: Callable[[], object], quiet_s: float) -> Cost:
    """Return what something costs beside nodes that cost `quiet_s` in a minute."""
    before_s, begins_s = made.spent_s(), time.perf_counter()
    work()
    wall_s = time.perf_counter() - begins_s
    return Cost(max(0.0, made.spent_s() - before_s - quiet_s * wall_s / 60), wall_s)


def measured(nodes: int, quiet_s: float = QUIET_S) -> Spent:
    """Start so many nodes and measure each thing once."""
    with cluster() as made:
        empty_mb = memory_mb(made)
        names, stalled = [f"node-{number:04}" for number in range(nodes)], nodes // STALLED_PART
        made.host(names[:stalled])
        for first in range(stalled, nodes, HOST_NODES):
            made.host(names[first : first + HOST_NODES])
        before = made.spent_s()
        made.until_ready()
        linked_s = made.spent_s() - before
        programs = [made.upload(version, RULE) for version in (1, 2)]
        time.sleep(5)
        before = made.spent_s()
        time.sleep(quiet_s)
        quiet_s = (made.spent_s() - before) * 60 / quiet_s

        def deploy(number: int) -> str:
            return made.deploy([{"rule": RULE, "programId": programs[number]}], "immediate")

        deployed = cost(made, lambda: made.installed(deploy(0), nodes, look_s=0.5), quiet_s)
        made.stall(0)
        begun: list[str] = []

        def deploy_to_the_rest() -> None:
            begun.append(deploy(1))
            made.installed(begun[0], nodes - stalled, look_s=0.5)

        beside = cost(made, deploy_to_the_rest, quiet_s)
        made.go_on(0)
        ended = made.ended(begun[0], look_s=1.0)
        if ended["state"] != "succeeded":
            raise RuntimeError(f"the deployment is {ended['state']}: {ended['reason']}")
        looks = cost(made, lambda: [made.status() for _ in range(LOOKS)], quiet_s)
        status = Cost(looks.processor_s / LOOKS, looks.wall_s / LOOKS)
        return Spent(nodes, linked_s, quiet_s, deployed, beside, status, memory_mb(made), empty_mb)


def report() -> Report:
    """Measure each size once."""
    spent = [measured(nodes) for nodes in SIZES]
    few, many = spent[0], spent[-1]
    rows = [row for one in spent for row in _rows(one)]
    costs: dict[str, Callable[[Spent], float]] = {
        "linked": lambda one: one.linked_s,
        "quiet": lambda one: one.quiet_s,
        "deployed": lambda one: one.deployed.processor_s,
    }
    bars = []  # of a look at few nodes, too little is left beside what they cost by being there: see `bench.crowd`
    for what, of in costs.items():
        grown = many.each_ms(of(many)) / max(1e-9, few.each_ms(of(few)))
        bars.append((f"{what}: at most {GROWTH_MAX} times for each node ({grown:.2f})", grown <= GROWTH_MAX))
    stalled = many.nodes - many.live
    text = f"{stalled} nodes that stand still: the rest takes at most {SLOWER_MAX} times as long ({many.slower:.2f})"
    bars.append((text, many.slower <= SLOWER_MAX))
    return Report(f"A coordinator with {few.nodes} to {many.nodes} nodes", tuple(rows), tuple(bars))


def _rows(one: Spent) -> tuple[Row, ...]:
    name, live = f"{one.nodes} nodes", one.live
    return (
        Row(f"{name}: to link one", one.each_ms(one.linked_s), "ms processor"),
        Row(f"{name}: one for a minute, without events", one.each_ms(one.quiet_s), "ms processor"),
        Row(f"{name}: to deploy to one", one.each_ms(one.deployed.processor_s), "ms processor"),
        Row(f"{name}: memory of one", one.node_kb, "KB"),
        Row(f"{name}: a deployment to all", one.deployed.wall_s, "s on the wall"),
        Row(f"{name}: one to {live}, the others stand still", one.stalled.wall_s, "s on the wall"),
        Row(f"{name}: to tell of one in eyeflow status", one.each_ms(one.status.processor_s), "ms processor"),
        Row(f"{name}: eyeflow status", one.status.wall_s, "s on the wall"),
    )
