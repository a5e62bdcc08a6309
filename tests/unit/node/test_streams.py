"""How far a node has come in a stream: nothing is skipped, nothing recorded comes again, whatever is killed when."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.node.run_key import active, candidate
from eyeflow.node.streams import NOTHING, Mark, Progress, Ran, Streams

ONE, TWO = active("one"), active("two")
KEYS = (ONE, TWO)
NAME = "kafka/c/t/0"


class Node:
    """A node that takes events of one stream for two rules; each records them in its own time. `disk` survives."""

    def __init__(self) -> None:
        self.disk = Progress()
        self.recorded: list[tuple[str, int]] = []
        self.start()

    def start(self) -> None:
        self.streams = Streams()
        self.streams.restore(self.disk)
        self.read_next = self.streams.next_of(NAME) or 0
        self.queues: dict[str, deque[int]] = {key.rule: deque() for key in KEYS}
        self.left: dict[int, int] = {}

    def take(self) -> None:
        mark = Mark(NAME, self.read_next)
        self.read_next += 1
        keys = self.streams.left(mark, KEYS)
        wanted = [key for key in KEYS if keys is None or key in keys]
        self.streams.take(mark)
        self.left[mark.number] = len(wanted)
        for key in wanted:
            self.queues[key.rule].append(mark.number)
        if not wanted:
            self.streams.done(mark)

    def commit(self, counts: tuple[int, int], *, dies: bool) -> None:
        ran = [
            (key, self.queues[key.rule].popleft())
            for key, n in zip(KEYS, counts, strict=True)
            for _ in range(min(n, len(self.queues[key.rule])))
        ]
        for _, number in ran:
            self.left[number] -= 1
        for key, number in ran:
            self.streams.done(Mark(NAME, number)) if not self.left[number] else self.streams.ran_by(
                Mark(NAME, number), key
            )
        changes = self.streams.changes()
        if dies:
            self.start()
            return
        self.keep(changes)
        self.recorded += [(key.rule, number) for key, number in ran]

    def keep(self, changes: Progress) -> None:
        nexts = {**self.disk.nexts, **changes.nexts}
        before = [one for one in self.disk.ran if one.mark.stream not in changes.begun]
        ran = [one for one in (*before, *changes.ran) if one.mark.number >= nexts.get(NAME, 0)]
        self.disk = Progress(nexts, ran)
        self.streams.were_kept(changes)


STEPS = st.one_of(
    st.just("take"),
    st.just("die"),
    st.tuples(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.booleans()),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=60))
def test_each_rule_records_each_event_once_and_in_order(steps: list[object]) -> None:
    node = Node()
    for step in steps:
        if step == "take":
            node.take()
        elif step == "die":
            node.start()
        elif isinstance(step, tuple):
            node.commit(step[0], dies=step[1])
    taken = max((number for _, number in node.recorded), default=-1) + 1
    while node.read_next < taken:
        node.take()
    for _ in range(taken + 1):
        node.commit((taken, taken), dies=False)
    for key in KEYS:
        numbers = [number for rule, number in node.recorded if rule == key.rule]
        assert numbers == list(range(len(numbers))) and len(numbers) >= taken
    assert node.streams.next_of(NAME) == node.streams.kept_of(NAME) or not node.recorded


def test_the_control_forgets_who_ran_ahead() -> None:
    """Without the rows of `Ran`, a crash between two commits lets one rule run an event again."""
    node = Node()
    node.take()
    node.commit((1, 0), dies=False)
    node.disk = Progress(node.disk.nexts)
    node.start()
    node.take()
    node.commit((1, 1), dies=False)
    assert node.recorded.count(("one", 0)) == 2


def test_numbers_may_be_left_out_and_one_may_be_done_before_an_earlier_one() -> None:
    streams = Streams()
    for number in (3, 7, 9):
        streams.take(Mark(NAME, number))
    assert streams.changes() == Progress({NAME: 3}, (), frozenset({NAME}))
    streams.done(Mark(NAME, 7))
    assert streams.next_of(NAME) == 3 and streams.changes() == NOTHING
    streams.done(Mark(NAME, 3))
    assert streams.next_of(NAME) == 8 and streams.changes() == Progress({NAME: 8})
    assert streams.kept_of(NAME) == 3 and not streams.has_changes


def test_what_was_not_kept_is_written_later() -> None:
    streams = Streams()
    streams.take(Mark(NAME, 0))
    streams.take(Mark(NAME, 1))
    streams.ran_by(Mark(NAME, 1), ONE)
    streams.done(Mark(NAME, 0))
    changes = streams.changes()
    assert (
        changes == Progress({NAME: 1}, (Ran(Mark(NAME, 1), ONE),), frozenset({NAME})) and streams.changes() == NOTHING
    )
    streams.were_not_kept(changes)
    again = streams.changes()
    assert again == changes
    streams.were_kept(again)
    assert streams.kept_of(NAME) == 1


def test_what_a_candidate_had_recorded_the_promoted_program_does_not_run_again() -> None:
    streams = Streams()
    mark = Mark(NAME, 4)
    streams.restore(Progress({NAME: 4}, [Ran(mark, candidate("one"))]))
    assert streams.left(mark, {ONE, candidate("one"), TWO}) == {ONE, TWO}
    assert streams.left(mark, {ONE, TWO}) == {TWO}
    assert streams.left(Mark(NAME, 5), {ONE}) is None


def test_a_stream_that_was_put_elsewhere_goes_on_there() -> None:
    streams = Streams()
    streams.take(Mark(NAME, 5))
    streams.ran_by(Mark(NAME, 5), ONE)
    streams.go_to(NAME, 2)
    streams.done(Mark(NAME, 5))  # of before
    assert streams.next_of(NAME) == 2 and streams.changes() == Progress({NAME: 2}, (), frozenset({NAME}))
    assert streams.knows("kafka/c/t/") and not streams.knows("kafka/c/u/")


def test_a_commit_of_before_says_nothing_of_a_stream_that_was_put_back() -> None:
    streams = Streams()
    for number in range(3):
        streams.take(Mark(NAME, number))
        streams.done(Mark(NAME, number))
    under_way = streams.changes()
    streams.go_to(NAME, 0)
    streams.were_kept(under_way)
    assert streams.kept_of(NAME) == 0 and streams.changes().nexts == {NAME: 0}
