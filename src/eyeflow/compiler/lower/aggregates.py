"""Lowers lists and records: copies, literals, and the functions over lists."""

from __future__ import annotations

from dataclasses import replace

from eyeflow.base.diagnostic import Span
from eyeflow.compiler import ir, tree, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.lower.builder import Builder
from eyeflow.compiler.lower.expressions import extreme, lower, push_scalars, register, row_of
from eyeflow.svm.opcodes import Op
from eyeflow.svm.program import TypeTag


def store_into(b: Builder, target: t.Place, value: t.Expr) -> None:
    """Put the value of any expression into a place."""
    if types.is_scalar(target.type) or (types.is_flat(target.type) and not _by_parts(target, value)):
        push_scalars(b, value)
        pop_into(b, target)
    elif not isinstance(value, t.Place) and tree.mentions(value, target.variable):
        # By way of a local: the first part that is stored would change what the others still read.
        fresh = b.temporary(target.type, value.span)
        place = t.Place(fresh, 0, target.type, value.span)
        store_into(b, place, value)
        _copy(b, target, place)
    elif isinstance(value, t.Place):
        _copy(b, target, value)
    else:
        _store_parts(b, target, value)


def _by_parts(target: t.Place, value: t.Expr) -> bool:
    """A record is stored field by field where that cannot disturb its own value: it takes less of the stack."""
    if target.index is not None:
        return False
    if isinstance(value, t.Place):
        return value.index is None
    return isinstance(value, t.RecordLiteral) and not tree.mentions(value, target.variable)


def pop_into(b: Builder, target: t.Place) -> None:
    """Pop the scalars of a flat place, the last one first."""
    count = len(types.scalars(target.type))
    index = None
    if target.index is not None:
        lower(b, target.index)
        index = b.keep_int("index", target.span) if count > 1 else None
    for number in reversed(range(count)):
        if target.index is None:
            b.store(target.variable, target.span, target.offset + number)
            continue
        if index is not None:
            b.load(index, target.span)
        b.do(Op.STORE_AT, target.span, row_of(target, number))


def _parts(place: t.Place) -> list[t.Place]:
    offset, parts = place.offset, []
    for _, kind in place.type.fields:
        parts.append(replace(place, offset=offset, type=kind))
        offset += types.slot_count(kind)
    return parts


def _store_parts(b: Builder, target: t.Place, value: t.Expr) -> None:
    if isinstance(value, t.RecordLiteral):
        for part, field in zip(_parts(target), value.fields, strict=True):
            store_into(b, part, field)
    elif isinstance(value, t.ListLiteral):
        _store_list(b, target, value)
    else:
        assert isinstance(value, t.Choose)
        lower(b, value.condition)
        with b.block() as then:
            store_into(b, target, value.then)
        with b.block() as otherwise:
            store_into(b, target, value.otherwise)
        b.branch(then, otherwise, value.span, of_source=True)


def _store_list(b: Builder, target: t.Place, value: t.ListLiteral) -> None:
    b.push(len(value.items), value.span)
    b.store(target.variable, value.span, target.offset)
    for number, item in enumerate(value.items):
        push_scalars(b, item)
        for scalar in reversed(range(len(types.scalars(types.element_of(target.type))))):
            b.store(target.variable, item.span, target.offset + 1 + scalar * target.type.size + number)


def _copy(b: Builder, target: t.Place, source: t.Place) -> None:
    if target.type.tag is TypeTag.LIST:
        _copy_list(b, target, source)
    elif types.is_scalar(target.type) or target.index is not None or source.index is not None:
        push_scalars(b, source)
        pop_into(b, target)
    else:
        for to, origin in zip(_parts(target), _parts(source), strict=True):
            _copy(b, to, origin)


def _copy_list(b: Builder, target: t.Place, source: t.Place) -> None:
    span = target.span
    b.load(source.variable, span, source.offset)
    b.store(target.variable, span, target.offset)
    with b.block() as body:
        for number in range(len(types.scalars(types.element_of(source.type)))):
            b.do(Op.LOOP_INDEX, span)
            b.do(Op.LOAD_AT, span, ir.Row(source.variable, source.offset, source.type, number))
            b.do(Op.LOOP_INDEX, span)
            b.do(Op.STORE_AT, span, ir.Row(target.variable, target.offset, target.type, number))
    loop_over(b, source, body, span)


def loop_over(b: Builder, items: t.Place, body: list[ir.Node], span: Span, length: int | None = None) -> None:
    """Write a loop over the present elements of a list: none when it is empty. `length` is given when it is known."""
    if length:
        b.push(length, span)
        b.nodes.append(ir.Loop(items.type.size, tuple(body), span))
        return
    # LOOP traps at 0 trips (LOOP_BOUND), so an empty list goes around it.
    b.load(items.variable, span, items.offset)
    b.push(0, span)
    b.do(Op.GT_I, span)
    with b.block() as then:
        b.load(items.variable, span, items.offset)
        b.nodes.append(ir.Loop(items.type.size, tuple(body), span))
    b.branch(then, [], span)


def as_place(b: Builder, items: t.Expr) -> t.Place:
    """Return a list as a place, put into a local when it has none."""
    if isinstance(items, t.Place):
        return items
    place = t.Place(b.temporary(items.type, items.span), 0, items.type, items.span)
    store_into(b, place, items)
    return place


# --- functions over lists ------------------------------------------------------------------------------------------


def _length(b: Builder, expr: t.ListLength) -> None:
    place = as_place(b, expr.items)
    b.load(place.variable, expr.span, place.offset)


def _fold(b: Builder, expr: t.ListFold) -> None:
    items = as_place(b, expr.items)
    row = ir.Row(items.variable, items.offset, items.type, 0)
    result = b.temporary(expr.type, expr.span)
    _start(b, expr, row)
    b.store(result, expr.span)
    with b.block() as body:
        b.load(result, expr.span)
        b.do(Op.LOOP_INDEX, expr.span)
        b.do(Op.LOAD_AT, expr.span, row)
        _combine(b, expr, items)
        b.store(result, expr.span)
    loop_over(b, items, body, expr.span)
    b.load(result, expr.span)
    if expr.name == "mean":
        b.load(items.variable, expr.span, items.offset)
        b.do(Op.I_TO_F, expr.span)
        b.do(Op.DIV_F, expr.span)


def _start(b: Builder, expr: t.ListFold, row: ir.Row) -> None:
    """Push the first value; reading element 0 traps on an empty list, as `min`, `max` and `mean` must."""
    if expr.name != "sum":
        b.push(0, expr.span)
        b.do(Op.LOAD_AT, expr.span, row)
    if expr.name == "mean":
        b.do(Op.POP, expr.span)
    if expr.name in ("sum", "mean"):
        b.push(0.0 if expr.type == types.FLOAT else 0, expr.span)


def _combine(b: Builder, expr: t.ListFold, items: t.Place) -> None:
    if expr.name in ("min", "max"):
        b.do(extreme(expr.name, expr.type), expr.span)
        return
    if expr.name == "mean" and types.element_of(items.type) == types.INT:
        b.do(Op.I_TO_F, expr.span)
    b.do(Op.ADD_F if expr.type == types.FLOAT else Op.ADD_I, expr.span)


register(t.ListLength, _length)
register(t.ListFold, _fold)
