"""Options that take a duration: `90s`, `5m` or `5min`, `1h30min`, `30d`."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf, isfinite

import typer

from eyeflow.base.reading import Unreadable
from eyeflow.cli.files import usage_error

_MINUTES = re.compile(r"(?<=[0-9])m(?![a-z])")


def duration_us(text: str) -> int:
    """Return the microseconds of a duration; raises Unreadable for what is none.

    `5m` is five minutes, as in other commands. In rules it is `5min`: there `m` would be read as metres.
    """
    from eyeflow.base.duration import parse_duration  # few commands need it

    return parse_duration(_MINUTES.sub("min", text))


def whole_seconds(option: str, text: str, longest_s: int, advice: str) -> int:
    """Return a duration in seconds, from one second to `longest_s`; anything else is a wrong use of `option`."""
    from eyeflow.base.duration import format_duration

    try:
        given_s = duration_us(text) // 1_000_000
    except Unreadable as error:
        raise usage_error(f"{option}: {error}", advice) from None
    if not 1 <= given_s <= longest_s:
        longest = format_duration(longest_s * 1_000_000)
        raise usage_error(f"{option} {text} is out of range: from 1s to {longest}", advice)
    return given_s


def seconds(least_s: float = 0.0, most_s: float = inf) -> Callable[[str], float]:
    """Return the reader of an option: a duration, or a plain number of seconds, within bounds; it returns seconds."""

    def read(text: str) -> float:
        try:
            given_s = float(text)
        except ValueError:
            given_s = _of_duration(text)
        if not isfinite(given_s) or not least_s <= given_s <= most_s:
            end = f"to {most_s:g} seconds" if isfinite(most_s) else "seconds on"
            raise typer.BadParameter(f"{text} is out of range: from {least_s:g} {end}")
        return given_s

    return read


def _of_duration(text: str) -> float:
    try:
        return duration_us(text) / 1e6
    except Unreadable as error:
        raise typer.BadParameter(f"{error}") from None
