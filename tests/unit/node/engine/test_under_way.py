"""Actions that were sent and are not confirmed, and those whose drivers are not ready: at a start, later, after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import START_US as START_US_OF_SIM
from components.node_sim import NodeSim
from eyeflow.node.engine.actions import ActionRunner
from eyeflow.node.engine.lane import UNDER_WAY_MAX
from eyeflow.node.engine.performing import START_US
from eyeflow.node.run_key import active
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody, ExecutionBody
from eyeflow.svm.execution import CapabilityFailure

S = 1_000_000


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def plain(name: str, body: str, topic: str = "t") -> str:
    return f'rule {name} {{\n version "1.0.0"\n record Reading {{ temp: float }}\n on mqtt "{topic}" as r: Reading\n {body}\n}}\n'


async def under_way(path: Path, body: str, count: int, head: str = "") -> NodeSim:
    """Return a node whose rule has run `count` events; each confirmation takes a second."""
    sim = await NodeSim.started(path, plain("r", body).replace(' on mqtt "t"', f' {head}\n on mqtt "t"'))
    sim.drivers["mqtt"].pipelines = True
    sim.drivers["mqtt"].duration_s["mqtt.publish"] = 1.0
    for number in range(count):
        await sim.send("t", temp=float(number))
    await sim.turns()
    return sim


def payloads(sim: NodeSim) -> list[object]:
    return [args["payload"] for args in sim.drivers["mqtt"].begun]


def test_up_to_64_executions_are_under_way_in_order(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await under_way(tmp_path, 'mqtt.publish("a", "{r.temp:0}")', 100)
        assert payloads(sim) == [str(number) for number in range(UNDER_WAY_MAX)]
        assert sim.rule("r")["stalled"] and sim.rule("r")["actions"] == 0
        await sim.advance(2 * S)
        assert payloads(sim) == [str(number) for number in range(100)] and sim.rule("r")["actions"] == 100
        assert not sim.rule("r")["stalled"]
        await sim.stop()

    run(test())


def test_what_fails_under_way_leaves_later_executions_alone(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await under_way(tmp_path, 'mqtt.publish("a", "{r.temp:0}")', 5)
        sim.drivers["mqtt"].failures["mqtt.publish"] = 2
        await sim.advance(2 * S)
        assert [args["payload"] for _, _, args in sim.drivers["mqtt"].acted] == ["2", "3", "4"]
        assert [b.result for b in sim.bodies(ActionResultBody)] == [ActionOutcome.FAILED] * 2
        await sim.stop()

    run(test())


def test_a_failure_cancels_the_rest_of_its_execution_although_others_are_under_way(tmp_path: Path) -> None:
    async def test() -> None:
        body = 'mqtt.publish("a", "{r.temp:0} first")\n mqtt.publish("a", "{r.temp:0} second")'
        sim = await under_way(tmp_path, body, 2)
        assert payloads(sim) == ["0 first"], "the second may have to be cancelled"
        sim.drivers["mqtt"].failures["mqtt.publish"] = 1
        await sim.advance(5 * S)
        assert payloads(sim) == ["0 first", "1 first", "1 second"]
        outcomes = [b.result for b in sim.bodies(ActionResultBody)]
        assert outcomes == [ActionOutcome.FAILED, ActionOutcome.CANCELLED]
        await sim.stop()

    run(test())


def test_an_action_with_retries_is_confirmed_before_the_next(tmp_path: Path) -> None:
    """Otherwise a message that is repeated would come after a later one."""

    async def test() -> None:
        sim = await under_way(tmp_path, 'mqtt.publish("a", "{r.temp:0}") retry 1 backoff 3s', 3)
        assert payloads(sim) == ["0"]
        sim.drivers["mqtt"].failures["mqtt.publish"] = 1
        await sim.advance(20 * S)
        assert payloads(sim) == ["0", "0", "1", "2"]
        await sim.stop()

    run(test())


def test_a_physical_action_waits_for_all_that_is_under_way(tmp_path: Path) -> None:
    body = 'if r.temp == 2.0 { gpio.set_pin(RELAY, HIGH) } else { mqtt.publish("a", "{r.temp:0}") }'

    async def test() -> None:
        sim = await under_way(tmp_path, body, 4, "pin RELAY: output")
        gpio = sim.drivers["gpio"]
        assert payloads(sim) == ["0", "1"] and not gpio.begun
        gpio.duration_s["gpio.set_pin"] = 1.0
        await sim.advance(S)
        assert payloads(sim) == ["0", "1"] and len(gpio.begun) == 1 and not gpio.acted, "strictly one after the other"
        await sim.advance(S)
        assert payloads(sim) == ["0", "1", "3"] and len(gpio.acted) == 1
        await sim.stop()

    run(test())


def test_a_crash_sends_again_what_was_under_way_in_order(tmp_path: Path) -> None:
    async def first() -> None:
        sim = await under_way(tmp_path, 'mqtt.publish("a", "{r.temp:0}")', 10)
        assert len(payloads(sim)) == 10
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.drivers["mqtt"].pipelines = True
        await sim.send("t", temp=10.0)
        await sim.advance(S)
        assert payloads(sim) == [str(number) for number in range(11)], "the new one comes after them"
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(first())
    run(second())


def test_a_rule_that_is_removed_gives_up_what_is_under_way(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await under_way(tmp_path, 'mqtt.publish("a", "{r.temp:0}")', 70)
        await sim.node.remove("r")
        await sim.advance(5 * S)
        assert not sim.drivers["mqtt"].acted
        results = [(b.result, b.attempts) for b in sim.bodies(ActionResultBody)]
        assert results == [(ActionOutcome.INTERRUPTED, 1)] * UNDER_WAY_MAX + [(ActionOutcome.CANCELLED, 0)] * 6
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(test())


@pytest.mark.parametrize("waits_for", ["its driver", "its lease", "its next attempt"])
def test_what_is_given_up_before_its_driver_began_is_cancelled(tmp_path: Path, waits_for: str) -> None:
    """Nobody has to look at the pump: it was not told anything that is not known to have failed."""

    async def test() -> None:
        holder = 'rule holder {\n version "1.0.0"\n pin P: output\n record Event { number: int }\n'
        holder += ' on mqtt "h" as e: Event\n gpio.set_pin(P, LOW)\n}\n'
        body = 'gpio.set_pin(P, HIGH) retry 2 backoff 10s\n log.info("then")'
        sim = await NodeSim.started(tmp_path, holder, plain("r", body).replace("record", "pin P: output\n record"))
        gpio = sim.drivers["gpio"]
        gpio.set_ready(waits_for != "its driver")
        if waits_for == "its lease":
            await sim.send("h", number=1)
            await sim.turns()
        gpio.failures["gpio.set_pin"] = 1 if waits_for == "its next attempt" else 0
        await sim.send("t", temp=1.0)
        await sim.turns()
        await sim.node.remove("r")
        await sim.advance(60 * S)
        assert [args["level"] for _, _, args in gpio.acted] == (["LOW"] if waits_for == "its lease" else [])
        results = [(b.index, b.result) for b in sim.bodies(ActionResultBody) if b.rule == "r"]
        assert results == [(0, ActionOutcome.CANCELLED), (1, ActionOutcome.CANCELLED)]
        await sim.stop()

    run(test())


def test_what_its_driver_was_told_and_has_not_answered_is_interrupted(tmp_path: Path) -> None:
    """The pump may run. What comes after it in its execution was told nobody."""

    async def test() -> None:
        body = 'gpio.set_pin(P, HIGH)\n log.info("then")'
        sim = await NodeSim.started(tmp_path, plain("r", body).replace("record", "pin P: output\n record"))
        sim.drivers["gpio"].duration_s["gpio.set_pin"] = 10.0
        for number in range(2):
            await sim.send("t", temp=float(number))
        await sim.turns()
        await sim.node.remove("r")
        await sim.advance(60 * S)
        results = [(b.execution_seq, b.index, b.result) for b in sim.bodies(ActionResultBody)]
        first, second = (one.seq for one in sim.records() if isinstance(one.body, ExecutionBody))
        assert results == [
            (first, 0, ActionOutcome.INTERRUPTED),
            (first, 1, ActionOutcome.CANCELLED),
            (second, 1, ActionOutcome.CANCELLED),
        ]
        await sim.stop()

    run(test())


def test_a_confirmation_that_comes_while_its_rule_is_removed_is_recorded_and_starts_nothing_more(
    tmp_path: Path,
) -> None:
    """Otherwise a message that left, or leaves, is recorded as cancelled."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("r", 'mqtt.publish("a", "{r.temp:0}")'))
        begun: list[asyncio.Future[None]] = []

        def begin(*_: object) -> asyncio.Future[None]:
            begun.append(asyncio.get_running_loop().create_future())
            return begun[-1]

        sim.drivers["mqtt"].begin = begin  # type: ignore[assignment]
        for number in range(UNDER_WAY_MAX + 10):
            await sim.send("t", temp=float(number))
        await sim.turns()
        assert len(begun) == UNDER_WAY_MAX
        begun[0].set_result(None)  # the lane hears of it in the next step of the loop
        begun[1].set_exception(CapabilityFailure("the broker said no"))
        sim.node.engine.actions.cancel(active("r"), "the rule was removed")
        await sim.turns()
        assert len(begun) == UNDER_WAY_MAX
        (failed, *others) = sim.bodies(ActionResultBody)
        assert (failed.result, failed.error) == (ActionOutcome.FAILED, "the broker said no")
        interrupted, cancelled = [ActionOutcome.INTERRUPTED] * (UNDER_WAY_MAX - 2), [ActionOutcome.CANCELLED] * 10
        assert [one.result for one in others] == interrupted + cancelled
        assert len(others) == UNDER_WAY_MAX + 8 and sim.rule("r")["actions"] == 1, "the first one is done"
        await sim.advance(S)
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(test())


