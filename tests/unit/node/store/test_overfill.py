"""Ten times more than the buffer may hold: what its files take, and whether the signed gaps count every record."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyeflow.node.store.cursors import COORDINATOR, KAFKA
from eyeflow.node.store.file import FILES, STORE_NAME, StoreFile
from eyeflow.node.store.store import Store
from eyeflow.protocol.audit import decode_record, record_hash, verify_chain
from eyeflow.protocol.audit_bodies import GapBody
from eyeflow.protocol.collecting import KeptHead
from unit.node.store.stores import KEY, MB, batch, limits, open_store

SIZE_MB, EVERYTHING, AT_ONCE, RECORD_BYTES = 4, 10**9, 200, 400
CURSORS: dict[str, tuple[str, ...]] = {
    "sqlite alone": (),
    "kafka away from the first day on": (KAFKA,),
    "coordinator and kafka away": (COORDINATOR, KAFKA),
}


def on_disk(path: Path) -> int:
    return sum(one.stat().st_size for one in (path / (STORE_NAME + end) for end in FILES) if one.exists())


def overfill(store: Store, path: Path) -> tuple[int, int]:
    """Commit ten times the bound; return how many records that were, and the most that the files took."""
    written = largest = 0
    while written * RECORD_BYTES < 10 * SIZE_MB * MB:
        store.commit(batch(*range(written, written + AT_ONCE), size=RECORD_BYTES))
        written += AT_ONCE
        largest = max(largest, on_disk(path))
    return written, largest


def hold(store: Store, destination: str, seq: int) -> None:
    (record,) = store.audit_range(seq, 1)
    assert store.note_kept(destination, KeptHead(store.epoch, seq, record_hash(record)))


def check_gaps(store: Store, held: int) -> None:
    """Each record that is gone is counted, once: `held` of them were with every destination."""
    kept = [decode_record(one) for one in store.audit_range(1, EVERYTHING)]
    first = kept[0].seq
    assert [one.seq for one in kept] == list(range(first, kept[-1].seq + 1))
    gaps = [one.body for one in kept if isinstance(one.body, GapBody)]
    # Gaps of the first days have gone with what came after them. Each goes on with the total.
    assert gaps[-1].last_seq == first - 1
    assert gaps[-1].lost_total == first - 1 - held == store.depth.dropped["size"]
    assert all(gap.count == gap.last_seq - gap.first_seq + 1 and gap.reason == "size" for gap in gaps)
    assert [one.first_seq for one in gaps[1:]] == [one.last_seq + 1 for one in gaps[:-1]]


@pytest.mark.parametrize("cursors", CURSORS.values(), ids=CURSORS.keys())
def test_ten_times_overfill_stays_within_the_bound_and_each_lost_record_is_counted(
    tmp_path: Path, cursors: tuple[str, ...]
) -> None:
    store = open_store(tmp_path, limits(SIZE_MB))
    store.commit(batch(*range(AT_ONCE)))
    for number, destination in enumerate(cursors):
        hold(store, destination, 10 + number)
    written, largest = overfill(store, tmp_path)
    assert SIZE_MB * MB // 2 < largest <= SIZE_MB * MB
    held = 10 if cursors else 0
    check_gaps(store, held)
    assert written + AT_ONCE < store.head[0], "the gaps have numbers, too"
    report = verify_chain(store.audit_range(1, EVERYTHING), KEY.public_key)
    assert report.holds and report.lost_total == store.depth.first_seq - 1 - held
    store.close(clean=True)


def test_control_a_store_without_its_bound_outgrows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StoreFile, "fit", lambda self: None)
    monkeypatch.setattr(StoreFile, "room_bytes", property(lambda self: 10**12))
    store = open_store(tmp_path, limits(SIZE_MB))
    _, largest = overfill(store, tmp_path)
    assert largest > SIZE_MB * MB and not store.depth.dropped
    store.close(clean=True)


def test_control_a_gap_that_counts_one_less_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_less(*values: object) -> GapBody:
        first_seq, last_seq, count, *more = values
        return GapBody(first_seq, last_seq, int(str(count)) - 1, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("eyeflow.node.store.audit_log.GapBody", one_less)
    store = open_store(tmp_path, limits(SIZE_MB))
    overfill(store, tmp_path)
    with pytest.raises(AssertionError):
        check_gaps(store, 0)
    store.close(clean=True)
