"""The plain interpreter: the reference that every other machine must agree with, to the bit. docs/svm.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from eyeflow.svm import numbers as n
from eyeflow.svm.execution import Action, Answer, CapabilityFailure, Execution, HandlerFunction, Host, Outcome, TrapInfo
from eyeflow.svm.layout import answer_fault, zero
from eyeflow.svm.numbers import TrapError
from eyeflow.svm.opcodes import OPS, TIMERS, Op, Trap
from eyeflow.svm.operators import OPERATORS
from eyeflow.svm.program import Instruction, OnFailure, Site, Value, ValueType
from eyeflow.svm.tally import fuel_of
from eyeflow.svm.timers import evaluate, reset
from eyeflow.svm.verify import Verified

Trace = Callable[[int, bool], None]
"""Called at each BRANCH and SELECT with its index and whether its condition was true."""

Watch = Callable[[int, Sequence[Any], Any], None]
"""Called at each operator and time word with its index, its operands and its result."""


class Interpreter:
    """Runs a verified program one instruction at a time. Keeps nothing between executions."""

    def __init__(self, verified: Verified, trace: Trace | None = None, watch: Watch | None = None) -> None:
        self.verified = verified
        self.program = verified.program
        self.trace, self.watch = trace, watch
        regions = self.program.regions
        self._locals = [zero(slot) for slot in self.program.slots[len(self.program.slots) - regions.locals :]]
        self.fuel = [fuel_of(self.program, word, OPS[word.opcode]) for word in self.program.code]
        """Fuel of each instruction."""

    def run(
        self,
        trigger: int,
        time_us: int,
        utc_offset_us: int,
        params: Sequence[Value],
        inputs: Sequence[Value],
        state: list[Value],
        host: Host,
    ) -> Execution:
        """Run one execution: see `eyeflow.svm.execution.Machine`."""
        regions = self.program.regions
        all_inputs: list[Value] = [False] * regions.inputs
        place = self.program.triggers[trigger].input_base - regions.params
        all_inputs[place : place + len(inputs)] = inputs
        memory = [*params, *all_inputs, *state, *self._locals]
        run = _Run(self, memory, time_us, utc_offset_us, host)
        try:
            run.execute(self.program.triggers[trigger].entry)
        except _SkipError:
            return Execution(Outcome.SKIPPED, run.fuel, (), tuple(run.answers))
        except TrapError as error:
            trap = TrapInfo(error.trap, run.pc)
            return Execution(Outcome.TRAPPED, run.fuel, (), tuple(run.answers), trap)
        base = regions.params + regions.inputs
        state[:] = memory[base : base + regions.state]
        return Execution(Outcome.OK, run.fuel, tuple(run.actions), tuple(run.answers))

    def handler(self, trigger: int) -> HandlerFunction:
        """Return `run` for one trigger."""
        return partial(self.run, trigger)


class _SkipError(Exception):
    """A capability failed whose declared answer is skip."""


class _Loop:
    """An open loop: its current trip, from 0, of how many."""

    __slots__ = ("trip", "trips")

    def __init__(self, trips: int) -> None:
        self.trip = 0
        self.trips = trips


class _Run:
    """One execution under way."""

    def __init__(self, machine: Interpreter, memory: list[Value], time_us: int, utc_offset_us: int, host: Host) -> None:
        self._machine = machine
        self._program = machine.program
        self._memory: list[Any] = memory
        self._time_us = time_us
        self._utc_offset_us = utc_offset_us
        self._host = host
        self._stack: list[Any] = []
        self._loops: list[_Loop] = []
        self._next = 0
        self.pc = 0
        self.fuel = 0
        self.actions: list[Action] = []
        self.answers: list[Answer] = []

    def execute(self, entry: int) -> None:
        """Run from `entry` to RETURN; raises TrapError or _SkipError with `pc` at the instruction that did it."""
        code, fuel, fuel_max = self._program.code, self._machine.fuel, self._program.limits.fuel_max
        self._next = entry
        while True:
            self.pc = self._next
            self._next = self.pc + 1
            word = code[self.pc]
            self.fuel += fuel[self.pc]
            if self.fuel > fuel_max:
                raise TrapError(Trap.FUEL_EXHAUSTED)
            if word.opcode == Op.RETURN:
                return
            operator = OPERATORS.get(word.opcode)
            if operator is not None:
                arity = len(OPS[word.opcode].pops)
                operands = self._pop(arity)
                if word.opcode == Op.SELECT and self._machine.trace is not None:
                    self._machine.trace(self.pc, operands[0])
                self._stack.append(operator(*operands))
                if self._machine.watch is not None:
                    self._machine.watch(self.pc, operands, self._stack[-1])
            else:
                _STEPS[word.opcode](self, word)

    def _pop(self, count: int) -> tuple[Any, ...]:
        """Pop values, the last the top of the stack."""
        start = len(self._stack) - count
        popped = tuple(self._stack[start:])
        del self._stack[start:]
        return popped

    # --- memory ---

    def _load(self, word: Instruction) -> None:
        self._stack.append(self._memory[word.b])

    def _store(self, word: Instruction) -> None:
        self._put(word.b, self._stack.pop())

    def _put(self, slot: int, value: Any) -> None:
        """Store a value; a text is cut to the slot's limit."""
        kind = self._program.slots[slot]
        self._memory[slot] = n.cut_text(value, kind.size_bytes_max) if kind.type is ValueType.TEXT else value

    def _element(self, array_index: int, index: int) -> int:
        """Return the slot of an element; raises INDEX_RANGE beyond the length or the capacity."""
        array = self._program.arrays[array_index]
        if not 0 <= index < min(self._memory[array.length_slot], array.capacity):
            raise TrapError(Trap.INDEX_RANGE)
        return array.base + index

    def _load_at(self, word: Instruction) -> None:
        self._stack.append(self._memory[self._element(word.b, self._stack.pop())])

    def _store_at(self, word: Instruction) -> None:
        value, index = self._pop(2)
        self._put(self._element(word.b, index), value)

    def _grow(self, word: Instruction) -> None:
        array = self._program.arrays[word.b]
        length = self._memory[array.length_slot]
        if not 0 <= length < array.capacity:
            raise TrapError(Trap.LIST_FULL)
        self._memory[array.length_slot] = length + 1
        self._stack.append(length)

    def _const(self, word: Instruction) -> None:
        self._stack.append(self._program.constants[word.b])

    def _push_int(self, word: Instruction) -> None:
        self._stack.append(word.b - 0x10000 if word.b & 0x8000 else word.b)

    def _push_bool(self, word: Instruction) -> None:
        self._stack.append(word.a == 1)

    def _drop(self, word: Instruction) -> None:
        self._stack.pop()

    def _dup(self, word: Instruction) -> None:
        self._stack.append(self._stack[-1])

    # --- control ---

    def _branch(self, word: Instruction) -> None:
        taken = self._stack.pop()
        if self._machine.trace is not None:
            self._machine.trace(self.pc, taken)
        if not taken:
            self._next = word.b

    def _jump(self, word: Instruction) -> None:
        self._next = word.b

    def _loop(self, word: Instruction) -> None:
        trips = self._stack.pop()
        if not 1 <= trips <= word.b:
            raise TrapError(Trap.LOOP_BOUND)
        self._loops.append(_Loop(trips))

    def _end_loop(self, word: Instruction) -> None:
        loop = self._loops[-1]
        loop.trip += 1
        if loop.trip < loop.trips:
            self._next = word.b
        else:
            self._loops.pop()

    def _loop_index(self, word: Instruction) -> None:
        self._stack.append(self._loops[-1 - word.a].trip)

    # --- the world ---

    def _ask(self, word: Instruction) -> None:
        """LOAD_RESOURCE and LLM_CALL."""
        site = self._program.sites[word.b]
        args = self._site_args(site)
        fallback = self._stack.pop() if site.on_failure is OnFailure.FALLBACK else None
        value = self._answer(word.b, site, args)
        self.answers.append(Answer(word.b, args, value))
        if value is not None:
            self._stack.append(value)
        elif site.on_failure is OnFailure.FALLBACK:
            self._stack.append(fallback)
        elif site.on_failure is OnFailure.SKIP:
            raise _SkipError
        else:
            raise TrapError(Trap.CAPABILITY_FAILED)

    def _answer(self, index: int, site: Site, args: tuple[Value, ...]) -> Value | None:
        """Return what the host answers, None when it fails or answers something that the site cannot take."""
        assert site.result is not None, "the verifier gives every read and llm site a result"
        try:
            value = self._host.read(index, args)
        except CapabilityFailure:
            return None
        return None if answer_fault(self._program, site.result, value) else _one_nan(value)

    def _act(self, word: Instruction) -> None:
        """CALL_ACTION and EMIT_EVENT."""
        self.actions.append(Action(word.b, self._site_args(self._program.sites[word.b])))

    def _site_args(self, site: Site) -> tuple[Value, ...]:
        return tuple(_one_nan(value) for value in self._pop(len(site.args)))

    def _now(self, word: Instruction) -> None:
        self._stack.append(self._time_us)

    def _local_now(self, word: Instruction) -> None:
        self._stack.append(self._time_us + self._utc_offset_us)

    def _eval(self, word: Instruction) -> None:
        timer = self._program.timers[word.b]
        operands = self._pop(len(TIMERS[timer.kind].pops))
        self._stack.append(evaluate(self._memory, timer, self._time_us, operands))
        if self._machine.watch is not None:
            self._machine.watch(self.pc, operands, self._stack[-1])

    def _reset(self, word: Instruction) -> None:
        reset(self._memory, self._program.timers[word.b])

    # --- text with operands ---

    def _concat(self, word: Instruction) -> None:
        lower, top = self._pop(2)
        self._stack.append(n.cut_text(lower + top, word.b))

    def _text_f(self, word: Instruction) -> None:
        self._stack.append(n.text_of_float(self._stack.pop(), word.a))

    def _text_enum(self, word: Instruction) -> None:
        ordinal = self._stack.pop()
        if not 0 <= ordinal < word.a:
            raise TrapError(Trap.ENUM_RANGE)
        self._stack.append(self._program.constants[word.b + ordinal])


