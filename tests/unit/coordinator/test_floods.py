"""A real coordinator with few descriptors under floods; the controls lack one guard each and must fail."""

from __future__ import annotations

import base64
import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from components.flood import asking, flood
from components.waiting import HANG_S, wait_until
from eyeflow.client.profile import ClientProfile
from eyeflow.client.rest import CoordinatorClient
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import join_bytes, link_bytes

PROCESS = Path(__file__).with_name("coordinator_process.py")
DESCRIPTORS = 256
NODES = 16
LOG_LINES_MAX = 20
HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "
ASKS = 20
CHALLENGES = b"GET /api/link/challenge HTTP/1.1\r\nHost: x\r\n\r\n" * ASKS


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


@contextlib.contextmanager
def coordinator(directory: Path, *options: str) -> Iterator[str]:
    command = [sys.executable, str(PROCESS), str(directory), *options]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, preexec_fn=few_descriptors)
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
            process.terminate()
            assert process.wait(HANG_S) == 0
        finally:
            process.kill()


def port_of(url: str) -> int:
    return int(urlsplit(url).port or 0)


class Node:
    """What of a node this test needs: its key, a challenge, a link."""

    def __init__(self, url: str, name: str, token: str) -> None:
        self.url, self.name, self.key = url, name, Identity.generate()
        self.coordinator_id, self.nonce = self._ask_challenge()
        proof = self.key.sign(join_bytes(self.coordinator_id, name, self.key.public_key)).hex()
        body = {"token": token, "node": name, "publicKey": self.key.public_key.hex(), "signature": proof}
        with httpx.Client(base_url=url, trust_env=False, timeout=HANG_S) as client:
            assert client.post("/api/nodes/join", json=body).status_code == 201

    def _ask_challenge(self) -> tuple[str, bytes]:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=HANG_S) as client:
            challenge = client.get("/api/link/challenge").json()
        return challenge["coordinatorId"], bytes.fromhex(challenge["nonce"])

    def challenge(self) -> None:
        self.nonce = self._ask_challenge()[1]

    def links(self, opened: contextlib.ExitStack) -> bool:
        """Say whether the node's link opens; it is kept until `opened` ends."""
        signature = base64.b64encode(self.key.sign(link_bytes(self.coordinator_id, self.name, self.nonce))).decode()
        header = f'EyeflowLink node="{self.name}", nonce="{self.nonce.hex()}", signature="{signature}"'
        try:
            address = self.url.replace("http", "ws") + "/api/link"
            opened.enter_context(
                connect(
                    address,
                    additional_headers={"Authorization": header},
                    proxy=None,
                    open_timeout=HANG_S,
                    ping_interval=None,
                )
            )
        except InvalidStatus:
            return False
        return True


def nodes_of(url: str, directory: Path) -> list[Node]:
    with CoordinatorClient(url, ClientProfile.load(directory / "client.toml", {}).token) as client:
        tokens = [client.create_join_token()["token"] for _ in range(NODES)]
    return [Node(url, f"node-{number}", token) for number, token in enumerate(tokens)]


def ask_for_challenges(port: int, connections: int) -> None:
    """Strangers ask, `ASKS` times on each connection, and read every answer; all connections stay open."""
    with contextlib.ExitStack() as opened:
        for _ in range(connections):
            one = opened.enter_context(socket.create_connection(("127.0.0.1", port), HANG_S))
            one.sendall(CHALLENGES)
            answers = b""
            while answers.count(b'"nonce"') < ASKS:
                chunk = one.recv(65536)
                assert chunk, "an honest flood is answered"
                answers += chunk


def linked_in_a_flood_of_challenges(directory: Path, *options: str) -> int:
    with coordinator(directory, *options) as url:
        nodes = nodes_of(url, directory)
        for node in nodes:
            node.challenge()
        ask_for_challenges(port_of(url), 100)
        with contextlib.ExitStack() as opened:
            return sum(node.links(opened) for node in nodes)


def test_a_flood_of_challenges_keeps_no_node_out(tmp_path: Path) -> None:
    assert linked_in_a_flood_of_challenges(tmp_path) == NODES


def test_control_challenges_that_are_remembered_are_pushed_out(tmp_path: Path) -> None:
    assert linked_in_a_flood_of_challenges(tmp_path, "remembers") < NODES


