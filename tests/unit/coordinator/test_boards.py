"""Boards behind nodes: who may let one join, and how one stands as far as anybody can know."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from components.board_double import BoardDouble, plugged_in
from components.waiting import running
from eyeflow.coordinator.boards import Heard, board_view
from eyeflow.coordinator.store.kept_boards import KeptBoard
from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.config.sections import CoordinatorConfig
from eyeflow.node.daemon import run_node
from eyeflow.node.io.connectors import ports_config
from eyeflow.protocol.boards import BOARDS_MAX, BoardState, BoardStatus, as_plain, board_bytes
from eyeflow.protocol.identity import Identity

GATEWAY, BOARD = Identity(bytes(range(2, 34))), Identity(bytes(range(3, 35)))
DEVICE = "0001020304050607"
SECOND = 1_000_000
STATUS = BoardStatus(BoardState.STALE, "unanswered", 7, "no answer", 6, "0.1.0", 1, *[0] * 13)


def request(api: Any, gateway: str = "gateway", signer: Identity = GATEWAY, **changed: Any) -> Any:
    """Ask the coordinator to let a board join; `changed` are fields of the body, after they were signed."""
    nonce = bytes.fromhex(api.client.get("/api/link/challenge").json()["nonce"])
    board = changed.pop("signed_board", "node-mcu-01")
    key = changed.pop("key", BOARD).public_key
    signed = board_bytes(api.store.coordinator_id, gateway, nonce, board, key, DEVICE)
    body = {"board": board, "publicKey": key.hex(), "device": DEVICE, "nonce": nonce.hex()}
    body |= {"signature": signer.sign(signed).hex()} | changed
    return api.client.post(f"/api/nodes/{gateway}/boards", json=body)


@pytest.fixture
def joined(api: Any) -> Any:
    api.do(lambda writing: writing.register_node("gateway", GATEWAY.public_key, 1))
    return api


def test_a_gateway_lets_its_board_join_once(joined: Any) -> None:
    for _ in range(2):  # an answer may be lost
        assert request(joined).status_code == 201
    shown = joined.ask("GET", "/api/nodes/node-mcu-01", "read").json()
    assert shown["board"]["gateway"] == "gateway" and shown["board"]["device"] == DEVICE
    assert (shown["board"]["state"], shown["board"]["reason"]) == ("unknown", "gateway_lost")
    log = joined.ask("GET", "/api/log/entries", "admin").json()["entries"]
    assert [(one["actor"], one["subject"]) for one in log if one["action"] == "join_board"] == [
        ("node:gateway", "node-mcu-01")
    ]


def test_only_the_gateway_itself_vouches_and_for_what_it_signed(joined: Any) -> None:
    """The control of the signature: without `proves_node` each of these would be a node of the cluster."""
    stranger = Identity(bytes(range(9, 41)))
    for answer in (
        request(joined, signer=stranger),
        request(joined, gateway="nobody"),
        request(joined, board="other"),
        request(joined, publicKey=stranger.public_key.hex()),
        request(joined, device="ff" * 8),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert joined.ask("GET", "/api/nodes", "read").json()["total"] == 1


def test_a_gateway_takes_no_name_that_is_not_its_board(joined: Any) -> None:
    other = Identity(bytes(range(5, 37)))
    joined.do(lambda writing: writing.register_node("other", other.public_key, 1))
    assert request(joined).status_code == 201
    for answer in (
        request(joined, key=other),  # another key for its own board: the data of the gateway were lost
        request(joined, gateway="other", signer=other),  # the board of another gateway
        request(joined, signed_board="other"),  # a node
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "node_exists")
    refused = request(joined, gateway="node-mcu-01", signer=BOARD, signed_board="x")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


def test_a_gateway_has_a_bounded_number_of_boards(joined: Any) -> None:
    for number in range(BOARDS_MAX):
        assert request(joined, signed_board=f"b{number}").status_code == 201
    assert request(joined, signed_board="one-more").json()["code"] == "limit_reached"
    assert joined.ask("DELETE", "/api/nodes/b0").status_code == 204
    assert request(joined, signed_board="one-more").status_code == 201


@pytest.mark.parametrize(
    ("told", "linked", "gateway", "silent_s", "state", "reason", "evidence"),
    [
        (True, True, True, 0, "stale", "unanswered", "no answer"),
        (True, True, True, 31, "unknown", "gateway_silent", "before that it was stale"),
        (False, True, True, 0, "unknown", "not_told", "has not told yet"),
        (True, False, False, 0, "unknown", "gateway_lost", "its gateway gw has no link; before that it was stale"),
        (False, False, False, 0, "unknown", "gateway_lost", "its gateway gw has no link"),
        (True, False, True, 0, "unknown", "not_served", "does not speak for it"),
    ],
)
def test_a_board_is_unknown_while_nobody_can_know(
    told: bool, linked: bool, gateway: bool, silent_s: int, state: str, reason: str, evidence: str
) -> None:
    kept = KeptBoard("gw", DEVICE, as_plain(STATUS) if told else None, "")
    seen_us = 100 * SECOND
    shown = board_view(kept, None, Heard(linked, gateway, seen_us, seen_us + silent_s * SECOND))
    assert (shown["state"], shown["reason"]) == (state, reason)
    assert evidence in shown["evidence"]
    assert shown["sinceUs"] == (7 if state == "stale" else seen_us)


def test_a_board_behind_a_daemon_is_a_node_of_the_cluster_and_its_troubles_are_not_the_gateways(
    cluster: Any, make: Any, tmp_path: Path
) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with cluster.coordinator() as client:
            token = (await client.post("/api/nodes/join-tokens", json={})).json()["token"]
            (tmp_path / "token").write_text(token)
            (tmp_path / "token").chmod(0o600)
            config = NodeConfig(
                "gateway",
                tmp_path / "node",
                coordinator=CoordinatorConfig(cluster.url, token_file=tmp_path / "token"),
                ports=ports_config(),
                boards=(BoardSection("node-mcu-01", path),),
            )

            async def shown(name: str = "node-mcu-01") -> dict[str, Any]:
                answer = await client.get(f"/api/nodes/{name}")
                return answer.json() if answer.status_code == 200 else {"board": None}  # type: ignore[no-any-return]

            async def stands(state: str, reason: str) -> None:
                async def found() -> bool:
                    of = (await shown())["board"]
                    return of is not None and (of["state"], of["reason"]) == (state, reason)

                await make.until(found, f"the board is {state}")

            async with running(run_node(config, stop=asyncio.Event())):
                await stands("online", "answers")
                node = await shown()
                assert node["facts"]["profile"] == "mcu" and node["facts"]["chip"] == "STM32F401CC"
                assert node["board"]["gateway"] == "gateway" and node["board"]["flashBytes"] == 65536
                assert node["board"]["uptimeMs"] == 60_000 and node["board"]["firmware"] == "0.1.0"
                board.device = bytes(8)
                await stands("failed", "other_device")
                listed = (await client.get("/api/nodes", params={"state": "failing"})).json()["nodes"]
                assert [one["name"] for one in listed] in ([], ["node-mcu-01"])  # written down with the next tick
                gateway = await shown("gateway")
                assert not [part for part in gateway["health"] if part["state"] == "failed"]
                board.device = bytes(range(8))
                await stands("online", "answers")
            await stands("unknown", "gateway_lost")
            assert (await shown())["board"]["flashBytes"] == 65536  # what was told last is still shown
            async with running(run_node(config, stop=asyncio.Event())):
                await stands("online", "answers")  # with the key and the name that it had
            total = (await client.get("/api/nodes")).json()["total"]
            assert total == 2

    with plugged_in(board) as path:
        asyncio.run(test(path))
