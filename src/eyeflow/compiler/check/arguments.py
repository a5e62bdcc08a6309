"""Binds the arguments of a call to the names that are expected."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from eyeflow.base.diagnostic import Span
from eyeflow.compiler import ast
from eyeflow.compiler.check.context import Context, did_you_mean, name_fix


def bind(
    ctx: Context,
    args: Sequence[ast.Argument],
    names: Sequence[str],
    what: str,
    span: Span,
    optional: Collection[str] = (),
) -> dict[str, ast.Argument] | None:
    """Return the argument of each name, by position first and then by name; None after a reported problem."""
    bound: dict[str, ast.Argument] = {}
    for position, arg in enumerate(args):
        name = _target(ctx, arg, position, names, what)
        if name is None:
            return None
        if name in bound:
            ctx.error("EF0207", f"`{name}` is given twice to {what}", arg.span, "given again here")
            return None
        bound[name] = arg
    missing = [name for name in names if name not in bound and name not in optional]
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing)
        ctx.error(
            "EF0207", f"{what} lacks {listed}", span, "not enough arguments", help=f"write {what}: {_signature(names)}"
        )
        return None
    return bound


def _signature(names: Sequence[str]) -> str:
    return "(" + ", ".join(names) + ")"


def _target(ctx: Context, arg: ast.Argument, position: int, names: Sequence[str], what: str) -> str | None:
    if arg.name is None:
        if position < len(names):
            return names[position]
        count = f"{len(names)} argument{'' if len(names) == 1 else 's'}" if names else "no arguments"
        ctx.error("EF0207", f"{what} takes {count}", arg.span, "one too many", help=f"it is {_signature(names)}")
        return None
    if arg.name.text in names:
        return arg.name.text
    hint, guess = did_you_mean(arg.name.text, names)
    ctx.error(
        "EF0207",
        f"{what} has no argument `{arg.name.text}`",
        arg.name.span,
        "unknown argument",
        help=hint or f"it is {_signature(names)}",
        fix=name_fix(arg.name.span, guess),
    )
    return None
