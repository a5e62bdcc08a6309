"""Turns types as written into types."""

from __future__ import annotations

from eyeflow.compiler import ast, types
from eyeflow.compiler.check.context import Context, did_you_mean, name_fix
from eyeflow.svm.program import Type

_PLAIN = {"bool": types.BOOL, "int": types.INT, "float": types.FLOAT, "duration": types.DURATION}


def resolve_type(ctx: Context, written: ast.TypeName) -> Type:
    """Return the type that is meant, the error type after a reported problem."""
    name = written.name.text
    if name == "text":
        return _text(ctx, written)
    if name == "list":
        return _list(ctx, written)
    ctx.declare_pending(name)
    kind = _PLAIN.get(name) or ctx.types.get(name)
    if kind is None and ctx.needs_itself(name, written.span):
        return types.ERROR
    if kind is None:
        hint, guess = did_you_mean(name, [*_PLAIN, "text", "list", *ctx.types])
        hint = hint or _FOREIGN.get(name.lower(), "declare it with `enum` or `record`, or use a built-in type")
        ctx.error("EF0202", f"unknown type `{name}`", written.span, "no such type", help=hint,
                  fix=name_fix(written.name.span, guess))  # fmt: skip
        return types.ERROR
    if written.size is not None or written.element is not None:
        ctx.error(
            "EF0202", f"`{name}` takes no size", written.span, "only `text` and `list` do", help=f"write `{name}`"
        )
        return types.ERROR
    return kind


_FOREIGN = {
    "string": "write `text(32)`: a text has a bound in bytes",
    "str": "write `text(32)`: a text has a bound in bytes",
    "double": "write `float`",
    "number": "write `float` or `int`",
    "real": "write `float`",
    "boolean": "write `bool`",
    "integer": "write `int`",
    "array": "write `list(float, 10)`",
    "time": "write `duration`: a point in time is the duration since 1970",
}


def _text(ctx: Context, written: ast.TypeName) -> Type:
    limit = ctx.text_bytes_max
    if written.size is None:
        ctx.error("EF0202", "`text` needs a bound", written.span, "how many bytes at most?", help="write `text(32)`")
        return types.ERROR
    if not 1 <= written.size <= limit:
        ctx.error("EF0501", f"a text holds 1 to {limit} bytes, not {written.size}", written.span, "out of range")
        return types.ERROR
    return types.text(written.size)


def _list(ctx: Context, written: ast.TypeName) -> Type:
    if written.element is None or written.size is None:
        ctx.error("EF0202", "`list` needs a type and a bound", written.span, "of what, and how many?",
                  help="write `list(float, 10)`")  # fmt: skip
        return types.ERROR
    element = resolve_type(ctx, written.element)
    if types.is_error(element):
        return types.ERROR
    if not types.is_list_element(element):
        ctx.error("EF0221", f"a list cannot hold {types.show(element)}", written.element.span, "not a single value",
                  note="its elements are scalars, or records of scalars")  # fmt: skip
        return types.ERROR
    if not 1 <= written.size <= types.LIST_CAPACITY_MAX:
        ctx.error("EF0502", f"a list holds 1 to {types.LIST_CAPACITY_MAX} values, not {written.size}", written.span,
                  "out of range")  # fmt: skip
        return types.ERROR
    return types.list_of(element, written.size)
