"""Every control here must refuse, and each has a twin that passes: a test that only refuses proves nothing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import pickle
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.websockets import WebSocketState
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from components.waiting import until
from eyeflow.coordinator import app as app_module
from eyeflow.coordinator import link as link_module
from eyeflow.coordinator import tokens
from eyeflow.coordinator.challenges import CHALLENGE_S, Challenges
from eyeflow.coordinator.endpoints import ENDPOINTS, JSON_BYTES_MAX, OPEN_BYTES_MAX, Endpoint
from eyeflow.coordinator.intake import check_program
from eyeflow.coordinator.link import OUTBOX_MAX, _Link
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import Fetch, Status, link_bytes
from eyeflow.protocol.opening import OPENING, Hello
from eyeflow.protocol.versions import VERSIONS
from eyeflow.svm.container import decode
from eyeflow.svm.signing import check_signatures, sign_program

NODE = Identity(bytes(range(2, 34)))


def problem(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    body = reply.json()
    assert (reply.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"] == f"urn:eyeflow:problem:{code}"
    assert body["detail"]
    return dict(body)


def test_a_token_with_one_changed_digit_or_in_the_url_is_refused(api: Any) -> None:
    token = api.tokens["admin"]
    changed = token[:-1] + ("0" if token[-1] != "0" else "1")
    problem(api.client.get("/api/status", headers={"Authorization": f"Bearer {changed}"}), 401, "unauthenticated")
    problem(api.client.get(f"/api/status?token={token}&access_token={token}"), 401, "unauthenticated")
    assert api.client.get("/api/status", headers={"Authorization": f"bearer {token}"}).status_code == 200


def test_a_revoked_token_is_refused(api: Any) -> None:
    ids = {token["role"]: token["id"] for token in api.ask("GET", "/api/tokens").json()["tokens"]}
    assert api.ask("GET", "/api/status", "read").status_code == 200
    assert api.ask("DELETE", f"/api/tokens/{ids['read']}").status_code == 204
    problem(api.ask("GET", "/api/status", "read"), 401, "unauthenticated")
    problem(api.ask("DELETE", f"/api/tokens/{ids['admin']}"), 409, "last_admin")
    problem(api.ask("DELETE", "/api/tokens/nope"), 404, "not_found")
    assert api.ask("POST", "/api/tokens", json={"name": "second", "role": "admin"}).status_code == 201
    assert api.ask("DELETE", f"/api/tokens/{ids['admin']}").status_code == 204
    problem(api.ask("GET", "/api/status"), 401, "unauthenticated")


def test_no_secret_of_a_token_is_in_the_store(api: Any) -> None:
    join = api.ask("POST", "/api/nodes/join-tokens", json={}).json()["token"]
    assert api.store.file.path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(api.store.file.path) as db:
        dump = "\n".join(db.iterdump())
    db.close()
    for token in [*api.tokens.values(), join]:
        assert token.split("_")[2] not in dump
        assert token.split("_")[1] in dump


def test_a_join_token_works_once_and_not_after_its_time(api: Any) -> None:
    body = api.join_body("node-1", NODE)
    assert api.client.post("/api/nodes/join", json=body).status_code == 201
    other = api.join_body("node-2", NODE, body["token"])
    problem(api.client.post("/api/nodes/join", json=other), 401, "bad_join_token")
    thief = api.join_body("node-1", Identity(bytes(32)), body["token"])
    problem(api.client.post("/api/nodes/join", json=thief), 401, "bad_join_token")
    late = api.ask("POST", "/api/nodes/join-tokens", json={"validS": 5}).json()["token"]
    api.clock.pass_s(5)
    problem(api.client.post("/api/nodes/join", json=api.join_body("node-2", NODE, late)), 401, "bad_join_token")
    soon = api.ask("POST", "/api/nodes/join-tokens", json={"validS": 5}).json()["token"]
    api.clock.pass_s(4)
    assert api.client.post("/api/nodes/join", json=api.join_body("node-2", NODE, soon)).status_code == 201


def test_a_join_token_outlives_a_clock_that_is_wrong_for_a_moment(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired tokens are deleted only where there is no room for another one."""
    good, steps_s = api.ask("POST", "/api/nodes/join-tokens", json={}).json()["token"], 100 * 86_400
    api.clock.pass_s(steps_s)
    assert api.ask("POST", "/api/nodes/join-tokens", json={}).status_code == 201
    problem(api.client.post("/api/nodes/join", json=api.join_body("node-2", NODE, good)), 401, "bad_join_token")
    api.clock.pass_s(-steps_s)
    assert api.client.post("/api/nodes/join", json=api.join_body("node-2", NODE, good)).status_code == 201
    monkeypatch.setattr(tokens, "TOKENS_MAX", 2)
    assert api.ask("POST", "/api/nodes/join-tokens", json={}).status_code == 201, "the used one makes room"
    problem(api.ask("POST", "/api/nodes/join-tokens", json={}), 422, "limit_reached")


