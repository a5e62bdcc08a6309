"""Points and spans of time as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def ago(time_us: int) -> str:
    """Return how long ago a time (microseconds since 1970 UTC, 0 for never) was."""
    return f"{span(datetime.now(UTC).timestamp() - time_us / 1e6)} ago" if time_us else "never"


def span(seconds: float) -> str:
    """Return a span of time in its largest fitting unit."""
    whole_s = max(0, round(seconds))
    for unit, size_s in UNITS:
        if whole_s >= 2 * size_s:
            return f"{whole_s // size_s}{unit}"
    return f"{whole_s}s"


def clock_time(time_us: int) -> str:
    """Return the time of day where the user is, with the date when that is another one than today."""
    then, now = datetime.fromtimestamp(time_us / 1e6).astimezone(), datetime.now().astimezone()
    return then.strftime("%H:%M" if then.date() == now.date() else "%Y-%m-%d %H:%M")
