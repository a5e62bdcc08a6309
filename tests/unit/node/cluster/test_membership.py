"""Joining a cluster at a coordinator that the test plays, and the two files that a node keeps of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import stat
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from components.certificates import TestAuthority
from components.http_server import serve
from components.ports import free_port
from components.waiting import HANG_S
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.whole_file import write_whole
from eyeflow.net.bodies import CLOSING
from eyeflow.node.cluster import membership
from eyeflow.node.cluster.membership import (
    FILE_BYTES_MAX,
    JOIN_S,
    JoinResult,
    Membership,
    ask_to_join,
    http_client,
    join_cluster,
    tls_context,
)
from eyeflow.protocol import certificates
from eyeflow.protocol.identity import Identity, key_fingerprint, verifies
from eyeflow.protocol.messages import join_bytes
from eyeflow.protocol.session import Accepted, Peer

NODE = Identity(bytes(range(32)))
COORDINATOR = Identity(bytes(range(1, 33)))
SIGNERS = (bytes(range(2, 34)), bytes(range(3, 35)))
ID = key_fingerprint(COORDINATOR.public_key)
TOKEN = f"efj_{'0' * 12}_{'0' * 64}_{ID[:16]}"


@dataclass
class Coordinator:
    """Answers as the coordinator of `ID` does; tests change its answers. `asked` is what came, in order."""

    challenge: object = field(default_factory=lambda: {"coordinatorId": ID, "nonce": "00"})
    answer: object = field(
        default_factory=lambda: {
            "publicKey": COORDINATOR.public_key.hex(),
            "coordinatorId": ID,
            "signers": [key.hex() for key in SIGNERS],
        }
    )
    status: int = 201
    ca: str = ""
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def reply(self, request: Request, body: bytes) -> Response:
        assert request.headers["accept-encoding"] == "identity"
        self.asked.append((request.method, request.url.path, json.loads(body or b"{}")))
        if request.url.path == "/api/ca":
            return JSONResponse({"ca": self.ca}, 200 if self.ca else 404)
        if request.url.path.endswith("/api/link/challenge"):
            return JSONResponse(self.challenge)
        return JSONResponse(self.answer, self.status)


@contextmanager
def playing(**change: object) -> Iterator[tuple[Coordinator, str]]:
    coordinator = Coordinator()
    for name, value in change.items():
        setattr(coordinator, name, value)
    with serve(coordinator.reply) as url:
        yield coordinator, url


def join(url: str, token: str = TOKEN, ca_file: str = "") -> JoinResult:
    return join_cluster(url, token, "node-a", NODE.sign, NODE.public_key, ca_file)


def refusal(url: str, token: str = TOKEN, ca_file: str = "") -> EyeflowError:
    with pytest.raises(EyeflowError) as error:
        join(url, token, ca_file)
    return error.value


def test_a_node_proves_its_key_and_learns_the_cluster() -> None:
    with playing() as (coordinator, url):
        joined = join(f"{url}/X/", f" {TOKEN}\n")
    assert joined == JoinResult(f"{url}/X", "node-a", ID, COORDINATOR.public_key, SIGNERS), "also behind a prefix"
    assert joined.peer == Peer(ID, COORDINATOR.public_key)
    (_, _, nothing), (method, path, body) = coordinator.asked
    assert nothing == {} and (method, path) == ("POST", "/X/api/nodes/join")
    proof = bytes.fromhex(body.pop("signature"))
    assert body == {"token": TOKEN, "node": "node-a", "publicKey": NODE.public_key.hex()}
    assert verifies(NODE.public_key, join_bytes(ID, "node-a", NODE.public_key), proof)


def test_without_a_ca_file_the_authorities_of_the_system_count() -> None:
    with playing() as (_, url):
        assert join_cluster(url, TOKEN, "node-a", NODE.sign, NODE.public_key).ca_file == ""


@pytest.mark.parametrize("token", ["", "efj_1_2_3", TOKEN + "0", "x" + TOKEN, TOKEN.replace("efj", "EFJ")])
def test_a_malformed_token_goes_nowhere(token: str) -> None:
    with playing() as (coordinator, url):
        error = refusal(url, token)
    assert (error.code, error.exit_code, coordinator.asked) == ("join_refused", ExitCode.PROBLEMS, [])
    assert "malformed" in error.message and error.cause and error.next_step


def test_a_stranger_never_sees_the_token() -> None:
    with playing(challenge={"coordinatorId": "0" * 64}) as (coordinator, url):
        error = refusal(url)
    assert (error.code, error.exit_code) == ("join_refused", ExitCode.PROBLEMS)
    assert "not the one that made this join token" in error.message and error.cause == url
    assert [path for _, path, _ in coordinator.asked] == ["/api/link/challenge"]


@pytest.mark.parametrize(
    "change",
    [
        {"publicKey": NODE.public_key.hex()},
        {"publicKey": NODE.public_key.hex(), "coordinatorId": key_fingerprint(NODE.public_key)},
        {"coordinatorId": ID[:16] + "0" * 48},
    ],
)
def test_who_has_another_key_than_the_token_says_is_not_joined(change: dict[str, str]) -> None:
    with playing(answer=Coordinator().answer | change) as (_, url):  # type: ignore[operator]
        error = refusal(url)
    assert (error.code, error.exit_code) == ("join_refused", ExitCode.PROBLEMS)
    assert "not the one that made this join token" in error.message and error.next_step


@pytest.mark.parametrize("change", [{"publicKey": "xy"}, {"publicKey": 5}, {"signers": ["xy"]}, {"signers": None}])
def test_a_malformed_answer_is_said(change: dict[str, object]) -> None:
    with playing(answer=Coordinator().answer | change) as (_, url):  # type: ignore[operator]
        error = refusal(url)
    assert (error.code, error.exit_code) == ("join_refused", ExitCode.PROBLEMS)
    assert "malformed" in error.message and error.cause and error.next_step


@pytest.mark.parametrize("challenge", [[], {}, "no", 5])
def test_who_answers_otherwise_is_no_coordinator(challenge: object) -> None:
    with playing(challenge=challenge) as (_, url):
        error = refusal(url)
    assert (error.code, error.exit_code) == ("unreachable", ExitCode.ENVIRONMENT)
    assert url in error.message and error.cause and error.next_step


def test_where_nothing_listens_that_is_the_cause() -> None:
    error = refusal(f"http://127.0.0.1:{free_port()}")
    assert error.code == "unreachable" and "refused" in error.cause, error.cause


def test_a_refusal_of_the_coordinator_is_told_in_its_words() -> None:
    problem = {"code": "bad_join_token", "detail": "it is used up", "nextStep": "make another"}
    with playing(answer=problem, status=403) as (_, url):
        error = refusal(url)
    assert (error.code, error.cause, error.next_step) == ("bad_join_token", "it is used up", "make another")
    assert "node-a" in error.message and error.exit_code is ExitCode.PROBLEMS


@pytest.mark.parametrize(("answer", "status"), [({}, 500), ([1], 500), ([1], 201), ({}, 200)])
def test_a_refusal_without_words_is_told_by_its_status(answer: object, status: int) -> None:
    with playing(answer=answer, status=status) as (_, url):
        error = refusal(url)
    assert error.code == "join_refused" and error.exit_code is ExitCode.PROBLEMS
    assert error.cause == f"status {status}" and error.next_step == "make a new join token on the coordinator"


def test_a_ca_file_that_cannot_be_used_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with playing() as (coordinator, url):
        for name in ("ca.pem", "gone.pem"):
            error = refusal(url, ca_file=str(tmp_path / name))
            assert (error.code, error.exit_code) == ("ca_file", ExitCode.ENVIRONMENT)
            assert name in error.message and error.cause and error.next_step
    assert coordinator.asked == []


async def trickled(ask: Callable[[str], Coroutine[object, object, object]]) -> EyeflowError:
    """Return how an ask ends whose answer comes byte by byte, and never ends."""
    gone = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"H")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(65536), 0.02)
            writer.close()
            await writer.wait_closed()
        gone.set()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        with pytest.raises(EyeflowError) as error:
            await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await gone.wait()
    return error.value


def test_an_answer_that_trickles_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time: only a limit of the whole ends it."""
    monkeypatch.setattr(membership, "JOIN_S", 0.3)
    ask = lambda url: ask_to_join(url, TOKEN, "node-a", NODE.sign, NODE.public_key)  # noqa: E731
    assert asyncio.run(trickled(ask)).code == "unreachable"


