"""What nodes tell of single executions stays with the deployment, and so does the verdict by which it failed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator import cases as cases_module
from eyeflow.coordinator.store.cases import Case
from eyeflow.coordinator.store.facts import EvidenceRow
from eyeflow.evidence.outcomes import Outcomes, Tally
from eyeflow.protocol import executions as x
from eyeflow.protocol import messages as m
from eyeflow.protocol.slot import Slot

DONE = x.Trace(9, ("adc.read_channel(0) = 7",), ("gpio.set_pin(RELAY, HIGH) at line 14",))


class Tried:
    """A deployment that is watched on both nodes."""

    def __init__(self, api: Any) -> None:
        self.api = api
        body = {"all": True, "options": {"observeS": 60}}
        self.id = api.ask("POST", "/api/rules/overheat/deploy", json=body).json()["id"]
        for node in ("node-a", "node-b"):
            version = api.look(lambda reading, node=node: reading.node(node).manifest_version)
            result = m.ManifestResult(version, (m.RuleResult("overheat", api.program_id, m.RuleState.INSTALLED),))
            api.run(lambda node=node, result=result: api.hub.deployments.reported(node, result, api.clock()))

    def fails(self, time_us: int) -> None:
        who = ("overheat", Slot.ACTIVE, self.api.program_id, self.id, x.FailureKind.TRAP, time_us)
        failure = x.Failure(*who, "trap INDEX at line 3", DONE, "mqtt t: n = 1", "t/1")
        self.api.hub.cases.told("node-a", x.Failures(4, (failure,)))

    def differs(self, time_us: int) -> None:
        what = ("overheat", self.api.program_id, self.id, time_us, x.Trace(8), DONE, "every 1s")
        self.api.hub.cases.told("node-b", x.Differences(4, (x.Difference(*what),)))

    def shown(self) -> Any:
        return self.api.ask("GET", f"/api/deployments/{self.id}").json()


@pytest.fixture
def tried(full: Any) -> Tried:
    return Tried(full)


def test_what_failed_and_what_differed_is_shown(tried: Tried) -> None:
    tried.fails(1)
    tried.fails(2)
    tried.differs(3)
    assert tried.shown()["failures"] == [], "it is written with the next tick"
    tried.api.tick()
    shown = tried.shown()
    trace = {"seq": 9, "reads": ["adc.read_channel(0) = 7"], "decided": ["gpio.set_pin(RELAY, HIGH) at line 14"]}
    who = {"rule": "overheat", "programId": tried.api.program_id, "epoch": 4}
    what = {"slot": "active", "kind": "trap", "event": "mqtt t: n = 1", "key": "t/1", "what": "trap INDEX at line 3"}
    assert [one["timeUs"] for one in shown["failures"]] == [2, 1], "newest first"
    assert shown["failures"][0] == who | what | trace | {"node": "node-a", "timeUs": 2}
    empty = {"seq": 8, "reads": [], "decided": []}
    event = {"node": "node-b", "timeUs": 3, "event": "every 1s", "key": ""}
    assert shown["differences"] == [who | event | {"active": empty, "candidate": trace}]


def test_a_store_that_fails_is_tried_again(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    tried.fails(1)
    write, failing = tried.api.hub.store.write, [True]

    async def fails_once(step: Any) -> Any:
        if failing:
            failing.clear()
            raise EyeflowError("the disk is full")
        return await write(step)

    monkeypatch.setattr(tried.api.hub.cases, "_store", type("Store", (), {"write": staticmethod(fails_once)}))
    tried.fails(2)
    tried.api.tick()
    assert tried.shown()["failures"] == []
    tried.api.tick()
    assert [one["timeUs"] for one in tried.shown()["failures"]] == [2, 1]


def test_what_waits_is_bounded(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases_module, "WAITING_MAX", 2)
    for time_us in (1, 2, 3):
        tried.fails(time_us)
    waiting: list[Case] = tried.api.hub.cases._waiting
    assert [one.time_us for one in waiting] == [2, 3]


def test_the_verdict_by_which_it_failed_stays_with_its_numbers(tried: Tried) -> None:
    def tells(executions: int, failures: int) -> None:
        counts = (Tally(Outcomes(executions, failures), Outcomes()), 0, 0, 0, "trial", "", tried.api.clock())
        rows = [EvidenceRow(node, "overheat", "active", "p" * 64, tried.id, *counts) for node in ("node-a", "node-b")]
        tried.api.run(lambda: tried.api.hub.store.write(lambda writing: writing.record_evidence(rows)))

    tells(12, 0)
    tried.api.clock.pass_s(3)
    tried.api.tick()
    watched = tried.shown()["verdict"]
    assert watched["missing"] == {"executions": 0, "executionsBefore": 0, "pending": 0} and watched["silent"] == []
    assert watched["counts"] == "executions" and watched["interval"]["lowPercent"] == 0
    assert watched["interval"]["highPercent"] == pytest.approx(14.2, abs=0.1), "Clopper and Pearson of 0 of 24"
    for number in range(1, 4):
        tells(50 * number, 40 * number)
        tried.api.clock.pass_s(3)
        tried.api.tick()
    tells(1000, 0)
    shown = tried.shown()
    assert shown["state"] in ("rollingBack", "failed", "rolledBack")
    assert (shown["verdict"]["kind"], shown["verdict"]["leftS"]) == ("fail", 0)
    assert shown["verdict"]["reason"] == shown["reason"]
    assert 0 < shown["verdict"]["failures"] < shown["verdict"]["executions"] <= 300


@pytest.mark.parametrize("how", ["passed", "promoted"])
def test_the_verdict_by_which_it_succeeded_stays_too(tried: Tried, how: str) -> None:
    counts = (Tally(Outcomes(40, 0), Outcomes()), 0, 0, 0, "trial", "", tried.api.clock() + 60_000_000)
    rows = [EvidenceRow(node, "overheat", "active", "p" * 64, tried.id, *counts) for node in ("node-a", "node-b")]
    tried.api.run(lambda: tried.api.hub.store.write(lambda writing: writing.record_evidence(rows)))
    for _ in range(25 if how == "passed" else 1):
        tried.api.clock.pass_s(3)
        tried.api.tick()
    if how == "promoted":
        assert tried.shown()["state"] == "observing"
        tried.api.ask("POST", f"/api/deployments/{tried.id}/promote")
    shown = tried.shown()
    assert shown["state"] == "succeeded"
    assert shown["verdict"]["kind"] == ("pass" if how == "passed" else "inconclusive")
    assert (shown["verdict"]["executions"], shown["verdict"]["failures"]) == (80, 0)
    assert [(one["node"], one["executions"], one["failures"]) for one in shown["nodes"]] == [
        ("node-a", 40, 0),
        ("node-b", 40, 0),
    ]


def test_a_link_tells_each_failure_once_and_a_new_link_tells_them_again(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(cases_module.Cases, "told", lambda self, node, said: heard.append(said))

    async def scenario() -> None:
        node, who = make.control("node-a"), ("overheat", Slot.ACTIVE, "a" * 64, "d-1", x.FailureKind.TRAP)
        async with cluster.coordinator() as client:
            node.failed = tuple(x.Failure(*who, time_us, "trap") for time_us in range(30))
            await cluster.join(client, node)

            async def statuses(count: int) -> None:
                for _ in range(count):
                    before = (await client.get("/api/nodes/node-a")).json()["lastSeenUs"]
                    await make.until(_newer(client, before), "another status")

            cluster.dial(node)
            await statuses(4)
            assert [one.failures for one in heard] == [node.failed[-x.FAILURES_MAX :]], "once, the newest"
            node.failed = (*node.failed, x.Failure(*who, 99, "trap"))
            await statuses(3)
            assert [one.failures for one in heard[1:]] == [node.failed[-1:]], "only what is new"
        async with cluster.coordinator():  # it comes back, and so does the link
            await make.until(_longer(heard, 2), "a new link tells them again")
            assert heard[2].failures == node.failed[-x.FAILURES_MAX :]
            await cluster.hang_up_all()

    asyncio.run(scenario())


def _newer(client: Any, than_us: int) -> Any:
    async def newer() -> bool:
        return bool((await client.get("/api/nodes/node-a")).json()["lastSeenUs"] > than_us)

    return newer


def _longer(heard: list[Any], than: int) -> Any:
    async def longer() -> bool:
        return len(heard) > than

    return longer
