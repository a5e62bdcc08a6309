"""Random programs that verify, and random events for them.

`random_program(rng)` is typed, structured code over every instruction: nested blocks and loops, values left on the
stack by arms, arrays, texts, time words and sites. `random_steps(rng, program)` gives events; `SeededHost` answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from eyeflow.svm import program as p
from eyeflow.svm.layout import flatten, scalar_slot, state_base
from eyeflow.svm.opcodes import OPS, TIMERS, Op, TimerKind
from eyeflow.svm.structure import timer_slots
from eyeflow.svm.timers import initial_state
from eyeflow.svm.verify import compute_limits
from generators.values import FLOATS, INTS, TEXTS, SeededHost, random_value, random_values

__all__ = ["SeededHost", "Step", "random_params", "random_program", "random_state", "random_steps"]

BOOL, INT, FLOAT = p.Type(p.TypeTag.BOOL), p.Type(p.TypeTag.INT), p.Type(p.TypeTag.FLOAT)
ENUM = p.Type(p.TypeTag.ENUM, name="Mode", members=("OFF", "HEAT", "COOL"))
TEXT = p.Type(p.TypeTag.TEXT, size=12)
LIMITS_NONE = p.Limits(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
CODE_SOFT_MAX = 900
"""Above this many instructions only leaves are generated."""
LETTER = {p.ValueType.BOOL: "B", p.ValueType.INT: "I", p.ValueType.FLOAT: "F", p.ValueType.TEXT: "T"}
PLAIN = {
    letter: [op for op, info in OPS.items() if info.pushes == letter and info.pops and set(info.pops) <= set("BIFT")]
    for letter in "BIFT"
}
"""Instructions of a fixed signature, by what they push."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event for a program; its reads are answered by `SeededHost(program, host_seed)`."""

    trigger: int
    time_us: int
    utc_offset_us: int
    inputs: tuple[p.Value, ...]
    host_seed: int


def random_type(rng: random.Random, *, scalar: bool = False) -> p.Type:
    scalars = (
        BOOL,
        INT,
        FLOAT,
        FLOAT,
        INT,
        p.Type(p.TypeTag.DURATION),
        ENUM,
        p.Type(p.TypeTag.TEXT, size=rng.choice((1, 3, 12, 40))),
    )
    if scalar or rng.random() < 0.6:
        return rng.choice(scalars)
    record = p.Type(p.TypeTag.RECORD, name="R", fields=(("a", rng.choice(scalars)), ("b", rng.choice(scalars))))
    if rng.random() < 0.3:
        return record
    return p.Type(p.TypeTag.LIST, size=rng.randint(1, 5), element=rng.choice((*scalars, record)))