# --- drivers that are not ready ----------------------------------------------------------------------------------

BOTH = 'mqtt.publish("a", "{r.temp:0}")'


def test_at_the_start_an_action_waits_for_its_driver(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("r", BOTH))
        sim.drivers["mqtt"].is_ready = False
        await sim.send("t", temp=1.0)
        await sim.advance(START_US - S)
        assert not sim.drivers["mqtt"].attempts
        sim.drivers["mqtt"].set_ready(True)
        await sim.turns()
        assert len(sim.drivers["mqtt"].acted) == 1 and not sim.bodies(ActionResultBody)
        await sim.stop()

    run(test())


def test_after_the_start_a_driver_that_is_not_ready_is_a_failure_for_which_the_rule_has_an_answer(
    tmp_path: Path,
) -> None:
    body = 'mqtt.publish("a", "b") retry 1 backoff 1s else skip\n log.info("goes on")'

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("r", body))
        sim.drivers["mqtt"].is_ready = False
        await sim.send("t", temp=1.0)
        await sim.advance(START_US + 2 * S)
        assert len(sim.drivers["log"].acted) == 1, "no network does not stop a rule"
        assert [at - START_US_OF_SIM for at, _ in sim.drivers["mqtt"].attempts] == [START_US, START_US + S]
        (result,) = sim.bodies(ActionResultBody)
        assert (result.result, result.attempts) == (ActionOutcome.SKIPPED, 2)
        await sim.stop()

    run(test())