def request(method: str, path: str, body: object = None, **headers: str) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    given = {"Host": "x", "Content-Length": str(len(data)), "Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def join_of_a_stranger(coordinator_id: str) -> bytes:
    """All of it is right but the token."""
    key = Identity.generate()
    proof = key.sign(join_bytes(coordinator_id, "stranger", key.public_key)).hex()
    token = f"efj_{'0' * 12}_{'0' * 64}_{coordinator_id[:16]}"
    body = {"token": token, "node": "stranger", "publicKey": key.public_key.hex(), "signature": proof}
    return request("POST", "/api/nodes/join", body)


def proof_of_a_stranger(_: str) -> bytes:
    proof = f'EyeflowLink node="node-0", nonce="{"0" * 64}", signature="{base64.b64encode(bytes(64)).decode()}"'
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    key = base64.b64encode(bytes(16)).decode()
    return request("GET", "/api/link", Authorization=proof, Sec_WebSocket_Key=key, **upgrade)


FALSE = {
    "join tokens": join_of_a_stranger,
    "API tokens": lambda _: request("GET", "/api/status", Authorization=f"Bearer eft_{'0' * 12}_{'0' * 64}"),
    "proofs of links": proof_of_a_stranger,
}


@pytest.mark.parametrize("kind", FALSE)
def test_a_flood_of_false_credentials_crowds_out_nobody(tmp_path: Path, kind: str) -> None:
    with coordinator(tmp_path) as url:
        nodes = nodes_of(url, tmp_path)
        token = ClientProfile.load(tmp_path / "client.toml", {}).token
        attack = FALSE[kind](nodes[0].coordinator_id)
        with asking(port_of(url), 50, attack) as strangers, CoordinatorClient(url, token) as client:
            wait_until(lambda: strangers.answers.get(b"401", 0) > 100, "they are heard, and refused")
            for node in nodes:
                node.challenge()
            with contextlib.ExitStack() as opened:
                assert all(node.links(opened) for node in nodes)
                assert client.create_token("ci", "deploy")["role"] == "deploy"
                assert client.status()["connected"] == NODES
            before = strangers.answers[b"401"]
            wait_until(lambda: strangers.answers[b"401"] > before, "it went on all the time")
        assert strangers.answers.keys() == {b"401"}
    assert (tmp_path / "log").read_text().count("\n") < LOG_LINES_MAX


ASKED = 150


def refused_for_each_answer(directory: Path, *options: str) -> float:
    """Return how many false credentials are answered for each request of one who has a right one."""
    with coordinator(directory, *options) as url:
        token = ClientProfile.load(directory / "client.toml", {}).token
        attack = FALSE["API tokens"]("")
        with asking(port_of(url), 50, attack) as strangers, CoordinatorClient(url, token) as client:
            wait_until(lambda: strangers.answers.get(b"401", 0) > 100, "they are heard, and refused")
            before = strangers.answers[b"401"]
            for _ in range(ASKED):
                client.status()
            return (strangers.answers[b"401"] - before) / ASKED


def test_who_guesses_is_answered_slowly_and_who_has_a_token_is_not(tmp_path: Path) -> None:
    assert refused_for_each_answer(tmp_path) < 3


def test_control_without_pauses_guesses_take_most_of_the_answers(tmp_path: Path) -> None:
    assert refused_for_each_answer(tmp_path, "eager") > 3


@pytest.mark.parametrize("first", [b"", HEAD], ids=["silent", "half a head"])
def test_silent_connections_cost_nodes_and_users_nothing(tmp_path: Path, first: bytes) -> None:
    with coordinator(tmp_path) as url:
        nodes = nodes_of(url, tmp_path)
        profile = ClientProfile.load(tmp_path / "client.toml", {})
        with flood(port_of(url), 450, first) as attack, CoordinatorClient(url, profile.token) as client:
            wait_until(lambda: attack.opened > 2 * DESCRIPTORS, "the flood holds everything it can get")
            for node in nodes:
                node.challenge()
            with contextlib.ExitStack() as opened:
                assert all(node.links(opened) for node in nodes)
                assert client.create_token("ci", "deploy")["role"] == "deploy", "the store still works"
                assert client.status()["connected"] > 0
    log = (tmp_path / "log").read_text()
    assert log.count("\n") < LOG_LINES_MAX, log[:5000]
    assert "coordinator: " in log and "from 127.0.0.1" in log


def test_control_without_the_listener_the_same_flood_stops_it(tmp_path: Path) -> None:
    with (
        contextlib.suppress(AssertionError, subprocess.TimeoutExpired),
        coordinator(tmp_path, "bare") as url,
        flood(port_of(url), 450) as attack,
    ):
        wait_until(lambda: attack.held > DESCRIPTORS, "the flood holds everything it can get")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{url}/healthz", timeout=5, trust_env=False)
    assert "out of system resource" in (tmp_path / "log").read_text()