def _one_nan(value: Value) -> Value:
    """Return a value as it leaves the SVM: with the one NaN."""
    return n.NAN if value != value else value


_STEPS: dict[int, Callable[[_Run, Instruction], None]] = {
    Op.LOAD: _Run._load,
    Op.STORE: _Run._store,
    Op.LOAD_AT: _Run._load_at,
    Op.STORE_AT: _Run._store_at,
    Op.GROW: _Run._grow,
    Op.CONST: _Run._const,
    Op.PUSH_INT: _Run._push_int,
    Op.PUSH_BOOL: _Run._push_bool,
    Op.POP: _Run._drop,
    Op.DUP: _Run._dup,
    Op.BRANCH: _Run._branch,
    Op.JUMP: _Run._jump,
    Op.LOOP: _Run._loop,
    Op.END_LOOP: _Run._end_loop,
    Op.LOOP_INDEX: _Run._loop_index,
    Op.LOAD_RESOURCE: _Run._ask,
    Op.CALL_ACTION: _Run._act,
    Op.LLM_CALL: _Run._ask,
    Op.EMIT_EVENT: _Run._act,
    Op.NOW: _Run._now,
    Op.LOCAL_NOW: _Run._local_now,
    Op.EVAL: _Run._eval,
    Op.RESET: _Run._reset,
    Op.CONCAT: _Run._concat,
    Op.TEXT_F: _Run._text_f,
    Op.TEXT_ENUM: _Run._text_enum,
}
"""What stands neither here nor among the operators is RETURN."""
