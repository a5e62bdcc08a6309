"""The way that an execution took through its rule: each branch with its line, and what was compared for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eyeflow.base.duration import format_duration
from eyeflow.svm.opcodes import TIMERS, Op
from eyeflow.svm.program import Program
from eyeflow.svm.source_map import position_of

STEPS_MAX = 200
"""Branches that are told; a loop can have many more."""
COMPARED_MAX = 8
"""Comparisons that are told of one branch."""

SIGNS = {
    Op.EQ_I: "==", Op.LT_I: "<", Op.LE_I: "<=", Op.GT_I: ">", Op.GE_I: ">=",
    Op.EQ_F: "==", Op.LT_F: "<", Op.LE_F: "<=", Op.GT_F: ">", Op.GE_F: ">=",
    Op.EQ_B: "==", Op.EQ_T: "==", Op.CONTAINS: "contains", Op.STARTS_WITH: "starts with",
}  # fmt: skip
TIME_WORDS = {"HOLD": "for", "COOLDOWN": "cooldown", "RISES": "rises", "FALLS": "falls"}


class Path:
    """What an `Interpreter(verified, trace=path.trace, watch=path.watch)` reports of one execution."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._compared: list[str] = []
        self.steps: list[dict[str, Any]] = []
        self.left_out = 0

    def watch(self, pc: int, operands: Sequence[Any], result: Any) -> None:
        """An operator or a time word gave a result."""
        word = self._program.code[pc]
        text = ""
        if word.opcode in SIGNS:
            text = f"{_value(operands[0])} {SIGNS[Op(word.opcode)]} {_value(operands[1])}"
        elif word.opcode == Op.EVAL:
            text = _time_word(TIMERS[self._program.timers[word.b].kind].name, operands)
        if text and len(self._compared) < COMPARED_MAX:
            self._compared.append(f"{text} is {_value(result)}")

    def trace(self, pc: int, taken: bool) -> None:
        """A branch was reached, and its condition was true or not."""
        compared, self._compared = self._compared, []
        if len(self.steps) == STEPS_MAX:
            self.left_out += 1
            return
        position = position_of(self._program, pc)
        line, column = (position.line, position.column) if position else (0, 0)
        self.steps.append({"line": line, "column": column, "taken": bool(taken), "compared": compared})


def _time_word(name: str, operands: Sequence[Any]) -> str:
    if len(operands) < 2:
        return f"{TIME_WORDS.get(name, name.lower())} {_value(operands[0])}"
    span = format_duration(int(operands[1]))
    if name in TIME_WORDS:
        return f"{_value(operands[0])} {TIME_WORDS[name]} {span}"
    return f"{name.lower()} over {span}, with {_value(operands[0])} now,"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
