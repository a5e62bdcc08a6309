"""`on http`: a real server, real requests. 202 only after the commit; everything else is a problem+json."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from components.waiting import running, until
from eyeflow.base.errors import EyeflowError
from eyeflow.node.backoff import Backoff
from eyeflow.node.io.http import source as http_module
from eyeflow.node.io.http.settings import HttpServerConfig
from eyeflow.node.io.http.source import HttpSource
from eyeflow.node.io.ports import Deliver, IncomingEvent, Subscription

DOOR = Subscription("http", "/hooks/door")


class Engine:
    def __init__(self, *, commits: bool = True) -> None:
        self.events: list[IncomingEvent] = []
        self.commits = commits

    async def deliver(self, event: IncomingEvent) -> None:
        self.events.append(event)
        if self.commits and event.done is not None:
            event.done()


@contextlib.asynccontextmanager
async def serving(deliver: Deliver, **settings: Any) -> AsyncIterator[tuple[HttpSource, httpx.AsyncClient]]:
    source = HttpSource(HttpServerConfig.from_table({"port": 0, **settings}), clock=lambda: 42)
    source.update([DOOR])
    async with running(source.run(deliver)):
        await until(lambda: source.port != 0)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{source.port}", timeout=30) as client:
            yield source, client


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    return response.status_code, body["detail"]


def test_a_json_object_becomes_an_event() -> None:
    async def scenario() -> None:
        engine = Engine()
        async with serving(engine.deliver) as (source, client):
            response = await client.post("/hooks/door", json={"open": True})
            assert response.status_code == 202
            assert [(e.subscription, e.payload, e.time_us) for e in engine.events] == [(DOOR, {"open": True}, 42)]
            assert source.status.counters == {"accepted": 1, "refused": 0}

    asyncio.run(scenario())


def test_202_waits_for_the_commit() -> None:
    async def scenario() -> None:
        engine = Engine(commits=False)
        async with serving(engine.deliver) as (_source, client):
            request = asyncio.create_task(client.post("/hooks/door", json={}))
            await until(lambda: len(engine.events) == 1)
            assert not request.done()
            done = engine.events[0].done
            assert done is not None
            done()
            assert (await request).status_code == 202

    asyncio.run(scenario())


def test_no_commit_in_time_is_503() -> None:
    async def scenario() -> None:
        engine = Engine(commits=False)
        async with serving(engine.deliver, done_timeout_s=0.1) as (_source, client):
            response = await client.post("/hooks/door", json={})
            assert problem(response)[0] == 503
            assert response.headers["retry-after"]

    asyncio.run(scenario())


def test_an_event_for_which_the_buffer_has_no_room_is_503_and_not_202() -> None:
    async def deliver(event: IncomingEvent) -> None:
        assert event.refused is not None
        event.refused()

    async def scenario() -> None:
        async with serving(deliver) as (source, client):
            answer = await client.post("/hooks/door", json={"n": 1})
            assert (answer.status_code, answer.json()["detail"]) == (503, "the node's buffer is full")
            assert source.status.counters == {"accepted": 0, "refused": 1}

    asyncio.run(scenario())


def test_each_rule_on_a_path_gets_the_event() -> None:
    async def scenario() -> None:
        engine = Engine()
        async with serving(engine.deliver) as (source, client):
            source.update([DOOR, Subscription("http", "/hooks/door", 1), Subscription("http", "/other")])
            assert (await client.post("/hooks/door", json={})).json() == {"accepted": 2}
            source.update([Subscription("http", "/other")])
            assert problem(await client.post("/hooks/door", json={})) == (404, "no rule listens on /hooks/door")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", "not JSON"),
        (b"[1]", "a list"),
        (b"\xff", "not UTF-8"),
        (b"", "not JSON"),
        (b'{"a":1}x', "not JSON"),
    ],
)
def test_a_body_that_is_no_object_is_400_and_counted_as_rejected(body: bytes, reason: str) -> None:
    async def scenario() -> None:
        engine = Engine()
        async with serving(engine.deliver) as (_source, client):
            status, detail = problem(await client.post("/hooks/door", content=body))
            assert status == 400
            assert reason in detail
            assert [event.rejected for event in engine.events] == [detail]

    asyncio.run(scenario())


def test_wrong_paths_methods_and_sizes() -> None:
    async def scenario() -> None:
        engine = Engine()
        async with serving(engine.deliver, body_bytes_max=100) as (_source, client):
            assert problem(await client.post("/nowhere", json={}))[0] == 404
            get = await client.get("/hooks/door")
            assert problem(get)[0] == 405
            assert get.headers["allow"] == "POST"
            assert problem(await client.post("/hooks/door", json={"x": "y" * 100}))[0] == 413

            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(20):
                    yield b" " * 10

            assert problem(await client.post("/hooks/door", content=chunks()))[0] == 413
        assert not engine.events

    asyncio.run(scenario())


def test_a_bearer_token_guards_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_HOOK_TOKEN", "secret")

    async def scenario() -> None:
        engine = Engine()
        async with serving(engine.deliver, token_env="TEST_HOOK_TOKEN") as (_source, client):
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
                response = await client.post("/hooks/door", json={}, headers=headers)
                assert problem(response)[0] == 401
                assert response.headers["www-authenticate"] == "Bearer"
            assert problem(await client.post("/nowhere", json={}))[0] == 401
            good = {"authorization": "Bearer secret"}
            assert (await client.post("/hooks/door", json={}, headers=good)).status_code == 202
        assert len(engine.events) == 1

    asyncio.run(scenario())


def test_more_requests_than_the_bound_are_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "REQUESTS_MAX", 2)

    async def scenario() -> None:
        engine = Engine(commits=False)
        async with serving(engine.deliver) as (_source, client):
            waiting = [asyncio.create_task(client.post("/hooks/door", json={})) for _ in range(2)]
            await until(lambda: len(engine.events) == 2)
            assert problem(await client.post("/hooks/door", json={}))[0] == 503
            for event in engine.events:
                assert event.done is not None
                event.done()
            assert [response.status_code for response in await asyncio.gather(*waiting)] == [202, 202]

    asyncio.run(scenario())


def test_a_port_in_use_is_said_and_tried_again() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            source = HttpSource(HttpServerConfig(port=port))
            with pytest.raises(EyeflowError, match="cannot listen for webhooks") as caught:
                source.bind()
            assert caught.value.code == "port_in_use"
            assert "in use" in caught.value.cause
            source.update([DOOR])
            async with running(source.run(Engine().deliver)):
                await until(lambda: source.status.state == "failed")
                assert f"127.0.0.1:{port}" in source.status.detail
                other.close()
                await until(lambda: source.status.state == "up")

    asyncio.run(scenario())


def test_no_port_is_open_while_no_rule_listens() -> None:
    async def scenario() -> None:
        source = HttpSource(HttpServerConfig(port=0))
        source.update([])
        async with running(source.run(Engine().deliver)):
            await asyncio.sleep(0)
            assert source.port == 0

    asyncio.run(scenario())


def test_a_port_that_could_not_be_bound_is_no_fault_once_its_last_rule_is_gone() -> None:
    async def scenario() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            source = HttpSource(HttpServerConfig(port=other.getsockname()[1]), backoff=Backoff(first_s=0.0, last_s=0.0))
            source.update([DOOR])
            async with running(source.run(Engine().deliver)):
                await until(lambda: source.status.state == "failed")
                source.update([])
                assert (source.status.state, source.status.detail) == ("up", http_module.IDLE)
                for _ in range(50):  # attempts, were there any
                    await asyncio.sleep(0)
                assert (source.status.state, source.status.detail) == ("up", http_module.IDLE)
                source.update([DOOR])
                await until(lambda: source.status.state == "failed")  # the control: it matters again
                other.close()
                await until(lambda: source.status.state == "up" and source.port != 0)

    asyncio.run(scenario())


def test_a_sender_that_does_not_go_on_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "BODY_S", 0.05)

    async def scenario() -> None:
        async with serving(Engine().deliver) as (source, client):
            reader, writer = await asyncio.open_connection("127.0.0.1", source.port)
            writer.write(b"POST /hooks/door HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            assert b" 408 " in await reader.readline()
            writer.close()
            assert (await client.post("/hooks/door", content=b"{}")).status_code == 202

    asyncio.run(scenario())


def test_a_stop_answers_the_requests_that_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_module, "SHUTDOWN_TIMEOUT_S", 0.05)

    async def scenario() -> httpx.Response:
        engine = Engine(commits=False)
        source = HttpSource(HttpServerConfig.from_table({"port": 0}), clock=lambda: 42)
        source.update([DOOR])
        async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
            serving = group.create_task(source.run(engine.deliver))
            await until(lambda: source.port != 0)
            url = f"http://127.0.0.1:{source.port}/hooks/door"
            asking = group.create_task(client.post(url, content=b"{}"))
            await until(lambda: len(engine.events) == 1)
            serving.cancel()
            return await asking

    assert problem(asyncio.run(scenario())) == (503, "the node is stopping")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/hooks/door", 202),
        ("/hooks/door?x=1", 202),
        ("/hooks/%64oor", 202),
        ("/hooks%2Fdoor", 404),
        ("/hooks/door/", 404),
        ("//hooks/door", 404),
        ("/hooks/DOOR", 404),
        ("/hooks/door%20", 404),
    ],
)
def test_a_request_has_one_path(path: str, status: int) -> None:
    async def scenario() -> None:
        async with serving(Engine().deliver) as (source, _client):
            reader, writer = await asyncio.open_connection("127.0.0.1", source.port)
            writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            assert (await reader.readline()).split()[1] == str(status).encode()
            writer.close()

    asyncio.run(scenario())
