"""Whatever the coordinator serves is refused to who may not have it. What is served is read from the OpenAPI document.

So no new path can be forgotten: it is refused as all others are, or it stands in OPEN with its reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route, WebSocketRoute

from eyeflow.coordinator import openapi, tokens
from eyeflow.coordinator.app import make_app
from eyeflow.coordinator.serve import FIRST_TOKEN, ServeOptions, prepare

OPEN = {
    ("GET", "/api/keys/root"): "public keys with a signature; a node that knows the root checks it",
    ("GET", "/api/ca"): "a CA's certificate is public; a node compares it with the fingerprint in its join token",
    ("POST", "/api/link/certificate"): "the signature of the node's own key in its body is the credential",
    ("GET", "/api/link/challenge"): "a node asks for it before it can prove who it is; it opens nothing by itself",
    ("GET", "/api/openapi.json"): "the same for everybody, and in the documentation",
    ("GET", "/api/docs"): "the same document as a page",
    ("GET", "/healthz"): "a load balancer has no token; it says nothing but ok",
    ("POST", "/api/nodes/{id}/boards"): "the signature of the gateway's own key in its body is the credential",
    ("POST", "/api/session"): "the API token, or the code of a link, in its body is the credential",
    ("POST", "/api/nodes/join"): "the join token in its body is the credential",
}
ROLES = ["read", "deploy", "admin"]


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    role: str
    """The role that the document says it needs; empty: none."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def filled(self) -> str:
        return self.path.replace("{id}", "x").replace("{key}", "x").replace("{rule}", "x")


def operations() -> list[Operation]:
    found = []
    for path, methods in openapi.document()["paths"].items():
        for method, one in methods.items():
            described = one.get("description", "")
            role = next((role for role in ROLES if f"role `{role}`" in described), "")
            assert role or one["security"] == [], f"{method} {path} says neither a role nor that it needs none"
            found.append(Operation(method.upper(), path, role))
    return found


GUARDED = [one for one in operations() if (one.method, one.path) not in OPEN]


def refused(reply: httpx.Response, status: int, code: str) -> None:
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    assert reply.headers["content-type"] == "application/problem+json" and reply.json()["nextStep"]
    assert (reply.headers.get("www-authenticate", "").startswith("Bearer")) == (status == 401)


def test_the_document_holds_all_that_is_served_and_what_is_open_is_known(api: Any) -> None:
    served = set()
    for route in make_app(api.hub).routes:
        assert isinstance(route, Route | WebSocketRoute)
        if isinstance(route, WebSocketRoute):
            assert route.path in {"/api/link", "/api/changes"}, "their own tests: test_security.py, test_changes.py"
        else:
            served |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
    assert served == {(one.method, one.path) for one in operations()}
    assert {(one.method, one.path) for one in operations() if not one.role} == OPEN.keys()


WRONG = {
    "none": "",
    "no token": "Bearer",
    "an empty token": "Bearer ",
    "an unknown token": "Bearer eft_000000000000_" + "0" * 64,
    "another scheme": "Basic YTpi",
    "a long token": "Bearer " + "x" * 5000,
    "no ASCII": "Bearer \xff",
    "a join token": "join",
    "a changed token": "changed",
    "an expired token": "expired",
    "a revoked token": "revoked",
}


@pytest.fixture
def wrong(api: Any) -> dict[str, str]:
    """The headers of WRONG, with those that need a cluster."""
    expired = api.ask("POST", "/api/tokens", json={"name": "late", "role": "admin", "validS": 1}).json()["token"]
    revoked = api.ask("POST", "/api/tokens", json={"name": "gone", "role": "admin"}).json()
    assert api.ask("DELETE", f"/api/tokens/{revoked['id']}").status_code == 204
    join = api.ask("POST", "/api/nodes/join-tokens", json={}).json()["token"]
    api.clock.pass_s(1)
    good = api.tokens["admin"]
    changed = good[:-1] + ("0" if good[-1] != "0" else "1")
    made = {"join": join, "changed": changed, "expired": expired, "revoked": revoked["token"]}
    return {name: f"Bearer {made[header]}" if header in made else header for name, header in WRONG.items()}


@pytest.mark.parametrize("operation", GUARDED, ids=str)
def test_without_or_with_a_wrong_or_expired_token_nothing_opens(
    api: Any, operation: Operation, wrong: dict[str, str]
) -> None:
    before = everything(api)
    methods = ["GET", "HEAD"] if operation.method == "GET" else [operation.method]
    for name, authorization in wrong.items():
        headers = {"Authorization": authorization.encode("latin-1")} if authorization else {}
        for method in methods:
            reply = api.client.request(method, operation.filled, headers=headers, content=b"{}")
            if method == "HEAD":
                assert reply.status_code == 401, name
            else:
                refused(reply, 401, "unauthenticated")
    assert everything(api) == before, "nothing was changed either"
    assert api.ask(operation.method, operation.filled).status_code != 401, "the control: a good token opens it"


@pytest.mark.parametrize("operation", GUARDED, ids=str)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_exactly_what_it_includes(api: Any, operation: Operation, role: str) -> None:
    reply = api.ask(operation.method, operation.filled, role)
    if ROLES.index(role) < ROLES.index(operation.role):
        refused(reply, 403, "forbidden")
    else:
        assert reply.status_code not in {401, 403}


