"""Types expressions: literals, names, fields, elements. Operators, calls and time words have modules of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eyeflow.base.diagnostic import Label, Span
from eyeflow.compiler import ast, fold, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.check.context import Context, Mode, Symbol, SymbolKind, did_you_mean, name_fix
from eyeflow.svm.numbers import (
    DECIMALS_MAX,
    DECIMALS_SHORTEST,
    INT_MAX,
    INT_MIN,
    TEXT_D_BYTES_MAX,
    TEXT_F_BYTES_MAX,
    TEXT_I_BYTES_MAX,
    TrapError,
    text_bytes,
)
from eyeflow.svm.program import Type, TypeTag

Checker = Callable[[Context, Any, Type | None], t.Expr]
_CHECKERS: dict[type, Checker] = {}


def register(kind: type, checker: Checker) -> None:
    """Let `checker` type the expressions of a class of syntax nodes."""
    _CHECKERS[kind] = checker


def check(ctx: Context, expr: ast.Expr, expected: Type | None = None) -> t.Expr:
    """Type an expression. `expected` helps where the text alone does not say: literals, enum members, empty lists."""
    return _CHECKERS[type(expr)](ctx, expr, expected)


def check_as(ctx: Context, expr: ast.Expr, expected: Type, what: str, declared: Span | None = None) -> t.Expr:
    """Type an expression that must fit `expected`; `what` names its role in the message."""
    result = check(ctx, expr, expected)
    if types.fits(result.type, expected):
        return result
    labels = (Label(declared, "declared here"),) if declared else ()
    return ctx.error(
        "EF0204",
        f"{what} must be {types.show(expected)}, not {types.show(result.type)}",
        expr.span,
        f"this is {types.show(result.type)}",
        help=_conversion_help(result.type, expected),
        labels=labels,
    )


def check_constant(ctx: Context, expr: ast.Expr, expected: Type, what: str) -> t.Expr:
    """Type an expression that must be a constant of a type."""
    with ctx.within(Mode.CONSTANT):
        result = check_as(ctx, expr, expected, what)
    return result if types.is_error(result.type) else require_constant(ctx, result, what)


def require_constant(ctx: Context, result: t.Expr, what: str) -> t.Expr:
    """Report an expression that is not known at compile time."""
    if isinstance(result, t.Const | t.ErrorExpr):
        return result
    if isinstance(result, t.ListLiteral | t.RecordLiteral):
        parts = result.items if isinstance(result, t.ListLiteral) else result.fields
        wrong = [part for part in (require_constant(ctx, part, what) for part in parts) if types.is_error(part.type)]
        return wrong[0] if wrong else result
    return ctx.error(
        "EF0212",
        f"{what} must be a constant",
        result.span,
        "this is known only when the rule runs",
        help="use literals and names declared with `const`",
    )


def folded(ctx: Context, expr: t.Expr) -> t.Expr:
    """Return the expression with constants computed; a computation that always traps is an error."""
    try:
        return fold.fold(expr)
    except TrapError as error:
        reason = error.trap.name
        return ctx.error(
            "EF0215",
            f"this always traps: {reason}",
            expr.span,
            "every execution that comes here fails",
            note=_TRAP_REASONS.get(reason, ""),
        )


_TRAP_REASONS = {
    "INT_OVERFLOW": "the result does not fit a signed 64-bit integer",
    "DIV_BY_ZERO": "an int or duration is divided by zero",
    "CONVERT_RANGE": "the float does not fit an int",
    "SHIFT_RANGE": "a shift count must be 0 to 63",
}

_CONVERSIONS = {
    (TypeTag.INT, TypeTag.FLOAT): "convert it: `float(...)`",
    (TypeTag.FLOAT, TypeTag.INT): "convert it: `int(...)` rounds toward zero",
    (TypeTag.FLOAT, TypeTag.DURATION): "convert it: `seconds(...)`",
    (TypeTag.INT, TypeTag.DURATION): "write a unit, as in `5s`, or multiply: `n * 1s`",
    (TypeTag.DURATION, TypeTag.FLOAT): "convert it: `in_seconds(...)`",
    (TypeTag.DURATION, TypeTag.INT): "divide it: `int(d / 1s)`",
}


def _conversion_help(source: Type, target: Type) -> str:
    if target.tag is TypeTag.TEXT and source.tag is TypeTag.TEXT:
        return f"declare it with room for {source.size} bytes, or cut it: `truncate(..., {target.size})`"
    if target.tag is TypeTag.TEXT and types.is_scalar(source):
        return "convert it: `text(...)`"
    if target.tag is TypeTag.ENUM and source.tag is TypeTag.BOOL and len(target.members) > 1:
        return f"choose a member: `if ... then {target.members[1]} else {target.members[0]}`"
    if target.tag is TypeTag.BOOL and source.tag is TypeTag.ENUM:
        return f"compare it, as in `x == {source.members[-1]}`"
    if target.tag is TypeTag.BOOL and types.is_ordered(source):
        return "compare it, as in `x > 0`"
    return _CONVERSIONS.get((source.tag, target.tag), "")


def is_flexible(ctx: Context, expr: ast.Expr) -> bool:
    """Tell whether an expression takes its type from what stands beside it."""
    if isinstance(expr, ast.UnaryExpr):
        return expr.operator == "-" and is_flexible(ctx, expr.operand) and isinstance(expr.operand, ast.IntLiteral)
    if isinstance(expr, ast.NameExpr):
        return ctx.find(expr.name) is None
    return isinstance(expr, ast.IntLiteral | ast.ListExpr)


def check_together(ctx: Context, exprs: tuple[ast.Expr, ...], expected: Type | None = None) -> list[t.Expr]:
    """Type expressions that should have one type: those that know theirs decide for literals and enum members."""
    results: dict[int, t.Expr] = {}
    order = sorted(range(len(exprs)), key=lambda number: is_flexible(ctx, exprs[number]))
    for number in order:
        result = results[number] = check(ctx, exprs[number], expected)
        if expected is None and not types.is_error(result.type):
            expected = result.type
    return [results[number] for number in range(len(exprs))]


# --- literals ------------------------------------------------------------------------------------------------------


def _int(ctx: Context, expr: ast.IntLiteral, expected: Type | None) -> t.Expr:
    if expected == types.FLOAT:
        return t.Const(float(expr.value), types.FLOAT, expr.span)
    return int_const(ctx, expr.value, expr.span)


def int_const(ctx: Context, value: int, span: Span) -> t.Expr:
    """Return an int literal that fits 64 bits."""
    if INT_MIN <= value <= INT_MAX:
        return t.Const(value, types.INT, span)
    return ctx.error(
        "EF0215",
        "this number does not fit an int",
        span,
        "ints are signed 64-bit: -9223372036854775808 to 9223372036854775807",
        help="write a float, as in `1e19`, if you need its size more than its digits",
    )


def _float(ctx: Context, expr: ast.FloatLiteral, expected: Type | None) -> t.Expr:
    return t.Const(expr.value, types.FLOAT, expr.span)


def _duration(ctx: Context, expr: ast.DurationLiteral, expected: Type | None) -> t.Expr:
    if expr.value_us > INT_MAX:
        return ctx.error("EF0215", "this duration does not fit 64 bits of microseconds", expr.span, "too long")
    return t.Const(expr.value_us, types.DURATION, expr.span)


def _bool(ctx: Context, expr: ast.BoolLiteral, expected: Type | None) -> t.Expr:
    return t.Const(expr.value, types.BOOL, expr.span)


def _text(ctx: Context, expr: ast.TextLiteral, expected: Type | None) -> t.Expr:
    result: t.Expr = t.Const("", types.text(1), expr.span)
    for number, part in enumerate(expr.parts):
        piece = _text_part(ctx, part)
        result = piece if number == 0 else joined_texts(ctx, result, piece, expr.span)
    if not types.is_error(result.type) and result.type.size > ctx.text_bytes_max:
        return too_long(ctx, result.type.size, expr.span)
    return result


def _text_part(ctx: Context, part: ast.TextPart) -> t.Expr:
    if part.expr is None:
        return t.Const(part.text, types.text(max(1, text_bytes(part.text))), part.span)
    return to_text(ctx, check(ctx, part.expr), part.decimals, part.span)


def to_text(ctx: Context, value: t.Expr, decimals: int | None, span: Span) -> t.Expr:
    """Return a scalar as text; `decimals` only for a float, 0 to 6."""
    tag = value.type.tag
    if types.is_error(value.type) or (tag is TypeTag.TEXT and decimals is None):
        return value
    if decimals is not None and (tag is not TypeTag.FLOAT or not 0 <= decimals <= DECIMALS_MAX):
        problem = f"decimals are 0 to {DECIMALS_MAX}" if tag is TypeTag.FLOAT else "only a float has decimals"
        return ctx.error("EF0216", problem, span, f"this is {types.show(value.type)}", help="write `{x:1}` or `{x}`")
    if tag not in _TEXT_BYTES and tag is not TypeTag.ENUM:
        return ctx.error(
            "EF0205", f"{types.show(value.type)} cannot be turned into text", span, "not a single value",
            help="name one of its fields or elements",
        )  # fmt: skip
    size = max(map(text_bytes, value.type.members)) if tag is TypeTag.ENUM else _TEXT_BYTES[tag]
    shown = DECIMALS_SHORTEST if decimals is None else decimals
    return folded(ctx, t.ToText(value, shown, types.text(size), span))


_TEXT_BYTES = {
    TypeTag.BOOL: len("false"),
    TypeTag.INT: TEXT_I_BYTES_MAX,
    TypeTag.FLOAT: TEXT_F_BYTES_MAX,
    TypeTag.DURATION: TEXT_D_BYTES_MAX,
}


def joined_texts(ctx: Context, left: t.Expr, right: t.Expr, span: Span) -> t.Expr:
    """Return two texts one after the other."""
    if types.is_error(left.type) or types.is_error(right.type):
        return t.ErrorExpr(types.ERROR, span)
    size = left.type.size + right.type.size
    if size > ctx.text_bytes_max:
        return too_long(ctx, size, span)
    return folded(ctx, t.Binary("+", left, right, types.text(size), span))


def too_long(ctx: Context, size: int, span: Span) -> t.Expr:
    """Report a text beyond the profile's bound."""
    return ctx.error(
        "EF0501",
        f"this text may have {size} bytes; at most {ctx.text_bytes_max} are allowed",
        span,
        "too long",
        note="the worst case counts: every part at its longest",
        help="cut a part: `truncate(x, 100)`",
    )