@pytest.mark.parametrize(
    "token", ["", "efj_", "eft_000000000000_" + "0" * 64, "efj_000000000000_" + "0" * 64 + "_" + "0" * 16]
)
def test_an_invented_join_token_is_refused(api: Any, token: str) -> None:
    problem(
        api.client.post("/api/nodes/join", json=api.join_body("node-1", NODE) | {"token": token}), 401, "bad_join_token"
    )
    assert api.ask("GET", "/api/nodes").json()["nodes"] == []


def test_a_node_whose_answer_was_lost_may_ask_again_until_it_is_removed(api: Any) -> None:
    body = api.join_body("node-1", NODE)
    first, again = (api.client.post("/api/nodes/join", json=body) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201) and first.json() == again.json()
    assert api.ask("DELETE", "/api/nodes/node-1").status_code == 204
    problem(api.client.post("/api/nodes/join", json=body), 401, "bad_join_token")


def test_joining_needs_the_private_key(api: Any) -> None:
    body = api.join_body("node-1", NODE)
    other = Identity(bytes(32))
    problem(api.client.post("/api/nodes/join", json=body | {"publicKey": other.public_key.hex()}), 401, "bad_signature")
    problem(api.client.post("/api/nodes/join", json=body | {"node": "node-2"}), 401, "bad_signature")
    assert api.client.post("/api/nodes/join", json=body).status_code == 201, "a refusal must not use the token up"


def test_a_name_belongs_to_the_key_that_took_it(api: Any) -> None:
    api.join("node-1", NODE)
    thief = api.join_body("node-1", Identity(bytes(32)))
    problem(api.client.post("/api/nodes/join", json=thief), 409, "node_exists")
    api.join("node-1", NODE)
    api.ask("DELETE", "/api/nodes/node-1")
    assert api.client.post("/api/nodes/join", json=thief).status_code == 201


def test_programs_need_a_trusted_signature(api: Any, make: Any) -> None:
    problem(api.upload(make.program(key=make.stranger)), 422, "untrusted_program")
    problem(api.upload(make.program(key=None)), 422, "untrusted_program")
    good = make.program()
    assert api.upload(good).status_code == 201
    assert api.upload(good).status_code == 200
    key = make.signer.public_key.hex()
    assert api.ask("DELETE", f"/api/keys/{key}").status_code == 204
    problem(api.upload(make.program(version="2.0.0")), 422, "untrusted_program")
    api.ask("POST", "/api/keys", json={"publicKey": key, "name": "again"})
    assert api.upload(make.program(version="2.0.0")).status_code == 201


