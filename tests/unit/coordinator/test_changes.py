"""The change feed over a WebSocket: who may watch, what is told, how one goes on after a break, and who is too slow."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any, cast

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from eyeflow.coordinator import changes_api, feed
from eyeflow.coordinator.endpoints import ENDPOINTS
from eyeflow.coordinator.feed import Feed
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.store import sql_writing
from eyeflow.coordinator.store.cluster_store import CursorTooOldError, Writing
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.coordinator.tokens import Role, Whose


@contextlib.asynccontextmanager
async def watching(cluster: Any, query: str = "", token: str | None = None) -> AsyncIterator[ClientConnection]:
    url = cluster.url.replace("http", "ws") + "/api/changes" + query
    headers = {"Authorization": f"Bearer {cluster.token if token is None else token}"}
    async with connect(url, additional_headers=headers, proxy=None) as websocket:
        yield websocket


async def told(websocket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(60):
        return dict(json.loads(await websocket.recv()))


async def label(client: httpx.AsyncClient, node: str, value: int) -> None:
    reply = await client.put(f"/api/nodes/{node}/labels", json={"labels": {"n": str(value)}})
    assert reply.status_code == 200, reply.text


def test_what_changes_is_told_as_it_happens(cluster: Any, make: Any) -> None:
    async def main() -> None:
        async with cluster.coordinator() as client:
            await cluster.join(client, make.control("node-a"))
            await cluster.join(client, make.control("node-b"))
            newest = (await client.get("/api/changes")).json()["cursor"]
            async with (
                watching(cluster, "?kind=node") as websocket,
                watching(cluster, "?subject=node-b&kind=node") as one,
            ):
                assert await told(websocket) == {"type": "begin", "cursor": newest}
                assert (await told(one))["type"] == "begin"
                for number in range(3):
                    await label(client, "node-a", number)
                await label(client, "node-b", 1)
                seen = []
                while "node-b" not in seen:
                    message = await told(websocket)
                    assert message["type"] == "changes"
                    seen += [change["subject"] for change in message["changes"]]
                assert seen.count("node-a") in range(1, 4) and seen[-1] == "node-b", "one after the other, in order"
                message = await told(one)
                while message["type"] == "alive":
                    message = await told(one)
                assert [(one["kind"], one["subject"]) for one in message["changes"]] == [("node", "node-b")]
                page = (await client.get(f"/api/changes?cursor={newest}&kind=node")).json()
                assert page["cursor"] == newest + 8 == message["cursor"], "each is in the log as well"
                assert [change["subject"] for change in page["changes"]] == ["node-a", "node-b"], "the newest of each"

    asyncio.run(main())


def test_who_has_no_token_that_works_sees_nothing(cluster: Any) -> None:
    async def main() -> None:
        async with cluster.coordinator() as client:
            for token, status in (("", 401), ("eft_000000000000_" + "0" * 64, 401)):
                with pytest.raises(InvalidStatus) as error:
                    async with watching(cluster, token=token):
                        pass
                assert error.value.response.status_code == status
                assert json.loads(error.value.response.body or b"")["code"] == "unauthenticated"
            made = (await client.post("/api/tokens", json={"name": "eye", "role": "read"})).json()
            async with watching(cluster, token=made["token"]) as websocket:
                assert (await told(websocket))["type"] == "begin"
                assert (await client.delete(f"/api/tokens/{made['id']}")).status_code == 204
                await asyncio.to_thread(lambda: None)
                with pytest.raises(ConnectionClosed) as closed:
                    for _ in range(200):
                        await client.post("/api/nodes/join-tokens", json={})
                        await told(websocket)
                assert closed.value.rcvd is not None and closed.value.rcvd.reason.startswith("unauthenticated: ")
            foreign = {"Authorization": f"Bearer {cluster.token}", "Origin": "http://evil.example"}
            with pytest.raises(InvalidStatus) as error:
                async with connect(
                    cluster.url.replace("http", "ws") + "/api/changes", additional_headers=foreign, proxy=None
                ):
                    pass
            assert error.value.response.status_code == 403
            for query in ("?cursor=x", "?curser=1", "?kind=nodes"):
                with pytest.raises(InvalidStatus) as error:
                    async with watching(cluster, query):
                        pass
                assert error.value.response.status_code == 422

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes_api, "ALIVE_S", 0.05)
        patch.setattr(changes_api, "CHECK_S", 0.05)
        asyncio.run(main())


def test_after_a_break_nothing_is_missed(cluster: Any, make: Any) -> None:
    async def main() -> None:
        rng = Random(3)
        async with cluster.coordinator() as client:
            for number in range(4):
                await cluster.join(client, make.control(f"node-{number}"))
            cursor = (await client.get("/api/changes")).json()["cursor"]
            written: list[str] = []
            seen: dict[str, int] = {}
            for _ in range(8):
                for _ in range(rng.randrange(4)):
                    written.append(f"node-{rng.randrange(4)}")
                    await label(client, written[-1], len(written))
                async with watching(cluster, f"?kind=node&cursor={cursor}") as websocket:
                    assert await told(websocket) == {"type": "begin", "cursor": cursor}
                    for _ in range(rng.randrange(2) if cursor < newest(await client.get("/api/changes")) else 0):
                        message = await told(websocket)
                        cursor = message["cursor"]
                        seen |= {change["subject"]: change["number"] for change in message["changes"]}
            page = (await client.get(f"/api/changes?kind=node&cursor={cursor}")).json()
            seen |= {change["subject"]: change["number"] for change in page["changes"]}
            last = {node: number for number, node in enumerate(written)}
            assert sorted(seen, key=lambda node: seen[node]) == sorted(last, key=lambda node: last[node])

    asyncio.run(main())


def newest(reply: httpx.Response) -> int:
    return int(reply.json()["cursor"])


def test_who_is_too_far_behind_is_told_to_read_again(cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_writing, "CHANGES_MAX", 5)

    async def main() -> None:
        async with cluster.coordinator() as client:
            await cluster.join(client, make.control("node-a"))
            for number in range(9):
                await label(client, "node-a", number)
            now = newest(await client.get("/api/changes"))
            for cursor in (0, now + 50):
                async with watching(cluster, f"?kind=node&cursor={cursor}") as websocket:
                    assert await told(websocket) == {"type": "begin", "cursor": cursor}
                    await label(client, "node-a", 100 + cursor)
                    message = await told(websocket)
                    assert message["type"] == "reset" and message["cursor"] >= now
                    await label(client, "node-a", 200 + cursor)
                    while (message := await told(websocket))["type"] == "alive":
                        pass
                    assert message["changes"][0]["subject"] == "node-a", "and it goes on"
                reply = await client.get(f"/api/changes?cursor={cursor}")
                assert (reply.status_code, reply.json()["code"]) == (410, "cursor_too_old")
                assert "ask from" in reply.json()["nextStep"]

    asyncio.run(main())


def test_it_says_goodbye_when_it_stops_and_to_who_talks(cluster: Any) -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack, cluster.coordinator():
            websocket = await stack.enter_async_context(watching(cluster))
            talker = await stack.enter_async_context(watching(cluster))
            assert (await told(websocket))["type"] == (await told(talker))["type"] == "begin"
            await talker.send("hello")
            with pytest.raises(ConnectionClosed) as closed:
                await told(talker)
            assert closed.value.rcvd is not None and closed.value.rcvd.reason.startswith("protocol: ")
            cluster.stop.set()
            with pytest.raises(ConnectionClosed) as closed:
                await told(websocket)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4000
            assert closed.value.rcvd.reason == "stopping: the coordinator stops"

    asyncio.run(main())


def test_one_who_takes_nothing_is_cut_off_and_the_others_are_told(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_api, "SEND_S", 0.5)
    monkeypatch.setattr(changes_api, "GOODBYE_S", 0.1)
    monkeypatch.setattr(changes_api, "GATHER_S", 0.0)
    hubs: list[Hub] = []
    started = Hub.started.__func__  # type: ignore[attr-defined]

    async def noted(cls: Any, *args: Any, **more: Any) -> Hub:
        hubs.append(await started(cls, *args, **more))
        return hubs[-1]

    monkeypatch.setattr(Hub, "started", classmethod(noted))

    async def main() -> None:
        async with cluster.coordinator() as client, watching(cluster) as quick:
            (hub,) = hubs
            await cluster.join(client, make.control("node-a"))
            host, port = cluster.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(
                f"GET /api/changes HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
                f"Authorization: Bearer {cluster.token}\r\n\r\n".encode()
            )
            assert b"101" in await reader.readline()
            cast(asyncio.Transport, writer.transport).pause_reading()
            await make.until(lambda: holds(lambda: hub.feed._watchers.total() == 2), "both watch")

            def storm(writing: Writing) -> None:
                for number in range(400):
                    writing.add_change(1, ChangeKind.NODE, f"{number:0120}")

            seen = 0
            for _ in range(400):
                await hub.store.write(storm)
                while seen < 400:
                    seen += len((await told(quick)).get("changes", ()))
                seen -= 400
                if hub.feed._watchers.total() == 1:
                    break
            assert hub.feed._watchers.total() == 1, "the other one is gone"
            assert len(hub.feed._recent) <= feed.RECENT_MAX
            writer.transport.abort()

    asyncio.run(main())


async def holds(condition: Any) -> bool:
    return bool(condition())


def test_whatever_is_listed_is_told_of_to_those_who_may_read_it(api: Any, make: Any) -> None:
    """Each verb that changes a list, and who hears of it: a token for some nodes, one that reads, and an admin."""
    policy = '[[demand]]\nname = "x"\nnodes = ["*"]\nobserve = "1s"\n'
    whose = Whose({"site": "lyon"})
    create = api.hub.tokens.create
    api.tokens["lyon"] = api.run(lambda: create("lyon", Role.DEPLOY, api.clock(), "test", 0, whose)).secret

    def told_of(do: Any) -> dict[str, set[tuple[str, str]]]:
        cursor = api.ask("GET", "/api/changes").json()["cursor"]
        api.done = do()
        assert not hasattr(api.done, "is_success") or api.done.is_success, api.done.text
        shown = {who: api.ask("GET", f"/api/changes?cursor={cursor}", who).json()["changes"] for who in api.tokens}
        return {who: {(one["kind"], one["subject"]) for one in found} for who, found in shown.items()}

    for do, kinds in (
        (lambda: api.upload(make.program("pump")), {"program", "rule"}),
        (lambda: api.run(lambda: trust(api)), {"key"}),
        (lambda: api.ask("DELETE", f"/api/keys/{'cd' * 32}"), {"key"}),
        (lambda: api.ask("POST", "/api/policy", json={"text": policy}), {"policy"}),
        (lambda: api.ask("POST", "/api/tokens", json={"name": "spare", "role": "read"}), set()),
        (lambda: api.ask("DELETE", f"/api/tokens/{api.done.json()['id']}"), set()),
    ):
        heard = told_of(do)
        admins = {kind for kind, _ in heard["admin"]} - {"log"}
        assert {kind for kind, _ in heard["lyon"]} == kinds, heard
        assert {kind for kind, _ in heard["read"]} - {"log"} == kinds and "log" in {kind for kind, _ in heard["read"]}
        assert admins == kinds or (not kinds and admins == {"token"}), heard


async def trust(api: Any) -> None:
    await api.hub.programs.trust(b"\xcd" * 32, "one more", api.clock(), "test")


def test_who_hears_of_a_kind_is_who_reads_its_list() -> None:
    """A new kind needs a path, and a path its role."""
    roles = {endpoint.path: endpoint.role for endpoint in ENDPOINTS if endpoint.method == "GET"}
    assert set(changes_api.LISTED) == set(ChangeKind)
    for path in changes_api.LISTED.values():
        assert roles[path] is (Role.ADMIN if path in changes_api.ADMINS else Role.READ)


def test_no_more_watch_than_there_are_places(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "WATCHERS_PER_CALLER_MAX", 2)

    async def main() -> None:
        async with cluster.coordinator() as client:
            other = (await client.post("/api/tokens", json={"name": "eye", "role": "read"})).json()["token"]
            async with watching(cluster) as one, watching(cluster) as two:
                assert (await told(one))["type"] == (await told(two))["type"] == "begin"
                with pytest.raises(InvalidStatus) as error:
                    async with watching(cluster):
                        pass
                assert error.value.response.status_code == 429
                async with watching(cluster, token=other) as three:
                    assert (await told(three))["type"] == "begin", "others have places of their own"

            async def free() -> bool:
                with contextlib.suppress(InvalidStatus):
                    async with watching(cluster) as again:
                        return (await told(again))["type"] == "begin"
                return False

            async with asyncio.timeout(60):
                while not await free():
                    pass

    asyncio.run(main())


def test_memory_tells_the_same_as_the_store(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk: what is appended, pumped and asked for in any order; memory holds less than the store."""
    monkeypatch.setattr(feed, "RECENT_MAX", 20)
    monkeypatch.setattr(feed, "READ_MAX", 7)
    monkeypatch.setattr(sql_writing, "CHANGES_MAX", 40)
    store = InlineStore(tmp_path / "store.sqlite")
    rng = Random(4)

    async def append(count: int) -> None:
        def step(writing: Writing) -> None:
            for _ in range(count):
                writing.add_change(1, ChangeKind.NODE, f"n{rng.randrange(9)}")

        await store.write(step)

    async def main() -> None:
        watched = Feed(store)
        await append(3)
        for _ in range(300):
            with watched.watching("a"):
                for _ in range(rng.randrange(6)):
                    await append(rng.choice((0, 1, 5, 30, 60)))
                    if rng.random() < 0.7:
                        await watched.pump()
                        await watched.wait(await watched.newest() - 1, 0)
                    now = await watched.newest()
                    cursor = max(0, now - rng.randrange(50))
                    try:
                        expected = await store.read(lambda reading, at=cursor: reading.changes(at, 7))
                    except CursorTooOldError:
                        continue
                    found = await watched.after(cursor)
                    # What is not pumped yet is not told yet; the next pump wakes who waits.
                    assert found == expected[: len(found)] and (found or not expected or watched._newest != now)
            assert watched._newest is None and not watched._recent, "nobody watches: nothing is held"

    asyncio.run(main())
    store.close()