def test_the_client_goes_where_it_is_told_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a redirect nor a proxy of the environment may see the token."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with serve(lambda request, body: RedirectResponse("http://127.0.0.1:1/")) as url:

        async def ask() -> httpx.Response:
            async with http_client(url, None, JOIN_S) as client:
                assert client.timeout == httpx.Timeout(JOIN_S)
                assert client.event_hooks["request"] == CLOSING["request"], "it leaves no handshake open"
                return await client.get("/x")

        assert asyncio.run(ask()).status_code == 307


def test_only_a_coordinator_whose_certificate_is_trusted_sees_the_token(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    coordinator = Coordinator()
    with serve(coordinator.reply, authority.issue("coordinator")) as url:
        assert refusal(url).code == "unreachable", "by the authorities of the system"
        (tmp_path / "other").mkdir()
        assert refusal(url, ca_file=str(TestAuthority(tmp_path / "other").ca_file)).code == "unreachable"
        assert coordinator.asked == []
        assert join(url, ca_file=str(authority.ca_file)).ca_file == str(authority.ca_file)


def with_ca(authority: TestAuthority) -> tuple[str, str]:
    """A CA as PEM, and a join token that pins it."""
    ca = certificates.split(authority.ca_file.read_text())[0]
    return ca, f"{TOKEN}_{certificates.facts(ca).fingerprint[:32]}"


def test_a_token_that_pins_a_ca_makes_the_node_trust_that_ca_and_no_other(tmp_path: Path) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    own, other = TestAuthority(tmp_path / "own"), TestAuthority(tmp_path / "other")
    ca, token = with_ca(own)
    coordinator = Coordinator(ca=ca)
    with serve(coordinator.reply, own.issue("coordinator")) as url:
        assert join(url, token).ca == ca
        assert coordinator.asked[-1][2]["token"] == token
        coordinator.asked.clear()
        assert refusal(url, with_ca(other)[1]).code == "wrong_ca"
        assert [path for _, path, _ in coordinator.asked] == ["/api/ca"], "nothing secret was sent"
    coordinator.asked.clear()
    with serve(coordinator.reply, other.issue("stranger")) as url:
        assert refusal(url, token).code == "unreachable"
        assert [path for _, path, _ in coordinator.asked] == ["/api/ca"], "it shows the CA and has no certificate of it"


def test_a_token_that_pins_a_ca_goes_over_tls_only(tmp_path: Path) -> None:
    ca, token = with_ca(TestAuthority(tmp_path))
    with playing(ca=ca) as (coordinator, url):
        error = refusal(url, token)
    assert (error.code, error.exit_code, coordinator.asked) == ("join_refused", ExitCode.PROBLEMS, [])
    assert "TLS" in error.message and url in error.cause and "https://" in error.next_step


def test_a_ca_that_comes_with_the_answer_is_believed_over_tls_only(tmp_path: Path) -> None:
    """A token from before the CA does not name it; then the server must be known otherwise."""
    authority = TestAuthority(tmp_path)
    answer = Coordinator().answer | {"ca": "a CA"}  # type: ignore[operator]
    with serve(Coordinator(answer=answer).reply, authority.issue("coordinator")) as url:
        assert join(url, ca_file=str(authority.ca_file)).ca == "a CA"
    with serve(Coordinator().reply, authority.issue("another")) as url:
        assert join(url, ca_file=str(authority.ca_file)).ca == ""
    ca, token = with_ca(authority)
    with serve(Coordinator(answer=answer, ca=ca).reply, authority.issue("third")) as url:
        assert join(url, token).ca == ca, "the pinned one counts"
    with playing(answer=answer) as (_, url):
        assert join(url).ca == ""


def test_the_ca_of_the_cluster_is_kept_and_only_when_there_is_one(tmp_path: Path) -> None:
    Membership(tmp_path).join(replace(JOINED, ca="a CA"))
    assert Membership(tmp_path).joined() == replace(JOINED, ca="a CA")
    plain = json.loads((tmp_path / "cluster.json").read_bytes())
    assert plain["ca"] == "a CA"
    (tmp_path / "cluster.json").write_text(json.dumps(plain | {"ca": 5}))
    unreadable(Membership(tmp_path).joined, "cluster.json")


def test_without_tls_no_authorities_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes 20 ms, with each attempt to reach a coordinator."""

    def read(*given: object, **named: object) -> None:
        raise AssertionError("the system's authorities are read")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", read)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", read)
    assert tls_context("", "") is None, "the system's"
    http_client("http://127.0.0.1:8600", None, JOIN_S)
    with pytest.raises(AssertionError):
        http_client("https://127.0.0.1:8600", None, JOIN_S)


JOINED = JoinResult("https://c:8600", "node-a", ID, COORDINATOR.public_key, SIGNERS, "/etc/ca.pem")


def test_what_was_joined_is_there_after_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "not" / "there"
    assert Membership(data).joined() is None and not Membership(data).is_there
    Membership(data).join(JOINED)
    assert Membership(data).joined() == JOINED and Membership(data).is_there


def test_the_form_of_the_two_files_stays(tmp_path: Path) -> None:
    """A newer eyeflow reads what an older one wrote."""
    Membership(tmp_path).join(JOINED)
    Membership(tmp_path).accept(Accepted(7, bytes(range(32))))
    assert json.loads((tmp_path / "cluster.json").read_bytes()) == {
        "url": "https://c:8600",
        "node": "node-a",
        "coordinatorId": ID,
        "coordinatorKey": COORDINATOR.public_key.hex(),
        "signers": [key.hex() for key in SIGNERS],
        "caFile": "/etc/ca.pem",
    }
    assert json.loads((tmp_path / "manifest.json").read_bytes()) == {"version": 7, "digest": bytes(range(32)).hex()}


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    Membership(data).join(JOINED)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "cluster.json").stat().st_mode) == 0o600


def test_manifests_start_anew_at_another_coordinator_only(tmp_path: Path) -> None:
    kept = Membership(tmp_path)
    kept.join(JOINED)
    kept.accept(Accepted(7, bytes(32)))
    kept.join(replace(JOINED, url="https://moved:8600"))
    assert kept.accepted() == Accepted(7, bytes(32)), "the same coordinator at another address"
    kept.join(replace(JOINED, coordinator_id="0" * 64))
    assert kept.accepted() == Accepted()


def test_the_old_manifest_is_gone_before_the_new_cluster_is_written(tmp_path: Path) -> None:
    """After a crash between the two, the old version would refuse each manifest of the new coordinator."""
    Membership(tmp_path).join(JOINED)
    Membership(tmp_path).accept(Accepted(7, bytes(32)))

    def crash(path: Path, data: bytes, mode: int, *, replace: bool = True) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Membership(tmp_path, crash).join(replace(JOINED, coordinator_id="0" * 64))
    assert Membership(tmp_path).accepted() == Accepted()


class Writes:
    """Writes files and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, path: Path, data: bytes, mode: int, *, replace: bool = True) -> None:
        self.count += 1
        write_whole(path, data, mode, replace=replace)


