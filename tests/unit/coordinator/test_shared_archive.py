"""Coordinators that share a database copy the audit of a node together: each record once and in order, whoever dies."""

from __future__ import annotations

import asyncio
import base64
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from components.postgres import Server, running_server
from components.waiting import wait_until
from eyeflow.client.profile import ClientProfile
from eyeflow.coordinator.archive.checking import Spoiled
from eyeflow.coordinator.cluster_key import KEY_FILE
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import Membership, join_cluster
from eyeflow.protocol.audit_bodies import CheckpointBody
from eyeflow.protocol.collecting import is_cosigned
from unit.coordinator.archive.chains import execution
from unit.coordinator.several import Several, run

RECORDS = 3_000
PROCESS = Path(__file__).parent / "coordinator_process.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def several(tmp_path: Path, server: Server, make: Any, monkeypatch: pytest.MonkeyPatch) -> Several:
    return Several(tmp_path, server.url(), make, monkeypatch)


def remembering(make: Any) -> Any:
    """A node that was alone for long."""
    node = make.control("node-a")
    node.note(*(execution(number) for number in range(RECORDS)), CheckpointBody(node.key.public_key))
    return node


async def kept(client: httpx.AsyncClient) -> list[bytes]:
    found: list[bytes] = []
    while True:
        answer = (await client.get(f"/api/nodes/node-a/records?limit=1000&after={len(found)}")).json()
        found += [base64.b64decode(one["record"]) for one in answer["records"]]
        if not answer["nextCursor"]:
            return found


def has(client: httpx.AsyncClient, seq: int) -> Any:
    async def reached() -> bool:
        copy = (await client.get("/api/nodes/node-a")).json()["copy"]
        return bool(copy and copy["seq"] >= seq)

    return reached


def test_a_node_that_moves_in_the_middle_of_catching_up_is_copied_once_and_in_order(
    several: Several, make: Any
) -> None:
    async def scenario() -> None:
        node = remembering(make)
        async with several.coordinator("b") as b:
            async with several.coordinator("a") as a:
                await several.join(a, node)
                several.dial(node, b)
                await make.until(has(a.client, 200), "it began at the first")
                assert set(a.hub.links) == {"node-a"}
            await make.until(has(b.client, RECORDS + 1), "the other one goes on")
            assert set(b.hub.links) == {"node-a"}
            assert await kept(b.client) == node.records
            said = [one.seq for one in node.kept]
            assert said == sorted(said), "what was acknowledged is never taken back"
            async with several.coordinator("c") as c:
                await make.until(has(c.client, RECORDS + 1), "one without the link knows it, too")
                assert (await c.client.get("/api/nodes/node-a")).json()["copy"]["behind"] == 0
                assert await kept(c.client) == node.records

    run(several, scenario)


def test_a_copy_that_is_set_aside_by_a_coordinator_without_the_link_is_collected_anew_without_a_doubt(
    several: Several, make: Any
) -> None:
    async def scenario() -> None:
        node = remembering(make)
        async with several.coordinator("a") as a, several.coordinator("b") as b:
            await several.join(a, node)
            several.dial(node, a)
            await make.until(has(a.client, RECORDS + 1), "the copy is there")
            assert set(a.hub.links) == {"node-a"} and not b.hub.links
            epoch = (await b.client.get("/api/nodes/node-a/copies")).json()["copies"][0]["epoch"]
            await b.hub._copy_is_spoiled(Spoiled("node-a", epoch, "a page is damaged"), b.hub.clock())
            assert await kept(b.client) == []
            node.note(*(execution(number) for number in range(5)))

            async def is_whole() -> bool:
                return await kept(b.client) == node.records

            await make.until(is_whole, "it is collected anew")
            shown = (await a.client.get("/api/nodes/node-a")).json()
            assert not shown["inDoubt"] and shown["findings"] == []

    run(several, scenario)


@pytest.mark.parametrize("version", [1, 99])
def test_an_archive_of_another_eyeflow_in_the_database_stops_no_coordinator(
    several: Several, make: Any, version: int
) -> None:
    async def scenario() -> None:
        node = make.control("node-a")
        async with several.coordinator("a"):
            pass
        with psycopg.connect(several.database, autocommit=True) as database:
            database.execute(f"UPDATE meta SET value = '{version}' WHERE key = 'archive_schema'".encode())
        async with several.coordinator("a") as a:
            await several.join(a, node)
            several.dial(node, a)

            async def is_told() -> bool:
                copy = (await a.client.get("/api/nodes/node-a")).json()["copy"]
                return bool(copy and f"schema {version}" in copy["trouble"])

            await make.until(is_told, "why nothing is copied")

    run(several, scenario)


class Process:
    """A coordinator in a process of its own."""

    def __init__(self, directory: Path, database: str) -> None:
        self.directory, self.log = directory, directory.parent / f"{directory.name}.log"
        with self.log.open("wb") as log:
            command = [sys.executable, str(PROCESS), str(directory), f"--store={database}"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: "http://" in self.log.read_text() or self.process.poll() is not None, f"{directory} listens")
        lines = self.log.read_text().splitlines()
        self.url = next((line for line in lines if line.startswith("http://")), "")
        assert self.url, lines

    def end(self, how: int) -> None:
        self.process.send_signal(how)
        self.process.wait(60)


def test_what_a_coordinator_acknowledged_before_kill_9_is_there_and_another_goes_on(
    tmp_path: Path, server: Server, make: Any
) -> None:
    database, node = server.url(), remembering(make)
    first = Process(tmp_path / "first", database)
    (tmp_path / "second").mkdir(mode=0o700)
    shutil.copy2(tmp_path / "first" / KEY_FILE, tmp_path / "second")
    second = Process(tmp_path / "second", database)
    token = ClientProfile.load(tmp_path / "first" / "client.toml", {}).token

    async def scenario() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=second.url, headers=headers, trust_env=False) as client:
            asked = await client.post("/api/nodes/join-tokens", json={})
            joined = await asyncio.to_thread(
                join_cluster, first.url, asked.json()["token"], node.name, node.sign, node.key.public_key
            )
            membership = Membership(tmp_path / "node")
            membership.join(joined)
            link = CoordinatorLink(node, membership, None, Backoff(first_s=0.02, last_s=0.05), 0.2, others=[second.url])
            running = asyncio.create_task(link.run())
            try:

                async def is_under_way() -> bool:
                    return bool(node.kept and node.kept[-1].seq > 0)

                await make.until(is_under_way, "something is acknowledged")
                first.end(signal.SIGKILL)
                acknowledged = node.kept[-1]
                assert acknowledged.seq < len(node.records), "in the middle of catching up"
                there = await kept(client)
                assert len(there) >= acknowledged.seq and there == node.records[: len(there)]
                peer = joined.peer
                assert is_cosigned(acknowledged, peer.coordinator_id, peer.public_key, "node-a")
                await make.until(has(client, len(node.records)), "the other one goes on")
                assert await kept(client) == node.records
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    try:
        asyncio.run(scenario())
    finally:
        for one in (first, second):
            one.process.kill()
            one.process.wait()
