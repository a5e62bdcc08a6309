"""A clock that somebody sets is no time that passed: a hold is never shorter, a cooldown never endless."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import START_US, NodeSim, SimClock
from eyeflow.base.clock import STEP_US_MIN, ClockWatch
from eyeflow.node.clock import SystemClock
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.rounds import Ran
from eyeflow.node.engine.running import QueuedEvent
from eyeflow.node.run_key import active
from eyeflow.protocol.audit_bodies import ClockBody, ExecutionBody
from eyeflow.svm.execution import Execution, Outcome

S = 1_000_000
HOUR = 3600 * S

HOLD = """
rule hold {
    version "1.0.0"
    on every 1min
    let hot = adc.read_channel(0) > 50.0 for 2h
    if hot { log.warn("hot for two hours") }
}
"""

REMINDER = """
rule reminder {
    version "1.0.0"
    on every 1min
    if true cooldown 1h { log.info("still there") }
}
"""

WINDOW = """
rule window {
    version "1.0.0"
    on every 1min
    let seen = count(true, last 10min)
    if seen >= 9 { log.info("nine in ten minutes") }
}
"""


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def started(path: Path, *sources: str, **options: object) -> NodeSim:
    sim = await NodeSim.started(path, *sources, **options)
    sim.drivers["adc"].values["adc.read_channel"] = 60.0
    return sim


def acted(sim: NodeSim) -> list[bool]:
    """Return of each execution whether it asked for an action."""
    return [bool(body.actions) for body in sim.bodies(ExecutionBody)]


@pytest.fixture(params=[True, False], ids=["watched", "control: nobody watches the clock"])
def watched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Each behaviour has its control: without the watch it is the other one."""
    if not request.param:
        monkeypatch.setattr(ClockWatch, "step_us", lambda self: 0)
    return bool(request.param)


def test_a_clock_that_is_set_forward_makes_no_hold_shorter(tmp_path: Path, watched: bool) -> None:
    async def test() -> None:
        sim = await started(tmp_path, HOLD)
        await sim.advance(HOUR)
        sim.clock.set_us += 12 * HOUR
        await sim.advance(60 * S)
        assert any(acted(sim)) is not watched
        await sim.advance(HOUR)
        assert any(acted(sim))
        await sim.stop()

    run(test())


@pytest.mark.parametrize("step_us", [-400 * 24 * HOUR, -2 * HOUR, 5 * HOUR])
def test_a_cooldown_takes_the_time_that_passes(tmp_path: Path, watched: bool, step_us: int) -> None:
    async def test() -> None:
        sim = await started(tmp_path, REMINDER)
        await sim.advance(30 * 60 * S)
        sim.clock.set_us += step_us
        await sim.advance(3 * HOUR)
        passed = [index for index, one in enumerate(acted(sim)) if one]
        assert (passed == [0, 60, 120, 180]) is watched
        await sim.stop()

    run(test())


def test_a_window_keeps_its_samples(tmp_path: Path, watched: bool) -> None:
    async def test() -> None:
        sim = await started(tmp_path, WINDOW)
        await sim.advance(5 * 60 * S)
        sim.clock.set_us += HOUR
        await sim.advance(4 * 60 * S)
        assert any(acted(sim)) is watched
        await sim.stop()

    run(test())


def test_each_step_is_recorded_for_the_rules_that_remember_times(tmp_path: Path) -> None:
    plain = HOLD.replace("rule hold", "rule plain").replace(" for 2h", "")

    async def test() -> None:
        sim = await started(tmp_path, HOLD, REMINDER, plain)
        await sim.advance(60 * S)
        sim.clock.set_us += STEP_US_MIN - 1  # what a time service slews
        await sim.advance(60 * S)
        sim.clock.set_us -= 7 * S
        await sim.advance(60 * S)
        assert sorted((body.rule, body.step_us) for body in sim.bodies(ClockBody)) == [
            ("hold", -7 * S),
            ("reminder", -7 * S),
        ]
        await sim.stop()

    run(test())


def test_events_that_wait_follow_too(tmp_path: Path) -> None:
    source = HOLD.replace("on every 1min", 'record R { t: float }\n on mqtt "t" as r: R')

    async def test() -> None:
        sim = await started(tmp_path, source)
        await sim.send("t", t=1.0)
        sim.clock.set_us -= HOUR
        await sim.send("t", t=2.0)
        await sim.turns()
        times = [body.event_time_us for body in sim.bodies(ExecutionBody)]
        assert times == [START_US - HOUR, START_US - HOUR], "and none is of a time to come"
        await sim.stop()

    run(test())


