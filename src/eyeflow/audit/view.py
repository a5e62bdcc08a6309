"""Audit records as people read them: capabilities, fields, pins and lines of the rule instead of indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from enum import IntEnum
from typing import Any

from eyeflow.audit.board_view import board_view, is_execution, levels_text
from eyeflow.audit.execution_id import ExecutionId
from eyeflow.base.names import camel_case
from eyeflow.base.word import literal
from eyeflow.protocol.audit import Record
from eyeflow.protocol.audit_bodies import (
    ActionOutcome,
    ActionResultBody,
    BoardRecordBody,
    Disposition,
    ExecutionBody,
    SlotBody,
    SlotChange,
)
from eyeflow.svm.arguments import readable, readable_arguments, trigger_text
from eyeflow.svm.execution import Outcome
from eyeflow.svm.layout import flatten
from eyeflow.svm.opcodes import Trap
from eyeflow.svm.program import Program, Trigger, Value
from eyeflow.svm.source_map import line_of, site_lines

FindProgram = Callable[[bytes], Program | None]
UNKNOWN = "unknown"
"""The word for a number that a record has, and this eyeflow does not know."""
UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a record raises that names what its program has not: a node may write any numbers."""


def word_of(words: type[IntEnum], number: int) -> str:
    """Return the word for a number in a record."""
    try:
        return words(number).name.lower()
    except ValueError:
        return UNKNOWN


def record_view(record: Record, find_program: FindProgram) -> dict[str, Any]:
    """Return a record as JSON-able data; without its program (it was replaced since) indexes stay indexes."""
    head = {
        "seq": record.seq,
        "epoch": record.epoch,
        "node": record.node,
        "timeUs": record.time_us,
        "kind": record.kind.name.lower(),
        "prev": record.prev.hex(),
    }
    body = record.body
    if isinstance(body, ExecutionBody):
        return head | (_fitting(body, find_program(body.program)) or _plain_body(body))
    if is_execution(body) and isinstance(body, BoardRecordBody):
        return head | _plain_body(body) | board_view(body, find_program(body.program) if body.program else None)
    if isinstance(body, ActionResultBody):
        return head | _plain_body(body) | {"result": word_of(ActionOutcome, body.result)}
    if isinstance(body, SlotBody):
        return head | _plain_body(body) | {"change": word_of(SlotChange, body.change)}
    return head | _plain_body(body)


def execution_view(body: ExecutionBody, program: Program) -> dict[str, Any]:
    """Return what an execution saw and did as JSON-able data, with the names and lines of its program.

    Raises one of UNFIT for a record that does not fit the program.
    """
    trigger = program.triggers[body.trigger]
    lines = site_lines(program)
    view: dict[str, Any] = {
        "rule": body.rule,
        "slot": body.slot,
        "program": body.program.hex(),
        "trigger": trigger_text(trigger),
        "eventTimeUs": body.event_time_us,
        "key": body.key,
        "inputs": _inputs(trigger, body.inputs),
        "reads": [
            _called(program, lines, site, args) | {"value": _answer(program, site, value)}
            for site, args, value in body.answers
        ],
        "outcome": Outcome(body.outcome).name.lower(),
        "actions": [
            _called(program, lines, site, args) | {"disposition": Disposition(disposition).name.lower()}
            for site, args, disposition in body.actions
        ],
        "fuel": body.fuel,
    }
    if body.trap is not None:
        code, pc = body.trap
        view["trap"] = {"name": Trap(code).name, "line": line_of(program, pc)}
    return view


def _fitting(body: ExecutionBody, program: Program | None) -> dict[str, Any] | None:
    """Return the view of an execution, None without a program that it fits."""
    if program is None:
        return None
    try:
        return execution_view(body, program)
    except UNFIT:
        return None


def execution_entry(
    identity: ExecutionId, time_us: int, body: ExecutionBody | BoardRecordBody, program: Program | None
) -> dict[str, Any]:
    """Return an execution as lists have it: always the same fields, and no float that JSON has not.

    Without its program, which is forgotten, its inputs go by their numbers, and reads and actions by those of sites.
    So they do where the record does not fit its program. `board` has what only a board records, and is None for a node.
    """
    shown = {"board": None, **_view_of(body, program)}
    text, trap = told(shown), shown.pop("trap", None)
    head = {"id": str(identity), "node": identity.node, "epoch": identity.epoch, "seq": identity.seq}
    version = program.version if program is not None else ""
    entry: dict[str, Any] = finite({**head, "timeUs": time_us, "version": version, **shown, "trap": trap, "text": text})
    return entry


