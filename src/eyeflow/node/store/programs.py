"""Programs by slot with their durable memory and evidence: to SQL and back.

Lists of values are deterministic CBOR, as in the audit.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

import apsw

from eyeflow.node.run_key import RunKey
from eyeflow.node.store.types import Batch, EvidenceRow, RejectedRow, SlotRow, Standing, StateRow
from eyeflow.protocol.cbor import decode, encode
from eyeflow.protocol.messages import Trial
from eyeflow.protocol.slot import Slot
from eyeflow.svm.program import Value

_SLOT_COLUMNS = (
    "rule, slot, program_id, params, deployment, manifest_version, installed_us, standing, actuation, wanted_before, "
    "trial, share, keyless"
)
_COUNTS_FROM = [one.name for one in fields(EvidenceRow)].index("began_us")
_PUT_PROGRAM = "INSERT OR REPLACE INTO programs VALUES (?, ?)"
_FORGET_PROGRAMS = """
    DELETE FROM programs WHERE program_id NOT IN (
        SELECT program_id FROM slots
        UNION ALL SELECT program_id FROM rejected
        UNION ALL SELECT program_id FROM pending
    )
"""
"""A message that waits for its broker needs its program, also when two deployments have taken that one's slots."""
_PUT_SLOT = f"INSERT OR REPLACE INTO slots ({_SLOT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_EVIDENCE = "INSERT OR REPLACE INTO evidence (rule, slot, program_id, deployment, counts) VALUES (?, ?, ?, ?, ?)"
_PUT_STATE = "INSERT OR REPLACE INTO state (rule, slot, program_id, state) VALUES (?, ?, ?, ?)"
_REJECTED_COLUMNS = "state, reason, rejected_us, evidence, taken_back"
_PUT_REJECTED = (
    f"INSERT OR REPLACE INTO rejected ({_SLOT_COLUMNS}, {_REJECTED_COLUMNS}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def write_programs(db: apsw.Connection, batch: Batch) -> None:
    """Write what a batch changes of slots, state and evidence; call it inside a transaction."""
    if changes_slots(batch):
        _write_slots(db, batch)
    db.executemany(_PUT_STATE, [(*_key_values(row.key), row.program_id, row.state) for row in batch.states])
    db.executemany(_PUT_EVIDENCE, [_evidence_values(row) for row in batch.put_evidence])


def forget_programs(db: apsw.Connection, batch: Batch) -> None:
    """Delete programs that nothing needs any more; call it when the outbox of the batch is written."""
    if changes_slots(batch):
        db.execute(_FORGET_PROGRAMS)


def changes_slots(batch: Batch) -> bool:
    """Say whether a batch changes which programs there are; the state of those that go is deleted."""
    return bool(batch.drop_rules or batch.drop_slots or batch.put_slots or batch.put_rejected)


def _write_slots(db: apsw.Connection, batch: Batch) -> None:
    for table in ("slots", "state", "evidence", "rejected"):
        db.executemany(f"DELETE FROM {table} WHERE rule = ?", [(rule,) for rule in batch.drop_rules])
    for table in ("slots", "state", "evidence"):
        dropped = [_key_values(key) for key in batch.drop_slots]
        db.executemany(f"DELETE FROM {table} WHERE rule = ? AND slot = ?", dropped)
    rows = [*batch.put_slots, *(rejected.row for rejected in batch.put_rejected)]
    db.executemany(_PUT_PROGRAM, [(row.program_id, row.program) for row in rows])
    db.executemany(_PUT_SLOT, [_slot_values(row) for row in batch.put_slots])
    db.executemany(_PUT_REJECTED, [_rejected_values(row) for row in batch.put_rejected])


def _key_values(key: RunKey) -> tuple[str, str]:
    return key.rule, key.slot.value


def _slot_values(row: SlotRow) -> tuple[Any, ...]:
    params = encode([[name, value] for name, value in sorted(row.params.items())])
    wanted_by = (row.deployment, row.manifest_version, row.installed_us)
    how = (row.standing.value, row.actuation.value, encode(list(row.wanted_before)), _trial_bytes(row.trial))
    return (*_key_values(row.key), row.program_id, params, *wanted_by, *how, row.share, row.keyless)


def _rejected_values(row: RejectedRow) -> tuple[Any, ...]:
    evidence = encode([] if row.evidence is None else _counts(row.evidence))
    return (*_slot_values(row.row), row.state, row.reason, row.rejected_us, evidence, row.taken_back)


def _evidence_values(row: EvidenceRow) -> tuple[Any, ...]:
    return (*_key_values(row.key), row.program_id, row.deployment, encode(_counts(row)))


def _counts(row: EvidenceRow) -> list[int | str]:
    return [getattr(row, one.name) for one in fields(row)[_COUNTS_FROM:]]


def _trial_bytes(trial: Trial | None) -> bytes:
    if trial is None:
        return encode([])
    return encode([getattr(trial, name) for name in Trial.__struct_fields__])


def _trial(blob: bytes) -> Trial | None:
    values = cast("list[Any]", decode(blob))
    return Trial(*values) if values else None


def read_slots(db: apsw.Connection) -> tuple[SlotRow, ...]:
    """Return every stored program, by rule."""
    columns = f"{_SLOT_COLUMNS}, program FROM slots JOIN programs USING (program_id)"
    return tuple(_slot_row(*values) for values in db.execute(f"SELECT {columns} ORDER BY rule, slot"))


def _slot_row(
    rule: str,
    slot: str,
    program_id: bytes,
    params: bytes,
    deployment: str,
    manifest_version: int,
    installed_us: int,
    standing: str,
    actuation: str,
    wanted_before: bytes,
    trial: bytes,
    share: int,
    keyless: int,
    program: bytes,
) -> SlotRow:
    what = (RunKey(rule, Slot(slot)), program_id, program, _params(params))
    before = tuple(cast("list[str]", decode(wanted_before)))
    row = SlotRow(*what, deployment, manifest_version, installed_us, Standing(standing), before)
    return replace(row, trial=_trial(trial), share=share, keyless=bool(keyless))


def read_rejected(db: apsw.Connection) -> dict[str, RejectedRow]:
    """Return the last rejected program of each rule that has one."""
    columns = f"{_SLOT_COLUMNS}, program, {_REJECTED_COLUMNS} FROM rejected JOIN programs USING (program_id)"
    found: dict[str, RejectedRow] = {}
    for rule, *values, state, reason, rejected_us, counts, taken_back in db.execute(f"SELECT {columns}"):
        row = _slot_row(rule, *values)
        values = cast("list[Any]", decode(counts))
        evidence = EvidenceRow(row.key, row.program_id, row.deployment, *values) if values else None
        found[rule] = RejectedRow(row, state, reason, rejected_us, evidence, bool(taken_back))
    return found


def read_evidence(db: apsw.Connection) -> dict[RunKey, EvidenceRow]:
    """Return what the program in each slot did."""
    rows = db.execute("SELECT rule, slot, program_id, deployment, counts FROM evidence")
    found = (
        EvidenceRow(RunKey(rule, Slot(slot)), program_id, deployment, *cast("list[Any]", decode(counts)))
        for rule, slot, program_id, deployment, counts in rows
    )
    return {row.key: row for row in found}


def read_states(db: apsw.Connection) -> dict[RunKey, StateRow]:
    """Return the durable memory of every slot."""
    rows = db.execute("SELECT rule, slot, program_id, state FROM state")
    found = (StateRow(RunKey(rule, Slot(slot)), program_id, state) for rule, slot, program_id, state in rows)
    return {row.key: row for row in found}


def _params(blob: bytes) -> dict[str, Value]:
    return dict(cast("list[tuple[str, Value]]", decode(blob)))
