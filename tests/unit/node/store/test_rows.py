"""What the store gives back is what batches wrote, by a model of plain dictionaries, also after a restart."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.node.run_key import RunKey
from eyeflow.node.store.meta import read_number, write_meta
from eyeflow.node.store.programs import changes_slots
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import (
    Batch,
    BufferLimits,
    Draft,
    EvidenceRow,
    PendingRow,
    RejectedRow,
    Restored,
    SlotRow,
    Standing,
    StateRow,
    Tried,
)
from eyeflow.node.streams import Mark, Progress, Ran
from eyeflow.protocol.audit_bodies import StopBody
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import Trial
from eyeflow.protocol.slot import Slot

KEY = Identity(bytes(range(32)))
RULES = ("a", "b")
IDS = tuple(bytes([number]) * 32 for number in range(4))
COUNTS = [one.name for one in fields(EvidenceRow) if one.name not in {"key", "program_id", "deployment"}]

keys = st.builds(RunKey, st.sampled_from(RULES), st.sampled_from(Slot))
ids = st.sampled_from(IDS)
texts = st.text(max_size=5)
int64 = st.integers(-(2**63), 2**63 - 1)
naturals = st.integers(0, 2**40)
values = st.booleans() | int64 | st.floats(allow_nan=False) | texts
trials = st.builds(Trial, st.integers(1, 99), st.integers(1, 99), st.floats(0, 1), st.integers(1, 9), st.booleans())
slot_rows = st.builds(
    SlotRow,
    key=keys,
    program_id=ids,
    program=st.just(b""),
    params=st.dictionaries(texts, values, max_size=3),
    deployment=texts,
    manifest_version=naturals,
    installed_us=int64,
    standing=st.sampled_from(Standing),
    share=st.integers(0, 10_000),
    keyless=st.booleans(),
    wanted_before=st.lists(texts, max_size=3).map(tuple),
    trial=st.none() | trials,
).map(lambda row: replace(row, program=b"program " + row.program_id))
states = st.builds(StateRow, keys, ids, st.binary(max_size=9))
marks = st.builds(Mark, st.sampled_from(["s", "t"]), st.integers(0, 9))
evidence = st.builds(EvidenceRow, keys, ids, texts, **dict.fromkeys(COUNTS, naturals))


@st.composite
def rejected_rows(draw: st.DrawFn) -> RejectedRow:
    row = draw(slot_rows)
    about = draw(st.none() | evidence)
    if about is not None:
        about = replace(about, key=row.key, program_id=row.program_id, deployment=row.deployment)
    return RejectedRow(row, draw(st.binary(max_size=9)), draw(texts), draw(int64), about, draw(st.booleans()))


def few(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
    return st.lists(strategy, max_size=2)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    action = st.tuples(keys, ids, naturals, st.lists(values, max_size=3), int64, naturals, st.none() | texts)
    pending = draw(st.lists(action, max_size=2))
    return Batch(
        drafts=[Draft(1, StopBody("x")), Draft(2, StopBody("y"))],
        states=draw(few(states)),  # type: ignore[arg-type]
        put_evidence=draw(few(evidence)),  # type: ignore[arg-type]
        pending=[
            PendingRow(number % 2, number, key, program_id, site, tuple(args), time_us, hops, event_key)
            for number, (key, program_id, site, args, time_us, hops, event_key) in enumerate(pending)
        ],
        finished=draw(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 1)), max_size=3)),
        put_slots=draw(few(slot_rows)),  # type: ignore[arg-type]
        put_rejected=draw(few(rejected_rows())),  # type: ignore[arg-type]
        drop_slots=draw(few(keys)),  # type: ignore[arg-type]
        drop_rules=draw(few(st.sampled_from(RULES))),  # type: ignore[arg-type]
        tried=draw(st.lists(st.builds(Tried, st.integers(1, 8), st.integers(0, 1), st.integers(0, 9)), max_size=2)),
        progress=Progress(
            draw(st.dictionaries(st.sampled_from(["s", "t"]), st.integers(0, 9))),
            tuple(draw(st.lists(st.builds(Ran, marks, keys), max_size=3))),
            draw(st.frozensets(st.sampled_from(["s", "t"]))),
        ),
        put_meta=draw(st.lists(st.tuples(texts, st.binary(max_size=9)), max_size=2)),
    )


class Model:
    """The store as dictionaries."""

    def __init__(self) -> None:
        self.slots: dict[RunKey, SlotRow] = {}
        self.states: dict[RunKey, StateRow] = {}
        self.evidence: dict[RunKey, EvidenceRow] = {}
        self.rejected: dict[str, RejectedRow] = {}
        self.pending: dict[tuple[int, int], PendingRow] = {}
        self.programs: dict[bytes, bytes] = {}
        self.kept: dict[str, bytes] = {}
        self.nexts: dict[str, int] = {}
        self.ran: set[Ran] = set()

    def take(self, batch: Batch, first_seq: int) -> None:
        for kept in (self.slots, self.states, self.evidence):
            for key in list(kept):
                if key.rule in batch.drop_rules or key in batch.drop_slots:
                    del kept[key]  # type: ignore[attr-defined]
        for rule in batch.drop_rules:
            self.rejected.pop(rule, None)
        stored = [*batch.put_slots, *(one.row for one in batch.put_rejected)]
        self.programs |= {row.program_id: row.program for row in stored}
        self.slots |= {row.key: row for row in batch.put_slots}
        self.rejected |= {one.row.key.rule: one for one in batch.put_rejected}
        self.states |= {row.key: row for row in batch.states}
        self.evidence |= {row.key: row for row in batch.put_evidence}
        for row in batch.pending:
            self.pending[first_seq + row.seq, row.index] = row._replace(seq=first_seq + row.seq)
        for one in batch.tried:
            if (one.seq, one.index) in self.pending:
                place = one.seq, one.index
                self.pending[place] = self.pending[place]._replace(ends=one.ends)
        for ended in batch.finished:
            self.pending.pop(ended, None)
        if stored or batch.drop_rules or batch.drop_slots:
            rejected = [one.row for one in self.rejected.values()]
            needed: list[Any] = [*self.slots.values(), *rejected, *self.pending.values()]
            self.programs = {one: self.programs[one] for one in self.programs if one in {x.program_id for x in needed}}
        self.kept |= dict(batch.put_meta)
        self.nexts |= batch.progress.nexts
        moved = batch.progress.nexts
        self.ran = {one for one in self.ran if one.mark.stream not in batch.progress.begun}
        self.ran |= set(batch.progress.ran)
        self.ran = {one for one in self.ran if one.mark.number >= moved.get(one.mark.stream, 0)}

    def restored(self, clean: bool) -> Restored:
        waiting = {one.program_id for one in self.pending.values()}
        pending = tuple(self.pending[place] for place in sorted(self.pending))
        return Restored(
            clean,
            slots=tuple(sorted(self.slots.values(), key=lambda row: (row.key.rule, row.key.slot.value))),
            states=self.states,
            rejected=self.rejected,
            evidence=self.evidence,
            pending=tuple(one._replace(ends=0) for one in pending) if clean else pending,
            pending_programs={one: self.programs[one] for one in waiting & self.programs.keys()},
            kept=self.kept,
            progress=Progress(self.nexts, tuple(sorted(self.ran, key=_in_order))),
        )


def _in_order(one: Ran) -> tuple[str, int, str, str]:
    return one.mark.stream, one.mark.number, one.key.rule, one.key.slot.value


def opened(path: Path) -> Store:
    return Store(path, "n1", KEY, BufferLimits(64 * 1024 * 1024, 10**18))


@settings(max_examples=30, deadline=None)
@given(st.lists(batches(), min_size=1, max_size=5), st.booleans())
def test_what_batches_wrote_is_what_is_restored(
    tmp_path_factory: pytest.TempPathFactory, script: list[Batch], clean: bool
) -> None:
    path, model = tmp_path_factory.mktemp("rows"), Model()
    store = opened(path)
    assert store.restore() == model.restored(clean=True)
    for batch in script:
        model.take(batch, store.commit(batch).first_seq)
        assert store.restore() == model.restored(clean=False)
    store.close(clean=clean)
    again = opened(path)
    found = again.restore()
    assert found == model.restored(clean)
    assert repr(found.pending) == repr(model.restored(clean).pending), "1 is not 1.0, and not True"
    again.close(clean=True)


@pytest.mark.parametrize("name", ["drop_rules", "drop_slots", "put_slots", "put_rejected"])
def test_each_change_of_programs_alone_is_one(name: str) -> None:
    """Else the states that are kept in memory would be those of a program that is gone."""
    assert changes_slots(Batch(**{name: (object(),)}))
    assert not changes_slots(Batch())


def test_a_number_that_is_not_kept_is_zero() -> None:
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE meta(key TEXT PRIMARY KEY, value)")
    write_meta(db, "kept", 7)
    assert (read_number(db, "kept"), read_number(db, "other")) == (7, 0)
