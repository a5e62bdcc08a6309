"""Finds conditions that a branch around them decides already. It reports only what no event can change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eyeflow.compiler import typed as t
from eyeflow.compiler import types
from eyeflow.compiler.check.context import Context
from eyeflow.svm.opcodes import TimerKind

Facts = Mapping[tuple[t.Variable, int], bool]
"""What bools (a variable and an offset in it) are in a branch: only those that do not change during an execution."""


def warn_dead_conditions(ctx: Context, handlers: tuple[t.Handler, ...]) -> None:
    """Warn of each `if` in a branch on the same value whose condition is always the same there."""
    for handler in handlers:
        stored = [one.place.variable for one in _stores(handler.body)]
        changing = {variable for variable in stored if stored.count(variable) > 1}
        _block(ctx, handler.body, {}, changing)


def _stores(block: t.Block) -> Iterator[t.Store]:
    for statement in block.statements:
        if isinstance(statement, t.Store):
            yield statement
        for inner in _blocks(statement):
            yield from _stores(inner)


def _blocks(statement: t.Statement) -> tuple[t.Block, ...]:
    match statement:
        case t.If(then=then, otherwise=otherwise):
            return then, otherwise
        case t.Match(arms=arms):
            return tuple(arm.body for arm in arms)
        case t.ForEach(body=body) | t.ForRange(body=body):
            return (body,)
        case _:
            return ()


def _block(ctx: Context, block: t.Block, facts: Facts, changing: set[t.Variable]) -> None:
    for statement in block.statements:
        if not isinstance(statement, t.If):
            for inner in _blocks(statement):
                _block(ctx, inner, facts, changing)
            continue
        _report(ctx, statement.condition, facts)
        _block(ctx, statement.then, {**facts, **_learnt(statement.condition, True, changing)}, changing)
        _block(ctx, statement.otherwise, {**facts, **_learnt(statement.condition, False, changing)}, changing)


def _report(ctx: Context, condition: t.Expr, facts: Facts) -> None:
    known = None if isinstance(condition, t.Const) else _value(condition, facts)
    if known is None:
        return
    word = "true" if known else "false"
    ctx.warn(
        "EF0904", f"this condition is always {word} here", condition.span, f"always {word}",
        note="the branch around it has asked for the same value; a time word starts anew when its branch is not taken",
        help="remove it, or give the condition a name with `let` before the branch, as in `let cold_again = hot falls`",
    )  # fmt: skip


def _learnt(condition: t.Expr, holds: bool, changing: set[t.Variable]) -> Facts:
    """Return what is known where a condition was true (or false)."""
    match condition:
        case t.Unary(operator="not", operand=operand):
            return _learnt(operand, not holds, changing)
        case t.Logic(operator=operator, left=left, right=right) if (operator == "and") == holds:
            return {**_learnt(left, holds, changing), **_learnt(right, holds, changing)}
        case t.Place(index=None, variable=variable, offset=offset) if _is_fixed(condition, changing):
            return {(variable, offset): holds}
        case _:
            return {}


def _is_fixed(place: t.Expr, changing: set[t.Variable]) -> bool:
    """Whether a bool is the same during a whole execution: a parameter, a payload or a local stored once."""
    assert isinstance(place, t.Place)
    return place.type == types.BOOL and place.variable.region is not t.Region.STATE and place.variable not in changing


def _value(expr: t.Expr, facts: Facts) -> bool | None:
    """Return what an expression always is where `facts` hold, None when it can be both."""
    match expr:
        case t.Place(index=None, variable=variable, offset=offset):
            return facts.get((variable, offset))
        case t.Unary(operator="not", operand=operand):
            value = _value(operand, facts)
            return None if value is None else not value
        case t.Logic(operator=operator, left=left, right=right):
            sides = (_value(left, facts), _value(right, facts))
            decides = operator == "or"
            return decides if decides in sides else (not decides if sides == (not decides, not decides) else None)
        case t.TimeWord(kind=kind, value=inner):
            return _timed(kind, _value(inner, facts))
        case _:
            return None


def _timed(kind: TimerKind, value: bool | None) -> bool | None:
    """A condition that is never true in a branch never rises there, nor falls: it counts as false in between."""
    if kind is TimerKind.FALLS:
        return None if value is None else False
    return False if kind in (TimerKind.HOLD, TimerKind.RISES, TimerKind.COOLDOWN) and value is False else None
