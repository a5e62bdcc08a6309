"""The outbox: actions and emitted events that are recorded and not yet known to have ended."""

from __future__ import annotations

from typing import Any, cast

import apsw

from eyeflow.node.run_key import RunKey
from eyeflow.node.store.types import Batch, PendingRow
from eyeflow.protocol.cbor import decode, encode
from eyeflow.protocol.slot import Slot
from eyeflow.svm.program import Value

_PENDING_COLUMNS = "seq, idx, rule, slot, program_id, site, args, time_us, hops, event_key, ends"
_PUT_PENDING = f"INSERT INTO pending ({_PENDING_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_COUNT = "UPDATE pending SET ends = ? WHERE seq = ? AND idx = ?"


def write_pending(db: apsw.Connection, batch: Batch, first_seq: int) -> None:
    """Add the actions of new executions, count, and remove those that ended; call it inside a transaction."""
    db.executemany(_PUT_PENDING, [_pending_values(row, first_seq) for row in batch.pending])
    db.executemany(_COUNT, [(one.ends, one.seq, one.index) for one in batch.tried])
    db.executemany("DELETE FROM pending WHERE seq = ? AND idx = ?", batch.finished)


def forget_ends(db: apsw.Connection) -> None:
    """The node stops in good order: what is unfinished has not ended it."""
    db.execute("UPDATE pending SET ends = 0 WHERE ends > 0")


def _pending_values(row: PendingRow, first_seq: int) -> tuple[Any, ...]:
    head = (first_seq + row.seq, row.index, row.key.rule, row.key.slot.value, row.program_id, row.site)
    return (*head, encode(list(row.args)), row.time_us, row.hops, row.event_key, row.ends)


def read_pending(db: apsw.Connection) -> tuple[PendingRow, ...]:
    """Return the actions that had not ended, in the order they were recorded."""
    rows = db.execute(f"SELECT {_PENDING_COLUMNS} FROM pending ORDER BY seq, idx")
    return tuple(
        PendingRow(seq, idx, RunKey(rule, Slot(slot)), program_id, site, _values(args), time_us, hops, event_key, ends)
        for seq, idx, rule, slot, program_id, site, args, time_us, hops, event_key, ends in rows
    )


def read_pending_programs(db: apsw.Connection) -> dict[bytes, bytes]:
    """Return the programs of those actions by id, whether a slot still holds them or not."""
    rows = db.execute("SELECT program_id, program FROM programs WHERE program_id IN (SELECT program_id FROM pending)")
    return {bytes(program_id): bytes(program) for program_id, program in rows}


def _values(blob: bytes) -> tuple[Value, ...]:
    return tuple(cast("list[Value]", decode(blob)))
