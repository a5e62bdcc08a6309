"""What a rule declares for a failing action, its reads, and levels that are told once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import START_US as START_US_OF_SIM
from components.node_sim import NodeSim
from eyeflow.node.engine.actions import WAITING_MAX
from eyeflow.node.engine.rule_host import named_failure
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody, ExecutionBody

S = 1_000_000


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def plain(name: str, body: str, topic: str = "t") -> str:
    return f'rule {name} {{\n version "1.0.0"\n record Reading {{ temp: float }}\n on mqtt "{topic}" as r: Reading\n {body}\n}}\n'


# --- what a rule declares for a failing action -------------------------------------------------------------------


def test_an_action_is_retried_with_growing_waits(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("r", 'mqtt.publish("a", "b") retry 4 backoff 1s'))
        sim.drivers["mqtt"].failures["mqtt.publish"] = 3
        await sim.send("t", temp=1.0)
        await sim.advance(60 * S)
        assert [(at - START_US_OF_SIM) // S for at, _ in sim.drivers["mqtt"].attempts] == [0, 1, 3, 7]
        (result,) = sim.bodies(ActionResultBody)
        assert (result.result, result.attempts) == (ActionOutcome.DONE, 4)
        state = sim.rule("r")
        assert (state["actions"], state["action_retries"], state["action_failures"]) == (1, 3, 0)
        await sim.stop()

    run(test())


@pytest.mark.parametrize(("answer", "rest"), [("skip", True), ("abort", False)])
def test_skip_goes_on_and_abort_cancels_the_rest(tmp_path: Path, answer: str, rest: bool) -> None:
    body = f'log.info("before")\n mqtt.publish("a", "b") retry 1 else {answer}\n log.info("after")'

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("r", body))
        sim.drivers["mqtt"].failures["mqtt.publish"] = 99
        await sim.send("t", temp=1.0)
        await sim.advance(10 * S)
        said = [args["message"] for _, _, args in sim.drivers["log"].acted]
        assert said == (["before", "after"] if rest else ["before"])
        outcomes = [(b.index, ActionOutcome(b.result), b.attempts) for b in sim.bodies(ActionResultBody)]
        if rest:
            assert outcomes == [(1, ActionOutcome.SKIPPED, 2)]
        else:
            assert outcomes == [(1, ActionOutcome.FAILED, 2), (2, ActionOutcome.CANCELLED, 0)]
        assert "mqtt.publish failed" in sim.bodies(ActionResultBody)[0].error
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(test())


def test_an_internal_error_of_a_driver_is_a_failed_action(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("r", 'log.info("x")'))

        def bug() -> None:
            raise KeyError("driver bug")

        sim.drivers["log"].before = bug
        await sim.send("t", temp=1.0)
        await sim.turns()
        (result,) = sim.bodies(ActionResultBody)
        assert result.result == ActionOutcome.FAILED and "internal error" in result.error
        await sim.stop()

    run(test())


def test_a_slow_action_of_one_rule_does_not_hold_up_others(tmp_path: Path) -> None:
    slow, fast = plain("slow", 'mqtt.publish("a", "{r.temp:0}")'), plain("fast", 'log.info("x")')

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, slow, fast)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 10.0
        for number in range(3):
            await sim.send("t", temp=float(number))
        await sim.turns()
        assert len(sim.drivers["log"].acted) == 3 and sim.drivers["mqtt"].acted == []
        assert sim.done == 3
        await sim.advance(60 * S)
        sent = [((at - START_US_OF_SIM) // S, args["payload"]) for at, _, args in sim.drivers["mqtt"].acted]
        assert sent == [(10, "0"), (20, "1"), (30, "2")], "in order within the rule"
        await sim.stop()

    run(test())


def test_a_rule_whose_actions_pile_up_runs_no_more_until_they_catch_up(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("slow", 'mqtt.publish("a", "b")'))
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 1.0
        for _ in range(2 * WAITING_MAX):
            await sim.send("t", temp=1.0)
            await sim.turns()
        assert sim.rule("slow")["executions"] == WAITING_MAX and sim.rule("slow")["stalled"]
        await sim.advance(2 * WAITING_MAX * S + S)
        assert len(sim.drivers["mqtt"].acted) == 2 * WAITING_MAX
        assert not sim.rule("slow")["stalled"]
        await sim.stop()

    run(test())


def test_an_action_without_an_answer_times_out(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("r", 'mqtt.publish("a", "b") timeout 1ms'))
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 3600.0
        await sim.send("t", temp=1.0)
        await sim.turns()
        while not sim.bodies(ActionResultBody):  # the bound of one attempt is real time
            sim.node.engine._wakeup.clear()
            await sim.node.engine._wakeup.wait()
            await sim.turns()
        assert "no answer within 0.001s" in sim.bodies(ActionResultBody)[0].error
        await sim.stop()

    run(test())


# --- reads -------------------------------------------------------------------------------------------------------


def test_reads_are_retried_at_once_and_their_answers_recorded(tmp_path: Path) -> None:
    body = 'let x = adc.read_channel(3) retry 2 else 7.5\n log.info("{x:1}")'

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("r", body))
        adc = sim.drivers["adc"]
        adc.values["adc.read_channel"] = 850
        adc.failures["adc.read_channel"] = 2
        await sim.send("t", temp=1.0)
        await sim.turns()
        adc.failures["adc.read_channel"] = 99
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert [args["message"] for _, _, args in sim.drivers["log"].acted] == ["850.0", "7.5"]
        first, second = sim.bodies(ExecutionBody)
        assert first.answers == ((0, (3,), 850.0),) and second.answers == ((0, (3,), None),)
        assert len(adc.attempts) == 6 and sim.rule("r")["capability_failures"] == 1
        await sim.stop()

    run(test())


@pytest.mark.parametrize("wrong", ["hot", True, None])
def test_an_answer_of_another_type_is_a_failure(tmp_path: Path, wrong: Any) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, plain("r", 'let x = adc.read_channel(3)\n log.info("{x:1}")'))
        sim.drivers["adc"].values["adc.read_channel"] = wrong
        await sim.send("t", temp=1.0)
        await sim.turns()
        (body,) = sim.bodies(ExecutionBody)
        assert body.outcome == 2 and body.actions == () and sim.drivers["log"].acted == []
        await sim.stop()

    run(test())


# --- levels ------------------------------------------------------------------------------------------------------


def test_a_level_is_not_taken_for_repeated_while_an_older_command_still_waits(tmp_path: Path) -> None:
    """HIGH is under way, LOW waits behind it: a new HIGH is no repetition, or the relay would stay LOW."""
    body = "if r.temp > 1.0 { gpio.set_pin(RELAY, HIGH) } else { gpio.set_pin(RELAY, LOW) }"
    rule = plain("r", body).replace('version "1.0.0"', 'version "1.0.0"\n pin RELAY: output')

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rule)
        gpio = sim.drivers["gpio"]
        gpio.duration_s["gpio.set_pin"] = 1.0
        await sim.send("t", temp=2.0)
        await sim.turns()
        await sim.send("t", temp=0.0)
        await sim.advance(S)
        assert [args["level"] for _, _, args in gpio.acted] == ["HIGH"], "LOW is under way"
        await sim.send("t", temp=2.0)
        await sim.send("t", temp=2.0)
        await sim.advance(10 * S)
        assert [args["level"] for _, _, args in gpio.acted] == ["HIGH", "LOW", "HIGH"]
        assert sim.rule("r")["repeated"] == 1
        await sim.stop()

    run(test())


def test_a_failure_names_its_capability_once() -> None:
    assert named_failure("http.post", "http.post http://x: no") == "http.post http://x: no"
    assert named_failure("gpio.set_pin", "no such pin") == "gpio.set_pin: no such pin"
