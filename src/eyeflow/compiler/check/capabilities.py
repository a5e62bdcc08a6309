"""Types calls of capabilities: their arguments, their profile and their declared answer to failure."""

from __future__ import annotations

from eyeflow.base.diagnostic import Label, Span
from eyeflow.base.record import dataclass
from eyeflow.compiler import ast, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.catalog import ArgRole, Capability, CapabilityArg
from eyeflow.compiler.check.arguments import bind
from eyeflow.compiler.check.context import Context, Mode, SymbolKind, did_you_mean, name_fix
from eyeflow.compiler.check.expressions import check, check_as, require_constant
from eyeflow.compiler.hardware import CHANNEL_KINDS, Hardware
from eyeflow.svm.program import OnFailure, SiteKind, Type, TypeTag

RETRIES_MAX = 100


@dataclass(frozen=True, slots=True)
class CapabilityCall:
    """A call whose arguments fit: what a site needs, and the values."""

    capability: Capability
    arg_types: tuple[tuple[str, Type], ...]
    args: tuple[t.Expr | None, ...]
    result: Type | None


def find_capability(ctx: Context, expr: ast.CallExpr) -> Capability | None:
    """Return the capability that is called, when it exists and the profile has it."""
    name = ".".join(part.text for part in expr.path)
    span = expr.path[0].span.to(expr.path[-1].span)
    capability = ctx.catalog.capabilities.get(name)
    if capability is None:
        guess = ctx.catalog.near(name)
        ctx.error(
            "EF0401", f"unknown capability `{name}`", span, "not in the catalog",
            help=f"did you mean `{guess}`?" if guess else "docs/reference/capabilities.md lists all",
            fix=name_fix(span, guess),
        )  # fmt: skip
        return None
    delegated = capability.delegable and ctx.hardware is not None and ctx.hardware.delegates_llm
    if ctx.profile not in capability.profiles and not delegated:
        profile = ctx.profile.name.lower()
        reason = capability.unavailable.get(ctx.profile, "the profile has no such capability")
        ctx.error("EF0402", f"`{name}` is not available on {profile}: {reason}", span, f"not on {profile}")
        return None
    if ctx.hardware is not None and (kind := ctx.hardware.lacking(name)):
        _lacking(ctx, ctx.hardware, name, kind, span)
        return None
    return capability


def _lacking(ctx: Context, hardware: Hardware, name: str, kind: str, span: Span) -> None:
    ctx.error(
        "EF0409",
        f"`{name}` needs {CHANNEL_KINDS[kind][0]}, and {hardware.name} has none",
        span,
        "not on this hardware",
        note=hardware.elsewhere.get(kind, ""),
        help="compile for another chip" if kind in hardware.elsewhere else hardware.remedy,
    )


def check_capability(ctx: Context, expr: ast.CallExpr, *, wants_value: bool) -> t.Expr:
    """Type a read or LLM call in an expression."""
    capability = find_capability(ctx, expr)
    if capability is None:
        return _check_loosely(ctx, expr)
    if ctx.mode is not Mode.HANDLER:
        code = "EF0608" if ctx.mode is Mode.CONDITION else "EF0212"
        return ctx.error(code, f"`{capability.name}` cannot stand in {ctx.mode.value}", expr.span, "asks the world")
    if capability.kind is SiteKind.ACT:
        return ctx.error(
            "EF0403", f"`{capability.name}` is an action and has no value", expr.span, "a value is needed here",
            help="give it a line of its own",
        )  # fmt: skip
    call = check_arguments(ctx, expr, capability)
    answer = check_failure(ctx, expr.failure, capability, call.result if call else None)
    if call is None or answer is None or call.result is None:
        return t.ErrorExpr(types.ERROR, expr.span)
    ctx.used_capabilities.add(capability.name)
    site = make_site(call, answer)
    return t.Read(site, values_of(call), answer.fallback, call.result, expr.span)


def _check_loosely(ctx: Context, expr: ast.CallExpr) -> t.Expr:
    for arg in expr.args:
        if not isinstance(arg.value, ast.LastExpr | ast.NameExpr):
            check(ctx, arg.value)
        elif isinstance(arg.value, ast.NameExpr) and (symbol := ctx.find(arg.value.name)):
            symbol.is_read = True
    return t.ErrorExpr(types.ERROR, expr.span)


