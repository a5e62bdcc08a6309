"""Boards behind nodes: who may let one join, and how one stands as far as anybody can know."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.board_double import BoardDouble, plugged_in
from components.waiting import running
from eyeflow.board_link.messages import Code
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.coordinator.boards import Heard, board_view
from eyeflow.coordinator.store.kept_boards import KeptBoard
from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.config.sections import CoordinatorConfig
from eyeflow.node.daemon import run_node
from eyeflow.node.io.connectors import ports_config
from eyeflow.protocol.boards import BOARDS_MAX, BoardState, BoardStatus, as_plain, board_bytes
from eyeflow.protocol.identity import Identity
from eyeflow.svm.container import decode, encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import sign_program

GATEWAY, BOARD = Identity(bytes(range(2, 34))), Identity(bytes(range(3, 35)))
DEVICE = "0001020304050607"
SECOND = 1_000_000
OCTETS = {"Content-Type": "application/octet-stream"}
RULE = """rule relay {{
    version "{version}"
    pin RELAY: output
    param level: float = 3.0
    on every 1s
    if adc.read_channel(0) > level {{
        gpio.set_pin(RELAY, HIGH)
    }}
}}
"""


def program(version: str) -> bytes:
    options = CompileOptions(profile=Profile.MCU, chip="STM32F401CC")
    result = compile_rule(RULE.format(version=version), name="relay.eye", options=options)
    assert result.program is not None, result.diagnostics
    return sign_program(encode(result.program), bytes(range(32)))


STATUS = BoardStatus(BoardState.STALE, "unanswered", 7, "no answer", 6, "0.1.0", 1, 0, 0, "", *[0] * 13)


def request(api: Any, gateway: str = "gateway", signer: Identity = GATEWAY, **changed: Any) -> Any:
    """Ask the coordinator to let a board join; `changed` are fields of the body, after they were signed."""
    nonce = bytes.fromhex(api.client.get("/api/link/challenge").json()["nonce"])
    board = changed.pop("signed_board", "node-mcu-01")
    key, text = changed.pop("key", BOARD).public_key, changed.pop("text", "")
    signed = board_bytes(api.store.coordinator_id, gateway, nonce, board, key, DEVICE, text)
    body = {"board": board, "publicKey": key.hex(), "device": DEVICE, "boardFile": text, "nonce": nonce.hex()}
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
    (row,) = joined.ask("GET", "/api/node-rows?gateway=gateway", "read").json()["nodes"]
    assert row["name"] == "node-mcu-01" and row["board"] == {name: shown["board"][name] for name in row["board"]}
    assert joined.ask("GET", "/api/node-rows?gateway=node-mcu-01", "read").json()["nodes"] == [], "the control"
    log = joined.ask("GET", "/api/log/entries", "admin").json()["entries"]
    assert [(one["actor"], one["subject"]) for one in log if one["action"] == "join_board"] == [
        ("node gateway", "node-mcu-01")
    ]


def test_the_newest_board_file_of_a_board_is_kept(joined: Any) -> None:
    for text in ("", "first", "second"):
        assert request(joined, text=text).status_code == 201
        assert joined.ask("GET", "/api/nodes/node-mcu-01/board-file", "read").json() == {"text": text}
        shown = joined.ask("GET", "/api/nodes/node-mcu-01", "read").json()["board"]
        assert shown["hasBoardFile"] is bool(text)


def test_a_token_for_the_board_alone_hears_of_the_link_of_its_gateway(joined: Any) -> None:
    assert request(joined).status_code == 201
    joined.ask("PUT", "/api/nodes/node-mcu-01/labels", json={"labels": {"site": "lyon"}})
    body = {"name": "lyon", "role": "read", "labels": {"site": "lyon"}}
    joined.tokens["lyon"] = joined.ask("POST", "/api/tokens", json=body).json()["token"]
    for links, reason in ({}, "gateway_lost"), ({"gateway": None}, "not_served"):
        joined.hub.links.update(links)
        shown = joined.ask("GET", "/api/nodes/node-mcu-01", "lyon")
        assert shown.json()["board"]["reason"] == reason, shown.text
    joined.hub.links.clear()


def test_only_the_gateway_itself_vouches_and_for_what_it_signed(joined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without the check of the signature the first of these is a node of the cluster."""
    stranger = Identity(bytes(range(9, 41)))
    for answer in (
        request(joined, signer=stranger),
        request(joined, gateway="nobody"),
        request(joined, board="other"),
        request(joined, publicKey=stranger.public_key.hex()),
        request(joined, device="ff" * 8),
        request(joined, boardFile="chip = 7"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert joined.ask("GET", "/api/nodes", "read").json()["total"] == 1

    async def believes(*what: object) -> bool:
        return True

    monkeypatch.setattr("eyeflow.coordinator.api.proves_node", believes)
    assert request(joined, signer=stranger).status_code == 201


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
    kept = KeptBoard("gw", DEVICE, as_plain(STATUS) if told else None, "", has_file=False)
    seen_us = 100 * SECOND
    shown = board_view(kept, None, Heard(linked, gateway, seen_us, seen_us + silent_s * SECOND))
    assert (shown["state"], shown["reason"]) == (state, reason)
    assert evidence in shown["evidence"]
    assert shown["sinceUs"] == (7 if state == "stale" else seen_us)


async def configured(client: Any, cluster: Any, directory: Path, path: str) -> NodeConfig:
    """The configuration of a gateway that joins the cluster, with one board."""
    token = (await client.post("/api/nodes/join-tokens", json={})).json()["token"]
    (directory / "token").write_text(token)
    (directory / "token").chmod(0o600)
    coordinator = CoordinatorConfig(cluster.url, token_file=directory / "token")
    boards = (BoardSection("node-mcu-01", path),)
    return NodeConfig("gateway", directory / "node", coordinator=coordinator, ports=ports_config(), boards=boards)


async def node_of(client: Any, name: str = "node-mcu-01") -> dict[str, Any]:
    answer = await client.get(f"/api/nodes/{name}")
    return answer.json() if answer.status_code == 200 else {"board": None}  # type: ignore[no-any-return]


async def stand(client: Any, make: Any, state: str, reason: str) -> None:
    async def found() -> bool:
        of = (await node_of(client))["board"]
        return of is not None and (of["state"], of["reason"]) == (state, reason)

    await make.until(found, f"the board is {state}")


def test_a_board_behind_a_daemon_is_a_node_of_the_cluster_and_its_troubles_are_not_the_gateways(
    cluster: Any, make: Any, tmp_path: Path
) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with cluster.coordinator() as client:
            config = await configured(client, cluster, tmp_path, path)
            shown, stands = partial(node_of, client), partial(stand, client, make)
            async with running(run_node(config, stop=asyncio.Event())):
                await stands("online", "answers")
                node = await shown()
                assert node["facts"]["profile"] == "mcu" and node["facts"]["chip"] == "STM32F401CC"
                assert node["board"]["gateway"] == "gateway" and node["board"]["flashBytes"] == 65536
                assert node["board"]["uptimeMs"] == 60_000 and node["board"]["firmware"] == "0.1.0"
                board.abi += 1  # it was flashed with newer firmware
                board.restart()

                async def knows_abi() -> bool:
                    return (await shown())["facts"]["abi"] == board.abi

                await make.until(knows_abi, "what it can run is known")
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


def test_a_deployment_waits_for_a_board_that_is_away_and_the_board_reports_it(
    cluster: Any, make: Any, tmp_path: Path
) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with cluster.coordinator() as client:
            config = await configured(client, cluster, tmp_path, path)

            async def deploy(version: str, strategy: str = "immediate") -> Any:
                data = program(version)
                added = await client.post("/api/programs", content=data, headers=OCTETS)
                assert added.status_code in (200, 201), added.text
                asked = {"programId": decode(data).program_id, "nodeIds": ["node-mcu-01"], "strategy": strategy}
                return await client.post("/api/rules/relay/deploy", json=asked)

            async def runs(version: str) -> None:
                async def found() -> bool:
                    rules = (await node_of(client))["rules"]
                    wanted = [(one["wanted"]["programId"], one["state"]) for one in rules if one["wanted"]]
                    return wanted == [(decode(program(version)).program_id, "installed")]

                await make.until(found, f"the board runs {version}")

            async with running(run_node(config, stop=asyncio.Event())):
                await stand(client, make, "online", "answers")
                refused = await deploy("1.0.0", "shadow")
                assert refused.status_code == 422 and "so none can watch beside it" in refused.text
                board.answers = False
                first = (await deploy("1.0.0")).headers["location"]
                second = (await deploy("1.1.0")).headers["location"]  # replaces the first, which never reached it
                assert not (await client.get(second)).json()["over"] and board.programs == {}
            async with running(run_node(config, stop=asyncio.Event())):  # the gateway was restarted meanwhile
                board.answers = True
                assert (await make.ended(client, second))["state"] == "succeeded"
                assert (await client.get(first)).json()["over"]
                await runs("1.1.0")
                assert [one.signed.program.version for one in board.programs.values()] == ["1.1.0"]
                board.refuses_push = Code.NO_ROOM
                failed = await make.ended(client, (await deploy("1.2.0")).headers["location"])
                assert failed["state"] == "rolled_back" or failed["state"] == "failed", failed
                assert "no room" in failed["nodes"][0]["reason"], failed
                await runs("1.1.0")

    with plugged_in(board) as path:
        asyncio.run(test(path))