def everything(api: Any) -> list[Any]:
    """All rows of the store, but for the times of uses."""
    db = api.store.file._db
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return [(name, list(db.execute(f"SELECT * FROM {name}"))) for name in tables]


def test_a_token_expires_at_its_time_and_says_so_to_its_holder_only(api: Any) -> None:
    made = api.ask("POST", "/api/tokens", json={"name": "ci", "role": "read", "validS": 60}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    api.clock.pass_s(59)
    assert api.client.get("/api/status", headers=headers).status_code == 200
    api.clock.pass_s(1)
    said = api.client.get("/api/status", headers=headers)
    refused(said, 401, "unauthenticated")
    assert "`ci` has expired" in said.json()["detail"]
    stranger = {"Authorization": f"Bearer eft_{made['id']}_{'0' * 64}"}
    assert "ci" not in api.client.get("/api/status", headers=stranger).text
    shown = {one["name"]: one for one in api.ask("GET", "/api/tokens").json()["tokens"]}
    assert (shown["ci"]["works"], shown["ci"]["expiresUs"]) == (False, made["expiresUs"])


def test_a_token_works_for_90_days_unless_told_otherwise(api: Any) -> None:
    made = api.ask("POST", "/api/tokens", json={"name": "a", "role": "read"}).json()
    assert made["expiresUs"] - made["createdUs"] == 90 * 86_400 * 1_000_000
    assert api.ask("POST", "/api/tokens", json={"name": "b", "role": "read", "validS": 0}).json()["expiresUs"] == 0
    for wrong in (-1, 1.5, True, "1d", tokens.TOKEN_S_MAX + 1):
        reply = api.ask("POST", "/api/tokens", json={"name": "c", "role": "read", "validS": wrong})
        assert reply.json()["code"] == "invalid_body", wrong


def test_a_name_says_who_did_what_so_two_tokens_that_work_do_not_share_it(api: Any) -> None:
    body = {"name": "ci", "role": "read", "validS": 60}
    first = api.ask("POST", "/api/tokens", json=body).json()
    reply = api.ask("POST", "/api/tokens", json=body)
    refused(reply, 409, "token_exists")
    api.clock.pass_s(60)
    second = api.ask("POST", "/api/tokens", json=body)
    assert second.status_code == 201, "an expired one does not hold its name"
    assert api.ask("DELETE", f"/api/tokens/{second.json()['id']}").status_code == 204
    assert api.ask("POST", "/api/tokens", json=body).status_code == 201, "nor does a revoked one"
    assert first["id"] != second.json()["id"]


def test_the_last_use_is_shown_at_once_and_kept_within_a_minute(api: Any) -> None:
    def shown() -> dict[str, int]:
        return {one["name"]: one["usedUs"] for one in api.ask("GET", "/api/tokens").json()["tokens"]}

    def kept() -> dict[str, int]:
        return {one.name: one.used_us for one in api.look(lambda reading: reading.api_tokens())}

    assert shown()["read"] == 0 == kept()["read"]
    assert api.ask("GET", "/api/status", "read").status_code == 200
    used_us = api.clock()
    assert shown()["read"] == used_us
    api.tick()
    assert kept()["read"] == used_us
    api.clock.pass_s(tokens.USED_S - 1)
    assert api.ask("GET", "/api/status", "read").status_code == 200
    api.tick()
    assert kept()["read"] == used_us, "not a write for each request"
    api.clock.pass_s(1)
    api.tick()
    assert kept()["read"] == shown()["read"] > used_us
    assert kept()["deploy"] == 0, "the control: a token that is not used"
    assert api.client.get("/api/status", headers={"Authorization": f"Bearer {api.tokens['deploy'][:-1]}z"}).status_code
    assert shown()["deploy"] == 0, "a wrong secret is no use"


def test_an_expired_admin_is_no_reason_to_keep_or_lose_the_last_one(api: Any, tmp_path: Path) -> None:
    short = api.ask("POST", "/api/tokens", json={"name": "short", "role": "admin", "validS": 60}).json()
    api.clock.pass_s(60)
    ids = {one["name"]: one["id"] for one in api.ask("GET", "/api/tokens").json()["tokens"]}
    refused(api.ask("DELETE", f"/api/tokens/{ids['admin']}"), 409, "last_admin")
    assert api.ask("DELETE", f"/api/tokens/{short['id']}").status_code == 204


def test_a_start_makes_an_admin_token_only_when_none_works(api: Any, tmp_path: Path) -> None:
    options = ServeOptions(tmp_path / "data")
    (tmp_path / "data").mkdir()
    started = api.run(lambda: prepare(api.hub, options, "http://x"))
    assert not started.first_start and not started.token_path.exists(), "the control: an admin token works"
    api.do(lambda writing: writing.revoke_api_token(api.tokens["admin"].split("_")[1], api.clock()))
    started = api.run(lambda: prepare(api.hub, options, "http://x"))
    token = started.token_path.read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    shown = api.client.get("/api/tokens", headers=headers).json()["tokens"]
    assert [one["name"] for one in shown if one["works"] and one["role"] == "admin"] == [FIRST_TOKEN]
    assert token.split("_")[2] not in json.dumps(shown)
