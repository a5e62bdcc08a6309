"""Joining a cluster, knowing it again, and moving to another one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.membership import Membership, join_cluster
from unit.coordinator.asking import deploy, upload


def test_a_foreign_coordinator_is_not_obeyed(cluster: Any, make: Any, tmp_path: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            membership = Membership(cluster.directory / "node-a")
            joined = membership.joined()
            assert joined is not None
            membership.join(replace(joined, coordinator_key=bytes(range(32))))
            link = cluster.dial(node)

            async def distrusted() -> bool:
                return "not the one this node joined" in link.status.detail

            await make.until(distrusted, "the node's refusal")
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_join_token_pins_its_coordinator(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            token = (await client.post("/api/nodes/join-tokens", json={})).json()["token"]
            other = token[:-16] + ("0" * 16 if token[-16:] != "0" * 16 else "1" * 16)

            async def join(url: str, given: str) -> str:
                try:
                    await asyncio.to_thread(join_cluster, url, given, "node-a", node.sign, node.key.public_key)
                except EyeflowError as error:
                    assert error.cause and error.next_step
                    return error.code
                return "joined"

            assert await join(cluster.url, other) == "join_refused"
            assert await join(cluster.url, "nonsense") == "join_refused"
            assert await join("http://127.0.0.1:1", token) == "unreachable"
            assert await join("http://[", token) == "unreachable"
            assert await join(cluster.url, token) == "joined"
            assert await join(cluster.url, token) == "joined", "its answer may have been lost"
            node.key = make.control("thief").key
            assert await join(cluster.url, token) == "bad_join_token"

    asyncio.run(scenario())


def test_the_nodes_learn_which_signers_the_cluster_trusts(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            learnt: list[frozenset[bytes]] = []
            link = cluster.dial(node)
            link._on_signers = learnt.append
            key = make.stranger.public_key
            await client.post("/api/keys", json={"publicKey": key.hex(), "name": "stranger"})

            async def knows() -> bool:
                return bool(learnt and learnt[-1] == {key, make.signer.public_key})

            await make.until(knows, "the new key")
            await client.delete(f"/api/keys/{key.hex()}")

            async def forgets() -> bool:
                return learnt[-1] == {make.signer.public_key}

            await make.until(forgets, "the revocation")
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_node_moves_to_another_cluster_with_all_its_rules(cluster: Any, make: Any, tmp_path: Any) -> None:
    """Manifest versions of two coordinators have nothing to do with each other."""

    async def scenario() -> None:
        node = make.control("node-a")
        for name, deployments in (("first", 3), ("second", 1)):
            cluster.directory, cluster.port = tmp_path / name, 0
            async with cluster.coordinator() as client:
                await cluster.join(client, node)
                membership = Membership(tmp_path / "first" / "node-a")
                joined = Membership(cluster.directory / "node-a").joined()
                assert joined is not None
                membership.join(joined)
                cluster.directory = tmp_path / "first"
                cluster.dial(node)
                cluster.directory = tmp_path / name
                for number in range(deployments):
                    await upload(client, make.program(version=f"{number}.0.0"))
                    done = await make.ended(client, await deploy(client))
                    assert done["state"] == "succeeded", done
                await cluster.hang_up_all()
        assert node.history[-2:] == ["remove overheat", "install overheat 0.0.0"]

    asyncio.run(scenario())


def test_a_node_that_never_joined_says_so(make: Any, cluster: Any) -> None:
    async def scenario() -> None:
        link = cluster.dial(make.control("loner"))
        await cluster.tasks["loner"]
        assert (link.status.state, link.status.detail) == ("failed", "this node has not joined a cluster")

    asyncio.run(scenario())


def test_a_server_that_is_no_coordinator_is_said_and_asked_again(cluster: Any, make: Any) -> None:
    """A captive portal or a proxy answers 200 with a page."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n<html></html")
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        node = make.control("node-a")
        async with cluster.coordinator() as client:
            await cluster.join(client, node)
        async with await asyncio.start_server(page, "127.0.0.1", cluster.port):
            link = cluster.dial(node)

            async def dialled() -> bool:
                return bool(link.status.counters["dials"] >= 2)

            await make.until(dialled, "a second dial")
            assert "the coordinator's challenge is malformed" in link.status.detail
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_links_that_are_cut_at_once_are_dialled_ever_more_slowly(cluster: Any, make: Any) -> None:
    """Two nodes with one key throw each other out; neither may take that for success and dial at full speed."""

    async def scenario() -> None:
        node = make.control("node-a")
        async with cluster.coordinator() as client:
            await cluster.join(client, node)
            first = cluster.dial(node)
            cluster.tasks["copy"] = cluster.tasks.pop("node-a")
            second = cluster.dial(node)
            for link in (first, second):
                link._backoff = Backoff(first_s=0.02, last_s=1000.0)

            async def slow() -> bool:
                return min(link._backoff._failures for link in (first, second)) >= 4

            await make.until(slow, "both links to be cut four times")
            assert first.status.counters["connects"] >= 2
            await cluster.hang_up_all()

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}', '{"version": "x"}'])
def test_damaged_membership_files_are_said(tmp_path: Any, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)
    (tmp_path / "manifest.json").write_text(text)
    membership = Membership(tmp_path)
    for read in (membership.joined, membership.accepted):
        with pytest.raises(EyeflowError) as error:
            read()
        assert error.value.code == "membership"
