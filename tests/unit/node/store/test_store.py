from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.failing_disk import Disk, registered_disk
from eyeflow.base.dir_lock import DataDirLock
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import FreeBytes, free_bytes_of
from eyeflow.node.run_key import RunKey, active, candidate, previous
from eyeflow.node.store.file import DISK_RESERVE_BYTES, STORE_NAME
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.schema import APPLICATION_ID, MIGRATIONS
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import (
    Batch,
    BufferFull,
    BufferLimits,
    Draft,
    OnFull,
    PendingRow,
    RejectedRow,
    SlotRow,
    Standing,
    StateRow,
    StorageError,
    Unrecorded,
)
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody, GapBody
from eyeflow.protocol.cbor import encode
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.slot import Slot

KEY = Identity(bytes(range(32)))
PROGRAM = bytes(range(32))
MB = 1024 * 1024
FOREVER = 10**18


class Time:
    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000

    def now(self) -> int:
        return self.us


def limits(size_mb: int = 64, age_us: int = FOREVER, on_full: OnFull = OnFull.DROP_OLDEST) -> BufferLimits:
    return BufferLimits(size_mb * MB, age_us, on_full)


def open_store(
    path: Path,
    bounds: BufferLimits | None = None,
    *,
    time: Time | None = None,
    vfs: str | None = None,
    free_bytes: FreeBytes = free_bytes_of,
) -> Store:
    return Store(path, "n1", KEY, bounds or limits(), now_us=(time or Time()).now, vfs=vfs, free_bytes=free_bytes)


def draft(number: int, size: int = 10) -> Draft:
    return Draft(1_700_000_000_000_000 + number, ExecutionBody("r", PROGRAM, 0, number, 0, 9, inputs=("x" * size,)))


def batch(*numbers: int, size: int = 10) -> Batch:
    return Batch([draft(number, size) for number in numbers])


def numbers_of(records: list[bytes]) -> list[int]:
    bodies = [decode_record(record).body for record in records]
    return [body.event_time_us for body in bodies if isinstance(body, ExecutionBody)]


def slot(rule: str, place: Slot, params: dict[str, bool | int | float | str] | None = None) -> SlotRow:
    return SlotRow(RunKey(rule, place), PROGRAM, b"program", params or {}, "d1", 3, 17)


# --- what is kept ------------------------------------------------------------------------------------------------


def test_everything_comes_back_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    params: dict[str, bool | int | float | str] = {"limit": 80.0, "on": True, "n": -3, "t": "é"}
    store.commit(
        Batch(
            [draft(1), draft(2)],
            [StateRow(active("r"), PROGRAM, b"\x00\xff")],
            [PendingRow(1, 0, active("r"), PROGRAM, 4, (1, 1.5, "x", True))],
            put_slots=[slot("r", Slot.ACTIVE, params), slot("r", Slot.PREVIOUS), slot("other", Slot.ACTIVE)],
            put_meta=[("cluster", b"keys")],
        )
    )
    head = store.head
    store.close(clean=True)
    again = open_store(tmp_path)
    found = again.restore()
    assert again.head == head and again.head[0] == 2
    assert found.clean
    assert {row.key for row in found.slots} == {active("r"), previous("r"), active("other")}
    runs = next(row for row in found.slots if row.key == active("r"))
    assert runs == slot("r", Slot.ACTIVE, params)
    assert [type(value) for value in runs.params.values()] == [float, int, bool, str]
    assert found.states == {active("r"): StateRow(active("r"), PROGRAM, b"\x00\xff")}
    assert found.pending == (PendingRow(2, 0, active("r"), PROGRAM, 4, (1, 1.5, "x", True)),), "the draft became seq 2"
    assert found.kept == {"cluster": b"keys"}
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


OURS = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = "


@pytest.mark.parametrize(
    "script",
    ["CREATE TABLE t (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 3; CREATE TABLE t (x)", f"{OURS}99"],
)
def test_a_file_of_others_is_refused_and_stays_as_it_is(tmp_path: Path, script: str) -> None:
    path = tmp_path / STORE_NAME
    db = apsw.Connection(str(path))
    db.execute(script)
    db.close()
    path.chmod(0o644)
    before = path.read_bytes()
    for opened in (open_store, AuditReader):
        with pytest.raises(EyeflowError) as error:
            opened(tmp_path)
        assert error.value.code == ("store_version" if "99" in script else "store_foreign")
        assert str(path) in error.value.message
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (before, 0o644)


