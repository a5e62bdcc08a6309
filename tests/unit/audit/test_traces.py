"""A trace keeps within what a message holds, and shows where it was cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.audit.traces import ELLIPSIS, bounded
from eyeflow.protocol.executions import ACTION_CHARS_MAX, ACTIONS_MAX, TRACE_CHARS_MAX

LINES = st.lists(st.text(max_size=40).map(lambda text: text * 30), max_size=80)


@settings(max_examples=100, deadline=None)
@given(LINES, LINES)
def test_a_trace_is_bounded_and_shows_where_it_was_cut(reads: list[str], decided: list[str]) -> None:
    trace = bounded(3, reads, decided)  # it raises where it is too long
    for lines, given_ in ((trace.decided, decided), (trace.reads, reads)):
        assert len(lines) <= ACTIONS_MAX and all(len(line) <= ACTION_CHARS_MAX for line in lines)
        whole = all(len(line) <= ACTION_CHARS_MAX for line in given_)
        assert not whole or lines == tuple(given_) or not lines or lines[-1] == ELLIPSIS or len(given_) > len(lines)


def test_what_was_decided_counts_more_than_what_was_read() -> None:
    line = "x" * ACTION_CHARS_MAX
    trace = bounded(3, ["read"] * 3, [line] * 20)
    assert len(trace.decided) == TRACE_CHARS_MAX // ACTION_CHARS_MAX
    assert trace.decided[-1] == ELLIPSIS and trace.reads[:1] == ("read",)
    assert bounded(3, ["a"] * 3, ["b"]).reads == ("a",) * 3
