"""Walks over typed expressions."""

from __future__ import annotations

from collections.abc import Iterator

from eyeflow.compiler import typed as t


def children(expr: t.Expr) -> tuple[t.Expr, ...]:
    """Return the direct parts of an expression, in the order of evaluation."""
    match expr:
        case t.Binary(left=left, right=right) | t.Logic(left=left, right=right):
            return left, right
        case t.Unary(operand=value) | t.ToText(value=value) | t.ListFold(items=value) | t.ListLength(items=value):
            return (value,)
        case t.Choose(condition=condition, then=then, otherwise=otherwise):
            return condition, then, otherwise
        case t.Hysteresis(left=left, limit=limit, band=band):
            return left, limit, band
        case t.TimeWord(value=value, duration=duration):
            return (value,) if duration is None else (value, duration)
        case t.Function(args=args) | t.ListLiteral(items=args) | t.RecordLiteral(fields=args):
            return args
        case t.Read(args=args, fallback=fallback):
            return args if fallback is None else (fallback, *args)
        case t.Place(index=index) if index is not None:
            return (index,)
        case _:
            return ()


def walk(expr: t.Expr) -> Iterator[t.Expr]:
    """Yield an expression and all its parts."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def has_time_word(expr: t.Expr) -> bool:
    """Tell whether an expression holds a time word, and so must be evaluated at every execution."""
    return any(isinstance(part, t.TimeWord | t.Hysteresis) for part in walk(expr))


def mentions(expr: t.Expr, variable: t.Variable) -> bool:
    """Tell whether an expression reads a variable."""
    return any(isinstance(part, t.Place) and part.variable is variable for part in walk(expr))
