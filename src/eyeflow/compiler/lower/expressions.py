"""Lowers scalar expressions: each leaves its value on the stack. `push_scalars` does so for a whole record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eyeflow.base.diagnostic import Span
from eyeflow.compiler import ir, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.lower.builder import Builder
from eyeflow.svm.opcodes import Op
from eyeflow.svm.program import OnFailure, SiteKind, Type, TypeTag, ValueType

DAY_US = 86_400_000_000
SECOND_US = 1_000_000

_F, _I, _B, _T = ValueType.FLOAT, ValueType.INT, ValueType.BOOL, ValueType.TEXT
_BINARY: dict[tuple[str, ValueType], Op] = {
    ("+", _I): Op.ADD_I, ("-", _I): Op.SUB_I, ("*", _I): Op.MUL_I, ("/", _I): Op.DIV_I, ("%", _I): Op.MOD_I,
    ("&", _I): Op.AND_I, ("|", _I): Op.OR_I, ("^", _I): Op.XOR_I, ("<<", _I): Op.SHL_I, (">>", _I): Op.SHR_I,
    ("+", _F): Op.ADD_F, ("-", _F): Op.SUB_F, ("*", _F): Op.MUL_F, ("/", _F): Op.DIV_F,
    ("==", _I): Op.EQ_I, ("<", _I): Op.LT_I, ("<=", _I): Op.LE_I, (">", _I): Op.GT_I, (">=", _I): Op.GE_I,
    ("==", _F): Op.EQ_F, ("<", _F): Op.LT_F, ("<=", _F): Op.LE_F, (">", _F): Op.GT_F, (">=", _F): Op.GE_F,
    ("==", _B): Op.EQ_B, ("==", _T): Op.EQ_T,
}  # fmt: skip
_CALLS = {SiteKind.READ: Op.LOAD_RESOURCE, SiteKind.LLM: Op.LLM_CALL}


def lower(b: Builder, expr: t.Expr) -> None:
    """Push the value of a scalar expression."""
    _LOWERERS[type(expr)](b, expr)


def push_scalars(b: Builder, expr: t.Expr) -> None:
    """Push all scalars of a flat expression, the first one lowest."""
    if types.is_scalar(expr.type):
        lower(b, expr)
    elif isinstance(expr, t.RecordLiteral):
        for field in expr.fields:
            push_scalars(b, field)
    elif isinstance(expr, t.Choose):
        _choose(b, expr)
    else:
        assert isinstance(expr, t.Place)
        _push_place(b, expr)


def _push_place(b: Builder, place: t.Place) -> None:
    count = len(types.scalars(place.type))
    if place.index is None:
        for number in range(count):
            b.load(place.variable, place.span, place.offset + number)
        return
    lower(b, place.index)
    index = b.keep_int("index", place.span) if count > 1 else None
    for number in range(count):
        if index is not None:
            b.load(index, place.span)
        b.do(Op.LOAD_AT, place.span, row_of(place, number))


def row_of(place: t.Place, number: int = 0) -> ir.Row:
    """Return the array that holds scalar `number` of an element."""
    assert place.list_type is not None
    return ir.Row(place.variable, place.offset, place.list_type, place.scalar + number)


def _const(b: Builder, expr: t.Const) -> None:
    b.push(expr.value, expr.span)


def _unary(b: Builder, expr: t.Unary) -> None:
    lower(b, expr.operand)
    if expr.operator == "not":
        b.do(Op.NOT, expr.span)
    else:
        b.do(Op.NEG_F if expr.type == types.FLOAT else Op.NEG_I, expr.span)


def _binary(b: Builder, expr: t.Binary) -> None:
    if expr.operator == "+" and expr.type.tag is TypeTag.TEXT:
        lower(b, expr.left)
        lower(b, expr.right)
        b.do(Op.CONCAT, expr.span, expr.type.size)
        return
    is_ratio = expr.operator == "/" and expr.left.type.tag is expr.right.type.tag is TypeTag.DURATION
    for side in (expr.left, expr.right):
        lower(b, side)
        if is_ratio:
            b.do(Op.I_TO_F, side.span)
    kind = ValueType.FLOAT if is_ratio else types.value_type(expr.left.type)
    compare(b, expr.operator, kind, expr.span)


def compare(b: Builder, operator: str, kind: ValueType, span: Span) -> None:
    """Write the instruction of a binary operator on two values of a slot type."""
    # `!=` is `not ==`, so that it is true of a NaN (docs/svm.md, Numbers).
    b.do(_BINARY["==" if operator == "!=" else operator, kind], span)
    if operator == "!=":
        b.do(Op.NOT, span)


def _logic(b: Builder, expr: t.Logic) -> None:
    lower(b, expr.left)
    if expr.eager or is_cheap(expr.right):
        lower(b, expr.right)
        b.do(Op.AND if expr.operator == "and" else Op.OR, expr.span)
        return
    with b.block() as taken:
        lower(b, expr.right)
    with b.block() as known:
        b.push(expr.operator == "or", expr.span)
    if expr.operator == "and":
        b.branch(taken, known, expr.span)
    else:
        b.branch(known, taken, expr.span)


def is_cheap(expr: t.Expr) -> bool:
    """Tell whether an expression costs no more than the branch around it, and can neither trap nor act."""
    return isinstance(expr, t.Const) or (
        isinstance(expr, t.Place) and expr.index is None and types.is_scalar(expr.type)
    )


def _choose(b: Builder, expr: t.Choose) -> None:
    lower(b, expr.condition)
    if types.is_scalar(expr.type) and (expr.eager or (is_cheap(expr.then) and is_cheap(expr.otherwise))):
        lower(b, expr.then)
        lower(b, expr.otherwise)
        b.select(expr.span)
        return
    with b.block() as then:
        push_scalars(b, expr.then)
    with b.block() as otherwise:
        push_scalars(b, expr.otherwise)
    b.branch(then, otherwise, expr.span, of_source=True)


def _hysteresis(b: Builder, expr: t.Hysteresis) -> None:
    """`on = x > (if on then limit - band else limit)`; both are computed once, in the order written."""
    kind = types.value_type(expr.left.type)
    widen = "-" if expr.operator in (">", ">=") else "+"
    lower(b, expr.left)
    b.load(expr.memory, expr.span)
    lower(b, expr.limit)
    limit = b.temporary(expr.limit.type, expr.span)
    b.store(limit, expr.span)
    b.load(limit, expr.span)
    lower(b, expr.band)
    b.do(_BINARY[widen, kind], expr.span)
    b.load(limit, expr.span)
    b.do(Op.SELECT, expr.span)
    b.do(_BINARY[expr.operator, kind], expr.span)
    b.do(Op.DUP, expr.span)
    b.store(expr.memory, expr.span)


def _time_word(b: Builder, expr: t.TimeWord) -> None:
    lower(b, expr.value)
    if expr.duration is not None:
        lower(b, expr.duration)
    b.do(Op.EVAL, expr.span, b.timer(expr.kind, expr.capacity, expr.span))


def _to_text(b: Builder, expr: t.ToText) -> None:
    lower(b, expr.value)
    match expr.value.type.tag:
        case TypeTag.FLOAT:
            b.do(Op.TEXT_F, expr.span, a=expr.decimals)
        case TypeTag.BOOL:
            b.do(Op.TEXT_B, expr.span)
        case TypeTag.DURATION:
            b.do(Op.TEXT_D, expr.span)
        case TypeTag.ENUM:
            _enum_name(b, expr)
        case _:
            b.do(Op.TEXT_I, expr.span)


def _enum_name(b: Builder, expr: t.ToText) -> None:
    names = expr.value.type.members
    if b.has_room_for(names):
        b.do(Op.TEXT_ENUM, expr.span, ir.NamesSymbol(names), a=len(names))
    else:
        _pick_name(b, expr, b.keep_int("ordinal", expr.span), 0)


def _pick_name(b: Builder, expr: t.ToText, ordinal: t.Variable, number: int) -> None:
    """Choose the text by comparing: for the rare enum that shares a member's name with another one."""
    names = expr.value.type.members
    if number == len(names) - 1:
        b.push(names[number], expr.span)
        return
    b.load(ordinal, expr.span)
    b.push(number, expr.span)
    b.do(Op.EQ_I, expr.span)
    with b.block() as then:
        b.push(names[number], expr.span)
    with b.block() as otherwise:
        _pick_name(b, expr, ordinal, number + 1)
    b.branch(then, otherwise, expr.span)


