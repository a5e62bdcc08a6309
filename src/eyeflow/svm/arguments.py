"""Between the slot values of a site and what drivers and people see: arguments by name, pins and enums as names."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eyeflow.base.duration import format_duration
from eyeflow.base.word import Word
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Pin, Site, SiteKind, Trigger, TriggerKind, Type, TypeTag, Value

INT_MIN, INT_MAX = -(2**63), 2**63 - 1


def shown(kind: Type, value: Value, pins: Sequence[Pin]) -> Value:
    """Return a slot value as a driver gets it: a pin as its name, an enum as its member name, others as they are."""
    if kind.tag is TypeTag.PIN:
        return pins[int(value)].name
    if kind.tag is TypeTag.ENUM:
        ordinal = int(value)
        return kind.members[ordinal] if 0 <= ordinal < len(kind.members) else ordinal
    return value


def plain_names(site: Site) -> tuple[str, ...] | None:
    """Return the names of a site's arguments if a driver gets all its values as they are, None for other sites.

    Known once, it saves the question for each value of each action: `dict(zip(names, args))` is `named_arguments` then.
    """
    plain = site.kind is not SiteKind.LLM and not any(k.tag in (TypeTag.PIN, TypeTag.ENUM) for _, k in site.args)
    return tuple(name for name, _ in site.args) if plain else None


def named_arguments(site: Site, args: Sequence[Value], pins: Sequence[Pin]) -> dict[str, Value]:
    """Return the arguments of a site by name, in order; an LLM site gets `label` or `max` from its result type."""
    named = {name: shown(kind, value, pins) for (name, kind), value in zip(site.args, args, strict=True)}
    if site.kind is SiteKind.LLM and site.result is not None:
        if site.result.tag is TypeTag.ENUM:
            named["label"] = ",".join(site.result.members)
        elif site.result.tag is TypeTag.TEXT:
            named["max"] = site.result.size
    return named


def readable_arguments(site: Site, args: Sequence[Value], pins: Sequence[Pin]) -> dict[str, Value]:
    """Return `named_arguments` for people, each as `readable`."""
    named = named_arguments(site, args, pins)
    kinds = zip(site.args, args, strict=True)
    return named | {name: readable(kind, value, pins) for (name, kind), value in kinds}


def readable(kind: Type, value: Value, pins: Sequence[Pin]) -> Value:
    """Return a slot value for people: pins, members of enums and durations as a `Word`, others as they are."""
    if kind.tag is TypeTag.DURATION:
        return Word(format_duration(int(value)))
    found = shown(kind, value, pins)
    return Word(found) if isinstance(found, str) and kind.tag is not TypeTag.TEXT else found


def trigger_text(trigger: Trigger) -> str:
    """Return what starts a handler, as its rule says it: `every 500ms`, `mqtt sensors/temp`."""
    if trigger.kind is TriggerKind.EVERY:
        return f"every {format_duration(trigger.period_us)}"
    if trigger.kind is TriggerKind.CRON:
        return f"cron {trigger.address}"
    return f"{trigger.source} {trigger.address}".strip()


def slot_value(kind: Type, value: Value) -> Value:
    """Return what a driver answered as a slot value; raises CapabilityFailure when it has not the declared type."""
    tag, found = kind.tag, type(value)
    if tag is TypeTag.ENUM and found is str and value in kind.members:
        return kind.members.index(str(value))
    if tag is TypeTag.FLOAT and found in (int, float):
        return math.nan if value != value else float(value)
    if tag is TypeTag.BOOL and found is bool:
        return value
    if tag in (TypeTag.INT, TypeTag.DURATION) and found is int and INT_MIN <= int(value) <= INT_MAX:
        return value
    if tag is TypeTag.TEXT and isinstance(value, str) and _fits(value, kind.size):
        return value
    raise CapabilityFailure(f"the answer {value!r} is no {describe(kind)}")


def _fits(text: str, size_bytes_max: int) -> bool:
    try:
        return len(text.encode()) <= size_bytes_max
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can carry it
        return False


def describe(kind: Type) -> str:
    """Return a type as people read it: `text(32)`, `Level (LOW, HIGH)`."""
    if kind.tag is TypeTag.TEXT:
        return f"text({kind.size})"
    if kind.tag is TypeTag.ENUM:
        return f"{kind.name or 'enum'} ({', '.join(kind.members)})"
    return kind.tag.name.lower()


def event_payload(site: Site, args: Sequence[Value], pins: Sequence[Pin]) -> dict[str, object]:
    """Return an emitted event's fields as a payload: names for enums, a text for a duration."""
    payload: dict[str, object] = {}
    for (name, kind), value in zip(site.args, args, strict=True):
        payload[name] = format_duration(int(value)) if kind.tag is TypeTag.DURATION else shown(kind, value, pins)
    return payload
