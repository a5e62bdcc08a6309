"""When timers are due: periods from the start, and cron by the wall clock, also when the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.svm.program import Trigger, TriggerKind
from eyeflow.svm.schedule import next_due_us, validate_cron

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
"""Its clocks change by half an hour."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def every(period_us: int) -> Trigger:
    return Trigger(TriggerKind.EVERY, "", "", period_us, "", (), None, 0, 0, 1)


def cron(expression: str) -> Trigger:
    return Trigger(TriggerKind.CRON, "", expression, 0, "", (), None, 0, 0, 1)


def due(expression: str, after: str, zone: tzinfo, count: int = 1) -> list[str]:
    """Return the next times, on the wall of the zone with its offset, after a wall time."""
    after_us = us(datetime.fromisoformat(after).replace(tzinfo=zone))
    found = []
    for _ in range(count):
        next_us = next_due_us(cron(expression), after_us, 0, zone)
        assert next_us is not None
        assert next_us > after_us
        after_us = next_us
        found.append((EPOCH + timedelta(microseconds=next_us)).astimezone(zone).isoformat())
    return found


@given(st.integers(1, 2**62), st.integers(0, 2**62), st.integers(-1, 2**62))
def test_every_is_due_at_multiples_of_its_period(period_us: int, start_us: int, after_us: int) -> None:
    found = next_due_us(every(period_us), after_us, start_us, UTC)
    assert found is not None
    assert found > after_us
    assert found >= start_us
    assert (found - start_us) % period_us == 0
    assert found == start_us or found - period_us <= after_us


def test_every_fires_at_the_start() -> None:
    assert next_due_us(every(500), 999, 1000, UTC) == 1000
    assert next_due_us(every(500), 1000, 1000, UTC) == 1500


def test_a_source_is_due_only_when_it_samples() -> None:
    sampled = Trigger(TriggerKind.SOURCE, "host", "", 2_000_000, "h", (), None, 0, 0, 1)
    assert next_due_us(sampled, 0, 0, UTC) == 2_000_000
    assert next_due_us(Trigger(TriggerKind.SOURCE, "mqtt", "a", 0, "m", (), None, 0, 0, 1), 0, 0, UTC) is None


def test_cron_on_ordinary_days() -> None:
    assert due("0 6 * * 1-5", "2026-01-02 06:00", BERLIN, 2) == [
        "2026-01-05T06:00:00+01:00",
        "2026-01-06T06:00:00+01:00",
    ]
    assert due("*/15 * * * *", "2026-01-02 06:00:01", BERLIN) == ["2026-01-02T06:15:00+01:00"]
    assert due("0 0 29 2 *", "2026-01-01 00:00", UTC) == ["2028-02-29T00:00:00+00:00"]


def test_seconds_stand_last() -> None:
    assert due("30 6 * * * 15", "2026-01-02 06:30", UTC) == ["2026-01-02T06:30:15+00:00"]
    assert due("* * * * * */20", "2026-01-02 06:30:01", UTC, 3) == [
        "2026-01-02T06:30:20+00:00",
        "2026-01-02T06:30:40+00:00",
        "2026-01-02T06:31:00+00:00",
    ]


@pytest.mark.parametrize("expression", ["30 2 * * *", "30 2 * * * 0"])
def test_a_time_in_the_gap_runs_at_its_end(expression: str) -> None:
    """On 29 March 2026 the clocks of Berlin go from 02:00 to 03:00."""
    assert due(expression, "2026-03-28 12:00", BERLIN, 2) == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]


@pytest.mark.parametrize("expression", ["30 2 * * *", "30 2 * * * 0"])
def test_a_time_that_comes_twice_runs_once(expression: str) -> None:
    """On 25 October 2026 they go from 03:00 back to 02:00."""
    assert due(expression, "2026-10-24 12:00", BERLIN, 2) == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]