def test_a_manifest_that_comes_again_costs_no_write(tmp_path: Path) -> None:
    writes = Writes()
    kept = Membership(tmp_path, writes)
    for accepted in (Accepted(1, bytes(32)), Accepted(1, bytes(32)), Accepted(2, bytes(32)), Accepted(2, bytes(32))):
        kept.accept(accepted)
    assert (writes.count, Membership(tmp_path).accepted()) == (2, Accepted(2, bytes(32)))


def test_a_slow_write_of_a_link_that_broke_does_not_take_the_next_manifest_back(tmp_path: Path) -> None:
    """Nobody waits any more for the thread that writes 1; the next link is there before the disk has answered."""
    begun, second = threading.Event(), threading.Event()

    def slow(path: Path, data: bytes, mode: int, *, replace: bool = True) -> None:
        if not begun.is_set():
            begun.set()
            second.wait(0.5)  # for whoever does not wait for this write
        else:
            write_whole(path, data, mode, replace=replace)
            second.set()
            return
        write_whole(path, data, mode, replace=replace)

    kept = Membership(tmp_path, slow)
    first = threading.Thread(target=kept.accept, args=[Accepted(1, bytes(32))])
    first.start()
    assert begun.wait(HANG_S)
    kept.accept(Accepted(2, bytes(32)))
    first.join(HANG_S)
    assert Membership(tmp_path).accepted() == Accepted(2, bytes(32))


