"""Whatever fails between a node and the coordinator, in the end it has every execution, once, as if nothing had failed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest import MonkeyPatch

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.database import Bundle
from eyeflow.coordinator.collecting import Collector
from eyeflow.node.engine.disk import DiskGuard
from eyeflow.node.store.audit_log import AuditLog
from eyeflow.node.store.cursors import Cursors
from eyeflow.protocol.collecting import KeptHead
from simulation.dropping import LongOutage, OldDisk
from simulation.mutants import check_found
from simulation.records import BrokenPromise
from simulation.relay import EVENTS, Relay

IS_FULL = os.environ.get("EYEFLOW_FUZZ") == "full"
SEEDS = range(1, 101) if IS_FULL else range(4, 5)
"""`make fuzz` goes on with others."""
SEEDS_MAX = 200
CALM = list(range(1, 2 * EVENTS + 1))
"""The events that a node runs when nothing fails, in their order: `test_a_calm_run` holds that."""


def broken_by(seed: int, directory: Path) -> str:
    """Run a seed; return the promise that was broken, empty when all held and the order is that of a calm run."""
    directory.mkdir()
    relay = Relay(seed, directory)
    try:
        relay.run()
    except BrokenPromise as broken:
        return str(broken)
    assert relay.dropped_copies, "the node drops what the coordinator holds"
    return "" if relay.order == CALM else f"another order than without faults: {relay.order[:50]}"


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_fails_the_coordinator_has_what_it_has_when_nothing_fails(tmp_path: Path, seed: int) -> None:
    assert broken_by(seed, tmp_path / "run") == ""


def test_a_calm_run_has_each_event_once_and_in_order(tmp_path: Path) -> None:
    relay = Relay(0, tmp_path, is_calm=True)
    relay.run()
    assert relay.order == CALM and relay.repeated == 0


def cursor_forgets_the_epoch(patch: MonkeyPatch) -> None:
    """What is kept of the node's older chain is taken for the beginning of its new one."""
    real = Collector._kept

    async def kept(self: Any, archive: Archive, owner: Any) -> KeptHead:
        newest = [one.kept for one in await archive.chains() if one.node == owner.node]
        here: KeptHead = await real(self, archive, owner)
        return here if here.seq or not newest else KeptHead(owner.epoch, newest[0].seq, newest[0].hash)

    patch.setattr(Collector, "_kept", kept)


def asks_for_the_record_after_the_next(patch: MonkeyPatch) -> None:
    def ask(self: Any, kept: KeptHead, after_seq: int) -> None:
        real(self, kept, after_seq + (after_seq % 7 == 3))

    real = Collector._ask
    patch.setattr(Collector, "_ask", ask)


def loses_a_bundle_that_the_disk_refused(patch: MonkeyPatch) -> None:
    async def append(self: Any, archive: Archive, owner: Any, collected: Any, *rest: Any) -> KeptHead:
        try:
            return await archive.append(Bundle(owner, collected.records, collected.head_seq, self._copies.clock()))
        except EyeflowError:
            return KeptHead(owner.epoch, collected.last_seq)

    patch.setattr(Collector, "_append", append)


def forgets_to_tell_of_a_gap(patch: MonkeyPatch) -> None:
    """As it was before this test: the gap that a quiet node wrote last was never copied."""

    async def drop_aged(self: Any) -> None:
        was = self.grown.is_set()
        await real(self)
        if not was:
            self.grown.clear()

    real = DiskGuard.drop_aged
    patch.setattr(DiskGuard, "drop_aged", drop_aged)


def moves_its_cursor_without_the_hash(patch: MonkeyPatch) -> None:
    """The node takes a record for held that is another one at the coordinator."""
    real = AuditLog.note_kept

    def note_kept(self: Any, destination: str, kept: KeptHead) -> bool:
        if not real(self, destination, kept) and kept.epoch == self.epoch and kept.seq <= self.head_seq:
            self.cursors.note(destination, kept)
        return True

    patch.setattr(AuditLog, "note_kept", note_kept)


def drops_records_that_nobody_holds(patch: MonkeyPatch) -> None:
    """What is too old goes as if it were copied."""
    patch.setattr(Cursors, "held_by_all", property(lambda self: 1 << 40))


DROPPING: dict[Callable[[MonkeyPatch], None], type[LongOutage]] = {
    moves_its_cursor_without_the_hash: OldDisk,
    drops_records_that_nobody_holds: LongOutage,
}


@pytest.mark.parametrize("story", DROPPING.values())
def test_only_what_the_coordinator_holds_goes_without_a_loss(tmp_path: Path, story: type[LongOutage]) -> None:
    run = story(1, tmp_path)
    run.run()
    assert story is OldDisk or run.lost, "more than the node may keep came while it was alone"


@pytest.mark.parametrize("mutant", DROPPING)
def test_control_a_drop_of_what_nobody_holds_is_found(
    mutant: Callable[[MonkeyPatch], None], tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(BrokenPromise, match="35: "):
        DROPPING[mutant](1, tmp_path).run()


FOUND_BY: dict[str, int] = {"forgets_to_tell_of_a_gap": 4}
"""The seed that found a fault last: the search begins with it."""
QUICK: list[Callable[[MonkeyPatch], None]] = [cursor_forgets_the_epoch]
SLOW: list[Callable[[MonkeyPatch], None]] = [
    asks_for_the_record_after_the_next,
    loses_a_bundle_that_the_disk_refused,
    forgets_to_tell_of_a_gap,
]
"""`make fuzz` puts these in, too."""


@pytest.mark.parametrize("mutant", QUICK + (SLOW if IS_FULL else []))
def test_control_a_fault_in_the_relay_is_found(mutant: Callable[[MonkeyPatch], None], tmp_path: Path) -> None:
    check_found(mutant, SEEDS_MAX, FOUND_BY.get(mutant.__name__, 1), broken_by, tmp_path)
