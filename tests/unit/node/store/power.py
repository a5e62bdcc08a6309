"""A store on a disk that loses its power: writes go on until it dies, and what the next start finds is looked at."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from eyeflow.node.run_key import active
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, PendingRow, SlotRow, StateRow, StorageError, StoreDamaged
from eyeflow.protocol.audit import decode_record, record_hash, verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody, GapBody
from eyeflow.protocol.collecting import KeptHead
from simulation.disk import Image, SimDisk
from simulation.loop import Process
from unit.node.store.stores import KEY, PROGRAM, Time, draft, limits, open_store

RULE = active("r")
HOUR_US = 3_600_000_000
STEPS_MAX, WRITES_MAX = 12, 60
FRESH_SHARE = 0.03
"""How often a life begins with an empty disk: making a store is a step like any other."""


@dataclass
class Known:
    """What the store has acknowledged: the hash of each record by its number, and up to where they were dropped."""

    hashes: dict[int, bytes] = field(default_factory=dict)
    dropped_to: int = 0
    kept_seq: int = 0


class Lives:
    """One disk, and store after store on it. `problems` says what the next start found wrong."""

    def __init__(self, directory: Path, seed: int, fault: Callable[[Store], None] = lambda store: None) -> None:
        self.directory, self.rng, self.fault = directory, Random(f"{seed} power"), fault
        self.image: Image = {}
        self.known, self.time, self.number, self.lives, self.deaths = Known(), Time(), 0, 0, 0

    def live(self) -> str:
        """Start, look, write until the power goes; return what is wrong, empty for nothing."""
        rng = self.rng
        if rng.random() < FRESH_SHARE:
            self.image, self.known = {}, Known()
        self.lives += 1
        place = self.directory / str(self.lives)
        disk = SimDisk(place, Process("store"), rng, self.image)
        disk.dies_after = rng.randrange(WRITES_MAX)
        try:
            problem = self._write(place, disk)
        finally:
            self.image = disk.after_power_cut()
            disk.unregister()
            shutil.rmtree(place)
        return problem

    def _write(self, place: Path, disk: SimDisk) -> str:
        store = None
        try:
            store = open_store(place, limits(4, HOUR_US), time=self.time, vfs=disk.vfs)
            self.fault(store)
            problem = found_wrong(store, self.known)
            if problem:
                return problem
            for _ in range(self.rng.randrange(STEPS_MAX)):
                self._step(store)
            store.close(clean=True)
        except StorageError as error:
            if isinstance(error, StoreDamaged) or disk.dies_after >= 0:
                return f"the disk is well, and the store is not: {error.message}: {error.cause}"
            if store is not None:
                self.deaths += 1
                store.abandon()
        return ""

    def _step(self, store: Store) -> None:
        way = self.rng.random()
        if way < 0.85:
            self._commit(store)
        elif way < 0.95:
            self._hold(store)
        else:
            self.time.us += HOUR_US // 4
            if dropped := store.drop_aged():
                self._know(store, dropped)

    def _commit(self, store: Store) -> None:
        numbers = range(self.number, self.number + self.rng.choice([1, 1, 3, 20]))
        self.number += len(numbers)
        drafts = [draft(number, self.rng.choice([10, 300, 6000])) for number in numbers]
        state = StateRow(RULE, PROGRAM, str(numbers[-1]).encode())
        rows = [PendingRow(place, 0, RULE, PROGRAM, 0, ("HIGH",)) for place in range(len(drafts))]
        slots = [SlotRow(RULE, PROGRAM, b"p" * 3000, {}, "d", 1, 17)] if self.rng.random() < 0.1 else []
        store.commit(Batch(drafts, [state], rows, put_slots=slots))
        self._know(store)

    def _know(self, store: Store, dropped: int = 0) -> None:
        """Take note of what is acknowledged."""
        if dropped:
            self.known.dropped_to = min(decode_record(one).seq for one in store.audit_range(1, 1)) - 1
        for one in store.audit_range(max(self.known.hashes, default=0) + 1, 10_000):
            record = decode_record(one)
            self.known.hashes[record.seq] = record_hash(one)

    def _hold(self, store: Store) -> None:
        """Let the coordinator say that it holds what was acknowledged."""
        if known := self.known.hashes:
            seq = max(known)
            assert store.note_kept("coordinator", KeptHead(store.epoch, seq, known[seq], 1))
            self.known.kept_seq = seq


def found_wrong(store: Store, known: Known) -> str:
    """Compare what a start finds with what was acknowledged before the power went."""
    stored = store.audit_range(1, 1 << 40)
    records = [decode_record(one) for one in stored]
    here = {record.seq: record_hash(one) for record, one in zip(records, stored, strict=True)}
    first = records[0].seq if records else 1
    lost = [seq for seq, digest in known.hashes.items() if seq > known.dropped_to and here.get(seq) != digest]
    # A drop that the power cut may be whole, too: then its gap says so.
    gap_to = max((one.body.last_seq for one in records if isinstance(one.body, GapBody)), default=0)
    lost = [seq for seq in lost if seq > gap_to]
    if lost:
        return f"acknowledged records are gone: {lost[:3]} of {len(known.hashes)}"
    report = verify_chain(stored, KEY.public_key)
    if stored and not report.holds:
        return f"the chain does not hold: {report.problem}"
    if first > max(known.dropped_to, gap_to) + 1:
        return f"the first record is {first}, and no gap says why"
    runs = [one for one in records if isinstance(one.body, ExecutionBody)]
    restored = store.restore()
    if runs:
        expected = str(runs[-1].body.event_time_us).encode()  # type: ignore[union-attr]
        state = restored.states[RULE].state if RULE in restored.states else b"none"
        if state != expected:
            return f"the state says {state!r}, the last record {expected!r}"
    pending = {row.seq for row in restored.pending if row.seq >= first}
    if pending != {one.seq for one in runs}:
        return "the unfinished actions are not those of the records"
    if (kept := store.cursors.kept("coordinator")) is not None and kept.seq > known.kept_seq:
        return "the cursor is further than what was held"
    return ""
