"""Where a rule has no room, whoever sends to it waits; nothing is rejected for lack of room that can wait."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from components.http_server import serve
from components.node_sim import NodeSim
from eyeflow.node.engine import running
from eyeflow.node.engine.actions import WAITING_MAX
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.running import QueuedEvent, RunningRule
from eyeflow.node.io.llm.driver import CALLS_MAX, LlmDriver
from eyeflow.node.io.llm.settings import LlmConfig
from eyeflow.node.run_key import active
from eyeflow.protocol.audit_bodies import ExecutionBody, RejectedBody

EVENTS_MAX = 32
"""Stands for the bound of 1024, which takes long to fill a second at a time."""

SLOW = """
rule slow {
    version "1.0.0"
    record Reading { temp: float }
    on mqtt "t" as r: Reading
    mqtt.publish("a", "b")
}
"""
EMITTER = """
rule emitter {
    version "1.0.0"
    record Reading { temp: float }
    on mqtt "t" as r: Reading
    emit seen(temp: r.temp)
}
"""
LISTENER = """
rule listener {
    version "1.0.0"
    record Seen { temp: float }
    on event "seen" as s: Seen
    mqtt.publish("a", "b")
}
"""
CIRCLE = """
rule circle {
    version "1.0.0"
    record Seen { temp: float }
    on event "seen" as s: Seen
    emit seen(temp: s.temp)
    mqtt.publish("a", "b")
}
"""


@pytest.fixture(autouse=True)
def small_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "EVENTS_MAX", EVENTS_MAX)


async def stalled(path: Path, *sources: str) -> NodeSim:
    """Return a node whose actions take a second each, with as many of them waiting as stall a rule."""
    sim = await NodeSim.started(path, *sources)
    sim.drivers["mqtt"].duration_s["mqtt.publish"] = 1.0
    for _ in range(WAITING_MAX):
        await sim.send("t", temp=1.0)
        await sim.turns()
    return sim


def test_the_source_waits_for_a_slow_rule_and_status_and_log_name_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        sim = await stalled(tmp_path, SLOW)
        assert sim.rule("slow")["stalled"]
        for _ in range(EVENTS_MAX):
            await sim.send("t", temp=1.0)
        with caplog.at_level(logging.WARNING):
            surplus = [asyncio.create_task(sim.send("t", temp=2.0)) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not any(task.done() for task in surplus)
        assert sim.rule("slow")["holds_back"] == 3
        assert caplog.text.count("rule slow does not keep up: mqtt waits for it") == 1
        await sim.advance((WAITING_MAX + EVENTS_MAX + 5) * 1_000_000)
        assert all(task.done() for task in surplus)
        assert sim.rule("slow")["rejected"] == 0 and sim.rule("slow")["holds_back"] == 0
        assert sim.done == len(sim.bodies(ExecutionBody)) == WAITING_MAX + EVENTS_MAX + 3
        await sim.stop()

    asyncio.run(test())


def test_an_event_that_cannot_wait_is_rejected_and_recorded(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await stalled(tmp_path, SLOW)
        edge = sim.event("t", {"temp": 1.0})._replace(can_wait=False)
        for _ in range(EVENTS_MAX + 2):
            await sim.node.engine.deliver(edge)
        await sim.turns()
        (body,) = sim.bodies(RejectedBody)
        assert (body.rule, body.reason, body.count) == ("slow", "the rule does not keep up", 2)
        await sim.stop()

    asyncio.run(test())


def test_rejections_that_wait_for_the_disk_take_no_memory_each(tmp_path: Path) -> None:
    """A disk may refuse for days while events come that cannot wait."""

    async def test() -> None:
        sim = await stalled(tmp_path, SLOW)
        edge = sim.event("t", {"temp": 1.0})._replace(can_wait=False, done=None)
        for _ in range(EVENTS_MAX + 500):
            await sim.node.engine.deliver(edge)
        intake = sim.node.engine.core.intake
        assert len(intake.refused_receipts) == 0, "nobody waits to hear of them"
        await sim.turns()
        (body,) = sim.bodies(RejectedBody)
        assert body.count == 500
        await sim.stop()

    asyncio.run(test())


def test_an_event_for_some_rules_waits_only_for_them(tmp_path: Path) -> None:
    async def test() -> None:
        calm = SLOW.replace("slow", "calm").replace('mqtt.publish("a", "b")', 'log.info("x")')
        sim = await stalled(tmp_path, SLOW, calm)
        for _ in range(EVENTS_MAX):
            await sim.send("t", temp=1.0)
        await sim.turns()
        await sim.node.engine.deliver(sim.event("t", {"temp": 5.0})._replace(only=frozenset({active("calm")})))
        await sim.turns()
        executions = [body.rule for body in sim.bodies(ExecutionBody)]
        assert executions.count("calm") == executions.count("slow") + EVENTS_MAX + 1
        await sim.stop()

    asyncio.run(test())


async def emit_many(sim: NodeSim) -> None:
    tasks = [asyncio.create_task(sim.send("t", temp=1.0)) for _ in range(3 * EVENTS_MAX)]
    await sim.turns()
    await sim.advance(10 * (WAITING_MAX + 3 * EVENTS_MAX) * 1_000_000)
    assert all(task.done() for task in tasks)


def test_a_rule_that_emits_waits_for_its_listener(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await stalled(tmp_path, EMITTER, LISTENER)
        await emit_many(sim)
        assert sim.bodies(RejectedBody) == []
        ran = [body.rule for body in sim.bodies(ExecutionBody)]
        assert ran.count("listener") == ran.count("emitter") == WAITING_MAX + 3 * EVENTS_MAX
        await sim.stop()

    asyncio.run(test())


def test_control_an_emitter_that_does_not_wait_fills_the_queue_of_its_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of the queue is held by that wait alone."""

    async def test() -> None:
        sim = await stalled(tmp_path, EMITTER, LISTENER)
        monkeypatch.setattr(RunningRule, "is_full", property(lambda rule: False))
        for _ in range(3 * EVENTS_MAX):
            await sim.send("t", temp=1.0)
        await sim.turns()
        assert sim.rule("listener")["waiting"] > 2 * EVENTS_MAX
        await sim.stop()

    asyncio.run(test())


