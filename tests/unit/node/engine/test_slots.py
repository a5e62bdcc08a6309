"""Two programs of one rule at once, and what becomes of each: staged, promoted, dropped, rolled back, passed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NodeSim
from eyeflow.node.control import InstallOutcome, InstallResult
from eyeflow.node.engine import core as core_module
from eyeflow.node.engine import slot_table
from eyeflow.node.engine.intake import Intake
from eyeflow.node.engine.running import EVENTS_MAX
from eyeflow.node.run_key import RunKey, active, candidate, previous
from eyeflow.node.store.types import Actuation, Standing, Terms
from eyeflow.protocol.audit_bodies import (
    ActionResultBody,
    Disposition,
    ExecutionBody,
    InstallBody,
    RejectedBody,
    SlotBody,
    SlotChange,
    StartBody,
)
from eyeflow.protocol.slot import Slot

S = 1_000_000
ALL = Terms(share=10_000, keyless=True)
"""A candidate that acts on everything."""
SENT, WITHHELD = int(Disposition.SENT), int(Disposition.WITHHELD)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def counter(version: int, step: int = 1) -> str:
    return (
        f'rule counter {{\n version "{version}.0.0"\n record Event {{ number: int }}\n state n: int = 0\n'
        f' on mqtt "t" as e: Event\n n = n + {step}\n log.info("v{version} {{e.number}}")\n}}\n'
    )


def ok(result: InstallResult) -> str:
    assert result.outcome is InstallOutcome.INSTALLED, result
    return result.program_id


def state(sim: NodeSim, key: RunKey) -> Any:
    return sim.node.engine.core.rules[key].instance.state_values()["n"]


def said(sim: NodeSim) -> list[Any]:
    return [args["message"] for _, _, args in sim.drivers["log"].acted]


def executions(sim: NodeSim, slot: Slot) -> list[ExecutionBody]:
    return [body for body in sim.bodies(ExecutionBody) if body.slot == slot.value]


async def send(sim: NodeSim, *numbers: int) -> None:
    for number in numbers:
        await sim.send("t", number=number)


async def reopened(sim: NodeSim) -> NodeSim:
    """The same node after a crash: what the store holds is all that it knows."""
    path, clock = sim.config.data_dir, sim.clock
    sim.crash()
    again = await NodeSim.started(path, clock=clock)
    await again.turns()  # what the crash left is performed, before anything new
    return again


def held(sim: NodeSim) -> dict[Slot, tuple[str, Standing]]:
    """What the store holds for the counter, and that the node knows just that."""
    restored = sim.store.restore()
    table = sim.node.installer.table
    for row in restored.slots:
        known = table.row(row.key)
        assert known == row, "what is durable is what the node goes by"
    assert {row.key for row in restored.slots} == set(table.keys_of("counter"))
    assert restored.rejected.get("counter") == table.rejected("counter")
    return {row.key.slot: (row.program_id.hex(), row.standing) for row in restored.slots}


def test_a_candidate_runs_beside_the_active_program_and_only_watches(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        await send(sim, 1, 2)
        await sim.turns()
        staged = ok(await sim.stage(counter(2, step=10), 2))
        await send(sim, 3)
        await sim.turns()
        assert (state(sim, active("counter")), state(sim, candidate("counter"))) == (3, 12), "from a copy of 2"
        assert said(sim) == ["v1 1", "v1 2", "v1 3"] and sim.done == 3
        (watched,) = executions(sim, Slot.CANDIDATE)
        assert watched.program.hex() == staged and watched.inputs == (3,)
        assert [disposition for _, _, disposition in watched.actions] == [WITHHELD]
        assert [body.actions[0][2] for body in executions(sim, Slot.ACTIVE)] == [SENT] * 3
        shown, beside = sim.rule("counter"), sim.rule("counter", "candidate")
        assert (shown["executions"], shown["actions"], shown["withheld"]) == (3, 3, 0)
        assert (beside["executions"], beside["actions"], beside["withheld"]) == (1, 0, 1)
        assert (beside["actuation"], beside["standing"]) == ("withhold", "on-trial")
        installed = sim.bodies(InstallBody)[-1]
        assert (installed.slot, installed.withholds, installed.program.hex()) == ("candidate", True, staged)
        await sim.stop()

    run(test())


def test_control_a_candidate_that_acts_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both act, the candidate's messages are seen beside those of the active program."""
    queue: Any = Intake._queue
    monkeypatch.setattr(Intake, "_queue", lambda self, *args: queue(self, *args[:-1], Actuation.PERFORM))

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        ok(await sim.stage(counter(2), 2))
        await send(sim, 1)
        await sim.turns()
        assert sorted(said(sim)) == ["v1 1", "v2 1"]
        await sim.stop()

    run(test())


