"""The coordinator asks nodes for a replay: who answers, who cannot and why, and that nothing waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from eyeflow.coordinator import link_questions, replaying
from eyeflow.protocol import executions as x
from eyeflow.protocol import replays as y
from unit.coordinator.asking import upload

HIGH = x.Trace(0, (), ("gpio.set_pin(RELAY, HIGH) at line 4",))
PLAN = {"all": True, "changes": [{"rule": "overheat"}], "replay": {"spanS": 3600}}


def answering(**numbers: Any) -> Callable[[y.Replay], Awaitable[y.Replayed]]:
    async def answer(asked: y.Replay) -> y.Replayed:
        found = [y.ReplayResult(one.rule, one.program_id, **numbers) for one in asked.programs]
        return y.Replayed(asked.number, tuple(found))

    return answer


class Silent:
    """A node that never answers; it counts how often it was asked, and how often it was told to stop."""

    def __init__(self) -> None:
        self.asked = self.stopped = 0

    async def __call__(self, asked: y.Replay) -> y.Replayed:
        self.asked += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped += 1
        raise AssertionError("never")


async def running(cluster: Any, make: Any, client: Any, *names: str) -> list[Any]:
    """Nodes that run one program of each rule, with another one to try."""
    nodes = [make.control(name) for name in names]
    for node in nodes:
        await cluster.join(client, node)
        cluster.dial(node)
    for rule in ("overheat", "pump"):
        await upload(client, make.program(rule))
        reply = await client.post(f"/api/rules/{rule}/deploy", json={"all": True})
        await make.ended(client, reply.headers["location"])
        await upload(client, make.program(rule, version="2.0.0", sequence=2))
    return nodes


async def replayed(client: Any, body: Any = PLAN) -> dict[str, Any]:
    found = (await client.post("/api/deployments/plan", json=body, timeout=60)).json()
    assert "replay" in found, found
    return {f"{one['node']} {one['rule']}": one for one in found["replay"]}


def test_each_node_answers_for_itself(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            here, other, _ = await running(cluster, make, client, "node-a", "node-b", "node-c")
            difference = y.ReplayDifference(9, x.Trace(7), HIGH, "mqtt t: n = 1", "t")
            numbers = {"events": 7, "differing": 1, "since_us": 5, "until_us": 9, "memory": y.Memory.KNOWN}
            here.answers = answering(**numbers, missing=("mqtt u: none",), differences=(difference,))
            other.answers = answering(refusal="it does not grant mqtt.publish")
            await cluster.hang_up("node-c")
            found = await replayed(client)
            one = found["node-a overheat"]
            assert (one["events"], one["differing"], one["memory"], one["missing"]) == (7, 1, "known", ["mqtt u: none"])
            (shown,) = one["differences"]
            assert shown["active"]["seq"] == 7 and shown["candidate"]["decided"] == list(HIGH.decided)
            assert found["node-b overheat"]["problem"] == "it does not grant mqtt.publish"
            assert found["node-c overheat"]["problem"] == "it is offline"
            assert len(found) == 3, "only the rule that changes"
            assert (await replayed(client, PLAN | {"changes": [{"rule": "pump", "params": {"limit": 80.0}}]})).keys()
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_many_programs_are_asked_for_one_after_the_other(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "BATCH_BYTES_MAX", 1)

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            (node,) = await running(cluster, make, client, "node-a")
            seen: list[tuple[int, list[str]]] = []

            async def answer(asked: y.Replay) -> y.Replayed:
                seen.append((asked.number, [one.rule for one in asked.programs]))
                return await answering(events=3)(asked)

            node.answers = answer
            found = await replayed(client, PLAN | {"changes": [{"rule": "pump"}, {"rule": "overheat"}]})
            assert seen == [(1, ["overheat"]), (2, ["pump"])]
            assert [one["events"] for one in found.values()] == [3, 3]
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_link_that_ends_ends_the_replay_on_both_sides(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            (node,) = await running(cluster, make, client, "node-a")
            node.answers = silent = Silent()
            waiting = asyncio.create_task(replayed(client))
            second = asyncio.create_task(replayed(client))  # it waits for its turn

            async def is_asked() -> bool:
                return silent.asked > 0

            await make.until(is_asked, "the node is asked")
            await cluster.hang_up("node-a")
            ended = "its link ended before it had answered"
            assert (await waiting)["node-a overheat"]["problem"] == ended
            assert (await second)["node-a overheat"]["problem"] in {ended, "it is offline"}, (
                "it may come too late to wait"
            )
            assert (silent.asked, silent.stopped) == (1, 1)

    asyncio.run(scenario())


def test_a_node_that_does_not_answer_is_waited_for_no_longer(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_questions, "LATE_S", 0)

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            (node,) = await running(cluster, make, client, "node-a")
            node.answers = silent = Silent()
            body = PLAN | {"replay": {"spanS": 3600, "timeoutS": 1}}
            assert (await replayed(client, body))["node-a overheat"]["problem"] == "it did not answer within 1 s"
            node.answers = answering(events=1)
            assert (await replayed(client))["node-a overheat"]["events"] == 1
            assert silent.stopped == 1, "the newer question ended the older one"
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_node_that_fails_in_a_replay_says_so_at_once_and_keeps_its_link(cluster: Any, make: Any) -> None:
    """Silence would cost whoever asked all the time that nodes may take, and tell nothing."""

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            (node,) = await running(cluster, make, client, "node-a")

            async def broken(asked: y.Replay) -> y.Replayed:
                raise ZeroDivisionError

            node.answers = broken
            body = PLAN | {"replay": {"spanS": 3600, "timeoutS": 3600}}
            problem = (await replayed(client, body))["node-a overheat"]["problem"]
            assert problem == "the node failed in it: internal error: ZeroDivisionError()"
            assert cluster.links["node-a"].status.state == "up"
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_what_is_new_on_a_node_has_no_records_and_what_stays_is_not_asked(full: Any, make: Any) -> None:
    full.upload(make.program("pump"))
    body: dict[str, Any] = {"changes": [{"rule": "pump"}], "replay": {"spanS": 60}}
    found = full.ask("POST", "/api/deployments/plan", json=body | {"all": True}).json()["replay"]
    assert {one["problem"] for one in found} == {"it does not run this rule: nothing is recorded"}
    body["changes"] = [{"rule": "overheat"}]
    assert full.ask("POST", "/api/deployments/plan", json=body | {"all": True}).json()["replay"] == []
    del body["replay"]
    assert full.ask("POST", "/api/deployments/plan", json=body | {"all": True}).json()["replay"] is None


def test_who_may_only_read_lets_no_node_work(full: Any) -> None:
    made = full.ask("POST", "/api/tokens", json={"name": "eyes", "role": "read"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    plan = {name: one for name, one in PLAN.items() if name != "replay"}
    assert full.client.post("/api/deployments/plan", json=plan, headers=headers).status_code == 200
    refused = full.client.post("/api/deployments/plan", json=PLAN, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
