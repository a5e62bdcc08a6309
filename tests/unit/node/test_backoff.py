"""Delays grow, stay bounded, and differ between nodes."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from eyeflow.node.backoff import FIRST_S, JITTER, LAST_S, STABLE_S, Backoff


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_delays_stay_within_their_bounds(seed: int, attempts: int) -> None:
    backoff = Backoff(random.Random(seed))
    for attempt in range(attempts):
        base = min(FIRST_S * 2**attempt, LAST_S)
        assert base * (1 - JITTER) <= backoff.next_s() <= base * (1 + JITTER)


def test_success_starts_anew_and_nodes_differ() -> None:
    one, other = Backoff(random.Random(1)), Backoff(random.Random(2))
    assert [one.next_s() for _ in range(9)] != [other.next_s() for _ in range(9)]
    one.reset()
    assert one.next_s() <= FIRST_S * (1 + JITTER)


def test_only_a_connection_that_held_starts_anew() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(6):
        backoff.after_s(STABLE_S - 1)
    assert backoff.after_s(0.0) > 8 * FIRST_S
    assert backoff.after_s(STABLE_S) <= FIRST_S * (1 + JITTER)