def test_a_candidate_takes_no_lease_commands_no_level_and_emits_nothing(tmp_path: Path) -> None:
    def relay(version: int) -> str:
        return (
            f'rule relay {{\n version "{version}.0.0"\n pin P: output\n record Event {{ number: int }}\n'
            ' on mqtt "t" as e: Event\n if e.number > 5 { gpio.set_pin(P, HIGH) } else { gpio.set_pin(P, LOW) }\n'
            " emit told(number: e.number)\n}\n"
        )

    listener = (
        'rule listener {\n version "1.0.0"\n record Told { number: int }\n state n: int = 0\n'
        ' on event "told" as t: Told\n n = n + 1\n}\n'
    )

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, listener)
        ok(await sim.stage(relay(1)))
        await send(sim, 9, 1)
        await sim.turns()
        assert sim.drivers["gpio"].acted == [] and sim.node.status()["resources"] == {}
        assert sim.node.engine.core.rules[active("listener")].instance.state_values() == {"n": 0}
        assert sim.done == 2 and sim.store.restore().pending == ()
        ok(await sim.promote("relay"))
        await send(sim, 9)
        await sim.turns()
        assert [args["level"] for _, _, args in sim.drivers["gpio"].acted] == ["HIGH"], "it was never told before"
        assert sim.node.engine.core.rules[active("listener")].instance.state_values() == {"n": 1}
        await sim.stop()

    run(test())


def test_each_slot_has_timers_of_its_own(tmp_path: Path) -> None:
    def ticking(version: int, every: str) -> str:
        return (
            f'rule counter {{\n version "{version}.0.0"\n state n: int = 0\n on every {every}\n n = n + 1\n'
            f' log.info("v{version}")\n}}\n'
        )

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, ticking(1, "1s"))
        await sim.advance(3 * S)
        before = state(sim, active("counter"))
        ok(await sim.stage(ticking(2, "500ms"), 2))
        await sim.advance(4 * S)
        assert state(sim, active("counter")) - before in (4, 5)
        assert state(sim, candidate("counter")) - before in (8, 9)
        ok(await sim.promote("counter"))
        count = state(sim, active("counter"))
        await sim.advance(2 * S)
        assert state(sim, active("counter")) - count == 4, "its timers go on at their pace, and the old ones are gone"
        assert said(sim)[-4:] == ["v2"] * 4
        await sim.stop()

    run(test())