def _read(b: Builder, expr: t.Read) -> None:
    # First: the SVM finds it below the arguments (docs/svm.md, Sites).
    if expr.fallback is not None and expr.site.on_failure is OnFailure.FALLBACK:
        lower(b, expr.fallback)
    for arg in expr.args:
        lower(b, arg)
    b.do(_CALLS[expr.site.kind], expr.span, b.site(expr.site))


# --- functions -----------------------------------------------------------------------------------------------------

_ONE_OP: dict[str, Op] = {
    "floor": Op.FLOOR_F,
    "ceil": Op.CEIL_F,
    "round": Op.ROUND_F,
    "sqrt": Op.SQRT_F,
    "float": Op.I_TO_F,
    "int": Op.F_TO_I,
    "now": Op.NOW,
    "contains": Op.CONTAINS,
    "starts_with": Op.STARTS_WITH,
    "len": Op.LEN_T,
}


def _function(b: Builder, expr: t.Function) -> None:
    for number, arg in enumerate(expr.args):
        lower(b, arg)
        if number and expr.name in ("min", "max"):
            b.do(extreme(expr.name, expr.type), expr.span)
    if expr.name in _ONE_OP:
        b.do(_ONE_OP[expr.name], expr.span)
    elif expr.name not in ("min", "max"):
        _FUNCTIONS[expr.name](b, expr)


