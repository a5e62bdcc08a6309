"""Thousands of light nodes in one process: `python -m bench.light_host`, told on its standard input what to run.

The first line is JSON: `url`, `coordinator_id`, `coordinator_key`, `names`. It answers `ready` once all have their
link. The line `stall N` lets the first N of them read nothing more; the line `stop` ends it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable

from bench.light_nodes import LightLink
from eyeflow.node.cluster.membership import JoinResult

DIALS_MAX = 64
"""Nodes that dial at one time: of nodes that are started by hand, one after the other, even fewer do."""


async def linked(links: Iterable[LightLink]) -> list[asyncio.Task[None]]:
    """Start these links, some at a time; return their tasks once all are up."""
    free, tasks = asyncio.Semaphore(DIALS_MAX), []

    async def one(link: LightLink) -> None:
        async with free:
            tasks.append(asyncio.create_task(link.run()))
            while link.status.state != "up":
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one(link) for link in links))
    return tasks


async def main() -> None:
    """Run until told to stop."""
    loop = asyncio.get_running_loop()
    orders = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    peer = (orders["coordinator_id"], bytes.fromhex(orders["coordinator_key"]), ())
    links = [LightLink(name, JoinResult(orders["url"], name, *peer)) for name in orders["names"]]
    tasks = await linked(links)
    print("ready", flush=True)
    while (line := await loop.run_in_executor(None, sys.stdin.readline)).startswith("stall "):
        for link in links[: int(line.split()[1])]:
            link.stall()
        print("stalled", flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
