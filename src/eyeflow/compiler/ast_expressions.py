"""The expressions of the syntax tree; `eyeflow.compiler.ast` gives them all."""

from __future__ import annotations

from enum import Enum

from eyeflow.base.diagnostic import Span
from eyeflow.base.record import dataclass


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier where it was written."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class IntLiteral:
    """`42`, `0x2A`."""

    value: int
    span: Span


@dataclass(frozen=True, slots=True)
class FloatLiteral:
    """`0.5`."""

    value: float
    span: Span


@dataclass(frozen=True, slots=True)
class DurationLiteral:
    """`1h30min`, in microseconds."""

    value_us: int
    span: Span


@dataclass(frozen=True, slots=True)
class BoolLiteral:
    """`true`, `false`."""

    value: bool
    span: Span


@dataclass(frozen=True, slots=True)
class TextPart:
    """One piece of a text: literal `text`, or an interpolated `expr` with an optional number of decimals."""

    span: Span
    text: str = ""
    expr: Expr | None = None
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class TextLiteral:
    """A text; without interpolation it has at most one part."""

    parts: tuple[TextPart, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class NameExpr:
    """A name used as a value."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class FieldExpr:
    """`base.field`; also a qualified enum member `Mode.HEAT`."""

    base: Expr
    field: Name
    span: Span


@dataclass(frozen=True, slots=True)
class IndexExpr:
    """`base[index]`."""

    base: Expr
    index: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class ListExpr:
    """`[a, b]`."""

    items: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a call, named or by position."""

    value: Expr
    span: Span
    name: Name | None = None


class FailureKind(Enum):
    """What follows `else` after a capability call."""

    ABORT = "abort"
    SKIP = "skip"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class Failure:
    """The declared answer to a failing capability; what is None was not written."""

    span: Span
    retries: int | None = None
    backoff_us: int | None = None
    timeout_us: int | None = None
    kind: FailureKind | None = None
    fallback: Expr | None = None


@dataclass(frozen=True, slots=True)
class CallExpr:
    """`abs(x)` or `gpio.set_pin(RELAY, HIGH) retry 3 else skip`. `path` is `("gpio", "set_pin")`."""

    path: tuple[Name, ...]
    args: tuple[Argument, ...]
    span: Span
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class LastExpr:
    """`last 5min max 300` or `last 20`, the window of an aggregate. `span_expr` is a duration or an int literal."""

    size: Expr
    bound: int | None
    span: Span


@dataclass(frozen=True, slots=True)
class UnaryExpr:
    """`-x`, `not x`."""

    operator: str
    operand: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class BinaryExpr:
    """Arithmetic, comparison (with an optional hysteresis band), `and`, `or`."""

    operator: str
    left: Expr
    right: Expr
    operator_span: Span
    span: Span
    hysteresis: Expr | None = None


@dataclass(frozen=True, slots=True)
class IfExpr:
    """`if c then x else y`."""

    condition: Expr
    then: Expr
    otherwise: Expr
    span: Span


class TimeWord(Enum):
    """The words that follow a condition."""

    FOR = "for"
    COOLDOWN = "cooldown"
    RISES = "rises"
    FALLS = "falls"


@dataclass(frozen=True, slots=True)
class TimeExpr:
    """`condition for 2s`, `condition cooldown 5min`, `condition rises`, `condition falls`."""

    word: TimeWord
    condition: Expr
    duration: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class ErrorExpr:
    """Stands where the parser could not read an expression; it was reported already."""

    span: Span


Expr = (
    IntLiteral | FloatLiteral | DurationLiteral | BoolLiteral | TextLiteral | NameExpr | FieldExpr | IndexExpr
    | ListExpr | CallExpr | LastExpr | UnaryExpr | BinaryExpr | IfExpr | TimeExpr | ErrorExpr
)  # fmt: skip
