"""The edges of the server, on real sockets: heads that never end, answers nobody reads, garbage, Nagle's algorithm."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from components.certificates import TestAuthority
from components.waiting import HANG_S, until
from eyeflow.net import listener as listener_module
from eyeflow.net import server as server_module
from eyeflow.net.listener import tcp_socket
from eyeflow.net.places import Limits
from eyeflow.net.server import Server, link_config

HUGE_BYTES = 8 * 1024 * 1024
SHORT = Limits(connections_max=8, per_address_max=8, head_s=0.2, write_s=1.0, tls_s=0.2)
LONG = Limits(connections_max=8, per_address_max=8, head_s=600.0)
UPGRADE = (
    b"GET /link HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def small(request: Request) -> Response:
    return PlainTextResponse("ok")


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def huge(request: Request) -> Response:
    return PlainTextResponse(b"x" * HUGE_BYTES)


async def refused(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("no", 401))


async def link(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(Exception):
        while True:
            await websocket.receive_bytes()


ROUTES = [
    Route("/", small),
    Route("/echo", echo, methods=["POST"]),
    Route("/huge", huge),
    WebSocketRoute("/link", link),
    WebSocketRoute("/refused", refused),
]


@contextlib.asynccontextmanager
async def serving(limits: Limits, listener: socket.socket | None = None, **more: Any) -> AsyncIterator[Server]:
    config = link_config(Starlette(routes=ROUTES), 1024, 600.0, lifespan="off", timeout_graceful_shutdown=1, **more)
    server = Server(config, "test", limits)
    with listener or tcp_socket("127.0.0.1", 0) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        server.config.port = listening.getsockname()[1]
        try:
            yield server
        finally:
            server.should_exit = True
            await task


async def dial(server: Server, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.config.port)
    writer.write(data)
    return reader, writer


def count(server: Server) -> int:
    assert server.listener is not None
    return server.listener.places.count


def waiting(server: Server) -> int:
    assert server.listener is not None
    return sum(len(places) for places in server.listener.places._waiting.values())


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came until the server closed the connection."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            got += chunk
    return got


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTT",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: ",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n",
    ],
)
def test_whoever_does_not_end_a_head_is_closed(begun: bytes) -> None:
    async def scenario() -> None:
        async with serving(SHORT) as server:
            reader, writer = await dial(server, begun)

            loop = asyncio.get_running_loop()

            def trickle() -> None:
                nonlocal again
                if not writer.is_closing():
                    writer.write(b"x")
                again = loop.call_later(0.05, trickle)

            again = loop.call_soon(trickle)
            async with asyncio.timeout(30):
                got = await ended(reader)
            again.cancel()
            writer.close()
            assert got.count(b"200 OK") == (1 if b"\r\n\r\n" in begun else 0)
            await until(lambda: count(server) == 0)

    asyncio.run(scenario())


def test_a_whole_head_in_time_is_served_again_and_again() -> None:
    async def scenario() -> None:
        async with serving(Limits(8, 8, head_s=60)) as server:
            reader, writer = await dial(server)
            for _ in range(3):
                writer.write(b"GET / HTTP/1.1\r\n")
                await asyncio.sleep(0)
                writer.write(b"Host: x\r\n\r\n")
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\nok")
            writer.close()
            await until(lambda: count(server) == 0)

    asyncio.run(scenario())


def test_an_answer_that_nobody_reads_does_not_hold_its_place() -> None:
    async def scenario() -> None:
        async with serving(SHORT) as server:
            with socket.socket() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.connect(("127.0.0.1", server.config.port))
                peer.send(b"GET /huge HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                await until(lambda: count(server) == 1)
                await until(lambda: count(server) == 0)

    asyncio.run(scenario())


def test_a_full_server_serves_whoever_asks_and_counts_each_place_once() -> None:
    limits = Limits(connections_max=8, per_address_max=1000, head_s=600.0)

    async def scenario() -> None:
        async with serving(limits) as server:
            silent = [await dial(server) for _ in range(limits.connections_max)]
            await until(lambda: count(server) == limits.connections_max)
            for _ in range(3 * limits.connections_max):
                reader, writer = await dial(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                async with asyncio.timeout(30):
                    assert b"200 OK" in await reader.readuntil(b"\r\n\r\nok")
                silent.append((reader, writer))
            assert count(server) <= limits.connections_max + 1
            for _, writer in silent:
                writer.close()
            await until(lambda: count(server) == 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("asks", [True, False], ids=["asks", "silent"])
def test_a_connection_whose_next_request_is_not_read_yet_does_not_give_way(asks: bool) -> None:
    """The loop accepts before it reads what came in the same moment: the client would hear that nobody is there."""
    asked = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    async def scenario() -> None:
        async with serving(Limits(2, 2, head_s=600)) as server:
            kept, kept_writer = await dial(server, asked)
            assert b"200 OK" in await kept.readuntil(b"\r\n\r\nok")
            silent, silent_writer = await dial(server)
            await until(lambda: waiting(server) == 2)
            if asks:
                kept_writer.write(asked)  # asyncio sends at once what fits
            with socket.create_connection(("127.0.0.1", server.config.port)) as newcomer:
                assert server.listener is not None
                server.listener._accept_some()
                async with asyncio.timeout(HANG_S):
                    closed = await ended(silent if asks else kept)
                    assert closed == b""
                    newcomer.setblocking(False)
                    await asyncio.get_running_loop().sock_sendall(newcomer, asked)
                    assert b"200 OK" in await asyncio.get_running_loop().sock_recv(newcomer, 4096)
                    if asks:
                        assert b"200 OK" in await kept.readuntil(b"\r\n\r\nok")
            kept_writer.close()
            silent_writer.close()
            await until(lambda: count(server) == 0)

    asyncio.run(scenario())


def test_one_address_gives_way_to_itself_and_a_link_is_left_alone() -> None:
    async def scenario() -> None:
        async with serving(Limits(100, 2, head_s=600)) as server:
            links = [await dial(server, UPGRADE) for _ in range(3)]
            for reader, _ in links:
                assert b"101 Switching" in await reader.readuntil(b"\r\n\r\n")
            one, two = [await dial(server) for _ in range(2)]
            await until(lambda: waiting(server) == 2)
            three = await dial(server)
            async with asyncio.timeout(30):
                assert await ended(one[0]) == b""
            assert count(server) == 5
            for reader, writer in (two, three):
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\nok")
            for _, writer in (*links, one, two, three):
                writer.close()
            await until(lambda: count(server) == 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("tls_s", [0.2, 600.0], ids=["by time", "by others"])
def test_a_tls_handshake_that_does_not_come_holds_no_place(tmp_path: Path, tls_s: float) -> None:
    authority = TestAuthority(tmp_path)
    certificate, key = authority.issue("server")
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    limits = Limits(connections_max=4, per_address_max=4, head_s=600.0, tls_s=tls_s)

    async def ask(server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.config.port, ssl=trusting)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await ended(reader)
        writer.close()

    async def scenario() -> None:
        async with serving(limits, ssl_certfile=str(certificate), ssl_keyfile=str(key)) as server:
            silent = [await dial(server) for _ in range(limits.connections_max)]
            async with asyncio.timeout(HANG_S):
                for _ in range(3):
                    await ask(server)
                if tls_s < 1:
                    assert await ended(silent[-1][0]) == b""
            for _, writer in silent:
                writer.close()
            await until(lambda: count(server) == 0)

    asyncio.run(scenario())


def test_nagle_is_off_on_accepted_sockets_and_round_trips_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control builds the listening socket as it was built before: 40 ms for each request that comes in two pieces."""

    async def round_trips(server: Server) -> float:
        reader, writer = await dial(server)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop, started = asyncio.get_running_loop(), 0.0
        for number in range(24):
            if number == 4:  # the kernel acknowledges at once in the beginning
                started = loop.time()
            writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            await reader.readuntil(b"\r\n\r\nhi")
        writer.close()
        return 20 / (loop.time() - started)

    async def scenario(listening: socket.socket) -> float:
        async with serving(LONG, listening) as server:
            return await round_trips(server)

    rate = asyncio.run(scenario(tcp_socket("127.0.0.1", 0)))
    real = socket.socket.setsockopt

    def forgets(self: socket.socket, level: int, option: int, value: int) -> None:
        if (level, option) != (socket.IPPROTO_TCP, socket.TCP_NODELAY):
            real(self, level, option, value)

    monkeypatch.setattr(listener_module._Held, "setsockopt", forgets)
    bare = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bare.bind(("127.0.0.1", 0))
    without = asyncio.run(scenario(bare))
    assert rate > 3 * without, f"{rate:.0f} round trips a second, {without:.0f} without"


