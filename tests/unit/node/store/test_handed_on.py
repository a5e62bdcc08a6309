"""Bounds know what was handed on: what the coordinator holds goes first and is no loss; what nobody holds is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, BufferFull, BufferLimits, Draft, OnFull
from eyeflow.protocol.audit import decode_record, record_hash, verify_chain
from eyeflow.protocol.audit_bodies import COPIED, GapBody, StopBody
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.identity import Identity

KEY = Identity(bytes(range(32)))
START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
EVERYTHING = 10**9


class Clock:
    now_us = START_US


def opened(directory: Path, on_full: OnFull = OnFull.DROP_OLDEST) -> Store:
    limits = BufferLimits(2 << 20, HOUR_US, on_full)
    return Store(directory, "node", KEY, limits, now_us=lambda: Clock.now_us)


def fill(store: Store, count: int, size: int = 2000) -> None:
    store.commit(Batch([Draft(START_US, StopBody("x" * size)) for _ in range(count)]))


def hold(store: Store, seq: int) -> None:
    """Let the coordinator say that it holds everything up to this record."""
    (record,) = store.audit_range(seq, 1)
    assert store.note_kept("coordinator", KeptHead(store.epoch, seq, record_hash(record)))


def gaps(store: Store) -> list[GapBody]:
    bodies = (decode_record(one).body for one in store.audit_range(1, EVERYTHING))
    return [body for body in bodies if isinstance(body, GapBody)]


def test_what_the_coordinator_holds_is_dropped_without_loss(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for _ in range(200):
        fill(store, 20)
        hold(store, store.head[0])
    assert store.counters.dropped_copies > 1000
    assert (store.counters.dropped_records, store.counters.gaps) == (0, 0)
    assert {one.reason for one in gaps(store)} == {COPIED} and not any(one.lost_total for one in gaps(store))
    report = verify_chain(store.audit_range(1, EVERYTHING), KEY.public_key)
    assert report.holds and report.lost and report.lost_total == 0
    store.close(clean=True)


def test_what_nobody_holds_is_a_loss_and_counted_to_the_record(tmp_path: Path) -> None:
    """The control beside: the coordinator holds the first 100 records only."""
    store = opened(tmp_path)
    fill(store, 100)
    hold(store, 100)
    for _ in range(200):
        fill(store, 20)
    first = decode_record(store.audit_range(1, 1)[0]).seq
    assert store.counters.dropped_copies == 100
    assert store.counters.dropped_records == first - 1 - 100
    assert gaps(store)[-1].lost_total == store.counters.dropped_records
    assert gaps(store)[-1].reason == "size"
    assert verify_chain(store.audit_range(1, EVERYTHING), KEY.public_key).holds
    store.close(clean=True)
    again = opened(tmp_path)
    assert again._audit._lost_total == first - 1 - 100
    again.close(clean=True)


@pytest.mark.parametrize("on_full", [OnFull.REJECT_NEW, OnFull.BLOCK])
def test_a_full_buffer_whose_records_are_held_refuses_nothing(tmp_path: Path, on_full: OnFull) -> None:
    store = opened(tmp_path, on_full)
    for _ in range(200):
        fill(store, 20)
        hold(store, store.head[0])
    assert store.counters.dropped_copies > 1000 and store.counters.dropped_records == 0
    with pytest.raises(BufferFull):  # the control: from here on nobody says that it holds anything
        for _ in range(200):
            fill(store, 20)
    assert store.counters.dropped_records == 0
    store.close(clean=True)


def test_old_records_that_are_held_are_no_loss_either(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 50, 10)
    hold(store, 30)
    Clock.now_us = START_US + 2 * HOUR_US
    try:
        while store.drop_aged():
            continue
    finally:
        Clock.now_us = START_US
    assert (store.counters.dropped_copies, store.counters.dropped_records) == (30, 20), "only their gap stays"
    store.close(clean=True)


def test_a_coordinator_that_lost_its_copy_takes_back_what_it_held(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 100)
    hold(store, 100)
    assert store.note_kept("coordinator", KeptHead(store.epoch))
    for _ in range(100):
        fill(store, 20)
    assert store.counters.dropped_copies == 0 and store.counters.dropped_records > 100
    store.close(clean=True)


def test_a_destination_that_is_given_up_says_nothing_any_more(tmp_path: Path) -> None:
    """Else all that comes would count as lost, for a place that gets nothing any more."""
    store = opened(tmp_path)
    fill(store, 100)
    assert store.note_kept("kafka", KeptHead(store.epoch))
    fill(store, 1)
    hold(store, 100)
    assert store.cursors.held_by_all == 0
    store.cursors.forget("kafka")
    assert store.cursors.held_by_all == 100
    fill(store, 1)
    store.close(clean=False)
    assert opened(tmp_path).cursors.held_by_all == 100
