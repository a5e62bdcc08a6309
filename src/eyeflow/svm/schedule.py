"""When an EVERY or CRON trigger is due. Pure: the time and the time zone come in as arguments.

Cron follows Debian's cron (through the cronsim library): when the clocks go forward, a job at a fixed time that does
not exist runs at the first moment after the gap; when they go back, it runs once. A job whose minute or hour starts
with `*` follows the clock on the wall.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from eyeflow.base.reading import Unreadable

if TYPE_CHECKING:
    from cronsim import CronSim

from eyeflow.svm.program import Trigger, TriggerKind

EXPRESSION_CHARACTERS_MAX = 200
"""Longest cron expression."""
REPEATS_MAX = 100_000
"""More than the times on the wall in any hours that the clocks go back over: a day has 86,400 seconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR = 9_900
"""Python's calendar ends with the year 9999."""
_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week", "second")


def next_due_us(trigger: Trigger, after_us: int, start_us: int, zone: tzinfo) -> int | None:
    """Return the first time after `after_us` at which a trigger is due, None when it never is again.

    Times are microseconds since 1970 UTC. EVERY is due at `start_us` and then each period; CRON by the wall clock of
    `zone`. A source that samples (`period_us` not 0) is due as EVERY is; any other trigger never.
    """
    if trigger.kind is TriggerKind.CRON:
        return _next_cron_us(trigger.address, after_us, zone)
    return _next_period_us(trigger.period_us, after_us, start_us) if trigger.period_us > 0 else None


def validate_cron(expression: str) -> None:
    """Raise Unreadable, whose text says what is wrong, unless a cron expression is right and comes due some day."""
    parts = expression.split()
    if len(parts) not in (5, 6):
        raise Unreadable(f"it has {len(parts)} fields, not five, or six with seconds last")
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        raise Unreadable(f"it has {len(expression)} characters, more than {EXPRESSION_CHARACTERS_MAX}")
    from cronsim import CronSimError

    try:
        first = next(_times(expression, datetime(2000, 1, 1)), None)
    except CronSimError as error:
        raise Unreadable(_explain(str(error), parts)) from None
    if first is None:
        raise Unreadable("it never comes due")


def _explain(error: str, parts: list[str]) -> str:
    """Turn `Bad minute` into a sentence that shows the field."""
    for name, part in zip(_FIELDS, parts, strict=False):
        if error.endswith(name):
            return f"`{part}` is no {name}"
    return "it is not understood"


def _next_period_us(period_us: int, after_us: int, start_us: int) -> int:
    if after_us < start_us:
        return start_us
    return start_us + ((after_us - start_us) // period_us + 1) * period_us


def _next_cron_us(expression: str, after_us: int, zone: tzinfo) -> int | None:
    try:
        after = (_EPOCH + timedelta(microseconds=after_us)).astimezone(zone)
    except OverflowError:
        return None
    if after.year > _LAST_YEAR:
        return None
    due = _next_fixed(expression, after, zone) if _is_fixed(expression) else _next_on_wall(expression, after)
    return None if due is None else (due - _EPOCH) // timedelta(microseconds=1)


def _seconds_first(expression: str) -> str:
    """Put the seconds where cronsim wants them."""
    parts = expression.split()
    return " ".join([parts[5], *parts[:5]]) if len(parts) == 6 else " ".join(["0", *parts])


def _times(expression: str, after: datetime) -> CronSim:
    from cronsim import CronSim  # few rules have a cron trigger

    return CronSim(_seconds_first(expression), after)


def _is_fixed(expression: str) -> bool:
    """Say whether minute and hour name times of the day."""
    minute, hour = expression.split()[:2]
    return not minute.startswith("*") and not hour.startswith("*")


def _next_on_wall(expression: str, after: datetime) -> datetime | None:
    return next(_times(expression, after), None)


def _next_fixed(expression: str, after: datetime, zone: tzinfo) -> datetime | None:
    """Walk the wall clock without a zone, so that no time is missed, then place each time in the zone."""
    times = _times(expression, after.replace(tzinfo=None))
    for _ in range(REPEATS_MAX):
        wall = next(times, None)
        if wall is None:
            return None
        due = _placed(wall, zone)
        if due > after:
            return due
    raise AssertionError("more times than there are seconds lie in one change of the clocks")


def _placed(wall: datetime, zone: tzinfo) -> datetime:
    """Return the moment of a time on the wall: of one in a gap the gap's end, of one that comes twice the first."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    return _gap_end(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), moment, zone)


def _gap_end(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the second between two moments at which the clocks of a zone change."""
    offset = before.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        changed = (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() != offset
        low, high = (low, middle) if changed else (middle, high)
    return before + timedelta(seconds=high)
