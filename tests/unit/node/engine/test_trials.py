"""A node takes back by itself what fails its trial: without a coordinator, across restarts, whenever it is killed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NodeSim, program
from eyeflow.node.control import InstallOutcome, InstallResult
from eyeflow.node.engine import judging, trials
from eyeflow.node.engine.trials import LOOK_S
from eyeflow.node.run_key import active, candidate
from eyeflow.node.store.types import Batch, Committed, Standing, StorageError, Terms
from eyeflow.protocol.audit_bodies import ExecutionBody, SlotBody, SlotChange
from eyeflow.protocol.messages import Evidence, EvidenceStanding, Trial
from eyeflow.protocol.slot import Slot

S = 1_000_000
BAD = 7
"""An event on which a bad program traps."""
TRIAL = Trial(60, 20, 500, 3, True)


def counter(version: int, *, bad: bool = False) -> str:
    body = f"n = n + 1 + 0 / (e.number - {BAD})" if bad else "n = n + 1"
    return (
        f'rule counter {{\n version "{version}.0.0"\n record Event {{ number: int }}\n state n: int = 0\n'
        f' on mqtt "t" as e: Event\n {body}\n log.info("v{version} {{e.number}}")\n}}\n'
    )


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def send(sim: NodeSim, *numbers: int) -> None:
    for number in numbers:
        await sim.send("t", number=number)
    await sim.turns()


async def install(sim: NodeSim, source: str, deployment: int, trial: Trial | None = TRIAL) -> InstallResult:
    standing = Standing.PASSED if trial is None else Standing.ON_TRIAL
    return await sim.node.install(program(source), {}, f"d{deployment}", deployment, Terms(standing, trial))


async def on_trial(path: Path, trial: Trial = TRIAL, *, bad: bool = True) -> NodeSim:
    """A node whose first program passed with 3 events; the second one is on trial and traps on every BAD event."""
    sim = await NodeSim.started(path)
    assert (await install(sim, counter(1), 1, None)).code == ""
    await send(sim, 1, 2, 3)
    assert (await install(sim, counter(2, bad=bad), 2, trial)).code == ""
    return sim


async def reopened(sim: NodeSim) -> NodeSim:
    path, clock = sim.config.data_dir, sim.clock
    sim.crash()
    return await NodeSim.started(path, clock=clock)


def running(sim: NodeSim, slot: Slot = Slot.ACTIVE) -> str:
    key = active("counter") if slot is Slot.ACTIVE else candidate("counter")
    rule = sim.node.engine.core.rules.get(key)
    return "" if rule is None else rule.program.version


def memory(sim: NodeSim) -> object:
    return sim.node.engine.core.rules[active("counter")].instance.state_values()["n"]


def back(sim: NodeSim) -> Evidence | None:
    return next((one for one in sim.node.evidence() if one.standing is EvidenceStanding.ROLLED_BACK), None)


def test_a_program_that_fails_is_taken_back_with_the_state_that_was(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path)
        await send(sim, *range(10, 15))
        assert await sim.node.trials.look() and running(sim) == "2.0.0" and memory(sim) == 8
        await send(sim, *[BAD] * 20)
        assert await sim.node.trials.look()
        assert (running(sim), memory(sim)) == ("1.0.0", 3), "its memory is what it was"
        told = back(sim)
        assert told is not None and (told.slot, told.deployment_id) == (Slot.ACTIVE, "d2")
        assert (told.executions, told.traps) == (25, 20)
        assert told.reason.startswith("20 of 25 executions failed (80.0 %, 95 % interval"), told.reason
        (change,) = (one for one in sim.bodies(SlotBody) if one.change == SlotChange.ROLLED_BACK)
        assert change.reason == told.reason
        shown = sim.node.status()["taken_back"]
        assert isinstance(shown, list) and shown[0]["reason"] == told.reason and shown[0]["rule"] == "counter"
        for _ in range(2):
            refused = await install(sim, counter(2, bad=True), 2)
            assert refused.code == "rejected" and told.reason in refused.message
            sim = await reopened(sim)
            assert (running(sim), back(sim)) == ("1.0.0", told), "told until somebody says otherwise"
        assert (await install(sim, counter(2, bad=True), 9)).outcome is InstallOutcome.INSTALLED, "a new deployment"
        await sim.stop()

    run(test())


def test_a_good_program_and_too_few_samples_are_no_failure(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path)
        await send(sim, *[BAD] * (TRIAL.samples_min - 1))
        assert await sim.node.trials.look() and running(sim) == "2.0.0"
        await send(sim, *range(100, 600))
        await sim.advance(1000 * S)
        assert await sim.node.trials.look() and running(sim) == "2.0.0", "19 of 519 are allowed"
        row = sim.node.installer.table.row(active("counter"))
        assert row is not None and row.standing is Standing.ON_TRIAL, "a pass is for others to say"
        await sim.stop()

    run(test())


def test_a_program_that_failed_before_as_often_condemns_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await install(sim, counter(1, bad=True), 1, None)
        await send(sim, *[BAD, 1] * 100)
        await install(sim, counter(2, bad=True), 2)
        await send(sim, *[BAD, 1] * 50)
        assert await sim.node.trials.look() and running(sim) == "2.0.0"
        await sim.stop()

    run(test())


def test_without_rollback_the_node_only_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path, Trial(60, 20, 500, 3, False))
        for _ in range(3):
            await send(sim, *[BAD] * 20)
            assert await sim.node.trials.look()
        assert running(sim) == "2.0.0" and back(sim) is None
        await sim.stop()

    with caplog.at_level(logging.ERROR):
        run(test())
    (told,) = (one.message for one in caplog.records if "trial" in one.message)
    assert told.startswith("trial of counter: it failed: 20 of 20 executions failed"), told


def test_a_bug_in_the_judgement_ends_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trials, "judge_active", lambda *unused: 1 / 0)

    async def test() -> None:
        sim = await on_trial(tmp_path)
        for _ in range(2):
            assert await sim.node.trials.look() and running(sim) == "2.0.0"
            sim = await reopened(sim)
        await sim.stop()

    run(test())
    assert any("could not be judged" in one.message for one in caplog.records)


def test_a_program_under_which_the_node_crashes_again_and_again_never_runs_again(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path)
        for _ in range(TRIAL.starts_max):
            sim = await reopened(sim)
            assert running(sim) == "2.0.0"
        before = len(sim.bodies(ExecutionBody))
        sim = await reopened(sim)
        assert running(sim) == "1.0.0" and len(sim.bodies(ExecutionBody)) == before, "before it ran once more"
        told = back(sim)
        assert told is not None and "started again 4 times" in told.reason
        await sim.stop()

    run(test())


def test_stops_in_good_order_are_no_crash_loop(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path)
        for _ in range(TRIAL.starts_max + 2):
            await sim.stop()
            sim = await NodeSim.started(tmp_path, clock=sim.clock)
        assert running(sim) == "2.0.0"
        await sim.stop()

    run(test())


def test_the_first_program_of_a_rule_stops_when_it_fails(tmp_path: Path) -> None:
    """There is nothing to go back to but nothing."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await install(sim, counter(2, bad=True), 2)
        await send(sim, *[BAD] * 20)
        assert await sim.node.trials.look()
        for _ in range(2):
            told = back(sim)
            assert running(sim) == "" and sim.node.held() == () and told is not None and told.traps == 20
            assert (await install(sim, counter(2, bad=True), 2)).code == "rejected"
            sim = await reopened(sim)
        await sim.node.settle_taken_back(lambda row: row.deployment == "d2")
        assert back(sim) is not None, "it is wanted still"
        await sim.node.settle_taken_back(lambda row: False)
        assert back(sim) is None and sim.store.restore().rejected == {}
        await sim.stop()

    run(test())


