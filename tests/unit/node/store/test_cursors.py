"""What a destination holds: remembered with the commits that are made anyhow, and only where it fits the chain."""

from __future__ import annotations

from pathlib import Path

import apsw

from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, BufferLimits, Draft
from eyeflow.protocol.audit import record_hash
from eyeflow.protocol.audit_bodies import StopBody
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.identity import Identity

KEY = Identity(bytes(range(32)))


def opened(directory: Path, size_bytes_max: int = 8 << 20) -> Store:
    return Store(directory, "node", KEY, BufferLimits(size_bytes_max, 10**15), now_us=lambda: 1_700_000_000_000_000)


def fill(store: Store, count: int, text: str = "x") -> None:
    store.commit(Batch([Draft(1_700_000_000_000_000 + number, StopBody(text)) for number in range(count)]))


def head_at(store: Store, seq: int) -> KeptHead:
    return KeptHead(store.epoch, seq, record_hash(store.audit_range(seq, 1)[0]), 5, bytes(64))


def test_a_cursor_is_durable_with_the_next_commit_or_a_clean_stop(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 9)
    first = head_at(store, 3)
    assert store.note_kept("coordinator", first) and store.cursors.kept("coordinator") == first
    store.close(clean=False)
    store = opened(tmp_path)
    assert store.cursors.kept("coordinator") is None, "no commit was made for it alone"
    store.note_kept("coordinator", first)
    fill(store, 1)
    store.close(clean=False)
    store = opened(tmp_path)
    assert store.cursors.kept("coordinator") == first
    store.note_kept("coordinator", head_at(store, 5))
    store.close(clean=True)
    store = opened(tmp_path)
    assert store.cursors.kept("coordinator") == head_at(store, 5)
    store.close(clean=True)


def test_what_this_chain_does_not_hold_moves_no_cursor(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 9)
    good = head_at(store, 4)
    assert store.note_kept("coordinator", good)
    for strange in (
        KeptHead(store.epoch, 10, good.hash),
        KeptHead(store.epoch, 5, good.hash),
        KeptHead(store.epoch + 1, 4, good.hash),
    ):
        assert not store.note_kept("coordinator", strange)
    assert store.cursors.kept("coordinator") == good
    assert store.note_kept("coordinator", KeptHead(store.epoch)), "a coordinator that lost its copy may say so"
    store.close(clean=True)


def test_a_cursor_of_another_epoch_says_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 9)
    store.note_kept("coordinator", head_at(store, 9))
    store.close(clean=True)
    for file in tmp_path.glob("node.db*"):
        file.unlink()
    other = opened(tmp_path)
    fill(other, 2)
    path, epoch = tmp_path / "node.db", other.epoch
    other.close(clean=True)
    db = apsw.Connection(str(path))
    db.execute("INSERT INTO cursors VALUES ('coordinator', ?, 9, ?, 5, ?)", (epoch - 1, bytes(32), bytes(64)))
    db.close()
    other = opened(tmp_path)
    assert other.cursors.kept("coordinator") is None
    other.close(clean=True)


def test_pages_have_at_least_one_record_and_no_hole(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, 20)
    records = store.audit_range(1, 100)
    size = len(records[0])
    assert store.records_after(0, 1, 100) == (1, records[:1])
    assert store.records_after(0, size * 3 + 5, 100) == (1, records[:3])
    assert store.records_after(4, 10**6, 7) == (5, records[4:11])
    assert store.records_after(17, 10**6, 100) == (18, records[17:])
    assert store.records_after(20, 10**6, 100) == (0, [])
    store._file.db.execute("DELETE FROM audit WHERE seq IN (1, 2, 6)")
    assert store.records_after(0, 10**6, 100) == (3, records[2:5])
    assert store.records_after(5, 10**6, 100) == (7, records[6:])
    store.close(clean=True)
