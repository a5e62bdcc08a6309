"""The fuel of an instruction, as the fast path adds it up beforehand."""

from __future__ import annotations

from eyeflow.svm.opcodes import OPS
from eyeflow.svm.program import Instruction, Program


def fuel_of(program: Program, instruction: Instruction) -> int:
    """Return what one instruction costs."""
    info = OPS[instruction.opcode]
    match info.cost_plus:
        case "b":
            return info.cost + instruction.b
        case "cap":
            return info.cost + program.timers[instruction.b].capacity
        case "site":
            return info.cost + program.sites[instruction.b].cost
    return info.cost
