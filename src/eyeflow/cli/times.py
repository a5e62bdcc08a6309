"""Points and spans of time as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def ago(time_us: int) -> str:
    """Return how long ago a time (microseconds since 1970 UTC, 0 for never) was."""
    return f"{span(datetime.now(UTC).timestamp() - time_us / 1e6)} ago" if time_us else "never"


def point_us(option: str, text: str) -> int:
    """Return a point of time that an option names: `2h` (so long ago), or ISO 8601, in UTC unless it says otherwise."""
    from eyeflow.base.reading import Unreadable
    from eyeflow.cli.durations import duration_us
    from eyeflow.cli.files import usage_error

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return max(0, int(datetime.now(UTC).timestamp() * 1e6) - duration_us(text))
        except Unreadable:
            raise usage_error(f"{option}: `{text}` is no time", "write 2h, or 2026-11-30T08:15:00Z") from None
    return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6))


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
