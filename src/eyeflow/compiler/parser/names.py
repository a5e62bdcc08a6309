"""Small questions about names and pieces of source, for the expression parser."""

from __future__ import annotations

from eyeflow.compiler import ast


def path_of(callee: ast.Expr) -> tuple[ast.Name, ...] | None:
    """Return the names of `gpio.set_pin`, or None for anything that is not names joined by points."""
    names: list[ast.Name] = []
    while isinstance(callee, ast.FieldExpr):
        names.append(callee.field)
        callee = callee.base
    if not isinstance(callee, ast.NameExpr):
        return None
    names.append(ast.Name(callee.name, callee.span))
    return tuple(reversed(names))


def shortened(text: str) -> str:
    """Return a piece of source for a message, or `...` when it is long."""
    return text if len(text) <= 30 and "\n" not in text else "..."
