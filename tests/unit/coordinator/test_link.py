"""A real coordinator on a loopback port, real links, and nodes whose engine is the only thing that is replaced."""

from __future__ import annotations

import asyncio
from typing import Any

OCTETS = {"Content-Type": "application/octet-stream"}


def test_deploy_reaches_every_connected_node(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            nodes = [make.control("node-a"), make.control("node-b")]
            for node in nodes:
                await cluster.join(client, node)
                cluster.dial(node)
            program = (await client.post("/api/programs", content=make.program(), headers=OCTETS)).json()
            body = {"all": True, "strategy": "immediate", "params": {"limit": 90}}
            reply = await client.post("/api/rules/overheat/deploy", json=body)
            assert reply.status_code == 202, reply.text
            done = await make.ended(client, reply.headers["location"])
            assert done["state"] == "succeeded", done
            assert [node.running["overheat"] for node in nodes] == [(program["id"], {"limit": 90.0})] * 2
            await cluster.hang_up_all()

    asyncio.run(scenario())
