"""Times of recordings: every form, to the microsecond."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def suppress_ambiguous() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        assert "may be a number or a date" in str(error)


@given(st.integers(0, 10**11 - 1), st.integers(0, 999_999))
def test_whole_epoch_seconds_are_exact_and_fractions_to_the_microsecond(seconds: int, micro: int) -> None:
    with suppress_ambiguous():
        assert parse_time(str(seconds)) == parse_time(seconds)
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
    assert micros(datetime(9900, 1, 1, tzinfo=UTC)) == TIME_MAX_US


@given(st.sampled_from([10, 10**3, 10**6, 10**9]), st.integers(10**9, 4 * 10**9), st.integers(0, 999_999))
def test_a_text_of_digits_is_a_number_and_never_a_date(unit: int, seconds: int, micro: int) -> None:
    """1701122400000 is a Monday of 2023, and would be a day of 1701 if it were tried as a date first."""
    number = seconds * unit + micro * unit // 10**6 if unit > 10 else seconds
    assert parse_time(str(number)) == parse_time(number) == parse_time(f" {number} ")


@pytest.mark.parametrize("text", ["1701122385959", "1701122400000", "1701123112345", "1701129660000", "1712011512345"])
def test_milliseconds_that_look_like_a_date(text: str) -> None:
    assert parse_time(text) == int(text) * 1000


@pytest.mark.parametrize("text", ["20260301", "202603010600", "20260301060000", "19991231"])
def test_what_may_be_a_number_or_a_date_is_refused_and_not_guessed(text: str) -> None:
    with pytest.raises(
        ValueError, match=f"may be a number or a date: write {text[:4]}-{text[4:6]}-{text[6:8]} or {text}.0"
    ):
        parse_time(text)
    assert parse_time(f"{text}.0") == parse_time(int(text))
    assert parse_time("20260301T060000") == 1_772_344_800_000_000


@given(st.integers(0, 2**40), st.integers(0, 999_999))
def test_a_text_of_seconds_with_a_fraction_is_exact(seconds: int, micro: int) -> None:
    """Through a float, times of the year 5000 lose their microseconds."""
    seconds %= 10**11
    assert parse_time(f"{seconds}.{micro:06d}") == seconds * 1_000_000 + micro
