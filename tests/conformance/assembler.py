"""Writes conformance cases down: small programs from letters and tuples, events, and what must come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from eyeflow.svm import program as p
from eyeflow.svm.layout import flatten, zero
from eyeflow.svm.numbers import float_bits, float_from_bits
from eyeflow.svm.opcodes import OPS, TIMERS, Op, Trap
from eyeflow.svm.structure import timer_slots
from eyeflow.svm.tally import fuel_of
from eyeflow.svm.verify import compute_limits

Code = Sequence[tuple[int, ...]]
"""Instructions as (op,), (op, b) or (op, a, b)."""
TEXT_BYTES = 64
LETTERS = {
    "B": p.Type(p.TypeTag.BOOL),
    "I": p.Type(p.TypeTag.INT),
    "F": p.Type(p.TypeTag.FLOAT),
    "T": p.Type(p.TypeTag.TEXT, size=TEXT_BYTES),
}
ENUM = p.Type(p.TypeTag.ENUM, name="Mode", members=("OFF", "HEAT", "COOL"))


def text(size_bytes: int) -> p.Type:
    return p.Type(p.TypeTag.TEXT, size=size_bytes)


def list_of(letter: str, capacity: int) -> p.Type:
    return p.Type(p.TypeTag.LIST, size=capacity, element=LETTERS[letter])


Types = str | Sequence[p.Type]


def typed(types: Types) -> list[p.Type]:
    return [LETTERS[each] if isinstance(each, str) else each for each in types]


def word(item: tuple[int, ...]) -> p.Instruction:
    op, *operands = item
    if len(operands) == 2:
        return p.Instruction(op, *operands)
    operand = operands[0] if operands else 0
    return p.Instruction(op, operand, 0) if OPS[op].a and not OPS[op].b else p.Instruction(op, 0, operand & 0xFFFF)


@dataclass(frozen=True, slots=True)
class Handler:
    """One trigger: the types of its payload and its code."""

    inputs: Types
    code: Code


def assemble(
    handlers: Sequence[Handler],
    *,
    params: Types = "",
    state: Types = "",
    local: Types = "",
    timers: Sequence[tuple[int, int]] = (),
    constants: Sequence[p.Value] = (),
    sites: Sequence[p.Site] = (),
    initial: Sequence[p.Value] | None = None,
    pins: Sequence[p.Pin] = (),
) -> p.Program:
    """Return a program. Slots: params, inputs of each handler, state variables, timers (kind, capacity), locals.

    Lists give an array for each of their runs, in order of their slots.
    """
    slots: list[p.MemorySlot] = []
    arrays: list[p.Array] = []

    def place(types: Types) -> list[int]:
        bases = []
        for type_ in typed(types):
            bases.append(len(slots))
            if type_.tag is p.TypeTag.LIST:
                arrays.append(p.Array(len(slots), len(slots) + 1, type_.size))
            slots.extend(flatten(type_))
        return bases

    param_bases = place(params)
    input_bases = []
    for handler in handlers:
        input_bases.append(len(slots))
        place(handler.inputs)
    first_state = len(slots)
    state_bases = place(state)
    made = []
    for kind, capacity in timers:
        timer = p.Timer(kind, len(slots), capacity)
        made.append(timer)
        slots += [p.MemorySlot(type_) for type_ in timer_slots(timer)]
    first_local = len(slots)
    place(local)
    regions = p.Regions(
        len(param_bases), first_state - len(param_bases), first_local - first_state, len(slots) - first_local
    )
    program = p.Program(
        rule="case", version="1", description="", priority=p.Priority.NORMAL, profile=p.Profile.LINUX, chip="",
        sequence=1,
        limits=p.Limits(0, 0, 0, 0, 0, 0, 0, 0, 0, 0), regions=regions, slots=tuple(slots), constants=tuple(constants),
        arrays=tuple(arrays), timers=tuple(made), code=tuple(word(item) for each in handlers for item in each.code),
        sites=tuple(sites), pins=tuple(pins),
        params=tuple(
            p.Param(f"p{slot}", type_, slot, zero(flatten(type_)[0]))
            for slot, type_ in zip(param_bases, typed(params), strict=True)
        ),
        state=_variables(typed(state), state_bases, initial),
        triggers=_triggers(handlers, input_bases),
    )  # fmt: skip
    return replace(program, limits=compute_limits(program))


def _variables(types: list[p.Type], bases: list[int], initial: Sequence[p.Value] | None) -> tuple[p.StateVariable, ...]:
    variables, at = [], 0
    for index, (type_, base) in enumerate(zip(types, bases, strict=True)):
        flat = flatten(type_)
        values = tuple(zero(slot) for slot in flat) if initial is None else tuple(initial[at : at + len(flat)])
        at += len(flat)
        variables.append(p.StateVariable(f"s{index}", type_, base, values))
    return tuple(variables)


def _triggers(handlers: Sequence[Handler], input_bases: list[int]) -> tuple[p.Trigger, ...]:
    triggers, entry = [], 0
    for index, (handler, base) in enumerate(zip(handlers, input_bases, strict=True)):
        fields = tuple(p.Field(f"f{number}", type_) for number, type_ in enumerate(typed(handler.inputs)))
        end = entry + len(handler.code)
        triggers.append(
            p.Trigger(p.TriggerKind.SOURCE, "event", f"e{index}", 0, f"e{index}", fields, None, base, entry, end)
        )
        entry = end
    return tuple(triggers)


# --- cases ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expected:
    """What a step must give. `fuel` None: the code is a straight line, so the costs of its instructions add up.

    `state` None: as after the reference run (only where another part of the step says what matters).
    """

    outcome: str = "ok"
    state: Sequence[p.Value] | None = None
    actions: Sequence[tuple[int, Sequence[p.Value]]] = ()
    trap: int = 0
    pc: int = 0
    fuel: int | None = None


@dataclass(frozen=True, slots=True)
class CaseStep:
    """One event, the answers to its reads in order (None: the read fails), and what must come out."""

    expected: Expected
    inputs: Sequence[p.Value] = ()
    time_us: int = 0
    trigger: int = 0
    utc_offset_us: int = 0
    answers: Sequence[p.Value | None] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One conformance case; `start` is the state before the first step (None: the program's initial state)."""

    name: str
    program: p.Program
    steps: Sequence[CaseStep]
    params: Sequence[p.Value] = ()
    start: Sequence[p.Value] | None = None
    tags: Sequence[str] = field(default=())


