"""Several real nodes in one process: `python -m bench.node_host`, told on its standard input what to run.

The first line is JSON: `url`, `folder` (with NAME.token of each node), `names`, `per_s` (events of each node in a
second), `timid` (nodes that do not grant what the rules need). It answers `ready` once all have their link. The line
`stop` ends it; then it writes JSON: of each node the times of its swaps, its events, and how many of them were mixed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.plant import PlantNode
from eyeflow.node.config.sections import CoordinatorConfig
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import SlotBody, SlotChange

MANY = tuple(f"unused_{number:03}.*" for number in range(100))
"""Too many grants to be told: what such a node lacks, it finds out itself."""


def made(name: str, orders: dict[str, Any]) -> PlantNode:
    """Return one node, not yet started."""
    folder = Path(orders["folder"])
    coordinator = CoordinatorConfig(url=orders["url"], token_file=folder / f"{name}.token")
    grants = MANY if name in orders["timid"] else ("*",)
    return PlantNode(folder / name, name, coordinator, grants)


async def feed(plant: PlantNode, per_s: float, offset_s: float) -> None:
    """Send numbered events at a steady pace until cancelled."""
    number = 0
    await asyncio.sleep(offset_s)
    while True:
        number += 1
        await plant.broker.send(number, f"unit-{number % 7}")
        await asyncio.sleep(1 / per_s)


def told(plant: PlantNode) -> dict[str, Any]:
    """Return what became of one node that has stopped."""
    versions: dict[int, list[int]] = defaultdict(list)
    for one in plant.acted:
        versions[one.number].append(one.version)
    order = [versions[number][0] for number in sorted(versions)]
    with AuditReader(plant.config.data_dir) as reader:
        records = [decode_record(data) for data in reader.records()]
    swaps = [r.time_us for r in records if isinstance(r.body, SlotBody) and r.body.change == SlotChange.SWAPPED]
    return {
        "swaps_us": swaps,
        "events": len(versions),
        "mixed": sum(len(set(found)) > 1 for found in versions.values()),
        "turns": sum(a != b for a, b in pairwise(order)),
        "last": order[-1] if order else 0,
    }


async def until_linked(plants: list[PlantNode]) -> None:
    """Return once all links are up."""
    while not all(plant.node.link is not None and plant.node.link.status.state == "up" for plant in plants):
        await asyncio.sleep(0.05)


async def main() -> None:
    """Run until told to stop."""
    loop = asyncio.get_running_loop()
    orders = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    plants = [made(name, orders) for name in orders["names"]]
    for plant in plants:
        await plant.start()
    await until_linked(plants)
    per_s = orders["per_s"]
    feeding = [asyncio.create_task(feed(one, per_s, n / per_s / len(plants))) for n, one in enumerate(plants) if per_s]
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    for task in feeding:
        task.cancel()
    await asyncio.gather(*(one.broker.until_kept() for one in plants if one.config.name not in orders["timid"]))
    await asyncio.gather(*(plant.stop() for plant in plants))
    found = {plant.config.name: told(plant) for plant in plants}
    print(json.dumps({"processor_s": time.process_time(), "nodes": found}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
