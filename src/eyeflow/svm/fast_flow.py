"""Control flow of the fast path: one handler of a verified program becomes one Python function.

The function is `handler(t, o, p, i, s, h)`: time, UTC offset, parameters, inputs, state, host. Where the interpreter
would trap or skip, it calls `R(t, o, p, i, s, answers so far)`, which repeats the execution on the interpreter: only
that knows the exact place and fuel. Fuel and actions that are the same on every way to a place are constants; where
little code follows a branch it is written in both arms, so that they stay constants up to RETURN.
"""

from __future__ import annotations

from eyeflow.svm.execution import Execution, Outcome
from eyeflow.svm.fast_code import Path, Pool, Val, Writer, constants_of, tuple_text
from eyeflow.svm.fast_memory import STATE_COPY, Memory
from eyeflow.svm.fast_merge import flush_for, join
from eyeflow.svm.fast_ops import atom, operate, stable
from eyeflow.svm.fast_slots import access, preload
from eyeflow.svm.fast_world import world
from eyeflow.svm.opcodes import OPS, Op
from eyeflow.svm.program import Instruction, Trigger, ValueType
from eyeflow.svm.tally import fuel_of
from eyeflow.svm.verify import Verified

TAIL_MAX = 8
"""Most instructions after a branch that are written in both of its arms."""
TIME_MAX = 2**62 - 1

Tail = tuple[int, ...] | None
"""The straight instructions from the end of the block that is being written up to RETURN; None: not so few."""


