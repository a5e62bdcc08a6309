"""A coordinator with a store and an archive of its own, a node's link, and what it copies over that."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import apsw
import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.sqlite_archive import APPLICATION_ID, ARCHIVE_FILE, DAMAGED_FILE
from eyeflow.coordinator.collecting import STOPPED
from eyeflow.protocol.audit import record_hash
from eyeflow.protocol.audit_bodies import CheckpointBody, StopBody
from eyeflow.protocol.collecting import is_cosigned
from unit.coordinator.archive.chains import execution


async def kept(client: Any, query: str = "") -> list[bytes]:
    answer = (await client.get(f"/api/nodes/node-a/records{query}")).json()
    return [base64.b64decode(one["record"]) for one in answer["records"]]


def reached(client: Any, seq: int) -> Any:
    async def reached() -> bool:
        copy = (await client.get("/api/nodes/node-a")).json()["copy"]
        return bool(copy and copy["seq"] >= seq)

    return reached


async def started(cluster: Any, make: Any, client: Any, records: int) -> Any:
    node = make.control("node-a")
    node.note(*(execution(number) for number in range(records)), CheckpointBody(node.key.public_key))
    await cluster.join(client, node)
    cluster.dial(node)
    return node


def test_the_coordinator_has_a_copy_soon_and_after_a_restart_of_either_only_what_is_new(
    cluster: Any, make: Any
) -> None:
    async def walk() -> None:
        async with cluster.coordinator() as client:
            node = await started(cluster, make, client, 250)
            await make.until(reached(client, 251), "the copy is there")
            assert await kept(client, "?limit=1000") == node.records
            await cluster.hang_up_all()
            node.note(StopBody("while nobody was there"))
        asks = len(node.kept)
        async with cluster.coordinator() as client:
            assert (await client.get("/api/nodes/node-a")).json()["copy"]["seq"] == 251, "known before the first link"
            cluster.dial(node)
            await make.until(reached(client, 252), "what is new is copied")
            assert await kept(client, "?limit=1000") == node.records

            async def is_acknowledged() -> bool:
                return bool(node.kept[-1].seq == 252)

            await make.until(is_acknowledged, "the node hears of it")
            assert len(node.kept) == asks + 2, "one ask, and one that says that it is kept"
            await cluster.hang_up_all()
        last = node.kept[-1]
        assert (last.seq, last.hash) == (252, record_hash(node.records[-1]))
        assert is_cosigned(last, *_coordinator(cluster), "node-a")

    asyncio.run(walk())


def _coordinator(cluster: Any) -> tuple[str, bytes]:
    peer = cluster.links["node-a"]._joined.peer
    return peer.coordinator_id, peer.public_key


def test_pages_go_on_where_the_last_one_ended(cluster: Any, make: Any) -> None:
    async def walk() -> None:
        async with cluster.coordinator() as client:
            node = await started(cluster, make, client, 25)
            await make.until(reached(client, 26), "the copy is there")
            found, cursor = [], ""
            for _ in range(3):
                answer = (await client.get(f"/api/nodes/node-a/records?limit=10{cursor}")).json()
                found += [one["seq"] for one in answer["records"]]
                cursor = f"&cursor={answer['nextCursor']}"
            assert found == list(range(1, 27)) and cursor == "&cursor="
            assert await kept(client, "?after=24") == node.records[24:]
            assert await kept(client, "?epoch=77") == []
            assert (await client.get("/api/nodes/nobody/records")).status_code == 404
            both = await client.get(f"/api/nodes/node-a/records?after=1&cursor={'WzVd'}")
            assert both.json()["code"] == "invalid_query"
            await cluster.hang_up_all()

    asyncio.run(walk())


def test_nothing_of_a_node_whose_chain_breaks_is_merged_and_it_is_in_doubt(cluster: Any, make: Any) -> None:
    async def walk() -> None:
        async with cluster.coordinator() as client:
            node = await started(cluster, make, client, 20)
            await make.until(reached(client, 21), "the copy is there")
            before = await kept(client)
            await cluster.hang_up_all()
            node.records[15:] = []  # it forgets what it had, and goes on otherwise
            node.note(*(StopBody(f"another {number}") for number in range(30)))
            cluster.dial(node)

            async def is_in_doubt() -> bool:
                return bool((await client.get("/api/nodes/node-a")).json()["inDoubt"])

            await make.until(is_in_doubt, "the fork is found")
            assert await kept(client) == before
            assert (await client.post("/api/nodes/node-a/accept")).status_code == 200
            await make.until(reached(client, len(node.records)), "what it has now is copied")
            assert await kept(client) == node.records
            assert not await is_in_doubt()
            await cluster.hang_up_all()

    asyncio.run(walk())


def test_a_record_that_cannot_be_read_is_a_finding_with_the_next_step(cluster: Any, make: Any) -> None:
    async def walk() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            node.note(execution(1), execution(2))
            node.records.append(b"nonsense")
            await cluster.join(client, node)
            cluster.dial(node)
            found: list[Any] = []

            async def is_found() -> bool:
                found[:] = (await client.get("/api/nodes/node-a")).json()["findings"]
                return bool(found)

            await make.until(is_found, "the damage is found")
            assert found[0]["kind"] == "altered" and "record 3" in found[0]["evidence"], found
            assert "eyeflow nodes accept node-a" in found[0]["nextStep"]
            await cluster.hang_up_all()

    asyncio.run(walk())


def test_an_archive_that_refuses_is_said_and_goes_on_by_itself(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyeflow.coordinator.collecting.RETRY_S", 0.05)
    real, refuses = Archive.append, True

    async def append(self: Archive, bundle: Any) -> Any:
        if refuses:
            raise EyeflowError("the archive's disk is full", code="archive")
        return await real(self, bundle)

    monkeypatch.setattr(Archive, "append", append)

    async def walk() -> None:
        nonlocal refuses
        async with cluster.coordinator() as client:
            node = await started(cluster, make, client, 20)

            async def is_told() -> bool:
                copy = (await client.get("/api/nodes/node-a")).json()["copy"]
                return bool(copy and copy["trouble"] == "the archive's disk is full")

            await make.until(is_told, "the trouble is told")
            assert await kept(client) == []
            assert all(one.seq == 0 for one in node.kept), "nothing is acknowledged that is not kept"
            refuses = False
            await make.until(reached(client, 21), "the copy is there")
            assert (await client.get("/api/nodes/node-a")).json()["copy"]["trouble"] == ""
            await cluster.hang_up_all()

    asyncio.run(walk())


def test_a_bug_that_ends_the_copy_is_told_where_people_look(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def append(self: Archive, bundle: Any) -> Any:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(Archive, "append", append)

    async def walk() -> None:
        async with cluster.coordinator() as client:
            await started(cluster, make, client, 20)

            async def is_told() -> bool:
                copy = (await client.get("/api/nodes/node-a")).json()["copy"]
                return bool(copy and copy["trouble"] == STOPPED)

            await make.until(is_told, "the trouble is told")
            await cluster.hang_up_all()

    asyncio.run(walk())
    assert "nobody thought of this" in caplog.text


def test_a_node_that_keeps_its_audit_sends_nothing(cluster: Any, make: Any, tmp_path: Path) -> None:
    async def walk() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            node.note(execution(1))
            await cluster.join(client, node)
            link = cluster.dial(node)
            link._hands_on = False

            async def is_up() -> bool:
                return bool(link.status.state == "up")

            await make.until(is_up, "the link is up")
            assert "stays on the node" in link.status.detail
            assert await kept(client) == [] and not node.kept
            await cluster.hang_up_all()

    asyncio.run(walk())


def make_foreign(path: Path, version: int) -> None:
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE chains (id INTEGER PRIMARY KEY)")
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", version)
    db.close()


@pytest.mark.parametrize(
    ("version", "told"),
    [(99, "a newer eyeflow wrote it"), (1, "move the file away: the nodes send again what they still have")],
)
def test_an_archive_of_another_eyeflow_stops_no_coordinator(cluster: Any, make: Any, version: int, told: str) -> None:
    async def walk() -> None:
        async with cluster.coordinator():
            pass
        path = cluster.directory / "coordinator" / ARCHIVE_FILE
        for file in path.parent.glob(f"{ARCHIVE_FILE}*"):
            file.unlink()
        make_foreign(path, version)
        before = path.read_bytes()
        async with cluster.coordinator() as client:
            await started(cluster, make, client, 3)

            async def is_told() -> bool:
                copy = (await client.get("/api/nodes/node-a")).json()["copy"]
                return bool(copy and told in copy["trouble"] and copy["behind"] >= 4)

            await make.until(is_told, "why nothing is copied")
            assert await kept(client) == []
            await cluster.hang_up_all()
        assert path.read_bytes() == before, "it is evidence"

    asyncio.run(walk())


def alarms(client: Any, subject: str, *, is_open: bool) -> Any:
    async def found() -> bool:
        asked = await client.get(f"/api/alarms?kind=archiveDamaged&open={str(is_open).lower()}")
        return any(one["subject"].endswith(subject) for one in asked.json()["alarms"])

    return found


@pytest.mark.parametrize("when", ["at the start", "while it runs"])
def test_a_damaged_archive_is_set_aside_and_said_and_collected_anew(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr("eyeflow.coordinator.archive_alarms.LOOK_S", 0.1)
    made: list[Archive] = []
    real = Archive.__init__
    monkeypatch.setattr(Archive, "__init__", lambda self, *rest: (made.append(self), real(self, *rest))[1])
    path = cluster.directory / "coordinator" / ARCHIVE_FILE

    def spoil() -> None:
        damaged = bytearray(path.read_bytes())
        damaged[: len(damaged)] = b"damaged!" * (len(damaged) // 8)
        with path.open("r+b") as file:
            file.write(damaged)

    async def walk() -> None:
        async with cluster.coordinator() as client:
            node = await started(cluster, make, client, 250)
            await make.until(reached(client, 251), "the copy is there")
            if when == "while it runs":
                made[-1]._database._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)  # type: ignore[attr-defined]
                made[-1]._database.reopen(), made[-1]._reader.reopen()
                spoil()
                node.note(StopBody("after the damage"))
                await make.until(reached(client, 252), "the copy is there again")
                await ends(client, node)
            await cluster.hang_up_all()
        if when == "at the start":
            spoil()
            async with cluster.coordinator() as client:
                cluster.dial(node)
                await make.until(reached(client, 251), "the copy is there again")
                await ends(client, node)
                await cluster.hang_up_all()

    async def ends(client: Any, node: Any) -> None:
        assert await kept(client, "?limit=1000") == node.records
        assert path.with_name(DAMAGED_FILE).read_bytes().startswith(b"damaged!"), "it is evidence"
        await make.until(alarms(client, DAMAGED_FILE, is_open=True), "it is said")
        path.with_name(DAMAGED_FILE).unlink()
        await make.until(alarms(client, DAMAGED_FILE, is_open=False), "the alarm ends")

    asyncio.run(walk())


def test_a_record_that_changed_on_the_disk_is_found_and_the_copy_of_its_node_collected_anew(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyeflow.coordinator.archive_alarms.LOOK_S", 0.1)
    monkeypatch.setattr("eyeflow.coordinator.hub.TICK_S", 0.05)
    monkeypatch.setattr("eyeflow.coordinator.archive.checking.REST_LOOKS", 0)

    async def walk() -> None:
        async with cluster.coordinator() as client:
            node = await started(cluster, make, client, 20)
            await make.until(reached(client, 21), "the copy is there")
            db = apsw.Connection(str(cluster.directory / "coordinator" / ARCHIVE_FILE))
            db.execute("UPDATE records SET record = ? WHERE seq = 9", (node.records[8][:-1] + b"\x00",))
            db.close()

            async def is_set_aside() -> bool:
                copies = (await client.get("/api/nodes/node-a/copies")).json()["copies"]
                return {one["branch"] for one in copies} == {0, 1}

            await make.until(is_set_aside, "what was kept is set aside")
            await make.until(reached(client, 21), "the copy is there again")
            assert await kept(client) == node.records
            await make.until(alarms(client, "node-a", is_open=False), "it was said, and is over")
            await cluster.hang_up_all()

    asyncio.run(walk())
