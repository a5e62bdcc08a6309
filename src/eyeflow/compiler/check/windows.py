"""Types aggregates over a window: `mean(x, last 5min)`, `count(c, last 20)`."""

from __future__ import annotations

from eyeflow.compiler import ast, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.check.context import Context
from eyeflow.compiler.check.expressions import check, check_as
from eyeflow.compiler.check.operators import allow_time_word
from eyeflow.svm.numbers import INT_MAX
from eyeflow.svm.opcodes import TimerKind
from eyeflow.svm.program import TypeTag

CAPACITY_MAX = 2000
"""Samples of one window: a program has 4,096 slots and a sample takes two."""

_KINDS = {
    "mean": TimerKind.MEAN,
    "min": TimerKind.MIN,
    "max": TimerKind.MAX,
    "sum": TimerKind.SUM,
    "rate": TimerKind.RATE,
    "count": TimerKind.COUNT,
}


def check_window(ctx: Context, expr: ast.CallExpr) -> t.Expr:
    """Type an aggregate whose last argument is a window."""
    name = expr.path[0].text
    if len(expr.args) != 2 or not isinstance(expr.args[1].value, ast.LastExpr) or expr.args[0].name:
        return ctx.error(
            "EF0207", f"`{name}` takes a value and a window", expr.span, "not like this",
            help=f"write `{name}(x, last 5min)`",
        )  # fmt: skip
    wanted = types.BOOL if name == "count" else types.FLOAT
    value = check_as(ctx, expr.args[0].value, wanted, f"the value of `{name}`")
    window = _window(ctx, expr.args[1].value)
    if not allow_time_word(ctx, "last", expr.span) or window is None or types.is_error(value.type):
        return t.ErrorExpr(types.ERROR, expr.span)
    duration, capacity = window
    result = types.INT if name == "count" else types.FLOAT
    return t.TimeWord(_KINDS[name], value, duration, capacity, result, expr.span)


def _window(ctx: Context, last: ast.LastExpr) -> tuple[t.Expr, int] | None:
    size = check(ctx, last.size)
    if types.is_error(size.type):
        return None
    if size.type.tag is TypeTag.INT:
        return _samples(ctx, size, last)
    if size.type.tag is not TypeTag.DURATION:
        ctx.error(
            "EF0204", f"a window is a duration or a number of samples, not {types.show(size.type)}", size.span,
            f"this is {types.show(size.type)}", help="write `last 5min` or `last 20`",
        )  # fmt: skip
        return None
    if isinstance(size, t.Const) and int(size.value) <= 0:
        ctx.error("EF0302", "a window must be above zero", size.span, "no time at all", help="write for example 5min")
        return None
    capacity = _capacity(ctx, size, last)
    return None if capacity is None else (size, capacity)


def _samples(ctx: Context, size: t.Expr, last: ast.LastExpr) -> tuple[t.Expr, int] | None:
    if not isinstance(size, t.Const):
        ctx.error("EF0212", "the number of samples of a window must be a constant", size.span, "it needs memory")
        return None
    if last.bound is not None:
        ctx.error("EF0303", "a window of samples needs no `max`", last.span, "its size is its bound", help="remove it")
        return None
    capacity = _in_range(ctx, int(size.value), last)
    return None if capacity is None else (t.Const(INT_MAX, types.DURATION, size.span), capacity)


def _capacity(ctx: Context, size: t.Expr, last: ast.LastExpr) -> int | None:
    if last.bound is not None:
        return _in_range(ctx, last.bound, last)
    if ctx.period_us and isinstance(size, t.Const):
        return _in_range(ctx, -(-int(size.value) // ctx.period_us) + 1, last)
    note = (
        "its length is known only when the rule runs" if ctx.period_us
        else "events may come at any rate, and a window needs a fixed amount of memory"
    )  # fmt: skip
    ctx.error(
        "EF0303", "this window needs a bound on its samples", last.span, "how many at most?", note=note,
        help="write `last 5min max 300`; when more come, the oldest leave early",
    )  # fmt: skip
    return None


def _in_range(ctx: Context, capacity: int, last: ast.LastExpr) -> int | None:
    if 1 <= capacity <= CAPACITY_MAX:
        return capacity
    ctx.error(
        "EF0502",
        f"this window needs room for {capacity} samples; 1 to {CAPACITY_MAX} are possible",
        last.span,
        "too large" if capacity > CAPACITY_MAX else "too small",
        help="sample less often, shorten the window, or bound it: `last 1h max 600`" if capacity > CAPACITY_MAX else "",
    )
    return None
