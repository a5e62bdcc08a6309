"""Types operators, `if-then-else` and time words after a condition."""

from __future__ import annotations

from eyeflow.base.diagnostic import Label, Span
from eyeflow.compiler import ast, tree, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.check.context import Context, Mode
from eyeflow.compiler.check.expressions import (
    check,
    check_as,
    check_together,
    folded,
    int_const,
    joined_texts,
    register,
)  # fmt: skip
from eyeflow.svm.opcodes import TimerKind
from eyeflow.svm.program import Type, TypeTag

_B, _I, _F, _D, _T, _E = (
    TypeTag.BOOL, TypeTag.INT, TypeTag.FLOAT, TypeTag.DURATION, TypeTag.TEXT, TypeTag.ENUM
)  # fmt: skip
_ARITHMETIC: dict[tuple[str, TypeTag, TypeTag], Type] = {
    **{(op, _I, _I): types.INT for op in ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")},
    **{(op, _F, _F): types.FLOAT for op in ("+", "-", "*", "/")},
    **{(op, _D, _D): types.DURATION for op in ("+", "-", "%")},
    ("*", _D, _I): types.DURATION,
    ("*", _I, _D): types.DURATION,
    ("/", _D, _I): types.DURATION,
    ("/", _D, _D): types.FLOAT,
}
_EQUALITY, _ORDER = ("==", "!="), ("<", "<=", ">", ">=")


def _unary(ctx: Context, expr: ast.UnaryExpr, expected: Type | None) -> t.Expr:
    if expr.operator == "not":
        operand = check_as(ctx, expr.operand, types.BOOL, "the operand of `not`")
        return _or_error(ctx, t.Unary("not", operand, types.BOOL, expr.span), operand)
    if isinstance(expr.operand, ast.IntLiteral) and expected != types.FLOAT:
        return int_const(ctx, -expr.operand.value, expr.span)
    operand = check(ctx, expr.operand, expected)
    if not types.is_error(operand.type) and not types.is_ordered(operand.type):
        return ctx.error(
            "EF0205",
            f"`-` does not work on {types.show(operand.type)}",
            expr.span,
            f"this is {types.show(operand.type)}",
            note="it works on int, float and duration",
        )
    return _or_error(ctx, t.Unary("-", operand, operand.type, expr.span), operand)


def _or_error(ctx: Context, result: t.Expr, *parts: t.Expr) -> t.Expr:
    if any(types.is_error(part.type) for part in parts):
        return t.ErrorExpr(types.ERROR, result.span)
    return folded(ctx, result)


def _binary(ctx: Context, expr: ast.BinaryExpr, expected: Type | None) -> t.Expr:
    if expr.operator in ("and", "or"):
        return _logic(ctx, expr)
    left, right = check_together(ctx, (expr.left, expr.right))
    if types.is_error(left.type) or types.is_error(right.type):
        return t.ErrorExpr(types.ERROR, expr.span)
    if expr.operator in _EQUALITY or expr.operator in _ORDER:
        return _comparison(ctx, expr, left, right)
    if expr.operator == "+" and left.type.tag is right.type.tag is _T:
        return joined_texts(ctx, left, right, expr.span)
    result = _ARITHMETIC.get((expr.operator, left.type.tag, right.type.tag))
    if result is None:
        return _misfit(ctx, expr, left.type, right.type)
    return folded(ctx, t.Binary(expr.operator, left, right, result, expr.span))


def _logic(ctx: Context, expr: ast.BinaryExpr) -> t.Expr:
    what = f"each side of `{expr.operator}`"
    left = check_as(ctx, expr.left, types.BOOL, what)
    right = check_as(ctx, expr.right, types.BOOL, what)
    eager = tree.has_time_word(right)
    return _or_error(ctx, t.Logic(expr.operator, left, right, eager, types.BOOL, expr.span), left, right)


def _comparison(ctx: Context, expr: ast.BinaryExpr, left: t.Expr, right: t.Expr) -> t.Expr:
    same = types.join(left.type, right.type)
    comparable = same is not None and same.tag in (_B, _I, _F, _D, _T, _E)
    ordered = same is not None and types.is_ordered(same)
    if not comparable or (expr.operator in _ORDER and not ordered):
        return _misfit(ctx, expr, left.type, right.type)
    if expr.hysteresis is not None:
        return _hysteresis(ctx, expr, left, right)
    return folded(ctx, t.Binary(expr.operator, left, right, types.BOOL, expr.span))


def _misfit(ctx: Context, expr: ast.BinaryExpr, left: Type, right: Type) -> t.Expr:
    tags = {left.tag, right.tag}
    hint = ""
    if tags == {_I, _F}:
        hint = "convert the int: `float(...)`"
    elif tags == {_D, _I} or tags == {_D, _F}:
        hint = "give the number a unit, as in `5s`, or convert: `seconds(x)`, `in_seconds(d)`"
    elif _T in tags and expr.operator == "+":
        hint = 'write it into the text: `"... {value}"`'
    return ctx.error(
        "EF0205",
        f"`{expr.operator}` does not work on {types.show(left)} and {types.show(right)}",
        expr.operator_span,
        "no such operation",
        help=hint,
        labels=(Label(expr.left.span, types.show(left)), Label(expr.right.span, types.show(right))),
    )


# --- if-then-else --------------------------------------------------------------------------------------------------


def _choose(ctx: Context, expr: ast.IfExpr, expected: Type | None) -> t.Expr:
    condition = check_as(ctx, expr.condition, types.BOOL, "a condition")
    then, otherwise = check_together(ctx, (expr.then, expr.otherwise), expected)
    kind = types.join(then.type, otherwise.type)
    if (
        kind is None
        and expected is not None
        and types.fits(then.type, expected)
        and types.fits(otherwise.type, expected)
    ):
        kind = expected
    if kind is None:
        return ctx.error(
            "EF0204",
            f"`then` gives {types.show(then.type)}, `else` gives {types.show(otherwise.type)}",
            expr.otherwise.span,
            f"this is {types.show(otherwise.type)}",
            note="both arms need the same type",
            labels=(Label(expr.then.span, f"this is {types.show(then.type)}"),),
        )
    eager = tree.has_time_word(then) or tree.has_time_word(otherwise)
    return _or_error(ctx, t.Choose(condition, then, otherwise, eager, kind, expr.span), condition, then, otherwise)


# --- time words ----------------------------------------------------------------------------------------------------

_KINDS = {
    ast.TimeWord.FOR: TimerKind.HOLD,
    ast.TimeWord.COOLDOWN: TimerKind.COOLDOWN,
    ast.TimeWord.RISES: TimerKind.RISES,
    ast.TimeWord.FALLS: TimerKind.FALLS,
}


def allow_time_word(ctx: Context, word: str, span: Span) -> bool:
    """Report a time word where none can stand."""
    if ctx.mode is not Mode.HANDLER:
        code = "EF0608" if ctx.mode is Mode.CONDITION else "EF0313"
        ctx.error(code, f"`{word}` cannot stand in {ctx.mode.value}", span, "a time word needs the memory of a handler")
        return False
    if ctx.loop_spans:
        ctx.error(
            "EF0301",
            f"`{word}` cannot stand inside a loop",
            span,
            "each time word has one memory, a loop would share it between its trips",
            help="evaluate it before the loop: `let held = ... " + word + " ...`",
            labels=(Label(ctx.loop_spans[-1], "the loop"),),
        )
        return False
    return True


def _time(ctx: Context, expr: ast.TimeExpr, expected: Type | None) -> t.Expr:
    condition = check_as(ctx, expr.condition, types.BOOL, f"what stands before `{expr.word.value}`")
    duration = positive_duration(ctx, expr.duration, f"the time after `{expr.word.value}`") if expr.duration else None
    if not allow_time_word(ctx, expr.word.value, expr.span):
        return t.ErrorExpr(types.ERROR, expr.span)
    parts = [condition] if duration is None else [condition, duration]
    if any(types.is_error(part.type) for part in parts):
        return t.ErrorExpr(types.ERROR, expr.span)
    return t.TimeWord(_KINDS[expr.word], condition, duration, 0, types.BOOL, expr.span)


def positive_duration(ctx: Context, expr: ast.Expr, what: str) -> t.Expr:
    """Type a duration; a constant one must be above zero."""
    duration = check_as(ctx, expr, types.DURATION, what)
    if isinstance(duration, t.Const) and int(duration.value) <= 0:
        return ctx.error(
            "EF0302", f"{what} must be above zero", expr.span, "no time at all", help="write for example 2s"
        )
    return duration


def _hysteresis(ctx: Context, expr: ast.BinaryExpr, left: t.Expr, limit: t.Expr) -> t.Expr:
    assert expr.hysteresis is not None
    if expr.operator not in _ORDER:
        return ctx.error(
            "EF0305", f"`hysteresis` does not work with `{expr.operator}`", expr.operator_span, "has no direction",
            help="compare with `>`, `>=`, `<` or `<=`",
        )  # fmt: skip
    band = check_as(ctx, expr.hysteresis, left.type, "the band of `hysteresis`")
    if isinstance(band, t.Const) and float(band.value) <= 0.0:
        return ctx.error("EF0302", "the band of `hysteresis` must be above zero", band.span, "no band at all")
    if not allow_time_word(ctx, "hysteresis", expr.span) or types.is_error(band.type):
        return t.ErrorExpr(types.ERROR, expr.span)
    name = f"hysteresis {len(ctx.hidden_states) + 1}"
    memory = t.Variable(name, types.BOOL, t.Region.STATE, expr.span)
    ctx.hidden_states.append(t.State(memory, (False,), hidden=True))
    return t.Hysteresis(expr.operator, left, limit, band, memory, types.BOOL, expr.span)


register(ast.UnaryExpr, _unary)
register(ast.BinaryExpr, _binary)
register(ast.IfExpr, _choose)
register(ast.TimeExpr, _time)
