"""The typed tree: what the checker makes of a syntax tree, with every name resolved and every type known.

Constant parts are folded already: a `Const` is a scalar known at compile time. Time words carry the kind of timer they
become; capability calls carry the description of their site.
"""

from __future__ import annotations

from enum import Enum

from eyeflow.base.diagnostic import Span
from eyeflow.base.record import dataclass
from eyeflow.svm.opcodes import TimerKind
from eyeflow.svm.program import (
    OnFailure,
    Pin,
    Priority,
    SiteKind,
    TriggerKind,
    Type,
    Value,
)  # fmt: skip


class Region(Enum):
    """Where a variable lives."""

    PARAM = "param"
    INPUT = "input"
    STATE = "state"
    LOCAL = "local"


@dataclass(eq=False, slots=True)
class Variable:
    """Something with slots: a parameter, a payload, a state variable or a local. Compared by identity."""

    name: str
    type: Type
    region: Region
    span: Span


@dataclass(frozen=True, slots=True)
class Const:
    """A scalar known at compile time; an enum is its ordinal, a pin its index."""

    value: Value
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Place:
    """A variable or a part of it.

    Without `index`, the `type` lies at slot `offset` of the variable. With it, `offset` is where the list `list_type`
    lies, and the place is its element `index`, from that element's scalar number `scalar` on.
    """

    variable: Variable
    offset: int
    type: Type
    span: Span
    index: Expr | None = None
    list_type: Type | None = None
    scalar: int = 0


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x` or `not x`."""

    operator: str
    operand: Expr
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic or a comparison; the operand types choose the instruction."""

    operator: str
    left: Expr
    right: Expr
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Logic:
    """`and`, `or`; `eager` when the right side holds a time word and so is always evaluated."""

    operator: str
    left: Expr
    right: Expr
    eager: bool
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Choose:
    """`if c then x else y`; `eager` as for Logic."""

    condition: Expr
    then: Expr
    otherwise: Expr
    eager: bool
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """`left > limit hysteresis band`; `memory` is the hidden state variable that says whether it is on."""

    operator: str
    left: Expr
    limit: Expr
    band: Expr
    memory: Variable
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class TimeWord:
    """A timer: `value` is the condition or sample, `duration` the span (None for edges)."""

    kind: TimerKind
    value: Expr
    duration: Expr | None
    capacity: int
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class ToText:
    """A scalar as text; `decimals` 255: as many as needed."""

    value: Expr
    decimals: int
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language on scalars."""

    name: str
    args: tuple[Expr, ...]
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class ListFold:
    """`sum`, `min`, `max` or `mean` over a list."""

    name: str
    items: Expr
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class ListLength:
    """`len(list)`."""

    items: Expr
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class ListLiteral:
    """`[a, b]`."""

    items: tuple[Expr, ...]
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class RecordLiteral:
    """`Reading(temp: 1.0)`: one expression for each field, in the order of the type."""

    fields: tuple[Expr, ...]
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Site:
    """What a call of a capability asks for, but its arguments' values."""

    kind: SiteKind
    capability: str
    args: tuple[tuple[str, Type], ...]
    result: Type | None
    on_failure: OnFailure
    retries: int
    backoff_us: int
    timeout_us: int
    cost: int
    resource: str
    level: bool


@dataclass(frozen=True, slots=True)
class Read:
    """A read or LLM call with its arguments, and its fallback when it has one."""

    site: Site
    args: tuple[Expr, ...]
    fallback: Expr | None
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class ErrorExpr:
    """Something that was reported."""

    type: Type
    span: Span


Expr = (
    Const | Place | Unary | Binary | Logic | Choose | Hysteresis | TimeWord | ToText | Function | ListFold | ListLength
    | ListLiteral | RecordLiteral | Read | ErrorExpr
)  # fmt: skip


# --- statements ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Statements in order."""

    statements: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Store:
    """Put a value into a place: `let`, `var` and assignment."""

    place: Place
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    """`if`; a missing `else` is an empty block."""

    condition: Expr
    then: Block
    otherwise: Block
    span: Span


@dataclass(frozen=True, slots=True)
class MatchArm:
    """The ordinals that lead to a block; none: `else`."""

    ordinals: tuple[int, ...]
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class Match:
    """`match`; the arms together cover the enum, the last one takes what is left."""

    subject: Expr
    arms: tuple[MatchArm, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ForEach:
    """Visit the elements of a list."""

    variable: Variable
    items: Expr
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class ForRange:
    """Count from `low` to below `high`, at most `bound` trips."""

    variable: Variable
    low: Expr
    high: Expr
    bound: int
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class Append:
    """`append(list, value)`."""

    place: Place
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Clear:
    """`clear(list)`."""

    place: Place
    span: Span


@dataclass(frozen=True, slots=True)
class Act:
    """An action or an emitted event."""

    site: Site
    args: tuple[Expr, ...]
    span: Span


Statement = Store | If | Match | ForEach | ForRange | Append | Clear | Act


# --- items ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter with its default and range."""

    variable: Variable
    default: Value
    low: Value | None = None
    high: Value | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A state variable with the values of its slots at the start; `hidden` is made for a hysteresis."""

    variable: Variable
    initial: tuple[Value, ...]
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class PayloadField:
    """A field of a trigger's payload; `default` has its flattened values."""

    name: str
    type: Type
    default: tuple[Value, ...] | None


@dataclass(frozen=True, slots=True)
class Trigger:
    """What starts a handler. `payload` is the input variable of a source with a record."""

    kind: TriggerKind
    source: str
    address: str
    period_us: int
    binding: str
    fields: tuple[PayloadField, ...]
    key: int | None
    payload: Variable | None


@dataclass(frozen=True, slots=True)
class Handler:
    """A trigger and its statements."""

    trigger: Trigger
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule without mistakes."""

    name: str
    version: str
    description: str
    priority: Priority
    pins: tuple[Pin, ...]
    params: tuple[Param, ...]
    states: tuple[State, ...]
    handlers: tuple[Handler, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Probe:
    """A condition of a test and the operands worth showing: becomes a program of its own."""

    condition: Expr
    operands: tuple[Expr, ...]
