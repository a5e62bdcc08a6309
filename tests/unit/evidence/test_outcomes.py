"""From the counters of a node to executions and failures."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.evidence.outcomes import Counts, Outcomes, Tally

NUMBERS = st.integers(0, 50)
COUNTERS = st.builds(Counts, *[NUMBERS] * len(fields(Counts)))


@pytest.mark.parametrize(
    ("counts", "outcomes"),
    [
        (Counts(), Outcomes()),
        (Counts(executions=10), Outcomes(10, 0)),
        (Counts(executions=10, traps=2), Outcomes(10, 2)),
        (Counts(executions=10, failed_actions=3), Outcomes(10, 0)),
        (Counts(executions=10, missed_deadlines=4), Outcomes(10, 4)),
        (Counts(executions=10, rejected=5), Outcomes(15, 5)),
        (Counts(executions=10, traps=5, missed_deadlines=4), Outcomes(10, 5)),
        (Counts(executions=10, traps=5, failed_actions=3, missed_deadlines=6, rejected=1), Outcomes(11, 7)),
    ],
)
def test_each_execution_fails_at_most_once(counts: Counts, outcomes: Outcomes) -> None:
    assert counts.tally().decisions == outcomes


def test_decisions_and_actions_can_be_told_apart() -> None:
    counts = Counts(executions=100, acted=10, traps=2, failed_actions=3, missed_deadlines=1, rejected=4)
    assert counts.tally() == Tally(Outcomes(104, 6), Outcomes(10, 3))


def tally(*numbers: int) -> Tally:
    return Tally(Outcomes(*numbers[:2]), Outcomes(*numbers[2:]))


def test_tallies_of_nodes_are_added_and_what_came_since_is_the_difference() -> None:
    assert tally(10, 1, 4, 2) + tally(5, 2, 3, 1) == tally(15, 3, 7, 3)
    assert tally(15, 3, 7, 3).since(tally(10, 1, 4, 2)) == tally(5, 2, 3, 1)
    assert tally(15, 3, 7, 3).since(tally(15, 3, 7, 3)) == Tally()


@pytest.mark.parametrize("fallen", [(9, 1, 4, 2), (10, 0, 4, 2), (10, 1, 3, 2), (10, 1, 4, 1)])
def test_totals_that_fell_say_nothing_of_the_span(fallen: tuple[int, ...]) -> None:
    more = tuple(number + 5 if number == now else number for number, now in zip(fallen, (10, 1, 4, 2), strict=True))
    assert tally(*more).since(tally(10, 1, 4, 2)) == Tally()


@given(COUNTERS, COUNTERS)
def test_what_came_since_is_never_negative_and_never_twice(one: Counts, other: Counts) -> None:
    """A node that crashed has forgotten its last seconds: it counts up to where it was once more."""
    news = other.since(one)
    assert all(getattr(news, field.name) >= 0 for field in fields(news))
    known = one.highest(other)
    for field in fields(Counts):
        assert getattr(one, field.name) + getattr(news, field.name) == getattr(known, field.name)
    assert other.since(known) == one.since(known) == Counts()


def test_each_counter_is_looked_at() -> None:
    for field in fields(Counts):
        one = replace(Counts(), **{field.name: 7})
        assert one.since(Counts()) == one == Counts().highest(one)


def test_a_failure_may_be_told_after_its_execution() -> None:
    late = Outcomes(2, 5)
    assert (late.counted, late.late, late.failed, late.rate) == (Outcomes(2, 2), Outcomes(0, 3), 2, 1.0)
    assert late.counted + late.late == late
    assert Outcomes(4, 1).rate == 0.25 and Outcomes().rate == 0
