"""The long lists as the REST API shows them: pages, filters, what a wrong query is told, and the client that follows."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.client.rest import CoordinatorClient
from eyeflow.coordinator.app import make_app
from eyeflow.coordinator.archive.chain import Owner
from eyeflow.coordinator.endpoints import ENDPOINTS
from eyeflow.coordinator.queries import cursor_of
from eyeflow.coordinator.standings import SEEN_S, UNHEARD_S
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import Health, HealthKind, HealthState, Status
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import NodeProgress
from unit.coordinator.archive.chains import Chain

PAGED = [one for one in ENDPOINTS if any(param.name == "limit" for param in one.query)]


def url(endpoint: Any, api: Any) -> str:
    return endpoint.path.replace("{id}", "node-a" if "/nodes/{id}" in endpoint.path else api.deployment["id"])


def keep_records(api: Any) -> None:
    """Let the archive have something of node-a."""
    chain = Chain(Owner("node-a", 1, api.nodes["node-a"].public_key), api.nodes["node-a"]).run(2)
    api.hub.copies.keeps("node-a", api.run(lambda: api.archive.append(chain.bundle(1, 3))))


@pytest.mark.parametrize("endpoint", PAGED, ids=lambda one: one.path)
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=0", "must be at least 1"),
        ("limit=1001", "must be at most 1000"),
        ("limit=ten", "must be integer"),
        ("limit=1.0", "must be integer"),
        ("limit=1&limit=2", "stands there twice"),
        ("limit=99999999999999999999", "must be integer"),
        ("cursor=", "must match"),
        ("cursor=AAAA", "none that this list gave"),
        ("cursor=WzFd!", "must match"),
        ("cursor=W251bGxd", "none that this list gave"),
        ("cursor=W3RydWVd", "none that this list gave"),
        ("cursor=WyJcdTAwMDAiXQ", "none that this list gave"),
        ("cursor=WyJcdWQ4MDAiXQ", "none that this list gave"),
        ("cursor=WzFlNDAwLCJhIl0x", "none that this list gave"),
        ("limt=1", "did you mean `limit`?"),
        ("=1", "is not known here"),
    ],
)
def test_a_wrong_query_is_refused_with_what_is_wrong(full: Any, endpoint: Any, query: str, says: str) -> None:
    reply = full.ask("GET", f"{url(endpoint, full)}?{query}")
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_query"), reply.text
    told = reply.json()["detail"] + " ".join(one["message"] for one in reply.json()["errors"])
    assert says in told


def test_a_cursor_that_names_no_key_is_refused(full: Any) -> None:
    for key in ("zz" * 32, "ab", ""):
        reply = full.ask("GET", f"/api/keys?cursor={cursor_of((1, key))}")
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_query"), reply.text


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.method == "GET"], ids=lambda one: one.path)
def test_a_parameter_that_is_not_known_is_refused_but_to_machines(full: Any, endpoint: Any) -> None:
    path = endpoint.path.replace("{id}", "x")
    is_api = path.startswith("/api/")
    assert (full.ask("GET", f"{path}?lable=a").json()["code"] == "invalid_query") if is_api else True
    assert is_api or full.ask("GET", f"{path}?lable=a").status_code == 200


def follow(api: Any, path: str, name: str, query: str) -> list[Any]:
    rows, cursor = [], ""
    while True:
        page = api.ask("GET", f"{path}?{query}{cursor and '&cursor=' + cursor}").json()
        rows += page[name]
        if not page["nextCursor"]:
            return rows
        cursor = page["nextCursor"]


@pytest.mark.parametrize("endpoint", PAGED, ids=lambda one: one.path)
def test_pages_of_one_row_make_the_list(full: Any, endpoint: Any) -> None:
    keep_records(full)
    for kind in AlarmKind:
        full.do(lambda writing, kind=kind: writing.raise_alarm(kind, "node-a", "e", 1))
    whole = full.ask("GET", url(endpoint, full)).json()
    (name,) = [name for name, rows in whole.items() if isinstance(rows, list)]
    assert whole[name] and whole["nextCursor"] == ""
    assert follow(full, url(endpoint, full), name, "limit=1") == whole[name]


def test_nodes_are_found_by_how_they_stand(full: Any) -> None:
    def shown(query: str) -> list[str]:
        page = full.ask("GET", f"/api/nodes?{query}").json()
        assert page["total"] == len(page["nodes"])
        return [one["name"] for one in page["nodes"]]

    assert shown("state=pending") == shown("state=offline") == ["node-a", "node-b"]
    assert shown("state=fine") == shown("state=failing") == []
    full.ask("PUT", "/api/nodes/node-b/labels", json={"labels": {"site": "lyon", "line": "1"}})
    assert shown("label=site=lyon&label=line=1") == ["node-b"]
    assert shown("label=site=lyon&label=line=2") == []
    assert shown("name=DE-A&rule=overheat") == ["node-a"] and shown("rule=pump") == []
    assert shown("node=node-b&node=node-x") == ["node-b"]
    assert shown(f"sinceUs={full.clock()}") == []
    full.ask("POST", f"/api/deployments/{full.deployment['id']}/cancel")
    full.ask("POST", "/api/nodes/node-b/drain")
    assert shown("state=drained") == ["node-b"] and shown("sort=worst") == ["node-a", "node-b"]
    summary = full.ask("GET", "/api/status").json()["summary"]
    assert (summary["nodes"], summary["active"], summary["drained"]) == (2, 0, 1)


class Link:
    def __init__(self, node: str) -> None:
        self.node = node

    def offer(self, offer: Any) -> None: ...

    def close(self, code: str, reason: str) -> None: ...


def test_what_a_node_tells_of_its_health_is_counted_and_written_when_it_changes(full: Any) -> None:
    def tell(state: HealthState, executions: int) -> None:
        counters = (("executions", executions), ("waiting", 3))
        health = (Health(HealthKind.RULE, "overheat", state, counters=counters, slot=Slot.ACTIVE),)
        full.hub.nodes.saw("node-a", Status(1, 2, 3, 0, health), full.clock())

    def writes() -> int:
        return int(full.look(lambda reading: reading.newest_change()))

    async def attach() -> None:
        await full.hub.attach(Link("node-a"))
        await full.hub.nodes.link_opens("node-a")

    full.run(attach)
    tell(HealthState.RUNNING, 0)
    full.tick()
    assert full.ask("GET", "/api/nodes?state=failing").json()["total"] == 0
    full.clock.pass_s(2)
    tell(HealthState.RUNNING, 20)
    before = writes()
    full.tick()
    assert writes() == before, "counters alone are no news"
    summary = full.ask("GET", "/api/status").json()["summary"]
    assert (summary["active"], summary["waiting"]) == (1, 3)
    tell(HealthState.FAILED, 20)
    full.tick()
    assert writes() == before + 1
    assert full.ask("GET", "/api/nodes?state=failing").json()["nodes"][0]["name"] == "node-a"
    tell(HealthState.RUNNING, 20)
    full.tick()
    assert full.ask("GET", "/api/nodes?state=failing").json()["total"] == 0
    assert full.ask("GET", "/api/nodes?state=offline").json()["nodes"][0]["name"] == "node-b"
    full.clock.pass_s(UNHEARD_S + 1)
    full.tick()
    assert full.ask("GET", "/api/nodes?state=offline").json()["total"] == 2, "it has a link and tells nothing"
    tell(HealthState.RUNNING, 20)
    full.tick()
    assert full.ask("GET", "/api/nodes?state=offline").json()["total"] == 1
    seen_us = full.look(lambda reading: reading.node("node-a")).last_seen_us
    full.clock.pass_s(SEEN_S - 1)
    tell(HealthState.RUNNING, 30)
    full.tick()
    assert full.look(lambda reading: reading.node("node-a")).last_seen_us == seen_us, "not a write for each status"


def test_a_deployment_shows_its_first_nodes_and_the_client_fetches_the_others(full: Any) -> None:
    def many(writing: Any) -> None:
        one = writing.deployment(full.deployment["id"])
        writing.add_deployment(
            type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"id": "d-many"}),
            [NodeProgress(f"n{number:04}") for number in range(1_234)],
        )

    full.do(many)
    shown = full.ask("GET", "/api/deployments/d-many").json()
    assert len(shown["nodes"]) == 100 and shown["nextCursor"]
    with client(full) as one:
        whole = one.deployment("d-many")
        names = [node["node"] for node in whole["nodes"]]
    some = full.ask("GET", "/api/deployments/d-many/nodes?node=n0007&node=n0003&node=x").json()
    assert [node["node"] for node in some["nodes"]] == ["n0003", "n0007"]
    assert whole["nextCursor"] == "" and names == [f"n{number:04}" for number in range(1_234)]


class OnLoop(httpx.AsyncBaseTransport):
    """Hands requests of another event loop to the application."""

    def __init__(self, api: Any) -> None:
        self._api, self._app = api, httpx.ASGITransport(make_app(api.hub))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.to_thread(self._api.runner.run, self._handled(request))

    async def _handled(self, request: httpx.Request) -> httpx.Response:
        answer = await self._app.handle_async_request(request)
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=httpx.ByteStream(await answer.aread()), request=request
        )


def client(api: Any) -> CoordinatorClient:
    return CoordinatorClient("http://testserver", api.tokens["admin"], transport=OnLoop(api))


def test_the_client_follows_all_pages(api: Any) -> None:
    count = 501
    api.do(lambda writing: [writing.register_node(f"n{number:04}", bytes(32), 9) for number in range(count)])
    with client(api) as one:
        assert [node["name"] for node in one.nodes()] == [f"n{number:04}" for number in range(count)]
        page = one.node_page(limit=10, name="n049")
        assert (page["total"], len(page["nodes"])) == (10, 10)
        assert len(one.tokens()) == 3 and one.rules() == []
        assert [entry["number"] for entry in one.newest_log_entries(2)] == [4, 3]
        with pytest.raises(EyeflowError) as error:
            one.nodes(lable="x")
    assert error.value.code == "invalid_query" and error.value.cause == "did you mean `label`?"


def test_health_survives_a_restart_of_the_coordinator(full: Any) -> None:
    identity = Identity(bytes([1]) * 32)
    assert identity.public_key == full.nodes["node-a"].public_key
    health = (Health(HealthKind.PORT, "http", HealthState.FAILED, "no port"),)
    full.run(lambda: full.hub.nodes.link_opens("node-a"))
    full.hub.nodes.saw("node-a", Status(1, 2, 3, 0, health), full.clock())
    full.tick()
    full.hub.nodes.forget_health("node-a")
    shown = full.ask("GET", "/api/nodes?state=failing").json()["nodes"]
    assert [(one["name"], one["health"][0]["detail"]) for one in shown] == [("node-a", "no port")]