def test_asking_in_the_second_pass_of_the_hour() -> None:
    second_pass = us(datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1))
    found = next_due_us(cron("30 2 * * *"), second_pass, 0, BERLIN)
    assert found == us(datetime(2026, 10, 26, 2, 30, tzinfo=BERLIN))


def test_a_job_of_every_minute_follows_the_wall() -> None:
    assert due("* * * * *", "2026-03-29 01:59", BERLIN) == ["2026-03-29T03:00:00+02:00"]
    assert due("0 * * * *", "2026-10-25 01:30", BERLIN, 3) == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]


def test_a_change_of_half_an_hour() -> None:
    """On 4 October 2026 Lord Howe goes from 02:00 to 02:30."""
    assert due("10 2 * * *", "2026-10-03 12:00", LORD_HOWE) == ["2026-10-04T02:30:00+11:00"]
    assert due("40 2 * * *", "2026-10-03 12:00", LORD_HOWE) == ["2026-10-04T02:40:00+11:00"]


zones = st.sampled_from([UTC, BERLIN, LORD_HOWE, ZoneInfo("America/New_York"), ZoneInfo("Pacific/Apia")])
moments = st.integers(us(datetime(2005, 1, 1, tzinfo=UTC)), us(datetime(2035, 1, 1, tzinfo=UTC)))


@settings(deadline=None)
@given(zones, moments, st.integers(0, 59), st.integers(0, 23))
def test_a_daily_job_comes_once_a_day(zone: tzinfo, after_us: int, minute: int, hour: int) -> None:
    times = []
    for _ in range(5):
        next_us = next_due_us(cron(f"{minute} {hour} * * *"), after_us, 0, zone)
        assert next_us is not None
        assert next_us > after_us
        after_us = next_us
        times.append((EPOCH + timedelta(microseconds=next_us)).astimezone(zone))
    for one, other in pairwise(times):
        assert timedelta(hours=21) <= other - one <= timedelta(hours=49)
        assert one.date() < other.date()


def test_the_end_of_the_calendar_is_never() -> None:
    assert next_due_us(cron("0 0 * * *"), 2**62, 0, UTC) is None
    assert next_due_us(cron("0 0 * * *"), us(datetime(9990, 1, 1, tzinfo=UTC)), 0, UTC) is None


@pytest.mark.parametrize(
    "expression", ["0 6 * * *", "*/5 8-17 * * MON-FRI", "0 0 1,15 * * 30", "0 0 L * *", "59 23 31 12 *"]
)
def test_right_expressions(expression: str) -> None:
    validate_cron(expression)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "it has 0 fields, not five, or six with seconds last"),
        ("* * *", "it has 3 fields"),
        ("* * * * * * *", "it has 7 fields"),
        ("61 * * * *", "`61` is no minute"),
        ("* 24 * * *", "`24` is no hour"),
        ("* * 32 * *", "`32` is no day-of-month"),
        ("* * * 13 *", "`13` is no month"),
        ("* * * * 8", "`8` is no day-of-week"),
        ("* * * * * 60", "`60` is no second"),
        ("*/0 * * * *", "`*/0` is no minute"),
        ("a * * * *", "`a` is no minute"),
        ("0 0 30 2 *", "`30` is no day-of-month"),
        ("0 0 */31 * 1#5", "never comes due"),
        (f"{'1,' * 200}1 * * * *", "it has 409 characters, more than 200"),
    ],
)
def test_wrong_expressions(expression: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        validate_cron(expression)
    assert message in str(caught.value)


@settings(deadline=None)
@given(st.text(st.sampled_from("0123456789*/,-#L SUNJA"), max_size=30))
def test_any_text_is_right_or_refused(expression: str) -> None:
    try:
        validate_cron(expression)
    except ValueError as error:
        assert str(error)
        return
    assert next_due_us(cron(expression), us(datetime(2026, 1, 1, tzinfo=UTC)), 0, BERLIN)