def test_a_key_that_is_revoked_while_its_program_is_checked_opens_nothing(
    api: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked_meanwhile(data: bytes, trusted: frozenset[bytes]) -> Any:
        checked = check_program(data, trusted)
        api.do(lambda writing: writing.revoke_signer(make.signer.public_key, api.clock()))
        return checked

    monkeypatch.setattr(app_module, "check_program", revoked_meanwhile)
    problem(api.upload(make.program()), 422, "untrusted_program")
    assert api.ask("GET", "/api/rules").json()["rules"] == []
    monkeypatch.undo()
    api.trust(make.signer)
    assert api.upload(make.program()).status_code == 201, "the control"


def test_a_token_that_is_revoked_while_the_body_comes_does_nothing(
    api: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked_meanwhile(data: bytes, trusted: frozenset[bytes]) -> Any:
        api.do(lambda writing: writing.revoke_api_token(api.tokens["deploy"].split("_")[1], api.clock()))
        return check_program(data, trusted)

    monkeypatch.setattr(app_module, "check_program", revoked_meanwhile)
    headers = {"Content-Type": "application/octet-stream"}
    reply = api.ask("POST", "/api/programs", "deploy", content=make.program(), headers=headers)
    problem(reply, 401, "unauthenticated")
    assert api.ask("GET", "/api/rules").json()["rules"] == []


def test_a_program_of_a_revoked_signer_is_not_deployed_until_somebody_else_signs_it(api: Any, make: Any) -> None:
    api.join("node-1", make.stranger)
    data = make.program()
    program_id = api.upload(data).json()["id"]
    api.revoke(make.signer)
    problem(api.ask("POST", "/api/rules/overheat/deploy", json={"all": True}), 422, "untrusted_program")
    api.trust(make.stranger, "other")
    again = api.upload(sign_program(data, make.stranger.private_bytes()))
    assert (again.status_code, again.json()["id"]) == (200, program_id), "signatures do not change the id"
    assert make.stranger.public_key.hex() in again.json()["signers"]
    assert api.ask("POST", "/api/rules/overheat/deploy", json={"all": True}).status_code == 202
    assert check_signatures(
        decode(api.do(lambda writing: writing.program_bytes(program_id))), {make.stranger.public_key}
    )


def test_a_program_with_any_changed_byte_is_refused(api: Any, make: Any) -> None:
    good = make.program()
    for position in range(0, len(good), 7):
        bad = bytearray(good)
        bad[position] ^= 0x40
        reply = api.upload(bytes(bad))
        assert reply.status_code == 422, position
        assert reply.json()["code"] in {"invalid_program", "untrusted_program"}
    for length in range(0, len(good), 11):
        problem(api.upload(good[:length]), 422, "invalid_program")
    problem(api.upload(good + b"\0"), 422, "invalid_program")


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.role is None], ids=lambda one: one.path)
def test_a_stranger_sends_no_large_body(api: Any, endpoint: Endpoint) -> None:
    """It is not read to its end: the control is a path that asks for a token first, and then reads more."""
    body, headers = b'"' + b"x" * OPEN_BYTES_MAX + b'"', {"Content-Type": "application/json"}
    reply = api.client.request(endpoint.method, endpoint.path, content=body, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (413, "too_large")
    assert api.ask("POST", "/api/policy/check", content=body, headers=headers).status_code == 422


def test_bodies_are_bounded(api: Any) -> None:
    big = b'"' + b"x" * JSON_BYTES_MAX + b'"'
    reply = api.ask("POST", "/api/tokens", content=big, headers={"Content-Type": "application/json"})
    problem(reply, 413, "too_large")
    problem(api.upload(bytes(8 * 1024 * 1024 + 1)), 413, "too_large")
    problem(api.upload(bytes(8 * 1024 * 1024)), 422, "invalid_program")


def test_a_body_that_does_not_come_is_not_waited_for(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "BODY_S", 0.01)

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app_module.make_app(api.hub))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post("/api/nodes/join", content=never(), headers={"Content-Type": "application/json"})

    reply = asyncio.run(ask())
    problem(reply, 408, "too_slow")
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{} {}",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": "\\ud800"}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_malformed_json_is_refused(api: Any, text: bytes) -> None:
    reply = api.ask("POST", "/api/tokens", content=text, headers={"Content-Type": "application/json"})
    problem(reply, 400, "malformed_json")


