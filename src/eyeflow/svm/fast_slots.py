"""Memory and timers of the fast path: LOAD, STORE, arrays, EVAL and RESET as lines of Python."""

from __future__ import annotations

from typing import Protocol

from eyeflow.svm.execution import TIME_UNSET
from eyeflow.svm.fast_code import Path, Pool, Val, Writer
from eyeflow.svm.fast_memory import FIRST_WINDOW, Memory, is_window, timer_slots, written_slots
from eyeflow.svm.fast_ops import TYPES, atom, cut, pop, spill
from eyeflow.svm.opcodes import TIMERS, Op, TimerKind
from eyeflow.svm.program import Array, Instruction, Program, Timer, ValueType

EDGES = (TimerKind.RISES, TimerKind.FALLS)
"""Timers that remember a bool."""


class HandlerEmitter(Protocol):
    """What the translation of memory, timers and sites needs of the handler that is being written."""

    program: Program
    writer: Writer
    pool: Pool
    memory: Memory
    path: Path

    def trap_unless(self, condition: str) -> None:
        """Write a statement that leaves the handler by a trap unless the condition holds."""
        ...

    def use(self, name: str) -> None:
        """Note that this path puts something into the variable `f`, `acts` or `ans`."""
        ...

    def answers(self) -> str:
        """Return the expression of all answers so far."""
        ...


def load_line(to: HandlerEmitter, key: int) -> str:
    """Return the statement that loads a variable."""
    cell = to.memory.cell(key)
    return f"{cell.name} = {cell.loader}"


def load(to: HandlerEmitter, key: int | None) -> None:
    """Load a variable unless this path has done so."""
    if key is not None and key not in to.path.loaded:
        to.writer.line(load_line(to, key))
        to.path.loaded.add(key)


def read(to: HandlerEmitter, slot: int) -> Val:
    """Return the operand that reads a slot."""
    place = to.memory.place(slot)
    load(to, place.cell)
    kind = to.program.slots[slot].type
    if place.is_constant or place.cell is None:
        return Val(place.text, kind)
    return Val(place.text, kind, deps=frozenset([to.memory.cell(place.cell).name]))


def written(to: HandlerEmitter, slot: int) -> str:
    """Return the place of a slot that is about to be written, after saving the operands that still read it."""
    place = to.memory.place(slot)
    if place.cell is None:
        raise AssertionError("a verified program stores into state and locals only")
    save(to, place.cell)
    if place.text.endswith("]"):
        load(to, place.cell)
    to.path.loaded.add(place.cell)
    to.path.dirty.add(place.cell)
    return place.text


def save(to: HandlerEmitter, key: int) -> None:
    """Move the operands that read a variable into temporaries, because the variable changes now."""
    name = to.memory.cell(key).name
    to.path.stack[:] = [spill(to, val) if name in val.deps else val for val in to.path.stack]


def preload(to: HandlerEmitter, body: tuple[Instruction, ...]) -> None:
    """Load every variable that a loop's body names: inside, a second trip would load it again."""
    for instruction in body:
        slots = written_slots(to.program, instruction)
        match instruction.opcode:
            case Op.LOAD:
                slots = [instruction.b]
            case Op.LOAD_AT | Op.STORE_AT | Op.GROW:
                array = to.program.arrays[instruction.b]
                slots = [array.base, array.length_slot]
            case Op.EVAL | Op.RESET:
                slots = slots[:2]
        for slot in slots:
            load(to, to.memory.place(slot).cell)


def access(to: HandlerEmitter, instruction: Instruction) -> bool:
    """Translate an instruction on memory, constants or timers; False when it is none of those."""
    stack, b = to.path.stack, instruction.b
    match instruction.opcode:
        case Op.LOAD:
            stack.append(read(to, b))
        case Op.STORE:
            _store(to, b)
        case Op.LOAD_AT:
            stack.append(_load_at(to, to.program.arrays[b]))
        case Op.STORE_AT:
            _store_at(to, to.program.arrays[b])
        case Op.GROW:
            _grow(to, to.program.arrays[b])
        case Op.CONST:
            stack.append(to.pool.val(to.program.constants[b]))
        case Op.PUSH_INT:
            stack.append(to.pool.val(b - 0x10000 if b >= 0x8000 else b))
        case Op.PUSH_BOOL:
            stack.append(to.pool.val(bool(instruction.a)))
        case Op.EVAL:
            _evaluate(to, b)
        case Op.RESET:
            _reset(to, to.program.timers[b])
        case _:
            return False
    return True


