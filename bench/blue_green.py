"""One switch of 50 nodes: is any event decided by a mix of both versions, and how far apart do the nodes switch?

Real daemons over real WebSockets, 25 in each of two processes. Two rules change as one deployment: each event is
decided by one of them, which emits it to the other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.cluster import Cluster, cluster
from bench.measure import Report, Row
from bench.plant import RULE, VALVE

NODES, HOSTS, PER_S = 50, 2, 10.0
ROUNDS = 3
SPREAD_S_MAX = 2.0


def changes(made: Cluster, version: int) -> list[dict[str, str]]:
    """Upload a version of both rules; returns what a deployment of them says."""
    return [{"rule": rule, "programId": made.upload(version, rule)} for rule in (RULE, VALVE)]


def begun(made: Cluster, nodes: int = NODES, hosts: int = HOSTS, per_s: float = PER_S, timid: int = 0) -> None:
    """Start the nodes and bring the first version to all; the last `timid` nodes cannot stage the rules."""
    names = [f"node-{number:03}" for number in range(nodes)]
    for host in range(hosts):
        made.host(names[host::hosts], per_s, names[nodes - timid :])
    made.until_ready()
    bring_first(made, names[: nodes - timid])


def bring_first(made: Cluster, names: Sequence[str]) -> None:
    """Bring the first version of both rules to these nodes."""
    body = {"nodeIds": names, "strategy": "immediate", "changes": changes(made, 1)}
    first = made.ended(made.call("POST", "/api/deployments", body)["id"])
    if first["state"] != "succeeded":
        raise RuntimeError(f"the first version does not run: {first['reason']}")


def switched(made: Cluster, rounds: int) -> list[str]:
    """Switch all nodes to new versions, again and again; returns how the deployments ended."""
    states = []
    for number in range(rounds):
        deployment = made.deploy(changes(made, 2 + number), "blue_green", observeS=1, samplesMin=1)
        states.append(made.ended(deployment)["state"])
        time.sleep(1)
    return states


def report() -> Report:
    """Switch all nodes three times; then once more where one of them cannot stage."""
    with cluster() as made:
        begun(made)
        before_s = made.spent_s()
        states = switched(made, ROUNDS)
        spent_s = (made.spent_s() - before_s) / ROUNDS
        told = made.stopped()
    with cluster() as made:
        begun(made, timid=1)
        refused = switched(made, 1)
        alone = made.stopped()
    spreads = [_spread_s(told, number) for number in range(ROUNDS)]
    mixed, events = (sum(one[name] for one in told.values()) for name in ("mixed", "events"))
    turns = sum(one["turns"] for one in told.values())
    switching = sum(bool(one["swaps_us"]) for one in alone.values())
    rows = (
        Row("events decided while nodes switched", events, ""),
        Row("of them decided by a mix of both versions", mixed, ""),
        Row("changes of the version, for each node and switch", turns / NODES / ROUNDS, "", "1: no event went back"),
        Row("between the first node and the last", median(spreads), "s", f"{max(spreads):.2f} s at most"),
        Row("processor time of the coordinator for one switch", spent_s, "s"),
        Row(
            "with one node that cannot stage: nodes that switched",
            sum(bool(one["swaps_us"]) for one in alone.values()),
            "",
        ),
    )
    bars = (
        ("no event is decided by a mix", mixed == 0 and turns == NODES * ROUNDS and set(states) == {"succeeded"}),
        ("if one node cannot stage, none switches", refused == ["failed"] and not switching),
        (f"all switch within {SPREAD_S_MAX:g} s", max(spreads) <= SPREAD_S_MAX),
    )
    return Report(f"One switch of {NODES} nodes", rows, bars)


def _spread_s(told: dict[str, Any], number: int) -> float:
    """Return how far apart the first and the last node were in one switch: each swap is recorded for each rule."""
    times = [time_us for one in told.values() for time_us in one["swaps_us"][2 * number : 2 * number + 2]]
    return (max(times) - min(times)) / 1e6