def extreme(name: str, kind: Type) -> Op:
    """Return the instruction of `min` or `max` on a type."""
    if kind == types.FLOAT:
        return Op.MIN_F if name == "min" else Op.MAX_F
    return Op.MIN_I if name == "min" else Op.MAX_I


def _abs(b: Builder, expr: t.Function) -> None:
    b.do(Op.ABS_F if expr.type == types.FLOAT else Op.ABS_I, expr.span)


def _clamp(b: Builder, expr: t.Function) -> None:
    high = b.temporary(expr.type, expr.span)
    b.store(high, expr.span)
    b.do(extreme("max", expr.type), expr.span)
    b.load(high, expr.span)
    b.do(extreme("min", expr.type), expr.span)


def _is_nan(b: Builder, expr: t.Function) -> None:
    b.do(Op.DUP, expr.span)
    b.do(Op.EQ_F, expr.span)
    b.do(Op.NOT, expr.span)


def _seconds(b: Builder, expr: t.Function) -> None:
    b.push(float(SECOND_US), expr.span)
    for op in (Op.MUL_F, Op.ROUND_F, Op.F_TO_I):
        b.do(op, expr.span)


def _in_seconds(b: Builder, expr: t.Function) -> None:
    b.do(Op.I_TO_F, expr.span)
    b.push(float(SECOND_US), expr.span)
    b.do(Op.DIV_F, expr.span)


def _time_of_day(b: Builder, expr: t.Function) -> None:
    """The added day keeps the dividend positive where the local time of early 1970 is below zero."""
    b.do(Op.LOCAL_NOW, expr.span)
    b.push(DAY_US, expr.span)
    b.do(Op.ADD_I, expr.span)
    b.push(DAY_US, expr.span)
    b.do(Op.MOD_I, expr.span)


def _weekday(b: Builder, expr: t.Function) -> None:
    """1970-01-01 was a Thursday, three days after a Monday: seven more keep the dividend positive."""
    b.do(Op.LOCAL_NOW, expr.span)
    b.push(10 * DAY_US, expr.span)
    b.do(Op.ADD_I, expr.span)
    b.push(DAY_US, expr.span)
    b.do(Op.DIV_I, expr.span)
    b.push(7, expr.span)
    b.do(Op.MOD_I, expr.span)
    b.push(1, expr.span)
    b.do(Op.ADD_I, expr.span)


def _truncate(b: Builder, expr: t.Function) -> None:
    # CONCAT cuts to its operand, and there is no other instruction that cuts.
    b.push("", expr.span)
    b.do(Op.CONCAT, expr.span, expr.type.size)


_FUNCTIONS: dict[str, Callable[[Builder, t.Function], None]] = {
    "abs": _abs,
    "clamp": _clamp,
    "is_nan": _is_nan,
    "seconds": _seconds,
    "in_seconds": _in_seconds,
    "time_of_day": _time_of_day,
    "weekday": _weekday,
    "truncate": _truncate,
}

_LOWERERS: dict[type, Callable[[Builder, Any], None]] = {
    t.Const: _const,
    t.Place: _push_place,
    t.Unary: _unary,
    t.Binary: _binary,
    t.Logic: _logic,
    t.Choose: _choose,
    t.Hysteresis: _hysteresis,
    t.TimeWord: _time_word,
    t.ToText: _to_text,
    t.Function: _function,
    t.Read: _read,
}


def register(kind: type, lowerer: Callable[[Builder, Any], None]) -> None:
    """Let `lowerer` push the value of a class of expressions."""
    _LOWERERS[kind] = lowerer