def test_what_nobody_wants_any_more_is_told_no_more_and_kept_for_the_post_mortem(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path)
        await send(sim, *[BAD] * 20)
        assert await sim.node.trials.look()
        await sim.node.settle_taken_back(lambda row: False)
        for _ in range(2):
            assert back(sim) is None and sim.rule("counter")["failed_program"] is not None
            sim = await reopened(sim)
        await sim.stop()

    run(test())


async def beside(path: Path, source: str) -> NodeSim:
    sim = await NodeSim.started(path)
    await install(sim, counter(1), 1, None)
    terms = Terms(Standing.ON_TRIAL, TRIAL)
    result = await sim.node.stage(program(source), {}, "d2", 2, terms)
    assert result.code == "", result
    return sim


@pytest.mark.parametrize("crashes", [False, True])
def test_a_candidate_that_runs_alone_is_judged_by_what_is_allowed(tmp_path: Path, crashes: bool) -> None:
    """The first of its rule, or the active one was taken back: else it could crash the node at each start for ever."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        result = await sim.node.stage(program(counter(1, bad=True)), {}, "d1", 1, Terms(Standing.ON_TRIAL, TRIAL))
        assert result.code == "", result
        if crashes:
            for _ in range(TRIAL.starts_max + 1):
                assert running(sim, Slot.CANDIDATE) == "1.0.0"
                sim = await reopened(sim)
        else:
            await send(sim, *[BAD, 1] * 20)
            assert await sim.node.trials.look()
        assert running(sim, Slot.CANDIDATE) == ""
        ((change, reason),) = [(body.change, body.reason) for body in sim.bodies(SlotBody)]
        assert change == SlotChange.DROPPED and ("started again 4 times" if crashes else "20 of 40") in reason
        await sim.stop()

    run(test())


def test_a_candidate_that_fails_is_dropped_and_the_active_program_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, counter(2, bad=True))
        for _ in range(8):
            await send(sim, *[BAD, 1, 2, 3] * 5)
            assert await sim.node.trials.look()
        assert (running(sim), running(sim, Slot.CANDIDATE)) == ("1.0.0", "")
        told = back(sim)
        assert told is not None and told.slot is Slot.CANDIDATE and "the active program: 0 of" in told.reason
        again = await sim.node.stage(program(counter(2, bad=True)), {}, "d2", 3)
        assert again.code == "rejected"
        await sim.stop()

    run(test())


def test_what_makes_both_fail_condemns_no_candidate(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await install(sim, counter(1, bad=True), 1, None)
        await sim.node.stage(program(counter(2, bad=True)), {}, "d2", 2, Terms(Standing.ON_TRIAL, TRIAL))
        for _ in range(10):
            await send(sim, *[BAD] * 20)
            assert await sim.node.trials.look()
        assert running(sim, Slot.CANDIDATE) == "2.0.0"
        await sim.stop()

    run(test())


@pytest.mark.parametrize("forgets", [False, True], ids=["kept", "control"])
def test_the_judgement_of_a_candidate_goes_on_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgets: bool
) -> None:
    """The control forgets at each start, and never has enough to condemn."""

    async def test() -> None:
        sim = await beside(tmp_path, counter(2, bad=True))
        for _ in range(10):
            await send(sim, *[BAD, 1, 2, 3])
            assert await sim.node.trials.look()
            await sim.stop()
            sim = await NodeSim.started(tmp_path, clock=sim.clock)
            if forgets and (rule := sim.node.installer.running(candidate("counter"))) is not None:
                rule.evidence.judged = ""
        assert (running(sim, Slot.CANDIDATE) == "") is not forgets
        await sim.stop()

    run(test())


def test_the_active_program_of_another_deployment_is_counted_from_its_beginning(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, counter(2))
        await send(sim, *range(10, 40))
        assert await sim.node.trials.look()
        passed = Terms(Standing.PASSED)
        await sim.want_again(active("counter"), "d9", 9, passed)
        await send(sim, *range(40, 50))
        assert await sim.node.trials.look()
        rule = sim.node.installer.running(candidate("counter"))
        assert rule is not None
        text = rule.evidence.judged
        (check, _) = judging._Memory.of(text, "d2", rule.evidence, 40.0)._tests
        assert check.seen_control.executions == 30 - 30 + 10, "from the first look on, and all of the new deployment"
        await sim.stop()

    run(test())


def test_a_judgement_of_another_version_begins_anew(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, counter(2))
        rule = sim.node.installer.running(candidate("counter"))
        assert rule is not None
        for text in ("{", '{"tests": [], "seen": []}', '{"tests": ["{}", "{}"], "seen": [[1], [2]]}', "[]"):
            rule.evidence.judged = text
            assert await sim.node.trials.look() and '"tests"' in rule.evidence.judged
        await sim.stop()

    run(test())


class Killed(Exception):  # noqa: N818 - what ends the process
    pass


def dying(commit: Callable[[Batch], Committed], left: int, written: bool) -> Callable[[Batch], Committed]:
    """A store whose process dies with commit number `left`."""

    def commit_or_die(batch: Batch) -> Committed:
        nonlocal left
        left -= 1
        if left >= 0:
            return commit(batch)
        if written:
            commit(batch)
        raise Killed

    return commit_or_die


@pytest.mark.parametrize("written", [False, True])
def test_wherever_the_node_is_killed_it_ends_at_the_last_known_good(tmp_path: Path, written: bool) -> None:
    """The process dies before or after each of its commits, and starts again until it comes to rest."""

    async def test() -> None:
        sim = await on_trial(tmp_path)
        await send(sim, *[BAD] * 20)
        await sim.advance(5 * S)
        for step in range(4):
            sim.store.commit = dying(sim.store.commit, step, written)  # type: ignore[method-assign]
            try:
                await sim.node.trials.look()
                await send(sim, 1)
                await sim.advance(5 * S)
            except Killed:
                pass
            path, clock = sim.config.data_dir, sim.clock
            sim.crash()
            sim = await NodeSim.started(path, clock=clock)
            assert (running(sim), back(sim) is not None) == ("1.0.0", True)
            assert (await install(sim, counter(2, bad=True), 2)).code == "rejected"
        assert len([one for one in sim.bodies(SlotBody) if one.change == SlotChange.ROLLED_BACK]) == 1
        assert memory(sim) in range(3, 8), "what the good program had, and what came since"
        await sim.stop()

    run(test())


def test_a_disk_that_refuses_is_tried_again(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path)
        await send(sim, *[BAD] * 20)
        commit = sim.store.commit

        def refuse(batch: Batch) -> Committed:
            raise StorageError("the disk failed", cause="in the test", next_step="", full=False)

        sim.store.commit = refuse  # type: ignore[method-assign]
        assert not await sim.node.trials.look() and running(sim) == "2.0.0"
        sim.store.commit = commit  # type: ignore[method-assign]
        await sim.advance(20 * S)
        assert await sim.node.trials.look() and running(sim) == "1.0.0"
        await sim.stop()

    run(test())


def test_a_manifest_that_came_meanwhile_is_not_undone(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await on_trial(tmp_path)
        await send(sim, *[BAD] * 20)
        row = sim.node.installer.table.row(active("counter"))
        assert row is not None
        await install(sim, counter(3), 3)
        result = await sim.node.installer.take_back(row, "too late")
        assert result.outcome is InstallOutcome.UNCHANGED and running(sim) == "3.0.0"
        await sim.stop()

    run(test())


def test_it_looks_once_a_second_under_load_and_never_while_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    async def test() -> None:
        sim = await on_trial(tmp_path, bad=False)
        look = sim.node.trials.look

        async def counted() -> bool:
            looks.append(sim.clock.now_us())
            return await look()

        monkeypatch.setattr(sim.node.trials, "look", counted)
        watching = asyncio.ensure_future(sim.node.trials.run())
        for number in range(100, 200):
            await send(sim, number)
            await sim.advance(S // 10)
        assert 9 <= len(looks) <= 11
        await sim.advance(10 * S)
        before = len(looks)
        await sim.advance(3600 * S)
        assert len(looks) == before and sim.clock.next_us() is None, "nothing wakes an idle node"
        await send(sim, 1)
        await sim.advance(round(LOOK_S * S))
        assert len(looks) == before + 1
        watching.cancel()
        await sim.stop()

    run(test())


def test_control_nobody_looks_where_no_program_is_on_trial(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await install(sim, counter(1), 1, None)
        await send(sim, 1, 2)
        assert not sim.node.trials._stirred.is_set()
        await install(sim, counter(2), 2)
        await send(sim, 3)
        assert sim.node.trials._stirred.is_set()
        await sim.stop()

    run(test())


def test_control_a_node_that_does_not_look_keeps_a_bad_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def blind(self: trials.Trials) -> bool:
        return True

    monkeypatch.setattr(trials.Trials, "look", blind)

    async def test() -> None:
        sim = await on_trial(tmp_path)
        for _ in range(6):
            sim = await reopened(sim)
        assert running(sim) == "2.0.0"
        await sim.stop()

    run(test())
