"""GET /api/nodes/{id}/lines: what a board logs, asked of its gateway. Nothing of it is kept here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eyeflow.coordinator import views
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.choosing import found_node
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.link_questions import UnaskedError
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.queries import INTEGER_MAX, Param
from eyeflow.protocol.lines import BoardLine, Listened

LISTENERS_MAX = 32
"""Requests that are under way at the same time."""
OF_BOARD_MAX = 8
"""Those of one board among them: a gateway that does not answer keeps nobody from other boards."""
RETRY_S = 1
LINES_QUERY = (
    Param(
        "since",
        {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX, "examples": [1790000000000000]},
        "lines from this number on: the `next` of the last answer; without it the newest lines come",
    ),
)


async def list_lines(hub: Hub, call: Call) -> Reply:
    """Return what a board logged, as its gateway keeps it: the newest 1,000 lines, at most 200 in one answer."""
    name = call.path["id"]
    facts = await hub.store.read(lambda reading: views.node_facts(reading, found_node(reading, name)))
    try:
        with _counted(hub.relay.listeners, name):
            found = await _listened(hub, name, call.query.get("since"))
    except UnaskedError as error:
        board = views.node_view(hub, facts)["board"]
        why = f"{error.message}; {board['evidence']}" if board and name not in hub.links else error.message
        is_none = "" if board else "; only boards behind nodes have lines"
        step = f"see how it stands: eyeflow nodes show {name}"
        raise Problem("board_unheard", f"{name} cannot tell what it logs: {why}{is_none}.", step) from error
    return Reply(200, {"lines": [_view(one) for one in found.lines], "next": found.next, "missed": found.missed})


async def _listened(hub: Hub, name: str, since: int | None) -> Listened:
    if (link := hub.links.get(name)) is not None:
        return await link.listen(since)
    held = await hub.store.read(lambda reading: reading.link(name))
    if held is None or held.coordinator == hub.store.own_id:
        raise UnaskedError("it has no link")
    return await hub.relay.listen(name, held.coordinator, since)


@contextmanager
def _counted(listeners: Counter[str], name: str) -> Iterator[None]:
    """Raise Problem when too many ask already."""
    if listeners.total() >= LISTENERS_MAX or listeners[name] >= OF_BOARD_MAX:
        detail = f"{listeners.total()} requests for lines are under way, {listeners[name]} of them for {name}."
        raise Problem("too_many_listeners", detail, f"ask again in {RETRY_S} s", retry_after_s=RETRY_S)
    listeners[name] += 1
    try:
        yield
    finally:
        listeners -= Counter((name,))  # forgets a board for which nobody asks


def _view(line: BoardLine) -> dict[str, Any]:
    return {
        "number": line.number,
        "timeUs": line.time_us,
        "level": line.level,
        "text": line.text,
        "asks": list(line.asks),
    }
