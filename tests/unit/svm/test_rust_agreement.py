"""The Rust SVM agrees with the interpreter on random programs and random mutants: to the bit, and on every refusal.

`EYEFLOW_FUZZ=full` runs many times as many. Needs cargo, as the firmware does.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.rust import rust_example
from eyeflow.svm.container import ProgramError, decode, encode
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.numbers import INT_MAX, INT_MIN
from eyeflow.svm.opcodes import OPS
from eyeflow.svm.program import Instruction, Program, Value
from eyeflow.svm.timers import initial_state
from eyeflow.svm.verify import compute_limits, verify
from generators.programs import SeededHost, Step, random_params, random_program, random_state, random_steps

ROOT = Path(__file__).resolve().parents[3]
CONFORMANCE = ROOT / "tests/conformance"
if str(CONFORMANCE) not in sys.path:
    sys.path.insert(0, str(CONFORMANCE))

from assembler import write_value  # noqa: E402
from build import found  # noqa: E402

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


class RecordingHost:
    """Answers as `SeededHost` and keeps the answers as the corpus writes them; null is a failure."""

    def __init__(self, program: Program, seed: int) -> None:
        self._host = SeededHost(program, seed)
        self.answers: list[str | None] = []

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        try:
            value = self._host.read(site, args)
        except CapabilityFailure:
            self.answers.append(None)
            raise
        fits = not isinstance(value, int) or INT_MIN <= value <= INT_MAX
        self.answers.append(write_value(value) if fits else None)
        return value


def written(values: Iterable[Value]) -> list[str]:
    return [write_value(value) for value in values]


def run_steps(rng: random.Random, program: Program) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a case of a random program and what the interpreter gives for each of its steps."""
    machine = Interpreter(verify(program))
    state, params = random_state(rng, program), random_params(rng, program)
    case: dict[str, Any] = {"program": encode(program).hex(), "params": written(params), "start": written(state)}
    steps, expected = [], []
    for step in random_steps(rng, program):
        host = RecordingHost(program, step.host_seed)
        execution = machine.run(step.trigger, step.time_us, step.utc_offset_us, params, step.inputs, state, host)
        steps.append(_written_step(step, host.answers))
        asked = [[answer.site, written(answer.args)] for answer in execution.answers]
        expected.append({**found(execution, state), "asked": asked})
    return {**case, "steps": steps}, expected


def _written_step(step: Step, answers: list[str | None]) -> dict[str, Any]:
    return {
        "trigger": step.trigger,
        "time_us": step.time_us,
        "utc_offset_us": step.utc_offset_us,
        "inputs": written(step.inputs),
        "answers": answers,
    }


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


def changed_code(rng: random.Random, program: Program) -> Program:
    """Change one to three instructions, with the limits of the new code; raises ProgramError where that proves nothing."""
    code = list(program.code)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(code))
        word = code[at]
        code[at] = rng.choice((
            Instruction(rng.choice(list(OPS)), word.a, word.b),
            Instruction(word.opcode, word.a, (word.b + rng.choice((-2, -1, 1, 2))) & 0xFFFF),
            Instruction(word.opcode, rng.randrange(4), word.b),
            code[rng.randrange(len(code))],
        ))  # fmt: skip
    changed = replace(program, code=tuple(code))
    return replace(changed, limits=compute_limits(changed))


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


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Flip a bit, set a byte or a word, cut, drop, repeat or insert a piece."""
    at = rng.randrange(len(data))
    size = rng.choice((1, 1, 2, 4, 8))
    piece = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return rng.choice((
        data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
        data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
        data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        data[:at] + bytes([(data[at] + rng.choice((-1, 1))) & 255]) + data[at + 1 :],
        data[:at] + piece + data[at + size :],
        data[:at],
        data[:at] + data[at + size :],
        data[:at] + data[at : at + size] + data[at:],
    ))  # fmt: skip


def stage_of(data: bytes) -> str:
    """Return where Python refuses these bytes, or `accepted`."""
    try:
        program = decode(data).program
    except ProgramError:
        return "decode"
    try:
        verify(program)
    except ProgramError:
        return "verify"
    return "accepted"


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
