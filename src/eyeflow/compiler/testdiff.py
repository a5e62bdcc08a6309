"""What a failed expectation of a rule's test shows: what happened instead, when, and in which line of the rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eyeflow.base.duration import format_duration
from eyeflow.base.record import dataclass
from eyeflow.compiler import testplan as t
from eyeflow.svm.instance import Instance
from eyeflow.svm.opcodes import Trap
from eyeflow.svm.program import Program, Site, SiteKind, Value

SHOWN_MAX = 6
"""Different happenings that a failure lists; more are counted."""
TIMES_SHOWN_MAX = 4


@dataclass(frozen=True, slots=True)
class Happening:
    """An action, an emitted event or (site None) a trap: when, from the start of the test, and by which line."""

    at_us: int
    site: Site | None
    args: tuple[Value, ...]
    text: str
    line: int


def action_difference(
    call: str, count: int | None, wanted: Sequence[Happening], all_of_window: Sequence[Happening], capability: str
) -> tuple[str, list[str]]:
    """Return message and details of an `expect` about an action."""
    message = f"expected {_quantity(count)}`{call}`"
    if wanted:
        return message, describe("it was asked for", wanted)
    near = [h for h in all_of_window if h.site is not None and h.site.capability == capability]
    others = [h for h in all_of_window if h.site is not None and h.site.kind is SiteKind.ACT and h not in near]
    if not near and not others:
        return message, ["no action was asked for"]
    return message, describe("asked for instead", near) + describe("asked for" if near else "asked for instead", others)


def emit_difference(
    program: Program, step: t.ExpectEmit, wanted: Sequence[Happening], all_of_window: Sequence[Happening]
) -> tuple[str, list[str]]:
    """Return message and details of an `expect` about an emitted event."""
    site = next((s for s in program.sites if s.kind is SiteKind.EMIT and s.capability == step.event), None)
    kinds = dict(site.args) if site else {}
    fields = [
        f"{name}: {t.show_value(kinds[name], value) if name in kinds else repr(value)}" for name, value in step.fields
    ]
    call = f"emit {step.event}" + (f"({', '.join(fields)})" if fields else "")
    message = f"expected {_quantity(step.count)}`{call}`"
    if wanted:
        return message, describe("it was emitted", wanted)
    events = [h for h in all_of_window if h.site is not None and h.site.kind is SiteKind.EMIT]
    return message, describe("emitted instead", events) if events else ["no event was emitted"]


def that_difference(step: t.ExpectThat, result: t.ThatResult) -> list[str]:
    """Return the values of the sides of a condition that is false, or the trap of its evaluation."""
    if result.trap is not None:
        return [f"its evaluation trapped: {Trap(result.trap).name}"]
    shown = [
        (operand.text, t.show_value(operand.type, value))
        for operand, value in zip(step.operands, result.values, strict=True)
        if value is not None
    ]
    return [f"`{text}` is {value}" for text, value in shown if text != value]  # that `1` is 1 helps nobody


def describe(verb: str, happenings: Sequence[Happening]) -> list[str]:
    """Return lines such as `asked for: gpio.set_pin(RELAY, LOW) at 1s, 1500ms, 2s (line 14)`."""
    by_text: dict[tuple[str, int], list[Happening]] = {}
    for happening in happenings:
        by_text.setdefault((happening.text, happening.line), []).append(happening)
    lines = [f"{verb}: {text} {_times(group)}{_line(line)}" for (text, line), group in by_text.items()]
    hidden = len(lines) - SHOWN_MAX
    return [*lines[:SHOWN_MAX], f"... and {hidden} more"] if hidden > 0 else lines


def state_lines(instance: Instance) -> list[str]:
    """Return the values of the state variables: `state: trips = 0, mode = HEAT`."""
    # The compiler's own memory, of a hysteresis for example, has names that are no identifiers.
    values = {name: value for name, value in instance.state_values().items() if name.isidentifier()}
    return [f"state: {', '.join(f'{name} = {_shown(value)}' for name, value in values.items())}"] if values else []


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _times(group: Sequence[Happening]) -> str:
    times = [format_duration(happening.at_us) for happening in group]
    if len(times) <= TIMES_SHOWN_MAX:
        return f"at {', '.join(times)}"
    return f"at {times[0]}, {times[1]}, ... {times[-1]} ({len(times)} times)"


def _line(line: int) -> str:
    return f" (line {line})" if line else ""


def _quantity(count: int | None) -> str:
    if count is None:
        return ""
    return "no " if count == 0 else f"{count} times "
