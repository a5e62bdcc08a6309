"""Writes the conformance corpus anew: `python tests/conformance/build.py`. Refused in CI.

The expected results stand in the `*_cases.py` files beside this one. The reference interpreter must agree with every
one of them before a file is written; it adds only what a case leaves out (fuel of straight code is added up from the
table).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import control_cases  # noqa: E402
import number_cases  # noqa: E402
import refused_cases  # noqa: E402
import time_cases  # noqa: E402
import world_cases  # noqa: E402
from assembler import Case, CaseStep, Expected, straight_fuel, write_value  # noqa: E402

from eyeflow.svm.container import encode  # noqa: E402
from eyeflow.svm.execution import CapabilityFailure, Execution, Outcome  # noqa: E402
from eyeflow.svm.interpreter import Interpreter  # noqa: E402
from eyeflow.svm.program import Value  # noqa: E402
from eyeflow.svm.timers import initial_state  # noqa: E402
from eyeflow.svm.verify import verify  # noqa: E402

GROUPS = {
    "numbers": number_cases.cases,
    "time": time_cases.cases,
    "control": control_cases.cases,
    "world": world_cases.cases,
}
OUTCOMES = {Outcome.OK: "ok", Outcome.SKIPPED: "skipped", Outcome.TRAPPED: "trapped"}


class ScriptedHost:
    """Answers reads with the given values in order; None, or no value left, fails the read."""

    def __init__(self, answers: Iterable[Value | None]) -> None:
        self._answers = list(answers)

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        value = self._answers.pop(0) if self._answers else None
        if value is None:
            raise CapabilityFailure("the script says so")
        return value


def corpus() -> dict[str, str]:
    """Return the name and the text of every data file; raises AssertionError where interpreter and case differ."""
    files = {f"{name}.json": lines(written(case) for case in make()) for name, make in GROUPS.items()}
    files["refused.json"] = lines(refused_cases.refused())
    return files


def lines(entries: Iterable[dict[str, Any]]) -> str:
    """Return a JSON array with one entry a line."""
    return "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=True) for entry in entries) + "\n]\n"


def written(case: Case) -> dict[str, Any]:
    """Return a case as data, every step run and compared."""
    machine = Interpreter(verify(case.program))
    state = list(initial_state(case.program) if case.start is None else case.start)
    entry: dict[str, Any] = {"name": case.name, "program": encode(case.program).hex()}
    entry["params"] = [write_value(value) for value in case.params]
    entry["start"] = written_state(state)
    entry["steps"] = [_step(case, machine, state, number, step) for number, step in enumerate(case.steps)]
    return entry


def written_state(state: Iterable[Value]) -> list[str]:
    """Return the values of a state as the corpus writes them."""
    return [write_value(value) for value in state]


def _step(case: Case, machine: Interpreter, state: list[Value], number: int, step: CaseStep) -> dict[str, Any]:
    before = list(state)
    execution = machine.run(
        step.trigger, step.time_us, step.utc_offset_us, case.params, step.inputs, state, ScriptedHost(step.answers)
    )
    expect = _expect(case, step, before, state)
    result = found(execution, state)
    assert result == expect, f"{case.name}, step {number}: expected {expect}, the interpreter gives {result}"
    return {
        "trigger": step.trigger,
        "time_us": step.time_us,
        "utc_offset_us": step.utc_offset_us,
        "inputs": [write_value(value) for value in step.inputs],
        "answers": [None if value is None else write_value(value) for value in step.answers],
        "expect": expect,
    }


def _expect(case: Case, step: CaseStep, before: list[Value], after: list[Value]) -> dict[str, Any]:
    wanted: Expected = step.expected
    trigger = case.program.triggers[step.trigger]
    last = wanted.pc if wanted.outcome == "trapped" or wanted.pc else trigger.end - 1
    fuel = straight_fuel(case.program, step.trigger, last) if wanted.fuel is None else wanted.fuel
    unchanged = before if wanted.outcome != "ok" else after
    state = unchanged if wanted.state is None else list(wanted.state)
    return {
        "outcome": wanted.outcome,
        "trap": int(wanted.trap),
        "pc": wanted.pc if wanted.outcome == "trapped" else 0,
        "fuel": fuel,
        "actions": [[site, [write_value(value) for value in args]] for site, args in wanted.actions],
        "state": [write_value(value) for value in state],
    }


def found(execution: Execution, state: list[Value]) -> dict[str, Any]:
    """Return an execution in the form of `expect`; shared with the test of the corpus."""
    return {
        "outcome": OUTCOMES[execution.outcome],
        "trap": int(execution.trap.code) if execution.trap else 0,
        "pc": execution.trap.pc if execution.trap else 0,
        "fuel": execution.fuel,
        "actions": [[action.site, [write_value(value) for value in action.args]] for action in execution.actions],
        "state": [write_value(value) for value in state],
    }


def main() -> int:
    """Write the corpus."""
    if os.environ.get("CI"):
        print(
            "the corpus is never updated in CI: run this on your machine, read the difference, commit it",
            file=sys.stderr,
        )
        return 1
    for name, text in corpus().items():
        path = HERE / "cases" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {text.count(chr(10)) - 2} entries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
