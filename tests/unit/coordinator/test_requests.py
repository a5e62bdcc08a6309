"""Deployments that are sent again: with the same key they begin once, whatever was lost in between."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.client import transport
from eyeflow.client.rest import CoordinatorClient
from eyeflow.coordinator import requests
from eyeflow.coordinator.requests import KEPT_MAX, KEPT_S, RequestKey
from eyeflow.coordinator.store.kept_requests import KeptRequest
from eyeflow.coordinator.store.lists import DeploymentsAsked

DEPLOY, SET = "/api/rules/overheat/deploy", "/api/deployments"
BODY = {"nodeIds": ["node-a"], "params": {"limit": 90}}


def send(api: Any, key: str, path: str = DEPLOY, role: str = "admin", body: Any = BODY) -> httpx.Response:
    return api.ask("POST", path, role, json=body, headers={"Idempotency-Key": key})


def begun(api: Any) -> int:
    return len(api.look(lambda reading: reading.deployment_page(DeploymentsAsked(1_000))).rows)


def test_the_same_key_with_the_same_request_begins_one_deployment(full: Any) -> None:
    before = begun(full)
    first, again = send(full, '"a"'), send(full, '"a"')
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"] and first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers and again.headers["idempotent-replayed"] == "true"
    assert begun(full) == before + 1
    assert send(full, "a").json()["id"] == first.json()["id"], "with or without quotation marks it is the same key"
    assert send(full, "b").json()["id"] != first.json()["id"], "the control: another key"
    assert full.ask("POST", DEPLOY, json=BODY).json()["id"] != first.json()["id"], "and none"


def test_the_answer_tells_how_things_stand_now(full: Any) -> None:
    identity = send(full, "a").json()["id"]
    full.ask("POST", f"/api/deployments/{identity}/cancel")
    assert send(full, "a").json()["state"] == "cancelled"


def test_another_request_with_the_key_is_refused(full: Any, make: Any) -> None:
    send(full, "a")
    before = begun(full)
    full.upload(make.program("pump"))
    for path, body in ((DEPLOY, BODY | {"strategy": "rolling"}), ("/api/rules/pump/deploy", BODY)):
        reply = send(full, "a", path, body=body)
        assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    assert begun(full) == before


def test_each_caller_has_its_own_keys(full: Any) -> None:
    assert send(full, "a").json()["id"] != send(full, "a", role="deploy").json()["id"]


def test_a_refused_request_leaves_nothing(full: Any) -> None:
    wrong = BODY | {"nodeIds": ["node-x"]}
    assert send(full, "a", body=wrong).json()["code"] == "unknown_nodes"
    assert send(full, "a").status_code == 202


def test_a_key_is_known_for_a_day_and_a_thousand_of_each_caller(full: Any) -> None:
    first = send(full, "a").json()["id"]
    full.clock.pass_s(KEPT_S - 1)
    assert send(full, "a").json()["id"] == first
    full.clock.pass_s(1)
    assert send(full, "a").json()["id"] != first
    caller, now_us = full.tokens["admin"].split("_")[1], full.clock()

    def fill(writing: Any) -> None:
        writing.keep_request(KeptRequest("other", "mine", b"", now_us, "d"))
        for number in range(KEPT_MAX + 5):
            writing.keep_request(KeptRequest(caller, f"k{number:05}", b"", now_us + 1 + number, "d"))

    full.do(fill)
    full.clock.pass_s(1)
    send(full, "newest")
    kept = full.look(lambda reading: [reading.request(caller, key) for key in ("k00005", "k00006", "newest")])
    assert [one is not None for one in kept] == [False, True, True]
    assert full.look(lambda reading: reading.request("other", "mine")) is not None, "those of others stay"


def test_what_is_unchanged_stays_so_for_the_key(full: Any, make: Any) -> None:
    body = {"all": True, "changes": [{"rule": "pump", "remove": True}], "skipUnchanged": True}
    full.upload(make.program("pump"))
    first = send(full, "a", SET, body=body)
    assert (first.status_code, first.json()) == (200, {"unchanged": ["pump"]})
    assert full.ask("POST", "/api/rules/pump/deploy", json={"all": True}).status_code == 202
    again = send(full, "a", SET, body=body)
    assert (again.status_code, again.json()) == (200, {"unchanged": ["pump"]})
    assert send(full, "b", SET, body=body).status_code == 202, "the control: now there is something to change"


def test_a_retry_of_a_deployment_begins_once(full: Any) -> None:
    path = f"/api/deployments/{full.deployment['id']}"
    full.ask("POST", path + "/cancel")
    first, again = send(full, "a", path + "/retry", body=None), send(full, "a", path + "/retry", body=None)
    assert first.status_code == 202 and first.json()["id"] == again.json()["id"] != full.deployment["id"]


def test_while_the_first_is_at_work_the_second_is_told_so(full: Any) -> None:
    with full.hub.requests.working(RequestKey(full.tokens["admin"].split("_")[1], "a", b"")):
        reply = send(full, "a")
        assert (reply.status_code, reply.json()["code"]) == (409, "request_in_progress")
        assert send(full, "b").status_code == 202
    assert send(full, "a").status_code == 202


def test_another_coordinator_begins_nothing_either(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may read before the first one has written: the transaction that begins the deployment looks again."""
    first = send(full, "a").json()["id"]
    looks: list[object] = []
    real = requests.answered

    def blind(reading: Any, request: Any, now_us: int) -> Any:
        looks.append(request)
        return None

    monkeypatch.setattr("eyeflow.coordinator.api.answered", blind)
    assert requests.answered is real
    assert send(full, "a").json()["id"] == first and looks