def execution_text(body: ExecutionBody | BoardRecordBody, program: Program | None) -> str:
    """Return an execution as a line for people."""
    return told(_view_of(body, program))


def _view_of(body: ExecutionBody | BoardRecordBody, program: Program | None) -> dict[str, Any]:
    if isinstance(body, BoardRecordBody):
        return board_view(body, program)
    return _fitting(body, program) or _nameless(body)


def told(view: Mapping[str, Any]) -> str:
    """Return an execution as a line: its rule, what started it, what went in; behind the arrow what it decided."""
    reads = [f"{call(one)} = {'failed' if one['value'] is None else literal(one['value'])}" for one in view["reads"]]
    given = [f"{name} = {literal(value)}" for name, value in view["inputs"].items()]
    actions = [
        f"{call(one)}{at_line(one)}{' (unchanged)' if one['disposition'] == 'repeated' else ''}"
        for one in view["actions"]
    ]
    trap = view.get("trap")
    end = f"trapped: {trap['name']}{at_line(trap)}" if trap else ", ".join(actions) or view["outcome"]
    rule = view["rule"] or f"program {view['program'][:12]}"
    on = f"{rule} on {view['trigger']}" if view["trigger"] else rule
    if board := view.get("board"):
        return f"{on}: inputs not recorded -> {end}; {levels_text(board)}"
    return f"{on}: {', '.join(given + reads) or 'no input'} -> {end}"


def call(one: Mapping[str, Any]) -> str:
    """Return a read or an action as its rule writes it."""
    return f"{one['capability']}({', '.join(literal(value) for value in one['arguments'].values())})"


def at_line(one: Mapping[str, Any]) -> str:
    """Return where a read, an action or a trap stands in its rule, empty when it is not known."""
    return f" at line {one['line']}" if one["line"] else ""


def _nameless(body: ExecutionBody) -> dict[str, Any]:
    return {
        "rule": body.rule,
        "slot": body.slot,
        "program": body.program.hex(),
        "trigger": "",
        "eventTimeUs": body.event_time_us,
        "key": body.key,
        "inputs": {str(number): value for number, value in enumerate(body.inputs)},
        "reads": [_unnamed(site, args) | {"value": value} for site, args, value in body.answers],
        "outcome": word_of(Outcome, body.outcome),
        "actions": [
            _unnamed(site, args) | {"disposition": word_of(Disposition, disposition)}
            for site, args, disposition in body.actions
        ],
        "fuel": body.fuel,
        "trap": {"name": word_of(Trap, body.trap[0]).upper(), "line": 0} if body.trap is not None else None,
    }


def _unnamed(site: int, args: Sequence[Value]) -> dict[str, Any]:
    arguments = {str(number): value for number, value in enumerate(args)}
    return {"capability": f"site {site}", "arguments": arguments, "line": 0}


def finite(value: Any) -> Any:
    """Return JSON-able data: NaN and infinities as text."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list) else value


def _called(program: Program, lines: Sequence[int], index: int, args: Iterable[Value]) -> dict[str, Any]:
    site = program.sites[index]
    named = readable_arguments(site, tuple(args), program.pins)
    return {"capability": site.capability, "arguments": named, "line": lines[index]}


def _answer(program: Program, index: int, value: Value | None) -> Value | None:
    """Return what a read answered, an enum's member by name; None when it failed."""
    kind = program.sites[index].result
    return value if value is None or kind is None else readable(kind, value, program.pins)


def _inputs(trigger: Trigger, values: Sequence[Value]) -> dict[str, Any]:
    """Return the input slots by field; a field of several slots as the list of them."""
    named: dict[str, Any] = {}
    at = 0
    for field in trigger.fields:
        count = len(flatten(field.type))
        slots = values[at : at + count]
        named[field.name] = readable(field.type, slots[0], ()) if count == 1 else list(slots)
        at += count
    return named


def _plain_body(body: object) -> dict[str, Any]:
    return {camel_case(field.name): _plain(getattr(body, field.name)) for field in fields(body)}  # type: ignore[arg-type]


def defaults(record: Record) -> frozenset[str]:
    """Return which fields of `record_view` say what goes without saying: `slot` of the active program, say."""
    body = record.body
    usual = (field.name for field in fields(body) if getattr(body, field.name) == field.default)
    return frozenset(map(camel_case, usual))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
