"""Where programs would have decided otherwise on the recorded events of nodes: `deploy --replay`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eyeflow.base.duration import format_duration
from eyeflow.cli.console import counted, iso_time, say, table
from eyeflow.cli.durations import whole_seconds
from eyeflow.cli.execution_texts import both, event

Json = dict[str, Any]
SPAN_S_MAX = 7 * 86_400
"""The longest span that the API takes."""
SHOWN_MAX = 5
"""Differences that are shown of one rule on one node."""
MEMORY = {
    "known": "",
    "warm": "its memory began empty and saw the events before",
    "empty": "its memory began empty",
}


def span_s(text: str) -> int:
    """Return what `--replay` says, in seconds; 0 for nothing. Raises EyeflowError for what is no duration."""
    return whole_seconds("--replay", text, SPAN_S_MAX, "write it like 24h, 90m or 7d") if text else 0


def differing(found: list[Json]) -> int:
    """Return how many decisions would be others."""
    return sum(one["differing"] for one in found)


def compared(found: list[Json]) -> int:
    """Return how many decisions were compared."""
    return sum(one["events"] - one["unlike"] - one["unanswered"] for one in found)


def holds(found: list[Json]) -> bool:
    """Say whether decisions were compared, and all are the same: what `--fail-on-difference` asks for."""
    return compared(found) > 0 and differing(found) == 0


def say_replay(found: list[Json]) -> None:
    """Show what nodes found."""
    if not found:
        say("nothing to replay: no node would get another program or other parameters")
        return
    table(["NODE", "RULE", "EVENTS", "DIFFERENT", "RECORDED", "NOTE"], [_row(one) for one in found])
    for one in found:
        for line in _lines(one):
            say(line)
    say(_summary(found))


def _row(one: Json) -> list[str]:
    notes = [one["problem"], MEMORY[one["memory"]] if one["events"] else ""]
    if one["unlike"]:
        notes.append(f"{one['unlike']} not comparable: its memory of then is not known")
    if one["unanswered"]:
        notes.append(f"{one['unanswered']} not comparable: it reads what was not read then")
    notes += [f"not replayed: {text}" for text in one["missing"]]
    numbers = [str(one["events"]), str(one["differing"])] if one["events"] else ["-", "-"]
    return [one["node"], one["rule"], *numbers, _recorded(one), "; ".join(filter(None, notes))]


def _recorded(one: Json) -> str:
    if not one["events"]:
        return "-"
    return f"{format_duration(max(1, (one['untilUs'] - one['sinceUs']) // 1_000_000) * 1_000_000)}"


def _lines(one: Json) -> Iterator[str]:
    if not one["differences"]:
        return
    yield ""
    yield f"{one['node']} would decide otherwise in {one['rule']}:"
    for difference in one["differences"][:SHOWN_MAX]:
        yield f"  {iso_time(difference['timeUs'])}  {event(difference)}"
        yield from both(difference)
    if (more := one["differing"] - SHOWN_MAX) > 0:
        yield f"  and {more} more (--json shows the first {len(one['differences'])})"


def _summary(found: list[Json]) -> str:
    told = f"{differing(found)} of {counted(compared(found), 'decision')} would be others"
    mute = {one["node"] for one in found} - {one["node"] for one in found if one["events"]}
    return f"{told}; {counted(len(mute), 'node')} could not tell" if mute else told
