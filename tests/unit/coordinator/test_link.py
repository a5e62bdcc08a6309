"""A real coordinator on a loopback port, real links, and nodes whose engine is the only thing that is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocket

from eyeflow.coordinator import app
from eyeflow.coordinator.intake import check_program
from eyeflow.coordinator.link import _Link
from eyeflow.node.cluster.membership import Membership
from eyeflow.node.control import InstallResult
from eyeflow.protocol.messages import Manifest
from eyeflow.protocol.opening import OPENING, Hello, Welcome
from eyeflow.protocol.session import Accepted
from eyeflow.protocol.versions import VERSIONS
from unit.coordinator.asking import deploy, upload


def test_others_are_answered_while_a_program_is_checked(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def slow(data: bytes, trusted: frozenset[bytes]) -> Any:
        assert answered.wait(60.0), "nobody was answered: the check holds the event loop"
        return check_program(data, trusted)

    monkeypatch.setattr(app, "check_program", slow)

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            uploading = asyncio.create_task(upload(client, make.program()))
            assert (await client.get("/api/nodes")).status_code == 200
            assert not uploading.done()
            answered.set()
            assert await uploading

    asyncio.run(scenario())


def test_deploy_reaches_every_connected_node(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            nodes = [make.control("node-a"), make.control("node-b")]
            for node in nodes:
                await cluster.join(client, node)
                cluster.dial(node)
            program_id = await upload(client, make.program())
            done = await make.ended(client, await deploy(client, params={"limit": 90}))
            assert done["state"] == "succeeded", done
            assert [node.running["overheat"] for node in nodes] == [(program_id, {"limit": 90.0})] * 2

            async def healthy() -> bool:
                shown = (await client.get("/api/nodes/node-a")).json()
                return bool(shown["nextSeq"] == 42 and any(one["name"] == "overheat" for one in shown["health"]))

            await make.until(healthy, "health of node-a")
            shown = (await client.get("/api/nodes/node-a")).json()
            assert shown["connected"] and shown["rules"][0]["state"] == "installed"
            assert cluster.links["node-a"].status.state == "up"
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_refusal_brings_every_node_back(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            good, picky = make.control("good"), make.control("picky", refuse={"2.0.0"})
            for node in (good, picky):
                await cluster.join(client, node)
                cluster.dial(node)
            first = await upload(client, make.program())
            assert (await make.ended(client, await deploy(client)))["state"] == "succeeded"
            second = await upload(client, make.program(version="2.0.0"))
            failed = await make.ended(client, await deploy(client, programId=second))
            assert failed["state"] == "failed"
            assert "picky: not_granted: lacks gpio.set_pin" in failed["reason"]
            assert [node.running["overheat"][0] for node in (good, picky)] == [first, first]
            kept = await make.ended(client, await deploy(client, programId=second, rollbackOnError=False))
            assert kept["state"] == "failed"
            assert [node.running["overheat"][0] for node in (good, picky)] == [second, first]
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_first_program_that_fails_is_removed_again(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            good, picky = make.control("good"), make.control("picky", refuse={"overheat"})
            for node in (good, picky):
                await cluster.join(client, node)
                cluster.dial(node)
            await upload(client, make.program())
            assert (await make.ended(client, await deploy(client)))["state"] == "failed"
            assert good.running == {} and picky.running == {}
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_an_offline_node_gets_the_latest_only_when_it_is_back(cluster: Any, make: Any) -> None:
    """Also across a restart of the coordinator while nobody is connected."""

    async def scenario() -> None:
        node = make.control("node-a")
        async with cluster.coordinator() as client:
            await cluster.join(client, node)
            locations = []
            for version in ("1.0.0", "2.0.0", "3.0.0"):
                last = await upload(client, make.program(version=version))
                locations.append(await deploy(client, programId=last))
        async with cluster.coordinator() as client:
            assert (await client.get(locations[2])).json()["state"] == "installing"
            cluster.dial(node)
            states = [(await make.ended(client, location))["state"] for location in locations]
            assert states == ["superseded", "superseded", "succeeded"]
            assert node.history == ["install overheat 3.0.0"]
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_node_outlives_its_coordinator_and_finds_it_again(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        node = make.control("node-a")
        async with cluster.coordinator() as client:
            await cluster.join(client, node)
            link = cluster.dial(node)
            await upload(client, make.program())
            await make.ended(client, await deploy(client))

        async def looking() -> bool:
            return link.status.state == "connecting" and link.status.counters["dials"] > 3

        await make.until(looking, "more dials")
        assert "next attempt in" in link.status.detail
        assert "overheat" in node.running, "loss of the coordinator changes nothing in what the rules do"
        async with cluster.coordinator():

            async def up() -> bool:
                return bool(link.status.state == "up")

            await make.until(up, "the link to come back")
            assert node.history == ["install overheat 1.0.0"], "what runs already is not installed again"
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_the_newest_link_of_a_node_wins(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            first = cluster.dial(node)

            async def first_is_up() -> bool:
                return bool(first.status.state == "up")

            await make.until(first_is_up, "the first link")
            older = cluster.tasks.pop("node-a")
            second = cluster.dial(node)

            async def replaced() -> bool:
                return "replaced: the node opened a newer link" in first.status.detail

            await make.until(replaced, "the first link to be replaced")
            older.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await older

            async def second_is_up() -> bool:
                return bool(second.status.state == "up")

            await make.until(second_is_up, "the second link")
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_removed_node_is_cut_off(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            link = cluster.dial(node)

            async def up() -> bool:
                return bool(link.status.state == "up")

            await make.until(up, "the link")
            assert (await client.delete("/api/nodes/node-a")).status_code == 204

            async def refused() -> bool:
                return "joins again with `eyeflow node join" in link.status.detail

            await make.until(refused, "the refusal")
            assert "{" not in link.status.detail, "words, no JSON"
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_node_is_ahead_until_somebody_decides_also_once_the_numbers_have_caught_up(cluster: Any, make: Any) -> None:
    """An older copy of the coordinator's store counts on, and gives other contents the numbers that the node has."""

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            membership = Membership(cluster.directory / "node-a")
            membership.accept(Accepted(2, bytes(32)))
            link = cluster.dial(node)

            async def problem() -> str:
                return str((await client.get("/api/nodes/node-a")).json()["problem"])

            async def told(text: str) -> bool:
                return "manifest_ahead" in link.status.detail and text in await problem()

            await make.until(lambda: told("has manifest 2, this coordinator knows 1"), "the refusal")
            await upload(client, make.program())
            await deploy(client)
            await make.until(lambda: told("has another manifest 2 than this coordinator"), "the next refusal")
            assert node.running == {}

            await client.post("/api/nodes/node-a/accept")

            async def runs() -> bool:
                return bool(node.running)

            await make.until(runs, "the manifest that somebody decided for")
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_node_that_refuses_other_contents_of_its_manifest_is_ahead(cluster: Any, make: Any) -> None:
    """It was away while the older copy of the coordinator's store counted up to the number that it has."""

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            Membership(cluster.directory / "node-a").accept(Accepted(1, bytes(32)))
            link = cluster.dial(node)

            async def told() -> bool:
                problem = (await client.get("/api/nodes/node-a")).json()["problem"]
                return "has another manifest 1" in problem and "nodes accept node-a" in problem

            await make.until(told, "what the operator is told")
            alarms = (await client.get("/api/alarms")).json()["alarms"]
            assert [one["kind"] for one in alarms if one["subject"] == "node-a"] == ["nodeAhead"]
            await client.post("/api/nodes/node-a/accept")

            async def linked() -> bool:
                return link.status.state == "up"

            await make.until(linked, "the link")
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_node_that_knows_a_newer_manifest_is_not_taken_back(cluster: Any, make: Any) -> None:
    """The coordinator's store was restored from an old backup: nobody merges, people decide."""

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            membership = Membership(cluster.directory / "node-a")
            membership.accept(Accepted(99, bytes(32)))
            link = cluster.dial(node)

            async def quarantined() -> bool:
                return "manifest_ahead" in link.status.detail

            await make.until(quarantined, "the refusal")
            problem = (await client.get("/api/nodes/node-a")).json()["problem"]
            assert "the node has manifest 99, this coordinator knows 1" in problem and "nodes accept node-a" in problem

            async def linked() -> bool:
                return link.status.state == "up"

            assert not await linked(), "nobody has decided yet"
            assert (await client.post("/api/nodes/node-a/accept")).status_code == 200
            await make.until(linked, "the node takes the coordinator's next manifest")
            await make.until(lambda: newest(membership), "it is newer than the one that the node had")
            await cluster.hang_up_all()

    asyncio.run(scenario())


