"""Counting what an execution can cost at most: docs/svm.md, Verification."""

from __future__ import annotations

from eyeflow.base.record import dataclass
from eyeflow.svm import program as p
from eyeflow.svm.effects import Scope
from eyeflow.svm.numbers import TEXT_D_BYTES_MAX, TEXT_F_BYTES_MAX, TEXT_I_BYTES_MAX
from eyeflow.svm.opcodes import Op, OpInfo

_TEXT_BYTES = {Op.TEXT_I: TEXT_I_BYTES_MAX, Op.TEXT_F: TEXT_F_BYTES_MAX, Op.TEXT_D: TEXT_D_BYTES_MAX}
_WORLD = {Op.CALL_ACTION: "actions", Op.EMIT_EVENT: "emits", Op.LOAD_RESOURCE: "reads", Op.LLM_CALL: "llm"}


@dataclass(slots=True)
class Tally:
    """What the instructions of a block can cost together."""

    fuel: int = 0
    actions: int = 0
    emits: int = 0
    reads: int = 0
    llm: int = 0
    scratch_bytes: int = 0

    def add(self, scope: Scope, word: p.Instruction, info: OpInfo) -> None:
        """Count one instruction. Its operands may still be wrong: the pass refuses it right after."""
        self.fuel += fuel_of(scope.program, word, info)
        if word.opcode in _TEXT_BYTES:
            self.scratch_bytes += _TEXT_BYTES[Op(word.opcode)]
        elif word.opcode == Op.CONCAT:
            self.scratch_bytes += word.b
        elif word.opcode in _WORLD:
            name = _WORLD[Op(word.opcode)]
            setattr(self, name, getattr(self, name) + 1)
            result = scope.program.sites[word.b].result if word.b < len(scope.program.sites) else None
            self.scratch_bytes += result.size if result and result.tag is p.TypeTag.TEXT else 0

    def merge(self, other: Tally) -> None:
        """Count all of a block that was closed."""
        self.fuel += other.fuel
        self.actions += other.actions
        self.emits += other.emits
        self.reads += other.reads
        self.llm += other.llm
        self.scratch_bytes += other.scratch_bytes

    def larger(self, other: Tally) -> Tally:
        """Return the larger of each count: of two arms."""
        return Tally(
            max(self.fuel, other.fuel),
            max(self.actions, other.actions),
            max(self.emits, other.emits),
            max(self.reads, other.reads),
            max(self.llm, other.llm),
            max(self.scratch_bytes, other.scratch_bytes),
        )

    def times(self, bound: int) -> Tally:
        """Return each count times a loop's bound."""
        return Tally(
            bound * self.fuel,
            bound * self.actions,
            bound * self.emits,
            bound * self.reads,
            bound * self.llm,
            bound * self.scratch_bytes,
        )


def fuel_of(program: p.Program, word: p.Instruction, info: OpInfo) -> int:
    """Return the fuel of one instruction; an operand out of range adds nothing."""
    if info.cost_plus == "b":
        return info.cost + word.b
    if info.cost_plus == "cap" and word.b < len(program.timers):
        return info.cost + program.timers[word.b].capacity
    if info.cost_plus == "site" and word.b < len(program.sites):
        return info.cost + program.sites[word.b].cost
    return info.cost
