"""The Rust SVM agrees with the interpreter on random programs and random mutants: to the bit, and on every refusal.

`EYEFLOW_FUZZ=full` runs many times as many. Needs cargo, as the firmware does.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from components.rust import rust_example
from eyeflow.svm.container import ProgramError, encode
from eyeflow.svm.timers import initial_state
from generators.programs import random_program
from generators.scripted import changed_code, mutated, run_steps, stage_of, written

ROOT = Path(__file__).resolve().parents[3]
FULL = os.environ.get("EYEFLOW_FUZZ") == "full"
PROGRAMS = 20_000 if FULL else 1_000
MUTANTS = 400_000 if FULL else 12_000
BASES = 60
SEED = 20261124


@pytest.fixture(scope="module")
def runner() -> Path:
    """Return the built host runner of the Rust SVM."""
    return rust_example("eyeflow-svm", "runner")


def rust_results(runner: Path, cases: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the Rust SVM makes of the cases."""
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([str(runner)], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_random_programs_agree_to_the_bit(runner: Path) -> None:
    rng = random.Random(SEED)
    programs = [random_program(rng) for _ in range(PROGRAMS)]
    runs = [run_steps(rng, program) for program in programs]
    outcomes: Counter[str] = Counter()
    results = rust_results(runner, (case for case, _ in runs))
    assert len(results) == PROGRAMS
    for program, (case, expected), result in zip(programs, runs, results, strict=True):
        assert result["stage"] == "accepted", (result, case)
        assert result["initial"] == written(initial_state(program))
        assert result["steps"] == expected, case
        outcomes.update(step["outcome"] for step in expected)
    assert set(outcomes) == {"ok", "skipped", "trapped"}
    assert min(outcomes.values()) > PROGRAMS // 50, outcomes


def test_programs_with_changed_code_agree_to_the_bit(runner: Path) -> None:
    """Code that no compiler writes: it verifies, and touches slots, texts and windows in unusual orders."""
    rng = random.Random(SEED + 3)
    runs = []
    for _ in range(2 * PROGRAMS):
        try:
            runs.append(run_steps(rng, changed_code(rng, random_program(rng))))
        except ProgramError:
            continue
    assert len(runs) > PROGRAMS // 10
    for (case, expected), result in zip(runs, rust_results(runner, (case for case, _ in runs)), strict=True):
        assert result["stage"] == "accepted", (result, case)
        assert result["steps"] == expected, case


def test_random_programs_find_a_difference(runner: Path) -> None:
    """A control: Rust gets other times of events, and the results differ somewhere."""
    rng = random.Random(SEED + 1)
    runs = [run_steps(rng, random_program(rng)) for _ in range(40)]
    for case, _ in runs:
        for step in case["steps"]:
            step["time_us"] += 1
    results = rust_results(runner, (case for case, _ in runs))
    assert any(result["steps"] != expected for result, (_, expected) in zip(results, runs, strict=True))


def test_mutants_are_refused_alike(runner: Path) -> None:
    rng = random.Random(SEED + 2)
    programs = sorted((random_program(rng) for _ in range(4 * BASES)), key=lambda program: len(program.code))
    bases = [encode(program) for program in programs[:BASES]]
    mutants = [mutated(rng, rng.choice(bases)) for _ in range(MUTANTS)]
    results = rust_results(runner, ({"program": mutant.hex()} for mutant in mutants))
    stages: Counter[str] = Counter()
    for mutant, result in zip(mutants, results, strict=True):
        stage = stage_of(mutant)
        assert result["stage"] == stage, (result, mutant.hex())
        stages[stage] += 1
    assert min(stages[stage] for stage in ("decode", "verify", "accepted")) > MUTANTS // 100, stages
