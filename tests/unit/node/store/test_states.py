"""The states of all rules are asked for each second: what is in memory of them is what the file has."""

from __future__ import annotations

from pathlib import Path
from random import Random

import apsw
import pytest

from eyeflow.node.run_key import RunKey, active
from eyeflow.node.store import reads
from eyeflow.node.store.programs import read_states
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, StateRow, StorageError
from eyeflow.protocol.slot import Slot
from unit.node.store.stores import PROGRAM, batch, open_store, slot

RULES, BATCHES = 6, 200


def some_batch(rng: Random, number: int) -> Batch:
    """A batch as the engine or the installer writes it: new states, a program that comes, a slot or a rule that goes."""
    rule, where = f"r{rng.randrange(RULES)}", rng.choice(list(Slot))
    key, way = RunKey(rule, where), rng.random()
    if way < 0.1:
        return Batch(drop_rules=[rule])
    if way < 0.2:
        return Batch(drop_slots=[key])
    states = [StateRow(key, PROGRAM, b"%d" % number)]
    return Batch(states=states, put_slots=[slot(rule, where)] if way < 0.4 else [])


def wrong(store: Store) -> bool:
    return {row.key: row for row in store.states()} != read_states(store._file.db)


def walk(path: Path) -> bool:
    """Write batches, with a file that is opened anew now and then; return whether the states were ever others."""
    store, rng, found = open_store(path), Random(5), False
    for number in range(BATCHES):
        store.commit(some_batch(rng, number))
        if rng.random() < 0.05:
            store.recover()
        found |= wrong(store)
    store.close(clean=True)
    return found


def test_whatever_is_written_the_states_are_those_of_the_file(tmp_path: Path) -> None:
    assert not walk(tmp_path)


def test_control_states_that_outlive_their_slot_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "changes_slots", lambda batch: False)
    assert walk(tmp_path)


@pytest.mark.parametrize(
    ("fails_in", "left"), [("store.write_pending", b"old"), ("audit_log.AuditLog.were_written", b"new")]
)
def test_after_a_failure_they_are_what_the_file_then_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_in: str, left: bytes
) -> None:
    """A commit that failed may be in the file after all."""
    store = open_store(tmp_path)
    store.commit(Batch(states=[StateRow(active("r"), PROGRAM, b"old")]))
    assert [one.state for one in store.states()] == [b"old"]

    def fails(*args: object) -> None:
        raise OSError(5, "the disk fails")

    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(f"eyeflow.node.store.{fails_in}", fails)
        store.commit(Batch(states=[StateRow(active("r"), PROGRAM, b"new")]))
    store.recover()
    assert [one.state for one in store.states()] == [left] and not wrong(store)
    store.close(clean=True)


def test_rows_that_did_not_change_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, looks = open_store(tmp_path), 0

    def counted(db: apsw.Connection) -> dict[RunKey, StateRow]:
        nonlocal looks
        looks += 1
        return read_states(db)

    monkeypatch.setattr(reads, "read_states", counted)
    for number in range(10):
        store.commit(batch(number))
        store.commit(Batch(states=[StateRow(active("r"), PROGRAM, b"%d" % number)]))
        assert [one.state for one in store.states()] == [b"%d" % number]
    store.close(clean=True)
    assert looks == 1