# --- names ---------------------------------------------------------------------------------------------------------


def _name(ctx: Context, expr: ast.NameExpr, expected: Type | None) -> t.Expr:
    symbol = ctx.find(expr.name)
    if symbol is not None:
        return use(ctx, symbol, expr.span)
    if ctx.needs_itself(expr.name, expr.span):
        return t.ErrorExpr(types.ERROR, expr.span)
    member = _member(ctx, expr, expected)
    if member is not None:
        return member
    if expr.name in ctx.types:
        return ctx.error(
            "EF0203", f"`{expr.name}` is a type, not a value", expr.span, "a value is needed here",
            help=f"write a member: `{expr.name}.{ctx.types[expr.name].members[0]}`" if ctx.types[expr.name].members
            else f"make one: `{expr.name}(...)`",
        )  # fmt: skip
    inside = sorted(name for name in ctx.catalog.capabilities if name.startswith(f"{expr.name}."))
    if inside:
        return ctx.error(
            "EF0203", f"`{expr.name}` is no value", expr.span, "begins the names of capabilities",
            help=f"call one: `{inside[0]}(...)`",
        )  # fmt: skip
    hint, guess = ctx.suggest(expr.name)
    return ctx.error(
        "EF0203", f"unknown name `{expr.name}`", expr.span, "not declared", help=hint, fix=name_fix(expr.span, guess)
    )


