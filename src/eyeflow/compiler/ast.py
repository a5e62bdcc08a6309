"""The syntax tree of a rule, as the parser builds it. Every node carries the span of its source text.

The tree is untyped and unresolved: names are text. The grammar stands in `docs/language.md`.
"""

from __future__ import annotations

from eyeflow.base.diagnostic import Span
from eyeflow.base.record import dataclass
from eyeflow.compiler.ast_expressions import (
    Argument,
    BinaryExpr,
    BoolLiteral,
    CallExpr,
    DurationLiteral,
    ErrorExpr,
    Expr,
    Failure,
    FailureKind,
    FieldExpr,
    FloatLiteral,
    IfExpr,
    IndexExpr,
    IntLiteral,
    LastExpr,
    ListExpr,
    Name,
    NameExpr,
    TextLiteral,
    TextPart,
    TimeExpr,
    TimeWord,
    UnaryExpr,
)

__all__ = [
    "Advance", "Argument", "Assign", "BinaryExpr", "Block", "BoolLiteral", "CallExpr", "ConstDecl", "CronTrigger",
    "DurationLiteral", "Emit", "EnumDecl", "ErrorExpr", "EveryTrigger", "ExpectAction", "ExpectEmit",
    "ExpectNoActions", "ExpectThat", "ExpectTrap", "Expr", "ExprStatement", "Failure", "FailureKind", "FieldDecl",
    "FieldExpr", "FloatLiteral", "ForEach", "ForRange", "GivenParam", "GivenRead", "GivenTime", "GpioTrigger",
    "Handler", "If", "IfExpr", "IndexExpr", "IntLiteral", "LastExpr", "Let", "ListExpr", "Match", "MatchArm",
    "Name", "NameExpr", "ParamDecl", "PinDecl", "RecordDecl", "Rule", "Send", "SourceTrigger", "StateDecl",
    "Statement", "Step", "TestDecl", "TextItem", "TextLiteral", "TextPart", "TimeExpr", "TimeWord", "TriggerDecl",
    "TypeName", "UnaryExpr",
]  # fmt: skip

# --- types ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as written: `float`, `text(32)`, `list(Reading, 8)`; `size` is the number in the parentheses."""

    name: Name
    span: Span
    size: int | None = None
    element: TypeName | None = None


# --- statements ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """`{ ... }`, or the statements of a handler without braces."""

    statements: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Let:
    """`let x = ...` (`mutable` false) or `var x = ...`."""

    name: Name
    type: TypeName | None
    value: Expr
    mutable: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Assign:
    """`place = value`; `place` is a NameExpr, FieldExpr or IndexExpr."""

    place: Expr
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    """`if`, with `else if` as an If inside `otherwise`."""

    condition: Expr
    then: Block
    otherwise: Block | If | None
    span: Span