@pytest.mark.parametrize("version", [1, len(MIGRATIONS)])  # one that is brought forward, one that is read as it is
def test_a_store_without_its_tables_is_damaged_and_the_disk_is_not_to_blame(tmp_path: Path, version: int) -> None:
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute(f"{OURS}{version}; CREATE TABLE t (x)")
    db.close()
    with pytest.raises(EyeflowError) as error:
        open_store(tmp_path)
    assert error.value.code == "store_damaged" and "its tables are not those" in error.value.cause
    with AuditReader(tmp_path) as reader, pytest.raises(EyeflowError) as error:
        list(reader.records())
    assert error.value.code == "store_damaged" and "restore node.db from a backup" in error.value.next_step


def test_an_empty_file_becomes_a_store_and_has_no_audit_before(tmp_path: Path) -> None:
    (tmp_path / STORE_NAME).touch()
    with pytest.raises(EyeflowError, match="is empty"):
        AuditReader(tmp_path)
    open_store(tmp_path).close(clean=True)
    AuditReader(tmp_path).close()


def test_actions_that_an_older_store_left_are_still_pending(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute(MIGRATIONS[0])
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
    db.execute("INSERT INTO pending VALUES (7, 0, 'r', ?, 4, ?)", (PROGRAM, encode([1, "x"])))
    db.close()
    store = open_store(tmp_path)
    assert store.restore().pending == (PendingRow(7, 0, active("r"), PROGRAM, 4, (1, "x"), time_us=0, hops=1),)
    store.close(clean=True)


def test_programs_and_state_of_an_older_store_keep_their_slots(tmp_path: Path) -> None:
    """Version 3 kept one state for each rule, and the program's bytes in each slot."""
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    for migration in MIGRATIONS[:3]:
        db.execute(migration)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 3")
    old, waiting, params = b"o" * 32, b"w" * 32, encode([["limit", 2.5]])
    for place, program_id in (("active", PROGRAM), ("previous", old)):
        row = ("r", place, program_id, b"bytes of " + place.encode(), params, "d1", 3, 17)
        db.execute("INSERT INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.execute("INSERT INTO state VALUES ('r', ?, x'00ff')", (PROGRAM,))
    db.execute("INSERT INTO kept_programs VALUES (?, x'77')", (waiting,))
    db.execute("INSERT INTO pending VALUES (7, 0, 'r', ?, 4, ?, 5, 2)", (waiting, encode([1])))
    db.close()
    with AuditReader(tmp_path) as reader:
        assert reader.program(PROGRAM) == b"bytes of active", "the audit is read before a node brings the store forward"
    store = open_store(tmp_path)
    found = store.restore()
    kept = SlotRow(previous("r"), old, b"bytes of previous", {"limit": 2.5}, "d1", 3, 17, standing=Standing.PASSED)
    assert found.slots == (replace(kept, key=active("r"), program_id=PROGRAM, program=b"bytes of active"), kept)
    assert found.states == {active("r"): StateRow(active("r"), PROGRAM, b"\x00\xff")}
    assert found.pending == (PendingRow(7, 0, active("r"), waiting, 4, (1,), time_us=5, hops=2),)
    assert found.pending_programs == {waiting: b"w"} and found.rejected == {}
    store.close(clean=True)


def test_slots_of_an_older_store_know_the_one_deployment_that_they_name(tmp_path: Path) -> None:
    """Version 4 did not keep which deployments wanted a program before the newest one."""
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    for migration in MIGRATIONS[:4]:
        db.execute(migration)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 4")
    db.execute("INSERT INTO programs VALUES (?, x'77')", (PROGRAM,))
    row = ("r", "active", PROGRAM, encode([]), "d1", 3, 17, "passed", "perform")
    db.execute("INSERT INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.execute("INSERT INTO rejected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, b"memory", "it trapped", 99))
    db.close()
    store = open_store(tmp_path)
    kept = SlotRow(active("r"), PROGRAM, b"w", {}, "d1", 3, 17, standing=Standing.PASSED)
    assert store.restore().slots == (kept,) and kept.deployments == ("d1",)
    assert store.restore().rejected == {"r": RejectedRow(kept, b"memory", "it trapped", 99)}
    again = replace(kept, deployment="d2", wanted_before=("d1",))
    store.commit(Batch(put_slots=[again], put_rejected=[RejectedRow(again, b"", "", 100)]))
    assert store.restore().slots == (again,) and store.restore().rejected["r"].row == again
    store.close(clean=True)


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


# --- bounds ------------------------------------------------------------------------------------------------------


def on_disk(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


@pytest.mark.parametrize("size", [60, 3000])
def test_the_files_never_outgrow_the_bound(tmp_path: Path, size: int) -> None:
    bounds = limits(4)
    store, largest, number = open_store(tmp_path, bounds), 0, 0
    while store.counters.gaps < 4:
        store.commit(batch(*range(number, number + 50), size=size))
        number += 50
        largest = max(largest, on_disk(tmp_path))
    assert largest <= bounds.size_bytes_max
    records = store.audit_range(1, 10**6)
    report = verify_chain(records, KEY.public_key)
    kept = numbers_of(records)
    store.close(clean=True)
    assert report.holds and report.first_seq > 1
    assert kept == list(range(kept[0], number)), "the oldest go, the others stay"
    lost = report.lost[-1].lost_total
    gaps_lost = store.counters.gaps - len(report.lost)
    assert lost + report.records == report.last_seq and gaps_lost >= 0
    assert all(one.reason == "size" for one in report.lost)


def test_a_reader_does_not_let_the_log_grow_without_bound(tmp_path: Path) -> None:
    bounds = limits(4)
    store = open_store(tmp_path, bounds)
    store.commit(batch(0))
    reader = apsw.Connection(str(tmp_path / "node.db"), flags=apsw.SQLITE_OPEN_READONLY)
    cursor = reader.execute("SELECT seq FROM audit")
    next(cursor)
    with pytest.raises(StorageError):
        for number in range(1, 10_000):
            store.commit(batch(number, size=3000))
            assert on_disk(tmp_path) <= bounds.size_bytes_max
    cursor.close()
    reader.close()
    store.recover()
    store.commit(batch(10_001))
    assert verify_chain(store.audit_range(1, 10**6), KEY.public_key).holds
    store.close(clean=True)


def fill(store: Store, path: Path, gaps: int) -> int:
    """Commit until so many ranges were dropped; return the most that the files took."""
    largest_bytes, number = 0, 0
    while store.counters.gaps < gaps:
        store.commit(batch(*range(number, number + 50), size=300))
        number += 50
        largest_bytes = max(largest_bytes, on_disk(path))
    return largest_bytes


def test_a_store_never_outgrows_a_disk_that_is_smaller_than_its_bound(tmp_path: Path) -> None:
    with registered_disk("small") as disk:
        disk.capacity_bytes = 8 * MB
        store = open_store(tmp_path, limits(512), vfs=disk.name, free_bytes=disk.free_bytes)
        assert store.size_bytes_max <= 8 * MB - DISK_RESERVE_BYTES
        assert fill(store, tmp_path, 3) <= 8 * MB - DISK_RESERVE_BYTES
        assert disk.free_bytes(tmp_path) >= DISK_RESERVE_BYTES // 2
        store.close(clean=False)
        again = open_store(tmp_path, limits(512), vfs=disk.name, free_bytes=disk.free_bytes)
        fill(again, tmp_path, 2)
        assert verify_chain(again.audit_range(1, 10**6), KEY.public_key).holds
        again.close(clean=True)


def test_control_a_bound_that_does_not_ask_the_disk_fills_it(tmp_path: Path) -> None:
    with registered_disk("small-control") as disk:
        disk.capacity_bytes = 8 * MB
        store = open_store(tmp_path, limits(512), vfs=disk.name, free_bytes=lambda _: 10**12)
        with pytest.raises(StorageError, match="full"):
            fill(store, tmp_path, 3)
        disk.capacity_bytes = 64 * MB
        store.close(clean=True)


def test_the_bound_follows_what_others_take_of_the_disk_and_give_back(tmp_path: Path) -> None:
    with registered_disk("shared") as disk:
        disk.capacity_bytes = 64 * MB
        store = open_store(tmp_path, limits(512), vfs=disk.name, free_bytes=disk.free_bytes)
        store.commit(batch(*range(5000), size=300))
        disk.foreign_bytes = 64 * MB - on_disk(tmp_path) - 3 * MB
        assert fill(store, tmp_path, 2) < 64 * MB - disk.foreign_bytes - DISK_RESERVE_BYTES // 2
        disk.foreign_bytes = 0
        store.drop_aged()
        assert store.size_bytes_max > 32 * MB
        store.close(clean=True)


@pytest.mark.parametrize("policy", [OnFull.REJECT_NEW, OnFull.BLOCK])
def test_on_a_full_disk_the_other_policies_drop_nothing(tmp_path: Path, policy: OnFull) -> None:
    with registered_disk(f"shared-{policy.value}") as disk:
        disk.capacity_bytes = 8 * MB
        store = open_store(tmp_path, limits(512, on_full=policy), vfs=disk.name, free_bytes=disk.free_bytes)
        with pytest.raises(BufferFull, match="full") as full:
            fill(store, tmp_path, 1)
        assert "Free space" in full.value.next_step, "a larger setting would not help"
        assert store.counters.dropped_records == 0
        store.close(clean=True)


def test_the_index_of_the_log_has_all_its_blocks(tmp_path: Path) -> None:
    """Where the disk fills up, a hole in a file that is mapped ends the process with SIGBUS."""
    store = open_store(tmp_path, limits(512))
    index = (tmp_path / "node.db-shm").stat()
    assert index.st_size == 3 * 32 * 1024, "for the longest log"
    assert index.st_blocks * 512 >= index.st_size
    store.close(clean=True)


@pytest.mark.parametrize("clean", [True, False])
def test_a_store_opens_on_a_disk_that_cannot_be_written(tmp_path: Path, clean: bool) -> None:
    """With a log beside it (after a crash) and without one."""
    with registered_disk(f"frozen-{clean}") as disk:
        store = open_store(tmp_path, vfs=disk.name, free_bytes=disk.free_bytes)
        store.commit(Batch([draft(1)], [StateRow(active("r"), PROGRAM, b"x")], put_slots=[slot("r", Slot.ACTIVE)]))
        files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        head = store.head
        store.close(clean=True)
        if not clean:
            for name, data in files.items():
                (tmp_path / name).write_bytes(data)
        disk.full = True
        frozen = open_store(tmp_path, vfs=disk.name, free_bytes=disk.free_bytes)
        assert frozen.trouble is not None and frozen.trouble.full
        found = frozen.restore()
        assert (found.clean, [row.key.rule for row in found.slots], frozen.head) == (clean, ["r"], head)
        with pytest.raises(StorageError, match="full"):
            frozen.recover()
        disk.full = False
        frozen.recover()
        assert frozen.trouble is None and frozen.commit(batch(2)).first_seq == 2
        frozen.close(clean=True)


def test_a_new_store_on_a_full_disk_is_refused(tmp_path: Path) -> None:
    with registered_disk("full-new") as disk:
        disk.full = True
        with pytest.raises(StorageError, match="full"):
            open_store(tmp_path, vfs=disk.name, free_bytes=disk.free_bytes)


def test_damage_at_run_time_is_named(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in range(0, 500, 50):
        store.commit(batch(*range(number, number + 50), size=200))
    store.recover()
    path = tmp_path / "node.db"
    path.write_bytes(b"\xff" * path.stat().st_size)
    for attempt in (store.recover, store.recover, lambda: store.commit(batch(1))):
        with pytest.raises(StorageError) as failed:
            attempt()
        if attempt == store.recover:
            assert failed.value.code == "store_damaged" and "audit verify" in failed.value.next_step


@pytest.mark.parametrize("policy", [OnFull.REJECT_NEW, OnFull.BLOCK])
def test_other_policies_keep_the_old_records(tmp_path: Path, policy: OnFull) -> None:
    store, number = open_store(tmp_path, limits(4, on_full=policy)), 0
    with pytest.raises(BufferFull):
        while True:
            store.commit(batch(*range(number, number + 20), size=1000))
            number += 20
    assert numbers_of(store.audit_range(1, 10**6)) == list(range(number))
    store.close(clean=True)


def test_old_records_are_dropped_by_age(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    store.commit(batch(*range(100)))
    assert store.drop_aged() == 0
    time.us += 1_000_050
    assert store.drop_aged() == 50
    assert store.drop_aged() == 0
    report = verify_chain(store.audit_range(1, 1000), KEY.public_key)
    assert report.holds and report.first_seq == 51
    assert report.lost == (
        GapBody(1, 50, 50, "age", report.lost[0].last_hash, draft(0).time_us, draft(49).time_us, 50, KEY.public_key),
    )
    time.us += 10_000_000
    store.drop_aged()
    assert len(store.audit_range(1, 1000)) <= 2, "the last record always stays: the chain hangs on it"
    assert verify_chain(store.audit_range(1, 1000), KEY.public_key).holds
    store.close(clean=True)


def test_records_around_a_clock_that_was_set_back_go_as_one_range(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    hour_us = 3_600_000_000
    store.commit(Batch([draft(hour_us), draft(0), draft(10), draft(2_000_000)]))
    time.us += 1_500_000
    assert store.drop_aged() == 3
    report = verify_chain(store.audit_range(1, 10), KEY.public_key)
    assert report.holds
    (gap,) = report.lost
    assert (gap.since_us, gap.until_us) == (draft(0).time_us, draft(hour_us).time_us), "they bound the lost records"
    assert store.drop_aged() == 0
    store.close(clean=True)


def test_a_known_step_of_the_clock_is_no_age(tmp_path: Path) -> None:
    """Also after a restart while the clock is still ahead; what comes after the step ages, and takes the rest along."""
    time, day_us = Time(), 86_400_000_000
    bounds = limits(age_us=3 * day_us)
    store = open_store(tmp_path, bounds, time=time)
    store.commit(batch(*range(10)))
    time.us += 100 * day_us
    store.clock_was_set(100 * day_us)
    assert store.drop_aged() == 0
    store.commit(Batch([Draft(time.us, draft(11).body)]))
    store.close(clean=True)
    store = open_store(tmp_path, bounds, time=time)
    assert store.drop_aged() == 0
    time.us += 3 * day_us + 1
    store.commit(Batch([Draft(time.us, draft(12).body)]))
    assert store.drop_aged() == 11
    assert verify_chain(store.audit_range(1, 100), KEY.public_key).holds
    store.close(clean=True)


def test_control_a_step_that_is_not_known_is_taken_for_age(tmp_path: Path) -> None:
    time, day_us = Time(), 86_400_000_000
    store = open_store(tmp_path, limits(age_us=3 * day_us), time=time)
    store.commit(batch(*range(10)))
    time.us += 100 * day_us
    assert store.drop_aged() == 9
    store.close(clean=True)


def test_a_step_of_the_clock_that_the_disk_refused_to_note_is_no_age_either(tmp_path: Path) -> None:
    time, day_us = Time(), 86_400_000_000
    with registered_disk("steps") as disk:
        store = open_store(tmp_path, limits(age_us=3 * day_us), time=time, vfs=disk.name)
        store.commit(batch(*range(10)))
        time.us += 100 * day_us
        disk.write_errors = True
        with pytest.raises(StorageError):
            store.clock_was_set(100 * day_us)
        disk.write_errors = False
        store.recover()
        assert store.drop_aged() == 0
        store.close(clean=True)


def test_small_steps_do_not_put_off_the_age_bound_for_ever(tmp_path: Path) -> None:
    time, hour_us = Time(), 3_600_000_000
    store = open_store(tmp_path, limits(age_us=72 * hour_us), time=time)
    for _ in range(80):
        store.commit(Batch([Draft(time.us, draft(1).body)]))
        time.us += hour_us
        store.clock_was_set(1_500_000)
    assert store.drop_aged() > 0
    for _ in range(40):
        store.clock_was_set(hour_us // 4)
        time.us += hour_us // 4
    assert store.drop_aged() == 0, "many of them are a step as well"
    store.close(clean=True)


@pytest.mark.parametrize(
    ("alter", "later_us"),
    [
        ("UPDATE audit SET time_us = 0 WHERE seq < 90", 0),
        (
            "UPDATE audit SET (time_us, record) = (SELECT time_us, record FROM audit WHERE seq = 88) WHERE seq = 89",
            1_000_089,
        ),
        ("UPDATE audit SET record = zeroblob(9) WHERE seq = 89", 1_000_089),
        ("SELECT 1", 1_000_089),
    ],
)
def test_a_node_does_not_drop_what_somebody_altered(
    tmp_path: Path, alter: str, later_us: int, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    store.commit(batch(*range(100)))
    store.close(clean=True)
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute(alter)
    db.close()
    time.us += later_us
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    if alter == "SELECT 1":  # the control: of what is whole, the same range goes
        assert store.drop_aged() == 89 and not caplog.records
    else:
        assert (store.drop_aged(), store.drop_aged(), store.altered_seq) == (0, 0, 89)
        assert [one.getMessage()[:15] for one in caplog.records] == ["audit record 89"], "said once"
    store.close(clean=True)


def test_executions_that_went_unrecorded_become_a_gap(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(Batch([draft(1)], unrecorded=Unrecorded(12, 5, 9)))
    report = verify_chain(store.audit_range(1, 10), KEY.public_key)
    assert report.holds
    assert [(g.count, g.reason, g.since_us, g.until_us, g.lost_total) for g in report.lost] == [
        (12, "unrecorded", 5, 9, 12)
    ]
    store.close(clean=True)


# --- a disk that fails -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", ["full", "write_errors", "sync_errors"])
def test_a_failing_disk_takes_nothing_and_comes_back(tmp_path: Path, switch: str) -> None:
    with registered_disk(f"disk-{switch}") as disk:
        store = open_store(tmp_path, vfs=disk.name)
        store.commit(batch(1))
        setattr(disk, switch, True)
        refused = batch(2)
        with pytest.raises(StorageError) as error:
            store.commit(refused)
        assert error.value.full == (switch == "full") and error.value.next_step
        with pytest.raises(StorageError):
            store.recover()
            store.commit(refused)
        setattr(disk, switch, False)
        if not store.recover():
            store.commit(refused)
        store.commit(batch(3))
        records = store.audit_range(1, 10)
        store.close(clean=True)
    assert numbers_of(records) == [1, 2, 3]
    assert verify_chain(records, KEY.public_key).holds


def test_recover_tells_whether_the_batch_was_written_after_all(tmp_path: Path) -> None:
    """The commit frame reaches the log, then its fsync fails: only reading the file again can tell."""
    with registered_disk("disk-doubt") as disk:
        store = open_store(tmp_path, vfs=disk.name)
        store.commit(batch(1))
        disk.sync_errors = True
        with pytest.raises(StorageError):
            store.commit(batch(2))
        with pytest.raises(StorageError):
            store.recover()
        disk.sync_errors = False
        assert store.recover(), "SQLite wrote the frame before the fsync failed"
        assert numbers_of(store.audit_range(1, 10)) == [1, 2]
        disk.write_errors = True
        with pytest.raises(StorageError):
            store.commit(batch(3))
        disk.write_errors = False
        assert not store.recover()
        assert numbers_of(store.audit_range(1, 10)) == [1, 2]
        store.close(clean=True)


def acknowledged_after_power_cut(
    path: Path, disk: Disk, image: Path, *, synchronous: str
) -> tuple[list[int], list[int]]:
    """Commit 20 batches, cut the power, return the numbers acknowledged and the numbers found."""
    store = open_store(path, vfs=disk.name)
    store._file.db.pragma("synchronous", synchronous)
    for number in range(20):
        store.commit(batch(number))
    left = image.parent / "left"
    left.mkdir()
    for file in image.iterdir():
        (left / file.name).write_bytes(file.read_bytes())
    store.close(clean=True)
    after = open_store(left)
    found = numbers_of(after.audit_range(1, 100))
    after.close(clean=True)
    return list(range(20)), found


def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "data").mkdir()
    with registered_disk("disk-power", tmp_path / "image") as disk:
        acknowledged, found = acknowledged_after_power_cut(
            tmp_path / "data", disk, tmp_path / "image", synchronous="FULL"
        )
    assert found == acknowledged


def test_control_without_full_synchronisation_a_power_cut_loses_records(tmp_path: Path) -> None:
    """The check above must be able to fail: with synchronous=NORMAL it does."""
    (tmp_path / "image").mkdir()
    (tmp_path / "data").mkdir()
    with registered_disk("disk-control", tmp_path / "image") as disk:
        acknowledged, found = acknowledged_after_power_cut(
            tmp_path / "data", disk, tmp_path / "image", synchronous="NORMAL"
        )
    assert len(found) < len(acknowledged)


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
