"""News of a deployment: a hint to look that comes at once, and nothing is lost without it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection as SyncConnection
from websockets.sync.server import serve as serve_in_thread

from components.waiting import HANG_S
from eyeflow.client.news import AGAIN_S, News
from eyeflow.client.rest import CoordinatorClient

Told = Callable[[ServerConnection], Awaitable[None]]


class Served:
    """A server on the event loop of the client: it runs while the client waits."""

    def __init__(self, told: Told, refuses: HTTPStatus | None = None) -> None:
        self.runner = asyncio.Runner()
        self.asked: list[Request] = []

        def refuse(websocket: ServerConnection, request: Request) -> Response | None:
            self.asked.append(request)
            return websocket.respond(refuses, "no") if refuses is not None else None

        self.server = self.runner.run(self._started(told, refuse))
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        self.now_s = 0.0
        self.news = News(
            self.url, {"Authorization": "Bearer t"}, True, {"subject": ["d-1"]}, self.runner.run, lambda: self.now_s
        )

    async def _started(self, told: Told, refuse: Any) -> Any:
        return await serve(told, "127.0.0.1", 0, process_request=refuse)

    def close(self) -> None:
        self.news.close()

        async def end() -> None:
            self.server.close()
            await self.server.wait_closed()

        self.runner.run(end())
        self.runner.close()


async def tells_one(websocket: ServerConnection) -> None:
    await websocket.send(json.dumps({"type": "begin", "cursor": 1}))
    await websocket.wait_closed()


async def hangs_up(websocket: ServerConnection) -> None:
    return None


def test_it_returns_at_once_with_news_and_else_after_its_time() -> None:
    served = Served(tells_one)
    began_s = time.monotonic()
    assert served.news.wait(600)
    assert served.news.wait(0.01), "nothing came, but the connection stands: no other pause is needed"
    assert time.monotonic() - began_s < 300
    request = served.asked[0]
    assert request.path == "/api/changes?subject=d-1" and request.headers["Authorization"] == "Bearer t"
    assert len(served.asked) == 1
    served.close()


def test_what_has_come_meanwhile_is_one_piece_of_news() -> None:
    """One who rests between looks would else look once for each message, and be late for ever."""
    have_come = asyncio.Event()

    async def tells_many(websocket: ServerConnection) -> None:
        for number in range(9):
            await websocket.send(json.dumps({"type": "changes", "cursor": number}))
        await (await websocket.ping())  # whoever answers has what was sent before
        have_come.set()
        await websocket.wait_closed()

    served = Served(tells_many)
    assert served.news.trouble and served.news.wait(600) and served.news.trouble == ""
    served.runner.run(asyncio.wait_for(have_come.wait(), HANG_S))
    served.news.wait(0.01)
    websocket = served.news._websocket
    assert websocket is not None and not websocket.recv_messages.frames.queue
    served.close()


def test_a_broken_connection_is_tried_again_after_a_while() -> None:
    served = Served(hangs_up)
    assert not served.news.wait(600), "the caller pauses by itself"
    assert served.news.trouble == "the connection for news is broken"
    assert not served.news.wait(600) and len(served.asked) == 1
    served.now_s = AGAIN_S
    assert not served.news.wait(600) and len(served.asked) == 2
    served.close()


@pytest.mark.parametrize("status", [HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS])
def test_a_coordinator_that_tells_no_news_is_not_asked_again(status: HTTPStatus) -> None:
    served = Served(tells_one, status)
    for _ in range(3):
        served.now_s += 2 * AGAIN_S
        assert not served.news.wait(600)
    assert len(served.asked) == 1 and served.news.trouble == "the coordinator tells this token no news"
    served.close()


def test_nobody_there_is_no_error() -> None:
    served = Served(tells_one)
    url = served.url
    served.close()
    runner = asyncio.Runner()
    news = News(url, {}, True, {"subject": ["d-1"]}, runner.run)
    assert not news.wait(600)
    news.close()
    runner.close()


def test_a_loop_over_news_may_end_after_its_client() -> None:
    """A command whose reader leaves ends so: Python closes its loop when nobody has it any more."""
    closed = threading.Event()

    def tells(websocket: SyncConnection) -> None:
        websocket.send(json.dumps({"type": "begin", "cursor": 1}))
        with suppress(ConnectionClosed):
            websocket.recv()
        closed.set()

    with serve_in_thread(tells, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with CoordinatorClient(f"http://127.0.0.1:{server.socket.getsockname()[1]}", "t") as client:
            given = client.news(subject=["d-1"])
            news = given.__enter__()
            assert news is not None and news.wait(HANG_S)
        assert closed.wait(HANG_S), "the client closes what it gave"
        given.__exit__(None, None, None)
        server.shutdown()
        thread.join()
