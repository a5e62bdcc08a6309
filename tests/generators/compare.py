"""Executions and values in a form that `==` compares to the bit: -0.0 is not 0.0, NaN is NaN, True is not 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eyeflow.svm.execution import Execution
from eyeflow.svm.numbers import float_bits
from eyeflow.svm.program import Value


def exact(value: Value | None) -> tuple[str, Any]:
    return type(value).__name__, float_bits(value) if isinstance(value, float) else value


def exact_all(values: Iterable[Value]) -> list[tuple[str, Any]]:
    return [exact(value) for value in values]


def exact_execution(execution: Execution) -> dict[str, Any]:
    trap = execution.trap
    return {
        "outcome": int(execution.outcome),
        "fuel": execution.fuel,
        "actions": [(action.site, exact_all(action.args)) for action in execution.actions],
        "answers": [(answer.site, exact_all(answer.args), exact(answer.value)) for answer in execution.answers],
        "trap": None if trap is None else (int(trap.code), trap.pc),
    }
