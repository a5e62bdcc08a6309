"""Options that take a duration."""

from __future__ import annotations

from eyeflow.base.duration import format_duration, parse_duration
from eyeflow.base.reading import Unreadable
from eyeflow.cli.files import usage_error


def whole_seconds(option: str, text: str, longest_s: int, advice: str) -> int:
    """Return a duration in seconds, from one second to `longest_s`; anything else is a wrong use of `option`."""
    try:
        given_s = parse_duration(text) // 1_000_000
    except Unreadable as error:
        raise usage_error(f"{option}: {error}", advice) from None
    if not 1 <= given_s <= longest_s:
        longest = format_duration(longest_s * 1_000_000)
        raise usage_error(f"{option} {text} is out of range: from 1s to {longest}", advice)
    return given_s
