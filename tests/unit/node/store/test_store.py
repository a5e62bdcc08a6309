"""What the store keeps: programs, state, records and actions, over stops, crashes and readers beside it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.failing_disk import registered_disk
from eyeflow.base.dir_lock import DataDirLock
from eyeflow.base.errors import EyeflowError
from eyeflow.node.run_key import active, candidate, previous
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import (
    Batch,
    PendingRow,
    RejectedRow,
    StateRow,
    StorageError,
)
from eyeflow.node.streams import Mark, Progress, Ran
from eyeflow.protocol.audit import verify_chain
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.slot import Slot
from unit.node.store.stores import KEY, PROGRAM, Time, batch, draft, limits, numbers_of, open_store, slot

# --- what is kept ------------------------------------------------------------------------------------------------


def test_everything_comes_back_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    params: dict[str, bool | int | float | str] = {"limit": 80.0, "on": True, "n": -3, "t": "é"}
    progress = Progress({"topic/0": 7}, (Ran(Mark("topic/0", 8), active("r")),))
    store.commit(
        Batch(
            [draft(1), draft(2)],
            [StateRow(active("r"), PROGRAM, b"\x00\xff")],
            [PendingRow(1, 0, active("r"), PROGRAM, 4, (1, 1.5, "x", True))],
            put_slots=[slot("r", Slot.ACTIVE, params), slot("r", Slot.PREVIOUS), slot("other", Slot.ACTIVE)],
            put_meta=[("cluster", b"keys")],
            progress=progress,
        )
    )
    head = store.head
    store.close(clean=True)
    again = open_store(tmp_path)
    found = again.restore()
    assert again.head == head and again.head[0] == 2
    assert again.depth.used_bytes > 0, "also before its first commit"
    assert found.clean
    assert {row.key for row in found.slots} == {active("r"), previous("r"), active("other")}
    runs = next(row for row in found.slots if row.key == active("r"))
    assert runs == slot("r", Slot.ACTIVE, params)
    assert [type(value) for value in runs.params.values()] == [float, int, bool, str]
    assert found.states == {active("r"): StateRow(active("r"), PROGRAM, b"\x00\xff")}
    assert found.pending == (PendingRow(2, 0, active("r"), PROGRAM, 4, (1, 1.5, "x", True)),), "the draft became seq 2"
    assert found.kept == {"cluster": b"keys"}
    assert found.progress == progress
    again.commit(Batch(finished=[(2, 0)], drop_rules=["r"], drop_slots=[active("other")]))
    left = again.restore()
    assert (left.slots, left.states, left.pending) == ((), {}, ())
    again.close(clean=True)


def test_an_unclean_end_is_seen(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.restore().clean, "a new store has nothing to clean up"
    store.commit(batch(1))
    store.close(clean=False)
    store = open_store(tmp_path)
    assert not store.restore().clean
    store.close(clean=True)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 30), st.just("reopen")), max_size=12))
def test_the_chain_goes_on_over_any_restarts(tmp_path_factory: pytest.TempPathFactory, steps: list[int | str]) -> None:
    path = tmp_path_factory.mktemp("store")
    store, total = open_store(path), 0
    epoch = store.epoch
    for step in steps:
        if isinstance(step, str):
            store.close(clean=True)
            store = open_store(path)
        else:
            committed = store.commit(batch(*range(total, total + step)))
            assert committed.first_seq == total + 1
            total += step
    records = store.audit_range(1, 10**6)
    store.close(clean=True)
    assert store.epoch == epoch
    assert numbers_of(records) == list(range(total))
    assert not records or verify_chain(records, KEY.public_key).holds


# --- who may open it ---------------------------------------------------------------------------------------------


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path, "node")
    with pytest.raises(EyeflowError, match="another node already runs") as refused:
        DataDirLock(tmp_path, "node")
    assert refused.value.code == "data_dir_in_use" and "Process" in refused.value.cause
    lock.release()
    DataDirLock(tmp_path, "node").release()


def test_the_store_of_another_node_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close(clean=True)
    for name, key in (("n2", KEY), ("n1", Identity(bytes(32)))):
        with pytest.raises(EyeflowError, match="belongs to another node"):
            Store(tmp_path, name, key, limits())


def test_a_newer_a_foreign_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close(clean=True)
    path = tmp_path / "node.db"
    db = apsw.Connection(str(path))
    db.pragma("user_version", 99)
    db.close()
    with pytest.raises(EyeflowError, match="schema version 99"):
        open_store(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    db = apsw.Connection(str(foreign / "node.db"))
    db.execute("PRAGMA user_version = 1; CREATE TABLE t (x)")
    db.close()
    with pytest.raises(EyeflowError, match="not the store of a node"):
        open_store(foreign)
    path.write_bytes(b"this is no database at all, by far" * 100)
    with pytest.raises(EyeflowError, match="damaged"):
        open_store(tmp_path)
    with pytest.raises(EyeflowError, match="damaged"):
        AuditReader(tmp_path)


def test_each_slot_has_its_own_program_and_state(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    rows = [replace(slot("r", place), program_id=bytes([n]) * 32) for n, place in enumerate(Slot)]
    states = [StateRow(row.key, row.program_id, row.program_id[:4]) for row in rows]
    store.commit(Batch(put_slots=rows, states=states))
    assert store.restore().states == {state.key: state for state in states}
    store.commit(Batch(drop_slots=[candidate("r")], states=[StateRow(active("r"), rows[0].program_id, b"new")]))
    found = store.restore()
    assert {row.key for row in found.slots} == {active("r"), previous("r")}
    assert {key: state.state for key, state in found.states.items()} == {active("r"): b"new", previous("r"): b"\2" * 4}
    store.close(clean=True)


def test_a_program_is_kept_for_as_long_as_something_needs_it(tmp_path: Path) -> None:
    """By a slot, by the post-mortem, or by an action that waits; then its bytes go."""
    store = open_store(tmp_path)
    in_slot, bad, waits = (replace(slot(name, Slot.ACTIVE), program_id=name.encode() * 32) for name in "sbw")
    action = PendingRow(0, 0, waits.key, waits.program_id, 4, ())
    store.commit(Batch([draft(1)], pending=[action], put_slots=[in_slot, bad, waits]))
    post_mortem = RejectedRow(bad, b"memory", "it trapped", 99)
    store.commit(Batch(drop_slots=[bad.key, waits.key], put_rejected=[post_mortem]))
    assert store.restore().rejected == {"b": post_mortem}
    with AuditReader(tmp_path) as reader:
        assert all(reader.program(row.program_id) == b"program" for row in (in_slot, bad, waits))
    assert store.restore().pending_programs == {waits.program_id: b"program"}
    store.commit(Batch(finished=[(1, 0)], drop_rules=["b"]))
    with AuditReader(tmp_path) as reader:
        assert [reader.program(row.program_id) for row in (in_slot, bad, waits)] == [b"program", None, None]
    assert store.restore().rejected == {}
    store.close(clean=True)


def test_damage_inside_the_file_and_a_full_disk_at_the_start_are_said(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(batch(*range(500), size=200))
    store.close(clean=True)
    path = tmp_path / "node.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(EyeflowError, match="damaged"):
        open_store(tmp_path).restore()
    path.write_bytes(whole)
    with registered_disk("full-at-start") as disk:
        again = open_store(tmp_path, vfs=disk.name)
        disk.full = True
        assert again.restore().clean, "what is there can be read"
        with pytest.raises(StorageError, match="full"):
            again.commit(batch(500))
        disk.full = False
        again.recover()
        again.commit(batch(500))
        again.close(clean=True)


def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(batch(1))
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())
    store.close(clean=True)


# --- reading -----------------------------------------------------------------------------------------------------


def test_the_audit_can_be_read_beside_a_running_node_and_after_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(batch(*range(1200)))
    with AuditReader(tmp_path) as reader:
        assert reader.range == (1, 1200) and reader.public_key == KEY.public_key
        records = reader.records()
        first = next(records)
        store.commit(batch(1200))
        assert numbers_of([first, *records]) == list(range(1200)), "up to what was there at the start"
        assert numbers_of(list(reader.records(1190, 1195))) == list(range(1189, 1195))
        assert list(reader.records(5000)) == []
    store.close(clean=True)
    with AuditReader(tmp_path) as reader:
        assert verify_chain(reader.records(), reader.public_key).holds
    with pytest.raises(EyeflowError, match="no node's store"):
        AuditReader(tmp_path / "nowhere")


def test_records_dropped_under_a_reader_are_an_error_not_a_broken_chain(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    store.commit(batch(*range(3000)))
    with AuditReader(tmp_path) as reader:
        records = reader.records()
        next(records)
        time.us += 1_002_500
        while store.drop_aged():
            pass
        with pytest.raises(EyeflowError, match="dropped audit record"):
            list(records)
    store.close(clean=True)


SHM_LOCK_BYTE = 128
"""SQLite holds it shared while a connection uses the log's index (os_unix.c, `UNIX_SHM_DMS`)."""
TAKE_LOCK = f"""
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, {SHM_LOCK_BYTE})
"""


def others_may_truncate_the_index(directory: Path) -> bool:
    command = [sys.executable, "-c", TAKE_LOCK, str(directory / "node.db-shm")]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_the_node_keeps_its_lock_on_the_index_of_the_log(tmp_path: Path) -> None:
    """Else a reader of the audit truncates the index, and the node ends with SIGBUS at its next commit."""
    store = open_store(tmp_path)
    store.commit(batch(1))
    assert not others_may_truncate_the_index(tmp_path)
    store.recover()
    assert not others_may_truncate_the_index(tmp_path), "opened anew, it holds it again"
    (tmp_path / "node.db-shm").open("rb").close()
    assert others_may_truncate_the_index(tmp_path), "the control: any close in the process drops the lock"
    store.close(clean=True)
