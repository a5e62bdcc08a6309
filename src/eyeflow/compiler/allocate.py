"""Gives every variable, timer and array its place in memory: docs/svm.md, Memory."""

from __future__ import annotations

from dataclasses import field

from eyeflow.base.record import dataclass
from eyeflow.compiler import ir, types
from eyeflow.compiler import typed as t
from eyeflow.svm.opcodes import TIMERS, TimerKind
from eyeflow.svm.program import Array, MemorySlot, Regions, Timer, ValueType

_INT, _FLOAT, _BOOL = MemorySlot(ValueType.INT), MemorySlot(ValueType.FLOAT), MemorySlot(ValueType.BOOL)


@dataclass(slots=True)
class Memory:
    """The layout of a program's memory."""

    slots: list[MemorySlot] = field(default_factory=list)
    bases: dict[t.Variable, int] = field(default_factory=dict)
    input_bases: list[int] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    timer_numbers: dict[ir.TimerSymbol, int] = field(default_factory=dict)
    arrays: dict[Array, int] = field(default_factory=dict)
    regions: Regions = field(default_factory=Regions)

    def place(self, variable: t.Variable) -> None:
        """Put a variable after everything else."""
        self.bases[variable] = len(self.slots)
        self.slots.extend(types.slots(variable.type))

    def slot_of(self, cell: ir.Cell) -> int:
        """Return the number of a slot."""
        return self.bases[cell.variable] + cell.offset

    def array_of(self, row: ir.Row) -> int:
        """Return the number of an array, the same one for the same slots."""
        length = self.bases[row.variable] + row.offset
        capacity = row.list_type.size
        array = Array(length, length + 1 + row.scalar * capacity, capacity)
        return self.arrays.setdefault(array, len(self.arrays))


def allocate(unit: ir.Unit) -> Memory:
    """Lay out parameters, inputs, state with timers, and locals."""
    memory = Memory()
    for param in unit.rule.params:
        memory.place(param.variable)
    params = len(memory.slots)
    for handler in unit.handlers:
        memory.input_bases.append(len(memory.slots))
        if handler.trigger.payload is not None:
            memory.place(handler.trigger.payload)
    inputs = len(memory.slots) - params
    for state in unit.rule.states:
        memory.place(state.variable)
    for timer in unit.timers:
        _place_timer(memory, timer)
    state_count = len(memory.slots) - params - inputs
    _place_locals(memory, unit)
    memory.regions = Regions(params, inputs, state_count, len(memory.slots) - params - inputs - state_count)
    return memory


def _place_timer(memory: Memory, timer: ir.TimerSymbol) -> None:
    memory.timer_numbers[timer] = len(memory.timers)
    memory.timers.append(Timer(int(timer.kind), len(memory.slots), timer.capacity))
    if TIMERS[timer.kind].window:
        memory.slots += [_INT] * (2 + timer.capacity) + [_FLOAT] * timer.capacity
    else:
        memory.slots.append(_BOOL if timer.kind in (TimerKind.RISES, TimerKind.FALLS) else _INT)


# --- locals --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Life:
    """From the first to the last instruction that names a local."""

    first: int
    last: int


def _place_locals(memory: Memory, unit: ir.Unit) -> None:
    """Let locals of the same slots share them when their lives do not meet; handlers always share."""
    pool: dict[tuple[MemorySlot, ...], list[tuple[int, int]]] = {}
    offset = 0
    for handler in unit.handlers:
        lives, end = _lives(handler, offset)
        # In the order of their starts: of each shared place, only the end of its last life is known.
        for variable, life in sorted(lives.items(), key=lambda item: item[1].first):
            _share(memory, pool.setdefault(types.slots(variable.type), []), variable, life)
        offset = end


def _share(memory: Memory, free: list[tuple[int, int]], variable: t.Variable, life: _Life) -> None:
    for number, (base, until) in enumerate(free):
        if until < life.first:
            memory.bases[variable] = base
            free[number] = (base, life.last)
            return
    memory.place(variable)
    free.append((memory.bases[variable], life.last))


def _lives(handler: ir.Handler, offset: int) -> tuple[dict[t.Variable, _Life], int]:
    lives: dict[t.Variable, _Life] = {}
    end = _scan(handler.nodes, offset, lives)
    return lives, end


def _scan(nodes: tuple[ir.Node, ...], position: int, lives: dict[t.Variable, _Life]) -> int:
    for node in nodes:
        position += 1
        if isinstance(node, ir.Do):
            if isinstance(node.b, ir.Cell | ir.Row) and node.b.variable.region is t.Region.LOCAL:
                lives.setdefault(node.b.variable, _Life(position, position)).last = position
        elif isinstance(node, ir.If):
            position = _scan(node.otherwise, _scan(node.then, position, lives), lives)
        else:
            position = _scan_loop(node, position, lives)
    return position


def _scan_loop(loop: ir.Loop, start: int, lives: dict[t.Variable, _Life]) -> int:
    """What lived before a loop and is named in it lives to its end: the next trip names it again."""
    end = _scan(loop.body, start, lives)
    for life in lives.values():
        if life.first <= start < life.last:
            life.last = end
    return end
