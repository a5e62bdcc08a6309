"""Answers without end, compressed ones and ones that trickle, from a real server to every client that we have."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from components.waiting import HANG_S
from eyeflow.base.errors import EyeflowError
from eyeflow.client import transport as client_module
from eyeflow.client.rest import CoordinatorClient
from eyeflow.net.bodies import aread_body
from eyeflow.node.cluster import membership
from eyeflow.node.cluster.link import _ask_challenge
from eyeflow.node.cluster.membership import join_cluster
from eyeflow.node.io.llm.driver import LlmDriver
from eyeflow.node.io.llm.settings import LlmConfig
from eyeflow.protocol.identity import Identity
from eyeflow.svm.execution import CapabilityFailure

MIB = 1024 * 1024
SENT_BYTES_MAX = 128 * MIB
"""The server gives up then: a client that reads as much reads anything."""
BUFFERS_BYTES_MAX = 16 * MIB
"""What the system's socket buffers may hold beyond what a client has read."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
Script = Callable[[socket.socket], int]


def endless(peer: socket.socket) -> int:
    peer.sendall(HEAD + b"\r\n")
    sent = 0
    while sent < SENT_BYTES_MAX:
        sent += peer.send(b" " * 65536)
    return sent


def bomb(peer: socket.socket) -> int:
    body = gzip.compress(b" " * (64 * MIB))
    peer.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return len(body)


def announced(peer: socket.socket) -> int:
    peer.sendall(HEAD + b"Content-Length: 99999999999999999999\r\n\r\n ")
    return 1


def trickle(peer: socket.socket) -> int:
    peer.sendall(HEAD)
    peer.settimeout(0.02)
    sent = 0
    while True:
        sent += peer.send(b"A")
        with contextlib.suppress(TimeoutError):
            if not peer.recv(65536):
                return sent


class Peer:
    """Answers every request by the script; `sent` is how much the client of the last one let it send."""

    def __init__(self, script: Script) -> None:
        self._script, self.sent = script, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._listener:
            while True:
                peer, _ = self._listener.accept()
                with peer:
                    peer.settimeout(HANG_S)
                    asked = peer.recv(65536)
                    if not asked:
                        return
                    try:
                        self.sent = self._script(peer)
                    except OSError:
                        self.sent = -1  # it hung up

    def stop(self) -> None:
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()


@contextlib.contextmanager
def answering(script: Script) -> Iterator[Peer]:
    peer = Peer(script)
    try:
        yield peer
    finally:
        peer.stop()


def join(url: str) -> None:
    node = Identity.generate()
    join_cluster(url, f"efj_{'0' * 12}_{'0' * 64}_{'0' * 16}", "node-a", node.sign, node.public_key)


def dial(url: str) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(1), httpx.AsyncClient(base_url=url, trust_env=False) as client:
            await _ask_challenge(client)

    asyncio.run(scenario())


def ask(url: str) -> None:
    with CoordinatorClient(url, "eft") as client:
        client.status()


def complete(url: str) -> None:
    driver = LlmDriver(LlmConfig.from_table({"endpoint": url, "model": "m", "timeout_s": 1.0}))
    driver.read("llm.complete", {"prompt": "x", "max": 10}, 0)


CLIENTS = [join, dial, ask, complete]
REFUSED = (EyeflowError, CapabilityFailure, httpx.HTTPError, TimeoutError)


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "JOIN_S", 1.0)
    monkeypatch.setattr(client_module, "ANSWER_BYTES_MAX", MIB)
    monkeypatch.setattr(client_module, "EXCHANGE_S", 1.0)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("script", [endless, bomb, announced])
def test_an_answer_is_bounded_before_it_is_read(client: Callable[[str], None], script: Script) -> None:
    with answering(script) as peer, pytest.raises(REFUSED):
        client(peer.url)
    assert peer.sent < BUFFERS_BYTES_MAX


def test_control_a_client_that_reads_at_once_reads_all_of_it() -> None:
    with answering(endless) as peer:
        assert len(httpx.get(peer.url, trust_env=False, timeout=HANG_S).content) >= SENT_BYTES_MAX
    with answering(bomb) as peer:
        assert len(httpx.get(peer.url, trust_env=False, timeout=HANG_S).content) == 64 * MIB


@pytest.mark.parametrize("client", CLIENTS)
def test_a_head_that_trickles_takes_no_longer_than_the_whole_may(client: Callable[[str], None]) -> None:
    """httpx limits each wait only: without a limit of the whole this test would hang until its own deadline."""
    with answering(trickle) as peer, pytest.raises(REFUSED):
        client(peer.url)


def test_a_body_that_trickles_ends_too() -> None:
    def slow(peer: socket.socket) -> int:
        peer.sendall(HEAD + b"\r\n")
        return trickle(peer)

    with answering(slow) as peer, pytest.raises(EyeflowError, match="cannot reach"):
        ask(peer.url)


def test_what_fits_is_read_whole() -> None:
    async def read(size_bytes: int) -> bytes:
        response = httpx.Response(200, stream=httpx.ByteStream(b"x" * size_bytes))
        return await aread_body(response, 100_000)

    for size_bytes in (0, 1, 100_000):
        assert asyncio.run(read(size_bytes)) == b"x" * size_bytes
    with pytest.raises(httpx.RemoteProtocolError, match="more than 100000 bytes"):
        asyncio.run(read(100_001))