def test_a_full_candidate_holds_up_nobody(tmp_path: Path) -> None:
    """Its events are rejected and counted; the source is not slowed down and hears `done` without it."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        ok(await sim.stage(counter(2), 2))
        beside = sim.node.engine.core.rules[candidate("counter")]
        beside.stalled = True
        for number in range(EVENTS_MAX + 5):
            await asyncio.wait_for(send(sim, number), 60)
            await sim.node.engine.turn()
        await sim.turns()
        assert sim.done == EVENTS_MAX + 5 and state(sim, active("counter")) == EVENTS_MAX + 5
        rejected = sim.bodies(RejectedBody)
        assert {(body.slot, body.reason) for body in rejected} == {("candidate", "the rule does not keep up")}
        assert sum(body.count for body in rejected) == 5
        await sim.stop()

    run(test())


@pytest.mark.parametrize("behind", [Slot.ACTIVE, Slot.CANDIDATE])
def test_a_promotion_parts_the_events_and_each_is_acted_on_once(tmp_path: Path, behind: Slot) -> None:
    """What came before is decided by the old program, what comes after by the new one, whoever was ahead."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        ok(await sim.stage(counter(2), 2))
        slow = sim.node.engine.core.rules[RunKey("counter", behind)]
        slow.stalled = True
        await send(sim, *range(300))
        for _ in range(5):
            await sim.node.engine.turn()
        assert len(slow.queue) == 300, "one has run them, the other has not"
        slow.stalled = False
        ok(await sim.promote("counter"))
        await send(sim, *range(300, 310))
        await sim.turns()
        assert said(sim) == [f"v1 {n}" for n in range(300)] + [f"v2 {n}" for n in range(300, 310)]
        assert sim.done == 310 and state(sim, active("counter")) == 310, "every event once in the new memory, too"
        assert candidate("counter") not in sim.node.engine.core.rules
        again = await reopened(sim)
        assert state(again, active("counter")) == 310 and held(again).keys() == {Slot.ACTIVE}
        (change,) = again.bodies(SlotBody)
        assert (change.change, change.program.hex()) == (SlotChange.PROMOTED, again.rule("counter")["program_id"])
        await again.stop()

    run(test())


@pytest.mark.parametrize("control", [False, True], ids=["matched", "control"])
def test_events_that_come_during_a_promotion_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: bool
) -> None:
    """The old program's last round is being written while more events arrive. The control does not match the copies."""
    if control:
        monkeypatch.setattr(core_module, "acting", lambda candidate, active: list(candidate))

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        ok(await sim.stage(counter(2), 2))
        await send(sim, 0, 1)
        commit, late = sim.node.engine.disk.commit, iter(range(2, 6))

        async def slow_commit(*args: Any) -> int:
            await send(sim, *late)
            return await commit(*args)

        monkeypatch.setattr(sim.node.engine.disk, "commit", slow_commit)
        ok(await sim.promote("counter"))
        await sim.turns()
        assert sorted(said(sim)) == ["v1 0", "v1 1", "v2 2", "v2 3", "v2 4", "v2 5"] and sim.done == 6
        assert (state(sim, active("counter")) == 6) is not control
        await sim.stop()

    run(test())


