"""Rows of the store to SQL and back. Lists of values are deterministic CBOR, as in the audit."""

from __future__ import annotations

from typing import Any, cast

import apsw

from eyeflow.node.store.types import Batch, PendingRow, SlotRow, StateRow
from eyeflow.protocol.cbor import decode, encode
from eyeflow.protocol.slot import Slot
from eyeflow.svm.program import Value

_KEEP_PROGRAM = """
    INSERT OR IGNORE INTO kept_programs
        SELECT program_id, program FROM slots WHERE rule = ? AND program_id IN (SELECT program_id FROM pending)
"""
"""Without it, a message that waits for its broker is lost once two deployments have taken its program's slots."""
_FORGET_PROGRAMS = "DELETE FROM kept_programs WHERE program_id NOT IN (SELECT program_id FROM pending)"
_PUT_SLOT = "INSERT OR REPLACE INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_STATE = "INSERT OR REPLACE INTO state VALUES (?, ?, ?)"
_PUT_PENDING = "INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def write_rows(db: apsw.Connection, batch: Batch, first_seq: int) -> None:
    """Write everything of a batch but its audit records; call it inside a transaction."""
    if batch.put_slots:
        db.execute(_FORGET_PROGRAMS)
    db.executemany(_KEEP_PROGRAM, [(row.rule,) for row in batch.put_slots])
    for rule in batch.drop_rules:
        for table in ("slots", "state"):
            db.execute(f"DELETE FROM {table} WHERE rule = ?", (rule,))
    db.executemany("DELETE FROM slots WHERE rule = ? AND slot = ?", [(r, s.value) for r, s in batch.drop_slots])
    db.executemany(_PUT_SLOT, [_slot_values(row) for row in batch.put_slots])
    db.executemany(_PUT_STATE, [(row.rule, row.program_id, row.state) for row in batch.states])
    db.executemany(_PUT_PENDING, [_pending_values(row, first_seq) for row in batch.pending])
    db.executemany("DELETE FROM pending WHERE seq = ? AND idx = ?", batch.finished)
    db.executemany(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("kept." + key, value) for key, value in batch.put_meta]
    )


def _slot_values(row: SlotRow) -> tuple[Any, ...]:
    params = encode([[name, value] for name, value in sorted(row.params.items())])
    head = (row.rule, row.slot.value, row.program_id, row.program, params)
    return (*head, row.deployment, row.manifest_version, row.installed_us)


def _pending_values(row: PendingRow, first_seq: int) -> tuple[Any, ...]:
    head = (first_seq + row.seq, row.index, row.rule, row.program_id, row.site)
    return (*head, encode(list(row.args)), row.time_us, row.hops)


def read_slots(db: apsw.Connection) -> tuple[SlotRow, ...]:
    """Return every stored program, by rule."""
    rows = db.execute("SELECT * FROM slots ORDER BY rule, slot")
    return tuple(
        SlotRow(rule, Slot(slot), program_id, program, _params(params), deployment, version, installed_us)
        for rule, slot, program_id, program, params, deployment, version, installed_us in rows
    )


def read_states(db: apsw.Connection) -> dict[str, StateRow]:
    """Return the durable memory of every rule."""
    rows = db.execute("SELECT rule, program_id, state FROM state")
    return {rule: StateRow(rule, program_id, state) for rule, program_id, state in rows}


def read_kept(db: apsw.Connection) -> dict[str, bytes]:
    """Return the small values that others keep here (`Batch.put_meta`)."""
    rows = db.execute("SELECT substr(key, 6), value FROM meta WHERE key GLOB 'kept.*'")
    return {str(key): bytes(value) for key, value in rows}


def read_pending(db: apsw.Connection) -> tuple[PendingRow, ...]:
    """Return the actions that had not ended, in the order they were recorded."""
    rows = db.execute("SELECT seq, idx, rule, program_id, site, args, time_us, hops FROM pending ORDER BY seq, idx")
    return tuple(
        PendingRow(seq, idx, rule, program_id, site, _values(args), time_us, hops)
        for seq, idx, rule, program_id, site, args, time_us, hops in rows
    )


def read_pending_programs(db: apsw.Connection) -> dict[bytes, bytes]:
    """Return the programs of those actions by id, whether a slot still holds them or not."""
    programs = "SELECT program_id, program FROM slots UNION ALL SELECT program_id, program FROM kept_programs"
    rows = db.execute(f"SELECT * FROM ({programs}) WHERE program_id IN (SELECT program_id FROM pending)")
    return {bytes(program_id): bytes(program) for program_id, program in rows}


def _values(blob: bytes) -> tuple[Value, ...]:
    return tuple(cast("list[Value]", decode(blob)))


def _params(blob: bytes) -> dict[str, Value]:
    return dict(cast("list[tuple[str, Value]]", decode(blob)))
