"""Coordinator or node is ended at each step of each strategy, and bad candidates are taken back by all of them."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from eyeflow.node.engine.slot_table import SlotTable
from simulation import steps, story
from simulation.programs import ACTS, BAD
from simulation.records import BrokenPromise
from simulation.steps import GOOD, STRATEGIES, VICTIMS, Rollout
from simulation.story import NODES

EVERY = int(os.environ.get("EYEFLOW_CRASHES") or 0)
"""`make crashes` tries each step, or each so-many-th; `make test` one of each strategy and victim."""
OFFSET = int(os.environ.get("EYEFLOW_CRASHES_OFFSET") or 0)
"""With each so-many-th step: which of them. All offsets below `EVERY` together try each step once."""


@cache
def steps_of(strategy: str) -> dict[str, int]:
    """Return how many steps each host takes in a deployment in which nothing happens."""
    with TemporaryDirectory() as directory:
        rollout = told(Path(directory), strategy)
    return rollout.steps


def told(directory: Path, strategy: str, *how: object, **more: object) -> Rollout:
    """Run a deployment; what breaks is told with what happened."""
    directory.mkdir(exist_ok=True)
    rollout = Rollout(directory, strategy, *how, **more)  # type: ignore[arg-type]
    try:
        rollout.run()
    except BrokenPromise as broken:
        lines = "\n".join(rollout.cluster.trace.lines)
        pytest.fail(f"{rollout.told}: {broken}\n{lines}")
    return rollout


def chosen(count: int, shift: int) -> list[int]:
    """Return the steps to try: all, each so-many-th, or one, which is another one for each `shift`."""
    return list(range((shift + OFFSET) % EVERY, count, EVERY)) if EVERY else [shift * 97 % count]


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_whatever_dies_at_a_step_the_end_is_consistent(tmp_path: Path, strategy: str, victim: str) -> None:
    count = steps_of(strategy)[victim]
    assert count > 20, "a deployment has many steps"
    happened: Counter[str] = Counter()
    tried = chosen(count, 1 + STRATEGIES.index(strategy) + 5 * VICTIMS.index(victim))
    for step in tried:
        rollout = told(tmp_path / str(step), strategy, GOOD, victim, step, bool(step % 2))
        happened += rollout.counts()
    print(f"{strategy}, {victim}: {count} steps, {len(tried)} tried: {dict(happened)}")
    assert happened["crashed"] >= 0.9 * len(tried), happened


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
    """Such a message is sent again at each start, unless it is given up with its program."""
    monkeypatch.setattr(SlotTable, "fatal", {})
    for module, name in ((steps, "OVER_S_MAX"), (story, "REST_S_MAX")):
        monkeypatch.setattr(module, name, 60.0)
    with pytest.raises(BrokenPromise):
        Rollout(tmp_path, "rolling", "kills").run()
