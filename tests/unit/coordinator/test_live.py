"""What a tab that shows the cluster needs: narrow rows, rows of what changed, and figures, for those who may see them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from eyeflow.coordinator import changes_api, live
from eyeflow.coordinator.tokens import Role, Whose
from eyeflow.protocol import messages as m
from eyeflow.protocol.slot import Slot
from unit.coordinator.test_changes import label, told, watching

MACHINE = {"processor_hundredths": 1250, "memory_bytes": 1000, "memory_used_bytes": 250, "own_memory_bytes": 50}
STORE = (("buffer_records", 7), ("buffer_size_bytes", 400), ("buffer_used_bytes", 100))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_api, "GATHER_ROWS_S", 0.01)
    monkeypatch.setattr(changes_api, "FIGURES_S", 0.05)


async def news(websocket: Any, kind: str) -> dict[str, Any]:
    """Return the next message of a kind."""
    while (message := await told(websocket))["type"] != kind:
        pass
    return message


def tells(api: Any, node: str, *health: m.Health) -> None:
    api.hub.nodes.health[node] = m.Status(1, 1, 1, 1, health, ())


def test_a_row_says_what_a_table_shows(full: Any) -> None:
    rule = m.Health(
        m.HealthKind.RULE, "overheat", m.HealthState.FAILED, "it trapped", "", (("waiting", 3),), Slot.ACTIVE
    )
    tells(
        full,
        "node-a",
        rule,
        m.Health(m.HealthKind.PORT, "store", m.HealthState.RUNNING, "", "", STORE),
        m.Health(m.HealthKind.PORT, "machine", m.HealthState.RUNNING, "", "", tuple(sorted(MACHINE.items()))),
    )
    page = full.ask("GET", "/api/node-rows?limit=1").json()
    (row,) = page["nodes"]
    assert page["total"] == 2 and page["nextCursor"]
    assert page["feedCursor"] == full.ask("GET", "/api/changes").json()["cursor"]
    assert (row["name"], row["waiting"], row["failing"], row["failingFirst"]) == (
        "node-a",
        3,
        1,
        ["overheat: it trapped"],
    )
    assert row["processorPercent"] is None, "nobody hears it"
    assert (row["bufferRecords"], row["bufferPercent"]) == (7, 25.0), "as it told last"
    assert (row["refused"], row["failingSinceUs"], row["board"]) == (0, 0, None)
    tells(full, "node-a")
    (row,) = full.ask("GET", "/api/node-rows?limit=1").json()["nodes"]
    assert (row["bufferRecords"], row["bufferPercent"]) == (None, None)
    whole = full.ask("GET", "/api/nodes/node-a").json()
    assert {name: row[name] for name in live._KEPT} == {name: whole[name] for name in live._KEPT}


def test_one_websocket_tells_rows_and_figures(cluster: Any, make: Any) -> None:
    async def main() -> None:
        async with cluster.coordinator() as client:
            for name in ("node-a", "node-b"):
                await cluster.join(client, make.control(name))
            cursor = (await client.get("/api/node-rows")).json()["feedCursor"]
            async with watching(cluster, f"?rows=true&kind=node&cursor={cursor}&node=node-a") as websocket:
                assert await told(websocket) == {"type": "begin", "cursor": cursor}
                figures = await news(websocket, "figures")
                assert figures["status"] == (await client.get("/api/status")).json()
                assert list(figures["nodes"]) == ["node-a"]
                await label(client, "node-b", 1)
                await label(client, "node-a", 2)
                message = await news(websocket, "changes")
                assert message["rows"]["nodes"]["node-a"]["labels"] == {"n": "2"}
                assert list(message["rows"]["nodes"]) == ["node-a"], "of the nodes that are asked for"
                assert "node-b" not in {one["subject"] for one in message["changes"]}
                await client.delete("/api/nodes/node-a")
                assert (await news(websocket, "changes"))["rows"]["nodes"] == {"node-a": None}, "it is gone"
                assert (await news(websocket, "figures"))["status"]["nodes"] == 1

    asyncio.run(main())


def test_what_is_told_after_a_break_brings_a_copy_up_to_date(full: Any) -> None:
    """A copy of the rows, made of a page and of what the feed tells from then on, is what the page shows then."""
    page = full.ask("GET", "/api/node-rows").json()
    copy = {row["name"]: row for row in page["nodes"]}
    full.ask("PUT", "/api/nodes/node-a/labels", json={"labels": {"site": "lyon"}})
    full.ask("DELETE", "/api/nodes/node-b")
    made = full.ask("POST", "/api/rules/overheat/deploy", json={"all": True}).json()
    news = full.ask("GET", f"/api/changes?rows=true&cursor={page['feedCursor']}").json()
    copy |= news["rows"]["nodes"]
    assert copy.pop("node-b") is None
    assert copy == {row["name"]: row for row in full.ask("GET", "/api/node-rows").json()["nodes"]}
    shown = full.ask("GET", f"/api/deployments/{made['id']}").json()
    summary = news["rows"]["deployments"][made["id"]]
    assert summary == {name: shown[name] for name in summary}
    progress = full.ask("GET", f"/api/deployments/{made['id']}/nodes").json()["nodes"]
    assert news["rows"]["progress"][made["id"]] == {one["node"]: one for one in progress}
    assert "rows" not in full.ask("GET", f"/api/changes?cursor={page['feedCursor']}").json()


def test_rows_have_a_bound_and_changes_beyond_it_are_still_named(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "ROWS_MAX", 1)
    cursor = full.ask("GET", "/api/changes").json()["cursor"]
    for node in ("node-a", "node-b"):
        full.ask("PUT", f"/api/nodes/{node}/labels", json={"labels": {"site": "lyon"}})
    news = full.ask("GET", f"/api/changes?rows=true&kind=node&cursor={cursor}").json()
    assert [one["subject"] for one in news["changes"]] == ["node-a", "node-b"]
    assert list(news["rows"]["nodes"]) == ["node-a"]


def test_a_storm_is_told_in_one_message(cluster: Any, make: Any) -> None:
    async def main() -> None:
        async with cluster.coordinator() as client:
            await cluster.join(client, make.control("node-a"))
            cursor = (await client.get("/api/changes")).json()["cursor"]
            for number in range(20):
                await label(client, "node-a", number)
            async with watching(cluster, f"?rows=true&kind=node&cursor={cursor}") as websocket:
                message = await news(websocket, "changes")
                assert len(message["changes"]) == 1 and message["cursor"] >= cursor + 20

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes_api, "READ_MAX", 7)
        patch.setattr("eyeflow.coordinator.feed.READ_MAX", 7)
        asyncio.run(main())


def test_a_token_for_some_nodes_gets_their_rows_and_figures_only(full: Any) -> None:
    full.ask("PUT", "/api/nodes/node-a/labels", json={"labels": {"site": "lyon"}})
    create, whose = full.hub.tokens.create, Whose({"site": "lyon"})
    full.tokens["lyon"] = full.run(lambda: create("lyon", Role.READ, full.clock(), "test", 0, whose)).secret
    cursor = full.ask("GET", "/api/changes").json()["cursor"]
    for node, site in (("node-a", "lyon"), ("node-b", "paris")):
        labels = {"site": site, "line": "1"}
        assert full.ask("PUT", f"/api/nodes/{node}/labels", json={"labels": labels}).status_code == 200
    assert [row["name"] for row in full.ask("GET", "/api/node-rows", "lyon").json()["nodes"]] == ["node-a"]
    news = full.ask("GET", f"/api/changes?rows=true&cursor={cursor}", "lyon").json()
    assert list(news["rows"]["nodes"]) == ["node-a"]
    both = full.ask("GET", f"/api/changes?rows=true&cursor={cursor}").json()
    assert set(both["rows"]["nodes"]) == {"node-a", "node-b"}, "a control: it is told to others"


def test_who_watches_for_figures_of_nodes_of_others_gets_none(cluster: Any, make: Any) -> None:
    async def main() -> None:
        async with cluster.coordinator() as client:
            for name in ("node-a", "node-b"):
                await cluster.join(client, make.control(name))
            await client.put("/api/nodes/node-a/labels", json={"labels": {"site": "lyon"}})
            body = {"name": "lyon", "role": "read", "labels": {"site": "lyon"}}
            token = (await client.post("/api/tokens", json=body)).json()["token"]
            async with watching(cluster, "?rows=true&node=node-a&node=node-b", token=token) as websocket:
                figures = await news(websocket, "figures")
                assert figures["nodes"]["node-b"] is None and figures["nodes"]["node-a"] is not None
                assert figures["status"]["nodes"] == 1

    asyncio.run(main())


@pytest.mark.parametrize("broken", ["figures", "changed_rows"])
def test_a_watcher_that_meets_a_bug_is_told_and_so_is_the_log(
    cluster: Any, make: Any, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("a bug")

    async def main() -> None:
        async with cluster.coordinator() as client:
            await cluster.join(client, make.control("node-a"))
            monkeypatch.setattr(live, broken, fails)
            async with watching(cluster, "?rows=true&kind=node") as websocket:
                await label(client, "node-a", 1)
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        await told(websocket)
                assert closed.value.rcvd is not None and closed.value.rcvd.reason.startswith("internal: ")
        assert [one for one in caplog.records if one.exc_info and "a bug of the coordinator" in one.getMessage()]

    asyncio.run(main())


@pytest.mark.parametrize("use", [{"memory_bytes": 1000}, {"memory_used_bytes": 5}, {"memory_bytes": 0}, {}])
def test_a_node_that_tells_a_part_of_its_machine_has_a_row(full: Any, use: dict[str, int]) -> None:
    tells(full, "node-a", m.Health(m.HealthKind.PORT, "machine", m.HealthState.RUNNING, "", "", tuple(use.items())))
    full.hub.links["node-a"] = SimpleNamespace(is_away=False)
    reply = full.ask("GET", "/api/node-rows")
    full.hub.links.clear()
    assert reply.status_code == 200, reply.text
    assert [row["memoryPercent"] for row in reply.json()["nodes"]] == [None, None]
