"""Runs the conformance corpus, as stored, on every SVM in Python; and holds the corpus to what it promises to cover."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import build  # noqa: E402
from assembler import read_value  # noqa: E402

from eyeflow.svm.container import ProgramError, decode  # noqa: E402
from eyeflow.svm.execution import Machine  # noqa: E402
from eyeflow.svm.fast import FastMachine  # noqa: E402
from eyeflow.svm.interpreter import Interpreter  # noqa: E402
from eyeflow.svm.opcodes import OPS, Op, TimerKind, Trap  # noqa: E402
from eyeflow.svm.timers import initial_state  # noqa: E402
from eyeflow.svm.verify import Verified, verify  # noqa: E402

CASES_MIN = 250
MACHINES: dict[str, Callable[[Verified], Machine]] = {"interpreter": Interpreter, "fast": FastMachine}
GROUPS = sorted(build.GROUPS)


def stored(group: str) -> list[dict[str, Any]]:
    return list(json.loads((HERE / "cases" / f"{group}.json").read_text(encoding="utf-8")))


def run_case(case: dict[str, Any], make: Callable[[Verified], Machine]) -> list[str]:
    """Return what differs from the case, as text."""
    verified = verify(decode(bytes.fromhex(case["program"])).program)
    machine = make(verified)
    params = [read_value(value) for value in case["params"]]
    state = [read_value(value) for value in case["start"]]
    wrong = []
    for number, step in enumerate(case["steps"]):
        host = build.ScriptedHost([None if value is None else read_value(value) for value in step["answers"]])
        inputs = [read_value(value) for value in step["inputs"]]
        execution = machine.run(step["trigger"], step["time_us"], step["utc_offset_us"], params, inputs, state, host)
        found = build.found(execution, state)
        if found != step["expect"]:
            wrong.append(f"{case['name']}, step {number}: expected {step['expect']}, found {found}")
    return wrong


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("group", GROUPS)
def test_machine_agrees_with_the_corpus(group: str, machine: str) -> None:
    wrong = [text for case in stored(group) for text in run_case(case, MACHINES[machine])]
    assert not wrong, "\n".join(wrong)


def test_a_wrong_expectation_is_found() -> None:
    """A control: the runner can fail."""
    case = stored("numbers")[0]
    case["steps"][0]["expect"]["fuel"] += 1
    assert run_case(case, Interpreter)


def test_stored_files_are_what_the_cases_give() -> None:
    for name, text in build.corpus().items():
        assert (HERE / "cases" / name).read_text(encoding="utf-8") == text, f"{name} is stale: run build.py"


def test_refused_containers_are_refused_at_their_stage_with_their_reason() -> None:
    for entry in stored("refused"):
        stage = "decode"
        try:
            program = decode(bytes.fromhex(entry["bytes"])).program
            stage = "verify"
            verify(program)
            stage = "accepted"
        except ProgramError as error:
            assert entry["reason"] in error.message, f"{entry['name']}: {error.message}"
        assert stage == entry["stage"], entry["name"]


def test_corpus_covers_every_instruction_trap_and_timer() -> None:
    cases = [case for group in GROUPS for case in stored(group)]
    assert len(cases) >= CASES_MIN
    assert len({case["name"] for case in cases}) == len(cases), "two cases have one name"
    programs = [decode(bytes.fromhex(case["program"])).program for case in cases]
    assert {word.opcode for program in programs for word in program.code} == set(OPS)
    evaluated = {program.timers[word.b].kind for program in programs for word in program.code if word.opcode == Op.EVAL}
    assert evaluated == set(TimerKind)
    traps = {step["expect"]["trap"] for case in cases for step in case["steps"]} - {0}
    assert traps == set(Trap) - {Trap.FUEL_EXHAUSTED}, "FUEL_EXHAUSTED is a bug of a machine, and never expected"
    for name, info in ((info.name, info) for info in OPS.values()):
        for trap in info.traps:
            assert any(_traps_at(case, program, name, trap) for case, program in zip(cases, programs, strict=True)), (
                f"no case has {name} trap with {Trap(trap).name}"
            )


def _traps_at(case: dict[str, Any], program: Any, name: str, trap: int) -> bool:
    return any(
        step["expect"]["trap"] == trap and OPS[program.code[step["expect"]["pc"]].opcode].name == name
        for step in case["steps"]
    )


def test_start_state_is_the_initial_one_unless_a_case_needs_another() -> None:
    same = sum(
        build.written_state(initial_state(decode(bytes.fromhex(case["program"])).program)) == case["start"]
        for group in GROUPS
        for case in stored(group)
    )
    assert same >= CASES_MIN


def test_corpus_is_not_updated_in_ci() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "build.py")],
        env={**os.environ, "CI": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "never updated in CI" in done.stderr