def _member(ctx: Context, expr: ast.NameExpr, expected: Type | None) -> t.Expr | None:
    if expected is not None and expected.tag is TypeTag.ENUM and expr.name in expected.members:
        return t.Const(expected.members.index(expr.name), expected, expr.span)
    enums = ctx.enums_with(expr.name)
    if len(enums) > 1:
        names = " or ".join(f"`{kind.name}.{expr.name}`" for kind in enums)
        return ctx.error(
            "EF0210", f"`{expr.name}` is a member of several enums", expr.span, "which one?", help=f"write {names}"
        )
    return t.Const(enums[0].members.index(expr.name), enums[0], expr.span) if enums else None


def use(ctx: Context, symbol: Symbol, span: Span) -> t.Expr:
    """Return the value of a symbol, when it may be used here."""
    symbol.is_read = True
    if symbol.const is not None:
        return t.Const(symbol.const.value, symbol.const.type, span)
    if types.is_error(symbol.type) or symbol.variable is None:
        return t.ErrorExpr(types.ERROR, span)
    if ctx.mode is Mode.CONSTANT:
        return ctx.error(
            "EF0212",
            f"the {symbol.kind.value} `{symbol.name}` is not a constant",
            span,
            "known only when the rule runs",
            help="use literals and names declared with `const`",
            labels=(Label(symbol.span, "declared here"),),
        )
    return t.Place(symbol.variable, 0, symbol.type, span)


