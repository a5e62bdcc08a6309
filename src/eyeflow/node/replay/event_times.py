"""Event times of recordings: ISO 8601 (UTC when no zone is given), or seconds, ms, us or ns since 1970."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from eyeflow.base.reading import Unreadable

TIME_MAX_US = 250_246_627_200_000_000
"""9900-01-01: the calendar of Python ends a century later, and a time zone must not carry a time beyond it."""
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)

SECONDS_BELOW, MS_BELOW, US_BELOW = 10**11, 10**14, 10**17
"""A number below the first counts seconds (until the year 5138), then milliseconds, microseconds, nanoseconds."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,2})?")
_DATE_OF_DIGITS = re.compile(
    r"(?:19[789]|20[0-9])[0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[0-9]{4}(?:[0-9]{2})?)?"
)
"""20260301, 202603010600 or 20260301060000: read as numbers they would lie in 1970, in 1976 or beyond 2500."""


def parse_time(value: object) -> int:
    """Return microseconds since 1970 UTC; raises Unreadable with a reason for anything that is no time from 1970 on."""
    if isinstance(value, str):
        time_us = _parse_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        time_us = _from_epoch(value)
    else:
        raise Unreadable(f"{value!r} is no time")
    if not 0 <= time_us < TIME_MAX_US:
        raise Unreadable(f"{_shown(value)} lies outside the times from 1970 to 9899")
    return time_us


def _parse_text(text: str) -> int:
    """A text of digits is a number and never a date: 1701122400000 would be a day of 1701 for `fromisoformat`."""
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped):
        return _parse_number(stripped)
    try:
        moment = datetime.fromisoformat(stripped)
    except ValueError:
        raise Unreadable(f"{_shown(text)} is no time: write 2026-03-01T06:00:00Z or seconds since 1970") from None
    if moment.tzinfo is None:
        elapsed = moment - _EPOCH
        return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    return (moment - _EPOCH_UTC) // _US


def _parse_number(text: str) -> int:
    if text.isdecimal():
        if len(text) in (8, 12, 14) and _DATE_OF_DIGITS.fullmatch(text):
            written = f"{text[:4]}-{text[4:6]}-{text[6:8]}"
            raise Unreadable(f"{text} may be a number or a date: write {written} or {text}.0")
        return _from_epoch(int(text))
    return _from_epoch(Decimal(text))


def _from_epoch(number: float | Decimal) -> int:
    if not math.isfinite(number):
        raise Unreadable(f"{number} is no time")
    # Whole numbers and texts stay exact; a float of seconds is right to the microsecond.
    if number < SECONDS_BELOW:
        return round(number * 1_000_000)
    if number < MS_BELOW:
        return round(number * 1000)
    return round(number) if number < US_BELOW else round(number) // 1000


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