class _Maker:
    """Builds one program."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.code: list[p.Instruction] = []
        self.arrays: list[p.Array] = []
        self.loops = 0
        self.blocks = 0
        self.statements = 0
        self.readable: list[int] = []
        self.readable_arrays: list[int] = []

    # --- tables ---

    def program(self) -> p.Program:
        rng = self.rng
        self.params = tuple(self._param(index) for index in range(rng.randint(0, 4)))
        field_lists = [self._fields() for _ in range(rng.randint(1, 3))]
        self.state, self.timers, self.slots = self._layout(field_lists)
        self._locals()
        self.constants = (*rng.sample(INTS, 6), *rng.sample(FLOATS, 6), *rng.sample(TEXTS, 4), *("off", "warm", "cold"))
        self.sites = tuple(self._site() for _ in range(rng.randint(1, 8)))
        triggers = tuple(self._handler(index, fields) for index, fields in enumerate(field_lists))
        program = p.Program(
            rule="generated", version="1", description="", priority=rng.choice(list(p.Priority)),
            profile=p.Profile.LINUX, chip="", sequence=rng.choice((0, 1, 2**64 - 1)), limits=LIMITS_NONE,
            regions=self.regions, slots=tuple(self.slots),
            constants=self.constants, arrays=tuple(self.arrays), timers=self.timers, code=tuple(self.code),
            sites=self.sites, params=self.params, pins=(p.Pin("RELAY", p.Direction.OUTPUT),), state=self.state,
            triggers=triggers, source_name="generated.eye", source_map=self._source_map(),
        )  # fmt: skip
        return replace(program, limits=compute_limits(program))

    def _source_map(self) -> tuple[p.SourcePosition, ...]:
        places = sorted(self.rng.sample(range(len(self.code)), min(5, len(self.code))))
        return tuple(p.SourcePosition(pc, line, 1) for line, pc in enumerate(places, start=1))

    def _param(self, index: int) -> p.Param:
        type_ = random_type(self.rng, scalar=True)
        return p.Param(f"p{index}", type_, index, random_value(self.rng, scalar_slot(type_), type_))

    def _fields(self) -> tuple[p.Field, ...]:
        types = [random_type(self.rng) for _ in range(self.rng.randint(0, 3))]
        return tuple(
            p.Field(f"f{index}", type_, random_values(self.rng, type_) if self.rng.random() < 0.3 else None)
            for index, type_ in enumerate(types)
        )

    def _layout(
        self, field_lists: list[tuple[p.Field, ...]]
    ) -> tuple[tuple[p.StateVariable, ...], tuple[p.Timer, ...], list[p.MemorySlot]]:
        slots = [scalar_slot(param.type) for param in self.params]
        self.input_bases = []
        for fields in field_lists:
            self.input_bases.append(len(slots))
            for field in fields:
                self._array_of(field.type, len(slots))
                slots += flatten(field.type)
        inputs = len(slots) - len(self.params)
        first_state = len(slots)
        state = []
        for index in range(self.rng.randint(0, 4)):
            type_ = random_type(self.rng)
            self._array_of(type_, len(slots))
            state.append(p.StateVariable(f"s{index}", type_, len(slots), random_values(self.rng, type_)))
            slots += flatten(type_)
        timers = []
        for _ in range(self.rng.randint(0, 4)):
            kind = self.rng.choice(list(TimerKind))
            timer = p.Timer(kind, len(slots), self.rng.randint(1, 5) if TIMERS[kind].window else 0)
            timers.append(timer)
            slots += [p.MemorySlot(type_) for type_ in timer_slots(timer)]
        self.regions = p.Regions(len(self.params), inputs, len(slots) - first_state, 0)
        return tuple(state), tuple(timers), slots

    def _array_of(self, type_: p.Type, base: int) -> None:
        """Note the arrays of a list that lies at `base`."""
        if type_.tag is not p.TypeTag.LIST or type_.element is None:
            return
        for index in range(len(flatten(type_.element))):
            self.arrays.append(p.Array(base, base + 1 + index * type_.size, type_.size))

    def _locals(self) -> None:
        first = len(self.slots)
        for _ in range(self.rng.randint(1, 5)):
            self.slots.append(scalar_slot(random_type(self.rng, scalar=True)))
        self._array_of(p.Type(p.TypeTag.LIST, size=3, element=INT), len(self.slots))
        self.slots += flatten(p.Type(p.TypeTag.LIST, size=3, element=INT))
        self.regions = replace(self.regions, locals=len(self.slots) - first)

    def _site(self) -> p.Site:
        kind = self.rng.choice(list(p.SiteKind))
        asks = kind in (p.SiteKind.READ, p.SiteKind.LLM)
        answers = list(p.OnFailure) if asks else [p.OnFailure.ABORT, p.OnFailure.SKIP]
        args = tuple((f"a{index}", random_type(self.rng, scalar=True)) for index in range(self.rng.randint(0, 3)))
        result = random_type(self.rng, scalar=True) if asks else None
        return p.Site(kind, "cap.do", args, result, self.rng.choice(answers), cost=self.rng.randint(0, 50))

    # --- handlers ---

    def _handler(self, index: int, fields: tuple[p.Field, ...]) -> p.Trigger:
        entry, base = len(self.code), self.input_bases[index]
        size = sum(len(flatten(field.type)) for field in fields)
        first_state = self.regions.params + self.regions.inputs
        self.readable = [*range(self.regions.params), *range(base, base + size), *range(first_state, len(self.slots))]
        own = range(base, base + size)
        self.readable_arrays = [
            number for number, array in enumerate(self.arrays) if array.base >= first_state or array.base in own
        ]
        self.writable_from = first_state
        self.statements = self.rng.randint(1, 8)
        while self.statements > 0:
            self._statement()
        self._emit(Op.RETURN)
        kind = p.TriggerKind.SOURCE if fields else p.TriggerKind.EVERY
        source, period_us = ("mqtt", 0) if fields else ("", 1000)
        key = 0 if fields and len(flatten(fields[0].type)) == 1 and fields[0].type.tag is not p.TypeTag.RECORD else None
        return p.Trigger(kind, source, "", period_us, f"e{index}", fields, key, base, entry, len(self.code))

    def _emit(self, op: int, a: int = 0, b: int = 0) -> int:
        self.code.append(p.Instruction(op, a, b))
        return len(self.code) - 1

    def _aim(self, at: int) -> None:
        """Let the BRANCH or JUMP at `at` go to the next instruction."""
        self.code[at] = replace(self.code[at], b=len(self.code))

    def _statement(self) -> None:
        self.statements -= 1
        makers: list[Callable[[], None]] = [
            self._store,
            self._store,
            self._act,
            self._store_at,
            self._reset,
            self._drop,
        ]
        if self.blocks < 5 and len(self.code) < CODE_SOFT_MAX:
            makers += [self._if, self._if, self._loop]
        self.rng.choice(makers)()

    def _body(self) -> None:
        self.blocks += 1
        for _ in range(self.rng.choice((0, 1, 1, 2, 3))):
            self._statement()
        self.blocks -= 1

    def _store(self) -> None:
        slot = self.rng.randrange(self.writable_from, len(self.slots))
        self._expr(self.slots[slot].type)
        self._emit(Op.STORE, b=slot)

    def _store_at(self) -> None:
        arrays = [number for number in self.readable_arrays if self.arrays[number].base >= self.writable_from]
        number = self.rng.choice(arrays)
        self._expr(self.slots[self.arrays[number].base].type)
        if self.rng.random() < 0.5:
            self._emit(Op.GROW, b=number)
        else:
            self._small_int(self.arrays[number].capacity - 1)
        self._emit(Op.STORE_AT, b=number)

    def _act(self) -> None:
        sites = [index for index, site in enumerate(self.sites) if site.result is None]
        if not sites:
            return self._drop()
        return self._call(self.rng.choice(sites))

    def _call(self, index: int) -> None:
        site = self.sites[index]
        if site.on_failure is p.OnFailure.FALLBACK and site.result is not None:
            self._expr(scalar_slot(site.result).type)
        for _, type_ in site.args:
            self._expr(scalar_slot(type_).type)
        ops = {p.SiteKind.READ: Op.LOAD_RESOURCE, p.SiteKind.ACT: Op.CALL_ACTION, p.SiteKind.LLM: Op.LLM_CALL}
        self._emit(ops.get(site.kind, Op.EMIT_EVENT), b=index)

    def _reset(self) -> None:
        if self.timers:
            self._emit(Op.RESET, b=self.rng.randrange(len(self.timers)))

    def _drop(self) -> None:
        self._expr(self.rng.choice(list(p.ValueType)))
        if self.rng.random() < 0.3:
            self._emit(Op.DUP)
            self._emit(Op.POP)
        self._emit(Op.POP)

    def _if(self) -> None:
        self._expr(p.ValueType.BOOL)
        branch = self._emit(Op.BRANCH)
        self._body()
        if self.rng.random() < 0.5:
            jump = self._emit(Op.JUMP)
            self._aim(branch)
            self._body()
            self._aim(jump)
        else:
            self._aim(branch)

    def _loop(self) -> None:
        bound = self.rng.choice((1, 2, 3, 4))
        if self.loops >= 3:
            return
        if self.rng.random() < 0.85:
            self._emit(Op.PUSH_INT, b=self.rng.randint(1, bound))
        else:
            self._expr(p.ValueType.INT)
        start = self._emit(Op.LOOP, b=bound)
        self.loops += 1
        self._body()
        self.loops -= 1
        self._emit(Op.END_LOOP, b=start + 1)

    # --- expressions ---

    def _expr(self, type_: p.ValueType, depth: int = 0) -> None:
        if depth >= 3 or len(self.code) > CODE_SOFT_MAX or self.rng.random() < 0.35:
            return self._leaf(type_)
        makers = (self._plain, self._plain, self._plain, self._special, self._special)
        return self.rng.choice(makers)(type_, depth + 1)

    def _leaf(self, type_: p.ValueType) -> None:
        slots = [slot for slot in self.readable if self.slots[slot].type is type_]
        if slots and self.rng.random() < 0.6:
            self._emit(Op.LOAD, b=self.rng.choice(slots))
        elif type_ is p.ValueType.BOOL:
            self._emit(Op.PUSH_BOOL, a=self.rng.randint(0, 1))
        elif type_ is p.ValueType.INT:
            self._int_leaf()
        else:
            kind = float if type_ is p.ValueType.FLOAT else str
            self._emit(
                Op.CONST, b=self.rng.choice([i for i, value in enumerate(self.constants) if type(value) is kind])
            )

    def _int_leaf(self) -> None:
        roll = self.rng.random()
        if roll < 0.6:
            self._emit(Op.PUSH_INT, b=self.rng.randint(-9, 9) & 0xFFFF)
        elif roll < 0.75 and self.loops:
            self._emit(Op.LOOP_INDEX, a=self.rng.randrange(self.loops))
        elif roll < 0.85:
            self._emit(self.rng.choice((Op.NOW, Op.LOCAL_NOW)))
        else:
            self._emit(Op.CONST, b=self.rng.randrange(6))

    def _small_int(self, below: int) -> None:
        self._emit(Op.PUSH_INT, b=self.rng.randint(0, below))

    def _plain(self, type_: p.ValueType, depth: int) -> None:
        op = self.rng.choice(PLAIN[LETTER[type_]])
        for letter in OPS[op].pops:
            self._expr(p.ValueType("BIFT".index(letter)), depth)
        if op == Op.TEXT_ENUM:
            self._emit(op, a=self.rng.randint(1, 3), b=16)
        elif op == Op.TEXT_F:
            self._emit(op, a=self.rng.choice((0, 1, 2, 6, 255)))
        elif op == Op.CONCAT:
            self._emit(op, b=self.rng.choice((0, 1, 3, 16, 64, 255)))
        else:
            self._emit(op)

    def _special(self, type_: p.ValueType, depth: int) -> None:
        makers = (self._select, self._if_expr, self._read, self._element, self._timer, self._grow)
        self.rng.choice(makers)(type_, depth)

    def _select(self, type_: p.ValueType, depth: int) -> None:
        self._expr(p.ValueType.BOOL, depth)
        self._expr(type_, depth)
        if self.rng.random() < 0.3:
            self._emit(Op.DUP)
        else:
            self._expr(type_, depth)
        self._emit(Op.SELECT)

    def _if_expr(self, type_: p.ValueType, depth: int) -> None:
        self._expr(p.ValueType.BOOL, depth)
        branch = self._emit(Op.BRANCH)
        self._expr(type_, depth)
        jump = self._emit(Op.JUMP)
        self._aim(branch)
        self._expr(type_, depth)
        self._aim(jump)

    def _read(self, type_: p.ValueType, depth: int) -> None:
        sites = [i for i, site in enumerate(self.sites) if site.result and scalar_slot(site.result).type is type_]
        self._call(self.rng.choice(sites)) if sites and depth < 3 else self._leaf(type_)

    def _element(self, type_: p.ValueType, depth: int) -> None:
        arrays = [i for i in self.readable_arrays if self.slots[self.arrays[i].base].type is type_]
        if not arrays:
            return self._leaf(type_)
        number = self.rng.choice(arrays)
        self._small_int(2)
        self._emit(Op.LOAD_AT, b=number)
        return None

    def _timer(self, type_: p.ValueType, depth: int) -> None:
        letter = LETTER[type_]
        timers = [i for i, timer in enumerate(self.timers) if TIMERS[timer.kind].pushes == letter]
        if not timers:
            return self._leaf(type_)
        number = self.rng.choice(timers)
        for operand in TIMERS[self.timers[number].kind].pops:
            self._expr(p.ValueType("BIFT".index(operand)), depth)
        self._emit(Op.EVAL, b=number)
        return None

    def _grow(self, type_: p.ValueType, depth: int) -> None:
        arrays = [i for i in self.readable_arrays if self.arrays[i].base >= self.writable_from]
        if type_ is p.ValueType.INT and arrays:
            self._emit(Op.GROW, b=self.rng.choice(arrays))
        else:
            self._leaf(type_)


def random_program(rng: random.Random) -> p.Program:
    """Return a random program that verifies, its limits filled in."""
    return _Maker(rng).program()


def random_params(rng: random.Random, program: p.Program) -> list[p.Value]:
    """Return one value for each parameter slot."""
    return [random_value(rng, scalar_slot(param.type), param.type) for param in program.params]


def random_state(rng: random.Random, program: p.Program) -> list[p.Value]:
    """Return the initial state or, one time in three, any values at all (as a stored state might hold)."""
    state = initial_state(program)
    if rng.random() < 0.67:
        return state
    base = state_base(program)
    return [random_value(rng, program.slots[base + index]) for index in range(len(state))]


def random_steps(rng: random.Random, program: p.Program, count: int = 8) -> list[Step]:
    """Return events in order of time; some share a time, some are far apart."""
    time_us = rng.choice((0, 1, 10, 1_700_000_000_000_000))
    steps = []
    for _ in range(count):
        trigger = rng.randrange(len(program.triggers))
        inputs = tuple(value for field in program.triggers[trigger].fields for value in random_values(rng, field.type))
        steps.append(
            Step(trigger, time_us, rng.choice((0, 3_600_000_000, -7_200_000_000)), inputs, rng.getrandbits(32))
        )
        time_us += rng.choice((0, 1, 5, 10, 1000, 2_000_000))
    return steps
