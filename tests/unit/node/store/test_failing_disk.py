"""Disks that fail, fill up or lose power under the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.failing_disk import Disk, registered_disk
from eyeflow.node.store.types import (
    StorageError,
)
from eyeflow.protocol.audit import verify_chain
from unit.node.store.stores import KEY, batch, numbers_of, open_store


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