@pytest.mark.parametrize("key", ['""', "", "a b", '"a', 'a"b', "ä", "a" * 129, "\\"])
def test_what_is_no_key_is_refused(full: Any, key: str) -> None:
    headers = {"Authorization": f"Bearer {full.tokens['admin']}", "Idempotency-Key": key.encode("latin-1")}
    reply = full.client.request("POST", DEPLOY, headers=headers, json=BODY)
    assert (reply.status_code, reply.json()["code"]) == (400, "bad_idempotency_key")


class Lossy(httpx.AsyncBaseTransport):
    """Hands requests over, and loses the first answers."""

    def __init__(self, api: Any, errors: list[Exception | int]) -> None:
        self._api, self._errors = api, errors
        self.sent: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        import asyncio

        self.sent.append(request.headers["idempotency-key"])
        error = self._errors.pop(0) if self._errors else None
        if isinstance(error, int):
            body = b'{"code": "storage", "detail": "the disk is full"}'
            return httpx.Response(error, stream=httpx.ByteStream(body), request=request)
        if isinstance(error, httpx.ConnectError):
            raise error
        body = await request.aread()
        reply = await asyncio.to_thread(
            self._api.ask, request.method, request.url.path, headers=dict(request.headers), content=body
        )
        if error is not None:
            raise error
        return httpx.Response(reply.status_code, stream=httpx.ByteStream(reply.content), request=request)


def client(api: Any, monkeypatch: pytest.MonkeyPatch, *errors: Exception | int) -> tuple[CoordinatorClient, Lossy]:
    monkeypatch.setattr(transport, "REPEATS_S", (0, 0, 0))
    lossy = Lossy(api, list(errors))
    return CoordinatorClient("http://testserver", api.tokens["admin"], transport=lossy), lossy


def test_a_client_that_lost_the_answer_deploys_once(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = begun(full)
    lost = (httpx.ReadError("lost"), httpx.ConnectError("starts again"), 503, httpx.RemoteProtocolError("cut"))
    for errors in ((lost[0],), (lost[0], lost[1]), (lost[2], lost[3]), (lost[3], lost[0], lost[1])):
        one, lossy = client(full, monkeypatch, *errors)
        with one:
            made = one.deploy("overheat", {"nodeIds": ["node-a"]})
        before += 1
        assert begun(full) == before and made["id"], errors
        assert len(lossy.sent) == len(errors) + 1 and len(set(lossy.sent)) == 1, "each time with the same key"


def test_a_client_gives_up_when_nothing_was_sent_or_it_is_refused(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, lossy = client(full, monkeypatch, httpx.ConnectError("refused"))
    with one, pytest.raises(EyeflowError) as error:
        one.deploy("overheat", {"nodeIds": ["node-a"]})
    assert error.value.code == "unreachable" and len(lossy.sent) == 1
    one, lossy = client(full, monkeypatch)
    with one, pytest.raises(EyeflowError) as error:
        one.deploy("overheat", {"nodeIds": ["node-x"]})
    assert error.value.code == "unknown_nodes" and len(lossy.sent) == 1
    one, lossy = client(full, monkeypatch, *[503] * 9)
    with one, pytest.raises(EyeflowError) as error:
        one.deploy("overheat", {"nodeIds": ["node-a"]})
    assert error.value.code == "storage" and len(lossy.sent) == 4
