"""Where the slots of memory live in one generated handler: in Python variables, or in lists where they are indexed.

A slot is loaded into its variable when a path first needs it, and state is written back only at RETURN: an execution
that does not get there has changed nothing. Slots that an array or a window reaches live in a copy of the state (`st`)
or in a list of locals (`lo`); arrays that the handler only reads are read where they are.
"""

from __future__ import annotations

from eyeflow.base.record import dataclass
from eyeflow.svm.opcodes import TIMERS, Op, TimerKind
from eyeflow.svm.program import Array, Instruction, Program, Timer, Trigger, Value, ValueType

STATE_COPY, LOCALS_LIST = -1, -2
"""Keys of the two lists among the cells; a slot's key is its number."""
FIRST_WINDOW = -10
"""Key of the cell for the outcome of timer 0, when that is a window; of timer n: FIRST_WINDOW - n."""

ZEROS: dict[ValueType, Value] = {ValueType.BOOL: False, ValueType.INT: 0, ValueType.FLOAT: 0.0, ValueType.TEXT: ""}


@dataclass(frozen=True, slots=True)
class Cell:
    """A Python variable that stands for one slot, or for a list of slots: how it is loaded and written back."""

    name: str
    loader: str
    write_back: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slot is: the expression, and the cell that must be loaded first (None: an argument, read as it is)."""

    text: str
    cell: int | None
    is_constant: bool


class Memory:
    """The places of all slots that one handler names."""

    def __init__(self, program: Program, trigger: Trigger) -> None:
        self._program = program
        regions = program.regions
        self._input_base = trigger.input_base
        self._input_end = regions.params + regions.inputs
        self._locals_base = self._input_end + regions.state
        code = program.code[trigger.entry : trigger.end]
        self._loads = _count_loads(code)
        self._late = _late_windows(program, code)
        indexed = _indexed_slots(program, code, self._late)
        self._indexed = indexed if self._writes_any(code, indexed) else {k for k in indexed if k >= self._locals_base}

    def place(self, slot: int) -> Place:
        """Return where one slot is."""
        if slot in self._indexed:
            return self._indexed_place(slot)
        if slot >= self._input_end:
            return Place(f"v{slot}", slot, is_constant=False)
        if self._loads.get(slot, 0) > 1:
            return Place(f"v{slot}", slot, is_constant=True)
        return Place(self._argument(slot), None, is_constant=True)

    def run(self, array: Array) -> tuple[Place, str]:
        """Return the place of an array's first element and the text that an index is appended to: `st[`, `i[3 + `."""
        first = self.place(array.base)
        if array.base in self._indexed:
            base = array.base - (self._locals_base if array.base >= self._locals_base else self._input_end)
            name = first.text.split("[", 1)[0]
        else:
            first = Place("", None, is_constant=True)
            name, _, offset = self._argument(array.base).partition("[")
            base = int(offset.rstrip("]"))
        return first, f"{name}[{base} + " if base else f"{name}["

    def is_late(self, timer: int) -> bool:
        """Say whether a window is evaluated without changing the state, and written at RETURN."""
        return timer in self._late

    def state_index(self, slot: int) -> int:
        """Return the place of a slot in the state region."""
        return slot - self._input_end

    def cell(self, key: int) -> Cell:
        """Return the variable behind a key."""
        if key == STATE_COPY:
            return Cell("st", "s[:]", "s[:] = st")
        if key == LOCALS_LIST:
            return Cell("lo", "list(LOCALS)")
        if key <= FIRST_WINDOW:
            return self._window_cell(FIRST_WINDOW - key)
        if key >= self._locals_base:
            return Cell(f"v{key}", f"LOCALS[{key - self._locals_base}]")
        argument = self._argument(key)
        return Cell(f"v{key}", argument, f"{argument} = v{key}" if key >= self._input_end else "")

    def is_local(self, slot: int) -> bool:
        """Say whether a slot starts as zero in each execution."""
        return slot >= self._locals_base

    def local_zeros(self) -> tuple[Value, ...]:
        """Return what the locals hold when a handler starts."""
        return tuple(ZEROS[slot.type] for slot in self._program.slots[self._locals_base :])

    def _window_cell(self, index: int) -> Cell:
        timer = self._program.timers[index]
        place = f"{timer.base - self._input_end}, {timer.capacity}, t, w{index}"
        return Cell(f"w{index}", "None", f"if w{index}: commit(s, {place})")

    def _indexed_place(self, slot: int) -> Place:
        if slot >= self._locals_base:
            return Place(f"lo[{slot - self._locals_base}]", LOCALS_LIST, is_constant=False)
        return Place(f"st[{slot - self._input_end}]", STATE_COPY, is_constant=False)

    def _argument(self, slot: int) -> str:
        if slot < self._program.regions.params:
            return f"p[{slot}]"
        if slot < self._input_end:
            return f"i[{slot - self._input_base}]"
        return f"s[{slot - self._input_end}]"

    def _writes_any(self, code: tuple[Instruction, ...], indexed: set[int]) -> bool:
        """Say whether the handler writes state that it also indexes."""
        state = range(self._input_end, self._locals_base)
        return any(slot in state and slot in indexed for instruction in code for slot in self._written(instruction))

    def _written(self, instruction: Instruction) -> list[int]:
        is_window = instruction.opcode == Op.EVAL and self.is_late(instruction.b)
        return [] if is_window else written_slots(self._program, instruction)