@pytest.mark.parametrize(
    "path", ["/api/../api/status", "/api/nodes/..%2f..%2fetc", "/api/nodes/%00", "/api/nodes/" + "a" * 3000]
)
def test_strange_paths_find_nothing(api: Any, path: str) -> None:
    assert api.ask("GET", path).status_code in {200, 404}
    if "nodes" in path:
        assert api.ask("GET", path).status_code == 404


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://testserver.evil.example", "http://testserver:81"]
)
def test_a_page_of_another_site_may_not_ask(api: Any, origin: str) -> None:
    problem(api.ask("GET", "/api/status", headers={"Origin": origin}), 403, "wrong_origin")
    assert api.ask("GET", "/api/status", headers={"Origin": "http://testserver"}).status_code == 200
    api.join("node-1", NODE)
    link = {"Origin": origin, "Authorization": authorization(api, NODE)}
    assert api.client.open_link(link) == 403
    assert api.client.open_link(link | {"Origin": "http://testserver"}) == 101


def test_answers_with_secrets_are_not_cached(api: Any) -> None:
    reply = api.ask("POST", "/api/nodes/join-tokens", json={})
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-content-type-options"] == "nosniff"


def authorization(api: Any, identity: Identity, node: str = "node-1", **change: str) -> str:
    nonce = api.client.get("/api/link/challenge").json()["nonce"]
    coordinator = change.get("coordinator", api.store.coordinator_id)
    nonce = change.get("nonce", nonce)
    signature = base64.b64encode(identity.sign(link_bytes(coordinator, node, bytes.fromhex(nonce)))).decode()
    named = change.get("named", node)
    return f'EyeflowLink node="{named}", nonce="{nonce}", signature="{signature}"'


def opens(api: Any, header: str) -> bool:
    status = api.client.open_link({"Authorization": header})
    assert status in {101, 401}
    return bool(status == 101)


def test_a_link_opens_only_with_the_nodes_own_signature(api: Any) -> None:
    api.join("node-1", NODE)
    api.join("node-2", Identity(bytes(32)))
    assert opens(api, authorization(api, NODE))
    assert not opens(api, "")
    assert not opens(api, f"Bearer {api.tokens['admin']}")
    assert not opens(api, authorization(api, Identity(bytes(32)))), "another node's key"
    assert not opens(api, authorization(api, NODE, named="node-2")), "another node's name"
    assert not opens(api, authorization(api, NODE, node="node-9")), "a node that never joined"
    assert not opens(api, authorization(api, NODE, coordinator="0" * 64)), "signed for another coordinator"
    assert not opens(api, authorization(api, NODE, nonce="0" * 64)), "a nonce that was never issued"
    api.ask("DELETE", "/api/nodes/node-1")
    assert not opens(api, authorization(api, NODE)), "a removed node"


def test_a_nonce_opens_one_link_and_expires(api: Any) -> None:
    api.join("node-1", NODE)
    header = authorization(api, NODE)
    assert opens(api, header)
    assert not opens(api, header), "replayed"
    header = authorization(api, NODE)
    api.clock.pass_s(CHALLENGE_S)
    assert not opens(api, header), "expired"
    header = authorization(api, NODE)
    api.clock.pass_s(CHALLENGE_S - 1)
    assert opens(api, header)


def test_challenges_of_strangers_push_nobody_out() -> None:
    challenges = Challenges(bytes)
    first = challenges.issue(0)
    size = len(pickle.dumps(challenges))
    assert len({challenges.issue(0) for _ in range(10_000)}) == 10_000
    assert len(pickle.dumps(challenges)) <= size + 8, "nothing is kept of a nonce that was only given out"
    assert challenges.is_ours(first, 0)
    assert challenges.use("a", first)
    assert not challenges.use("a", first)


@given(place=st.integers(0, 31), bit=st.integers(0, 7))
def test_a_changed_or_foreign_nonce_is_none_of_ours(place: int, bit: int) -> None:
    challenges = Challenges(bytes)
    nonce = bytearray(challenges.issue(0))
    assert challenges.is_ours(bytes(nonce), 0)
    nonce[place] ^= 1 << bit
    assert not challenges.is_ours(bytes(nonce), 0)
    assert not Challenges().is_ours(challenges.issue(0), 0)


def test_a_clock_that_was_set_shuts_no_node_out_for_long() -> None:
    challenges = Challenges()
    ahead = challenges.issue(3600 * 1_000_000)
    assert challenges.use("a", ahead)
    back = challenges.issue(0)
    assert challenges.is_ours(back, 0)
    assert challenges.use("a", back)


