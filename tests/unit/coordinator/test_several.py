"""Several coordinators of one cluster on one PostgreSQL database: nodes, users and deployments find whichever lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from websockets.asyncio.client import connect

from components.postgres import Server, running_server
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.cluster_key import KEY_FILE, ClusterKey
from eyeflow.coordinator.serve import ServeOptions, serve
from eyeflow.coordinator.store.coordination import NotLeadingError
from eyeflow.coordinator.store.sql_coordination import SqlCoordinationWriting
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import Membership
from eyeflow.protocol.lines import BoardLine
from eyeflow.protocol.replays import Replay, Replayed, ReplayResult
from eyeflow.protocol.session import Accepted
from unit.coordinator.several import Member, Several, connected, deployed, run


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def several(tmp_path: Path, server: Server, make: Any, monkeypatch: pytest.MonkeyPatch) -> Several:
    return Several(tmp_path, server.url(), make, monkeypatch)


def test_nodes_of_two_coordinators_get_one_deployment_from_either(several: Several, make: Any) -> None:
    async def scenario() -> None:
        async with several.coordinator("a") as a, several.coordinator("b") as b:
            controls = [make.control("one"), make.control("two")]
            await several.join(a, controls[0])
            await several.join(b, controls[1])
            several.dial(controls[0]), several.dial(controls[1])
            for member in (a, b):
                await connected(make, member, "one", "two")
            assert sorted([a.hub.peers.leads, b.hub.peers.leads]) == [False, True]
            assert set(a.hub.links) == {"one"} and set(b.hub.links) == {"two"}
            for number, member in enumerate((a, b), start=1):
                location = await deployed(make, member, number)
                for other in (a, b):
                    assert (await make.ended(other.client, location))["state"] == "succeeded"
            for control in controls:
                assert control.history == ["install overheat 1.0.0", "install overheat 2.0.0"]

    run(several, scenario)


def test_a_change_at_one_coordinator_is_told_by_the_other(several: Several, make: Any) -> None:
    async def scenario() -> None:
        async with several.coordinator("a") as a, several.coordinator("b") as b:
            await several.join(a, make.control("one"))
            cursor = (await b.client.get("/api/changes")).json()["cursor"]
            headers = {"Authorization": f"Bearer {several.token}"}
            url = f"{b.url.replace('http', 'ws')}/api/changes?cursor={cursor}"
            async with connect(url, additional_headers=headers, proxy=None) as websocket, asyncio.timeout(60):
                assert json.loads(await websocket.recv()) == {"type": "begin", "cursor": cursor}
                reply = await a.client.put("/api/nodes/one/labels", json={"labels": {"site": "lyon"}})
                assert reply.status_code == 200
                message = json.loads(await websocket.recv())
                assert (message["type"], message["changes"][0]["subject"]) == ("changes", "one")

    run(several, scenario)


def test_no_node_counts_as_away_whose_link_another_coordinator_holds(several: Several, make: Any) -> None:
    async def scenario() -> None:
        async with several.coordinator("a") as a, several.coordinator("b") as b:
            controls = [make.control("one"), make.control("two")]
            for member, control in zip((a, b), controls, strict=True):
                await several.join(member, control)
                several.dial(control)
            for member in (a, b):
                await connected(make, member, "one", "two")
            location = await deployed(make, a, 1, strategy="rolling", options={"observeS": 600})
            for member in (a, b):
                begun = (await member.client.get(location)).json()
                assert "away" not in {one["state"] for one in begun["nodes"]}, begun["nodes"]
                plan = {"all": True, "changes": [{"rule": "overheat"}]}
                planned = (await member.client.post("/api/deployments/plan", json=plan)).json()
                assert [one["connected"] for one in planned["nodes"]] == [True, True]
            await make.until(lambda: watches(a, location), "it watches its first node")
            assert (await a.client.post(f"{location}/cancel")).status_code == 202
            await make.ended(b.client, location)
            again = (await b.client.post(f"{location}/retry")).json()
            assert "away" not in {one["state"] for one in again["nodes"]}, again["nodes"]

    async def watches(member: Member, location: str) -> bool:
        return bool((await member.client.get(location)).json()["state"] == "observing")

    run(several, scenario)


def test_a_node_with_a_newer_manifest_is_accepted_at_any_coordinator(several: Several, make: Any) -> None:
    """It has dialled one of them only, and that one knows from it how new its manifest is."""

    async def scenario() -> None:
        async with several.coordinator("a") as a, several.coordinator("b") as b:
            node = make.control("one")
            await several.join(b, node)
            membership = Membership(several.directory / "one")
            membership.accept(Accepted(99, bytes(32)))
            link = several.dial(node)

            async def refused() -> bool:
                return "manifest_ahead" in link.status.detail

            await make.until(refused, "the refusal")
            await make.until(lambda: told(a), "the other coordinator shows it")
            assert (await a.client.post("/api/nodes/one/accept")).status_code == 200
            await make.until(lambda: taken(membership), "it takes what it is sent")
            await connected(make, b, "one")
            assert (await a.client.get("/api/nodes/one")).json()["problem"] == ""

    async def told(member: Member) -> bool:
        problem = (await member.client.get("/api/nodes/one")).json()["problem"]
        return "the node has manifest 99" in problem and "eyeflow nodes accept one" in problem

    async def taken(membership: Membership) -> bool:
        return membership.accepted().version > 99

    run(several, scenario)


def test_a_node_that_moves_is_served_where_it_is_and_its_old_link_ends(several: Several, make: Any) -> None:
    """It dials another coordinator at once, while the first may still hold its link."""

    async def scenario() -> None:
        async with several.coordinator("a") as a, several.coordinator("b") as b:
            control = make.control("one")
            await several.join(a, control)
            several.dial(control)
            await connected(make, b, "one")
            stuck = a.hub.links["one"]
            membership = Membership(several.directory / "one")
            joined = membership.joined()
            assert joined is not None
            membership.join(replace(joined, url=b.url))
            link = CoordinatorLink(control, membership, None, Backoff(first_s=0.02), 0.2)
            several.tasks[0].cancel()
            several.tasks.append(asyncio.create_task(link.run()))

            async def is_moved() -> bool:
                return "one" in b.hub.links and a.hub.links.get("one") is not stuck

            await make.until(is_moved, "the node at b only")
            location = await deployed(make, a, 1)
            assert (await make.ended(a.client, location))["state"] == "succeeded"
            assert (await make.ended(b.client, location))["nodes"][0]["connected"]
            reply = await a.client.delete("/api/nodes/one")
            assert reply.status_code == 204, reply.text

            async def is_removed() -> bool:
                return "one" not in b.hub.links

            await make.until(is_removed, "the link at b closed by a removal at a")

    run(several, scenario)


def test_what_is_told_to_one_coordinator_is_seen_at_the_other(several: Several, make: Any) -> None:
    async def scenario() -> None:
        async with several.coordinator("a") as a, several.coordinator("b") as b:
            control = make.control("one")
            await several.join(a, control)
            several.dial(control)
            await make.ended(b.client, await deployed(make, b, 1))

            async def shows_health() -> bool:
                found = [(await member.client.get("/api/nodes/one")).json() for member in (a, b)]
                states = [[(one["name"], one["state"]) for one in node["health"]] for node in found]
                return states[0] == states[1] != [] and found[1]["connected"]

            await make.until(shows_health, "the node's health at both")
            for member in (a, b):
                assert (await member.client.get("/api/status")).json()["connected"] == 1

    run(several, scenario)


async def becomes_leader(make: Any, member: Member) -> None:
    async def leads() -> bool:
        return member.hub.peers.leads

    await make.until(leads, f"{member.url} leads")


def stale_write(several: Several, make: Any) -> str:
    """A leader stands still; another takes over; then the first goes on. Returns what it made of a deployment."""
    states: list[str] = []

    async def scenario() -> None:
        async with several.coordinator("a") as a, several.coordinator("b") as b:
            await becomes_leader(make, a)
            await several.join(a, make.control("one"))
            location = await deployed(make, b, 1)

            async def stands_still() -> None:
                return None

            a.hub.tick, a.hub.follow = stands_still, stands_still  # type: ignore[method-assign]
            with psycopg.connect(several.database, autocommit=True) as admin:  # as idle_session_timeout does
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND classid::bigint = (hashtext('eyeflow leads ' || current_schema())::bigint & 4294967295)"
                )
            await becomes_leader(make, b)
            assert a.hub.peers.leads, "it does not know yet"
            with contextlib.suppress(NotLeadingError):
                await a.hub.deployments.tick(a.hub.clock() + 10**15)  # far behind every deadline
            states.append((await b.client.get(location)).json()["state"])

    run(several, scenario)
    return states[0]


def test_a_leader_that_stood_still_writes_nothing_when_it_wakes_up(several: Several, make: Any) -> None:
    assert stale_write(several, make) == "installing"


def test_control_without_the_epoch_a_stale_leader_ends_a_deployment(
    several: Several, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqlCoordinationWriting, "check_lead", lambda self, epoch: None)
    assert stale_write(several, make) != "installing"


def test_a_coordinator_without_the_clusters_key_does_not_start(several: Several, make: Any) -> None:
    async def scenario() -> None:
        async with several.coordinator("a"):
            with pytest.raises(EyeflowError) as refused:
                await serve(ServeOptions(several.directory / "c", port=0, store=several.database), lambda started: None)
            assert refused.value.code == "cluster_key" and "copy cluster-key" in refused.value.next_step
            ClusterKey(several.directory / "d" / KEY_FILE, Machine().random)(None)
            with pytest.raises(EyeflowError) as other:
                await serve(ServeOptions(several.directory / "d", port=0, store=several.database), lambda started: None)
            assert other.value.code == "cluster_key" and "of cluster" in other.value.cause
        with psycopg.connect(several.database) as admin:
            found = admin.execute("SELECT value FROM meta").fetchall()
        private = bytes.fromhex((several.directory / "a" / KEY_FILE).read_text())
        assert private not in [value for (value,) in found], "the database does not hold the private key"

    run(several, scenario)


def test_a_database_that_goes_away_in_the_middle_of_a_deployment_loses_nothing(
    several: Several, make: Any, server: Server
) -> None:
    async def scenario() -> None:
        async with several.coordinator("a") as a, several.coordinator("b") as b:
            here, away = make.control("here"), make.control("away")
            for control in (here, away):
                await several.join(a, control)
            several.dial(here, b)
            await connected(make, a, "here")
            location = await deployed(make, b, 1)

            async def is_installed() -> bool:
                return bool(here.history)

            await make.until(is_installed, "the first node installed")
            await asyncio.to_thread(server.stop)

            async def is_told() -> bool:
                found = [await member.client.get("/healthz") for member in (a, b)]
                return all(one.status_code == 503 for one in found)

            await make.until(is_told, "both say that their store is away")
            refused = await b.client.get(location)
            assert refused.status_code == 503 and refused.json()["code"] == "storage", refused.text
            several.dial(away, b)
            server.launch()
            await asyncio.to_thread(server.wait)
            assert (await make.ended(a.client, location))["state"] == "succeeded"
            assert away.history == here.history == ["install overheat 1.0.0"]

            async def is_led() -> bool:
                return {a.hub.peers.leads, b.hub.peers.leads} == {True, False}

            await make.until(is_led, "one of them leads")

            async def is_well() -> bool:
                found = [await member.client.get("/healthz") for member in (a, b)]
                return all(one.status_code == 200 for one in found)

            await make.until(is_well, "both are well again")

    run(several, scenario)


def test_a_node_is_asked_through_the_coordinator_that_holds_its_link(several: Several, make: Any) -> None:
    """For a replay, and for the lines of a board. Also where it cannot tell, and where that coordinator has lost it; nothing of the question stays."""
    asked: list[Replay] = []

    async def answers(two: Member, question: Replay) -> Replayed:
        asked.append(question)
        await two.hub.relay.look()  # it ticks while the node works: that asks nobody again
        results = [ReplayResult(one.rule, one.program_id, events=7) for one in question.programs]
        return Replayed(question.number, tuple(results))

    async def scenario() -> None:
        async with several.coordinator("one") as one, several.coordinator("two") as two:
            node = make.control("node-a")
            node.answers = partial(answers, two)
            await several.join(two, node)
            several.dial(node)
            await connected(make, one, "node-a")
            await make.ended(two.client, await deployed(make, two, 1))
            newer = make.program(version="2.0.0", sequence=2)
            await two.client.post("/api/programs", content=newer, headers={"content-type": "application/octet-stream"})
            plan = {"all": True, "changes": [{"rule": "overheat"}], "replay": {"spanS": 60}}

            async def told() -> Any:
                reply = await one.client.post("/api/deployments/plan", json=plan, timeout=90)
                return reply.json()["replay"]

            (found,) = await told()
            assert (found["events"], found["problem"]) == (7, ""), found
            assert [question.programs[0].rule for question in asked] == ["overheat"]
            node.lines = (BoardLine(7, 9, 2, "door open"),)
            heard = (await one.client.get("/api/nodes/node-a/lines?since=7", timeout=90)).json()
            assert (heard["lines"][0]["text"], heard["next"]) == ("door open", 8), heard
            two.hub.links.pop("node-a")
            (found,) = await told()
            assert found["problem"] == "it is offline"
            refused = (await one.client.get("/api/nodes/node-a/lines", timeout=90)).json()
            assert "cannot tell what it logs: it is offline" in refused["detail"], refused
            with psycopg.connect(several.database) as db:
                assert db.execute("SELECT count(*) FROM asked").fetchone() == (0,)

    run(several, scenario)
