"""The coordinator's own log: every change with its caller, and any change of the log itself is found."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.base.clock import wall_clock_us
from eyeflow.base.errors import EyeflowError
from eyeflow.client.log_check import Checked, SeenHeads, check_log
from eyeflow.coordinator import openapi
from eyeflow.coordinator.authority_log import AuthorityLog
from eyeflow.coordinator.credentials import REQUEST_HEADER, REQUEST_VALUE
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.coordinator.store.facts import LogEntry
from eyeflow.coordinator.store.lists import LogAsked
from eyeflow.coordinator.tls import init_tls
from eyeflow.protocol.boards import board_bytes
from eyeflow.protocol.coordinator_log import ZERO_HASH, Entry, Head, LogError, SignedHead, follow, head_bytes
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.signer_list import make_list
from eyeflow.rollout.deployment import DeploymentState, Pause, Target, Wanted
from eyeflow.rollout.stepwise import APPROVAL

from .test_api import certificate_body
from .test_credentials import everything
from .test_sources import SOURCE, uploaded


def chain(count: int) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(1, count + 1):
        prev = entries[-1].hash if entries else ZERO_HASH
        entries.append(Entry(number, number * 10, "ci", "deploy", f"d-{number}", "", prev))
    return entries


def again(entries: list[Entry]) -> list[Entry]:
    """The same entries as somebody chains them who has changed one."""
    made: list[Entry] = []
    for entry in entries:
        made.append(replace(entry, prev=made[-1].hash if made else ZERO_HASH))
    return made


@given(data=st.data())
def test_any_change_of_an_entry_is_found_at_its_place(data: st.DataObject) -> None:
    entries = chain(6)
    end = follow(None, entries, {})
    assert end == Head(6, entries[-1].hash), "the control"
    at = data.draw(st.integers(0, 5))
    field = data.draw(st.sampled_from(["time_us", "actor", "action", "subject", "detail", "prev"]))
    old = getattr(entries[at], field)
    new = old + 1 if isinstance(old, int) else old[:-1] + (b"\1" if isinstance(old, bytes) else "x")
    changed = [*entries[:at], replace(entries[at], **{field: new}), *entries[at + 1 :]]
    with pytest.raises(LogError) as error:
        follow(None, changed, {end: "was seen"})
    assert str(at + 1) in str(error.value) or str(at) in str(error.value)
    if field != "prev":
        with pytest.raises(LogError):
            follow(None, again(changed), {end: "was seen"})


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: [*entries[:2], *entries[3:]],
        lambda entries: [*entries[:2], entries[3], entries[2], *entries[4:]],
        lambda entries: entries[:-1],
        lambda entries: [*entries[:2], entries[1], *entries[2:]],
        lambda entries: [],
    ],
    ids=["one is gone", "two are swapped", "the end is gone", "one twice", "all are gone"],
)
def test_what_is_gone_or_elsewhere_is_found(change: Callable[[list[Entry]], list[Entry]]) -> None:
    entries = chain(6)
    end = follow(None, entries, {})
    with pytest.raises(LogError):
        follow(None, change(entries), {end: "was seen"})


def test_a_missing_entry_is_named() -> None:
    entries = chain(6)
    with pytest.raises(LogError, match="entry 3 is missing"):
        follow(None, [*entries[:2], *entries[3:]], {})


def test_the_oldest_may_be_forgotten_and_a_head_is_signed_by_the_coordinator() -> None:
    entries, key = chain(6), Identity(bytes(32))
    end = follow(None, entries, {})
    assert follow(None, entries[3:], {end: "was seen", Head(2, entries[1].hash): "is too old"}) == end
    good = SignedHead(end, key.sign(head_bytes("c" * 64, end)))
    good.check("c" * 64, key.public_key)
    for bad, coordinator in (
        (replace(good, head=Head(5, end.hash)), "c"),
        (good, "d"),
        (replace(good, signature=b"x"), "c"),
    ):
        with pytest.raises(LogError):
            bad.check(coordinator * 64, key.public_key)


class Reader:
    """The client of the log over the application, as a user has it."""

    url = "http://test"

    def __init__(self, api: Any) -> None:
        self._api = api

    def log(self) -> Any:
        return self._api.ask("GET", "/api/log", "read").json()

    def log_entries(self, after: int) -> Any:
        return self._api.ask("GET", f"/api/log/entries?limit=500&after={after}", "read").json()["entries"]


def check(api: Any, path: Path) -> Checked:
    return check_log(Reader(api), SeenHeads(path))  # type: ignore[arg-type]


def refused(api: Any, path: Path) -> str:
    with pytest.raises(EyeflowError) as error:
        check(api, path)
    assert error.value.code == "log_changed" and error.value.exit_code == 1
    return error.value.cause


def run(api: Any, sql: str) -> None:
    api.store.file._db.execute(sql)


def test_a_log_that_nobody_changed_holds(full: Any, tmp_path: Path) -> None:
    full.tick()
    first = check(full, tmp_path / "seen")
    assert (first.first, first.seen) == (1, None) and first.signed == first.head.number > 5
    assert (tmp_path / "seen").stat().st_mode & 0o777 == 0o600
    full.ask("POST", "/api/tokens", json={"name": "x", "role": "read"})
    later = check(full, tmp_path / "seen")
    assert later.seen == first.head and later.head.number == first.head.number + 1
    assert later.signed == first.signed, "the tick has not come yet"
    full.tick()
    assert check(full, tmp_path / "seen").signed == later.head.number


TAMPERED = {
    "an actor": "UPDATE log SET actor = 'somebody else' WHERE number = 3",
    "a detail of the newest": "UPDATE log SET detail = 'x' WHERE number = (SELECT max(number) FROM log)",
    "an entry is gone": "DELETE FROM log WHERE number = 3",
    "the newest is gone": "DELETE FROM log WHERE number = (SELECT max(number) FROM log)",
    "all are gone": "DELETE FROM log",
    "one more": "INSERT INTO log SELECT number + 1, time_us, actor, action, subject, detail, prev FROM log "
    "ORDER BY number DESC LIMIT 1",
    "the signature": "UPDATE log_heads SET signature = zeroblob(64)",
    "the signed head": "UPDATE log_heads SET number = number - 1",
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_log_that_was_changed_on_disk_is_found(full: Any, tmp_path: Path, name: str) -> None:
    full.tick()
    before = check(full, tmp_path / "seen").head
    run(full, TAMPERED[name])
    assert refused(full, tmp_path / "new user")
    if "sign" not in name:
        run(full, "DELETE FROM log_heads")
        assert refused(full, tmp_path / "seen"), "without the signature it is what the user has seen"
    assert SeenHeads(tmp_path / "seen").of(full.store.coordinator_id) == before, "a bad head is not kept"


def test_one_who_chains_the_log_anew_cannot_sign_it_and_the_coordinator_does_not_either(
    full: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full.tick()
    good = check(full, tmp_path / "seen")
    entries = full.look(lambda reading: reading.log_after(0, 1000))
    forged = again([replace(one, actor="nobody") if one.number == 2 else one for one in entries])
    for one in forged:
        full.store.file._db.execute(
            "UPDATE log SET actor = ?, prev = ? WHERE number = ?", (one.actor, one.prev, one.number)
        )
    assert "the coordinator signed" in refused(full, tmp_path / "new user")
    full.ask("POST", "/api/tokens", json={"name": "x", "role": "read"})
    for _ in range(3):
        full.tick()
    assert caplog.text.count("the coordinator's log was changed from outside") == 1
    log = full.ask("GET", "/api/log").json()
    assert log["signed"]["number"] == good.signed and "signed" in log["trouble"]
    run(full, "DELETE FROM log_heads")
    full.tick()
    assert check(full, tmp_path / "new user").head, "who has the store and its key can sign another log"
    assert "was seen at the last check" in refused(full, tmp_path / "seen"), "but not unsay what users have seen"


def signer_list(version: int) -> Any:
    root = Identity(bytes(range(5, 37)))
    return json.loads(make_list(version, 1, 0, [root.public_key], root.public_key, root.sign).text())


def board_body(api: Any) -> dict[str, str]:
    nonce, key = api.ask("GET", "/api/link/challenge").json()["nonce"], "ab" * 32
    signed = board_bytes(
        api.store.coordinator_id, "node-a", bytes.fromhex(nonce), "node-mcu-01", bytes.fromhex(key), "ef" * 8, ""
    )
    signature = api.nodes["node-a"].sign(signed).hex()
    body = {"board": "node-mcu-01", "publicKey": key, "device": "ef" * 8, "boardFile": ""}
    return body | {"nonce": nonce, "signature": signature}


def changes(api: Any, make: Any, tmp_path: Path) -> dict[str, tuple[str, Any, str]]:
    """How each path that changes something is called, and whom the log then names."""
    api.hub.tls = init_tls(tmp_path, ["localhost"], api.clock())
    token = api.ask("POST", "/api/tokens", json={"name": "gone", "role": "read"}).json()["id"]
    program = {"content": make.program(version="9.0.0"), "headers": {"Content-Type": "application/octet-stream"}}
    key = "ab" * 32
    api.do(lambda writing: writing.raise_alarm(AlarmKind.DEPLOYMENT_FAILED, api.deployment["id"], "x", api.clock()))
    (alarm,) = api.ask("GET", "/api/alarms").json()["alarms"]
    api.ask("POST", "/api/keys", json={"publicKey": "cd" * 32, "name": "gone"})
    return {
        "POST /api/nodes/join-tokens": ("/api/nodes/join-tokens", {"json": {}}, "admin"),
        "POST /api/nodes/join": (
            "/api/nodes/join",
            {"json": api.join_body("node-c", api.nodes["node-a"])},
            "node node-c",
        ),
        "POST /api/nodes/{id}/boards": ("/api/nodes/node-a/boards", {"json": board_body(api)}, "node node-a"),
        "POST /api/nodes/{id}/quarantine": ("/api/nodes/node-a/quarantine", {"json": {}}, "admin"),
        "POST /api/nodes/{id}/accept": ("/api/nodes/node-a/accept", {}, "admin"),
        "PUT /api/nodes/{id}/labels": ("/api/nodes/node-a/labels", {"json": {"labels": {"site": "lyon"}}}, "admin"),
        "POST /api/nodes/{id}/drain": ("/api/nodes/node-a/drain", {}, "admin"),
        "POST /api/nodes/{id}/undrain": ("/api/nodes/node-a/undrain", {}, "admin"),
        "DELETE /api/nodes/{id}": ("/api/nodes/node-b", {}, "admin"),
        "DELETE /api/nodes/{id}/rules/{rule}": ("/api/nodes/node-a/rules/overheat", {}, "admin"),
        "POST /api/programs": ("/api/programs", program, "admin"),
        "PUT /api/programs/{id}/source": (
            f"/api/programs/{uploaded(api)}/source",
            {"json": {"source": SOURCE}},
            "admin",
        ),
        "PUT /api/programs/{id}/tests": (f"/api/programs/{uploaded(api)}/tests", {"json": {"tests": []}}, "admin"),
        "POST /api/alarms/{id}/acknowledge": (f"/api/alarms/{alarm['id']}/acknowledge", {"json": {}}, "admin"),
        "POST /api/rules/{id}/deploy": ("/api/rules/overheat/deploy", {"json": {"nodeIds": ["node-a"]}}, "admin"),
        "POST /api/deployments": (
            "/api/deployments",
            {"json": {"all": True, "changes": [{"rule": "overheat"}]}},
            "admin",
        ),
        **{
            f"POST /api/deployments/{{id}}/{verb}": (f"/api/deployments/{api.deployment['id']}/{verb}", {}, "admin")
            for verb in ("cancel", "pause", "resume", "promote", "approve", "rollback", "retry")
        },
        "POST /api/keys": ("/api/keys", {"json": {"publicKey": key, "name": "x"}}, "admin"),
        "POST /api/keys/root": ("/api/keys/root", {"json": signer_list(1)}, "admin"),
        "DELETE /api/keys/{key}": (f"/api/keys/{'cd' * 32}", {}, "admin"),
        "POST /api/policy": ("/api/policy", {"json": {"text": ""}}, "admin"),
        "POST /api/tokens": ("/api/tokens", {"json": {"name": "new", "role": "read"}}, "admin"),
        "POST /api/session": ("/api/session", {"json": {"token": api.tokens["admin"]}}, "admin"),
        "DELETE /api/session": ("/api/session", {"headers": signed_in(api)}, "admin"),
        "DELETE /api/sessions": ("/api/sessions", {}, "admin"),
        "POST /api/session/links": ("/api/session/links", {}, "admin"),
        "DELETE /api/tokens/{id}": (f"/api/tokens/{token}", {}, "admin"),
        "POST /api/link/certificate": (
            "/api/link/certificate",
            {"json": certificate_body(api, "node-a", api.nodes["node-a"])},
            "node node-a",
        ),
    }


def signed_in(api: Any) -> dict[str, str]:
    """The headers of a page of the dashboard."""
    cookie = api.client.post("/api/session", json={"token": api.tokens["admin"]}).headers["set-cookie"]
    return {"Authorization": "", "Cookie": cookie.partition(";")[0], REQUEST_HEADER: REQUEST_VALUE}


def prepare(api: Any, operation: str) -> None:
    """Bring the deployment into a state in which the operation changes something."""
    states = {
        "promote": DeploymentState.OBSERVING,
        "rollback": DeploymentState.SUCCEEDED,
        "{rule}": DeploymentState.FAILED,
        "retry": DeploymentState.FAILED,
        "drain": DeploymentState.FAILED,
    }
    verb = operation.rpartition("/")[2]

    def step(writing: Any) -> None:
        one = writing.deployment(api.deployment["id"])
        paused = (Pause(APPROVAL, "", 0),) if verb == "approve" else one.paused
        asked = "somebody" if verb == "approve" else one.created_by
        writing.save_deployment(replace(one, state=states.get(verb, one.state), paused=paused, created_by=asked))
        if verb == "{rule}":
            writing.want("node-a", Wanted("overheat", "active", Target(api.program_id, "d-0", ())))

    api.do(step)


ASKING = {
    "POST /api/deployments/plan": {"all": True, "changes": [{"rule": "overheat"}]},
    "POST /api/policy/check": {"text": ""},
}
"""Paths that take a body and change nothing: each with a body for the test that it is so."""
CHANGING = [
    f"{method.upper()} {path}"
    for path, methods in openapi.document()["paths"].items()
    for method in methods
    if method != "get" and f"{method.upper()} {path}" not in ASKING
]


@pytest.mark.parametrize("operation", CHANGING)
def test_every_change_is_in_the_log_with_its_caller(full: Any, make: Any, tmp_path: Path, operation: str) -> None:
    """The paths come from the API document: one that is new needs a line in `changes`, and an entry in the log."""
    path, request, actor = changes(full, make, tmp_path)[operation]
    prepare(full, operation)
    before = full.look(lambda reading: reading.log_head()).number
    reply = full.ask(operation.partition(" ")[0], path, **request)
    assert reply.is_success, reply.text
    entries = full.look(lambda reading: reading.log_after(before, 100))
    assert [one for one in entries if one.actor == actor], entries


@pytest.mark.parametrize("operation", ASKING)
def test_who_only_asks_changes_nothing(full: Any, operation: str) -> None:
    before = everything(full)
    assert full.ask(operation.partition(" ")[0], operation.partition(" ")[2], json=ASKING[operation]).is_success
    assert everything(full) == before


def test_the_log_names_nobody_wrongly(api: Any) -> None:
    for name in ("coordinator", "node node-a", "node x"):
        reply = api.ask("POST", "/api/tokens", json={"name": name, "role": "read"})
        assert (reply.status_code, reply.json()["code"]) == (409, "token_exists"), name
    assert api.ask("POST", "/api/tokens", json={"name": "node-a", "role": "read"}).status_code == 201


def test_a_long_log_is_read_in_parts(api: Any, tmp_path: Path) -> None:
    rng = random.Random(5)

    def step(writing: Any) -> None:
        for number in range(2500):
            writing.add_log_entry(LogEntry(number, "a", "b", "c", "x" * rng.randrange(50)))

    api.do(step)
    api.tick()
    assert check(api, tmp_path / "seen").head.number > 2500
    for after in ("x", "-1", "1.5", "9" * 30):
        assert api.ask("GET", f"/api/log/entries?after={after}").json()["code"] == "invalid_query"


def test_which_ca_is_used_stands_in_the_log_once(api: Any, tmp_path: Path) -> None:
    tls, now_us = init_tls(tmp_path / "coordinator", ["plant.example"], wall_clock_us()), wall_clock_us()
    first = tls.fingerprint

    def entries() -> list[tuple[str, str]]:
        found = api.look(lambda reading: reading.log_page(LogAsked(100, action="authority"))).rows
        return [(one.subject, one.detail) for one in found]

    def note(by: AuthorityLog) -> None:
        api.run(lambda: by.note(tls, now_us))

    for by in (kept := AuthorityLog(api.store), kept, AuthorityLog(api.store)):  # the last one: after a restart
        note(by)
    assert entries() == [(first, "")]
    tls.replace_authority(now_us)
    for by in (kept, AuthorityLog(api.store)):
        note(by)
    beside = (tls.fingerprint, f"beside {first[:16]}")
    assert entries() == [(first, ""), beside]
    tls.forget_earlier(now_us)
    note(kept)
    assert entries() == [(first, ""), beside, (tls.fingerprint, "")], "the old one counts no more"