def test_a_clock_set_back_while_the_node_was_off(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path, HOLD)
        await sim.advance(HOUR)
        await sim.stop()
        later = NodeSim(tmp_path, clock=SimClock(START_US - 1000 * HOUR))
        later.drivers["adc"].values["adc.read_channel"] = 60.0
        await later.node.start()
        await later.advance(59 * 60 * S)
        assert not any(acted(later)), "the hour that it ran before counts, not more"
        await later.advance(2 * 60 * S)
        assert any(acted(later))
        (body,) = later.bodies(ClockBody)
        assert body.step_us == -1001 * HOUR
        await later.stop()

    run(test())


def test_what_moved_is_durable_with_its_record(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path, HOLD)
        await sim.advance(60 * S)
        sim.clock.set_us += 12 * HOUR
        await sim.turns()
        time_us = sim.clock.now_us()
        sim.crash()
        later = NodeSim(tmp_path, clock=SimClock(time_us))
        later.drivers["adc"].values["adc.read_channel"] = 60.0
        await later.node.start()
        await later.advance(HOUR)
        assert not any(acted(later))
        await later.stop()

    run(test())


def test_an_execution_in_a_thread_ends_first(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path, HOLD)
        await sim.turns()
        core: Core = sim.node.engine.core
        rule = core.rules[active("hold")]
        memory = list(rule.instance.state)
        rule.busy = True
        core.clock_was_set(HOUR, START_US + HOUR)
        assert not core.has_work(START_US + HOUR) and core.next_round(START_US + HOUR) is None
        assert rule.instance.state == memory
        core.complete(Ran(rule, QueuedEvent(0, (), START_US, START_US), Execution(Outcome.OK, 1), START_US, 0))
        turn = core.next_round(START_US + HOUR)
        assert turn is not None
        kinds = [type(draft.body) for draft in turn.batch.drafts]
        assert kinds == [ExecutionBody, ClockBody], "in the order in which it happened"
        assert rule.instance.state == [START_US + HOUR]
        sim.crash()

    run(test())


def test_cron_fires_again_for_times_that_come_again_and_once_for_those_skipped(tmp_path: Path) -> None:
    async def test() -> None:
        source = HOLD.replace("on every 1min", 'on cron "0 6 * * *"')
        sim = await started(tmp_path, source, clock=SimClock(START_US // (24 * HOUR) * 24 * HOUR + 5 * HOUR))
        await sim.advance(HOUR + S)
        assert len(acted(sim)) == 1
        sim.clock.set_us -= HOUR
        await sim.advance(2 * HOUR)
        assert len(acted(sim)) == 2
        sim.clock.set_us += 24 * HOUR
        await sim.advance(S)
        assert len(acted(sim)) == 3
        await sim.stop()

    run(test())


def test_a_machine_that_slept_had_that_time_pass(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path, HOLD)
        await sim.advance(60 * S)
        sim.clock.move(sim.clock.time_us + 3 * HOUR)
        await sim.advance(60 * S)
        assert any(acted(sim)) and not sim.bodies(ClockBody)
        await sim.stop()

    run(test())


def test_the_clocks_of_this_machine_go_together() -> None:
    clock = SystemClock()
    watch, since_us = ClockWatch(clock.now_us, clock.steady_us), clock.steady_us()
    while clock.steady_us() - since_us < 1000:
        pass
    assert watch.step_us() == 0


@pytest.mark.parametrize("running_first", [True, False])
def test_a_clock_that_runs_ahead_for_seconds_costs_no_record(tmp_path: Path, running_first: bool) -> None:
    """Whether it was set ahead while the node ran, or before it started: then a time service sets it right soon."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, REMINDER)
        sim.drivers["log"].values = {}
        await sim.advance(HOUR)
        count = len(sim.records())
        if not running_first:
            await sim.stop()
            clock = SimClock(sim.clock.time_us + 10 * S)
            clock.set_us = 2400 * HOUR
            sim = await NodeSim.started(tmp_path, clock=clock)
        sim.clock.set_us = 2400 * HOUR
        for _ in range(15):
            await sim.advance(S)
        sim.clock.set_us = 0
        await sim.advance(HOUR)
        assert sim.store.counters.dropped_records == 0 and len(sim.records()) > count
        await sim.advance(80 * HOUR)
        assert sim.store.counters.dropped_records > 0, "the bound holds as ever"
        await sim.stop()

    asyncio.run(test())


def test_a_node_is_not_older_because_its_clock_was_set(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path, REMINDER)
        await sim.advance(3 * S)
        sim.clock.set_us += 100 * 24 * HOUR
        assert sim.node.status()["uptime"] == "3s"
        await sim.stop()

    run(test())
