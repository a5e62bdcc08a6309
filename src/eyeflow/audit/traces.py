"""What single executions saw and did, as lines that people read: made from their audit records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eyeflow.audit.view import call, execution_view
from eyeflow.base.word import literal
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.executions import ACTION_CHARS_MAX, ACTIONS_MAX, EVENT_CHARS_MAX, TRACE_CHARS_MAX, Trace
from eyeflow.protocol.wire import cut
from eyeflow.svm.arguments import readable_arguments
from eyeflow.svm.execution import Action, Execution
from eyeflow.svm.opcodes import Trap
from eyeflow.svm.program import Program

ELLIPSIS = "..."
"""In place of the lines of a trace that are more than a message may hold."""


def event_text(body: ExecutionBody, program: Program) -> str:
    """Return what an execution was about: `mqtt sensors/temp: value = 85.0`."""
    view = execution_view(body, program)
    given = ", ".join(f"{name} = {literal(value)}" for name, value in view["inputs"].items())
    return cut(f"{view['trigger']}: {given}" if given else view["trigger"], EVENT_CHARS_MAX)


def trace_of(seq: int, body: ExecutionBody, program: Program) -> Trace:
    """Return what an execution read and decided, with lines of the rule."""
    view = execution_view(body, program)
    reads = [f"{call(one)} = {_value(one['value'])}" for one in view["reads"]]
    decided = [f"{call(one)} at line {one['line']}" for one in view["actions"]]
    if trap := view.get("trap"):
        decided.append(f"trap {trap['name']} at line {trap['line']}")
    return bounded(seq, reads, decided)


def bounded(seq: int, reads: Iterable[str], decided: Iterable[str]) -> Trace:
    """Return a trace of no more lines than a message holds; what was decided counts more than what was read."""
    kept, left = _fitting(decided, TRACE_CHARS_MAX)
    return Trace(seq, _fitting(reads, left)[0], kept)


def _fitting(lines: Iterable[str], characters: int) -> tuple[tuple[str, ...], int]:
    found: list[str] = []
    for line in lines:
        short = cut(line, ACTION_CHARS_MAX)
        if len(short) > characters - len(ELLIPSIS) or len(found) == ACTIONS_MAX - 1:
            if characters >= len(ELLIPSIS):
                found.append(ELLIPSIS)
                characters -= len(ELLIPSIS)
            break
        found.append(short)
        characters -= len(short)
    return tuple(found), characters


def _value(value: Any) -> str:
    return "failed" if value is None else literal(value)


def texts_of(program: Program, execution: Execution) -> tuple[str, ...]:
    """Return the actions of an execution as texts, and its trap if it had one."""
    found = [_action_text(program, action) for action in execution.actions[:ACTIONS_MAX]]
    if execution.trap is not None:
        found = [f"trap {Trap(execution.trap.code).name}"]
    return tuple(cut(text, ACTION_CHARS_MAX) for text in found)


def _action_text(program: Program, action: Action) -> str:
    site = program.sites[action.site]
    values = readable_arguments(site, action.args, program.pins).values()
    return f"{site.capability}({', '.join(map(str, values))})"
