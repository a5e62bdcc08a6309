"""How much room the store keeps free, and how much it drops at once to have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from eyeflow.node.store.audit_bounds import RESERVE_BYTES
from eyeflow.node.store.file import StoreFile
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, BufferFull, Committed, OnFull, StorageError
from eyeflow.protocol.audit import record_hash
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.slot import Slot
from unit.node.store.stores import MB, batch, limits, open_store, slot


def has_room(monkeypatch: pytest.MonkeyPatch, *rooms_bytes: int) -> None:
    """Let the file say that it has so much room, one after the other; the last one stays."""
    left = list(rooms_bytes)
    monkeypatch.setattr(StoreFile, "room_bytes", property(lambda _: left.pop(0) if len(left) > 1 else left[0]))


@pytest.mark.parametrize(("more_bytes", "is_taken"), [(0, False), (1, True)])
def test_a_program_needs_twice_its_size_and_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more_bytes: int, is_taken: bool
) -> None:
    rows = [replace(slot(rule, Slot.ACTIVE), program=bytes(size)) for rule, size in (("a", 1000), ("b", 5))]
    store = open_store(tmp_path, limits(on_full=OnFull.REJECT_NEW))
    has_room(monkeypatch, RESERVE_BYTES + 2 * 1000 + 8192 + 2 * 5 + 8192 + more_bytes)
    if is_taken:
        assert store.commit(Batch(put_slots=rows)) == Committed(1)
    else:
        with pytest.raises(BufferFull):
            store.commit(Batch(put_slots=rows))
    store.close(clean=True)


def test_shares_are_dropped_until_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    store.commit(batch(*range(100)))
    has_room(monkeypatch, RESERVE_BYTES, RESERVE_BYTES, RESERVE_BYTES, RESERVE_BYTES + 1)
    store.commit(batch(100))
    assert (store.counters.gaps, store.counters.dropped_records) == (3, 48)
    store.close(clean=True)


@pytest.mark.parametrize(("records", "share"), [(1, 16), (271, 16), (272, 17), (335, 20), (336, 21)])
def test_a_share_is_a_sixteenth_of_the_records_and_at_least_sixteen(tmp_path: Path, records: int, share: int) -> None:
    store = open_store(tmp_path)
    store.commit(batch(*range(records)))
    assert store._bounds.share() == share
    store.close(clean=True)


def test_a_file_within_its_bound_is_not_looked_at_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path).close(clean=True)
    compacted = counted_compacts(monkeypatch)
    open_store(tmp_path).close(clean=True)
    assert not compacted


def counted_compacts(monkeypatch: pytest.MonkeyPatch, fails: apsw.Error | None = None) -> list[StoreFile]:
    """Count how often a file is compacted; `fails` is raised each time."""
    compacted: list[StoreFile] = []

    def compact(self: StoreFile) -> None:
        compacted.append(self)
        if fails is not None:
            raise fails

    monkeypatch.setattr(StoreFile, "compact", compact)
    return compacted


def test_a_file_above_its_bound_is_compacted_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    store.commit(batch(*range(100)))
    store.close(clean=True)
    compacted = counted_compacts(monkeypatch)
    monkeypatch.setattr(StoreFile, "is_oversized", property(lambda _: True))
    has_room(monkeypatch, RESERVE_BYTES - 1, RESERVE_BYTES, RESERVE_BYTES + 1)
    store = open_store(tmp_path)
    assert (store.counters.gaps, store.counters.dropped_records, len(compacted)) == (2, 32, 1)
    store.close(clean=True)


def test_a_disk_that_has_no_room_to_compact_does_not_keep_the_node_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    open_store(tmp_path).close(clean=True)
    counted_compacts(monkeypatch, apsw.FullError("no space"))
    monkeypatch.setattr(StoreFile, "is_oversized", property(lambda _: True))
    store = open_store(tmp_path, limits(3))
    (said,) = caplog.records
    assert said.getMessage() == "the store stays larger than its bound of 3 MB for now: the disk is full"
    store.commit(batch(1))
    store.close(clean=True)


@pytest.mark.parametrize(("held", "is_taken"), [(15, False), (16, True)])
def test_from_sixteen_records_on_what_others_hold_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, is_taken: bool
) -> None:
    """Counted from the oldest that is still there: what went before makes no room a second time."""
    store = open_store(tmp_path, limits(on_full=OnFull.REJECT_NEW))
    store.commit(batch(*range(100)))
    store._audit.drop_oldest("size", 20)
    lost = store.counters.dropped_records
    (record,) = store.audit_range(20 + held, 1)
    assert store.note_kept("coordinator", KeptHead(store.epoch, 20 + held, record_hash(record)))
    has_room(monkeypatch, RESERVE_BYTES, RESERVE_BYTES + 1)
    if is_taken:
        store.commit(batch(100))
    else:
        with pytest.raises(BufferFull):
            store.commit(batch(100))
    assert (store.counters.dropped_copies, store.counters.dropped_records) == (16 if is_taken else 0, lost)
    store.close(clean=True)


def test_when_nothing_is_left_to_drop_no_more_gaps_are_written(tmp_path: Path) -> None:
    """Each would take the place of the one before, and free nothing."""
    store = open_store(tmp_path, limits(2))
    store.commit(batch(*range(100)))
    with pytest.raises(StorageError):
        store.commit(Batch(put_slots=[replace(slot("r", Slot.ACTIVE), program=bytes(4 * MB))]))
    assert store.counters.gaps < 10, "one for each share of 16"
    store.close(clean=True)


@pytest.mark.parametrize(("room_bytes", "is_dropped"), [(2 * RESERVE_BYTES, True), (2 * RESERVE_BYTES + 1, False)])
def test_on_a_full_disk_records_are_dropped_only_where_the_bound_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room_bytes: int, is_dropped: bool
) -> None:
    """What is dropped while the disk is full of other files is lost for nothing."""
    store = open_store(tmp_path)
    store.commit(batch(*range(100)))
    write, tries = Store._write, list[Batch]()

    def full_at_first(self: Store, one: Batch) -> Committed:
        tries.append(one)
        if len(tries) == 1:
            raise apsw.FullError("in the test")
        return write(self, one)

    monkeypatch.setattr(Store, "_write", full_at_first)
    has_room(monkeypatch, room_bytes)
    if is_dropped:
        assert store.commit(batch(100)) == Committed(102), "the gap comes before it"
    else:
        with pytest.raises(StorageError, match="full"):
            store.commit(batch(100))
    assert store.counters.dropped_records == (16 if is_dropped else 0)
    store.close(clean=True)


def test_each_commit_that_the_buffer_refuses_is_counted(tmp_path: Path) -> None:
    store = open_store(tmp_path, limits(2, on_full=OnFull.REJECT_NEW))
    for count in (1, 2):
        with pytest.raises(BufferFull):
            store.commit(Batch(put_slots=[replace(slot("r", Slot.ACTIVE), program=bytes(4 * MB))]))
        assert store.counters.failed_commits == count
    store.close(clean=True)
