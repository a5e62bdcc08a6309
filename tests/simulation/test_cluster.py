"""The whole cluster from seeds: what docs/ARCHITECTURE.md promises holds, and each fault put into the code is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from simulation.mutants import QUICK, SLOW, Mutant, check_found
from simulation.records import BrokenPromise
from simulation.story import Story

SEEDS = (*range(100, 108), 50097, 50107, 50147)
"""`make sim` goes on with others. The last three once broke promises that asked too much."""
SEEDS_MAX = 200
"""Within so many seeds every fault must be found."""
FOUND_BY = {
    "rolls_back_without_sent_nodes": 41,
    "acts_before_the_commit": 16,
    "acknowledges_before_the_commit": 34,
    "does_not_sync": 8,
    "forgets_the_last_known_good": 2,
    "fires_physical_actions_again": 27,
    "removes_nothing": 3,
    "passes_whatever_was_seen": 11,
    "leaves_candidates_behind": 7,
    "takes_what_is_pending_for_good": 50059,
    "starts_with_a_whole_store_only": 5,
    "stays_on_what_failed_without_a_way_back": 50052,
}
"""The seed that found a fault last: the search begins with it, and goes on with all others."""
MUTANTS = QUICK + SLOW if os.environ.get("EYEFLOW_FUZZ") == "full" else QUICK
ROOT = Path(__file__).resolve().parents[2]


def test_what_is_promised_holds(tmp_path: Path) -> None:
    """Every run ends well, and in all of them together what matters has happened often enough."""
    happened: Counter[str] = Counter()
    for seed in SEEDS:
        story = Story(seed, tmp_path / str(seed))
        (tmp_path / str(seed)).mkdir()
        try:
            story.run()
        except BrokenPromise as broken:
            lines = "\n".join(story.cluster.trace.lines)
            pytest.fail(f"seed {seed}: {broken}\n{lines}\nmake sim SEED={seed} N=1 runs it again")
        happened += story.counts()
    wanted = {"deployments": 20, "succeeded": 8, "failed": 3, "acknowledged": 100, "published": 100, "fired": 50}
    wanted |= {
        "copied records": 200,
        "starts": 40,
        "deaths": 30,
        "crash_node": 5,
        "crash_coordinator": 5,
        "fail_disk": 3,
    }
    wanted |= {"bad condemned": 4, "good succeeded": 1, "bad_deployment": 8}
    assert all(happened[what] >= least for what, least in wanted.items()), happened


def run_process(seed: int, hash_seed: str) -> str:
    """Run a seed in a process of its own; return its line."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "simulation", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, cwd=ROOT)
    return done.stdout.splitlines()[-1]


def test_a_seed_gives_the_same_run_in_every_process() -> None:
    """Also where the hashes of texts, and so the order of sets of them, are others."""
    first, again, other = run_process(101, "1"), run_process(101, "2"), run_process(102, "1")
    assert first == again
    trace = re.compile(r"trace [0-9a-f]{16}")
    assert trace.findall(first) and trace.findall(first) != trace.findall(other)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_control_a_fault_in_the_code_is_found(mutant: Mutant, tmp_path: Path) -> None:
    """What is found with the fault must not be there without it: then it was not the fault that was found."""
    check_found(mutant, SEEDS_MAX, FOUND_BY.get(mutant.__name__, 1), broken_by, tmp_path)


def broken_by(seed: int, directory: Path) -> str:
    """Run a seed; return the promise that was broken, empty when all held."""
    directory.mkdir()
    story, broken = Story(seed, directory), ""
    try:
        story.run()
    except BrokenPromise as error:
        broken = str(error)
    told = [*story.cluster.loop.faults, *story.cluster.log.trace_backs, *story.cluster.trace.lines]
    ill = [one for one in told if "TypeError" in one or "AttributeError" in one or "positional argument" in one]
    assert not ill, f"the fault does not fit the code any more: {ill[0]}"
    return broken
