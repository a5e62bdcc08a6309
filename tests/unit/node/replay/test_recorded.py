"""A candidate on recorded events decides as it would have decided: compared with a node that ran it then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NodeSim, program
from eyeflow.audit.memory import Unanswered
from eyeflow.node.control import Switch
from eyeflow.node.replay import history as history_module
from eyeflow.node.store.types import PASSED, Standing, Terms, Wish
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.replays import DIFFERENCES_SHOWN_MAX, Memory, Replay, ReplayProgram, ReplayResult
from eyeflow.svm.container import decode
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.instance import Instance
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.verify import verify

S = 1_000_000
HEAT = """\
rule heat {
 version "1.0.0"
 pin RELAY: output
 param limit: int = 50
 state trips: int = 0
 record Event { temp: int }
 on mqtt "t" as e: Event
 let outside = adc.read_channel(0)
 if e.temp > limit for 3s {
  trips = trips + 1
  gpio.set_pin(RELAY, HIGH)
  if trips % 3 == 0 { log.warn("trip {trips}, outside {outside}") }
 } else { gpio.set_pin(RELAY, LOW) }
}
"""
LOWER = HEAT.replace("1.0.0", "2.0.0").replace("temp > limit", "temp > limit - 5")
OTHER = HEAT.replace("1.0.0", "2.0.0").replace("for 3s", "for 2s").replace("trips % 3", "trips % 2")
TRAPS = HEAT.replace("1.0.0", "2.0.0").replace("trips = trips + 1", "trips = trips + 1 + 1 / (trips % 2)")


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def fed(sim: NodeSim, seed: int, count: int) -> None:
    """Let events come as a seed says: the same ones for each node."""
    source = random.Random(seed)
    for _ in range(count):
        sim.drivers["adc"].values["adc.read_channel"] = source.randrange(100)
        await sim.send("t", temp=source.choice((20, 47, 52, 90)))
        await sim.turns()
        await sim.advance(source.randrange(1, 4) * S // 2)


def asked(source: str, since_us: int = 0, seconds_max: int = 60, **params: int) -> Replay:
    data = program(source)
    signed = decode(data)
    one = ReplayProgram(signed.program.rule, signed.program_id, data, tuple(sorted(params.items())))
    return Replay(1, since_us, seconds_max, (one,))


async def replayed(sim: NodeSim, source: str, since_us: int = 0, **params: int) -> ReplayResult:
    (found,) = (await sim.node.replay(asked(source, since_us, **params))).results
    return found


def decisions(sim: NodeSim, since_us: int) -> list[tuple[int, object, object]]:
    """(time, actions, trap) of each recorded execution of the active program."""
    return [
        (body.event_time_us, [(site, args) for site, args, _ in body.actions], body.trap)
        for record in sim.records()
        if isinstance(body := record.body, ExecutionBody) and record.time_us >= since_us and body.slot == "active"
    ]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("candidate", [LOWER, OTHER, TRAPS])
def test_it_tells_exactly_where_a_node_that_ran_it_decided_otherwise(tmp_path: Path, candidate: str, seed: int) -> None:
    async def test() -> None:
        (tmp_path / "stays").mkdir()
        (tmp_path / "changes").mkdir()
        stays = await NodeSim.started(tmp_path / "stays", HEAT)
        changes = await NodeSim.started(tmp_path / "changes", HEAT)
        for sim in (stays, changes):
            await fed(sim, seed, 40)
        since_us = stays.clock.now_us()
        assert (await changes.node.install(program(candidate), {}, "d2", 2)).code == ""
        for sim in (stays, changes):
            await fed(sim, seed + 100, 60)
        found = await replayed(stays, candidate, since_us)
        was, would = decisions(stays, since_us), decisions(changes, since_us)
        assert len(was) == len(would) == found.events == 60
        differing = [then[0] for then, now in zip(was, would, strict=True) if then[1:] != now[1:]]
        assert found.differing == len(differing) > 0 and (found.unlike, found.unanswered) == (0, 0)
        assert [one.time_us for one in found.differences] == differing[:DIFFERENCES_SHOWN_MAX]
        assert (found.memory, found.refusal, found.missing) == (Memory.KNOWN, "", ())
        assert (found.since_us, found.until_us) == (was[0][0], was[-1][0])
        await stays.stop()
        await changes.stop()

    run(test())


def test_each_difference_has_both_traces(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, HEAT)
        sim.drivers["adc"].values["adc.read_channel"] = 7
        for temp in (47, 47, 47):
            await sim.node.engine.deliver(sim.event("t", {"temp": temp}, "t/1"))
            await sim.turns()
            await sim.advance(2 * S)
        found = await replayed(sim, LOWER)
        (one,) = found.differences
        assert (one.event, one.key, one.time_us) == ("mqtt t: temp = 47", "t/1", sim.clock.now_us() - 2 * S)
        assert one.active.decided == ("gpio.set_pin(RELAY, LOW) at line 13",)
        assert one.candidate.decided == ("gpio.set_pin(RELAY, HIGH) at line 11",)
        assert one.active.reads == one.candidate.reads == ("adc.read_channel(0) = 7.0",)
        assert one.candidate.seq == 0 and isinstance(sim.store.record(one.active.seq).body, ExecutionBody)  # type: ignore[union-attr]
        await sim.stop()

    run(test())


def test_nothing_of_the_node_changes(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, HEAT)
        await fed(sim, 3, 20)
        before = (sim.store.head, sim.node.status(), sim.node.evidence(), sim.node.held(), sim.drivers["gpio"].acted[:])
        assert (await replayed(sim, OTHER)).events == 20
        after = (sim.store.head, sim.node.status(), sim.node.evidence(), sim.node.held(), sim.drivers["gpio"].acted[:])
        assert after == before
        await sim.stop()

    run(test())


def test_other_parameters_are_tried_too(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await sim.install(HEAT, 1, limit=60)
        await fed(sim, 3, 40)
        assert (await replayed(sim, HEAT, limit=60)).differing == 0
        assert (await replayed(sim, HEAT, limit=50)).differing > 0, "52 is above the limit now"
        assert (await replayed(sim, HEAT, nothing=5)).refusal == "there is no parameter `nothing`"
        await sim.stop()

    run(test())


def test_programs_that_changed_places_are_followed(tmp_path: Path) -> None:
    """Installed, staged, swapped, promoted, gone back: what ran before is run again as it was."""

    async def test() -> None:
        watches = Terms(Standing.ON_TRIAL)
        sim = await NodeSim.started(tmp_path)
        assert (await sim.node.install(program(HEAT), {}, "d1", 1, PASSED)).code == ""
        await fed(sim, 1, 20)
        assert (await sim.node.install(program(LOWER), {}, "d2", 2, watches)).code == ""
        await fed(sim, 2, 20)
        assert (await sim.node.roll_back("heat", "it failed")).code == ""
        await fed(sim, 3, 20)
        assert (await sim.node.stage(program(OTHER), {}, "d3", 3, watches)).code == ""
        await fed(sim, 4, 20)
        switched = await sim.node.switch([Switch("heat", Wish("d3", watches), Wish("d2"))], 4)
        assert switched["heat"].code == ""
        await fed(sim, 6, 20)
        switched = await sim.node.switch([Switch("heat", Wish("d2"), Wish("d3", watches))], 5)
        assert switched["heat"].code == ""
        await fed(sim, 7, 20)
        switched = await sim.node.switch([Switch("heat", Wish("d3", watches))], 6)
        assert switched["heat"].code == ""
        await fed(sim, 5, 20)
        found = await replayed(sim, OTHER, sim.clock.now_us())
        assert found.refusal == "it has no recorded executions of this rule in this time"
        found = await replayed(sim, LOWER)
        assert (found.events, found.unlike, found.memory) == (140, 0, Memory.KNOWN), found
        await sim.stop()

    run(test())


def test_what_was_not_read_then_is_not_guessed(tmp_path: Path) -> None:
    reads = LOWER.replace("let outside", "let more = if e.temp > 50 then adc.read_channel(1) else 0\n let outside")

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, HEAT)
        await fed(sim, 3, 40)
        found = await replayed(sim, reads)
        warm = sum(body.inputs[0] > 50 for body in sim.bodies(ExecutionBody))  # type: ignore[operator]
        assert (found.events, found.unanswered) == (40, warm) and warm > 5
        assert found.differing + found.unlike <= 40 - warm
        await sim.stop()

    run(test())


@pytest.mark.parametrize("machine", [Interpreter, FastMachine])
def test_what_is_not_answered_changes_no_memory(machine: Any) -> None:
    class Mute:
        def read(self, site: int, args: tuple[Any, ...]) -> Any:
            raise Unanswered

    counts = HEAT.replace("let outside = adc", "trips = trips + 1\n let outside = adc")
    verified = verify(decode(program(counts)).program)
    instance = Instance(verified, {}, machine=machine(verified))
    before = instance.state[:]
    with pytest.raises(Unanswered):
        instance.step(0, (90,), 5 * S, 0, Mute())
    assert instance.state == before


def test_handlers_without_recorded_events_are_said(tmp_path: Path) -> None:
    more = LOWER.replace(
        ' on mqtt "t" as e: Event\n', ' on mqtt "u" as u: Event { log.info("u") }\n on mqtt "t" as e: Event {\n'
    )
    more = more.removesuffix("}\n") + " }\n}\n"
    wider = LOWER.replace("temp: int }", "temp: int, wet: int }")

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, HEAT)
        await fed(sim, 3, 40)
        assert (await replayed(sim, more)).missing == ("mqtt u: the program that ran has no such handler",)
        found = await replayed(sim, wider)
        assert found.missing == ("mqtt t: the field `wet` is not in the recorded events",)
        assert found.differing == 40, "it would have done nothing"
        await sim.stop()

    run(test())


def test_where_the_memory_is_not_known_only_what_agrees_is_compared(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, HEAT)
        await fed(sim, 3, 60)
        since_us = sim.clock.now_us()
        await fed(sim, 4, 60)
        known = await replayed(sim, LOWER, since_us)
        assert known.memory is Memory.KNOWN
        db = sim.store._file.db
        db.execute("DELETE FROM audit WHERE seq < 40")  # as if they had been dropped for their age
        warm = await replayed(sim, LOWER, since_us)
        assert warm.memory is Memory.WARM and warm.events == 60
        db.execute("DELETE FROM audit WHERE time_us < ?", (since_us,))
        empty = await replayed(sim, LOWER, since_us)
        assert empty.memory is Memory.EMPTY and empty.events == 60
        assert empty.unlike > 0, "the counter of trips began anew: what it logs is another"
        sim.crash()

    run(test())


def test_a_node_refuses_what_it_would_not_run(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, HEAT, grants=("gpio.*", "log.*", "adc.*"))
        await fed(sim, 3, 5)
        refused = await replayed(
            sim, LOWER.replace('log.warn("trip {trips}, outside {outside}")', 'mqtt.publish("a", "b")')
        )
        assert "does not grant: mqtt.publish" in refused.refusal and refused.events == 0
        strange = program(LOWER, bytes(range(1, 33)))
        signed = decode(strange)
        one = ReplayProgram("heat", signed.program_id, strange)
        (found,) = (await sim.node.replay(Replay(1, 0, 60, (one,)))).results
        assert "sign" in found.refusal
        (found,) = (await sim.node.replay(Replay(1, 0, 60, (ReplayProgram("heat", "0" * 64, program(LOWER)),)))).results
        assert found.refusal == "another program came than was asked for"
        await sim.stop()

    run(test())


def test_a_replay_ends_in_its_time_and_says_how_far_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "PAGE_RECORDS", 5)

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, HEAT)
        await fed(sim, 3, 60)
        since_us = sim.clock.now_us()
        await fed(sim, 4, 60)
        began = sim.clock.time_us
        reading = sim.node.writer.run

        async def slow(job: Any) -> Any:
            sim.clock.time_us += S
            return await reading(job)

        with monkeypatch.context() as patched:
            patched.setattr(sim.node.writer, "run", slow)
            (found,) = (await sim.node.replay(asked(LOWER, since_us, seconds_max=20))).results
        assert found.refusal == "its time of 20 s was over" and sim.clock.time_us - began <= 20 * S
        assert 0 < found.events < 60, "half of the time is kept for the span itself"
        assert found.memory is not Memory.KNOWN
        sim.crash()

    run(test())