def test_an_older_manifest_is_never_kept(tmp_path: Path) -> None:
    kept = Membership(tmp_path)
    kept.accept(Accepted(2, bytes(32)))
    with pytest.raises(AssertionError):
        kept.accept(Accepted(1, bytes(32)))
    assert kept.accepted() == Accepted(2, bytes(32))


def unreadable(read: Callable[[], object], name: str) -> None:
    with pytest.raises(EyeflowError) as error:
        read()
    assert (error.value.code, error.value.exit_code) == ("membership", ExitCode.ENVIRONMENT)
    assert name in error.value.message and error.value.cause and "eyeflow node join" in error.value.next_step


@pytest.mark.parametrize("digest", ["", "00" * 31, "00" * 33, "xy" * 32, 5, None])
@pytest.mark.parametrize("version", [1, 0, -1, True, "1", 1.0, None])
def test_a_manifest_file_that_no_node_wrote_is_not_believed(tmp_path: Path, version: object, digest: object) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"version": version, "digest": digest}))
    unreadable(Membership(tmp_path).accepted, "manifest.json")


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None])
def test_a_version_that_no_coordinator_gives_is_not_believed(tmp_path: Path, version: object) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"version": version, "digest": "00" * 32}))
    unreadable(Membership(tmp_path).accepted, "manifest.json")
    (tmp_path / "manifest.json").write_text(json.dumps({"version": 1, "digest": "00" * 32}))
    assert Membership(tmp_path).accepted() == Accepted(1, bytes(32)), "the control"