async def proof_of(cluster: Any, client: httpx.AsyncClient, node: Any) -> tuple[str, str]:
    """Where a node opens its link, and what it sends to prove who it is."""
    challenge = (await client.get("/api/link/challenge")).json()
    signed = node.sign(link_bytes(challenge["coordinatorId"], node.name, bytes.fromhex(challenge["nonce"])))
    proof = base64.b64encode(signed).decode()
    header = f'EyeflowLink node="{node.name}", nonce="{challenge["nonce"]}", signature="{proof}"'
    return cluster.url.replace("http", "ws") + "/api/link", header


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_node_that_floods_is_read_at_its_pace(
    cluster: Any, make: Any, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted is what the coordinator took in the time that passed; the control has no pace."""
    taken = 0
    take = _Link._take

    async def counted(self: _Link, data: bytes) -> None:
        nonlocal taken
        taken += 1
        await take(self, data)

    monkeypatch.setattr(_Link, "_take", counted)
    if not guarded:
        monkeypatch.setattr(link_module, "MESSAGES_PER_S_MAX", 10**9)
    burst, rate = link_module.BURST_MESSAGES_MAX, 100

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            url, header = await proof_of(cluster, client, node)
            async with connect(url, additional_headers={"Authorization": header}, proxy=None, compression=None) as link:
                started_s = loop.time()
                hello = Hello(1, 3, "test", "node-a", 0, bytes(32))
                await link.send(OPENING.encode(hello))
                status = VERSIONS[3].encode(Status(1, 1, 1, 0, ()))
                flooding = asyncio.create_task(flood(link, status))
                await until(lambda: taken > burst + rate / 2)
                allowed = burst + rate * (loop.time() - started_s) + 2
                if guarded:
                    assert taken <= allowed
                    assert (await client.get("/healthz")).status_code == 200
                else:
                    await until(lambda: taken > burst + rate * (loop.time() - started_s) + 2)
                flooding.cancel()
                link.transport.abort()

    async def flood(link: Any, data: bytes) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await link.send(data)

    asyncio.run(scenario())


def test_what_a_node_may_not_say_closes_its_link(cluster: Any, make: Any) -> None:
    """Over a real socket: the reason arrives in the close frame, and is shown with the node."""

    async def say(client: httpx.AsyncClient, node: Any, data: bytes | str) -> str:
        url, header = await proof_of(cluster, client, node)
        async with connect(url, additional_headers={"Authorization": header}, proxy=None) as link:
            assert link.protocol.extensions == [], "permessage-deflate must be off"
            await link.send(data)
            try:
                await link.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.reason if closed.rcvd else ""
        return "no close"

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            await cluster.join(client, node)
            assert "malformed" in await say(client, node, b"\xc1")
            assert "Invalid value 99" in await say(client, node, b"\x81\xa4type\x63")
            assert "text message" in await say(client, node, "hello")
            shown = (await client.get("/api/nodes/node-a")).json()
            assert "Invalid value 99" in shown["problem"]
            with pytest.raises(InvalidStatus):
                async with connect(cluster.url.replace("http", "ws") + "/api/link", proxy=None):
                    pass

    asyncio.run(scenario())


class SlowSocket:
    """A node's end that takes nothing until it is closed."""

    application_state = WebSocketState.CONNECTED
    client = None

    def __init__(self) -> None:
        self.sent, self.closed = 0, ""

    async def send_bytes(self, data: bytes) -> None:
        self.sent += 1

    async def close(self, code: int, reason: str) -> None:
        self.closed = reason


def test_a_node_that_takes_messages_too_slowly_is_cut_off_at_once(api: Any) -> None:
    api.join("node-1", NODE)
    socket = SlowSocket()

    async def scenario() -> None:
        link = _Link(api.hub, socket, "node-1")  # type: ignore[arg-type]
        for _ in range(OUTBOX_MAX + 1):
            link._put(Fetch(1, ("0" * 64,)))
        await link._write()

    api.run(scenario)
    assert (socket.sent, socket.closed) == (0, "too_slow: the node takes messages too slowly")