def straight_fuel(program: p.Program, trigger: int, last_pc: int) -> int:
    """Return the fuel of a straight line of code up to and including `last_pc`, from the instruction-set table."""
    entry = program.triggers[trigger].entry
    return sum(fuel_of(program, each, OPS[each.opcode]) for each in program.code[entry : last_pc + 1])


def write_value(value: p.Value) -> str:
    """Return a value as the corpus writes it: b1, i-5, f and 16 hex digits of its bits, t and the hex of its UTF-8."""
    if isinstance(value, bool):
        return "b1" if value else "b0"
    if isinstance(value, int):
        return f"i{value}"
    if isinstance(value, float):
        return f"f{float_bits(value):016x}"
    return "t" + value.encode("utf-8").hex()


def read_value(written: str) -> p.Value:
    kind, rest = written[0], written[1:]
    if kind == "b":
        return rest == "1"
    if kind == "i":
        return int(rest)
    if kind == "f":
        return float_from_bits(int(rest, 16))
    assert kind == "t", f"unknown kind of value {kind!r}"
    return bytes.fromhex(rest).decode("utf-8")


def op_case(
    name: str, op: Op, operands: Sequence[p.Value], expected: p.Value | Trap, *, a: int = 0, b: int = 0
) -> Case:
    """Return a case that runs one instruction on operands from the payload and stores what it pushes."""
    letters = "".join({bool: "B", int: "I", float: "F", str: "T"}[type(value)] for value in operands)
    result = OPS[op].pushes if OPS[op].pushes in LETTERS else letters[-1]
    code = [(Op.LOAD, index) for index in range(len(letters))] + [(op, a, b), (Op.STORE, len(letters)), (Op.RETURN,)]
    program = assemble([Handler(letters, code)], state=result, constants=ENUM_TEXTS if op is Op.TEXT_ENUM else ())
    if isinstance(expected, Trap):
        before = [zero(flatten(LETTERS[result])[0])]
        wanted = Expected("trapped", state=before, trap=expected, pc=len(letters))
    else:
        wanted = Expected(state=[expected])
    return Case(name, program, [CaseStep(wanted, inputs=operands)], tags=(OPS[op].name,))


ENUM_TEXTS = ("off", "warm", "cold")


def timer_code(kind: int, slot: int) -> Code:
    """Return code that evaluates timer 0 on the payload and stores the result in state `slot`."""
    loads = [(Op.LOAD, index) for index in range(len(TIMERS[kind].pops))]
    return [*loads, (Op.EVAL, 0), (Op.STORE, slot), (Op.RETURN,)]
