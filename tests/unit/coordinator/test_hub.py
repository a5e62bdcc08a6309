"""What waits for the store and what does not: a disk that takes its time stops no health check and no reader."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.app import make_app
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.sqlite_store import SqliteStore
from eyeflow.coordinator.tokens import Role
from eyeflow.rollout.deployment import NodeState


class Held:
    """A step that holds the writer until it is told to end."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def __call__(self, writing: Writing) -> None:
        self.entered.set()
        assert self.go_on.wait(60)


@asynccontextmanager
async def coordinator(path: Path) -> AsyncIterator[tuple[SqliteStore, httpx.AsyncClient]]:
    store = SqliteStore(path)
    hub = await Hub.started(store)
    token = (await hub.tokens.create("test", Role.ADMIN, hub.clock(), "test")).secret
    headers = {"Authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(make_app(hub))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield store, client
    store.close()


def test_health_and_reads_wait_for_no_commit_and_a_change_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with coordinator(tmp_path / "store.sqlite") as (store, client):
            held = Held()
            writing = asyncio.ensure_future(store.write(held))
            assert await asyncio.to_thread(held.entered.wait, 60)
            changing = asyncio.create_task(client.post("/api/nodes/join-tokens", json={}))
            for path in ("/healthz", "/api/status", "/api/nodes", "/api/deployments", "/metrics"):
                assert (await client.get(path)).status_code == 200
            assert not changing.done() and not writing.done(), "the control: a change waits for its commit"
            held.go_on.set()
            await writing
            assert (await changing).status_code == 201

    asyncio.run(scenario())


def test_health_asks_nobody_for_anything(tmp_path: Path, monkeypatch: Any) -> None:
    """Neither a busy reader nor a busy writer: it is what tells a supervisor whether to start the coordinator again."""

    async def scenario() -> None:
        async with coordinator(tmp_path / "store.sqlite") as (store, client):
            with monkeypatch.context() as deaf:
                deaf.setattr(store, "read", None)
                deaf.setattr(store, "write", None)
                assert (await client.get("/healthz")).json() == {"status": "ok"}

    asyncio.run(scenario())


class Link:
    node = "node-a"
    is_away = False

    def offer(self, offer: object) -> None:
        pass

    def close(self, code: str, reason: str) -> None:
        pass


def test_what_a_failing_store_did_not_keep_of_a_link_that_ended_is_kept_later(api: Any, make: Any) -> None:
    """Else a node that is gone would count as silent, and its deployment as failed."""
    api.join("node-a", make.signer)
    api.upload(make.program())
    made = api.ask("POST", "/api/rules/overheat/deploy", json={"all": True}).json()
    link, db = Link(), api.store.file._db

    def state() -> str:
        return str(api.ask("GET", f"/api/deployments/{made['id']}").json()["nodes"][0]["state"])

    api.run(lambda: api.hub.attach(link))
    api.run(lambda: api.hub.deployments.sent("node-a", 10**6, api.clock()))
    assert state() == "sent"
    db.pragma("query_only", True)
    api.run(lambda: api.hub.detach(link))
    assert state() == "sent" and api.hub.trouble
    db.pragma("query_only", False)
    api.tick()
    assert state() == "waiting" and api.hub.trouble == ""


def test_of_two_links_that_ended_soon_after_each_other_the_second_is_kept_later_too(api: Any, monkeypatch: Any) -> None:
    """The first was written, and the disk failed with the second: that one is not taken for written."""
    hub, asked = api.hub, list[tuple[list[str], asyncio.Future[None]]]()

    def lost(nodes: Any, now_us: int, is_lost: object) -> asyncio.Future[None]:
        asked.append((list(nodes), asyncio.get_running_loop().create_future()))
        return asked[-1][1]

    async def scenario() -> None:
        monkeypatch.setattr(hub.deployments, "lost", lost)
        ending = [asyncio.ensure_future(hub._bear(hub._write_lost({"node-a"}))) for _ in range(2)]
        await asyncio.sleep(0)
        (_, first), (_, second) = asked
        first.set_result(None)
        second.set_exception(EyeflowError("the disk failed", code="store"))
        await asyncio.gather(*ending)
        ticking = asyncio.ensure_future(hub.tick())
        while len(asked) < 3 and not ticking.done():
            await asyncio.sleep(0)
        assert [nodes for nodes, _ in asked[2:]] == [["node-a"]], "it is tried again"
        asked[2][1].set_result(None)
        await ticking
        await hub.tick()
        assert len(asked) == 3, "and then no more"

    api.runner.run(scenario())


def test_what_a_failing_store_did_not_let_follow_follows_later(api: Any, make: Any) -> None:
    """A report is stored, and the disk refuses what follows from it: the cursor has not moved."""
    api.join("node-a", make.signer)
    api.upload(make.program())
    made = api.ask("POST", "/api/rules/overheat/deploy", json={"all": True}).json()
    api.run(lambda: api.hub.deployments.sent("node-a", 10**6, api.clock()))
    progress = api.look(lambda reading: reading.progress(made["id"])[0])
    api.do(lambda writing: _installed(writing, made["id"], progress))
    db = api.store.file._db
    db.pragma("query_only", True)
    api.runner.run(api.hub.tick())
    assert api.hub.trouble
    db.pragma("query_only", False)
    api.tick()
    assert api.ask("GET", f"/api/deployments/{made['id']}").json()["state"] == "succeeded"


def _installed(writing: Writing, deployment_id: str, progress: Any) -> None:
    writing.save_progress(deployment_id, progress, replace(progress, state=NodeState.INSTALLED, due_us=0), 1)
