"""A gateway lets its board join, at a coordinator that the test plays: its signature stands for a join token."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from components.certificates import TestAuthority
from components.http_server import serve
from components.ports import free_port
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.node.cluster import membership
from eyeflow.node.cluster.membership import JoinResult, ask_to_join_board
from eyeflow.protocol.boards import board_bytes
from eyeflow.protocol.identity import Identity, verifies
from unit.node.cluster.test_membership import COORDINATOR, ID, NODE, SIGNERS, Coordinator, playing, trickled, with_ca

BOARD = Identity(bytes(range(4, 36)))
JOINED = JoinResult("http://127.0.0.1:1", "node-a", ID, COORDINATOR.public_key, SIGNERS)


async def ask(joined: JoinResult) -> JoinResult:
    return await ask_to_join_board(joined, NODE.sign, "mcu-1", BOARD.public_key, "0123", "name = 1")


def refusal(joined: JoinResult) -> EyeflowError:
    with pytest.raises(EyeflowError) as error:
        asyncio.run(ask(joined))
    return error.value


def test_a_board_joins_by_the_signature_of_its_gateway() -> None:
    with playing(challenge={"coordinatorId": ID, "nonce": "0a0b"}) as (coordinator, url):
        joined = replace(JOINED, url=url)
        assert asyncio.run(ask(joined)) == replace(joined, node="mcu-1"), "in the same cluster"
    (method, path, nothing), (method_2, path_2, body) = coordinator.asked
    assert (method, path, nothing) == ("GET", "/api/link/challenge", {})
    assert (method_2, path_2) == ("POST", "/api/nodes/node-a/boards")
    proof = bytes.fromhex(body.pop("signature"))
    what = {"board": "mcu-1", "publicKey": BOARD.public_key.hex(), "device": "0123", "boardFile": "name = 1"}
    assert body == what | {"nonce": "0a0b"}
    signed = board_bytes(ID, "node-a", b"\x0a\x0b", "mcu-1", BOARD.public_key, "0123", "name = 1")
    assert verifies(NODE.public_key, signed, proof)


def test_a_refusal_is_told_in_the_words_of_the_coordinator() -> None:
    problem = {"code": "node_exists", "detail": "it has another key", "nextStep": "choose another name"}
    with playing(answer=problem, status=409) as (_, url):
        error = refusal(replace(JOINED, url=url))
    assert (error.code, error.cause, error.next_step) == ("node_exists", "it has another key", "choose another name")
    assert "mcu-1" in error.message and error.exit_code is ExitCode.PROBLEMS


@pytest.mark.parametrize("status", [200, 500])
def test_a_refusal_without_words_is_told_by_its_status(status: int) -> None:
    with playing(answer=[1], status=status) as (_, url):
        error = refusal(replace(JOINED, url=url))
    assert (error.code, error.cause) == ("join_refused", f"status {status}")


@pytest.mark.parametrize("challenge", [[], {}, {"nonce": "xy"}, {"nonce": 5}])
def test_who_answers_otherwise_is_no_coordinator(challenge: object) -> None:
    with playing(challenge=challenge) as (coordinator, url):
        error = refusal(replace(JOINED, url=url))
    assert (error.code, error.exit_code) == ("unreachable", ExitCode.ENVIRONMENT)
    assert url in error.message and error.cause and error.next_step
    assert len(coordinator.asked) == 1, "nothing was signed"


def test_a_coordinator_that_is_away_is_said() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    error = refusal(replace(JOINED, url=url))
    assert error.code == "unreachable" and url in error.message
    assert "refused" in error.cause and "coordinator runs there" in error.next_step, error.cause


def test_an_answer_that_trickles_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "JOIN_S", 0.3)
    assert asyncio.run(trickled(lambda url: ask(replace(JOINED, url=url)))).code == "unreachable"


def test_only_the_coordinator_of_the_cluster_sees_the_request(tmp_path: Path) -> None:
    """By the CA that the gateway keeps, or by its file of authorities."""
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    own, other = TestAuthority(tmp_path / "own"), TestAuthority(tmp_path / "other")
    coordinator = Coordinator()
    with serve(coordinator.reply, own.issue("coordinator")) as url:
        joined = replace(JOINED, url=url)
        strangers = replace(joined, ca=with_ca(other)[0]), replace(joined, ca_file=str(other.ca_file)), joined
        for stranger in strangers:
            assert refusal(stranger).code == "unreachable"
        assert coordinator.asked == []
        for known in (replace(joined, ca=with_ca(own)[0]), replace(joined, ca_file=str(own.ca_file))):
            assert asyncio.run(ask(known)).node == "mcu-1"
