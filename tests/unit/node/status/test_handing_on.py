"""The pace of a destination, and what time is left at it."""

from __future__ import annotations

import pytest

from eyeflow.node.status.handing_on import WINDOW_US, HandingOn, Pace

S = 1_000_000


def test_a_pace_is_what_was_taken_in_the_last_minute() -> None:
    handing_on = HandingOn()
    for second in range(31):
        handing_on.noted("kafka", second * S, 100 * second, 10_000 + 20 * second)
    pace = handing_on.pace("kafka", 30 * S, 10_600)
    assert (pace.taken_per_s, pace.grown_per_s) == (100, 20)
    assert pace.left_s(10_600 - 3_000) == 7_600 / 80


def test_a_destination_that_stops_gets_slower_and_is_at_nothing_after_a_minute() -> None:
    handing_on = HandingOn()
    handing_on.noted("kafka", 0, 0, 1000)
    handing_on.noted("kafka", 10 * S, 500, 1000)
    assert handing_on.pace("kafka", 10 * S, 1000).taken_per_s == 50
    assert handing_on.pace("kafka", 50 * S, 1000).taken_per_s == 10
    assert handing_on.pace("kafka", 10 * S + WINDOW_US, 1000) == Pace()


def test_what_was_long_ago_does_not_make_it_slow() -> None:
    handing_on = HandingOn()
    handing_on.noted("kafka", 0, 10, 10)
    late = 3600 * S
    handing_on.noted("kafka", late, 610, 610)
    assert handing_on.pace("kafka", late, 610).taken_per_s == 10, "600 in the minute, not in the hour"


def test_pages_in_quick_succession_take_no_memory() -> None:
    handing_on = HandingOn()
    for number in range(10_000):
        handing_on.noted("kafka", number * 1000, number, 10_000)
    assert len(handing_on._seen["kafka"]) < 30
    assert handing_on.pace("kafka", 10 * S, 10_000).taken_per_s == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize(
    ("pace", "behind", "left_s"),
    [
        (Pace(), 0, 0.0),
        (Pace(), 5, None),
        (Pace(10, 10), 500, None),
        (Pace(10, 5), 500, 100.0),
        (Pace(10, 10), 5, 0.5),  # it keeps up: the next record is always under way
    ],
)
def test_the_time_left(pace: Pace, behind: int, left_s: float | None) -> None:
    assert pace.left_s(behind) == left_s


def test_nothing_is_known_of_a_destination_that_told_nothing() -> None:
    assert HandingOn().pace("kafka", 0, 0) == Pace()
