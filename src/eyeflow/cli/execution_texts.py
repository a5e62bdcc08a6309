"""Single executions as lines for people: those that failed, and those on which two programs decided otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eyeflow.cli.console import iso_time

Json = dict[str, Any]


def failure_lines(found: list[Json]) -> Iterator[str]:
    """Yield what there is to show of executions that failed, newest first."""
    if found:
        yield "executions that failed, the newest first"
    for one in found:
        yield f"  {_when(one)}: {one['what']}"
        yield from _trace("read", one["reads"])
        yield from _trace("decided", [line for line in one["decided"] if line != one["what"]])


def difference_lines(found: list[Json]) -> Iterator[str]:
    """Yield what there is to show of events on which a candidate decided otherwise, newest first."""
    if found:
        yield "decisions that differ, the newest first"
    for one in found:
        yield f"  {_when(one)}"
        yield from both(one)


def both(one: Json) -> Iterator[str]:
    """Yield what the active program did on an event, and what the candidate would have done."""
    width = len("candidate would do")
    for who, side in (("active did", one["active"]), ("candidate would do", one["candidate"])):
        read = f" after {', '.join(side['reads'])}" if side["reads"] else ""
        yield f"    {who.ljust(width)}  {', '.join(side['decided']) or 'nothing'}{read}"


def event(one: Json) -> str:
    """Return what an execution was about."""
    key = f" (key {one['key']})" if one["key"] else ""
    return f"{one['event'] or 'an event that the node has forgotten'}{key}"


def _when(one: Json) -> str:
    seq = one["seq"] if "seq" in one else one["candidate"]["seq"]
    record = f", audit record {seq}" if seq else ""
    return f"{iso_time(one['timeUs'])}  {one['node']}  {one['rule']} on {event(one)}{record}"


def _trace(word: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"    {word} {', '.join(lines)}"
