"""What failed does not go on where the last known good program may not run: then nothing of the rule runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NodeSim, program
from eyeflow.node.control import InstallOutcome
from eyeflow.node.run_key import active, candidate
from eyeflow.node.store.types import PASSED, Standing, Terms, Wish
from eyeflow.protocol.audit_bodies import ExecutionBody, SlotBody, SlotChange
from eyeflow.protocol.slot import Slot
from eyeflow.svm.signing import public_key_of
from unit.node.engine.test_revocation import OTHER, Died, die_after
from unit.node.engine.test_trials import BAD, TRIAL, back, counter, memory, running, send

TRIED, RETURN = Terms(Standing.ON_TRIAL, TRIAL), Terms(Standing.PASSED, is_return=True)
FAILS = counter(2, bad=True).replace(' log.info("v2 {e.number}")\n', "")
"""It needs no capability, so that a node may run it that grants none."""


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def good() -> bytes:
    return program(counter(1), OTHER)


async def trying(path: Path, *, knows_good: bool = True) -> NodeSim:
    """A node on which a program is on trial after a good one, which a key of the cluster had signed."""
    sim = await NodeSim.started(path)
    sim.node.trust([public_key_of(OTHER)])
    if knows_good:
        assert (await sim.node.install(good(), {}, "d1", 1, PASSED)).code == ""
        await send(sim, 1, 2, 3)
    assert (await sim.node.install(program(FAILS), {}, "d2", 2, TRIED)).code == ""
    return sim


async def revoke(sim: NodeSim) -> None:
    sim.node.trust([])
    await sim.node.stop_distrusted()


async def reopened(sim: NodeSim, **options: Any) -> NodeSim:
    path, clock = sim.config.data_dir, sim.clock
    sim.crash()
    return await NodeSim.started(path, clock=clock, **options)


async def check_stopped(sim: NodeSim) -> None:
    """Nothing of the rule runs, the node says so, and what failed cannot come back."""
    executed = len(sim.bodies(ExecutionBody))
    await send(sim, 1, 2)
    assert running(sim) == running(sim, Slot.CANDIDATE) == "" and len(sim.bodies(ExecutionBody)) == executed
    assert (await sim.node.install(program(FAILS), {}, "d2", 9, TRIED)).code == "rejected"


@pytest.mark.parametrize("restarts", [False, True])
def test_a_node_alone_stops_what_failed_and_keeps_the_last_known_good_for_later(tmp_path: Path, restarts: bool) -> None:
    async def test() -> None:
        sim = await trying(tmp_path)
        await revoke(sim)
        assert running(sim) == "2.0.0", "nothing is wrong with it yet"
        await send(sim, *[BAD] * 20)
        assert await sim.node.trials.look()
        told, shown = back(sim), sim.rule("counter")
        assert told is not None and told.reason.startswith("20 of 20 executions failed")
        assert "`counter` is stopped" in told.reason and "no such key is trusted here" in told.reason
        assert (shown["state"], shown["program_id"]) == ("refused", sim.node.held()[0].program_id)
        assert "`counter` is stopped" in str(shown["last_error"])
        assert [one.change for one in sim.bodies(SlotBody)] == [SlotChange.ROLLED_BACK]
        kept = sim.store.restore().evidence[active("counter")]
        assert (kept.program_id, kept.traps) == (sim.node.installer.table.to_run()[0].program_id, 0)
        sim = await reopened(sim) if restarts else sim
        await check_stopped(sim)
        sim.node.trust([public_key_of(OTHER)])
        assert (await sim.node.install(good(), {}, "d1", 10, RETURN)).code == ""
        assert (running(sim), memory(sim)) == ("1.0.0", 3), "with what it remembered"
        await sim.stop()

    run(test())


def test_control_a_last_known_good_that_is_trusted_runs_again(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await trying(tmp_path)
        await send(sim, *[BAD] * 20)
        assert await sim.node.trials.look() and (running(sim), memory(sim)) == ("1.0.0", 3)
        await sim.stop()

    run(test())


def test_a_crash_at_the_change_leaves_what_was_before_it_or_what_is_after_it(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await trying(tmp_path)
        await revoke(sim)
        await send(sim, *[BAD] * 20)
        die_after(sim, 1)
        with pytest.raises(Died):
            await sim.node.trials.look()
        sim = await reopened(sim)
        assert sim.rule("counter")["state"] == "refused" and back(sim) is not None
        await check_stopped(sim)
        await sim.stop()

    run(test())


def test_it_is_the_same_where_the_last_known_good_is_refused_for_another_reason(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await reopened(await trying(tmp_path), grants=("gpio.*",))
        await send(sim, *[BAD] * 20)
        assert await sim.node.trials.look()
        assert "does not grant: log.info" in str(sim.rule("counter")["last_error"])
        await check_stopped(sim)
        sim = await reopened(sim)
        assert (running(sim), memory(sim)) == ("1.0.0", 3), "once it is granted again"
        await sim.stop()

    run(test())


@pytest.mark.parametrize("knows_good", [True, False])
def test_the_coordinator_takes_a_program_back_where_the_one_before_it_is_trusted_no_more(
    tmp_path: Path, knows_good: bool
) -> None:
    """A node that lost its store meanwhile does not keep the program before."""

    async def test() -> None:
        sim = await trying(tmp_path, knows_good=knows_good)
        await revoke(sim)
        result = await sim.node.install(good(), {}, "d1", 3 if knows_good else 2, RETURN)
        assert (result.outcome, result.code) == (InstallOutcome.REFUSED, "untrusted")
        assert result.message.startswith("`counter` is stopped: what ran was taken back")
        await check_stopped(sim)
        assert (await sim.node.install(good(), {}, "d1", 4, RETURN)).code == "untrusted", "it is told again"
        assert len(sim.node.held()) == int(knows_good)
        await sim.stop()

    run(test())


def test_a_way_back_to_what_the_node_itself_took_back_stops_the_rule(tmp_path: Path) -> None:
    """The coordinator let it pass, and its word was on the way when it failed here."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        assert (await sim.node.install(program(FAILS), {}, "d1", 1, TRIED)).code == ""
        await send(sim, *[BAD] * 20)
        assert await sim.node.trials.look() and running(sim) == ""
        assert (await sim.node.install(program(counter(3)), {}, "d2", 2, TRIED)).code == ""
        for version in (3, 4):
            assert (await sim.node.install(program(FAILS), {}, "d1", version, RETURN)).code == "rejected"
            assert running(sim) == "" and sim.node.held() == ()
        sim = await reopened(sim)
        assert running(sim) == "" and (await sim.node.install(program(FAILS), {}, "d1", 5, RETURN)).code == "rejected"
        await sim.stop()

    run(test())


