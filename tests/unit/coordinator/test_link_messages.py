"""Each message of the link protocol where it may not be said: before HELLO, by another node, the wrong way, too large.

The messages are those of the registry: a new kind is tried here by itself, once it has an example.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, get_args

import httpx
import pytest
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from eyeflow.protocol import messages as m
from eyeflow.protocol.opening import OPENING, Hello, Opening, Welcome
from eyeflow.protocol.versions import PROTOCOL_VERSION_MAX, VERSIONS
from eyeflow.protocol.wire import MESSAGE_BYTES_MAX
from unit.coordinator.test_security import proof_of
from unit.protocol.examples import EXAMPLES, NEW_EXAMPLES, OPENINGS

NEWEST = VERSIONS[PROTOCOL_VERSION_MAX]
MESSAGES = [*EXAMPLES, *NEW_EXAMPLES]
HELLO, WELCOME = OPENINGS
FOR_NODES = (m.Manifest, m.Install, m.Recall, Welcome)
"""What only a coordinator says."""


def encoded(message: Any) -> bytes:
    return OPENING.encode(message) if isinstance(message, Opening) else NEWEST.encode(message)


def test_each_kind_of_message_is_tried() -> None:
    assert {type(one) for one in MESSAGES} == set(get_args(m.Message))
    assert {type(one) for one in OPENINGS} == set(get_args(Opening))


@dataclass
class Wire:
    """A coordinator with two nodes, and links that say what they want."""

    cluster: Any
    client: httpx.AsyncClient
    nodes: dict[str, Any]

    @contextlib.asynccontextmanager
    async def link(self, node: str = "node-a") -> AsyncIterator[ClientConnection]:
        url, header = await proof_of(self.cluster, self.client, self.nodes[node])
        async with connect(url, additional_headers={"Authorization": header}, proxy=None, max_size=None) as link:
            yield link

    async def closed(self, link: ClientConnection) -> str:
        """Read until the link ends, and return the reason."""
        try:
            async with asyncio.timeout(60):
                while True:
                    await link.recv()
        except ConnectionClosed as closed:
            return f"{closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd else "gone"

    async def greet(self, link: ClientConnection, node: str = "node-a") -> None:
        await link.send(encoded(replace(HELLO, protocol_max=PROTOCOL_VERSION_MAX, node=node, manifest_version=0)))
        async with asyncio.timeout(60):
            await link.recv()

    async def is_alone(self) -> bool:
        """Whether no node has a link: all that was said was taken before."""
        return not (await self.client.get("/api/status")).json()["connected"]

    async def known(self) -> list[Any]:
        """What is known of the nodes, but for their links."""
        shown = (await self.client.get("/api/nodes")).json()["nodes"]
        passing = {"connected", "connectedSinceUs", "lastSeenUs", "problem", "software", "protocol", "facts"}
        return [{name: value for name, value in one.items() if name not in passing} for one in shown]


def run(cluster: Any, make: Any, scenario: Any) -> None:
    async def whole() -> None:
        async with cluster.coordinator() as client:
            nodes = {name: make.control(name) for name in ("node-a", "node-b")}
            for node in nodes.values():
                await cluster.join(client, node)
            await scenario(Wire(cluster, client, nodes))

    asyncio.run(whole())


def test_before_hello_nothing_counts(cluster: Any, make: Any) -> None:
    async def scenario(wire: Wire) -> None:
        before = await wire.known()
        for message in [*MESSAGES, WELCOME]:
            async with wire.link() as link:
                await link.send(encoded(message))
                assert (await wire.closed(link)).startswith("4000 "), message
            assert await wire.known() == before, message

    run(cluster, make, scenario)


def test_no_node_speaks_for_another(cluster: Any, make: Any) -> None:
    async def scenario(wire: Wire) -> None:
        before = await wire.known()
        async with wire.link() as link:
            await link.send(encoded(replace(HELLO, node="node-b", manifest_version=0)))
            assert "wrong_node" in await wire.closed(link)
        assert await wire.known() == before
        for message in [one for one in MESSAGES if not isinstance(one, FOR_NODES)]:
            async with wire.link() as link:
                await wire.greet(link)
                await link.send(encoded(message))
                await link.close()
            await make.until(wire.is_alone, "what it said was taken")
            assert (await wire.known())[1] == before[1], f"{message} of node-a says something of node-b"
        foreign = make.control("node-a")  # another key under the name of a node
        wire.nodes["node-a"] = foreign
        with pytest.raises(InvalidStatus) as refused:
            async with wire.link():
                pass
        assert refused.value.response.status_code == 401

    run(cluster, make, scenario)


def test_what_only_a_coordinator_says_closes_the_link(cluster: Any, make: Any) -> None:
    async def scenario(wire: Wire) -> None:
        before = await wire.known()
        for message in [*(one for one in MESSAGES if isinstance(one, FOR_NODES)), *OPENINGS]:
            async with wire.link() as link:
                await wire.greet(link)
                await link.send(encoded(message))
                assert (await wire.closed(link)).startswith("4000 "), message
            assert await wire.known() == before, message

    run(cluster, make, scenario)


def test_a_message_that_is_too_large_ends_the_link_only(cluster: Any, make: Any) -> None:
    async def scenario(wire: Wire) -> None:
        before = await wire.known()
        for message in [*MESSAGES, *OPENINGS]:
            async with wire.link() as link:
                if not isinstance(message, Opening):
                    await wire.greet(link)
                with contextlib.suppress(ConnectionClosed):
                    await link.send(encoded(message).ljust(MESSAGE_BYTES_MAX + 1, b"\0"))
                assert (await wire.closed(link)).split()[0] in {"1009", "gone"}, message
            assert await wire.known() == before, message
        async with wire.link() as link:
            await wire.greet(link)
            assert (await wire.client.get("/api/nodes/node-a")).json()["connected"], "the others go on"

    run(cluster, make, scenario)


def test_control_the_right_node_is_heard_after_hello(cluster: Any, make: Any) -> None:
    async def scenario(wire: Wire) -> None:
        async with wire.link() as link:
            await wire.greet(link)
            for message in (EXAMPLES[7], EXAMPLES[4]):
                await link.send(encoded(message))

            async def heard() -> bool:
                node = (await wire.client.get("/api/nodes/node-a")).json()
                return bool(node["health"]) and node["head"] is not None

            await make.until(heard, "its health and head are known")
        assert isinstance(HELLO, Hello)

    run(cluster, make, scenario)
