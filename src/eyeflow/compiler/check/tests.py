"""Checks the `test` blocks of a rule and turns their steps into typed ones. Compiled conditions come later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from eyeflow.base.diagnostic import Label, Span
from eyeflow.base.record import dataclass
from eyeflow.compiler import ast, testplan, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.check.arguments import bind
from eyeflow.compiler.check.capabilities import CapabilityCall, check_arguments, find_capability
from eyeflow.compiler.check.context import Context, Mode, SymbolKind, did_you_mean, name_fix
from eyeflow.compiler.check.declarations import flatten_constant
from eyeflow.compiler.check.expressions import check_as, check_constant, require_constant
from eyeflow.compiler.source import Source
from eyeflow.svm.program import SiteKind, TriggerKind, Type, Value


@dataclass(frozen=True, slots=True)
class Condition:
    """An `expect` over state: becomes an `ExpectThat` once it is compiled."""

    where: testplan.Where
    condition: t.Expr
    operands: tuple[t.Expr, ...]


CheckedStep = testplan.Step | Condition


@dataclass(frozen=True, slots=True)
class CheckedTest:
    """A test without mistakes."""

    name: str
    line: int
    column: int
    steps: tuple[CheckedStep, ...]


@dataclass(slots=True)
class _Test:
    """What is known while the steps of one test are checked."""

    ctx: Context
    source: Source
    handlers: tuple[t.Handler, ...]
    time_us: int = 0
    is_started: bool = False


def check_tests(ctx: Context, rule: ast.Rule, handlers: tuple[t.Handler, ...]) -> tuple[CheckedTest, ...]:
    """Type all tests of a rule."""
    source, seen, done = Source(ctx.source), dict[str, Span](), []
    for test in rule.tests:
        if test.name in seen:
            ctx.error("EF0609", f"two tests are called `{test.name}`", test.span, "the second",
                      labels=(Label(seen[test.name], "the first"),), help="give each test its own name")  # fmt: skip
        seen.setdefault(test.name, test.span)
        state = _Test(ctx, source, handlers)
        steps = [_STEPS[type(step)](state, step) for step in test.steps]
        at = source.position(test.span.start)
        done.append(CheckedTest(test.name, at.line, at.column, tuple(step for step in steps if step is not None)))
    return tuple(done)


def _where(test: _Test, span: Span) -> testplan.Where:
    at = test.source.position(span.start)
    return testplan.Where(at.line, at.column, " ".join(test.source.text[span.start : span.end].split()))


def _advance(test: _Test, step: ast.Advance) -> CheckedStep | None:
    if step.time_us < test.time_us:
        test.ctx.error(
            "EF0601",
            "this goes back in time",
            step.span,
            "the clock is past this moment already",
            note="`at` and `after` both count from the start of the test",
            help="order the steps by time",
        )
        return None
    test.time_us, test.is_started = step.time_us, True
    return testplan.Advance(_where(test, step.span), step.time_us)


def _values(ctx: Context, call: CapabilityCall) -> tuple[Value | None, ...] | None:
    constants = [None if arg is None else require_constant(ctx, arg, "an argument in a test") for arg in call.args]
    if any(arg is not None and not isinstance(arg, t.Const) for arg in constants):
        return None
    return tuple(arg.value if isinstance(arg, t.Const) else None for arg in constants)


def _call(test: _Test, call: ast.CallExpr, *, partial: bool) -> tuple[CapabilityCall, tuple[Value | None, ...]] | None:
    ctx = test.ctx
    capability = find_capability(ctx, call)
    checked = check_arguments(ctx, call, capability, partial=partial) if capability else None
    values = _values(ctx, checked) if checked else None
    return None if checked is None or values is None else (checked, values)


def _given_read(test: _Test, step: ast.GivenRead) -> CheckedStep | None:
    found = _call(test, step.call, partial=False)
    if found is None:
        return None
    (call, values), ctx = found, test.ctx
    name = call.capability.name
    if call.result is None:
        ctx.error("EF0602", f"`{name}` is an action: it answers nothing", step.call.span, "not a read",
                  help=f"write `expect {name}(...)`")  # fmt: skip
        return None
    if not _is_used(test, name):
        return _unused(test, step.call, name, "reads")
    args = tuple(value for value in values if value is not None)
    if step.value is None:
        return testplan.SetRead(_where(test, step.span), name, args, None)
    value = check_constant(ctx, step.value, call.result, f"the answer of `{name}`")
    return testplan.SetRead(_where(test, step.span), name, args, value.value) if isinstance(value, t.Const) else None


def _is_used(test: _Test, name: str) -> bool:
    edges = name == "gpio.read_pin" and any(handler.trigger.source == "gpio" for handler in test.handlers)
    return edges or name in test.ctx.used_capabilities or bool(test.ctx.diagnostics)


def _unused(test: _Test, call: ast.CallExpr, name: str, verb: str) -> CheckedStep | None:
    hint, _ = did_you_mean(name, test.ctx.used_capabilities)
    test.ctx.error("EF0602", f"the rule never {verb} `{name}`", call.span, "cannot matter to this test", help=hint)
    return None


def _given_param(test: _Test, step: ast.GivenParam) -> CheckedStep | None:
    ctx = test.ctx
    symbol = ctx.find(step.name.text)
    if symbol is None or symbol.kind is not SymbolKind.PARAM:
        params = [s.name for s in ctx.scopes[0].values() if s.kind is SymbolKind.PARAM]
        hint, guess = did_you_mean(step.name.text, params)
        ctx.error(
            "EF0603",
            f"`{step.name.text}` is no parameter",
            step.name.span,
            "only parameters can be given",
            help=hint or "state follows from what the rule does",
            fix=name_fix(step.name.span, guess),
        )
        return None
    value = check_constant(ctx, step.value, symbol.type, f"`{symbol.name}`")
    param = next((param for param in ctx.params if param.variable is symbol.variable), None)
    if not isinstance(value, t.Const) or param is None:
        return None
    if param.low is not None and param.high is not None and not param.low <= value.value <= param.high:  # type: ignore[operator]
        ctx.error("EF0603", f"this value lies outside the range of `{symbol.name}`", step.value.span, "out of range",
                  labels=(Label(symbol.span, "declared here"),))  # fmt: skip
        return None
    return testplan.SetParam(_where(test, step.span), symbol.name, value.value)


def _given_time(test: _Test, step: ast.GivenTime) -> CheckedStep | None:
    if test.is_started:
        test.ctx.error("EF0604", "`given time` must come first", step.span, "the clock runs already",
                       help="write it before `at`, `after` and `send`")  # fmt: skip
        return None
    try:
        moment = datetime.fromisoformat(step.text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None or moment.year < 1970 or not step.text[:1].isdigit():
        test.ctx.error("EF0604", "this is no local time from 1970 on", step.span, "not understood",
                       help='write `given time "2026-03-01 06:00"`')  # fmt: skip
        return None
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    time_us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return testplan.SetTime(_where(test, step.span), time_us)


# --- events --------------------------------------------------------------------------------------------------------


def _send(test: _Test, step: ast.Send) -> CheckedStep | None:
    test.is_started = True
    trigger = _receiver(test, step)
    if trigger is None:
        return None
    fields = test.handlers[trigger].trigger.fields
    kinds = {field.name: field for field in fields}
    optional = [field.name for field in fields if field.default is not None]
    bound = bind(test.ctx, step.fields, list(kinds), "the event", step.span, optional)
    if bound is None:
        return None
    inputs: list[Value] = []
    for name, field in kinds.items():
        if name not in bound:
            inputs += field.default or ()
            continue
        value = check_constant(test.ctx, bound[name].value, field.type, f"the field `{name}`")
        if types.is_error(value.type):
            return None
        inputs += flatten_constant(value, field.type)
    return testplan.SendEvent(_where(test, step.span), trigger, tuple(inputs))


def _receiver(test: _Test, step: ast.Send) -> int | None:
    receivers = {
        number: handler.trigger.binding for number, handler in enumerate(test.handlers)
        if handler.trigger.kind is TriggerKind.SOURCE and handler.trigger.binding
    }  # fmt: skip
    if step.binding is not None:
        found = [number for number, name in receivers.items() if name == step.binding.text]
    else:
        found = list(receivers)
    if len(found) == 1:
        return found[0]
    if test.ctx.diagnostics and not receivers:
        return None
    if step.binding is not None and len(found) > 1:
        return None  # EF0314 has said so
    names = " or ".join(f"`send {name} {{ ... }}`" for name in receivers.values())
    problem = "no handler receives this event" if not found else "several handlers receive events: which one?"
    test.ctx.error(
        "EF0605",
        problem,
        step.span,
        "cannot be delivered",
        help=f"write {names}" if names else "timers fire by themselves: move the clock with `after 1s`",
    )
    return None


# --- expectations --------------------------------------------------------------------------------------------------


def _expect_action(test: _Test, step: ast.ExpectAction) -> CheckedStep | None:
    found = _call(test, step.call, partial=True)
    if found is None:
        return None
    call, values = found
    name = call.capability.name
    if call.capability.kind is not SiteKind.ACT:
        test.ctx.error("EF0606", f"`{name}` is not an action", step.call.span, "a read is not expected, it is given",
                       help=f"write `given {name}(...) = ...`")  # fmt: skip
        return None
    if not _is_used(test, name):
        return _unused(test, step.call, name, "does")
    return testplan.ExpectAction(_where(test, step.span), name, values, step.count)


def _expect_emit(test: _Test, step: ast.ExpectEmit) -> CheckedStep | None:
    ctx, name = test.ctx, step.event.text
    known = ctx.events.get(name)
    if known is None:
        if not any(d.severity.value == "error" for d in ctx.diagnostics):
            hint, guess = did_you_mean(name, ctx.events)
            ctx.error("EF0607", f"the rule never emits `{name}`", step.event.span, "unknown event", help=hint,
                      fix=name_fix(step.event.span, guess))  # fmt: skip
        return None
    kinds: dict[str, Type] = dict(known)
    bound = bind(ctx, step.fields, list(kinds), f"the event `{name}`", step.span, kinds)
    if bound is None:
        return None
    fields = [(field, _emitted(ctx, bound[field].value, kinds[field], field)) for field in kinds if field in bound]
    constants = tuple((field, value.value) for field, value in fields if isinstance(value, t.Const))
    complete = len(constants) == len(fields)
    return testplan.ExpectEmit(_where(test, step.span), name, constants, step.count) if complete else None


def _emitted(ctx: Context, value: ast.Expr, kind: Type, field: str) -> t.Expr:
    wanted = types.text(4096) if kind.tag.name == "TEXT" else kind
    return check_constant(ctx, value, wanted, f"the field `{field}`")


def _expect_no_actions(test: _Test, step: ast.ExpectNoActions) -> CheckedStep | None:
    return testplan.ExpectNoActions(_where(test, step.span))


def _expect_trap(test: _Test, step: ast.ExpectTrap) -> CheckedStep | None:
    return testplan.ExpectTrap(_where(test, step.span))


def _expect_that(test: _Test, step: ast.ExpectThat) -> CheckedStep | None:
    with test.ctx.within(Mode.CONDITION):
        condition = check_as(test.ctx, step.condition, types.BOOL, "an expectation")
    if types.is_error(condition.type):
        return None
    operands: tuple[t.Expr, ...] = ()
    if isinstance(condition, t.Binary):
        operands = tuple(side for side in (condition.left, condition.right) if types.is_scalar(side.type))
    return Condition(_where(test, step.span), condition, operands)


_STEPS: dict[type, Callable[[_Test, Any], CheckedStep | None]] = {
    ast.Advance: _advance,
    ast.GivenRead: _given_read,
    ast.GivenParam: _given_param,
    ast.GivenTime: _given_time,
    ast.Send: _send,
    ast.ExpectAction: _expect_action,
    ast.ExpectEmit: _expect_emit,
    ast.ExpectNoActions: _expect_no_actions,
    ast.ExpectTrap: _expect_trap,
    ast.ExpectThat: _expect_that,
}
