"""Under ten times the load urgent rules go on, what of background rules is shed is counted, and it ends by itself."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from components.node_sim import NodeSim
from eyeflow.node.engine import running, shedding
from eyeflow.node.engine.shedding import CALM_US, REASON, Shedding
from eyeflow.node.engine.turns import EVENTS_PER_ROUND
from eyeflow.protocol.audit_bodies import ExecutionBody, RejectedBody
from unit.node.engine.rules import run

EVENTS_MAX, TICKS, ALARMS = 64, 8, 5
BULK = 10 * EVENTS_PER_ROUND
"""Ten times what one round runs, in each tick."""


def rule(name: str, priority: str, topic: str, does: str = "n = n + 1") -> str:
    return f"""
rule {name} {{
    version "1.0.0"
    priority {priority}
    record Reading {{ temp: float }}
    state n: int = 0
    on mqtt "{topic}" as r: Reading
    {does}
}}
"""


@pytest.fixture(autouse=True)
def small_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "EVENTS_MAX", EVENTS_MAX)


class Load:
    """A broker: it hands over one message after the other, in order, and waits where the node makes it wait."""

    def __init__(self, sim: NodeSim) -> None:
        self.sim = sim
        self.sent = {"alarm": 0, "bulk": 0}

    async def tick(self, bulk: int, alarms: int) -> None:
        for number in range(bulk):
            await self.send("bulk")
            if alarms and number % (bulk // alarms) == 0:
                await self.send("alarm")

    async def send(self, topic: str) -> None:
        await self.sim.send(topic, temp=1.0)
        self.sent[topic] += 1


async def ticks(sim: NodeSim, load: Load, count: int, bulk: int) -> int:
    """Let so many ticks of load come; one turn of the node for each. Return how many alarms waited at most."""
    most = 0
    for _ in range(count):
        task = asyncio.ensure_future(load.tick(bulk, ALARMS))
        for _ in range(3):
            await asyncio.sleep(0)
        await sim.node.engine.turn()
        most = max(most, load.sent["alarm"] - int(str(sim.rule("urgent")["executions"])))
        if not task.done():  # the node makes it wait: what is left of this tick was not sent in time
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return most


def overload_of(sim: NodeSim) -> dict[str, object]:
    found = sim.node.status()["overload"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("control", [False, True], ids=["shedding", "control"])
def test_critical_rules_run_and_background_is_shed_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, control: bool
) -> None:
    """The control lets sources wait for background rules as for any other: then alarms do not come in time."""
    if control:
        monkeypatch.setattr(Shedding, "gives_way", lambda self, rule, source: False)

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rule("urgent", "critical", "alarm"), rule("bulky", "background", "bulk"))
        load = Load(sim)
        caplog.set_level(logging.WARNING)
        await ticks(sim, load, TICKS, BULK)
        if control:
            assert load.sent["alarm"] < TICKS * ALARMS
            await sim.turns()
            await sim.stop()
            return
        assert load.sent == {"alarm": TICKS * ALARMS, "bulk": TICKS * BULK}, "nobody made the broker wait"
        assert sim.rule("urgent")["executions"] == TICKS * ALARMS, "each alarm ran in the turn after it came"
        state = overload_of(sim)
        assert (state["state"], state["shed"]) == ("failed", sim.rule("bulky")["rejected"])
        assert "bulky does not keep up" in str(state["detail"])
        await recovers(sim, load)
        await sim.stop()

    run(test())


async def recovers(sim: NodeSim, load: Load) -> None:
    """The load is over: nothing more is shed, the status and the log say so, and each event has its record."""
    await sim.turns()
    shed = overload_of(sim)["shed"]
    await sim.advance(CALM_US)
    await ticks(sim, load, 4, EVENTS_MAX // 2)
    await sim.turns()
    assert overload_of(sim) == {"state": "up", "detail": "", "since_us": 0, "shed": shed}
    executions = [body.rule for body in sim.bodies(ExecutionBody)]
    rejected = [body for body in sim.bodies(RejectedBody) if body.rule == "bulky"]
    assert {body.reason for body in rejected} == {REASON}
    assert sum(body.count for body in rejected) == shed == sim.rule("bulky")["rejected"]
    assert executions.count("bulky") + int(str(shed)) == load.sent["bulk"]
    assert executions.count("urgent") == load.sent["alarm"]
    assert sim.done == sum(load.sent.values()), "the broker heard of each, once"
    evidence = sim.rule("bulky")["evidence"]
    assert isinstance(evidence, dict) and evidence["rejected"] == 0, "it is no fault of the program"


def test_it_is_said_once_that_it_begins_and_once_that_it_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rule("urgent", "critical", "alarm"), rule("bulky", "low", "bulk"))
        load = Load(sim)
        with caplog.at_level(logging.WARNING):
            await ticks(sim, load, TICKS, BULK)
            await recovers(sim, load)
        assert caplog.text.count("overload: events of bulky are rejected") == 1
        shed = overload_of(sim)["shed"]
        assert caplog.text.count(f"the overload is over: {shed} events were rejected ({shed} of bulky)") == 1
        await sim.stop()

    run(test())


@pytest.mark.parametrize("priority", ["critical", "high", "normal"])
def test_rules_of_other_levels_lose_nothing(tmp_path: Path, priority: str) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rule("urgent", "critical", "alarm"), rule("bulky", priority, "bulk"))
        task = asyncio.ensure_future(Load(sim).tick(BULK, 0))
        while not task.done():
            await asyncio.sleep(0)
            await sim.node.engine.turn()
        await sim.turns()
        assert sim.rule("bulky")["executions"] == BULK and sim.rule("bulky")["rejected"] == 0
        await sim.stop()

    run(test())


def test_a_background_rule_that_shares_its_source_with_nobody_urgent_lets_it_wait(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rule("bulky", "background", "bulk"))
        task = asyncio.ensure_future(Load(sim).tick(BULK, 0))
        while not task.done():
            await asyncio.sleep(0)
            await sim.node.engine.turn()
        await sim.turns()
        assert sim.rule("bulky")["executions"] == BULK and overload_of(sim)["shed"] == 0
        await sim.stop()

    run(test())


LISTENER = """
rule listener {
    version "1.0.0"
    priority background
    record Seen { temp: float }
    on event "seen" as s: Seen
    mqtt.publish("out", "x")
}
"""


@pytest.mark.parametrize("control", [False, True], ids=["shedding", "control"])
def test_an_urgent_rule_does_not_wait_for_a_background_rule_that_it_emits_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: bool
) -> None:
    if control:
        monkeypatch.setattr("eyeflow.node.engine.intake.never_waits_for", lambda emitter, listener: False)

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rule("urgent", "critical", "t", "emit seen(temp: r.temp)"), LISTENER)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 1000.0
        count = 300
        task = asyncio.ensure_future(_send_all(sim, count))
        await asyncio.sleep(0)
        for _ in range(20):
            await sim.node.engine.turn()
            for _ in range(20):
                await asyncio.sleep(0)
        executed = int(str(sim.rule("urgent")["executions"]))
        if control:
            assert executed < count, "the rule that must act waits for one that may wait"
        else:
            assert executed == count
            assert overload_of(sim)["shed"] == sim.rule("listener")["rejected"] != 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(test())


async def _send_all(sim: NodeSim, count: int) -> None:
    for number in range(count):
        await sim.send("t", temp=float(number))


def test_an_overload_that_lasts_goes_on_and_one_after_a_pause_is_another(caplog: pytest.LogCaptureFixture) -> None:
    class Rule:
        key = name = "bulky"

    found, rule_ = Shedding(), Rule()
    with caplog.at_level(logging.WARNING):
        for now_us in (1_000_000, 5_000_000, 14_000_000):
            found.look(now_us)
            found.note(rule_, now_us)  # type: ignore[arg-type]
        found.look(14_000_000 + shedding.CALM_US)
        found.look(15_000_000 + shedding.CALM_US)
        found.note(rule_, 90_000_000)  # type: ignore[arg-type]
    assert caplog.text.count("are rejected") == 2 and caplog.text.count("over: 3 events") == 1
    assert found.as_dict(90_000_000) == {
        "state": "failed",
        "detail": "overload: more urgent rules go first: bulky does not keep up",
        "since_us": 90_000_000,
        "shed": 4,
    }
