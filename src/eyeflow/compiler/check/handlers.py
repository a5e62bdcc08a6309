"""Checks handlers: their trigger, the payload it brings, and their statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eyeflow.base.diagnostic import Label, Span
from eyeflow.base.reading import Unreadable
from eyeflow.compiler import ast, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.catalog import EventSource, Need
from eyeflow.compiler.check.context import Context, Mode, Symbol, SymbolKind, did_you_mean, name_fix
from eyeflow.compiler.check.declarations import flatten_constant
from eyeflow.compiler.check.statements import check_statements
from eyeflow.svm.addresses import address_problem
from eyeflow.svm.program import Direction, Profile, TriggerKind, Type, TypeTag
from eyeflow.svm.schedule import validate_cron

PERIOD_US_MIN = 1_000
"""The shortest period: no host keeps a shorter one."""
HANDLERS_MAX = 16


def check_handlers(ctx: Context, rule: ast.Rule) -> tuple[t.Handler, ...]:
    """Type all handlers of a rule."""
    if not rule.handlers:
        ctx.error(
            "EF0223", "this rule never runs: it has no handler", rule.name.span, "no `on` in this rule",
            help="write what starts it, as in `on every 1s`",
        )  # fmt: skip
    if len(rule.handlers) > HANDLERS_MAX:
        ctx.error("EF0502", f"too many handlers: {len(rule.handlers)}, at most {HANDLERS_MAX}", rule.handlers[-1].span,
                  "too many")  # fmt: skip
    _refuse_equal_names(ctx, rule)
    done = [_handler(ctx, handler) for handler in rule.handlers]
    return tuple(handler for handler in done if handler is not None)


def _refuse_equal_names(ctx: Context, rule: ast.Rule) -> None:
    """Report payloads of one name: `send NAME` and `run --trigger NAME` could not say which handler they mean."""
    names = [handler.trigger.binding for handler in rule.handlers if isinstance(handler.trigger, ast.SourceTrigger)]
    known = {name.text for name in names}
    first: dict[str, ast.Name] = {}
    for name in names:
        if name.text not in first:
            first[name.text] = name
            continue
        number = next(n for n in range(2, len(names) + 2) if f"{name.text}_{n}" not in known)
        known.add(f"{name.text}_{number}")
        ctx.error(
            "EF0314",
            f"two handlers call their event `{name.text}`",
            name.span,
            "the same name again",
            note=f"a test with `send {name.text}` and `eyeflow run --trigger {name.text}` must know which one is meant",
            help=f"give each its own name, here for example `as {name.text}_{number}`",
            labels=(Label(first[name.text].span, "the first handler with this name"),),
        )


def _handler(ctx: Context, handler: ast.Handler) -> t.Handler | None:
    with ctx.scope(), ctx.within(Mode.HANDLER):
        trigger = _TRIGGERS[type(handler.trigger)](ctx, handler.trigger)
        body = check_statements(ctx, handler.body)
    ctx.period_us = None
    return None if trigger is None else t.Handler(trigger, body, handler.span)


def _plain(kind: TriggerKind, address: str = "", period_us: int = 0, source: str = "") -> t.Trigger:
    return t.Trigger(kind, source, address, period_us, "", (), None, None)


def _every(ctx: Context, trigger: ast.EveryTrigger) -> t.Trigger | None:
    if not _period(ctx, trigger.period_us, trigger.span):
        return None
    ctx.period_us = trigger.period_us
    return _plain(TriggerKind.EVERY, period_us=trigger.period_us)


def _period(ctx: Context, period_us: int, span: Span) -> bool:
    if PERIOD_US_MIN <= period_us <= 2**62:
        return True
    ctx.error("EF0302", "a period must be at least 1ms", span, "too short", help="write for example `every 500ms`")
    return False


def _cron(ctx: Context, trigger: ast.CronTrigger) -> t.Trigger | None:
    if ctx.profile is Profile.MCU:
        ctx.error("EF0408", "`cron` is not available on mcu: a microcontroller has no calendar", trigger.span,
                  "not on mcu", help="use `every`, or let a rule on the gateway keep the schedule")  # fmt: skip
        return None
    try:
        validate_cron(trigger.expression)
    except Unreadable as error:
        ctx.error(
            "EF0306",
            f"this is no schedule: {error}",
            trigger.span,
            "not understood",
            help='write five fields, as in "0 6 * * 1-5" (minute hour day month weekday), or six with seconds last',
        )
        return None
    return _plain(TriggerKind.CRON, address=trigger.expression)


def _gpio(ctx: Context, trigger: ast.GpioTrigger) -> t.Trigger | None:
    symbol = ctx.find(trigger.pin.text)
    if symbol is None:
        pins = [s.name for scope in ctx.scopes for s in scope.values() if s.kind is SymbolKind.PIN]
        hint, guess = did_you_mean(trigger.pin.text, pins)
        ctx.error(
            "EF0203",
            f"unknown pin `{trigger.pin.text}`",
            trigger.pin.span,
            "not declared",
            help=hint or f"declare it: `pin {trigger.pin.text}: input`",
            fix=name_fix(trigger.pin.span, guess),
        )
        return None
    symbol.is_read = True
    if symbol.type != types.pin(Direction.INPUT):
        if not types.is_error(symbol.type):
            ctx.error(
                "EF0406",
                "a trigger needs an input pin",
                trigger.pin.span,
                f"this is a {symbol.kind.value}",
                help=f"declare it so: `pin {symbol.name}: input`",
                labels=(Label(symbol.span, "declared here"),),
            )
        return None
    return _plain(TriggerKind.SOURCE, f"{trigger.pin.text} {trigger.edge.text}", source="gpio")


def _source(ctx: Context, trigger: ast.SourceTrigger) -> t.Trigger | None:
    record = _payload_record(ctx, trigger)
    source = _find_source(ctx, trigger)
    variable = t.Variable(trigger.binding.text, record or types.ERROR, t.Region.INPUT, trigger.binding.span)
    ctx.declare(Symbol(trigger.binding.text, SymbolKind.PAYLOAD, variable.type, trigger.binding.span, variable))
    if source is None or record is None:
        return None
    sound = (
        _address(ctx, trigger, source),
        _source_period(ctx, trigger, source),
        _fields_fit(ctx, trigger, source, record),
    )
    key = _key(ctx, trigger, record)
    if not all(sound) or key == _BAD_KEY:
        return None
    fields = tuple(_payload_field(ctx, record, name, kind) for name, kind in record.fields)
    return t.Trigger(
        TriggerKind.SOURCE,
        source.name,
        trigger.address or "",
        trigger.period_us or 0,
        trigger.binding.text,
        fields,
        key,
        variable,
    )


def _payload_record(ctx: Context, trigger: ast.SourceTrigger) -> Type | None:
    kind = ctx.types.get(trigger.record.text)
    if kind is not None and types.is_error(kind):
        return None
    if kind is not None and kind.tag is TypeTag.RECORD:
        return kind
    records = [name for name, known in ctx.types.items() if known.tag is TypeTag.RECORD]
    hint, guess = did_you_mean(trigger.record.text, records)
    problem = "is no record" if kind else "is not declared"
    ctx.error(
        "EF0202", f"the payload's type `{trigger.record.text}` {problem}", trigger.record.span, "needs a record",
        help=hint or f"declare it: `record {trigger.record.text} {{ temp: float }}`",
        fix=name_fix(trigger.record.span, guess),
    )  # fmt: skip
    return None


def _payload_field(ctx: Context, record: Type, name: str, kind: Type) -> t.PayloadField:
    default = ctx.field_defaults.get((record.name, name))
    usable = default is not None and not types.is_error(default.type)
    return t.PayloadField(name, kind, flatten_constant(default, kind) if usable and default is not None else None)


def _find_source(ctx: Context, trigger: ast.SourceTrigger) -> EventSource | None:
    name = trigger.source.text
    source = ctx.catalog.sources.get(name)
    if source is None:
        hint, guess = did_you_mean(name, [*ctx.catalog.sources, "every", "cron", "gpio"])
        known = "sources are every, cron, gpio, " + ", ".join(ctx.catalog.sources)
        ctx.error("EF0307", f"unknown event source `{name}`", trigger.source.span, "no such source",
                  help=hint or known, fix=name_fix(trigger.source.span, guess))  # fmt: skip
        return None
    if ctx.profile not in source.profiles:
        profile = ctx.profile.name.lower()
        reason = source.unavailable.get(ctx.profile, "the profile has no such source")
        ctx.error("EF0408", f"the source `{name}` is not available on {profile}: {reason}", trigger.source.span,
                  f"not on {profile}")  # fmt: skip
        return None
    return source


def _address(ctx: Context, trigger: ast.SourceTrigger, source: EventSource) -> bool:
    if source.address is Need.REQUIRED and not trigger.address:
        ctx.error("EF0308", f"the source `{source.name}` needs an address", trigger.source.span, "from where?",
                  help=f'write `on {source.name} "..." as {trigger.binding.text}: {trigger.record.text}`')  # fmt: skip
        return False
    if source.address is Need.NONE and trigger.address is not None:
        ctx.error("EF0308", f"the source `{source.name}` has no address", trigger.address_span or trigger.span,
                  "not needed", help="remove it")  # fmt: skip
        return False
    if problem := address_problem(source.form, source.example, trigger.address or ""):
        shown = f"`{source.name}` cannot listen to `{trigger.address}`"
        ctx.error("EF0308", shown, trigger.address_span or trigger.span, problem)
        return False
    return True


def _source_period(ctx: Context, trigger: ast.SourceTrigger, source: EventSource) -> bool:
    if source.period is Need.REQUIRED and trigger.period_us is None:
        ctx.error(
            "EF0308",
            f"the source `{source.name}` needs a period",
            trigger.source.span,
            "how often?",
            help=f"write `on {source.name} every 2s as {trigger.binding.text}: {trigger.record.text}`",
        )
        return False
    if trigger.period_us is None:
        return True
    if source.period is Need.NONE:
        ctx.error("EF0308", f"the source `{source.name}` has no period: its events come by themselves", trigger.span,
                  "not sampled", help="remove `every`")  # fmt: skip
        return False
    ctx.period_us = trigger.period_us
    return _period(ctx, trigger.period_us, trigger.span)


def _fields_fit(ctx: Context, trigger: ast.SourceTrigger, source: EventSource, record: Type) -> bool:
    known = dict(source.fields or ())
    for name, kind in record.fields:
        if source.fields is not None and known.get(name) != kind:
            hint, _ = did_you_mean(name, known)
            listed = ", ".join(f"{field}: {types.show(of)}" for field, of in known.items())
            ctx.error("EF0309", f"the source `{source.name}` has no field `{name}: {types.show(kind)}`",
                      trigger.record.span, f"has the field `{name}`", help=hint or f"its fields are {listed}",
                      labels=(Label(ctx.type_spans[record.name], "declared here"),))  # fmt: skip
            return False
        if source.injected.get(name) == "text" and kind.tag is not TypeTag.TEXT:
            ctx.error("EF0309", f"the field `{name}` of the source `{source.name}` is a text", trigger.record.span,
                      f"declares it as {types.show(kind)}", help=f"declare `{name}: text(255)`",
                      labels=(Label(ctx.type_spans[record.name], "declared here"),))  # fmt: skip
            return False
    return True


_BAD_KEY = -1


def _key(ctx: Context, trigger: ast.SourceTrigger, record: Type) -> int | None:
    if trigger.key is None:
        return None
    names = [name for name, _ in record.fields]
    if trigger.key.text not in names:
        hint, guess = did_you_mean(trigger.key.text, names)
        ctx.error("EF0310", f"`{record.name}` has no field `{trigger.key.text}`", trigger.key.span, "no such field",
                  help=hint or "name a field of the payload", fix=name_fix(trigger.key.span, guess))  # fmt: skip
        return _BAD_KEY
    position = names.index(trigger.key.text)
    if not types.is_scalar(record.fields[position][1]):
        ctx.error("EF0310", "a key must be a single value", trigger.key.span, "a list or record")
        return _BAD_KEY
    return position


_TRIGGERS: dict[type, Callable[[Context, Any], t.Trigger | None]] = {
    ast.EveryTrigger: _every,
    ast.CronTrigger: _cron,
    ast.GpioTrigger: _gpio,
    ast.SourceTrigger: _source,
}
