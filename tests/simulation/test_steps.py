"""Coordinator or node is ended at each step of each strategy, and bad candidates are taken back by all of them."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from eyeflow.node.engine import pending
from eyeflow.node.engine.slot_table import SlotTable
from simulation import steps, story
from simulation.programs import ACTS, BAD
from simulation.records import BrokenPromise
from simulation.steps import GOOD, STRATEGIES, VICTIMS, Rollout
from simulation.story import NODES

EVERY = int(os.environ.get("EYEFLOW_CRASHES") or 0)
"""`make crashes` tries each step that leaves something new, or each so-many-th; `make test` one of each strategy and victim."""
OFFSET = int(os.environ.get("EYEFLOW_CRASHES_OFFSET") or 0)
"""With each so-many-th step: which of them. All offsets below `EVERY` together try each step once."""
PARTS = 8 if EVERY else 1
"""The steps of one deployment go into so many tests, which run beside each other."""


@cache
def steps_of(strategy: str) -> dict[str, int]:
    """Return how many steps each host takes in a deployment in which nothing happens."""
    with TemporaryDirectory() as directory:
        rollout = told(Path(directory), strategy)
    return rollout.steps


@cache
def ends_of(strategy: str, victim: str) -> list[tuple[int, bool]]:
    """Return the steps before which the end of the victim leaves something new, each with whether the power goes."""
    with TemporaryDirectory() as directory:
        return told(Path(directory), strategy, watched=victim).ends


def told(directory: Path, strategy: str, *how: object, **more: object) -> Rollout:
    """Run a deployment; what breaks is told with what happened."""
    directory.mkdir(exist_ok=True)
    rollout = Rollout(directory, strategy, *how, **more)  # type: ignore[arg-type]
    if (fault := fault_of(rollout)) is not None:
        pytest.fail(fault)
    return rollout


def fault_of(rollout: Rollout) -> str | None:
    """Run a deployment; return what breaks, with what happened."""
    try:
        rollout.run()
    except BrokenPromise as broken:
        lines = "\n".join(rollout.cluster.trace.lines)
        return f"{rollout.told}: {broken}\n{lines}"
    return None


def ends(strategy: str, victim: str, part: int) -> list[tuple[int, bool]]:
    """Return the steps to die at, and whether the power goes: some of all that leave something new, or one step."""
    shift = 1 + STRATEGIES.index(strategy) + 5 * VICTIMS.index(victim)
    if not EVERY:
        step = shift * 97 % steps_of(strategy)[victim]
        return [(step, bool(step % 2))]
    return ends_of(strategy, victim)[(shift + OFFSET) % EVERY :: EVERY][part::PARTS]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_dies_at_a_step_the_end_is_consistent(tmp_path: Path, strategy: str, victim: str, part: int) -> None:
    happened: Counter[str] = Counter()
    faults: list[str] = []
    tried = ends(strategy, victim, part)
    for step, power_cut in tried:
        with TemporaryDirectory(dir=tmp_path) as directory:
            rollout = Rollout(Path(directory), strategy, GOOD, victim, step, power_cut)
            faults += filter(None, [fault_of(rollout)])
        happened += rollout.counts()
    print(f"{strategy}, {victim}, part {part}: {len(tried)} ends, {dict(happened)}")
    assert not faults, "\n\n".join(faults)
    assert happened["crashed"] == len(tried), happened


def test_steps_that_leave_nothing_new_are_left_out_and_no_others() -> None:
    """What is left out lies between two writes of one transaction: nobody was sent anything since, either."""
    ends, count = ends_of("immediate", "coordinator"), steps_of("immediate")["coordinator"]
    distinct = {step for step, _ in ends}
    assert min(distinct) == 0 and 10 < len(distinct) < count / 2
    assert {(step, way) for step in distinct for way in (False, True)} > set(ends) > {(0, False)}


CASES = [(bad, strategy) for bad in BAD for strategy in STRATEGIES if strategy != "shadow" or bad not in ACTS]


@pytest.mark.parametrize(("bad", "strategy"), CASES)
def test_a_bad_candidate_is_taken_back(tmp_path: Path, bad: str, strategy: str) -> None:
    happened = told(tmp_path, strategy, bad).counts()
    assert happened["failed by evidence"], happened
    # What is late by a timer shows so slowly that the coordinator sees it as soon as a node does.
    assert bad == "late" or happened["taken back by a node"], happened


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("candidate", [GOOD, "traps"])
def test_a_candidate_without_traffic_pauses_and_never_passes(tmp_path: Path, candidate: str, strategy: str) -> None:
    """Good or bad, nobody knows: it waits for somebody, and ends with its deadline."""
    rollout = told(tmp_path, strategy, candidate, is_idle=True)
    assert rollout.states == ["failed"]
    assert "paused: no executions" in rollout.reasons[0], rollout.reasons


@pytest.mark.parametrize("strategy", ["rolling", "canary"])
def test_a_node_that_is_away_takes_a_bad_candidate_back_by_itself(tmp_path: Path, strategy: str) -> None:
    """Before anybody can tell it to; and once it is back, all agree."""
    rollout = told(tmp_path, strategy, "traps", away=NODES[0])
    assert rollout.went_back and rollout.states == ["failed"], (rollout.states, rollout.reasons)


def test_control_messages_of_a_program_that_crashed_the_node_would_crash_it_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a message is sent again at each start, unless it is given up: with its program, or after so many starts."""
    monkeypatch.setattr(SlotTable, "fatal", {})
    monkeypatch.setattr(pending, "ENDS_MAX", 10**6)
    for module, name in ((steps, "OVER_S_MAX"), (story, "REST_S_MAX")):
        monkeypatch.setattr(module, name, 60.0)
    with pytest.raises(BrokenPromise):
        Rollout(tmp_path, "rolling", "kills").run()