async def newest(membership: Membership) -> bool:
    return membership.accepted().version == 100


def test_a_node_that_dies_while_it_installs_ends_up_whole(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            plain, dying = node.install, asyncio.Event()

            async def die(*given: Any) -> InstallResult:
                dying.set()
                await asyncio.Event().wait()
                raise AssertionError

            node.install = die
            cluster.dial(node)
            await upload(client, make.program())
            location = await deploy(client)
            await asyncio.wait_for(dying.wait(), 60)
            await cluster.hang_up("node-a")
            assert node.running == {}
            node.install = plain
            cluster.dial(node)
            assert (await make.ended(client, location))["state"] == "succeeded"
            assert "overheat" in node.running
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_the_version_is_on_disk_before_anything_of_a_manifest_runs(cluster: Any, make: Any) -> None:
    """Else a crash in between would let an older manifest in again."""

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            plain, on_disk = node.install, []

            async def install(program: bytes, params: Any, deployment: str, version: int, *_: object) -> InstallResult:
                on_disk.append((version, Membership(cluster.directory / "node-a").accepted().version))
                return await plain(program, params, deployment, version)

            node.install = install
            cluster.dial(node)
            await upload(client, make.program())
            assert (await make.ended(client, await deploy(client)))["state"] == "succeeded"
            assert on_disk == [(2, 2)]
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_node_that_starts_again_is_not_taken_back_by_an_older_coordinator(
    cluster: Any, make: Any, tmp_path: Path
) -> None:
    """The store of the coordinator is an old copy, and the process that knew the newer manifest is gone."""

    async def scenario() -> None:
        node = make.control("node-a")
        async with cluster.coordinator() as client:
            await cluster.join(client, node)
            cluster.dial(node)
            await upload(client, make.program())
            assert (await make.ended(client, await deploy(client)))["state"] == "succeeded"
        shutil.copytree(tmp_path / "coordinator", tmp_path / "old")
        async with cluster.coordinator() as client:
            second = await upload(client, make.program(version="2.0.0", sequence=2))
            assert (await make.ended(client, await deploy(client, programId=second)))["state"] == "succeeded"
            await cluster.hang_up_all()
        shutil.rmtree(tmp_path / "coordinator")
        shutil.move(tmp_path / "old", tmp_path / "coordinator")
        async with cluster.coordinator():
            link = cluster.dial(node)  # a new start of the node: what it knows comes from its disk

            async def refused() -> bool:
                return "manifest_ahead" in link.status.detail

            await make.until(refused, "the refusal")
            assert node.running["overheat"][0] == second
            assert node.history == ["install overheat 1.0.0", "install overheat 2.0.0"]
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_another_program_than_the_manifest_names_is_refused(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eyeflow.coordinator.store.sql_reading import SqlReading

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            cluster.dial(node)
            older, newer = make.program(), make.program(version="2.0.0")
            await upload(client, older)
            await upload(client, newer)
            # Whoever sits on an unprotected link can put one signed program in the place of another.
            monkeypatch.setattr(SqlReading, "program_bytes", lambda self, program_id: older)
            failed = await make.ended(client, await deploy(client))
            assert failed["state"] == "failed" and "another program came" in failed["reason"], failed
            assert node.running == {}
            await cluster.hang_up_all()

    asyncio.run(scenario())


@pytest.mark.parametrize("steps", [(2, 3), (3, 2), (3, 2, 3)])
def test_a_manifest_is_signed_in_the_version_that_its_node_speaks(api: Any, make: Any, steps: tuple[int, ...]) -> None:
    """A node is taken back to an older eyeflow and forth: each time it gets the whole manifest in a form it reads."""
    api.join("node-a", make.signer)
    versions: list[int] = []

    async def opened(hello: Hello) -> list[bytes]:
        link = _Link(api.hub, WebSocket({"type": "websocket"}, None, None), "node-a")  # type: ignore[arg-type]
        await api.hub.attach(link)
        await link.open()
        await link._take(OPENING.encode(hello))
        return [link._outbox.get_nowait() for _ in range(link._outbox.qsize())]  # type: ignore[misc]

    for speaks in steps:
        hello = Hello(1, speaks, "", "node-a", 0, bytes(32))
        sent = api.run(lambda hello=hello: opened(hello))
        welcome, manifest = OPENING.decode(sent[0]), VERSIONS[speaks].decode(sent[-1])
        assert isinstance(welcome, Welcome) and isinstance(manifest, Manifest)
        wanted = VERSIONS[speaks].decode_manifest(manifest.body)
        assert welcome.protocol == speaks and welcome.manifest_version == wanted.version
        assert api.ask("GET", "/api/nodes/node-a").json()["protocol"] == speaks
        assert api.run(lambda hello=hello: opened(hello)) == sent, "the same version again asks for nothing new"
        versions.append(wanted.version)
    assert versions == sorted(set(versions)), "other bytes need another version: the node refuses them otherwise"
