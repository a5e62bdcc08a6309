"""Executions of all nodes by REST: found by filters, or followed as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eyeflow.audit.board_view import is_execution
from eyeflow.audit.execution_id import ExecutionId
from eyeflow.audit.view import execution_entry
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.chain import NO_OUTCOME, Row
from eyeflow.coordinator.archive.database import Arrival, ExecutionsAsked, FoundExecution
from eyeflow.coordinator.choosing import found_node
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.lists_api import LIMIT, PAGING, since
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.queries import INTEGER_MAX, Param, Query, cursor_of, key_of
from eyeflow.coordinator.shape_words import NODE_NAME, RULE, Shape
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import AuditError, BoardRecordBody, ExecutionBody
from eyeflow.svm.execution import Outcome
from eyeflow.svm.program import Program

OUTCOMES = {one.name.lower(): int(one) for one in Outcome}
_WORDS: Shape = {"type": "string", "pattern": "^[^\\x00-\\x1f]{1,256}$", "examples": ["pump-7"]}
NEWEST, CAME = "newest", "came"
UNREADABLE = "its record cannot be read"
EXECUTIONS_QUERY = (
    *PAGING,
    Param("node", NODE_NAME, "of this node; again: or of this one", is_list=True),
    Param("rule", RULE, "of this rule"),
    Param("key", _WORDS, "of events with this key"),
    Param("outcome", {"type": "string", "enum": list(OUTCOMES), "examples": ["trapped"]}, "how it ended"),
    Param("action", {**_WORDS, "examples": ["gpio.set_pin"]}, "it asked for this action, or emitted this event"),
    since("by the clock of its node: recorded"),
    Param(
        "untilUs",
        {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX, "examples": [1790000000000000]},
        "by the clock of its node: recorded before this time, in microseconds since 1970 UTC",
    ),
    Param(
        "order",
        {"type": "string", "enum": [NEWEST, CAME], "default": NEWEST, "examples": [CAME]},
        "`newest` first, by the clocks of nodes; or as they `came` to the coordinator, to follow them: without a "
        "cursor from now on, and `nextCursor` is never empty then",
    ),
)


async def list_executions(hub: Hub, call: Call) -> Reply:
    """Return executions of all nodes, newest first, a page at a time; or as they come, to follow them."""
    archive, query = archive_of(hub), call.query
    nodes = await _nodes(hub, call)
    acts = await hub.known_programs.acts(archive, query["action"]) if "action" in query else None
    if query.get("order", NEWEST) == CAME:
        return await _came(hub, archive, query, _asked(query, nodes, acts))
    key = key_of(query, int, int, int)
    asked = _asked(query, nodes, acts, key)
    found, following = await archive.look(lambda reader: reader.executions(asked))
    return await _page(hub, found, cursor_of(following), bool(following))


def archive_of(hub: Hub) -> Archive:
    """Return the archive. Raises Problem when there is none."""
    if hub.copies.archive is None:
        why = hub.copies.missing or "the coordinator has no archive"
        next_step = "read the store of a node: eyeflow executions --data-dir, eyeflow why --data-dir"
        raise Problem("no_archive", f"Nothing is copied here: {why}.", next_step)
    return hub.copies.archive


async def _nodes(hub: Hub, call: Call) -> frozenset[str] | None:
    """Return the nodes that are asked for, of those that are there for who asks; None: all."""
    names: Sequence[str] = call.query.get("node", ())
    for name in names:
        await hub.store.read(lambda reading, one=name: found_node(reading, one))  # type: ignore[misc]
    if names:
        return frozenset(names)
    return frozenset(await hub.store.read(lambda reading: reading.node_names())) if call.actor.labels else None


def _asked(query: Query, nodes: frozenset[str] | None, acts: frozenset[int] | None, key: Any = None) -> ExecutionsAsked:
    return ExecutionsAsked(
        int(query.get("limit", LIMIT)),
        key,
        nodes,
        query.get("rule", ""),
        query.get("key", ""),
        OUTCOMES[query["outcome"]] if "outcome" in query else NO_OUTCOME,
        acts,
        query.get("sinceUs"),
        query.get("untilUs"),
    )


async def _came(hub: Hub, archive: Archive, query: Query, asked: ExecutionsAsked) -> Reply:
    key = key_of(query, int, int, int)
    after: Arrival | None = (int(key[0]), int(key[1]), int(key[2])) if key is not None else None
    found, read, more = await archive.look(lambda reader: reader.arrived(asked, after))
    return await _page(hub, found, cursor_of(read), more)


async def _page(hub: Hub, found: Sequence[FoundExecution], cursor: str, more: bool) -> Reply:
    bodies = [execution_of(one.row) for one in found]
    programs = await hub.known_programs.found(body.program for body in bodies if body is not None and body.program)
    shown = [_entry(one, body, programs) for one, body in zip(found, bodies, strict=True)]
    return Reply(200, {"executions": shown, "nextCursor": cursor, "more": more})


def execution_of(row: Row) -> ExecutionBody | BoardRecordBody | None:
    """Return the execution in a record, None when it cannot be read: a disk may change bytes after they were written.

    The look through the archive finds such a record, and sets the copy aside.
    """
    try:
        body = decode_record(row.data).body
    except AuditError:
        return None
    return body if is_execution(body) else None


def _entry(
    found: FoundExecution, body: ExecutionBody | BoardRecordBody | None, programs: Mapping[bytes, Program]
) -> dict[str, Any]:
    row = found.row
    if body is not None:
        return execution_entry(_id_of(found), row.time_us, body, programs.get(body.program or b""))
    filed = ExecutionBody(row.rule, bytes(32), 0, row.time_us, row.outcome, 0, slot=row.slot, key=row.key)
    return execution_entry(_id_of(found), row.time_us, filed, None) | {"text": f"{row.rule}: {UNREADABLE}"}


def _id_of(found: FoundExecution) -> ExecutionId:
    return ExecutionId(found.node, found.epoch, found.row.seq)
