"""Each single write and sync fails, or finds the disk full, once or for a while: nothing is acknowledged that is not kept.

A sync that failed is taken at its word: what it was to make durable is lost at a power cut, also after later syncs, until
it is written again. That is what Linux does (fsync(2), "errors"; the pages count as written).
"""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path
from random import Random

import apsw
import pytest

from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, StateRow, StorageError
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody
from simulation.disk import Image, SimDisk
from simulation.loop import Process
from unit.node.store.power import RULE
from unit.node.store.stores import KEY, PROGRAM, draft, open_store

EVERY = 1 if os.environ.get("EYEFLOW_FUZZ") == "full" else 12
"""`make fuzz` lets each one fail, `make test` one in so many."""
BATCHES, TRIES_MAX = 14, 60
LASTS = (1, 3, 8)
"""For how many calls of the disk it fails: in the shortest case the first look at it finds it well again."""


class FaultyDisk(SimDisk):
    """Fails from call number `first` on, `lasts` times, by `way`: `write`, `sync` or `full`."""

    def __init__(self, directory: Path, image: Image, way: str = "", first: int = 0, lasts: int = 0) -> None:
        super().__init__(directory, Process("store"), Random(7), image)
        self._way, self._left, self._calls = way, lasts, -first
        self.failed = 0

    @property
    def calls(self) -> int:
        """How many calls of its kind there were."""
        return self._calls

    def check(self, syncs: bool = False) -> None:
        if syncs != (self._way == "sync"):
            return
        self._calls += 1
        if self._calls > 0 and self._left > 0:
            self._left -= 1
            self.failed += 1
            if self._way == "sync":
                for file in self._files.values():
                    file.since.clear()
            raise apsw.FullError("full") if self._way == "full" else apsw.IOError("failed")


def surely(store: Store, batch: Batch) -> None:
    """Commit as `DiskGuard` does: after an error nothing is written before a look at the file has succeeded."""
    for _ in range(TRIES_MAX):
        try:
            store.commit(batch)
            return
        except StorageError:
            if was_written(store):
                return
    pytest.fail("it never recovers")


def was_written(store: Store) -> bool:
    for _ in range(TRIES_MAX):
        with suppress(StorageError):
            return store.recover()
    pytest.fail("its file cannot be opened")


def kept(image: Image, place: Path) -> list[int]:
    """Return the executions that a start finds after a power cut, in their order."""
    disk = FaultyDisk(place, image)
    store = open_store(place, vfs=disk.vfs)
    records = store.audit_range(1, 1000)
    assert verify_chain(records, KEY.public_key).holds
    found = [body.event_time_us for one in records if isinstance(body := decode_record(one).body, ExecutionBody)]
    assert store.restore().states[RULE].state == str(found[-1]).encode()
    store.abandon()
    disk.unregister()
    shutil.rmtree(place)
    return found


def run(directory: Path, way: str, first: int, lasts: int) -> FaultyDisk:
    """Commit on a disk that fails so; look at what a power cut would leave after each acknowledgement that follows."""
    fresh = directory / "fresh"
    made = FaultyDisk(fresh, {})
    open_store(fresh, vfs=made.vfs).close(clean=True)
    disk = FaultyDisk(directory / "data", made.after_kill(), way, first, lasts)
    made.unregister()
    store = open_store(directory / "data", vfs=disk.vfs)
    looks = 3
    for number in range(BATCHES):
        surely(store, Batch([draft(number, 3000)], [StateRow(RULE, PROGRAM, str(number).encode())]))
        if disk.failed and looks:
            looks -= 1
            assert kept(disk.after_power_cut(), directory / f"look{number}") == list(range(number + 1))
    with suppress(StorageError):  # what the file has is in it; the node says it, and ends
        store.close(clean=True)
    store.abandon()
    disk.unregister()
    assert kept(disk.after_power_cut(), directory / "end") == list(range(BATCHES))
    shutil.rmtree(directory)
    return disk


@pytest.mark.parametrize("way", ["write", "sync", "full"])
def test_whichever_call_fails_nothing_is_acknowledged_that_is_not_kept(tmp_path: Path, way: str) -> None:
    tried = 0
    step = 1 if way == "sync" else EVERY  # there are few syncs
    for first in itertools.count(0, step):
        failures = [run(tmp_path / f"{first}-{lasts}", way, first, lasts).failed for lasts in LASTS]
        tried += sum(map(bool, failures))
        if not any(failures):
            break
    print(f"{way}: {tried} cases")
    assert tried * step > BATCHES * len(LASTS)


def test_control_a_store_that_takes_a_failed_sync_for_done_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not write again what the log held when the sync failed."""
    monkeypatch.setattr("eyeflow.node.store.file.StoreFile.flush_log", lambda self: None)
    with pytest.raises(AssertionError):
        for first in range(10):
            run(tmp_path / str(first), "sync", first, lasts=2)
