"""Types calls: functions of the language, windows, records. Capabilities have a module of their own."""

from __future__ import annotations

from collections.abc import Callable

from eyeflow.base.diagnostic import Label
from eyeflow.compiler import ast, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.check.arguments import bind
from eyeflow.compiler.check.capabilities import check_capability
from eyeflow.compiler.check.context import Context, did_you_mean, name_fix
from eyeflow.compiler.check.expressions import check, check_as, check_together, folded, register, to_text
from eyeflow.compiler.check.windows import check_window
from eyeflow.svm.program import Type, TypeTag

_ORDERED = (TypeTag.INT, TypeTag.FLOAT, TypeTag.DURATION)
_FIXED: dict[str, tuple[tuple[tuple[str, Type], ...], Type]] = {
    "floor": ((("x", types.FLOAT),), types.FLOAT),
    "ceil": ((("x", types.FLOAT),), types.FLOAT),
    "round": ((("x", types.FLOAT),), types.FLOAT),
    "sqrt": ((("x", types.FLOAT),), types.FLOAT),
    "is_nan": ((("x", types.FLOAT),), types.BOOL),
    "float": ((("x", types.INT),), types.FLOAT),
    "int": ((("x", types.FLOAT),), types.INT),
    "seconds": ((("x", types.FLOAT),), types.DURATION),
    "in_seconds": ((("d", types.DURATION),), types.FLOAT),
    "now": ((), types.DURATION),
    "time_of_day": ((), types.DURATION),
    "weekday": ((), types.INT),
    "contains": ((("text", types.text(4096)), ("part", types.text(4096))), types.BOOL),
    "starts_with": ((("text", types.text(4096)), ("part", types.text(4096))), types.BOOL),
}
_AGGREGATES = ("mean", "min", "max", "sum", "rate", "count")


def _call(ctx: Context, expr: ast.CallExpr, expected: Type | None) -> t.Expr:
    if len(expr.path) > 1:
        return check_capability(ctx, expr, wants_value=True)
    name = expr.path[0].text
    if any(isinstance(arg.value, ast.LastExpr) for arg in expr.args) and name in _AGGREGATES:
        return check_window(ctx, expr)
    if name in _FIXED:
        return _fixed(ctx, expr, name)
    if name in _SPECIAL:
        return _SPECIAL[name](ctx, expr)
    kind = ctx.types.get(name)
    if kind is not None and kind.tag is TypeTag.RECORD:
        return _record(ctx, expr, kind)
    return _unknown(ctx, expr, name)


def function_names() -> list[str]:
    """Return the names of all functions."""
    return sorted({*_FIXED, *_SPECIAL, *_AGGREGATES})


def _unknown(ctx: Context, expr: ast.CallExpr, name: str) -> t.Expr:
    for arg in expr.args:
        if not isinstance(arg.value, ast.LastExpr):
            check(ctx, arg.value)
    if name in ("append", "clear"):
        return ctx.error("EF0217", f"`{name}` is a statement", expr.span, "it has no value", help="give it a line")
    if name in ("rate", "count"):
        return ctx.error(
            "EF0304", f"`{name}` needs a window", expr.span, "over which time?", help=f"write `{name}(x, last 5min)`"
        )
    records = [kind.name for kind in ctx.types.values() if kind.tag is TypeTag.RECORD]
    hint, guess = did_you_mean(name, [*function_names(), *records])
    return ctx.error(
        "EF0206", f"unknown function `{name}`", expr.path[0].span, "no such function",
        help=hint or "a capability is called with its namespace, as in `gpio.set_pin(...)`",
        fix=name_fix(expr.path[0].span, guess),
    )  # fmt: skip


def _fixed(ctx: Context, expr: ast.CallExpr, name: str) -> t.Expr:
    signature, result = _FIXED[name]
    bound = bind(ctx, expr.args, [arg for arg, _ in signature], f"`{name}`", expr.span)
    if bound is None:
        return t.ErrorExpr(types.ERROR, expr.span)
    args = [check_as(ctx, bound[arg].value, kind, f"`{arg}` of `{name}`") for arg, kind in signature]
    return _function(ctx, name, args, result, expr)


def _function(ctx: Context, name: str, args: list[t.Expr], result: Type, expr: ast.CallExpr) -> t.Expr:
    if any(types.is_error(arg.type) for arg in args):
        return t.ErrorExpr(types.ERROR, expr.span)
    return folded(ctx, t.Function(name, tuple(args), result, expr.span))


def _text(ctx: Context, expr: ast.CallExpr) -> t.Expr:
    bound = bind(ctx, expr.args, ["x"], "`text`", expr.span)
    if bound is None:
        return t.ErrorExpr(types.ERROR, expr.span)
    return to_text(ctx, check(ctx, bound["x"].value), None, expr.span)


def _len(ctx: Context, expr: ast.CallExpr) -> t.Expr:
    bound = bind(ctx, expr.args, ["x"], "`len`", expr.span)
    if bound is None:
        return t.ErrorExpr(types.ERROR, expr.span)
    value = check(ctx, bound["x"].value)
    if value.type.tag is TypeTag.LIST:
        return t.ListLength(value, types.INT, expr.span)
    if value.type.tag is not TypeTag.TEXT and not types.is_error(value.type):
        return _wrong_argument(ctx, "len", value, "a list or a text")
    return _function(ctx, "len", [value], types.INT, expr)


def _wrong_argument(ctx: Context, name: str, value: t.Expr, wanted: str) -> t.Expr:
    return ctx.error(
        "EF0204", f"`{name}` takes {wanted}, not {types.show(value.type)}", value.span,
        f"this is {types.show(value.type)}",
    )  # fmt: skip