def _field(ctx: Context, expr: ast.FieldExpr, expected: Type | None) -> t.Expr:
    capability = f"{expr.base.name}.{expr.field.text}" if isinstance(expr.base, ast.NameExpr) else ""
    if capability in ctx.catalog.capabilities and ctx.find(capability.partition(".")[0]) is None:
        return ctx.error(
            "EF0203", f"`{capability}` is no value", expr.span, "a capability", help=f"call it: `{capability}(...)`"
        )
    base = expr.base
    if isinstance(base, ast.NameExpr) and ctx.find(base.name) is None and base.name in ctx.types:
        return _qualified_member(ctx, ctx.types[base.name], expr)
    record = check(ctx, base)
    if types.is_error(record.type):
        return t.ErrorExpr(types.ERROR, expr.span)
    if not isinstance(record, t.Place) or record.type.tag is not TypeTag.RECORD:
        return ctx.error(
            "EF0208", f"{types.show(record.type)} has no fields", base.span, "not a record that has a name",
            help="give the record a name with `let` first" if record.type.tag is TypeTag.RECORD else "",
        )  # fmt: skip
    return _record_field(ctx, record, expr)


def _record_field(ctx: Context, record: t.Place, expr: ast.FieldExpr) -> t.Expr:
    found = types.field_offset(record.type, expr.field.text)
    if found is None:
        names = [name for name, _ in record.type.fields]
        hint, guess = did_you_mean(expr.field.text, names)
        declared = ctx.type_spans.get(record.type.name)
        return ctx.error(
            "EF0208",
            f"`{record.type.name}` has no field `{expr.field.text}`",
            expr.field.span,
            "unknown field",
            help=hint or "its fields are " + ", ".join(f"`{name}`" for name in names),
            labels=(Label(declared, "declared here"),) if declared else (),
            fix=name_fix(expr.field.span, guess),
        )
    offset, kind = found
    if record.index is None:
        return t.Place(record.variable, record.offset + offset, kind, expr.span)
    return t.Place(
        record.variable, record.offset, kind, expr.span, record.index, record.list_type, record.scalar + offset
    )


def _qualified_member(ctx: Context, kind: Type, expr: ast.FieldExpr) -> t.Expr:
    name = expr.field.text
    if name in kind.members:
        return t.Const(kind.members.index(name), kind, expr.span)
    hint, guess = did_you_mean(name, kind.members)
    return ctx.error(
        "EF0209",
        f"`{kind.name}` has no member `{name}`",
        expr.field.span,
        "unknown member",
        help=hint or "its members are " + ", ".join(f"`{member}`" for member in kind.members),
        fix=name_fix(expr.field.span, guess),
    )