def _store(to: HandlerEmitter, slot: int) -> None:
    val = to.path.stack.pop()
    if val.type is ValueType.TEXT:
        val = cut(to, val, to.program.slots[slot].size_bytes_max)
    place = written(to, slot)
    if val.text != place:
        to.writer.line(f"{place} = {val.text}")


def _index(to: HandlerEmitter, array: Array, index: Val) -> tuple[str, frozenset[str]]:
    """Check an index; return the expression of the element and the variables it reads."""
    index = atom(to, index)
    length = atom(to, read(to, array.length_slot))
    limit = "" if index.high < array.capacity else f" and {index.text} < {array.capacity}"
    to.trap_unless(f"0 <= {index.text} < {length.text}{limit}")
    first, run = to.memory.run(array)
    load(to, first.cell)
    names = [] if first.cell is None else [to.memory.cell(first.cell).name]
    return f"{run}{index.text}]", index.deps | frozenset(names)


def _load_at(to: HandlerEmitter, array: Array) -> Val:
    text, deps = _index(to, array, to.path.stack.pop())
    return Val(text, to.program.slots[array.base].type, deps=deps, depth=1)


def _store_at(to: HandlerEmitter, array: Array) -> None:
    val, index = pop(to.path.stack, 2)
    if val.type is ValueType.TEXT:
        val = cut(to, val, to.program.slots[array.base].size_bytes_max)
    text, _ = _index(to, array, index)
    written(to, array.base)
    to.writer.line(f"{text} = {val.text}")


def _grow(to: HandlerEmitter, array: Array) -> None:
    length = spill(to, read(to, array.length_slot))
    to.trap_unless(f"0 <= {length.text} < {array.capacity}")
    to.writer.line(f"{written(to, array.length_slot)} = {length.text} + 1")
    to.path.stack.append(Val(length.text, ValueType.INT, low=0, high=array.capacity - 1))


def _evaluate(to: HandlerEmitter, index: int) -> None:
    timer = to.program.timers[index]
    operands = pop(to.path.stack, len(TIMERS[timer.kind].pops))
    cell = to.memory.place(timer.base).cell
    own = "" if cell is None else to.memory.cell(cell).name
    operands = [spill(to, val) if own in val.deps else val for val in operands]
    result = to.writer.fresh()
    if is_window(timer):
        _evaluate_window(to, index, operands, result)
    else:
        read(to, timer.base)
        place = written(to, timer.base)
        texts = [(atom(to, val) if timer.kind in EDGES else val).text for val in operands]
        for line in _TIMER_LINES[TimerKind(timer.kind)]:
            to.writer.line(line.format(*texts, s=place, r=result, unset=TIME_UNSET))
    to.path.stack.append(Val(result, TYPES[TIMERS[timer.kind].pushes]))


def _evaluate_window(to: HandlerEmitter, index: int, operands: list[Val], result: str) -> None:
    timer, key = to.program.timers[index], FIRST_WINDOW - index
    sample, span = (val.text for val in operands)
    name, base = to.memory.cell(key).name, to.memory.state_index(timer.base)
    function = f"window_{TimerKind(timer.kind).name.lower()}"
    late = to.memory.is_late(index)
    if late:
        to.path.loaded.add(key)
        to.path.dirty.add(key)
    else:
        written(to, timer.base)
    memory = "s" if late else "st"
    to.writer.line(
        f"{name} = {function}({memory}, {base}, {timer.capacity}, t, {span}, {sample}); {result} = {name}[0]"
    )
    if not late:
        to.writer.line(f"commit(st, {base}, {timer.capacity}, t, {name})")


_TIMER_LINES: dict[TimerKind, tuple[str, ...]] = {
    TimerKind.HOLD: (
        "if {0}:",
        " if {s} == {unset}: {s} = t",
        " {r} = t - {s} >= {1}",
        "else:",
        " {s} = {unset}",
        " {r} = False",
    ),
    TimerKind.COOLDOWN: (
        "{r} = {0} and ({s} == {unset} or t - {s} >= {1})",
        "if {r}: {s} = t",
    ),
    TimerKind.RISES: ("{r} = {0} and not {s}", "{s} = {0}"),
    TimerKind.FALLS: ("{r} = {s} and not {0}", "{s} = {0}"),
}


def _reset(to: HandlerEmitter, timer: Timer) -> None:
    if is_window(timer):
        for slot in timer_slots(timer)[:2]:
            to.writer.line(f"{written(to, slot)} = 0")
    else:
        initial = "False" if timer.kind in EDGES else str(TIME_UNSET)
        to.writer.line(f"{written(to, timer.base)} = {initial}")
