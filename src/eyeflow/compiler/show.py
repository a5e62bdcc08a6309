"""Actions, events and values as a rule would write them, for messages."""

from __future__ import annotations

from collections.abc import Sequence

from eyeflow.compiler.testplan import show_value
from eyeflow.svm.program import Pin, Program, Site, SiteKind, Type, TypeTag, Value


def show_argument(kind: Type, value: Value, pins: Sequence[Pin]) -> str:
    """Return a scalar as source text; a pin is its name."""
    if kind.tag is TypeTag.PIN and isinstance(value, int) and 0 <= value < len(pins):
        return pins[value].name
    return show_value(kind, value)


def show_call(program: Program, site: Site, args: Sequence[Value | None]) -> str:
    """Return `gpio.set_pin(RELAY, HIGH)` or `emit hot(temp: 81.5)`; an argument None matched anything: `_`."""
    is_event = site.kind is SiteKind.EMIT
    shown = [
        (f"{name}: " if is_event else "") + ("_" if value is None else show_argument(kind, value, program.pins))
        for (name, kind), value in zip(site.args, args, strict=False)
    ]
    while shown and not is_event and shown[-1] == "_":
        shown.pop()
    return f"{'emit ' if is_event else ''}{site.capability}({', '.join(shown)})"
