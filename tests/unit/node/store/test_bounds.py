"""What the store takes of its disk, what it drops for its size and its age, and what it then says."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from components.failing_disk import registered_disk
from eyeflow.node.run_key import active
from eyeflow.node.store.audit_bounds import DROP_RECORDS_MIN
from eyeflow.node.store.file import DISK_RESERVE_BYTES, SIZE_BYTES_MIN, STORE_NAME
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import (
    Batch,
    BufferFull,
    Draft,
    OnFull,
    StateRow,
    StorageError,
    Unrecorded,
)
from eyeflow.protocol.audit import ZERO_HASH, verify_chain
from eyeflow.protocol.audit_bodies import GapBody
from eyeflow.protocol.slot import Slot
from unit.node.store.stores import KEY, MB, PROGRAM, Time, batch, draft, limits, numbers_of, open_store, slot


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
        assert frozen.size_bytes_max == limits().size_bytes_max, "nothing was asked of the disk yet"
        assert (frozen.drop_aged(), frozen.size_bytes_max) == (0, SIZE_BYTES_MIN), "it has no room"
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


def test_a_quiet_node_does_not_write_gaps_for_ever(tmp_path: Path) -> None:
    """Each look drops what is too old. The gaps that this leaves grow old, too, one for each look."""
    time, minute_us = Time(), 60_000_000
    store = open_store(tmp_path, limits(age_us=30 * minute_us), time=time)
    for _ in range(60):
        time.us += minute_us
        store.commit(Batch([Draft(time.us, draft(1).body)]))
        store.drop_aged()
    for _ in range(300):
        time.us += minute_us
        store.drop_aged()
    ended = store.head[0]
    for _ in range(300):
        time.us += minute_us
        assert store.drop_aged() == 0, "else the writer asks again at once"
    assert store.head[0] == ended
    report = verify_chain(store.audit_range(1, 10**6), KEY.public_key)
    assert report.holds and report.records < 2 * DROP_RECORDS_MIN
    store.close(clean=True)


@pytest.mark.parametrize(("gaps", "gone"), [(15, 0), (16, 16)])
def test_old_gaps_go_from_sixteen_on(tmp_path: Path, gaps: int, gone: int) -> None:
    """So many leave one; fewer would leave a new gap for each old one."""
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    for _ in range(gaps):
        store.commit(Batch(unrecorded=Unrecorded(1, 5, 9)))
    time.us += 2_000_000
    store.commit(Batch([Draft(time.us, draft(1).body)]))
    assert store.drop_aged() == gone
    store.close(clean=True)


def test_a_record_that_nobody_can_read_does_not_keep_the_old_ones_for_ever(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    store.commit(batch(*range(10)))
    store._file.db.execute("UPDATE audit SET record = x'00' WHERE seq = 1")
    time.us += 1_000_005
    assert (store.drop_aged(), store.depth.first_seq) == (5, 6)
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
    (gap,) = report.lost
    assert gap == GapBody(0, 0, 12, "unrecorded", ZERO_HASH, 5, 9, 12, KEY.public_key), "of no record that there was"
    store.close(clean=True)


def test_a_bound_that_was_lowered_holds_from_the_next_start_on(tmp_path: Path) -> None:
    """SQLite keeps the pages of what was dropped: without a compacted file the disk stays as full as it was."""
    store = open_store(tmp_path, limits(16))
    for number in range(0, 40_000, 500):
        store.commit(batch(*range(number, number + 500), size=300))
    assert on_disk(tmp_path) > 12 * MB
    store.close(clean=True)
    again = open_store(tmp_path, limits(4))
    assert on_disk(tmp_path) <= 4 * MB
    assert again.depth.dropped["size"] == again.depth.first_seq - 1
    fill(again, tmp_path, 3)
    assert on_disk(tmp_path) <= 4 * MB
    assert verify_chain(again.audit_range(1, 10**6), KEY.public_key).holds
    again.close(clean=True)


def test_a_bound_that_was_lowered_drops_nothing_that_is_to_be_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path, limits(16))
    for number in range(0, 20_000, 500):
        store.commit(batch(*range(number, number + 500), size=300))
    records = store.depth.records
    store.close(clean=True)
    again = open_store(tmp_path, limits(4, on_full=OnFull.REJECT_NEW))
    assert again.depth.records == records
    (said,) = caplog.records
    told = "the store stays larger than its bound of 4 MB for now: the node's buffer is full: It may hold"
    assert said.getMessage().startswith(told)
    again.close(clean=True)
