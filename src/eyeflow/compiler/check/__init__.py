"""The checker: from a syntax tree to a typed tree, or to diagnostics that say what is wrong."""

from __future__ import annotations

from eyeflow.base.diagnostic import Diagnostic, Severity
from eyeflow.base.record import dataclass
from eyeflow.compiler import ast
from eyeflow.compiler import typed as t
from eyeflow.compiler.catalog import Catalog
from eyeflow.compiler.check import calls, operators
from eyeflow.compiler.check.context import Context, SymbolKind, TooManyProblems
from eyeflow.compiler.check.dead import warn_dead_conditions
from eyeflow.compiler.check.declarations import (
    check_header,
    check_names,
    declare_consts,
    declare_params,
    declare_pins,
    declare_states,
    declare_types,
)  # fmt: skip
from eyeflow.compiler.check.handlers import check_handlers
from eyeflow.compiler.check.tests import CheckedTest, Condition, check_tests
from eyeflow.compiler.hardware import Hardware
from eyeflow.svm.program import Profile

__all__ = ["Checked", "CheckedTest", "Condition", "check_rule"]
_REGISTERED = (calls, operators)
"""Modules that register how to type their expressions when they are imported."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking: `rule` is None when there is any error."""

    rule: t.Rule | None
    tests: tuple[CheckedTest, ...]
    diagnostics: tuple[Diagnostic, ...]


def check_rule(
    rule: ast.Rule, source: str, catalog: Catalog, profile: Profile, hardware: Hardware | None = None
) -> Checked:
    """Resolve and type a whole rule; every problem found is in `diagnostics`, in the order of the source."""
    ctx = Context(catalog, profile, hardware, source)
    try:
        return _check(ctx, rule)
    except TooManyProblems:
        return Checked(None, (), _ordered(ctx))


def _ordered(ctx: Context) -> tuple[Diagnostic, ...]:
    return tuple(sorted(ctx.diagnostics, key=lambda found: (found.span, found.code)))


def _check(ctx: Context, rule: ast.Rule) -> Checked:
    version, priority = check_header(ctx, rule)
    check_names(ctx, rule)
    declare_types(ctx, rule)
    declare_pins(ctx, rule)
    declare_consts(ctx, rule)
    declare_params(ctx, rule)
    declare_states(ctx, rule)
    handlers = check_handlers(ctx, rule)
    tests = check_tests(ctx, rule, handlers)
    failed = any(found.severity is Severity.ERROR for found in ctx.diagnostics)
    if not failed:
        _warn_unused(ctx)
        warn_dead_conditions(ctx, handlers)
    result = t.Rule(
        name=rule.name.text,
        version=version,
        description=rule.description.value if rule.description else "",
        priority=priority,
        pins=tuple(ctx.pins),
        params=tuple(ctx.params),
        states=(*ctx.states, *ctx.hidden_states),
        handlers=handlers,
        span=rule.span,
    )
    return Checked(None if failed else result, () if failed else tests, _ordered(ctx))


_UNUSED_HELP = {
    SymbolKind.VAR: "remove it",
    SymbolKind.LET: "remove it",
    SymbolKind.PARAM: "remove it, or it misleads those who deploy the rule",
}


def _warn_unused(ctx: Context) -> None:
    for symbol in ctx.all_symbols:
        if symbol.is_read or symbol.kind is SymbolKind.PAYLOAD or symbol.name.startswith("_"):
            continue
        if symbol.kind is SymbolKind.STATE and symbol.is_written:
            continue
        verb = "assigned but never read" if symbol.is_written else "never used"
        what = f"the {symbol.kind.value} `{symbol.name}` is {verb}"
        ctx.warn("EF0901", what, symbol.span, verb, help=_UNUSED_HELP.get(symbol.kind, "remove it"))
