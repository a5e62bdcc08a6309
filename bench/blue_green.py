"""One switch of 50 nodes: is any event decided by a mix of both versions, and how far apart do the nodes switch?

Real daemons over real WebSockets, 25 in each of two processes. Two rules change as one deployment: each event is
decided by one of them, which emits it to the other.
"""

from __future__ import annotations

import time
from statistics import median

from bench.cluster import Cluster, cluster
from bench.measure import Report, Row
from bench.plant import RULE, VALVE

NODES, HOSTS, PER_S = 50, 2, 10.0
ROUNDS = 3
SPREAD_S_MAX = 5.0


def changes(made: Cluster, version: int) -> list[dict[str, str]]:
    """Upload a version of both rules; returns what a deployment of them says."""
    return [{"rule": rule, "programId": made.upload(version, rule)} for rule in (RULE, VALVE)]


def begun(made: Cluster, nodes: int = NODES, hosts: int = HOSTS, per_s: float = PER_S, timid: int = 0) -> None:
    """Start the nodes and bring the first version to all; the last `timid` nodes cannot stage the rules."""
    names = [f"node-{number:03}" for number in range(nodes)]
    for host in range(hosts):
        made.host(names[host::hosts], per_s, names[nodes - timid :])
    made.until_ready()
    nodes_able = names[: nodes - timid]
    body = {"nodeIds": nodes_able, "strategy": "immediate", "changes": changes(made, 1)}
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
