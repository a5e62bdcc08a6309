"""Computes constant expressions at compile time, with exactly the numbers of the SVM (docs/svm.md, Numbers)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from eyeflow.compiler import typed as t
from eyeflow.compiler import types
from eyeflow.svm import numbers
from eyeflow.svm.program import TypeTag, Value


def fold(expr: t.Expr) -> t.Expr:
    """Return the constant an expression of constants is, or the expression itself.

    Raises TrapError when the computation would trap.
    """
    compute = _FOLDERS.get(type(expr))
    value = compute(expr) if compute else None
    if value is None:
        return expr
    kind = expr.type
    if kind.tag is TypeTag.TEXT:
        # A text type holds at least 1 byte (docs/svm.md), also that of "".
        kind = types.text(max(1, numbers.text_bytes(str(value))))
    return t.Const(value, kind, expr.span)


def _consts(*exprs: t.Expr) -> list[Any] | None:
    values = [expr.value for expr in exprs if isinstance(expr, t.Const)]
    return values if len(values) == len(exprs) else None


def _unary(expr: t.Unary) -> Value | None:
    values = _consts(expr.operand)
    if values is None:
        return None
    if expr.operator == "not":
        return not values[0]
    value: Value = -values[0]
    return value if isinstance(value, float) else numbers.checked(int(value))


def _binary(expr: t.Binary) -> Value | None:
    values = _consts(expr.left, expr.right)
    if values is None:
        return None
    if expr.operator in _COMPARE:
        return _COMPARE[expr.operator](*values)
    if expr.type.tag is TypeTag.TEXT:
        return str(values[0]) + str(values[1])
    if expr.type.tag is TypeTag.FLOAT:
        return _FLOAT[expr.operator](*(float(value) for value in values))
    return _INT[expr.operator](*values)


def _logic(expr: t.Logic) -> Value | None:
    values = _consts(expr.left, expr.right)
    if values is None:
        return None
    # Only when both are constants: a time word on the right is evaluated whatever the left is.
    return bool(values[0] and values[1]) if expr.operator == "and" else bool(values[0] or values[1])


def _choose(expr: t.Choose) -> Value | None:
    values = _consts(expr.condition, expr.then, expr.otherwise)
    if values is None:
        return None
    chosen: Value = values[1] if values[0] else values[2]
    return chosen


def _to_text(expr: t.ToText) -> Value | None:
    values = _consts(expr.value)
    if values is None:
        return None
    match expr.value.type.tag:
        case TypeTag.FLOAT:
            return numbers.text_of_float(float(values[0]), expr.decimals)
        case TypeTag.BOOL:
            return numbers.text_of_bool(bool(values[0]))
        case TypeTag.DURATION:
            return numbers.text_of_duration(int(values[0]))
        case TypeTag.ENUM:
            return expr.value.type.members[int(values[0])]
        case _:
            return str(values[0])


def _function(expr: t.Function) -> Value | None:
    values = _consts(*expr.args)
    if values is None or expr.name not in _FUNCTIONS:
        return None
    return _FUNCTIONS[expr.name](*values)


_FOLDERS: dict[type, Callable[[Any], Value | None]] = {
    t.Unary: _unary,
    t.Binary: _binary,
    t.Logic: _logic,
    t.Choose: _choose,
    t.ToText: _to_text,
    t.Function: _function,
}

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}
_FLOAT: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": numbers.div_float,
}
_INT: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: numbers.checked(a + b),
    "-": lambda a, b: numbers.checked(a - b),
    "*": lambda a, b: numbers.checked(a * b),
    "/": numbers.div_int,
    "%": numbers.mod_int,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": numbers.shl_int,
    ">>": numbers.shr_int,
}


def _pick(smaller: bool) -> Callable[..., Value]:
    def picked(*values: Any) -> Value:
        result = values[0]
        for value in values[1:]:
            if isinstance(value, float):
                result = numbers.min_float(result, value) if smaller else numbers.max_float(result, value)
            else:
                result = min(result, value) if smaller else max(result, value)
        return result  # type: ignore[no-any-return]

    return picked


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "abs": lambda x: math.fabs(x) if isinstance(x, float) else numbers.checked(abs(x)),
    "min": _pick(smaller=True),
    "max": _pick(smaller=False),
    "clamp": lambda x, low, high: _pick(smaller=True)(_pick(smaller=False)(x, low), high),
    "floor": numbers.floor_float,
    "ceil": numbers.ceil_float,
    "round": numbers.round_float,
    "sqrt": numbers.sqrt_float,
    "is_nan": lambda x: bool(x != x),
    "float": float,
    "int": numbers.float_to_int,
    "seconds": lambda x: numbers.float_to_int(numbers.round_float(x * 1e6)),
    "in_seconds": lambda x: x / 1e6,
    "len": len,
    "contains": lambda whole, part: part in whole,
    "starts_with": lambda whole, part: whole.startswith(part),
}


def as_float(const: t.Const) -> t.Const:
    """Return an int literal as the float it stands for."""
    return replace(const, value=float(const.value), type=types.FLOAT)