def test_a_new_program_that_is_refused_stops_nothing(tmp_path: Path) -> None:
    """So does a way back in a set that is older than what runs, and one to what runs already."""

    async def test() -> None:
        sim = await trying(tmp_path)
        await revoke(sim)
        assert (await sim.node.install(good(), {}, "d3", 3, PASSED)).code == "untrusted"
        assert running(sim) == "2.0.0"
        assert (await sim.node.install(good(), {}, "d1", 1, RETURN)).code == "untrusted"
        assert running(sim) == "2.0.0"
        sim.node.trust([public_key_of(OTHER)])
        assert (await sim.node.install(good(), {}, "d1", 4, RETURN)).code == "" and running(sim) == "1.0.0"
        await revoke(sim)
        stopped = sim.rule("counter")["last_error"]
        assert (await sim.node.install(good(), {}, "d1", 5, RETURN)).code == "untrusted"
        assert sim.rule("counter")["last_error"] == stopped, "who revoked it says more"
        await sim.stop()

    run(test())


def test_actions_of_what_failed_are_given_up_with_it(tmp_path: Path) -> None:
    """The broker is away: its messages would go out when it is back."""

    async def test() -> None:
        sim = await trying(tmp_path)
        acts = FAILS.replace(" n = n", ' mqtt.publish("a", "b")\n n = n').replace('"2.0.0"', '"3.0.0"')
        assert (await sim.node.install(program(acts), {}, "d3", 3, TRIED)).code == ""
        await sim.advance(60_000_000)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 3600
        await send(sim, 1, 2)
        await revoke(sim)
        assert (await sim.node.install(good(), {}, "d1", 4, RETURN)).code == "untrusted"
        await sim.advance(1_000_000)
        assert sim.node.engine.actions.waiting == 0 and sim.store.restore().pending == ()
        await sim.stop()

    run(test())


def test_what_a_node_keeps_is_not_taken_for_what_it_shall_go_back_to(tmp_path: Path) -> None:
    """Another one was active when its store was saved: its memory is no memory of the one that is wanted."""

    async def test() -> None:
        sim = await trying(tmp_path)
        await revoke(sim)
        other = program(counter(1).replace("n + 1", "n + 2"), OTHER)
        assert (await sim.node.install(other, {}, "d0", 3, RETURN)).code == "untrusted"
        assert running(sim) == "" and sim.node.held() == ()
        await sim.stop()

    run(test())


@pytest.mark.parametrize(("alone", "grace"), [(True, False), (False, False), (True, True)])
def test_a_last_known_good_that_runs_beside_it_goes_too(tmp_path: Path, alone: bool, grace: bool) -> None:
    """After a switch it is kept warm. Then its key is revoked: the node stops it, perhaps later. The new one fails."""

    async def test() -> None:
        sim = await trying(tmp_path)
        assert (await sim.node.install(good(), {}, "d1", 3, PASSED)).code == ""
        again = program(FAILS.replace('"2.0.0"', '"3.0.0"'))
        assert (await sim.node.stage(again, {}, "d4", 4, TRIED)).code == ""
        assert (await sim.swap("counter", 5, Wish("d4", TRIED), Wish("d1", PASSED))).code == ""
        assert (running(sim), running(sim, Slot.CANDIDATE)) == ("3.0.0", "1.0.0")
        sim.node.trust([]) if grace else await revoke(sim)
        await send(sim, *[BAD] * 20)
        if alone:
            assert await sim.node.trials.look()
        else:
            assert (await sim.node.install(good(), {}, "d1", 6, RETURN)).code == "untrusted"
        table = sim.node.installer.table
        assert running(sim) == running(sim, Slot.CANDIDATE) == "" and table.row(candidate("counter")) is None
        row = table.row(active("counter"))
        assert row is not None and row.program_id.hex() == sim.node.held()[0].program_id
        await sim.stop()

    run(test())


def test_what_came_with_a_list_of_signers_that_has_run_out_is_taken_back_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        sim = await trying(tmp_path)
        monkeypatch.setattr(sim.node.roots, "refusal", lambda now_us: "the list of signers has run out")
        assert (await sim.node.install(good(), {}, "d1", 3, PASSED)).code == "signers_expired"
        assert running(sim) == "2.0.0"
        result = await sim.node.install(good(), {}, "d1", 4, RETURN)
        assert result.code == "signers_expired" and "is stopped" in result.message
        assert running(sim) == ""
        await sim.stop()

    run(test())