@pytest.mark.parametrize("name", ["url", "node", "coordinatorId", "caFile", "signers", "coordinatorKey"])
@pytest.mark.parametrize("value", [5, None, {}, ["x"], "00" * 31, ["00" * 31], ["00" * 32, "00" * 31]])
def test_a_cluster_file_that_no_node_wrote_is_not_believed(tmp_path: Path, name: str, value: object) -> None:
    if isinstance(value, str) and name not in {"signers", "coordinatorKey"}:
        value = [value]
    Membership(tmp_path).join(JOINED)
    plain = json.loads((tmp_path / "cluster.json").read_bytes())
    (tmp_path / "cluster.json").write_text(json.dumps(plain | {name: value}))
    unreadable(Membership(tmp_path).joined, "cluster.json")
    (tmp_path / "cluster.json").write_text(json.dumps({key: one for key, one in plain.items() if key != name}))
    unreadable(Membership(tmp_path).joined, "cluster.json")


def test_a_file_without_bound_is_not_read(tmp_path: Path) -> None:
    text = json.dumps({"version": 1, "digest": "00" * 32})
    (tmp_path / "manifest.json").write_text(text.ljust(FILE_BYTES_MAX))
    assert Membership(tmp_path).accepted() == Accepted(1, bytes(32))
    (tmp_path / "manifest.json").write_text(text.ljust(FILE_BYTES_MAX + 1))
    unreadable(Membership(tmp_path).accepted, "manifest.json")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(EyeflowError) as error:
        Membership(tmp_path / "data").join(JOINED)
    assert error.value.code in {"membership", "cannot_write"} and error.value.cause

    def full(path: Path, data: bytes, mode: int, *, replace: bool = True) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(EyeflowError) as error:
        Membership(tmp_path, full).join(JOINED)
    assert (error.value.code, error.value.exit_code) == ("cannot_write", ExitCode.ENVIRONMENT)
    assert "cluster.json" in error.value.message and error.value.cause and error.value.next_step


def test_a_bug_while_a_file_is_read_is_no_trouble_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Membership(tmp_path).join(JOINED)

    def bug(*given: object) -> JoinResult:
        raise AssertionError("a bug")

    monkeypatch.setattr(membership, "JoinResult", bug)
    with pytest.raises(AssertionError, match="a bug"):
        Membership(tmp_path).joined()