class Handler:
    """Writes one handler. `source` is the finished function."""

    def __init__(self, verified: Verified, trigger: Trigger, pool: Pool) -> None:
        self._verified = verified
        self.program = verified.program
        self.trigger = trigger
        self.pool = pool
        self.writer = Writer()
        self.memory = Memory(self.program, trigger)
        self.path = Path()
        self._used: set[str] = set()
        self._loops: list[tuple[str, int]] = []

    def source(self) -> str:
        """Return the source of the function `handler`."""
        self._walk(self.trigger.entry, self.trigger.end, ())
        starts = {"f": " f = 0", "acts": " acts = []", "ans": " ans = []"}
        head = ["def handler(t, o, p, i, s, h):", *(starts[name] for name in sorted(self._used))]
        return "\n".join([*head, *self.writer.lines, ""])

    def use(self, name: str) -> None:
        """Note that this path puts something into the variable `f`, `acts` or `ans`."""
        self._used.add(name)
        self.path.uses.add(name)

    def answers(self) -> str:
        """Return the expression of all answers so far, in their flat form."""
        return tuple_text("ans", self.path, self.path.answers)

    def trap_unless(self, condition: str) -> None:
        """Write a statement that leaves by a trap unless the condition holds."""
        self.writer.line(f"if not ({condition}): return R(t, o, p, i, s, {self.answers()})")

    def _fuel(self, instruction: Instruction) -> int:
        return fuel_of(self.program, instruction, OPS[instruction.opcode])

    def _walk(self, pc: int, end: int, tail: Tail) -> None:
        """Write the instructions from `pc` up to `end`."""
        while pc < end and not self.path.closed:
            opcode = self.program.code[pc].opcode
            if opcode == Op.BRANCH:
                pc = self._branch(pc, end, tail)
            elif opcode == Op.LOOP:
                pc = self._loop(pc)
            else:
                self._step(self.program.code[pc])
                pc += 1

    def _step(self, instruction: Instruction) -> None:
        """Write one instruction that is neither BRANCH nor LOOP."""
        self.path.fuel += self._fuel(instruction)
        if operate(self, instruction) or access(self, instruction) or world(self, instruction):
            return
        stack = self.path.stack
        match instruction.opcode:
            case Op.NOW:
                stack.append(Val("t", ValueType.INT, low=0, high=TIME_MAX))
            case Op.LOCAL_NOW:
                stack.append(Val("(t + o)", ValueType.INT, depth=1))
            case Op.LOOP_INDEX:
                name, bound = self._loops[-1 - instruction.a]
                stack.append(Val(name, ValueType.INT, low=0, high=bound - 1))
            case Op.RETURN:
                self._return()
            case Op.JUMP | Op.END_LOOP:
                pass
            case _:
                raise AssertionError(f"the fast path knows no opcode {instruction.opcode:#x}")

    def _return(self) -> None:
        """Write the state back and return the execution, made beforehand when nothing in it varies."""
        path = self.path
        for key in sorted(path.dirty, key=lambda key: (key != STATE_COPY, key)):
            write_back = self.memory.cell(key).write_back
            if write_back:
                self.writer.line(write_back)
        actions = tuple_text("acts", path, path.actions)
        constant = None if "acts" in path.uses else constants_of(path.actions)
        if constant is not None:
            actions = self.pool.name(constant) if constant else "()"
        if constant is not None and not path.answers and not path.uses & {"f", "ans"}:
            self.writer.line(f"return {self.pool.name(Execution(Outcome.OK, path.fuel, constant, (), None))}")
        else:
            fuel = f"f + {path.fuel}" if "f" in path.uses else str(path.fuel)
            self.writer.line(f"e = MadeExecution(); e.outcome = OK; e.fuel = {fuel}; e.actions = {actions}")
            self.writer.line(f"e.asked = {self.answers()}; e.trap = None; return e")
        path.closed = True

    def _branch(self, pc: int, end: int, tail: Tail) -> int:
        """Write a BRANCH block; return the instruction after it."""
        target = self.program.code[pc].b
        after = self._verified.branches[pc].end
        first = self.path
        first.fuel += self._fuel(self.program.code[pc])
        condition = first.stack.pop()
        first.stack = [stable(self, val) for val in first.stack]
        second, depth = first.fork(), len(first.stack)
        inner = self._tail(after, end, tail)
        indent = self.writer.indent
        arms = [self._arm(first, indent + 1, pc + 1, target, inner)]
        arms.append(self._arm(second, indent + (not first.closed), target, after, inner))
        self.writer.indent = indent
        if not first.closed:
            join(self, (first, arms[0]), (second, arms[1]), depth)
        self.path = second if first.closed else first
        self._write_arms(condition, arms, first.closed)
        return after

    def _arm(self, path: Path, indent: int, pc: int, end: int, tail: Tail) -> list[str]:
        """Return the lines of one arm, with the code that follows the block when `tail` says so."""
        outer = self.writer.capture()
        self.writer.indent = indent
        self.path = path
        self._walk(pc, end, tail)
        if tail is not None and not path.closed:
            for place in tail:
                self._step(self.program.code[place])
        return self.writer.restore(outer)

    def _tail(self, after: int, end: int, tail: Tail) -> Tail:
        """Return what follows an inner block up to RETURN when it is short and straight."""
        if tail is None or end - after + len(tail) > TAIL_MAX:
            return None
        if any(self.program.code[pc].opcode in (Op.BRANCH, Op.LOOP) for pc in range(after, end)):
            return None
        return (*range(after, end), *tail)

    def _write_arms(self, condition: Val, arms: list[list[str]], closed: bool) -> None:
        writer = self.writer
        if closed:
            writer.line(f"if {condition.text}:")
            writer.lines += arms[0] + arms[1]
        elif arms[0]:
            writer.line(f"if {condition.text}:")
            writer.lines += arms[0]
            if arms[1]:
                writer.line("else:")
                writer.lines += arms[1]
        elif arms[1]:
            writer.line(f"if not {condition.text}:")
            writer.lines += arms[1]

    def _loop(self, pc: int) -> int:
        """Write a LOOP; return the instruction after its END_LOOP."""
        bound, end = self.program.code[pc].b, self._verified.loops[pc]
        path, writer = self.path, self.writer
        path.fuel += self._fuel(self.program.code[pc])
        trips = atom(self, path.stack.pop())
        if trips.low < 1 or trips.high > bound:
            self.trap_unless(f"1 <= {trips.text} <= {bound}")
        path.stack = [stable(self, val) for val in path.stack]
        trips = stable(self, trips)
        body = self.program.code[pc + 1 : end + 1]
        preload(self, body)
        flush_for(self, body)
        before, path.fuel = path.fuel, 0
        index = writer.fresh("x")
        writer.line(f"for {index} in range({trips.text}):")
        writer.indent += 1
        self._loops.append((index, bound))
        writer.line("pass")
        self._walk(pc + 1, end + 1, None)
        flush_for(self, body)
        self._loops.pop()
        writer.indent -= 1
        trip_fuel, self.path.fuel = self.path.fuel, before
        self._add_fuel(trips, trip_fuel)
        return end + 1

    def _add_fuel(self, trips: Val, trip_fuel: int) -> None:
        """Add the fuel that each trip of a loop takes whatever way it goes."""
        if isinstance(trips.value, int):
            self.path.fuel += trips.value * trip_fuel
        else:
            self.use("f")
            self.writer.line(f"f += {trips.text} * {trip_fuel}")