def written_slots(program: Program, instruction: Instruction) -> list[int]:
    """Return the slots that an instruction may write."""
    match instruction.opcode:
        case Op.STORE:
            return [instruction.b]
        case Op.STORE_AT:
            array = program.arrays[instruction.b]
            return list(range(array.base, array.base + array.capacity))
        case Op.GROW:
            return [program.arrays[instruction.b].length_slot]
        case Op.EVAL | Op.RESET:
            return timer_slots(program.timers[instruction.b])
    return []


def timer_slots(timer: Timer) -> list[int]:
    """Return the slots of a timer."""
    size = 2 + 2 * timer.capacity if is_window(timer) else TIMERS[timer.kind].slots
    return list(range(timer.base, timer.base + size))


def is_window(timer: Timer) -> bool:
    """Say whether a timer holds samples."""
    return timer.kind >= TimerKind.MEAN


def _late_windows(program: Program, code: tuple[Instruction, ...]) -> set[int]:
    """Return the windows that the code evaluates at most once and touches in no other way."""
    counts: dict[int, int] = {}
    touched: set[int] = set()
    loops = 0
    for instruction in code:
        loops += (instruction.opcode == Op.LOOP) - (instruction.opcode == Op.END_LOOP)
        if instruction.opcode == Op.EVAL:
            counts[instruction.b] = counts.get(instruction.b, 0) + (2 if loops else 1)
        elif instruction.opcode in (Op.LOAD, Op.STORE):
            touched.add(instruction.b)
        elif instruction.opcode == Op.RESET:
            touched.update(timer_slots(program.timers[instruction.b]))
        elif instruction.opcode in (Op.LOAD_AT, Op.STORE_AT, Op.GROW):
            touched.update(_array_slots(program.arrays[instruction.b]))
    return {
        index
        for index, count in counts.items()
        if count == 1 and is_window(program.timers[index]) and touched.isdisjoint(timer_slots(program.timers[index]))
    }


def _array_slots(array: Array) -> list[int]:
    return [array.length_slot, *range(array.base, array.base + array.capacity)]


def _indexed_slots(program: Program, code: tuple[Instruction, ...], late: set[int]) -> set[int]:
    """Return the state and local slots that the code reaches by an index that is known only when it runs."""
    slots: set[int] = set()
    for instruction in code:
        if instruction.opcode in (Op.LOAD_AT, Op.STORE_AT, Op.GROW):
            slots.update(_array_slots(program.arrays[instruction.b]))
        elif instruction.opcode == Op.EVAL and instruction.b in late:
            continue
        elif instruction.opcode in (Op.EVAL, Op.RESET) and is_window(program.timers[instruction.b]):
            slots.update(timer_slots(program.timers[instruction.b]))
    fixed = program.regions.params + program.regions.inputs
    return {slot for slot in slots if slot >= fixed}


def _count_loads(code: tuple[Instruction, ...]) -> dict[int, int]:
    """Count how often each slot is loaded; inside a loop counts as often."""
    counts: dict[int, int] = {}
    loops = 0
    for instruction in code:
        loops += (instruction.opcode == Op.LOOP) - (instruction.opcode == Op.END_LOOP)
        if instruction.opcode == Op.LOAD:
            counts[instruction.b] = counts.get(instruction.b, 0) + (2 if loops else 1)
    return counts
