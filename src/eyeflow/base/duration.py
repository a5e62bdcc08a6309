"""Durations as people write them: `1h30min`, `500ms`. The unit in code is the microsecond."""

from __future__ import annotations

import re
from fractions import Fraction

from eyeflow.base.reading import Unreadable

UNITS_US = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "min": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
"""Microseconds in each unit, the largest first."""

TEXT_CHARACTERS_MAX = 200
DURATION_MAX_US = 2**63 - 1
"""A duration is an int of 64 bits."""
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|min|s|h|d)")


def parse_duration(text: str) -> int:
    """Return the microseconds of `90s`, `1.5s`, `1h30min`; units in descending order, each at most once.

    Raises Unreadable, with a message for the user, on anything else.
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        raise Unreadable(f"a duration has at most {TEXT_CHARACTERS_MAX} characters, and this has {len(text)}")
    position, total_us, last_unit_us = 0, 0, UNITS_US["d"] + 1
    while position < len(text):
        part = _PART.match(text, position)
        if part is None or UNITS_US[part[2]] >= last_unit_us:
            raise Unreadable(f"`{text}` is not a duration: write for example 500ms, 2s, 1h30min")
        last_unit_us = UNITS_US[part[2]]
        total_us += round(Fraction(part[1]) * last_unit_us)
        position = part.end()
    if not text:
        raise Unreadable("a duration is empty: write for example 500ms, 2s, 1h30min")
    if total_us > DURATION_MAX_US:
        raise Unreadable(f"`{text}` is too long: the longest duration is about 292,000 years")
    return total_us


def format_duration(duration_us: int) -> str:
    """Return a duration in the largest unit in which it is a whole number: `90s`, `-1500ms`, `0s`."""
    if duration_us == 0:
        return "0s"
    unit = next(name for name, size_us in UNITS_US.items() if duration_us % size_us == 0)
    return f"{duration_us // UNITS_US[unit]}{unit}"
