"""Times of recordings: every form, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.node.replay.event_times import TIME_MAX_US, parse_time

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1))


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_iso_times_with_any_offset(moment: datetime, offset_min: int) -> None:
    zone = timezone(timedelta(minutes=offset_min))
    assert parse_time(moment.replace(tzinfo=zone).isoformat()) == micros(moment.replace(tzinfo=zone))


@given(MOMENTS)
def test_times_without_a_zone_are_utc(moment: datetime) -> None:
    expected = micros(moment.replace(tzinfo=UTC))
    assert parse_time(moment.isoformat()) == parse_time(moment.isoformat(sep=" ")) == expected
    assert parse_time(moment.isoformat() + "Z") == expected


@given(st.integers(0, 10**11 - 1), st.integers(0, 999_999))
def test_whole_epoch_seconds_are_exact_and_fractions_to_the_microsecond(seconds: int, micro: int) -> None:
    assert parse_time(seconds) == parse_time(str(seconds)) if seconds > 99_999_999 else parse_time(seconds) >= 0
    near_now = seconds % 4_000_000_000
    assert parse_time(near_now + micro / 1e6) == near_now * 1_000_000 + micro


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_767_225_600_123, 1_767_225_600_123_000),
        ("1767225600123", 1_767_225_600_123_000),
        (1_767_225_600_123_456, 1_767_225_600_123_456),
        (1_767_225_600_123_456_789, 1_767_225_600_123_456),
        (" 1767225600.5 ", 1_767_225_600_500_000),
        ("2026-01-01", 1_767_225_600_000_000),
        (0, 0),
    ],
)
def test_the_unit_follows_from_the_size(value: object, expected: int) -> None:
    assert parse_time(value) == expected


@pytest.mark.parametrize(
    "value", ["", " ", "soon", "1e400", "nan", "-5", -1, float("inf"), float("nan"), True, None, [], "1969-12-31"]
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"no time|outside the times"):
        parse_time(value)
    assert TIME_MAX_US == 2**62
