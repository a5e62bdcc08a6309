"""Lowers statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eyeflow.compiler import ir, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.lower.aggregates import as_place, loop_over, store_into
from eyeflow.compiler.lower.builder import Builder
from eyeflow.compiler.lower.expressions import lower, push_scalars
from eyeflow.svm.opcodes import Op
from eyeflow.svm.program import SiteKind


def lower_block(b: Builder, block: t.Block) -> None:
    """Write the statements of a block."""
    for statement in block.statements:
        _LOWERERS[type(statement)](b, statement)


def _store(b: Builder, statement: t.Store) -> None:
    store_into(b, statement.place, statement.value)


def _if(b: Builder, statement: t.If) -> None:
    lower(b, statement.condition)
    _arms(b, statement.then, statement.otherwise, statement)


def _arms(b: Builder, then: t.Block, otherwise: t.Block, statement: t.If) -> None:
    """Each arm first lets the time words of the other one start anew."""
    start = len(b.unit.timers)
    with b.block() as first:
        lower_block(b, then)
    in_first, middle = b.timers_since(start), len(b.unit.timers)
    with b.block() as second:
        lower_block(b, otherwise)
    in_second = b.timers_since(middle)
    first = b.resets(in_second, statement.span) + first
    b.branch(first, b.resets(in_first, statement.span) + second, statement.span, of_source=True)


def _match(b: Builder, statement: t.Match) -> None:
    lower(b, statement.subject)
    subject = b.temporary(statement.subject.type, statement.subject.span)
    b.store(subject, statement.subject.span)
    bodies: list[list[ir.Node]] = []
    timers: list[list[ir.TimerSymbol]] = []
    for arm in statement.arms:
        mark = len(b.unit.timers)
        with b.block() as body:
            lower_block(b, arm.body)
        bodies.append(body)
        timers.append(b.timers_since(mark))
    for number, body in enumerate(bodies):
        others = [timer for other, found in enumerate(timers) if other != number for timer in found]
        body[:0] = b.resets(others, statement.arms[number].span)
    _chain(b, statement, subject, bodies, 0)


def _chain(b: Builder, statement: t.Match, subject: t.Variable, bodies: list[list[ir.Node]], number: int) -> None:
    """Compare with the members of one arm after the other; the last arm takes what is left."""
    if number == len(bodies) - 1:
        b.nodes.extend(bodies[number])
        return
    arm = statement.arms[number]
    for position, ordinal in enumerate(arm.ordinals):
        b.load(subject, arm.span)
        b.push(ordinal, arm.span)
        b.do(Op.EQ_I, arm.span)
        if position:
            b.do(Op.OR, arm.span)
    with b.block() as rest:
        _chain(b, statement, subject, bodies, number + 1)
    b.branch(bodies[number], rest, arm.span, of_source=True)


def _for_each(b: Builder, statement: t.ForEach) -> None:
    items = as_place(b, statement.items)
    with b.block() as body:
        for number in range(len(types.scalars(statement.variable.type))):
            b.do(Op.LOOP_INDEX, statement.span)
            b.do(Op.LOAD_AT, statement.span, ir.Row(items.variable, items.offset, items.type, number))
            b.store(statement.variable, statement.span, number)
        lower_block(b, statement.body)
    written = len(statement.items.items) if isinstance(statement.items, t.ListLiteral) else None
    loop_over(b, items, body, statement.span, written)


def _for_range(b: Builder, statement: t.ForRange) -> None:
    low = b.temporary(types.INT, statement.span)
    lower(b, statement.low)
    b.store(low, statement.span)
    with b.block() as body:
        b.load(low, statement.span)
        b.do(Op.LOOP_INDEX, statement.span)
        b.do(Op.ADD_I, statement.span)
        b.store(statement.variable, statement.span)
        lower_block(b, statement.body)
    loop = ir.Loop(statement.bound, tuple(body), statement.span)
    if isinstance(statement.low, t.Const) and isinstance(statement.high, t.Const):
        trips = int(statement.high.value) - int(statement.low.value)
        # LOOP traps at 0 trips: a loop that never runs is left out.
        if trips > 0:
            b.push(trips, statement.span)
            b.nodes.append(loop)
        return
    lower(b, statement.high)
    # Once, before the loop: what the body changes does not change the number of trips.
    high = b.keep_int("high", statement.span)
    b.load(low, statement.span)
    b.load(high, statement.span)
    b.do(Op.LT_I, statement.span)
    with b.block() as runs:
        b.load(high, statement.span)
        b.load(low, statement.span)
        b.do(Op.SUB_I, statement.span)
        b.nodes.append(loop)
    b.branch(runs, [], statement.span)


def _append(b: Builder, statement: t.Append) -> None:
    place, span = statement.place, statement.span
    count = len(types.scalars(types.element_of(place.type)))
    push_scalars(b, statement.value)
    row = ir.Row(place.variable, place.offset, place.type, count - 1)
    # The values are on the stack already: `append(xs, xs[0])` reads before the list grows. GROW pushes the new index.
    b.do(Op.GROW, span, row)
    if count == 1:
        b.do(Op.STORE_AT, span, row)
        return
    index = b.keep_int("index", span)
    for number in reversed(range(count)):
        b.load(index, span)
        b.do(Op.STORE_AT, span, ir.Row(place.variable, place.offset, place.type, number))


def _clear(b: Builder, statement: t.Clear) -> None:
    b.push(0, statement.span)
    b.store(statement.place.variable, statement.span, statement.place.offset)


def _act(b: Builder, statement: t.Act) -> None:
    for arg in statement.args:
        lower(b, arg)
    op = Op.EMIT_EVENT if statement.site.kind is SiteKind.EMIT else Op.CALL_ACTION
    b.do(op, statement.span, b.site(statement.site))


_LOWERERS: dict[type, Callable[[Builder, Any], None]] = {
    t.Store: _store,
    t.If: _if,
    t.Match: _match,
    t.ForEach: _for_each,
    t.ForRange: _for_range,
    t.Append: _append,
    t.Clear: _clear,
    t.Act: _act,
}