@dataclass(frozen=True, slots=True)
class ForEach:
    """`for x in list { ... }`."""

    variable: Name
    items: Expr
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class ForRange:
    """`for i in low..high [max bound] { ... }`."""

    variable: Name
    low: Expr
    high: Expr
    bound: int | None
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class MatchArm:
    """`HEAT, COOL => { ... }`; no names: the `else` arm."""

    members: tuple[Name, ...]
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class Match:
    """`match mode { ... }`."""

    subject: Expr
    arms: tuple[MatchArm, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Emit:
    """`emit overheated(temp: temp)`."""

    event: Name
    fields: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ExprStatement:
    """A call as a statement: an action, `append(...)` or `clear(...)`."""

    call: Expr
    span: Span


Statement = Let | Assign | If | ForEach | ForRange | Match | Emit | ExprStatement


# --- items of a rule -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextItem:
    """A header line with a text: version or description."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class EnumDecl:
    """`enum Mode { OFF, HEAT }`."""

    name: Name
    members: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class FieldDecl:
    """A field of a record."""

    name: Name
    type: TypeName
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class RecordDecl:
    """`record Reading { temp: float }`."""

    name: Name
    fields: tuple[FieldDecl, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class PinDecl:
    """`pin RELAY: output`."""

    name: Name
    direction: Name
    span: Span


@dataclass(frozen=True, slots=True)
class ParamDecl:
    """`param limit: float = 80.0 in 20.0..120.0`."""

    name: Name
    type: TypeName
    default: Expr
    low: Expr | None
    high: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class ConstDecl:
    """`const STEP = 0.5`."""

    name: Name
    type: TypeName | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class StateDecl:
    """`state trips: int = 0`."""

    name: Name
    type: TypeName
    initial: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class EveryTrigger:
    """`every 500ms`."""

    period_us: int
    span: Span


@dataclass(frozen=True, slots=True)
class CronTrigger:
    """`cron "0 6 * * *"`."""

    expression: str
    span: Span


@dataclass(frozen=True, slots=True)
class GpioTrigger:
    """`gpio DOOR changes`; `edge` is `rises`, `falls` or `changes`."""

    pin: Name
    edge: Name
    span: Span


@dataclass(frozen=True, slots=True)
class SourceTrigger:
    """`mqtt "plant/+/temp" as reading: Reading key sensor`."""

    source: Name
    address: str | None
    address_span: Span | None
    period_us: int | None
    binding: Name
    record: Name
    key: Name | None
    span: Span


TriggerDecl = EveryTrigger | CronTrigger | GpioTrigger | SourceTrigger


@dataclass(frozen=True, slots=True)
class Handler:
    """A trigger and what it runs; `braced` is false when the statements stand directly in the rule."""

    trigger: TriggerDecl
    body: Block
    braced: bool
    span: Span


# --- tests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Advance:
    """`after 2s` or `at 2s`: the moment from the start of the test, in microseconds. `word` is what was written."""

    word: str
    time_us: int
    span: Span


@dataclass(frozen=True, slots=True)
class GivenRead:
    """`given adc.read_channel(0) = 850`; `value` None: `fails`."""

    call: CallExpr
    value: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class GivenParam:
    """`given limit = 70.0`."""

    name: Name
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class GivenTime:
    """`given time "2026-03-01 06:00"`."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Send:
    """`send reading { temp: 81.5 }`."""

    binding: Name | None
    fields: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ExpectAction:
    """`expect [no | N times] gpio.set_pin(RELAY, HIGH)`; `count` None: at least once, 0: `no`."""

    call: CallExpr
    count: int | None
    span: Span


@dataclass(frozen=True, slots=True)
class ExpectEmit:
    """`expect [no | N times] emit overheated(temp: 81.5)`."""

    event: Name
    fields: tuple[Argument, ...]
    count: int | None
    span: Span


@dataclass(frozen=True, slots=True)
class ExpectNoActions:
    """`expect no actions`."""

    span: Span


@dataclass(frozen=True, slots=True)
class ExpectTrap:
    """`expect trap`."""

    span: Span


@dataclass(frozen=True, slots=True)
class ExpectThat:
    """`expect trips == 1`."""

    condition: Expr
    span: Span


Step = (
    Advance | GivenRead | GivenParam | GivenTime | Send
    | ExpectAction | ExpectEmit | ExpectNoActions | ExpectTrap | ExpectThat
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TestDecl:
    """`test "name" { ... }`; `after 1s expect x` is an Advance followed by the expectation."""

    __test__ = False
    name: str
    steps: tuple[Step, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Rule:
    """A whole file. What is missing is None or empty; the checker reports what must not be."""

    name: Name
    span: Span
    version: TextItem | None = None
    priority: Name | None = None
    description: TextItem | None = None
    enums: tuple[EnumDecl, ...] = ()
    records: tuple[RecordDecl, ...] = ()
    pins: tuple[PinDecl, ...] = ()
    params: tuple[ParamDecl, ...] = ()
    consts: tuple[ConstDecl, ...] = ()
    states: tuple[StateDecl, ...] = ()
    handlers: tuple[Handler, ...] = ()
    tests: tuple[TestDecl, ...] = ()