def test_rules_in_a_circle_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await stalled(tmp_path, EMITTER, CIRCLE)
        await emit_many(sim)
        reasons = {body.reason for body in sim.bodies(RejectedBody)}
        assert reasons <= {"the event came through more than 8 rules", "the rule does not keep up"}
        assert [body.rule for body in sim.bodies(ExecutionBody)].count("emitter") == WAITING_MAX + 3 * EVENTS_MAX
        await sim.stop()

    asyncio.run(test())


ASKS = """
rule {name} {{
    version "1.0.0"
    enum Urgency {{ LATER, NOW }}
    record Reading {{ temp: float }}
    on mqtt "{name}" as r: Reading
    let answer = llm.classify("{name}", Urgency, "how urgent?") retry 1 backoff 1h else LATER
    log.info("{name}")
}}
"""


@pytest.mark.parametrize("control", [False, True], ids=["free", "control"])
def test_rules_that_wait_before_they_ask_again_keep_nobody_from_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: bool
) -> None:
    """As many rules as may ask at once wait an hour each; another one is answered. The control counts the wait, too."""
    released, waiting, slots = threading.Event(), threading.Semaphore(0), asyncio.Semaphore(CALLS_MAX)
    if control:
        ask = Engine._run_beside

        async def one_of_few(self: Engine, rule: RunningRule, event: QueuedEvent) -> None:
            async with slots:
                await ask(self, rule, event)

        monkeypatch.setattr(Engine, "_run_beside", one_of_few)

    def answer(_request: Request, body: bytes) -> Response:
        text = json.loads(body)["messages"][1]["content"]
        return JSONResponse({"choices": [{"message": {"content": "NOW" if text == "other" else "neither"}}]})

    def pause(_seconds: float) -> None:
        waiting.release()
        released.wait(60)

    async def test() -> None:
        names = [f"r{number}" for number in range(CALLS_MAX)]
        sim = await NodeSim.started(tmp_path, *(ASKS.format(name=name) for name in [*names, "other"]))
        for name in names:
            sim.node.engine.core.rules[active(name)].host._pause = pause
            sim.node.engine.core.rules[active(name)].host._drivers = {"llm": driver}
        sim.node.engine.core.rules[active("other")].host._drivers = {"llm": driver}
        for name in names:
            await sim.send(name, temp=1.0)
        await sim.turns()
        for _ in names:
            await asyncio.to_thread(waiting.acquire)
        await sim.send("other", temp=1.0)
        await sim.turns()
        if control:
            assert slots.locked() and driver.status.counters["reads"] == 0
        else:
            while not sim.drivers["log"].acted:
                sim.node.engine._wakeup.clear()
                await sim.node.engine._wakeup.wait()
                await sim.turns()
            assert [args["message"] for _, _, args in sim.drivers["log"].acted] == ["other"]
        released.set()
        await sim.stop()
        await driver.close()

    with serve(answer) as url:
        driver = LlmDriver(LlmConfig(url, "m"))
        asyncio.run(test())


def test_a_rule_outside_of_a_circle_waits_for_a_listener_that_is_in_it(tmp_path: Path) -> None:
    """It does not come back to the emitter: what one round emits may go beyond the bound there, too."""

    async def test() -> None:
        twice = EMITTER.replace("emit seen(temp: r.temp)", "emit seen(temp: r.temp)\n emit seen(temp: r.temp)")
        rarely = CIRCLE.replace("emit seen(temp: s.temp)", "if s.temp > 5.0 { emit seen(temp: 0.0) }")
        sim = await stalled(tmp_path, twice, rarely)
        await emit_many(sim)
        assert sim.bodies(RejectedBody) == []
        ran = [body.rule for body in sim.bodies(ExecutionBody)]
        assert ran.count("circle") == 2 * ran.count("emitter") == 2 * (WAITING_MAX + 3 * EVENTS_MAX)
        await sim.stop()

    asyncio.run(test())
