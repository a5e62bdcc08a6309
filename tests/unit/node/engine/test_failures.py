"""Which executions of a program on trial failed: kept with its evidence, told with inputs, reads and lines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from components.node_sim import NodeSim, program
from eyeflow.node.engine.run_evidence import RunEvidence, notes_of
from eyeflow.node.run_key import active
from eyeflow.node.store.types import PASSED, SlotRow, Standing, Terms
from eyeflow.protocol.executions import (
    EVENT_CHARS_MAX,
    FAILURES_MAX,
    WHAT_CHARS_MAX,
    Failure,
    FailureKind,
    Failures,
)
from eyeflow.protocol.messages import Trial
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.versions import VERSIONS

S = 1_000_000
TRIED = Terms(Standing.ON_TRIAL, Trial(60, 5, 0, 3, True))
DIVIDES = """\
rule relay {
 version "2.0.0"
 pin RELAY: output
 record Event { number: int }
 on mqtt "t" as e: Event
 let share = 100 / e.number
 if share > 10 { gpio.set_pin(RELAY, HIGH) }
}
"""
GOOD = DIVIDES.replace("2.0.0", "1.0.0").replace("100 / e.number", "e.number")


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def on_trial(path: Path, source: str, terms: Terms = TRIED) -> NodeSim:
    sim = await NodeSim.started(path)
    assert (await sim.node.install(program(GOOD), {}, "d1", 1, PASSED)).code == ""
    assert (await sim.node.install(program(source), {}, "d2", 2, terms)).code == ""
    return sim


async def told(sim: NodeSim) -> tuple[Failure, ...]:
    """What goes over the link."""
    found = await sim.node.explained(sim.node.failures())
    if found:
        message = Failures(1, found)
        assert VERSIONS[3].decode(VERSIONS[3].encode(message)) == message
    return found


def test_a_trap_is_told_with_its_event_and_line(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path, DIVIDES)
        await sim.send("t", number=4)
        await sim.node.engine.deliver(sim.event("t", {"number": 0}, "t/7"))
        await sim.turns()
        (found,) = await told(sim)
        who = (Slot.ACTIVE, str(sim.rule("relay")["program_id"]), "d2")
        assert (found.rule, found.slot, found.program_id, found.deployment_id) == ("relay", *who)
        assert (found.kind, found.what) == (FailureKind.TRAP, "trap DIV_BY_ZERO at line 6")
        assert (found.event, found.key) == ("mqtt t: number = 0", "t/7")
        assert found.trace.decided == ("trap DIV_BY_ZERO at line 6",)
        assert sim.rule("relay")["last_error"] == found.what
        record = sim.store.record(found.trace.seq)
        assert record is not None and (record.body.inputs, record.body.key) == ((0,), "t/7")  # type: ignore[union-attr]
        await sim.stop()

    run(test())


def test_a_failed_action_a_late_timer_and_a_rejected_event_are_told(tmp_path: Path) -> None:
    source = DIVIDES.replace(
        ' on mqtt "t" as e: Event\n let share = 100 / e.number\n if share > 10 { gpio.set_pin(RELAY, HIGH) }\n',
        ' on mqtt "t" as e: Event { gpio.set_pin(RELAY, if e.number > 1 then HIGH else LOW) }\n'
        ' on every 1s { log.info("tick") }\n',
    )

    async def test() -> None:
        sim = await on_trial(tmp_path, source)
        sim.drivers["gpio"].failures["gpio.set_pin"] = 1
        await sim.send("t", number=2)
        await sim.send("t", number="two")
        await sim.turns()
        sim.clock.move(sim.clock.time_us + 5 * S)
        await sim.turns()
        by_kind = {one.kind: one for one in await told(sim)}
        assert by_kind.keys() == {FailureKind.ACTION, FailureKind.REJECTED, FailureKind.DEADLINE}
        action, rejected, late = (
            by_kind[one] for one in (FailureKind.ACTION, FailureKind.REJECTED, FailureKind.DEADLINE)
        )
        assert action.what == "gpio.set_pin failed in the simulation at line 5"
        assert (action.event, action.trace.decided) == ("mqtt t: number = 2", ("gpio.set_pin(RELAY, HIGH) at line 5",))
        assert rejected.what.startswith("field `number`") and (rejected.event, rejected.trace.seq) == ("mqtt t", 0)
        assert (late.event, late.what) == ("every 1s", "the timer came late: 4 before it were missed")
        await sim.stop()

    run(test())


def test_only_the_newest_are_kept_also_once_the_program_has_passed(tmp_path: Path) -> None:
    """The coordinator keeps them for an alarm: it may begin to fail later."""

    async def test() -> None:
        sim = await on_trial(tmp_path, DIVIDES, Terms(Standing.ON_TRIAL, None))
        for _ in range(FAILURES_MAX + 3):
            await sim.send("t", number=0)
        await sim.turns()
        found = await told(sim)
        assert len(found) == FAILURES_MAX and found[-1].trace.seq == sim.store.head[0]
        assert await sim.node.record_pass("relay", str(sim.rule("relay")["program_id"]))
        assert await told(sim) == found
        await sim.stop()

    run(test())


def test_they_outlive_a_restart_and_that_the_node_takes_the_program_back(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path, DIVIDES)
        await sim.send("t", number=0)
        await sim.turns()
        (before,) = await told(sim)
        await sim.stop()
        sim = await NodeSim.started(tmp_path)
        assert await told(sim) == (before,)
        for _ in range(8):
            await sim.send("t", number=0)
        await sim.turns()
        assert await sim.node.trials.look() and sim.rule("relay")["version"] == "1.0.0", "it went back"
        found = await told(sim)
        assert len(found) == 9 and found[0] == before
        assert {one.deployment_id for one in found} == {"d2"}
        await sim.stop()
        sim = await NodeSim.started(tmp_path)
        assert await told(sim) == found
        await sim.stop()

    run(test())


def test_a_record_that_is_gone_leaves_what_failed(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path, DIVIDES)
        await sim.send("t", number=0)
        await sim.turns()
        plain = sim.node.failures()
        await sim.send("t", number=4)
        await sim.turns()
        sim.store.drop_aged()
        sim.clock.move(sim.clock.time_us + 1_000_000 * S)
        assert sim.store.drop_aged() > 0
        assert await told(sim) == plain, "the event went with its record"
        await sim.stop()

    run(test())


def test_what_is_kept_of_one_failure_is_bounded() -> None:
    evidence, row = RunEvidence(5), SlotRow(active("relay"), b"\1" * 32, b"", {}, "d", 1, 1)
    evidence.note(FailureKind.TRAP, -3, "x" * 9000, 0, "y" * 9000, "\ud800" * 9000)
    (kept,) = notes_of(evidence.row(row))
    assert (len(kept.what), len(kept.event), len(kept.key)) == (WHAT_CHARS_MAX, EVENT_CHARS_MAX, EVENT_CHARS_MAX)
    assert kept.time_us == 0
