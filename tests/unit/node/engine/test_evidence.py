"""What a program is judged by: counted since it began in its slot for its deployment, whatever becomes of the node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NodeSim, program
from eyeflow.node.engine import run_evidence
from eyeflow.node.engine.run_evidence import ALONE_US, EVIDENCE_US, EvidenceKeeper
from eyeflow.node.run_key import active, candidate, previous
from eyeflow.node.store.types import PASSED, EvidenceRow
from eyeflow.protocol.audit_bodies import ExecutionBody, RejectedBody
from eyeflow.protocol.messages import Evidence, EvidenceStanding, Status
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.versions import VERSIONS

S = 1_000_000


def counter(version: int, body: str = "") -> str:
    return (
        f'rule counter {{\n version "{version}.0.0"\n record Event {{ number: int }}\n state n: int = 0\n'
        f' on mqtt "t" as e: Event\n n = n + 1\n {body}\n}}\n'
    )


TRAPPING = counter(1, "n = n + 100 / (e.number - 7)")


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def told(sim: NodeSim, slot: Slot = Slot.ACTIVE) -> Evidence:
    (found,) = (one for one in sim.node.evidence() if one.slot is slot and one.standing.value != "rolledBack")
    return found


def kept(sim: NodeSim, slot: str = "active") -> EvidenceRow | None:
    return next((row for key, row in sim.store.restore().evidence.items() if key.slot.value == slot), None)


async def send(sim: NodeSim, *numbers: int) -> None:
    for number in numbers:
        await sim.send("t", number=number)
    await sim.turns()


async def reopened(sim: NodeSim) -> NodeSim:
    path, clock = sim.config.data_dir, sim.clock
    sim.crash()
    return await NodeSim.started(path, clock=clock)


def test_what_a_program_did_is_counted(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, TRAPPING)
        began_us = sim.clock.now_us()
        await send(sim, 1, 7, 7, 2)
        await sim.send("t", number="no number")
        await sim.turns()
        found = told(sim)
        assert (found.executions, found.traps, found.rejected, found.failed_actions) == (4, 2, 1, 0)
        assert (found.began_us, found.boots, found.deployment_id) == (began_us, 0, "d1")
        assert found.standing is EvidenceStanding.TRIAL
        shown = sim.rule("counter")["evidence"]
        assert isinstance(shown, dict) and (shown["executions"], shown["traps"], shown["rejected"]) == (4, 2, 1)
        await sim.stop()

    run(test())


def test_only_executions_that_have_a_driver_act_count_as_such(tmp_path: Path) -> None:
    """A line for the log on each event would hide that each of few actions fails."""
    rarely = counter(1, 'log.info("{e.number}")\n if e.number > 10 { mqtt.publish("a", "b") }')

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rarely)
        await send(sim, 1, 2, 11, 3, 12)
        assert (told(sim).executions, told(sim).acted) == (5, 2)
        await sim.stop()

    run(test())


def test_an_execution_counts_as_one_that_acted_once_its_last_action_has_ended(tmp_path: Path) -> None:
    """Else a verdict takes messages that will all run into time-outs for good ones, and their program passes."""
    both = counter(1, 'mqtt.publish("a", "b")\n mqtt.publish("a", "c")\n log.info("{e.number}")')

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, both)
        mqtt = sim.drivers["mqtt"]
        mqtt.duration_s["mqtt.publish"] = 2.0
        await send(sim, 1, 2)
        assert (told(sim).executions, told(sim).acted, told(sim).pending) == (2, 0, 2)
        for acted in (0, 1, 1, 2):
            await sim.advance(2 * S)
            assert (told(sim).acted, told(sim).pending) == (acted, 2 - acted)
        mqtt.failures["mqtt.publish"] = 1
        await send(sim, 3)
        assert sim.rule("counter")["evidence"]["pending"] == 1  # type: ignore[index]
        await sim.advance(2 * S)
        assert (told(sim).acted, told(sim).failed_actions) == (3, 1), "a failure decides it at once"
        assert told(sim).pending == 0
        await sim.advance(EVIDENCE_US + ALONE_US)
        row = kept(sim)
        assert row is not None and (row.acted, row.failed_actions) == (3, 1)
        await sim.stop()

    run(test())


def test_an_execution_is_pending_from_the_moment_in_which_it_is_counted(tmp_path: Path) -> None:
    """Before its commit, too. One that acts on nothing, or on the log alone, has ended at once."""
    rarely = counter(1, 'log.info("{e.number}")\n if e.number > 10 { mqtt.publish("a", "b") }')

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rarely)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = sim.drivers["log"].duration_s["log.info"] = 2.0
        core, seen = sim.node.engine.core, []
        real, core.settle = core.settle, lambda *args: (seen.append(told(sim)), real(*args))[1]  # type: ignore[method-assign]
        await send(sim, 1, 11, 12)
        assert {(one.executions, one.pending) for one in seen} <= {(1, 0), (2, 1), (3, 2)} and seen[-1].pending == 2
        await sim.advance(20 * S)
        assert (told(sim).acted, told(sim).pending) == (2, 0)
        await sim.stop()

    run(test())


def test_what_a_crash_left_is_pending_until_it_has_ended(tmp_path: Path) -> None:
    """The outbox knows it. What is given up at the start, a pump here, is not waited for."""
    both = counter(1, 'if e.number == 1 { gpio.set_pin(P, HIGH) } else { mqtt.publish("a", "b") }')

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, both.replace(" record", " pin P: output\n record"))
        for action in ("mqtt.publish", "gpio.set_pin"):
            sim.drivers[action.split(".")[0]].duration_s[action] = 3600
        await send(sim, 1, 2, 3)
        await sim.advance(EVIDENCE_US + ALONE_US)
        assert (told(sim).executions, told(sim).pending) == (3, 3)
        sim = await reopened(sim)
        assert (told(sim).executions, told(sim).acted, told(sim).pending) == (3, 0, 2)
        await sim.advance(20 * S)
        assert (told(sim).acted, told(sim).pending) == (2, 0)
        await sim.stop()

    run(test())


def test_actions_from_before_a_deployment_are_not_its_evidence(tmp_path: Path) -> None:
    """The same program for another deployment begins anew, and nobody waits for what it did before."""
    acts = counter(1, 'mqtt.publish("a", "b")')

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, acts)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 10.0
        await send(sim, 1)
        assert (await sim.node.install(program(acts), {}, "d2", 2)).code == ""
        await send(sim, 2)
        assert (told(sim).executions, told(sim).pending) == (1, 1)
        await sim.advance(10 * S)
        assert (told(sim).executions, told(sim).acted, told(sim).pending) == (1, 0, 1)
        await sim.advance(10 * S)
        assert (told(sim).acted, told(sim).pending) == (1, 0)
        await sim.stop()

    run(test())


def test_an_execution_whose_actions_fail_is_counted_once(tmp_path: Path) -> None:
    """Two of its actions fail: one failed execution. One that is given up with its rule is none."""
    both = counter(1, 'log.info("a") else skip\n mqtt.publish("a", "b")')

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, both)
        sim.drivers["log"].failures["log.info"] = sim.drivers["mqtt"].failures["mqtt.publish"] = 1
        await send(sim, 1, 2)
        assert (told(sim).executions, told(sim).failed_actions) == (2, 1)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 60
        await send(sim, 3)
        rule = sim.node.engine.core.rules[active("counter")]
        assert rule.evidence.pending == 1
        await sim.node.remove("counter")
        await sim.turns()
        assert rule.health.action_failures == 3, "the cancelled one, too"
        assert (rule.evidence.failed_actions, rule.evidence.acted, rule.evidence.pending) == (1, 2, 0)
        await sim.stop()

    run(test())


def test_a_late_timer_is_one_missed_deadline(tmp_path: Path) -> None:
    async def test() -> None:
        ticking = 'rule counter {\n version "1.0.0"\n state n: int = 0\n on every 1s\n n = n + 1\n}\n'
        sim = await NodeSim.started(tmp_path, ticking)
        await sim.advance(3 * S)
        assert told(sim).missed_deadlines == 0
        sim.clock.move(sim.clock.time_us + 100 * S)  # the machine was asleep
        await sim.turns()
        assert (told(sim).missed_deadlines, sim.rule("counter")["missed"]) == (1, 99)
        await sim.stop()

    run(test())


def test_latency_is_from_arrival_to_commit(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        for wait_us in (300, 100):
            await sim.send("t", number=1)
            sim.clock.move(sim.clock.time_us + wait_us)
            await sim.turns()
        assert (told(sim).latency_us_sum, told(sim).latency_us_max) == (400, 300)
        await sim.stop()

    run(test())


def test_counts_survive_a_crash_and_boots_are_those_after_one(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        began_us = told(sim).began_us
        await send(sim, 1, 2, 3)
        await sim.advance(EVIDENCE_US + ALONE_US)
        for boots in (1, 2):
            sim = await reopened(sim)
            found = told(sim)
            assert (found.executions, found.boots, found.began_us) == (3, boots, began_us)
        row = kept(sim)
        assert row is not None and row.boots == 2, "a start counts before anything runs"
        await send(sim, 4)
        await sim.stop()
        sim = await NodeSim.started(tmp_path, clock=sim.clock)
        assert (told(sim).executions, told(sim).boots) == (4, 2), "a stop in good order loses nothing and is no crash"
        await sim.stop()

    run(test())


@pytest.mark.parametrize("seed", range(6))
def test_a_crash_loses_the_last_seconds_at_most_and_nothing_is_counted_twice(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, TRAPPING)
        for _ in range(12):
            events = [rng.choice((1, 7)) for _ in range(rng.randrange(4))]
            await send(sim, *events)
            await sim.advance(rng.choice((0, S // 10, 3 * S)))
            if rng.random() < 0.4:
                since_us, counted = sim.clock.now_us() - EVIDENCE_US - ALONE_US, told(sim)
                late = [one.body for one in sim.records() if one.time_us > since_us]
                ran = [body for body in late if isinstance(body, ExecutionBody)]
                sim = await reopened(sim)
                assert 0 <= counted.executions - told(sim).executions <= len(ran)
                assert 0 <= counted.traps - told(sim).traps <= sum(body.trap is not None for body in ran)
        await sim.stop()

    run(test())


def test_an_idle_node_keeps_its_counts_once_and_then_sleeps(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        await sim.advance(10 * S)
        await send(sim, 1)
        assert (row := kept(sim)) is not None and row.executions == 1, "with the commit that records the event"
        await send(sim, 2)
        commits = sim.store.counters.commits
        await sim.advance(60 * S)
        assert (row := kept(sim)) is not None and row.executions == 2
        assert sim.store.counters.commits == commits + 1
        assert sim.node.engine.core.next_due_us() is None, "nothing wakes an idle node"
        await sim.stop()

    run(test())


def test_counts_cost_no_commit_of_their_own_under_load(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        commits = sim.store.counters.commits
        for number in range(100):
            await send(sim, number)
            await sim.advance(S // 10)
        assert sim.store.counters.commits == commits + 100
        await sim.stop()

    run(test())


def test_control_without_the_keeper_a_crash_loses_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvidenceKeeper, "take", lambda self, counted, has_news, now_us: [])

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        await send(sim, 1, 2, 3)
        await sim.advance(10 * S)
        sim = await reopened(sim)
        assert told(sim).executions == 0
        await sim.stop()

    run(test())


def test_counts_begin_anew_with_each_slot_and_each_deployment(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        await send(sim, 1, 2)
        await sim.stage(counter(2), 2)
        await sim.advance(S)
        await send(sim, 3)
        assert (told(sim).executions, told(sim, Slot.CANDIDATE).executions) == (3, 1)
        await sim.advance(EVIDENCE_US + ALONE_US)
        sim = await reopened(sim)
        assert (told(sim).executions, told(sim, Slot.CANDIDATE).executions) == (3, 1), "each slot has its own"
        await sim.promote("counter")
        assert (told(sim).executions, told(sim).began_us) == (0, sim.clock.now_us())
        await send(sim, 4)
        await sim.want_again(active("counter"), "another", 9, PASSED)
        assert (told(sim).executions, told(sim).deployment_id) == (0, "another")
        await send(sim, 5)
        await sim.want_again(active("counter"), "another", 10, PASSED)
        assert told(sim).executions == 1, "the same deployment again"
        await sim.advance(EVIDENCE_US + ALONE_US)
        sim = await reopened(sim)
        assert (told(sim).executions, told(sim).deployment_id, told(sim).standing.value) == (1, "another", "passed")
        assert kept(sim, "candidate") is None
        await sim.stop()

    run(test())


def test_the_counts_of_the_last_known_good_and_of_the_failed_one_stay(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        assert await sim.node.record_pass("counter", str(sim.rule("counter")["program_id"]))
        await send(sim, 1, 2)
        assert (await sim.install(counter(2), 2)).code == ""
        await send(sim, 3, 4, 5)
        sim = await reopened(sim)
        table = sim.node.installer.table
        assert table.evidence[previous("counter")].executions == 2
        assert (await sim.node.roll_back("counter", "it failed")).code == ""
        sim = await reopened(sim)
        failed = sim.node.installer.table.rejected("counter")
        assert failed is not None and failed.evidence is not None and failed.evidence.deployment == "d2"
        assert failed.evidence.executions <= 3 and not failed.taken_back
        assert (told(sim).executions, told(sim).deployment_id, told(sim).standing.value) == (0, "d1", "passed")
        assert sim.node.installer.table.evidence == {}
        await sim.node.remove("counter")
        assert sim.store.restore().evidence == {}
        await sim.stop()

    run(test())


def test_a_clock_that_is_set_moves_the_beginning_along(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        began_us = told(sim).began_us
        sim.clock.set_us = 3600 * S
        await send(sim, 1)
        assert told(sim).began_us == began_us + 3600 * S
        await sim.stop()

    run(test())


def test_counts_that_the_disk_did_not_take_are_kept_later(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        await sim.advance(10 * S)
        core = sim.node.engine.core
        await sim.send("t", number=1)
        round_ = core.next_round(sim.clock.now_us())
        assert round_ is not None and len(round_.batch.put_evidence) == 1
        core.settle(round_, 0, sim.clock.now_us())  # it acted without a record
        await sim.advance(EVIDENCE_US + ALONE_US)
        row = kept(sim)
        assert row is not None and row.executions == 1
        await sim.stop()

    run(test())


def test_rejections_count_against_the_slot_that_refused(tmp_path: Path) -> None:
    strict = counter(2).replace("number: int", "number: int\n  more: int")

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        await sim.stage(strict, 2)
        await send(sim, 1, 2)
        assert [body.slot for body in sim.bodies(RejectedBody)] == ["candidate"]
        assert (told(sim).rejected, told(sim, Slot.CANDIDATE).rejected) == (0, 2)
        assert candidate("counter") in sim.node.engine.core.rules
        await sim.stop()

    run(test())


def test_evidence_can_be_sent(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        status = Status(1, 1, 1, 1, (), sim.node.evidence())
        assert VERSIONS[3].decode(VERSIONS[3].encode(status)) == status
        assert {*run_evidence.COUNTS} < set(Evidence.__struct_fields__)
        await sim.stop()

    run(test())
