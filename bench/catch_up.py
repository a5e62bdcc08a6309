"""How fast a coordinator catches up after an outage, and what that and the continuous relay cost live events.

A real node and a real coordinator as processes, over a real WebSocket on loopback. Producers in the node's process feed
it as a gateway would, each with up to 32 events that are not acknowledged. The rate limit of the node is lifted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from bench.buffer_host import BufferNode, buffer_node
from bench.buffer_node import Measured, program
from bench.cluster import Cluster, cluster
from bench.measure import Report, Row, processor_s

PRODUCERS, ACTS_EVERY = 16, 10
BACKLOG = 200_000
ROUNDS, MEASURE_S, IDLE_S = 2, 3.0, 20.0
PACE = 2_000.0
"""Events a second of the runs whose delays are compared: the delays of a full node show how long its queues are."""
RATE_MIN = 10_000.0
COST_MAX = 0.10
SETTINGS = """catch_up_kb_per_s = 1000000
max_buffer_size_mb = 1024
[coordinator]
url = "{url}"
token_file = "{token}"
"""


class Bench:
    """One node and one coordinator that goes and comes back; `found` has what was measured, by the state of both."""

    def __init__(self, made: Cluster, node: BufferNode) -> None:
        self._made, self._node = made, node
        self.found: dict[str, list[Measured]] = {}
        self.caught: list[dict[str, float]] = []

    def deploy(self) -> None:
        """Bring the rule to the node."""
        self._until_linked()
        uploaded = self._made.call("POST", "/api/programs", data=program())
        changes = [{"rule": "dose", "programId": uploaded["id"]}]
        body = {"nodeIds": ["bench"], "strategy": "immediate", "changes": changes}
        self._made.installed(self._made.call("POST", "/api/deployments", body)["id"], 1)

    def round(self) -> None:
        """Measure once: without a coordinator, while it catches up, and while it is linked."""
        self._made.end_coordinator()
        for pace in (0.0, PACE):
            self._measure("alone", pace)
        self._node.ask("fill", records=BACKLOG)
        self._made.start_again()
        self._catch_up()
        for pace in (0.0, PACE):
            self._measure("linked", pace)
        for pace in (0.0, PACE):
            self._made.end_coordinator()
            self._node.ask("fill", records=BACKLOG)
            self._made.start_again()
            self._until_linked()
            self._measure("catching up", pace)

    def _measure(self, state: str, pace: float) -> None:
        self.found.setdefault(f"{state}, {pace:,.0f}/s" if pace else state, []).append(
            self._node.measure(MEASURE_S, pace)
        )

    def _catch_up(self) -> None:
        before_s = self._made.spent_s()
        caught = self._node.ask("catch_up")
        self.caught.append(caught | {"coordinator_s": self._made.spent_s() - before_s})

    def _until_linked(self) -> None:
        while not all(one["connected"] for one in self._made.call("GET", "/api/nodes")["nodes"] or [NOBODY]):
            time.sleep(0.05)

    def idle(self) -> tuple[float, float]:
        """Return processor milliseconds of node and coordinator in a minute in which nothing happens."""
        self._catch_up()
        time.sleep(2)
        coordinator = self._made.coordinator.pid
        before = (self._node.spent_s(), processor_s(coordinator))
        time.sleep(IDLE_S)
        node_s, coordinator_s = self._node.spent_s() - before[0], processor_s(coordinator) - before[1]
        return node_s * 60_000 / IDLE_S, coordinator_s * 60_000 / IDLE_S

    def median(self, state: str, what: str) -> float:
        """Return the median of one figure."""
        return statistics.median(getattr(one, what) for one in self.found[state])

    def caught_median(self, of: Callable[[dict[str, float]], float]) -> float:
        """Return the median of what catching up without live events took."""
        return statistics.median(of(one) for one in self.caught[:ROUNDS])


NOBODY = {"connected": False}


def report() -> Report:
    """Measure each state by turns."""
    with cluster() as made:
        made.give_tokens(["bench"])
        settings = SETTINGS.format(url=made.url, token=made.folder / "bench.token")
        where = made.folder / "node"
        with buffer_node(where, PRODUCERS, acts_every=ACTS_EVERY, settings=settings, installs=False) as node:
            bench = Bench(made, node)
            bench.deploy()
            for _ in range(ROUNDS):
                bench.round()
            idle = bench.idle()
    rate = bench.caught_median(lambda one: one["records"] / one["seconds"])
    rows = [
        Row("catching up, no live events", rate, "records/s", f"of {BACKLOG:,} and more, limit lifted"),
        Row("the node for a record", bench.caught_median(lambda one: one["processor_s"] / one["records"] * 1e6), "us"),
        Row("the coordinator", bench.caught_median(lambda one: one["coordinator_s"] / one["records"] * 1e6), "us"),
        *_live_rows(bench),
        Row("idle node with its coordinator", idle[0], "ms/min", "processor time"),
        Row("its coordinator", idle[1], "ms/min", "processor time"),
    ]
    cost = bench.median("linked", "each_us") / bench.median("alone", "each_us") - 1
    slower = 1 - bench.median("linked", "a_second") / bench.median("alone", "a_second")
    bars = (
        (f"catching up: at least {RATE_MIN:,.0f} records/s", rate >= RATE_MIN),
        (f"the relay costs at most {COST_MAX:.0%} of live executions ({slower:+.0%})", slower <= COST_MAX),
        (f"and of the node's processor time for one ({cost:+.0%})", cost <= COST_MAX),
    )
    return Report("Catching up after an outage", tuple(rows), bars)


def _live_rows(bench: Bench) -> list[Row]:
    rows = []
    for state in sorted(bench.found):
        copied = bench.median(state, "copied") / MEASURE_S
        note = f"{bench.median(state, 'each_us'):.1f} us of the node for one; {copied:,.0f} records/s copied meanwhile"
        if "/s" not in state:
            rows.append(Row(f"live events, {state}", bench.median(state, "a_second"), "executions/s", note))
            continue
        for what in ("p50_ms", "p99_ms"):
            rows.append(Row(f"live events, {state}, {what[:3]}", bench.median(state, what), "ms"))
    return rows