@pytest.mark.parametrize("control", [False, True], ids=["waits", "control"])
def test_what_a_crash_left_waits_for_its_driver_however_long_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: bool
) -> None:
    """The control performs it as any other action: then what was promised is lost."""
    if control:
        monkeypatch.setattr(ActionRunner, "resume", ActionRunner.submit)
    body = 'if r.temp < 10.0 { mqtt.publish("a", "{r.temp:0}") } else { log.info("{r.temp:0}") }'

    async def first() -> None:
        sim = await under_way(tmp_path, body, 5)
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        mqtt = sim.drivers["mqtt"]
        mqtt.is_ready = False
        await sim.advance(3600 * S)
        await sim.send("t", temp=11.0)
        await sim.turns()
        assert [args["message"] for _, _, args in sim.drivers["log"].acted] == ["11"]
        await sim.send("t", temp=7.0)
        await sim.turns()
        mqtt.set_ready(True)
        await sim.send("t", temp=8.0)
        await sim.advance(S)
        sent = [args["payload"] for _, _, args in mqtt.acted]
        assert sent == (["8"] if control else ["0", "1", "2", "3", "4", "8"])
        assert len(sim.bodies(ActionResultBody)) == (6 if control else 1), "7 was decided while nobody could hear it"
        await sim.stop()

    run(first())
    run(second())


def test_what_a_crash_left_for_a_driver_that_is_configured_no_more_stops_nothing(tmp_path: Path) -> None:
    """The program that decided it was replaced by one that needs no such driver, and [mqtt] was taken out."""

    async def first() -> None:
        sim = await under_way(tmp_path, 'mqtt.publish("a", "{r.temp:0}")', 2)
        assert (await sim.install(plain("r", 'log.info("{r.temp:0}")').replace("1.0.0", "2.0.0"), 2)).code == ""
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path, drivers=("log",))
        await sim.send("t", temp=7.0)
        await sim.advance(60 * S)
        assert [args["message"] for _, _, args in sim.drivers["log"].acted] == ["7"]
        assert [b.result for b in sim.bodies(ActionResultBody)] == [ActionOutcome.INTERRUPTED] * 2
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(first())
    run(second())


def test_a_connection_that_ends_while_it_resumes_costs_no_attempt(tmp_path: Path) -> None:
    async def first() -> None:
        sim = await under_way(tmp_path, BOTH, 3)
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        mqtt = sim.drivers["mqtt"]
        mqtt.is_ready = False
        await sim.advance(60 * S)
        mqtt.before = lambda: mqtt.set_ready(False) if len(mqtt.attempts) == 1 else None
        mqtt.set_ready(True)
        await sim.advance(60 * S)
        assert [args["payload"] for _, _, args in mqtt.acted] == ["0"] and len(mqtt.attempts) == 2
        mqtt.set_ready(True)
        await sim.advance(60 * S)
        assert [args["payload"] for _, _, args in mqtt.acted] == ["0", "1", "2"]
        assert not sim.bodies(ActionResultBody)
        await sim.stop()

    run(first())
    run(second())


def test_what_a_crash_left_of_one_execution_still_ends_with_its_first_failure(tmp_path: Path) -> None:
    async def first() -> None:
        sim = await under_way(tmp_path, 'mqtt.publish("a", "b")\n mqtt.publish("a", "c")', 1)
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.drivers["mqtt"].failures["mqtt.publish"] = 1
        await sim.turns()
        assert payloads(sim) == ["b"]
        assert [b.result for b in sim.bodies(ActionResultBody)] == [ActionOutcome.FAILED, ActionOutcome.CANCELLED]
        await sim.stop()

    run(first())
    run(second())