def test_counters_begin_anew_in_each_slot(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        await send(sim, 1)
        await sim.turns()
        sim.clock.move(sim.clock.time_us + S)
        ok(await sim.stage(counter(2), 2))
        await send(sim, 2)
        await sim.turns()
        sim.clock.move(sim.clock.time_us + S)
        ok(await sim.promote("counter"))
        shown = sim.rule("counter")
        assert (shown["executions"], shown["counted_since_us"]) == (0, sim.clock.now_us())
        await sim.stop()

    run(test())


def test_a_candidate_goes_on_after_a_crash_with_its_state_and_withholds_still(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        first = str(sim.rule("counter")["program_id"])
        staged = ok(await sim.stage(counter(2, step=10), 2))
        await send(sim, 1)
        await sim.turns()
        again = await reopened(sim)
        await send(again, 2)
        await again.turns()
        assert (state(again, active("counter")), state(again, candidate("counter"))) == (2, 20)
        assert said(again)[-1] == "v1 2" and not any("v2" in text for text in said(again))
        start = again.bodies(StartBody)[-1]
        assert start.programs == (("counter", bytes.fromhex(first)),)
        assert start.candidates == (("counter", bytes.fromhex(staged)),)
        await again.stop()

    run(test())


@pytest.mark.parametrize("reason", ["", "it trapped"])
def test_a_dropped_candidate_is_kept_aside_only_when_it_failed(tmp_path: Path, reason: str) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter(1))
        staged = ok(await sim.stage(counter(2, step=10), 2))
        await send(sim, 1)
        await sim.turns()
        assert await sim.node.drop_candidate("counter", reason)
        assert not await sim.node.drop_candidate("counter", reason), "it is gone"
        await send(sim, 2)
        await sim.turns()
        again = await reopened(sim)
        assert held(again).keys() == {Slot.ACTIVE} and state(again, active("counter")) == 2
        failed = again.store.restore().rejected.get("counter")
        assert (failed.row.program_id.hex() if failed else "") == (staged if reason else "")
        assert candidate("counter") not in again.store.restore().states
        refused = await again.stage(counter(2, step=10), 2)
        assert refused.code == ("rejected" if reason else ""), refused
        await again.stop()

    run(test())


async def failing(path: Path) -> NodeSim:
    """A node whose first program passed with 3 events, and whose second one has made 700 of its state."""
    sim = await NodeSim.started(path, counter(1))
    assert await sim.node.record_pass("counter", str(sim.rule("counter")["program_id"]))
    await send(sim, 1, 2, 3)
    await sim.turns()
    ok(await sim.install(counter(2, step=100), 2))
    await send(sim, *range(4, 11))
    await sim.turns()
    assert state(sim, active("counter")) == 703
    return sim


@pytest.mark.parametrize("crash", [False, True])
def test_going_back_brings_program_and_state_back_and_inherits_nothing(tmp_path: Path, crash: bool) -> None:
    async def test() -> None:
        sim = await failing(tmp_path)
        good, bad = str(sim.rule("counter")["previous_program_id"]), str(sim.rule("counter")["program_id"])
        if crash:
            sim = await reopened(sim)
        result = await sim.node.roll_back("counter", "it counts too fast")
        assert (result.outcome, result.program_id, result.previous_program_id) == (InstallOutcome.INSTALLED, good, bad)
        assert state(sim, active("counter")) == 3, "the state that it had, not what the bad program made of it"
        if crash:
            sim = await reopened(sim)
        await send(sim, 99)
        await sim.turns()
        assert state(sim, active("counter")) == 4 and said(sim)[-1] == "v1 99"
        assert held(sim) == {Slot.ACTIVE: (good, Standing.PASSED)}, "the bad program is not what `previous` means"
        failed = sim.store.restore().rejected["counter"]
        assert (failed.row.program_id.hex(), failed.reason) == (bad, "it counts too fast") and failed.state
        shown = sim.rule("counter")
        assert shown["previous_program_id"] == "" and shown["failed_program"]["program_id"] == bad  # type: ignore[index]
        change = sim.bodies(SlotBody)[-1]
        assert (change.change, change.reason) == (SlotChange.ROLLED_BACK, "it counts too fast")
        assert change.replaced is not None and change.replaced.hex() == bad
        again = await sim.node.roll_back("counter", "once more")
        assert again.code == "no_previous" and again.next_step
        await sim.stop()

    run(test())


@pytest.mark.parametrize("control", [False, True], ids=["kept", "control"])
def test_only_a_program_that_passed_becomes_previous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: bool
) -> None:
    """A bad program is replaced by a mended one directly: the last known good stays. The control asks for no pass."""
    if control:
        monkeypatch.setattr(slot_table, "Standing", type("Any", (), {"PASSED": Standing.ON_TRIAL}))

    async def test() -> None:
        sim = await failing(tmp_path)
        bad = str(sim.rule("counter")["program_id"])
        good = str(sim.rule("counter")["previous_program_id"])
        ok(await sim.install(counter(3), 3))
        assert (held(await reopened(sim))[Slot.PREVIOUS][0] == good) is not control
        assert bad != good

    run(test())


