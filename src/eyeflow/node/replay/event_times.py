"""Event times of recordings: ISO 8601 (UTC when no zone is given), or seconds, ms, us or ns since 1970."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

TIME_MAX_US = 2**62
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)

SECONDS_BELOW, MS_BELOW, US_BELOW = 10**11, 10**14, 10**17
"""A number below the first counts seconds (until the year 5138), then milliseconds, microseconds, nanoseconds."""


def parse_time(value: object) -> int:
    """Return microseconds since 1970 UTC; raises ValueError with a reason for anything that is no time from 1970 on."""
    if isinstance(value, str):
        time_us = _parse_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        time_us = _from_epoch(value)
    else:
        raise ValueError(f"{value!r} is no time")
    if not 0 <= time_us < TIME_MAX_US:
        raise ValueError(f"{value!r} lies outside the times from 1970 on")
    return time_us


def _parse_text(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _parse_other_text(text)
    # A number such as 20260301 is a date for fromisoformat, and one such as 1767225600 is not.
    if moment.tzinfo is None:
        elapsed = moment - _EPOCH
        return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    return (moment - _EPOCH_UTC) // _US


def _parse_other_text(text: str) -> int:
    stripped = text.strip()
    try:
        return _from_epoch(int(stripped) if stripped.isdecimal() else float(stripped))
    except (ValueError, OverflowError):
        pass
    if stripped != text:
        return _parse_text(stripped)
    raise ValueError(f"{text[:40]!r} is no time: write 2026-03-01T06:00:00Z or seconds since 1970")


def _from_epoch(number: float) -> int:
    if not math.isfinite(number):
        raise ValueError(f"{number} is no time")
    # Whole numbers stay exact; a float of seconds is right to the microsecond.
    if number < SECONDS_BELOW:
        return round(number * 1_000_000)
    if number < MS_BELOW:
        return round(number * 1000)
    return round(number) if number < US_BELOW else round(number) // 1000
