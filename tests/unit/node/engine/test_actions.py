from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import START_US as START_US_OF_SIM
from components.node_sim import NodeSim, SimClock
from eyeflow.node.engine.actions import WAITING_MAX, ActionRunner
from eyeflow.node.engine.arbiter import Arbiter, ResourceBusy
from eyeflow.node.engine.lane import UNDER_WAY_MAX
from eyeflow.node.engine.performing import START_US
from eyeflow.node.engine.rule_host import named_failure
from eyeflow.node.run_key import active
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody, ExecutionBody
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Priority

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


# --- executions under way ----------------------------------------------------------------------------------------


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
        assert {b.result for b in sim.bodies(ActionResultBody)} == {ActionOutcome.CANCELLED}
        assert sim.store.restore().pending == ()
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
        assert {one.result for one in others} == {ActionOutcome.CANCELLED}
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


# --- one rule at a time commands a resource ----------------------------------------------------------------------


def two(first: str, second: str) -> list[str]:
    def one(name: str, priority: str, level: str) -> str:
        return (
            f'rule {name} {{\n version "1.0.0"\n priority {priority}\n pin RELAY: output\n record Reading {{ temp: float }}\n'
            f' on mqtt "{name}" as r: Reading\n gpio.set_pin(RELAY, {level})\n}}\n'
        )

    return [one("a", first, "HIGH"), one("b", second, "LOW")]


def test_another_rule_waits_for_the_lease(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, *two("normal", "normal"))
        await sim.send("a", temp=1.0)
        await sim.turns()
        await sim.send("b", temp=1.0)
        await sim.advance(3 * S)
        assert [((at - START_US_OF_SIM) // S, args["level"]) for at, _, args in sim.drivers["gpio"].acted] == [
            (0, "HIGH"),
            (1, "LOW"),
        ]
        shown = sim.node.status()["resources"]
        assert isinstance(shown, dict) and shown["gpio/RELAY"]["conflicts"] == 1
        assert shown["gpio/RELAY"]["last_loser"] == "b"
        await sim.stop()

    run(test())


def test_a_higher_priority_takes_the_resource_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, *two("normal", "critical"))
        await sim.send("a", temp=1.0)
        await sim.turns()
        await sim.send("b", temp=1.0)
        await sim.turns()
        assert [args["level"] for _, _, args in sim.drivers["gpio"].acted] == ["HIGH", "LOW"]
        await sim.stop()

    run(test())


def test_whoever_waits_too_long_fails(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, *two("normal", "normal"))
        sim.drivers["gpio"].duration_s["gpio.set_pin"] = 20.0
        await sim.send("a", temp=1.0)
        await sim.turns()
        await sim.send("b", temp=1.0)
        await sim.advance(30 * S)
        assert [args["level"] for _, _, args in sim.drivers["gpio"].acted] == ["HIGH"]
        (result,) = sim.bodies(ActionResultBody)
        assert result.rule == "b" and "gpio/RELAY is commanded by a; b waited 5s" in result.error
        await sim.stop()

    run(test())


def test_waiting_rules_go_by_priority_then_arrival() -> None:
    clock = SimClock()
    order: list[str] = []

    async def use(arbiter: Arbiter, name: str, priority: Priority) -> None:
        async with arbiter.lease("pump", active(name), priority):
            order.append(name)
            await clock.sleep(1.0)

    async def test() -> None:
        arbiter = Arbiter(clock, 2 * S, 60 * S)
        names = [("holder", 2), ("low", 3), ("first", 2), ("second", 2), ("urgent", 0)]
        tasks = []
        for name, priority in names:
            tasks.append(asyncio.ensure_future(use(arbiter, name, Priority(priority))))
            await asyncio.sleep(0)
        for _ in range(40):
            for _ in range(10):
                await asyncio.sleep(0)
            clock.move(clock.time_us + S // 2)
        await asyncio.gather(*tasks)

    run(test())
    assert order == ["holder", "urgent", "first", "second", "low"]


def test_a_holder_may_act_again_during_its_lease() -> None:
    clock = SimClock()

    async def test() -> None:
        arbiter = Arbiter(clock, 10 * S, S)
        for _ in range(3):
            async with arbiter.lease("pump", active("a"), Priority.NORMAL):
                clock.move(clock.time_us + S)
        waiting = asyncio.ensure_future(arbiter.lease("pump", active("b"), Priority.NORMAL).__aenter__())
        await asyncio.sleep(0)
        async with arbiter.lease("pump", active("a"), Priority.NORMAL):
            pass
        clock.move(clock.time_us + 2 * S)
        with pytest.raises(ResourceBusy):
            await waiting

    run(test())


def test_a_clock_that_is_set_back_makes_no_wait_and_no_lease_longer() -> None:
    clock = SimClock()
    arbiter = Arbiter(clock, 1 * S, 5 * S)
    ended: list[str] = []

    async def act(rule: str, duration_s: float) -> None:
        try:
            async with arbiter.lease("gpio/RELAY", active(rule), Priority.NORMAL):
                await clock.sleep(duration_s)
            ended.append(rule)
        except ResourceBusy:
            ended.append(f"{rule} waited too long")

    async def pass_s(seconds: int) -> None:
        for _ in range(seconds):
            clock.move(clock.time_us + S)
            for _ in range(20):
                await asyncio.sleep(0)

    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(act("slow", 60.0))
            await asyncio.sleep(0)
            group.create_task(act("waiting", 0.0))
            await pass_s(1)
            clock.set_us = -3600 * S
            await pass_s(12)
            assert ended == ["waiting waited too long"]
            await pass_s(60)
            group.create_task(act("next", 0.0))
            clock.set_us = -7200 * S
            await pass_s(2)
            assert ended[1:] == ["slow", "next"], "the lease of `slow` is not an hour longer"

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
