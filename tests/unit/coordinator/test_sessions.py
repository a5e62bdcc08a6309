"""Signing in with a cookie: what begins and ends a session, and that a page of another site does nothing with it.

Each refusal has its twin that passes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from eyeflow.coordinator.credentials import REQUEST_HEADER, REQUEST_VALUE
from eyeflow.coordinator.sessions import LINK_S, LINKS_MAX, SESSION_S, SESSIONS_MAX, USED_S

OWN = {REQUEST_HEADER: REQUEST_VALUE}


def sign_in(api: Any, role: str = "admin", **body: str) -> httpx.Response:
    return api.client.post("/api/session", json=body or {"token": api.tokens[role]})  # type: ignore[no-any-return]


def cookie_of(reply: httpx.Response) -> str:
    assert reply.status_code == 201, reply.text
    return reply.headers["set-cookie"].partition(";")[0]


def ask(api: Any, cookie: str, method: str, path: str, headers: dict[str, str] | None = None, **request: Any) -> Any:
    api.client._http.cookies.clear()  # only what the test sends
    return api.client.request(method, path, headers={"Cookie": cookie, **(headers or {})}, **request)


def refused(reply: httpx.Response, status: int, code: str) -> str:
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    return str(reply.json()["detail"])


def log(api: Any) -> list[tuple[str, str, str]]:
    entries = api.ask("GET", "/api/log/entries?order=newest").json()["entries"]
    return [(one["actor"], one["action"], one["detail"]) for one in entries]


def test_a_token_gives_a_session_that_reads_and_writes(api: Any) -> None:
    reply = sign_in(api, token=f"  {api.tokens['admin']}\n")
    assert reply.json() == {
        "name": "admin",
        "role": "admin",
        "labels": {},
        "expiresUs": api.clock() + SESSION_S * 1_000_000,
        "bySession": True,
    }
    cookie = cookie_of(reply)
    told = reply.headers["set-cookie"].split("; ")[1:]
    assert told == [f"Max-Age={SESSION_S}", "Path=/", "HttpOnly", "SameSite=Strict"]
    assert ask(api, cookie, "GET", "/api/session").json() == reply.json()
    assert ask(api, cookie, "GET", "/api/status").status_code == 200
    made = ask(api, cookie, "POST", "/api/tokens", OWN, json={"name": "x", "role": "read"})
    assert made.status_code == 201 and made.json()["createdBy"] == "admin"
    assert log(api)[:2] == [("admin", "create_token", made.json()["id"] + " read"), ("admin", "sign_in", "token")]


def test_over_tls_the_cookie_is_for_this_host_alone(api: Any) -> None:
    reply = api.client.post("https://testserver/api/session", json={"token": api.tokens["read"]})
    name, *told = reply.headers["set-cookie"].split("; ")
    assert name.startswith("__Host-eyeflow=") and {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(told)
    assert ask(api, name, "GET", "https://testserver/api/session").status_code == 200
    refused(ask(api, name, "GET", "/api/session"), 401, "unauthenticated")
    plain = name.replace("__Host-eyeflow", "eyeflow")
    refused(ask(api, plain, "GET", "https://testserver/api/session"), 401, "unauthenticated")


def test_the_secret_is_kept_nowhere(api: Any) -> None:
    secret = cookie_of(sign_in(api)).partition("=")[2]
    code = api.ask("POST", "/api/session/links").json()["code"]
    kept = b"".join(
        repr(row).encode()
        for name in ("sessions", "sign_in_links", "log")
        for row in api.store.file._db.execute(f"SELECT * FROM {name}")
    )
    assert secret.encode() not in kept and code.encode() not in kept
    assert kept.count(b"sign_in") >= 2, "the control: something is kept"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "the header that only an own page sends is missing"),
        ({REQUEST_HEADER: "x"}, "it has another value"),
        ({**OWN, "Origin": "http://evil.example"}, "a page of another site"),
        ({**OWN, "Origin": "http://testserver:8080"}, "a page of another port, to which the cookie goes along"),
        ({**OWN, "Origin": "null"}, "a page without an origin"),
        ({**OWN, "Sec-Fetch-Site": "cross-site"}, "as the browser says"),
        ({**OWN, "Sec-Fetch-Site": "same-site"}, "another port"),
        ({**OWN, "Sec-Fetch-Site": "none"}, "no page at all"),
    ],
)
def test_a_forged_request_changes_nothing(full: Any, method: str, headers: dict[str, str], why: str) -> None:
    cookie = cookie_of(sign_in(full))
    path = {"POST": "/api/nodes/node-a/quarantine", "PUT": "/api/nodes/node-a/labels", "DELETE": "/api/nodes/node-a"}[
        method
    ]
    body = None if method == "DELETE" else {"labels": {}} if method == "PUT" else {}
    before = full.ask("GET", "/api/nodes/node-a").json()
    refused(ask(full, cookie, method, path, headers, json=body), 403, "wrong_origin")
    assert full.ask("GET", "/api/nodes/node-a").json() == before
    own = {**OWN, "Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
    assert ask(full, cookie, method, path, own, json=body).is_success, "the control: an own page may"


def test_what_a_page_of_another_site_reads_is_refused_too(api: Any) -> None:
    cookie = cookie_of(sign_in(api))
    for site in ("cross-site", "same-site"):
        refused(ask(api, cookie, "GET", "/api/status", {"Sec-Fetch-Site": site}), 403, "wrong_origin")
    for site in ("same-origin", "none"):
        assert ask(api, cookie, "GET", "/api/status", {"Sec-Fetch-Site": site}).status_code == 200


def test_a_token_goes_before_a_cookie_and_needs_no_header(api: Any) -> None:
    cookie = cookie_of(sign_in(api))
    bearer = {"Authorization": f"Bearer {api.tokens['read']}"}
    assert ask(api, cookie, "GET", "/api/session", bearer).json()["name"] == "read"
    made = api.ask("POST", "/api/tokens", json={"name": "x", "role": "read"})
    assert made.status_code == 201


def test_a_session_has_the_role_of_its_token(api: Any) -> None:
    cookie = cookie_of(sign_in(api, "read"))
    detail = refused(ask(api, cookie, "POST", "/api/tokens", OWN, json={"name": "x", "role": "read"}), 403, "forbidden")
    assert "role read" in detail
    assert ask(api, cookie, "GET", "/api/status").status_code == 200


def test_a_session_ends_after_its_time(api: Any) -> None:
    cookie = cookie_of(sign_in(api))
    api.clock.pass_s(SESSION_S - 1)
    assert ask(api, cookie, "GET", "/api/status").status_code == 200
    api.clock.pass_s(1)
    assert refused(ask(api, cookie, "GET", "/api/status"), 401, "unauthenticated") == "The session has ended."


def test_a_session_ends_with_its_token(api: Any) -> None:
    for_long = cookie_of(sign_in(api))
    made = [api.ask("POST", "/api/tokens", json={"name": name, "role": "read", "validS": 60}).json() for name in "ab"]
    first, second = (cookie_of(sign_in(api, token=one["token"])) for one in made)
    assert ask(api, second, "GET", "/api/session").json()["expiresUs"] == made[1]["expiresUs"]
    assert api.ask("DELETE", f"/api/tokens/{made[0]['id']}").status_code == 204
    assert "was revoked" in refused(ask(api, first, "GET", "/api/status"), 401, "unauthenticated")
    assert ask(api, second, "GET", "/api/status").status_code == 200
    api.clock.pass_s(60)
    assert "has expired" in refused(ask(api, second, "GET", "/api/status"), 401, "unauthenticated")
    assert ask(api, for_long, "GET", "/api/status").status_code == 200, "the control: another session"


def test_signing_out_here_and_everywhere(api: Any) -> None:
    cookies = [cookie_of(sign_in(api)) for _ in range(3)]
    other = cookie_of(sign_in(api, "read"))
    reply = ask(api, cookies[0], "DELETE", "/api/session", OWN)
    assert reply.status_code == 204 and "Max-Age=0" in reply.headers["set-cookie"]
    refused(ask(api, cookies[0], "GET", "/api/session"), 401, "unauthenticated")
    assert ask(api, cookies[1], "GET", "/api/session").status_code == 200
    code = api.ask("POST", "/api/session/links").json()["code"]
    assert ask(api, cookies[1], "DELETE", "/api/sessions", OWN).status_code == 204
    for cookie in cookies:
        refused(ask(api, cookie, "GET", "/api/session"), 401, "unauthenticated")
    refused(sign_in(api, code=code), 401, "unauthenticated")
    assert ask(api, other, "GET", "/api/session").status_code == 200, "another token's session goes on"
    assert log(api)[0] == ("admin", "sign_out_everywhere", "2 sessions")
    refused(api.ask("DELETE", "/api/session"), 404, "not_found")


def test_a_link_signs_in_once_and_for_five_minutes(api: Any) -> None:
    made = api.ask("POST", "/api/session/links", "read").json()
    assert made["path"] == f"/sign-in#{made['code']}" and made["expiresUs"] == api.clock() + LINK_S * 1_000_000
    late, gone = (api.ask("POST", "/api/session/links", "read").json()["code"] for _ in range(2))
    reply = sign_in(api, code=made["code"])
    assert reply.json()["name"] == "read" and ask(api, cookie_of(reply), "GET", "/api/status").status_code == 200
    refused(sign_in(api, code=made["code"]), 401, "unauthenticated")
    api.clock.pass_s(LINK_S - 1)
    assert sign_in(api, code=late).status_code == 201
    api.clock.pass_s(1)
    assert "older than 5 minutes" in refused(sign_in(api, code=gone), 401, "unauthenticated")


def test_a_link_of_a_token_that_was_revoked_opens_nothing(api: Any) -> None:
    made = api.ask("POST", "/api/tokens", json={"name": "x", "role": "deploy"}).json()
    reply = api.client.post("/api/session/links", headers={"Authorization": f"Bearer {made['token']}"})
    assert api.ask("DELETE", f"/api/tokens/{made['id']}").status_code == 204
    refused(sign_in(api, code=reply.json()["code"]), 401, "unauthenticated")


def test_a_session_makes_no_links(api: Any) -> None:
    cookie = cookie_of(sign_in(api))
    refused(ask(api, cookie, "POST", "/api/session/links", OWN), 403, "forbidden")


def test_wrong_ways_to_sign_in(api: Any) -> None:
    join = api.ask("POST", "/api/nodes/join-tokens", json={}).json()["token"]
    for token in ("", "x", api.tokens["admin"][:-1], join):
        refused(sign_in(api, token=token), 401, "unauthenticated")
    for body in ({}, {"token": "x", "code": "y"}, {"token": 1}, {"user": "x"}):
        refused(api.client.post("/api/session", json=body), 422, "invalid_body")
    for origin in ("http://evil.example", "null"):
        reply = api.client.post("/api/session", json={"token": api.tokens["admin"]}, headers={"Origin": origin})
        refused(reply, 403, "wrong_origin")


def test_sessions_and_links_of_a_token_are_bounded(api: Any) -> None:
    cookies = []
    for _ in range(SESSIONS_MAX + 1):
        cookies.append(cookie_of(sign_in(api)))
        api.clock.now_us += 1
    refused(ask(api, cookies[0], "GET", "/api/session"), 401, "unauthenticated")
    assert ask(api, cookies[1], "GET", "/api/session").status_code == 200
    codes = []
    for _ in range(LINKS_MAX + 1):
        codes.append(api.ask("POST", "/api/session/links").json()["code"])
        api.clock.now_us += 1
    refused(sign_in(api, code=codes[0]), 401, "unauthenticated")
    assert sign_in(api, code=codes[1]).status_code == 201


def test_the_last_use_is_written_down_each_minute(api: Any) -> None:
    cookie = cookie_of(sign_in(api))
    begun_us = api.clock()

    def used_us() -> int:
        return int(next(iter(api.store.file._db.execute("SELECT used_us FROM sessions")))[0])

    api.clock.pass_s(USED_S)
    assert ask(api, cookie, "GET", "/api/status").status_code == 200
    assert used_us() == begun_us
    api.tick()
    assert used_us() == begun_us + USED_S * 1_000_000
    shown = {one["name"]: one["usedUs"] for one in api.ask("GET", "/api/tokens").json()["tokens"]}
    assert shown["admin"] >= used_us(), "the token was used, too"


def test_the_changes_take_a_session_from_an_own_page_only(cluster: Any) -> None:
    async def main() -> None:
        async with cluster.coordinator() as client:
            cookie = cookie_of(await client.post("/api/session", json={"token": cluster.token}))
            url = cluster.url.replace("http", "ws") + "/api/changes"
            for origin in (None, "http://evil.example", cluster.url.replace(str(cluster.port), "1")):
                with pytest.raises(InvalidStatus) as raised:
                    await connect(url, origin=origin, additional_headers={"Cookie": cookie}, proxy=None)
                assert raised.value.response.status_code == 403
            own = connect(url, origin=cluster.url, additional_headers={"Cookie": cookie}, proxy=None)
            async with own as websocket:
                assert b'"begin"' in (await websocket.recv()).encode()
                assert (await client.delete("/api/sessions")).status_code == 204
                with pytest.raises(ConnectionClosed) as closed:
                    async with asyncio.timeout(60):
                        while True:
                            await websocket.recv()
                assert closed.value.rcvd is not None and closed.value.rcvd.reason.startswith("unauthenticated")

    asyncio.run(main())