def values_of(call: CapabilityCall) -> tuple[t.Expr, ...]:
    """Return the argument values of a complete call."""
    return tuple(arg for arg in call.args if arg is not None)


def check_arguments(
    ctx: Context, expr: ast.CallExpr, capability: Capability, *, partial: bool = False
) -> CapabilityCall | None:
    """Type the arguments of a call; `partial` lets any be left out (None), as an expectation may."""
    names = [arg.name for arg in capability.args]
    optional = [arg.name for arg in capability.args if arg.default is not None or partial]
    bound = bind(ctx, expr.args, names, f"`{capability.name}`", expr.span, optional)
    if bound is None:
        return None
    pairs: list[tuple[str, Type]] = []
    values: list[t.Expr | None] = []
    result, failed = capability.result, False
    for arg in capability.args:
        given = bound.get(arg.name)
        if arg.role is not ArgRole.VALUE:
            decided = _deciding(ctx, arg, given) if given else None
            failed = failed or (given is not None and decided is None)
            result = decided if arg.name == capability.result_of else result
            continue
        kind = _fit_profile(ctx, arg.type or types.ERROR)
        pairs.append((arg.name, kind))
        values.append(_argument(ctx, capability, arg, kind, given, expr, partial=partial))
        failed = failed or (values[-1] is not None and types.is_error(values[-1].type))
    if not failed:
        _check_channel(ctx, capability, values)
    return None if failed else CapabilityCall(capability, tuple(pairs), tuple(values), result)


def _check_channel(ctx: Context, capability: Capability, values: list[t.Expr | None]) -> None:
    """Report a channel, bus or port that the hardware does not have, where its number is known."""
    number = values[0] if values else None
    if ctx.hardware is None or not isinstance(number, t.Const) or not isinstance(number.value, int):
        return
    if not ctx.hardware.has_channel(capability.name, number.value):
        ctx.error(
            "EF0410",
            f"{ctx.hardware.name} has {ctx.hardware.describe_channels(capability.name)}",
            number.span,
            "no such number",
            help=f"use one of them, or {ctx.hardware.remedy}",
        )


def _fit_profile(ctx: Context, kind: Type) -> Type:
    return types.text(min(kind.size, ctx.text_bytes_max)) if kind.tag is TypeTag.TEXT else kind


def _argument(
    ctx: Context, capability: Capability, arg: CapabilityArg, kind: Type, given: ast.Argument | None,
    expr: ast.CallExpr, *, partial: bool,
) -> t.Expr | None:  # fmt: skip
    if given is None:
        return None if partial or arg.default is None else t.Const(arg.default, kind, expr.span)
    if kind.tag is TypeTag.PIN:
        return _pin(ctx, capability, given.value, kind)
    return check_as(ctx, given.value, kind, f"`{arg.name}` of `{capability.name}`")


def _pin(ctx: Context, capability: Capability, expr: ast.Expr, kind: Type) -> t.Expr:
    symbol = ctx.find(expr.name) if isinstance(expr, ast.NameExpr) else None
    if isinstance(expr, ast.NameExpr) and symbol is None:
        pins = [s.name for scope in ctx.scopes for s in scope.values() if s.kind is SymbolKind.PIN]
        hint, guess = did_you_mean(expr.name, pins)
        direction = kind.direction.name.lower()
        return ctx.error(
            "EF0203", f"unknown pin `{expr.name}`", expr.span, "not declared",
            help=hint or f"declare it: `pin {expr.name}: {direction}`", fix=name_fix(expr.span, guess),
        )  # fmt: skip
    value = check(ctx, expr)
    if types.is_error(value.type) or (value.type == kind and isinstance(value, t.Const)):
        return value
    if value.type.tag is TypeTag.PIN and symbol is not None:
        return ctx.error(
            "EF0406",
            f"`{capability.name}` needs an {types.show(kind)}",
            expr.span,
            f"this is an {types.show(value.type)}",
            help=f"declare it so: `pin {symbol.name}: {kind.direction.name.lower()}`",
            labels=(Label(symbol.span, "declared here"),),
        )
    return ctx.error(
        "EF0406", f"`{capability.name}` needs the name of an {types.show(kind)}", expr.span, "not a pin",
        help="declare one: `pin RELAY: output`",
    )  # fmt: skip