def test_each_accepted_socket_has_its_options() -> None:
    async def scenario() -> None:
        async with serving(LONG) as server:
            _, writer = await dial(server)
            await until(lambda: len(server.server_state.connections) == 1)
            accepted = next(iter(server.server_state.connections)).transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == LONG.write_s * 1000
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("files", "places", "told"), [(12, 6, True), (200, 8, False)])
def test_too_few_files_for_the_connections_are_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, files: int, places: int, told: bool
) -> None:
    """A cluster that grows must not learn from nodes that are left out how much the system lets a process open."""

    async def scenario() -> int:
        async with serving(SHORT) as server:
            assert server.listener is not None
            return server.listener.places.limits.connections_max

    monkeypatch.setattr("eyeflow.net.listener.resource.getrlimit", lambda which: (files, files))
    assert asyncio.run(scenario()) == places
    assert told == any("LimitNOFILE" in record.getMessage() for record in caplog.records)


def test_garbage_is_logged_with_its_peer_and_within_a_budget(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(LONG) as server:
            for _ in range(5 * server_module.LINES_MAX):
                reader, writer = await dial(server, b"\x00\x01\x02\r\n\r\n")
                assert b"400" in await ended(reader)
                writer.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records]
    assert 1 <= len(lines) <= server_module.LINES_MAX
    assert all(line.startswith("127.0.0.1:") and "Invalid HTTP request" in line for line in lines)


def test_a_refused_link_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(LONG) as server:
            reader, writer = await dial(server, UPGRADE.replace(b"/link", b"/refused"))
            assert b" 401 " in await ended(reader)
            writer.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert not [record.getMessage() for record in caplog.records if record.name != "asyncio"]
