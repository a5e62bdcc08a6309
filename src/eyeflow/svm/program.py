"""What a program is: the decoded contents of a `.svm` file, before and apart from its bytes.

Everything is frozen; `eyeflow.svm.container` turns a `Program` into bytes and back, `eyeflow.svm.verify` proves it.
Shapes, units and numbering are specified in `docs/svm.md`.
"""

from __future__ import annotations

from enum import Enum, IntEnum

from eyeflow.base.record import dataclass

Value = bool | int | float | str
"""One scalar in a slot or on the operand stack: B, I, F or T of the instruction-set table."""


class ValueType(IntEnum):
    """Type of a slot, a constant or an operand-stack entry."""

    BOOL = 0
    INT = 1
    FLOAT = 2
    TEXT = 3


class Profile(IntEnum):
    """What a program may use."""

    LINUX = 0
    MCU = 1


class Priority(IntEnum):
    """Scheduling class of a rule, most urgent first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BACKGROUND = 4


class SiteKind(IntEnum):
    """What a capability site does, and so which instruction may name it."""

    READ = 0
    ACT = 1
    LLM = 2
    EMIT = 3


class OnFailure(IntEnum):
    """Declared answer to a capability that failed after its retries."""

    ABORT = 0
    SKIP = 1
    FALLBACK = 2


class TriggerKind(IntEnum):
    """What starts an execution."""

    EVERY = 0
    CRON = 1
    SOURCE = 2


class Direction(IntEnum):
    """Direction of a pin."""

    INPUT = 0
    OUTPUT = 1


class TypeTag(Enum):
    """Kind of a language type as stored in a program; the value is its tag byte."""

    BOOL = 0
    INT = 1
    FLOAT = 2
    DURATION = 3
    TEXT = 4
    ENUM = 5
    LIST = 6
    RECORD = 7
    PIN = 8


@dataclass(frozen=True, slots=True)
class Type:
    """A language type as a program carries it, for hosts that must show or check values.

    `size` is the byte limit of a text or the capacity of a list; `members` the names of an enum, in ordinal order;
    `element` the element type of a list; `fields` the fields of a record; `name` the declared name of an enum or
    record (empty when it has none).
    """

    tag: TypeTag
    size: int = 0
    name: str = ""
    members: tuple[str, ...] = ()
    element: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()
    direction: Direction = Direction.INPUT


@dataclass(frozen=True, slots=True)
class MemorySlot:
    """One slot of memory. `size_bytes_max` is the byte limit of a TEXT slot, 0 for the other types."""

    type: ValueType
    size_bytes_max: int = 0


@dataclass(frozen=True, slots=True)
class Regions:
    """How many slots each region has. They lie one after the other from slot 0: params, inputs, state, locals."""

    params: int = 0
    inputs: int = 0
    state: int = 0
    locals: int = 0


@dataclass(frozen=True, slots=True)
class Array:
    """Elements of one scalar type: `capacity` slots from `base`, the current length in slot `length_slot`."""

    length_slot: int
    base: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Timer:
    """The memory of one time word: `kind` is a timer code of the table, `capacity` the samples of a window (else 0)."""

    kind: int
    base: int
    capacity: int = 0


@dataclass(frozen=True, slots=True)
class Instruction:
    """One decoded 32-bit instruction word."""

    opcode: int
    a: int = 0
    b: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """One place where a program meets the world: a capability with its argument types and its answer to failure.

    For EMIT, `capability` is the event name and `args` are its fields. `resource` is the key of the physical resource
    for arbitration, with `{argument}` holes (empty: none). `level` says that repeating the same value changes nothing
    (a pin level): a host may leave out the repetition. Durations are in microseconds; 0 means none.
    """

    kind: SiteKind
    capability: str
    args: tuple[tuple[str, Type], ...] = ()
    result: Type | None = None
    on_failure: OnFailure = OnFailure.ABORT
    retries: int = 0
    backoff_us: int = 0
    timeout_us: int = 0
    cost: int = 0
    resource: str = ""
    level: bool = False


@dataclass(frozen=True, slots=True)
class Param:
    """A value set per deployment without recompiling; `low` and `high` bound it when they are given."""

    name: str
    type: Type
    slot: int
    default: Value
    low: Value | None = None
    high: Value | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """A named pin that the board file or the node's configuration binds to hardware."""

    name: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class StateVariable:
    """One declared state variable: `initial` has one value for each slot of its flattened type, from slot `base`."""

    name: str
    type: Type
    base: int
    initial: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a trigger's payload; with `default` (its flattened values) the field may be absent."""

    name: str
    type: Type
    default: tuple[Value, ...] | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """What starts an execution, the schema of its payload, and the code that runs.

    `source` and `address` are set for SOURCE (`mqtt`, `plant/+/temp`), `address` holds the expression for CRON,
    `period_us` the period for EVERY and for a source that samples. The payload's flattened fields fill the input
    slots from `input_base`. `key` is the index of the key field, or None. The handler is code[entry:end].
    """

    kind: TriggerKind
    source: str
    address: str
    period_us: int
    binding: str
    fields: tuple[Field, ...]
    key: int | None
    input_base: int
    entry: int
    end: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What the verifier proves of one execution, the worst over all handlers, and the memory a program takes.

    `state_bytes`: 8 for each state slot plus 2 + limit for each TEXT state slot. `scratch_bytes`: text made in one
    execution. `emits_max` counts EMIT_EVENT, `llm_max` LLM_CALL.
    """

    fuel_max: int
    stack_max: int
    block_depth_max: int
    loop_depth_max: int
    actions_max: int
    emits_max: int
    reads_max: int
    llm_max: int
    state_bytes: int
    scratch_bytes: int


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """From instruction `pc` on, the code stems from this place: line and column count from 1."""

    pc: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Program:
    """One rule, compiled. `sequence` orders the programs of a rule for anti-rollback; `chip` is empty for any."""

    rule: str
    version: str
    description: str
    priority: Priority
    profile: Profile
    chip: str
    sequence: int
    limits: Limits
    regions: Regions
    slots: tuple[MemorySlot, ...]
    constants: tuple[Value, ...]
    arrays: tuple[Array, ...]
    timers: tuple[Timer, ...]
    code: tuple[Instruction, ...]
    sites: tuple[Site, ...]
    params: tuple[Param, ...]
    pins: tuple[Pin, ...]
    state: tuple[StateVariable, ...]
    triggers: tuple[Trigger, ...]
    source_name: str = ""
    source_map: tuple[SourcePosition, ...] = ()