def _deciding(ctx: Context, arg: CapabilityArg, given: ast.Argument) -> Type | None:
    if arg.role is ArgRole.ENUM_TYPE:
        name = given.value.name if isinstance(given.value, ast.NameExpr) else ""
        kind = ctx.types.get(name)
        if kind is not None and kind.members:
            return kind
        hint, guess = ctx.suggest(name, [kind.name for kind in ctx.types.values() if kind.members])
        ctx.error(
            "EF0202", f"`{arg.name}` must be the name of an enum", given.span, "not an enum",
            help=hint or "declare one: `enum Label { YES, NO }`", fix=name_fix(given.span, guess) if name else None,
        )  # fmt: skip
        return None
    size = require_constant(ctx, check_as(ctx, given.value, types.INT, f"`{arg.name}`"), f"`{arg.name}`")
    if not isinstance(size, t.Const):
        return None
    if not 1 <= int(size.value) <= ctx.text_bytes_max:
        ctx.error("EF0501", f"`{arg.name}` must be 1 to {ctx.text_bytes_max} bytes", given.span, "out of range")
        return None
    return types.text(int(size.value))


# --- the answer to failure -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """The declared answer to failure."""

    kind: OnFailure = OnFailure.ABORT
    retries: int = 0
    backoff_us: int = 0
    timeout_us: int = 0
    fallback: t.Expr | None = None


_ANSWERS = {
    None: OnFailure.ABORT,
    ast.FailureKind.ABORT: OnFailure.ABORT,
    ast.FailureKind.SKIP: OnFailure.SKIP,
    ast.FailureKind.FALLBACK: OnFailure.FALLBACK,
}


def check_failure(
    ctx: Context, failure: ast.Failure | None, capability: Capability, result: Type | None
) -> Answer | None:
    """Return the declared answer to failure, None after a reported problem."""
    if failure is None:
        return Answer()
    retries = failure.retries or 0
    if retries > RETRIES_MAX:
        ctx.error("EF0506", f"`retry {retries}` is too often", failure.span, f"at most {RETRIES_MAX}")
        return None
    if failure.backoff_us is not None and capability.kind is SiteKind.READ:
        ctx.error(
            "EF0405", "a read is tried again at once: it has no `backoff`", failure.span, "`backoff` is for actions",
            help="remove `backoff`",
        )  # fmt: skip
        return None
    kind, fallback = _ANSWERS[failure.kind], None
    if kind is OnFailure.FALLBACK and failure.fallback is not None:
        fallback = _fallback(ctx, failure.fallback, capability, result)
        if fallback is None:
            return None
    return Answer(kind, retries, failure.backoff_us or 0, failure.timeout_us or 0, fallback)


def _fallback(ctx: Context, expr: ast.Expr, capability: Capability, result: Type | None) -> t.Expr | None:
    if capability.kind is SiteKind.ACT:
        ctx.error(
            "EF0405", "an action has no value, so `else` cannot give one", expr.span, "not for an action",
            help="write `else skip` or `else abort`",
        )  # fmt: skip
        return None
    if result is None:
        return None
    value = check_as(ctx, expr, result, f"the fallback of `{capability.name}`")
    if types.is_error(value.type):
        return None
    stored = isinstance(value, t.Place) and value.index is None
    if isinstance(value, t.Const) or (
        stored and isinstance(value, t.Place) and value.variable.region in (t.Region.PARAM, t.Region.STATE)
    ):
        return value
    ctx.error(
        "EF0407", "a fallback is a constant, a parameter or a state variable", expr.span, "something else",
        note="it must be there when the capability is not", help="keep the value in a `state` variable",
    )  # fmt: skip
    return None


def make_site(call: CapabilityCall, answer: Answer) -> t.Site:
    """Return the site of a call."""
    capability = call.capability
    return t.Site(
        kind=capability.kind,
        capability=capability.name,
        args=call.arg_types,
        result=call.result,
        on_failure=answer.kind,
        retries=answer.retries,
        backoff_us=answer.backoff_us,
        timeout_us=answer.timeout_us,
        cost=capability.cost,
        resource=capability.resource,
        level=capability.level,
    )
