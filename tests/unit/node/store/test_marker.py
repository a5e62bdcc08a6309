"""The note of the highest epoch, beside the store."""

from __future__ import annotations

import shutil
from pathlib import Path

from eyeflow.node.store.marker import mark_epoch, marked_epoch
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import BufferLimits
from eyeflow.protocol.identity import Identity

KEY = Identity(bytes(range(1, 33)))
S = 1_000_000


def epoch_of(path: Path, time_us: int) -> int:
    store = Store(path, "n1", KEY, BufferLimits(64 * S, 10**18), now_us=lambda: time_us)
    store.close(clean=True)
    return store.epoch


def test_no_epoch_comes_twice_although_an_older_store_was_restored_in_between(tmp_path: Path) -> None:
    """The coordinator would take the second one for a fork or an old copy of the first."""
    data, backup = tmp_path / "data", tmp_path / "node.db"
    data.mkdir()
    first = epoch_of(data, 100 * S)
    shutil.copy(data / "node.db", backup)
    (data / "node.db").unlink()
    second = epoch_of(data, 50 * S)
    shutil.copy(backup, data / "node.db")
    assert epoch_of(data, 50 * S) == first
    (data / "node.db").unlink()
    assert (first, second, epoch_of(data, 50 * S)) == (100, 101, 102)


def test_the_marker_never_goes_back(tmp_path: Path) -> None:
    for epoch in (7, 9, 5):
        mark_epoch(tmp_path, epoch)
    assert marked_epoch(tmp_path) == 9
