"""The Rust SVM, compiled for a Cortex-M4F and a Cortex-M0+, agrees with the corpus and the interpreter to the bit.

`EYEFLOW_FUZZ=full` runs many times as many random programs. A first build takes half a minute for each core.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulated.armv6m import StrictCore, foreign
from emulated.cases import MANIFEST, Case, CaseRunner, Result, conformance_image
from emulated.core import BareCore, CoreError, Image, Model
from eyeflow.mcu.board import load_board
from eyeflow.mcu.project import project_files
from eyeflow.svm.container import ProgramError, decode, encode
from eyeflow.svm.opcodes import Op
from eyeflow.svm.timers import initial_state
from generators.programs import random_program
from generators.scripted import changed_code, mutated, run_steps, stage_of, written

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "conformance" / "cases"
GROUPS = ("numbers", "time", "control", "world")

FULL = os.environ.get("EYEFLOW_FUZZ") == "full"
PROGRAMS = 5_000 if FULL else 150
MUTANTS = 50_000 if FULL else 600
STRICT_EVERY = 1 if FULL else 20
SEED = 20261128


@pytest.fixture(scope="module")
def images() -> dict[Model, Image]:
    """The SVM with the runner of cases, compiled for each core."""
    return {model: conformance_image(model) for model in Model}


@pytest.fixture(params=Model, ids=lambda model: str(model.name), scope="module")
def runner(request: pytest.FixtureRequest, images: dict[Model, Image]) -> CaseRunner:
    """Each emulated core in turn."""
    model: Model = request.param
    return CaseRunner(BareCore(model, images[model]))


def corpus() -> list[Case]:
    return [case for group in GROUPS for case in json.loads((CASES / f"{group}.json").read_text("utf-8"))]


def differs(case: Case, result: Result) -> bool:
    """Return whether a case of the corpus gave anything but what it expects."""
    if result["stage"] != "accepted" or len(result["steps"]) != len(case["steps"]):
        return True
    found = [{name: value for name, value in step.items() if name != "asked"} for step in result["steps"]]
    return found != [step["expect"] for step in case["steps"]]


def test_the_corpus_agrees_to_the_bit(runner: CaseRunner) -> None:
    cases = corpus()
    assert len(cases) > 500
    assert [case["name"] for case in cases if differs(case, runner.result(case))] == []


def test_refused_containers_are_refused_at_their_stage(runner: CaseRunner) -> None:
    entries: list[dict[str, Any]] = json.loads((CASES / "refused.json").read_text("utf-8"))
    stages = [runner.result({"program": entry["bytes"]})["stage"] for entry in entries]
    assert stages == [entry["stage"] for entry in entries]


def test_random_programs_agree_to_the_bit(runner: CaseRunner) -> None:
    rng = random.Random(SEED)
    outcomes: Counter[str] = Counter()
    for _ in range(PROGRAMS):
        program = random_program(rng)
        case, expected = run_steps(rng, program)
        result = runner.result(case)
        assert result["stage"] == "accepted", (result, case)
        assert result["initial"] == written(initial_state(program))
        assert result["steps"] == expected, case
        outcomes.update(step["outcome"] for step in expected)
    assert set(outcomes) == {"ok", "skipped", "trapped"}
    assert min(outcomes.values()) > PROGRAMS // 50, outcomes


def test_programs_with_changed_code_agree_to_the_bit(runner: CaseRunner) -> None:
    """Code that no compiler writes: it verifies, and touches slots, texts and windows in unusual orders."""
    rng = random.Random(SEED + 1)
    ran = 0
    for _ in range(2 * PROGRAMS):
        try:
            case, expected = run_steps(rng, changed_code(rng, random_program(rng)))
        except ProgramError:
            continue
        assert runner.result(case)["steps"] == expected, case
        ran += 1
    assert ran > PROGRAMS // 10


def test_mutants_are_refused_alike(runner: CaseRunner) -> None:
    rng = random.Random(SEED + 2)
    bases = [encode(program) for program in sorted((random_program(rng) for _ in range(120)), key=_size)[:40]]
    stages: Counter[str] = Counter()
    for _ in range(MUTANTS):
        mutant = mutated(rng, rng.choice(bases))
        stage = stage_of(mutant)
        assert runner.result({"program": mutant.hex()})["stage"] == stage, mutant.hex()
        stages[stage] += 1
    assert min(stages[stage] for stage in ("decode", "verify", "accepted")) > MUTANTS // 100, stages


def _size(program: Any) -> int:
    return len(program.code)


@pytest.mark.parametrize(("op", "other"), [(Op.ADD_I, Op.SUB_I), (Op.LT_F, Op.LE_F), (Op.AND, Op.OR)])
def test_control_one_instruction_with_another_meaning_is_found(runner: CaseRunner, op: Op, other: Op) -> None:
    """The core gets each program with one opcode for another of the same types and cost: as if its SVM took it so."""
    cases = [case for case in corpus() if _uses(case, op)]
    assert cases
    assert any(differs(case, runner.result(_exchanged(case, op, other))) for case in cases)


def _uses(case: Case, op: Op) -> bool:
    return any(word.opcode == op for word in decode(bytes.fromhex(case["program"])).program.code)


def _exchanged(case: Case, op: Op, other: Op) -> Case:
    program = decode(bytes.fromhex(case["program"])).program
    code = tuple(replace(word, opcode=other) if word.opcode == op else word for word in program.code)
    return {**case, "program": encode(replace(program, code=code)).hex()}


def test_control_another_time_is_found(runner: CaseRunner) -> None:
    rng = random.Random(SEED + 3)
    runs = [run_steps(rng, random_program(rng)) for _ in range(40)]
    for case, _ in runs:
        for step in case["steps"]:
            step["time_us"] += 1
    assert any(runner.result(case)["steps"] != expected for case, expected in runs)


def test_control_a_panic_is_no_result(runner: CaseRunner) -> None:
    case = corpus()[0]
    short = {**case, "params": [*case["params"], "i0"]}
    with pytest.raises(CoreError, match="panic"):
        runner.result(short)


def test_the_m0_plus_needs_nothing_that_it_lacks(images: dict[Model, Image]) -> None:
    """Unicorn would run CBZ and unaligned accesses too."""
    core = StrictCore(images[Model.M0_PLUS])
    runner = CaseRunner(core)
    for case in corpus()[::STRICT_EVERY]:
        assert not differs(case, runner.result(case)), case["name"]
    assert core.refused == set()
    assert len(core.blocks) > 500
    assert core.accesses > 10_000


def test_control_code_of_the_m4_is_nothing_for_the_m0_plus(images: dict[Model, Image]) -> None:
    core = StrictCore(images[Model.M4F])
    with pytest.raises(CoreError, match="Invalid instruction"):
        CaseRunner(core).result(corpus()[0])


@pytest.mark.parametrize(
    ("code", "is_foreign"),
    [
        ("00f002f8", False),  # bl
        ("eff30884", False),  # mrs r4, psp
        ("bff35f8f", False),  # dmb sy
        ("00bf", False),  # nop
        ("08b1", True),  # cbz
        ("08bf", True),  # it eq
        ("4ff0ff30", True),  # mov.w r0, #-1
        ("00f00280", True),  # beq.w
        ("b0fbf1f0", True),  # udiv
    ],
)
def test_foreign_instructions_are_known(code: str, is_foreign: bool) -> None:
    assert bool(foreign(bytes.fromhex(code))) == is_foreign


@pytest.mark.parametrize("board", sorted((ROOT / "examples/boards").glob("*.toml")), ids=lambda path: path.stem)
def test_it_is_compiled_as_boards_are(board: Path) -> None:
    manifest = project_files(load_board(board))["Cargo.toml"]
    firmware = tomllib.loads(manifest)["profile"]["release"]
    emulated = tomllib.loads(MANIFEST.read_text("utf-8"))["profile"]["release"]
    del firmware["package"]  # the check of signatures has a level for each core: `bench/cores.py` takes the same
    assert emulated == firmware


def test_the_crate_is_free_of_lints() -> None:
    command = ["cargo", "clippy", "--quiet", "--locked", "--bins", "--", "-D", "warnings"]
    done = subprocess.run(command, cwd=MANIFEST.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
