"""The audit records of nodes that the coordinator keeps, by REST."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

from eyeflow.audit.view import execution_text, finite
from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator import views
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.archive.chain import NO_OUTCOME, Row
from eyeflow.coordinator.archive.database import KeptState
from eyeflow.coordinator.choosing import found_node
from eyeflow.coordinator.executions_api import UNREADABLE, execution_of
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.lists_api import LIMIT, PAGING
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.queries import INTEGER_MAX, Param, cursor_of, key_of
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.svm.container import decode
from eyeflow.svm.instance import Instance
from eyeflow.svm.verify import verify

_NUMBER = {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX}
RECORDS_QUERY = (
    *PAGING,
    Param("epoch", {**_NUMBER, "examples": [1790000000]}, "the chain of this epoch; the newest unless it is given"),
    Param("branch", {**_NUMBER, "examples": [1]}, "a copy that was set aside; 0, the copy that grows, unless given"),
    Param("after", {**_NUMBER, "examples": [0]}, "records with a higher number only; not with `cursor`"),
    Param("texts", {"type": "boolean", "examples": [True]}, "each execution as a line for people, too"),
)


async def list_records(hub: Hub, call: Call) -> Reply:
    """Return audit records of a node that the coordinator keeps, in their order, a page at a time."""
    query, node = call.query, call.path["id"]
    await hub.store.read(lambda reading: found_node(reading, node))
    key = key_of(query, int)
    if key is not None and "after" in query:
        errors = [FieldError("after", "goes not with `cursor`")]
        raise Problem("invalid_query", "Give `after` or `cursor`.", errors=errors)
    after_seq = int(key[0]) if key is not None else query.get("after", 0)
    limit, archive = int(query.get("limit", LIMIT)), hub.copies.archive
    epoch = query["epoch"] if "epoch" in query else await _newest_epoch(hub, node)
    branch = query.get("branch", 0)
    rows = [] if archive is None else await archive.page(node, epoch, after_seq, limit, branch)
    following = (rows[-1].seq,) if len(rows) == limit else None
    texts = await _texts(hub, rows) if query.get("texts") else {}
    shown = [views.record_row_view(row) | {"text": texts.get(row.seq, "")} for row in rows]
    return Reply(200, {"epoch": epoch, "branch": branch, "records": shown, "nextCursor": cursor_of(following)})


async def _texts(hub: Hub, rows: Sequence[Row]) -> dict[int, str]:
    found = {row.seq: execution_of(row) for row in rows if row.outcome != NO_OUTCOME}
    programs = await hub.known_programs.found(body.program for body in found.values() if body and body.program)
    return {
        seq: UNREADABLE if body is None else execution_text(body, programs.get(body.program or b""))
        for seq, body in found.items()
    }


async def list_states(hub: Hub, call: Call) -> Reply:
    """Return how the rules of a node stood when it told last: each state variable by name, and after which record."""
    node, archive = call.path["id"], hub.copies.archive
    await hub.store.read(lambda reading: found_node(reading, node))
    kept = [] if archive is None else await archive.look(lambda reader: reader.states(node))

    def look(reading: Reading) -> dict[str, bytes]:
        return {one: reading.program_bytes(one) for one in sorted({state.program_id for state in kept})}

    programs = await hub.store.read(look)
    shown = await asyncio.to_thread(lambda: [_state_view(one, programs[one.program_id]) for one in kept])
    return Reply(200, {"states": shown})


def _state_view(kept: KeptState, program: bytes) -> dict[str, Any]:
    """Return a `KeptState`. A program that never came from here has no names: its state is bytes."""
    return {
        "rule": kept.rule,
        "slot": kept.slot,
        "key": kept.key,
        "programId": kept.program_id,
        "epoch": kept.epoch,
        "seq": kept.seq,
        "keptUs": kept.kept_us,
        "values": _values(kept.state, program),
        "state": base64.b64encode(kept.state).decode(),
    }


def _values(state: bytes, program: bytes) -> dict[str, Any] | None:
    try:
        instance = Instance(verify(decode(program).program))
        instance.load_state_bytes(state)
    except EyeflowError:
        return None
    named: dict[str, Any] = finite(instance.state_values())
    return named


async def _newest_epoch(hub: Hub, node: str) -> int:
    """Asked of the archive: another coordinator may have collected it."""
    chains = [] if hub.copies.archive is None else await hub.copies.archive.copies(node)
    return chains[0].kept.epoch if chains else 0


async def list_copies(hub: Hub, call: Call) -> Reply:
    """Return which chains of a node the coordinator keeps, and which of them were set aside; the newest first."""
    node, archive = call.path["id"], hub.copies.archive
    await hub.store.read(lambda reading: found_node(reading, node))
    chains = [] if archive is None else await archive.copies(node)
    return Reply(200, {"copies": [views.chain_view(one) for one in chains]})
