"""The proof that a program is safe: one linear pass over its code with typed stack states (docs/svm.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from eyeflow.base.record import dataclass
from eyeflow.svm import program as p
from eyeflow.svm.effects import EFFECTS, Scope, simple_effect
from eyeflow.svm.failure import ProgramError
from eyeflow.svm.layout import state_base
from eyeflow.svm.opcodes import OPS, Op
from eyeflow.svm.structure import check_structure
from eyeflow.svm.tally import Tally

__all__ = ["Branch", "Verified", "compute_limits", "verify"]

STACK_MAX = {p.Profile.LINUX: 64, p.Profile.MCU: 32}
"""Entries of the operand stack. A microcontroller verifies too, and each block it may follow takes 50 bytes of it."""
BLOCKS_MAX = {p.Profile.LINUX: 64, p.Profile.MCU: 32}
LOOPS_MAX = 8
U16_MAX = 2**16 - 1
U32_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Branch:
    """A BRANCH: where its else arm starts (None: it has none; its then arm ends with a JUMP) and where it ends."""

    otherwise: int | None
    end: int


@dataclass(frozen=True, slots=True)
class Verified:
    """A program that was proven safe, with the structure that the proof found.

    `branches` maps the index of each BRANCH to its shape, `loops` the index of each LOOP to that of its END_LOOP,
    `depths[pc]` is the depth of the stack before instruction pc, `handler_fuel` the proven fuel of each handler.
    """

    program: p.Program
    branches: Mapping[int, Branch]
    loops: Mapping[int, int]
    depths: bytes
    handler_fuel: tuple[int, ...]


def verify(program: p.Program) -> Verified:
    """Return the program, proven; raises ProgramError that names the instruction and why it cannot be proven."""
    proof = _prove(program)
    computed = proof.limits()
    for name in p.Limits.__dataclass_fields__:
        declared, proven = getattr(program.limits, name), getattr(computed, name)
        if declared != proven:
            raise ProgramError(f"{name} is declared as {declared} and proven as {proven}", place="limits")
    return Verified(
        program,
        MappingProxyType(proof.branches),
        MappingProxyType(proof.loops),
        bytes(proof.depths),
        tuple(tally.fuel for tally in proof.handlers),
    )


def compute_limits(program: p.Program) -> p.Limits:
    """Return the limits that this program must declare; raises ProgramError like `verify`."""
    return _prove(program).limits()


def _prove(program: p.Program) -> _Proof:
    check_structure(program)
    proof = _Proof(program)
    for index in range(len(program.triggers)):
        _Pass(proof, index).run()
    return proof


class _Proof:
    """What the passes over all handlers find."""

    def __init__(self, program: p.Program) -> None:
        self.program = program
        self.branches: dict[int, Branch] = {}
        self.loops: dict[int, int] = {}
        self.depths = bytearray(len(program.code))
        self.handlers: list[Tally] = []
        self.stack_max = self.blocks_max = self.loops_max = 0

    def limits(self) -> p.Limits:
        """Return the limits; raises ProgramError when one does not fit its field."""
        worst = Tally()
        for tally in self.handlers:
            worst = worst.larger(tally)
        if worst.fuel > U32_MAX or worst.scratch_bytes > U32_MAX:
            raise ProgramError(f"an execution can take {worst.fuel} fuel, allowed are {U32_MAX}", place="limits")
        if max(worst.actions, worst.emits, worst.reads, worst.llm) > U16_MAX:
            raise ProgramError(f"an execution can ask for more than {U16_MAX} actions or reads", place="limits")
        base = state_base(self.program)
        state = self.program.slots[base : base + self.program.regions.state]
        text_bytes = sum(2 + slot.size_bytes_max for slot in state if slot.type is p.ValueType.TEXT)
        return p.Limits(
            worst.fuel, self.stack_max, self.blocks_max, self.loops_max,
            worst.actions, worst.emits, worst.reads, worst.llm, 8 * len(state) + text_bytes, worst.scratch_bytes,
        )  # fmt: skip


class _Frame:
    """An open block: the handler itself, an arm of a BRANCH, or the body of a LOOP."""

    __slots__ = ("base", "bound", "end", "first", "first_tally", "loop", "pc", "tally")

    def __init__(self, pc: int, end: int, base: int, bound: int = 0) -> None:
        self.pc = pc
        self.end = end
        """The instruction at which this block is over; of a loop: at which it must have been closed."""
        self.base = base
        self.bound = bound
        self.loop = bound > 0
        self.tally = Tally()
        self.first: list[p.ValueType] | None = None
        """What the first arm left on the stack, once the else arm is open."""
        self.first_tally = Tally()


class _Pass:
    """The linear pass over one handler."""

    def __init__(self, proof: _Proof, trigger: int) -> None:
        self._proof = proof
        self._code = proof.program.code
        self._trigger = proof.program.triggers[trigger]
        self._scope = Scope(proof.program, trigger)
        self._stack: list[p.ValueType] = []
        self._frames = [_Frame(self._trigger.entry - 1, self._trigger.end - 1, 0)]
        self._loops = 0
        self._pc = 0

    def run(self) -> None:
        """Prove the handler and add its tally to the proof."""
        for pc in range(self._trigger.entry, self._trigger.end):
            self._pc = pc
            self._close_finished()
            self._proof.depths[self._pc] = len(self._stack)
            self._step(self._code[self._pc])
        self._proof.handlers.append(self._frames[0].tally)

    def _fail(self, reason: str) -> ProgramError:
        info = OPS.get(self._code[self._pc].opcode)
        return ProgramError(reason, place=f"instruction {self._pc} ({info.name if info else 'unknown'})")

    def _step(self, word: p.Instruction) -> None:
        info = OPS.get(word.opcode)
        if info is None:
            raise self._fail(f"opcode 0x{word.opcode:02X} is not known")
        # Else the same program would have several encodings, and each of them another id.
        if (word.a and not info.a) or (word.b and not info.b):
            raise self._fail("an operand that this instruction does not have is not zero")
        control = _CONTROL.get(word.opcode)
        if (word.opcode == Op.RETURN) != (self._pc == self._trigger.end - 1):
            raise self._fail("RETURN is the last instruction of a handler, and nowhere else")
        self._frames[-1].tally.add(self._scope, word, info)
        if control is not None:
            control(self, word)
        else:
            self._apply(word)

    def _apply(self, word: p.Instruction) -> None:
        """Pop and push what an instruction without control flow does."""
        effect = EFFECTS.get(word.opcode)
        if effect is None:
            fault, pops, pushes = simple_effect(word.opcode, self._stack)
        else:
            fault, pops, pushes = effect(self._scope, word)
        if fault:
            raise self._fail(fault)
        self._pop(pops)
        self._push(pushes)

    def _pop(self, types: tuple[p.ValueType, ...]) -> None:
        """Pop types, the last the top of the stack."""
        rest = len(self._stack) - len(types)
        # An arm that took values from around its block would leave another stack than the other arm.
        if rest < self._frames[-1].base:
            raise self._fail(f"it pops {len(types)} values, its block has {len(self._stack) - self._frames[-1].base}")
        found = tuple(self._stack[rest:])
        if found != types:
            raise self._fail(f"it needs {_named(types)} on the stack and finds {_named(found)}")
        del self._stack[rest:]

    def _push(self, types: tuple[p.ValueType, ...]) -> None:
        self._stack += types
        most = STACK_MAX[self._proof.program.profile]
        if len(self._stack) > most:
            raise self._fail(f"the stack grows beyond {most}")
        self._proof.stack_max = max(self._proof.stack_max, len(self._stack))

    def _open(self, frame: _Frame) -> None:
        self._frames.append(frame)
        self._loops += frame.loop
        blocks, most = len(self._frames) - 1, BLOCKS_MAX[self._proof.program.profile]
        if blocks > most or self._loops > LOOPS_MAX:
            raise self._fail(f"more than {most} blocks or {LOOPS_MAX} loops nest")
        self._proof.blocks_max = max(self._proof.blocks_max, blocks)
        self._proof.loops_max = max(self._proof.loops_max, self._loops)

    def _close_finished(self) -> None:
        """Close every BRANCH block that ends before this instruction."""
        while len(self._frames) > 1 and self._pc >= self._frames[-1].end:
            frame = self._frames[-1]
            if frame.loop:
                raise self._fail(f"the LOOP of instruction {frame.pc} is not closed within its block")
            if self._stack[frame.base :] != (frame.first or []):
                raise self._fail(f"the arms of the BRANCH of instruction {frame.pc} leave different stacks")
            self._frames.pop()
            # The larger arm counts for each limit alone: the proof holds whichever arm runs.
            self._frames[-1].tally.merge(frame.tally.larger(frame.first_tally))
            otherwise = None if frame.first is None else self._proof.branches[frame.pc].otherwise
            self._proof.branches[frame.pc] = Branch(otherwise, frame.end)

    def _branch(self, word: p.Instruction) -> None:
        self._pop((p.ValueType.BOOL,))
        if not self._pc < word.b <= self._frames[-1].end:
            raise self._fail(f"its target {word.b} is not forward within its block")
        self._open(_Frame(self._pc, word.b, len(self._stack)))

    def _jump(self, word: p.Instruction) -> None:
        frame = self._frames[-1]
        if len(self._frames) == 1 or frame.loop or frame.first is not None or frame.end != self._pc + 1:
            raise self._fail("it is not the last instruction of a BRANCH block")
        if not self._pc < word.b <= self._frames[-2].end:
            raise self._fail(f"its target {word.b} is not forward within its block")
        frame.first = self._stack[frame.base :]
        del self._stack[frame.base :]
        frame.first_tally, frame.tally = frame.tally, Tally()
        self._proof.branches[frame.pc] = Branch(frame.end, word.b)
        frame.end = word.b

    def _loop(self, word: p.Instruction) -> None:
        self._pop((p.ValueType.INT,))
        if word.b == 0:
            raise self._fail("its bound is 0")
        self._open(_Frame(self._pc, self._frames[-1].end, len(self._stack), word.b))

    def _end_loop(self, word: p.Instruction) -> None:
        frame = self._frames[-1]
        if not frame.loop or word.b != frame.pc + 1:
            raise self._fail("it does not close the innermost block, a LOOP just before its target")
        # Else the depth of the stack would depend on the number of trips.
        if len(self._stack) != frame.base:
            raise self._fail(f"the body of the LOOP of instruction {frame.pc} changes the stack")
        self._frames.pop()
        self._loops -= 1
        self._frames[-1].tally.merge(frame.tally.times(frame.bound))
        self._proof.loops[frame.pc] = self._pc

    def _loop_index(self, word: p.Instruction) -> None:
        if word.a >= self._loops:
            raise self._fail(f"it names loop {word.a} of {self._loops} open ones")
        self._push((p.ValueType.INT,))

    def _return(self, word: p.Instruction) -> None:
        if len(self._frames) > 1:
            raise self._fail(f"the block of instruction {self._frames[-1].pc} is still open")
        if self._stack:
            raise self._fail(f"{len(self._stack)} values are left on the stack")


_CONTROL: dict[int, Callable[[_Pass, p.Instruction], None]] = {
    Op.BRANCH: _Pass._branch,
    Op.JUMP: _Pass._jump,
    Op.LOOP: _Pass._loop,
    Op.END_LOOP: _Pass._end_loop,
    Op.LOOP_INDEX: _Pass._loop_index,
    Op.RETURN: _Pass._return,
}


def _named(types: tuple[p.ValueType, ...]) -> str:
    return " ".join(type_.name.lower() for type_ in types) or "nothing"
