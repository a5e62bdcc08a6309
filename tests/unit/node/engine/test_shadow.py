"""A candidate on trial that acts on nothing: where it decides otherwise than the active program is found and recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NodeSim, program
from eyeflow.node.engine import shadow as shadow_module
from eyeflow.node.engine.shadow import NEWEST_MAX, Decision, Shadow
from eyeflow.node.run_key import active, candidate
from eyeflow.node.store.types import PASSED, Standing, Terms
from eyeflow.protocol.audit_bodies import DifferenceBody, ExecutionBody
from eyeflow.protocol.executions import Difference, Differences
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.versions import VERSIONS

S = 1_000_000
WATCHES = Terms(Standing.ON_TRIAL)


def relay(version: int, limit: int) -> str:
    return (
        f'rule relay {{\n version "{version}.0.0"\n pin RELAY: output\n record Event {{ number: int }}\n'
        f' on mqtt "t" as e: Event\n if e.number > {limit} {{ gpio.set_pin(RELAY, HIGH) }} else {{ emit low(n: e.number) }}\n}}\n'
    )


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def beside(path: Path, first: str, second: str, terms: Terms = WATCHES) -> NodeSim:
    sim = await NodeSim.started(path)
    assert (await sim.node.install(program(first), {}, "d1", 1, PASSED)).code == ""
    assert (await sim.node.stage(program(second), {}, "d2", 2, terms)).code == ""
    return sim


async def send(sim: NodeSim, *numbers: int) -> None:
    for number in numbers:
        await sim.send("t", number=number)
    await sim.turns()


def differing(sim: NodeSim) -> int:
    (told,) = (one for one in sim.node.evidence() if one.slot is Slot.CANDIDATE)
    return told.differing


def test_each_differing_decision_is_a_fact_with_both_records(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, relay(1, 5), relay(2, 7))
        await send(sim, 4, 6, 9)
        (found,) = sim.node.differences()
        staged = str(sim.rule("relay", "candidate")["program_id"])
        assert (found.rule, found.program_id, found.deployment_id) == ("relay", staged, "d2")
        assert (found.active.decided, found.candidate.decided) == (("gpio.set_pin(RELAY, HIGH)",), ("low(6)",))
        (fact,) = sim.bodies(DifferenceBody)
        assert (fact.active_seq, fact.candidate_seq) == (found.active.seq, found.candidate.seq)
        assert (fact.event_time_us, fact.program.hex()) == (found.time_us, staged)
        for seq, slot in ((fact.active_seq, "active"), (fact.candidate_seq, "candidate")):
            record = sim.store.record(seq)
            assert record is not None and isinstance(record.body, ExecutionBody)
            assert (record.body.slot, record.body.inputs) == (slot, (6,))
        assert differing(sim) == 1
        message = Differences(1, (found,))
        assert VERSIONS[3].decode(VERSIONS[3].encode(message)) == message
        await sim.stop()

    run(test())


@pytest.mark.parametrize("behind", [Slot.ACTIVE, Slot.CANDIDATE])
def test_whoever_is_behind_is_compared_by_event(tmp_path: Path, behind: Slot) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, relay(1, 5), relay(2, 7))
        slow = sim.node.engine.core.rules[active("relay") if behind is Slot.ACTIVE else candidate("relay")]
        slow.stalled = True
        for number in (6, 9, 7, 1):
            await sim.send("t", number=number)
        for _ in range(3):
            await sim.node.engine.turn()
        assert sim.node.differences() == ()
        slow.stalled = False
        await sim.turns()
        assert [one.active.decided for one in sim.node.differences()] == [("gpio.set_pin(RELAY, HIGH)",)] * 2
        await sim.stop()

    run(test())


def test_timers_are_compared_by_the_time_they_were_due(tmp_path: Path) -> None:
    def ticking(version: int, limit: int) -> str:
        return (
            f'rule relay {{\n version "{version}.0.0"\n state n: int = 0\n on every 1s\n n = n + 1\n'
            f' if n > {limit} {{ log.info("on") }}\n}}\n'
        )

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await sim.node.install(program(ticking(1, 3)), {}, "d1", 1, PASSED)
        await sim.advance(S // 3)
        await sim.node.stage(program(ticking(2, 5)), {}, "d2", 2, WATCHES)
        await sim.advance(10 * S)
        assert [(one.active.decided, one.candidate.decided) for one in sim.node.differences()] == [
            (("log.info(on)",), ())
        ] * 2
        await sim.stop()

    run(test())


def test_a_trap_is_another_decision(tmp_path: Path) -> None:
    trapping = relay(2, 5).replace("e.number > 5", "100 / (e.number - 3) > 5 and e.number > 5")

    async def test() -> None:
        sim = await beside(tmp_path, relay(1, 5), trapping)
        await send(sim, 3)
        (found,) = sim.node.differences()
        (said,) = found.candidate.decided
        assert said.startswith("trap "), said
        await sim.stop()

    run(test())


@pytest.mark.parametrize("terms", [PASSED, Terms(share=1), Terms(keyless=True)], ids=["warm", "share", "keyless"])
def test_a_warm_program_and_one_that_acts_are_not_compared(tmp_path: Path, terms: Terms) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, relay(1, 5), relay(2, 7), terms)
        await send(sim, 6)
        assert sim.node.differences() == () and sim.bodies(DifferenceBody) == [] and differing(sim) == 0
        assert all(rule.shadow is None for rule in sim.node.engine.core.rules.values())
        await sim.stop()

    run(test())


def test_the_comparison_ends_with_the_candidate_and_begins_with_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, relay(1, 5), relay(2, 7))
        await send(sim, 6)
        await sim.node.drop_candidate("relay")
        await send(sim, 6)
        assert sim.node.differences() == () and len(sim.bodies(DifferenceBody)) == 1
        await sim.node.stage(program(relay(3, 8)), {}, "d3", 3, WATCHES)
        await send(sim, 8)
        (found,) = sim.node.differences()
        assert found.deployment_id == "d3"
        await sim.want_again(candidate("relay"), "d3", 4, Terms(Standing.ON_TRIAL, share=10_000))
        await send(sim, 8)
        assert sim.node.differences() == ()
        await sim.stop()

    run(test())


def test_the_newest_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, relay(1, 5), relay(2, 7))
        await send(sim, *[6] * (NEWEST_MAX + 5))
        found = sim.node.differences()
        assert len(found) == NEWEST_MAX and differing(sim) == len(sim.bodies(DifferenceBody)) == NEWEST_MAX + 5
        assert [one.candidate.seq for one in found] == sorted({one.candidate.seq for one in found})
        assert isinstance(found[0], Difference)
        await sim.stop()

    run(test())


def test_decisions_that_nobody_compares_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_module, "WAITING_MAX", 10)
    shadow = Shadow()
    for number in range(50):
        assert shadow.compare((number,), 0, Decision(Slot.ACTIVE, number, ())) is None
    assert len(shadow._waiting) == 10
    assert shadow.compare((0,), 0, Decision(Slot.CANDIDATE, 99, ("x",))) is None, "it was let go"
    assert shadow.compare((49,), 0, Decision(Slot.CANDIDATE, 99, ("x",))) is not None
