"""Types statements and keeps the scopes of their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eyeflow.base.diagnostic import Label, Span
from eyeflow.compiler import ast, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.check.capabilities import (
    check_arguments,
    check_failure,
    find_capability,
    make_site,
    values_of,
)  # fmt: skip
from eyeflow.compiler.check.context import Context, Symbol, SymbolKind, did_you_mean
from eyeflow.compiler.check.declarations import check_name
from eyeflow.compiler.check.expressions import check, check_as
from eyeflow.compiler.check.resolve import resolve_type
from eyeflow.svm.program import OnFailure, SiteKind, Type, TypeTag

LOOP_BOUND_MAX = 65_535
EMIT_COST = 10


def check_block(ctx: Context, block: ast.Block) -> t.Block:
    """Type the statements of a block in a scope of its own."""
    with ctx.scope():
        return check_statements(ctx, block)


def check_statements(ctx: Context, block: ast.Block) -> t.Block:
    """Type statements in the present scope; those with mistakes are left out."""
    done = [_CHECKERS[type(statement)](ctx, statement) for statement in block.statements]
    return t.Block(tuple(statement for statement in done if statement is not None), block.span)


# --- let, var and assignment ---------------------------------------------------------------------------------------


def _let(ctx: Context, statement: ast.Let) -> t.Statement | None:
    wanted = resolve_type(ctx, statement.type) if statement.type else None
    what = f"`{statement.name.text}`"
    declared = statement.type.span if statement.type else None
    value = (
        check_as(ctx, statement.value, wanted, what, declared) if wanted is not None else check(ctx, statement.value)
    )  # fmt: skip
    kind = SymbolKind.VAR if statement.mutable else SymbolKind.LET
    result = _local_type(ctx, wanted or value.type, value, kind, statement)
    symbol = Symbol(statement.name.text, kind, result, statement.name.span)
    if types.is_error(result) or types.is_error(value.type):
        symbol.type, symbol.is_read = result if wanted else types.ERROR, True
        if wanted and not types.is_error(wanted):
            symbol.variable = t.Variable(symbol.name, wanted, t.Region.LOCAL, symbol.span)
        ctx.declare(symbol)
        return None
    if isinstance(value, t.Const) and not statement.mutable:
        symbol.const = t.Const(value.value, result, value.span)
        ctx.declare(symbol)
        return None
    symbol.variable = t.Variable(symbol.name, result, t.Region.LOCAL, symbol.span)
    ctx.declare(symbol)
    return t.Store(t.Place(symbol.variable, 0, result, symbol.span), value, statement.span)


def _local_type(ctx: Context, kind: Type, value: t.Expr, symbol: SymbolKind, statement: ast.Let) -> Type:
    if kind.tag is TypeTag.PIN and not (isinstance(value, t.Const) and symbol is SymbolKind.LET):
        ctx.error(
            "EF0221", "a pin is no value of a variable", statement.value.span, "a pin", help="name the pin itself"
        )
        return types.ERROR
    return kind


def _assign(ctx: Context, statement: ast.Assign) -> t.Statement | None:
    place = _target(ctx, statement.place)
    if place is None:
        check(ctx, statement.value)
        return None
    root = _root_symbol(ctx, statement.place)
    value = check_as(ctx, statement.value, place.type, "the value", root.span if root else None)
    if types.is_error(value.type):
        return None
    if not types.is_flat(place.type) and not _may_change(ctx, place.variable, statement.span):
        return None
    return t.Store(place, value, statement.span)


def _root(expr: ast.Expr) -> ast.Expr:
    while isinstance(expr, ast.FieldExpr | ast.IndexExpr):
        expr = expr.base
    return expr


def _root_symbol(ctx: Context, expr: ast.Expr) -> Symbol | None:
    root = _root(expr)
    return ctx.find(root.name) if isinstance(root, ast.NameExpr) else None


def _target(ctx: Context, expr: ast.Expr) -> t.Place | None:
    symbol = _root_symbol(ctx, expr)
    was_read = symbol.is_read if symbol else False
    place = check(ctx, expr)
    if symbol is not None:
        symbol.is_read, symbol.is_written = was_read, True
    if types.is_error(place.type):
        return None
    if symbol is None or symbol.kind not in (SymbolKind.STATE, SymbolKind.VAR) or not isinstance(place, t.Place):
        _cannot_assign(ctx, expr, symbol)
        return None
    return place


_REMEDIES = {
    SymbolKind.LET: "declare it with `var` instead of `let`",
    SymbolKind.PARAM: "a parameter is set per deployment; remember the value in a `state`",
    SymbolKind.CONST: "declare a `state` or a `var`",
    SymbolKind.PIN: "set its level: `gpio.set_pin({name}, HIGH)`",
}


def _cannot_assign(ctx: Context, expr: ast.Expr, symbol: Symbol | None) -> None:
    if symbol is None:
        ctx.error("EF0211", "this cannot be assigned to", expr.span, "not a state variable or a `var`")
        return
    symbol.is_read = True
    ctx.error(
        "EF0211",
        f"the {symbol.kind.value} `{symbol.name}` cannot be assigned to",
        expr.span,
        "does not change",
        help=_REMEDIES.get(symbol.kind, "copy it into a `var`").format(name=symbol.name),
        labels=(Label(symbol.span, "declared here"),),
    )


def _may_change(ctx: Context, variable: t.Variable, span: Span) -> bool:
    if variable not in ctx.visited_lists:
        return True
    ctx.error(
        "EF0218", f"`{variable.name}` is changed while a loop visits it", span, "changes the list that is visited",
        help="collect the changes in another list and assign it after the loop",
    )  # fmt: skip
    return False


# --- branches ------------------------------------------------------------------------------------------------------


def _condition(ctx: Context, expr: ast.Expr) -> t.Expr:
    condition = check_as(ctx, expr, types.BOOL, "a condition")
    if isinstance(condition, t.Const):
        word = "true" if condition.value else "false"
        ctx.warn("EF0902", f"this condition is always {word}", expr.span, f"always {word}", help="remove the `if`")
    return condition


def _if(ctx: Context, statement: ast.If) -> t.Statement | None:
    condition = _condition(ctx, statement.condition)
    then = check_block(ctx, statement.then)
    otherwise = t.Block((), statement.span)
    if isinstance(statement.otherwise, ast.If):
        nested = _if(ctx, statement.otherwise)
        otherwise = t.Block((nested,) if nested else (), statement.otherwise.span)
    elif statement.otherwise is not None:
        otherwise = check_block(ctx, statement.otherwise)
    return None if types.is_error(condition.type) else t.If(condition, then, otherwise, statement.span)


def _match(ctx: Context, statement: ast.Match) -> t.Statement | None:
    subject = check(ctx, statement.subject)
    if not types.is_error(subject.type) and subject.type.tag is not TypeTag.ENUM:
        subject = ctx.error(
            "EF0204", f"`match` takes an enum, not {types.show(subject.type)}", statement.subject.span,
            f"this is {types.show(subject.type)}", help="use `if` and `else if`",
        )  # fmt: skip
    seen: dict[int, ast.Name] = {}
    arms = tuple(_arm(ctx, arm, subject.type, seen) for arm in statement.arms)
    if types.is_error(subject.type):
        return None
    return t.Match(subject, arms, statement.span) if _covered(ctx, statement, subject.type, seen) else None


def _arm(ctx: Context, arm: ast.MatchArm, kind: Type, seen: dict[int, ast.Name]) -> t.MatchArm:
    ordinals = [] if types.is_error(kind) else [_ordinal(ctx, member, kind, seen) for member in arm.members]
    return t.MatchArm(tuple(one for one in ordinals if one is not None), check_block(ctx, arm.body), arm.span)


def _ordinal(ctx: Context, member: ast.Name, kind: Type, seen: dict[int, ast.Name]) -> int | None:
    if member.text not in kind.members:
        hint, _ = did_you_mean(member.text, kind.members)
        ctx.error("EF0209", f"`{kind.name}` has no member `{member.text}`", member.span, "unknown member", help=hint)
        return None
    ordinal = kind.members.index(member.text)
    if ordinal in seen:
        ctx.error(
            "EF0214", f"`{member.text}` has an arm already", member.span, "never reached",
            labels=(Label(seen[ordinal].span, "its first arm"),), help="remove one of the two",
        )  # fmt: skip
    seen[ordinal] = member
    return ordinal


def _covered(ctx: Context, statement: ast.Match, kind: Type, seen: dict[int, ast.Name]) -> bool:
    missing = [member for ordinal, member in enumerate(kind.members) if ordinal not in seen]
    elses = [arm for arm in statement.arms if not arm.members]
    if len(elses) > 1 or (elses and statement.arms[-1].members):
        ctx.error("EF0214", "`else` must be the only and last `else` of a `match`", elses[0].span, "not the last arm")
        return False
    known = all(member.text in kind.members for arm in statement.arms for member in arm.members)
    if missing and not elses and not known:
        return False
    if missing and not elses:
        listed = ", ".join(f"`{member}`" for member in missing)
        ctx.error(
            "EF0213", f"this `match` does not say what to do for {listed}", statement.subject.span,
            f"a {kind.name} can also be {listed}", help="add arms for them, or `else => { ... }`",
        )  # fmt: skip
        return False
    if elses and not missing:
        ctx.warn("EF0903", "this `else` is never reached", elses[0].span, "every member has an arm", help="remove it")
    return True


# --- loops ---------------------------------------------------------------------------------------------------------


def _loop_body(ctx: Context, variable: t.Variable, block: ast.Block, span: Span) -> t.Block:
    ctx.loop_spans.append(span)
    with ctx.scope():
        symbol = Symbol(variable.name, SymbolKind.LOOP, variable.type, variable.span, variable)
        symbol.is_read = True
        ctx.declare(symbol)
        body = check_statements(ctx, block)
    ctx.loop_spans.pop()
    return body


def _for_each(ctx: Context, statement: ast.ForEach) -> t.Statement | None:
    items = check(ctx, statement.items)
    if not types.is_error(items.type) and items.type.tag is not TypeTag.LIST:
        items = ctx.error(
            "EF0204", f"`for` visits a list, not {types.show(items.type)}", statement.items.span,
            f"this is {types.show(items.type)}", help="count with `for i in 0..10`",
        )  # fmt: skip
    element = types.ERROR if types.is_error(items.type) else types.element_of(items.type)
    variable = t.Variable(statement.variable.text, element, t.Region.LOCAL, statement.variable.span)
    visited = [items.variable] if isinstance(items, t.Place) else []
    ctx.visited_lists.extend(visited)
    body = _loop_body(ctx, variable, statement.body, statement.span)
    del ctx.visited_lists[len(ctx.visited_lists) - len(visited) :]
    return None if types.is_error(items.type) else t.ForEach(variable, items, body, statement.span)


def _for_range(ctx: Context, statement: ast.ForRange) -> t.Statement | None:
    low = check_as(ctx, statement.low, types.INT, "the start of a loop")
    high = check_as(ctx, statement.high, types.INT, "the end of a loop")
    bound = _bound(ctx, statement, low, high)
    variable = t.Variable(statement.variable.text, types.INT, t.Region.LOCAL, statement.variable.span)
    body = _loop_body(ctx, variable, statement.body, statement.span)
    if bound is None or types.is_error(low.type) or types.is_error(high.type):
        return None
    return t.ForRange(variable, low, high, bound, body, statement.span)


def _bound(ctx: Context, statement: ast.ForRange, low: t.Expr, high: t.Expr) -> int | None:
    span = statement.low.span.to(statement.high.span)
    bound = statement.bound
    trips = int(high.value) - int(low.value) if isinstance(low, t.Const) and isinstance(high, t.Const) else None
    if bound is not None and trips is not None and trips > bound:
        ctx.error("EF0215", "this always traps: LOOP_BOUND", span, f"{trips} trips, at most {bound}")
        return None
    if bound is None and trips is not None:
        bound = trips
        if bound <= 0:
            ctx.error("EF0502", "this loop never runs", span, "the end is excluded and must lie above the start")
            return None
    if types.is_error(low.type) or types.is_error(high.type):
        return None
    if bound is None:
        ctx.error(
            "EF0505", "this loop has no bound", span, "how many trips at most?",
            note="every rule ends: the compiler must know the longest a loop can run",
            help="write the most trips: `for i in 0..n max 10`",
        )  # fmt: skip
        return None
    if not 1 <= bound <= LOOP_BOUND_MAX:
        ctx.error("EF0502", f"a loop runs 1 to {LOOP_BOUND_MAX} times, not {bound}", span, "out of range")
        return None
    return bound


# --- calls ---------------------------------------------------------------------------------------------------------


def _call(ctx: Context, statement: ast.ExprStatement) -> t.Statement | None:
    call = statement.call
    if not isinstance(call, ast.CallExpr):
        if not types.is_error(check(ctx, call).type):
            ctx.error("EF0217", "this line does nothing", call.span, "a value that nobody uses", help="remove it")
        return None
    if len(call.path) > 1:
        return _action(ctx, call)
    if call.path[0].text in ("append", "clear"):
        return _list_statement(ctx, call)
    if not types.is_error(check(ctx, call).type):
        ctx.error(
            "EF0217", "this line does nothing", call.span, "a value that nobody uses",
            help=f"name it: `let x = {call.path[0].text}(...)`",
        )  # fmt: skip
    return None


def _action(ctx: Context, call: ast.CallExpr) -> t.Statement | None:
    name = ".".join(part.text for part in call.path)
    capability = ctx.catalog.capabilities.get(name)
    if capability is None or capability.kind is not SiteKind.ACT:
        if not types.is_error(check(ctx, call).type):
            ctx.error(
                "EF0404", f"the value of `{name}` is not used", call.span, "a read without a use",
                help=f"name it: `let x = {name}(...)`",
            )  # fmt: skip
        return None
    if find_capability(ctx, call) is None:
        return None
    checked = check_arguments(ctx, call, capability)
    answer = check_failure(ctx, call.failure, capability, None)
    if checked is None or answer is None:
        return None
    ctx.used_capabilities.add(name)
    return t.Act(make_site(checked, answer), values_of(checked), call.span)


def _list_statement(ctx: Context, call: ast.CallExpr) -> t.Statement | None:
    name = call.path[0].text
    wanted = 2 if name == "append" else 1
    if len(call.args) != wanted or any(arg.name for arg in call.args) or call.failure:
        usage = "`append(list, value)`" if name == "append" else "`clear(list)`"
        ctx.error("EF0207", f"`{name}` is written {usage}", call.span, "not like this")
        return None
    place = _target(ctx, call.args[0].value)
    if place is None:
        return None
    if place.type.tag is not TypeTag.LIST:
        ctx.error(
            "EF0204", f"`{name}` takes a list, not {types.show(place.type)}", call.args[0].span,
            f"this is {types.show(place.type)}",
        )  # fmt: skip
        return None
    if not _may_change(ctx, place.variable, call.span):
        return None
    if name == "clear":
        return t.Clear(place, call.span)
    value = check_as(ctx, call.args[1].value, types.element_of(place.type), "an element")
    return None if types.is_error(value.type) else t.Append(place, value, call.span)


BOARD_EVENT_BYTES_MAX = 523
"""Fields of an event that the firmware sends: two texts and a number (embassy/firmware/src/call.rs)."""


def _emit(ctx: Context, statement: ast.Emit) -> t.Statement | None:
    name, fields, failed = statement.event.text, dict[str, t.Expr](), False
    for written in (statement.event, *(field.name for field in statement.fields if field.name)):
        check_name(ctx, written)
    for number, field in enumerate(statement.fields):
        label = field.name.text if field.name else f"field {number + 1}"
        value = check(ctx, field.value)
        failed |= types.is_error(value.type)
        if field.name is None or label in fields:
            problem = f"`{label}` is given twice" if field.name else "a field of an event needs a name"
            ctx.error("EF0207", problem, field.span, "here", help="write `emit overheated(temp: temp)`")
            failed = True
        elif not types.is_error(value.type) and (not types.is_scalar(value.type) or value.type.tag is TypeTag.PIN):
            ctx.error("EF0221", f"a field of an event cannot be {types.show(value.type)}", field.span, "not a scalar")
            failed = True
        fields[label] = value
    args = tuple((label, value.type) for label, value in fields.items())
    if failed or not _same_event(ctx, statement, args) or not _can_emit(ctx, statement, args):
        return None
    site = t.Site(SiteKind.EMIT, name, args, None, OnFailure.ABORT, 0, 0, 0, EMIT_COST, "", False)
    return t.Act(site, tuple(fields.values()), statement.span)


def _can_emit(ctx: Context, statement: ast.Emit, args: tuple[tuple[str, Type], ...]) -> bool:
    """Say whether the board sends events to its gateway; without a board file nobody knows."""
    if ctx.hardware is None:
        return True
    bytes_max = sum(2 + kind.size if kind.tag is TypeTag.TEXT else 9 for _, kind in args)
    if bytes_max > BOARD_EVENT_BYTES_MAX:
        ctx.error(
            "EF0409", f"the event may have {bytes_max} bytes, and a board sends {BOARD_EVENT_BYTES_MAX} at most",
            statement.event.span, "too long", help="use fewer or shorter texts",
        )  # fmt: skip
        return False
    if ctx.hardware.sends_events:
        return True
    ctx.error(
        "EF0409", f"`emit` needs a gateway, and {ctx.hardware.name} sends it no events", statement.event.span,
        "not on this hardware",
        help="write `to_gateway = true` below `[events]` in the board file, and build its firmware anew",
    )  # fmt: skip
    return False


def _same_event(ctx: Context, statement: ast.Emit, args: tuple[tuple[str, Type], ...]) -> bool:
    name = statement.event.text
    known = ctx.events.setdefault(name, args)
    first = ctx.event_spans.setdefault(name, statement.event.span)
    same = [label for label, _ in known] == [label for label, _ in args] and all(
        types.join(before, now) is not None for (_, before), (_, now) in zip(known, args, strict=False)
    )
    if not same:
        listed = ", ".join(f"{label}: {types.show(kind)}" for label, kind in known)
        ctx.error(
            "EF0225", f"the event `{name}` has other fields elsewhere", statement.event.span,
            "not the fields of the first one", help=f"write the same fields: {listed or '(none)'}",
            labels=(Label(first, "emitted first here"),),
        )  # fmt: skip
    return same


_CHECKERS: dict[type, Callable[[Context, Any], t.Statement | None]] = {
    ast.Let: _let,
    ast.Assign: _assign,
    ast.If: _if,
    ast.Match: _match,
    ast.ForEach: _for_each,
    ast.ForRange: _for_range,
    ast.ExprStatement: _call,
    ast.Emit: _emit,
}
