"""Several coordinators in one process, on one PostgreSQL database, and nodes that know the addresses of all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from eyeflow.coordinator.cluster_key import KEY_FILE
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.serve import ServeOptions, Started, serve
from eyeflow.coordinator.store.postgres_store import PostgresStore
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import Membership, join_cluster


@dataclass
class Member:
    """One coordinator that runs. `store` is where it keeps, `stop` ends it."""

    url: str
    client: httpx.AsyncClient
    store: PostgresStore
    hub: Hub


class Several:
    """Coordinators that share a database and a key, and nodes that know the addresses of all."""

    def __init__(self, directory: Path, database: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.database, self.make = directory, database, make
        self.token = ""
        self.hubs: list[Hub] = []
        self.tasks: list[asyncio.Task[None]] = []
        started = Hub.started.__func__  # type: ignore[attr-defined]

        async def noted(cls: Any, *args: Any, **more: Any) -> Hub:
            self.hubs.append(await started(cls, *args, **more))
            return self.hubs[-1]

        monkeypatch.setattr(Hub, "started", classmethod(noted))

    @contextlib.asynccontextmanager
    async def coordinator(self, name: str) -> AsyncIterator[Member]:
        ready: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        stop, directory = asyncio.Event(), self.directory / name
        first = next(self.directory.glob(f"*/{KEY_FILE}"), None)
        if first is not None and not (directory / KEY_FILE).exists():
            directory.mkdir(mode=0o700, exist_ok=True)
            (directory / KEY_FILE).touch(mode=0o600)
            (directory / KEY_FILE).write_bytes(first.read_bytes())
        trusted = (("test", self.make.signer.public_key),)
        options = ServeOptions(directory, port=0, trusted=trusted, store=self.database)
        serving = asyncio.create_task(serve(options, ready.set_result, stop))
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        started = ready.result()
        self.token = self.token or started.token_path.read_text().strip()
        headers = {"Authorization": f"Bearer {self.token}"}
        hub = self.hubs[-1]
        try:
            async with httpx.AsyncClient(base_url=started.url, headers=headers, trust_env=False) as client:
                assert isinstance(hub.store, PostgresStore)
                yield Member(started.url, client, hub.store, hub)
        finally:
            stop.set()
            await serving

    async def join(self, member: Member, control: Any) -> None:
        token = (await member.client.post("/api/nodes/join-tokens", json={})).json()["token"]
        joined = await asyncio.to_thread(
            join_cluster, member.url, token, control.name, control.sign, control.key.public_key
        )
        Membership(self.directory / control.name).join(joined)

    def dial(self, control: Any, *others: Member) -> CoordinatorLink:
        membership = Membership(self.directory / control.name)
        backoff = Backoff(first_s=0.02, last_s=0.05)
        link = CoordinatorLink(control, membership, None, backoff, 0.2, others=[one.url for one in others])
        self.tasks.append(asyncio.create_task(link.run()))
        return link

    async def hang_up(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def run(several: Several, scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await scenario()
        finally:
            await several.hang_up()

    asyncio.run(whole())


async def connected(make: Any, member: Member, *names: str) -> None:
    async def all_are() -> bool:
        nodes = (await member.client.get("/api/nodes")).json()["nodes"]
        return {one["name"] for one in nodes if one["connected"]} == set(names)

    await make.until(all_are, f"{names} connected as {member.url} sees it")


async def deployed(make: Any, member: Member, sequence: int, **more: Any) -> str:
    data = make.program(version=f"{sequence}.0.0", sequence=sequence)
    headers = {"content-type": "application/octet-stream"}
    uploaded = await member.client.post("/api/programs", content=data, headers=headers)
    assert uploaded.status_code == 201, uploaded.text
    body = {"programId": uploaded.json()["id"], "strategy": "immediate", "all": True, **more}
    reply = await member.client.post("/api/rules/overheat/deploy", json=body)
    assert reply.status_code == 202, reply.text
    return str(reply.headers["location"])