def _truncate(ctx: Context, expr: ast.CallExpr) -> t.Expr:
    bound = bind(ctx, expr.args, ["text", "n"], "`truncate`", expr.span)
    if bound is None:
        return t.ErrorExpr(types.ERROR, expr.span)
    value = check_as(ctx, bound["text"].value, types.text(4096), "`text` of `truncate`")
    size = check_as(ctx, bound["n"].value, types.INT, "`n` of `truncate`")
    if types.is_error(value.type) or types.is_error(size.type):
        return t.ErrorExpr(types.ERROR, expr.span)
    if not isinstance(size, t.Const) or not 1 <= int(size.value) <= ctx.text_bytes_max:
        return ctx.error(
            "EF0212", f"`n` of `truncate` must be a constant from 1 to {ctx.text_bytes_max}", size.span,
            "it bounds the text",
        )  # fmt: skip
    return t.Function("truncate", (value,), types.text(int(size.value)), expr.span)


def _numeric(ctx: Context, name: str, expr: ast.CallExpr, values: list[t.Expr]) -> t.Expr:
    if any(types.is_error(value.type) for value in values):
        return t.ErrorExpr(types.ERROR, expr.span)
    first = values[0]
    for value in values:
        if value.type.tag not in _ORDERED:
            return _wrong_argument(ctx, name, value, "int, float or duration")
        if value.type != first.type:
            return ctx.error(
                "EF0204", f"the arguments of `{name}` must have one type", value.span,
                f"this is {types.show(value.type)}", labels=(Label(first.span, f"this is {types.show(first.type)}"),),
            )  # fmt: skip
    return _function(ctx, name, values, first.type, expr)


def _abs(ctx: Context, expr: ast.CallExpr) -> t.Expr:
    bound = bind(ctx, expr.args, ["x"], "`abs`", expr.span)
    if bound is None:
        return t.ErrorExpr(types.ERROR, expr.span)
    return _numeric(ctx, "abs", expr, [check(ctx, bound["x"].value)])


def _clamp(ctx: Context, expr: ast.CallExpr) -> t.Expr:
    names = ["x", "low", "high"]
    bound = bind(ctx, expr.args, names, "`clamp`", expr.span)
    if bound is None:
        return t.ErrorExpr(types.ERROR, expr.span)
    return _numeric(ctx, "clamp", expr, check_together(ctx, tuple(bound[name].value for name in names)))


def _extreme(name: str) -> Callable[[Context, ast.CallExpr], t.Expr]:
    def checked(ctx: Context, expr: ast.CallExpr) -> t.Expr:
        if len(expr.args) == 1 and expr.args[0].name is None:
            return _list_fold(ctx, name, expr)
        if len(expr.args) < 2 or any(arg.name is not None for arg in expr.args):
            return ctx.error(
                "EF0207", f"`{name}` takes two or more values, a list, or a value and a window", expr.span,
                "not like this", help=f"write `{name}(a, b)`, `{name}(list)` or `{name}(x, last 5min)`",
            )  # fmt: skip
        return _numeric(ctx, name, expr, check_together(ctx, tuple(arg.value for arg in expr.args)))

    return checked


def _over_list(name: str) -> Callable[[Context, ast.CallExpr], t.Expr]:
    def checked(ctx: Context, expr: ast.CallExpr) -> t.Expr:
        if bind(ctx, expr.args, ["list"], f"`{name}`", expr.span) is None:
            return t.ErrorExpr(types.ERROR, expr.span)
        return _list_fold(ctx, name, expr)

    return checked


def _list_fold(ctx: Context, name: str, expr: ast.CallExpr) -> t.Expr:
    items = check(ctx, expr.args[0].value)
    if types.is_error(items.type):
        return t.ErrorExpr(types.ERROR, expr.span)
    element = types.element_of(items.type)
    allowed = _ORDERED if name != "mean" else (TypeTag.INT, TypeTag.FLOAT)
    if items.type.tag is not TypeTag.LIST or element.tag not in allowed:
        wanted = "a list of int or float" if name == "mean" else "a list of int, float or duration"
        return _wrong_argument(ctx, name, items, wanted + ", or a value and a window (`last 5min`)")
    return t.ListFold(name, items, types.FLOAT if name == "mean" else element, expr.span)


def _record(ctx: Context, expr: ast.CallExpr, kind: Type) -> t.Expr:
    names = [name for name, _ in kind.fields]
    defaults = {name for name in names if (kind.name, name) in ctx.field_defaults}
    bound = bind(ctx, expr.args, names, f"`{kind.name}`", expr.span, defaults)
    if bound is None:
        return t.ErrorExpr(types.ERROR, expr.span)
    fields = tuple(
        check_as(ctx, bound[name].value, field, f"the field `{name}`") if name in bound
        else ctx.field_defaults[kind.name, name]
        for name, field in kind.fields
    )  # fmt: skip
    if any(types.is_error(field.type) for field in fields):
        return t.ErrorExpr(types.ERROR, expr.span)
    return t.RecordLiteral(fields, kind, expr.span)


_SPECIAL: dict[str, Callable[[Context, ast.CallExpr], t.Expr]] = {
    "text": _text,
    "len": _len,
    "truncate": _truncate,
    "abs": _abs,
    "clamp": _clamp,
    "min": _extreme("min"),
    "max": _extreme("max"),
    "sum": _over_list("sum"),
    "mean": _over_list("mean"),
}

register(ast.CallExpr, _call)
