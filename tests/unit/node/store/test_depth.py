"""What a store says of its depth and its drops is what is in it, by a model; a reader of its file says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, BufferLimits, Draft, Unrecorded
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.audit_bodies import COPIED, GapBody, StopBody
from eyeflow.protocol.collecting import KeptHead
from unit.node.store.stores import KEY

EVERYTHING = 10**9
HOUR_US = 3_600_000_000


class Clock:
    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000


class Model:
    """Counts what goes away by comparing what is there before and after each step."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self.clock = path, clock
        self.held = 0
        self.lost = dict.fromkeys(("size", "age", "unrecorded", COPIED), 0)
        self.store = self.opened()

    def opened(self) -> Store:
        return Store(self.path, "n", KEY, BufferLimits(2 << 20, HOUR_US), now_us=lambda: self.clock.us)

    def seqs(self) -> list[int]:
        return [decode_record(one).seq for one in self.store.audit_range(1, EVERYTHING)]

    def gone(self, before: list[int], reason: str) -> None:
        """Count what went, by the first seq that is there now."""
        first = (self.seqs() or [0])[0]
        for seq in before:
            if seq < first:
                self.lost[COPIED if seq <= self.held else reason] += 1

    def commit(self, count: int) -> None:
        before = self.seqs()
        self.store.commit(Batch([Draft(self.clock.us, StopBody("x" * 3000)) for _ in range(count)]))
        self.gone(before, "size")

    def hold(self, share: float) -> None:
        seqs = self.seqs()
        if seqs:
            seq = max(self.held, seqs[int(share * (len(seqs) - 1))])
            self.held = seq
            (record,) = self.store.audit_range(seq, 1)
            assert self.store.note_kept("coordinator", KeptHead(self.store.epoch, seq, record_hash(record)))

    def grow_old(self, hours: float) -> None:
        self.clock.us += round(hours * HOUR_US)
        before = self.seqs()
        while self.store.drop_aged():
            pass
        self.gone(before, "age")

    def lose(self, count: int) -> None:
        before = self.seqs()
        self.store.commit(Batch(unrecorded=Unrecorded(count, self.clock.us, self.clock.us)))
        self.gone(before, "size")
        self.lost["unrecorded"] += count

    def restart(self) -> None:
        self.store.close(clean=True)
        self.store = self.opened()

    def check(self) -> None:
        depth, seqs = self.store.depth, self.seqs()
        assert (depth.first_seq, depth.last_seq, depth.records) == ((seqs or [0])[0], (seqs or [0])[-1], len(seqs))
        oldest = self.store.audit_range(1, 1)
        assert depth.oldest_us == (decode_record(oldest[0]).time_us if oldest else 0)
        assert dict(depth.dropped) == {reason: count for reason, count in self.lost.items() if count}


steps = st.lists(
    st.tuples(st.just("commit"), st.integers(1, 120))
    | st.tuples(st.just("hold"), st.floats(0, 1))
    | st.tuples(st.just("grow_old"), st.floats(0, 1.5))
    | st.tuples(st.just("lose"), st.integers(1, 9))
    | st.tuples(st.just("restart")),
    min_size=1,
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_depth_and_drops_are_what_is_there(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple]) -> None:  # type: ignore[type-arg]
    model = Model(tmp_path_factory.mktemp("store"), Clock())
    for name, *arguments in steps:
        getattr(model, name)(*arguments)
        model.check()
    with AuditReader(model.path) as reader:
        said, read = model.store.depth, reader.depth()
        assert (read.first_seq, read.last_seq, read.oldest_us) == (said.first_seq, said.last_seq, said.oldest_us)
        assert read.dropped == said.dropped
    model.store.close(clean=True)


def test_drops_by_reason_are_those_of_the_signed_gaps(tmp_path: Path) -> None:
    model = Model(tmp_path, Clock())
    for _ in range(20):
        model.commit(100)
    model.hold(0.5)
    for _ in range(5):
        model.commit(100)
    model.check()
    assert model.lost["size"] > 100 and model.lost[COPIED] > 100, "the story has both"
    bodies = (decode_record(one).body for one in model.store.audit_range(1, EVERYTHING))
    newest = [body for body in bodies if isinstance(body, GapBody)][-1]
    assert newest.lost_total == model.store.depth.dropped["size"]
    with AuditReader(tmp_path) as reader:
        model.store.close(clean=True)  # cursors are in the file then
        assert reader.kept()["coordinator"].seq == model.held
        assert 0 < reader.depth().used_bytes <= reader.size_bytes