def _index(ctx: Context, expr: ast.IndexExpr, expected: Type | None) -> t.Expr:
    items = check(ctx, expr.base)
    index = check_as(ctx, expr.index, types.INT, "an index")
    if types.is_error(items.type) or types.is_error(index.type):
        return t.ErrorExpr(types.ERROR, expr.span)
    if not isinstance(items, t.Place) or items.type.tag is not TypeTag.LIST:
        return ctx.error(
            "EF0208", f"{types.show(items.type)} has no elements", expr.base.span, "not a list that has a name",
            help="give the list a name with `let` first" if items.type.tag is TypeTag.LIST else "",
        )  # fmt: skip
    if isinstance(index, t.Const) and not 0 <= int(index.value) < items.type.size:
        return ctx.error(
            "EF0215", "this always traps: INDEX_RANGE", expr.index.span, f"the list holds at most {items.type.size}",
            note="the first element has the index 0",
        )  # fmt: skip
    return t.Place(items.variable, items.offset, types.element_of(items.type), expr.span, index, items.type)


def _list(ctx: Context, expr: ast.ListExpr, expected: Type | None) -> t.Expr:
    wanted = expected if expected is not None and expected.tag is TypeTag.LIST else None
    if not expr.items and wanted is None:
        return ctx.error(
            "EF0219", "this empty list has no type", expr.span, "a list of what?",
            help="write the type: `var samples: list(float, 10) = []`",
        )  # fmt: skip
    items = check_together(ctx, expr.items, types.element_of(wanted) if wanted else None)
    element = types.element_of(wanted) if wanted else items[0].type
    for item in items:
        joined = element if wanted and types.fits(item.type, element) else types.join(element, item.type)
        if joined is None or (wanted and joined != element and not types.is_error(joined)):
            return ctx.error(
                "EF0204", f"an element must be {types.show(element)}, not {types.show(item.type)}", item.span,
                f"this is {types.show(item.type)}", help=_conversion_help(item.type, element),
            )  # fmt: skip
        element = joined
    if not types.is_error(element) and not types.is_list_element(element):
        return ctx.error(
            "EF0221", f"a list cannot hold {types.show(element)}", items[0].span, "not a single value",
            note="its elements are scalars, or records of scalars",
        )  # fmt: skip
    if wanted is not None and len(items) > wanted.size:
        return ctx.error(
            "EF0502", f"this list has {len(items)} elements; {types.show(wanted)} holds {wanted.size}", expr.span,
            "too many", help=f"declare it with room: `list({types.show(element)}, {len(items)})`",
        )  # fmt: skip
    return t.ListLiteral(tuple(items), wanted or types.list_of(element, len(items)), expr.span)


def _error(ctx: Context, expr: ast.ErrorExpr, expected: Type | None) -> t.Expr:
    return t.ErrorExpr(types.ERROR, expr.span)


def _stray_last(ctx: Context, expr: ast.LastExpr, expected: Type | None) -> t.Expr:
    return ctx.error(
        "EF0304",
        "`last` stands only as the window of an aggregate",
        expr.span,
        "not a value",
        help="write `mean(x, last 5min)`; also `min`, `max`, `sum`, `rate` and `count`",
    )


_BY_NODE: dict[type, Checker] = {
    ast.IntLiteral: _int, ast.FloatLiteral: _float, ast.DurationLiteral: _duration, ast.BoolLiteral: _bool,
    ast.TextLiteral: _text, ast.NameExpr: _name, ast.FieldExpr: _field, ast.IndexExpr: _index, ast.ListExpr: _list,
    ast.ErrorExpr: _error, ast.LastExpr: _stray_last,
}  # fmt: skip
_CHECKERS.update(_BY_NODE)

__all__ = ["SymbolKind", "check", "check_as", "check_constant", "check_together", "folded", "is_flexible", "register"]