def test_a_program_that_passed_becomes_previous_with_its_last_state(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await failing(tmp_path)
        second = str(sim.rule("counter")["program_id"])
        assert not await sim.node.record_pass("counter", "00" * 32), "the verdict is about another program"
        assert await sim.node.record_pass("counter", second)
        ok(await sim.stage(counter(3), 3))
        await send(sim, 11)
        await sim.turns()
        third = ok(await sim.promote("counter"))
        await send(sim, 12)
        await sim.turns()
        sim = await reopened(sim)
        passed, trial = Standing.PASSED, Standing.ON_TRIAL
        assert held(sim) == {Slot.ACTIVE: (third, trial), Slot.PREVIOUS: (second, passed)}
        assert state(sim, active("counter")) == 705, "a copy of 703, and two events of its own"
        ok(await sim.node.roll_back("counter", "late failure"))
        assert state(sim, active("counter")) == 803, "703 and the event that it decided last"
        await sim.stop()

    run(test())


def test_to_want_the_last_known_good_of_its_deployment_is_to_go_back(tmp_path: Path) -> None:
    """So a coordinator of today goes back: its next manifest wants the target before, as that was."""

    async def test() -> None:
        sim = await failing(tmp_path)
        await sim.node.install(program_of(counter(1)), {}, "d1", 3)
        assert state(sim, active("counter")) == 3 and sim.rule("counter")["manifest_version"] == 3
        assert sim.store.restore().rejected["counter"].reason == "deployment d1 is wanted again"
        refused = await sim.node.install(program_of(counter(2, step=100)), {}, "d2", 4)
        assert refused.code == "rejected" and refused.next_step
        ok(await sim.node.install(program_of(counter(2, step=100)), {}, "d5", 5))
        assert state(sim, active("counter")) == 3, "a new deployment of it is tried, from the good state"
        await sim.stop()

    run(test())


def test_the_same_program_of_a_new_deployment_takes_the_state_over(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await failing(tmp_path)
        ok(await sim.node.install(program_of(counter(1)), {}, "d3", 3))
        assert state(sim, active("counter")) == 703 and "counter" not in sim.store.restore().rejected
        await sim.stop()

    run(test())


def test_messages_of_a_promoted_candidate_come_before_those_it_sends_as_active(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.drivers["log"].duration_s["log.info"] = 5.0
        ok(await sim.stage(counter(1), 1, ALL))
        await send(sim, 1)
        await sim.node.engine.turn()
        ok(await sim.promote("counter"))
        await send(sim, 2)
        await sim.advance(60 * S)
        assert said(sim) == ["v1 1", "v1 2"]
        await sim.stop()

    run(test())


def test_what_a_candidate_had_sent_is_sent_again_after_its_promotion_and_a_crash(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.drivers["log"].set_ready(False)
        ok(await sim.stage(counter(1), 1, ALL))
        await send(sim, 1)
        await sim.node.engine.turn()
        ok(await sim.promote("counter"))
        (waits,) = sim.store.restore().pending
        assert waits.key == candidate("counter")
        again = await reopened(sim)
        await again.advance(S)
        assert said(again) == ["v1 1"] and again.bodies(ActionResultBody) == []
        await again.stop()

    run(test())


def test_a_removed_rule_leaves_nothing_in_any_slot(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await failing(tmp_path)
        ok(await sim.node.roll_back("counter", "bad"))
        ok(await sim.stage(counter(4), 4))
        assert await sim.node.remove("counter")
        assert sim.node.engine.core.rules == {}
        restored = (await reopened(sim)).store.restore()
        assert (restored.slots, restored.states, restored.rejected) == ((), {}, {})

    run(test())


def test_keys_are_shown_by_rule_and_slot() -> None:
    assert [str(key) for key in (active("a"), candidate("a"), previous("a"))] == ["a", "a (candidate)", "a (previous)"]


def program_of(source: str) -> bytes:
    from components.node_sim import program

    return program(source)
