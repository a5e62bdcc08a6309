"""From a program back to the lines of its rule."""

from __future__ import annotations

from bisect import bisect_right

from eyeflow.svm.opcodes import Op
from eyeflow.svm.program import Program, SourcePosition

SITE_OPS = frozenset({Op.LOAD_RESOURCE, Op.CALL_ACTION, Op.LLM_CALL, Op.EMIT_EVENT})


def position_of(program: Program, pc: int) -> SourcePosition | None:
    """Return where instruction `pc` stems from, or None when the program carries no source map for it."""
    index = bisect_right(program.source_map, pc, key=lambda position: position.pc)
    return program.source_map[index - 1] if index else None


def line_of(program: Program, pc: int) -> int:
    """Return the line of instruction `pc`, counted from 1; 0 when it is not known."""
    position = position_of(program, pc)
    return position.line if position else 0


def site_lines(program: Program) -> tuple[int, ...]:
    """Return for each site the line of its (first) use; 0 when it is not known or never used."""
    lines = [0] * len(program.sites)
    for pc, word in enumerate(program.code):
        if word.opcode in SITE_OPS and not lines[word.b]:
            lines[word.b] = line_of(program, pc)
    return tuple(lines)
