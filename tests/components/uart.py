"""What a serial port reads from a line on which somebody sends at another rate: the levels of the wire, sampled."""

from __future__ import annotations

import math

BITS = 10
"""A start bit (low), eight bits, the lowest first, and a stop bit (high)."""


def resample(data: bytes, sent_baud: int, read_baud: int) -> bytes:
    """Return the bytes that a port at `read_baud` makes of bytes that are sent one after the other at `sent_baud`."""
    levels = [level for byte in data for level in (0, *((byte >> place) & 1 for place in range(8)), 1)]
    found, at = bytearray(), 0.0
    while (start := _falls(levels, math.ceil(at))) is not None:
        # Times are counted in bits of the sender.
        width = sent_baud / read_baud
        bits = [_level(levels, start + (place + 1.5) * width) for place in range(8)]
        found.append(sum(bit << place for place, bit in enumerate(bits)))
        at = start + (BITS - 0.5) * width
    return bytes(found)


def _level(levels: list[int], at: float) -> int:
    """Return the level of the line; without traffic it is high."""
    place = int(at)
    return levels[place] if place < len(levels) else 1


def _falls(levels: list[int], start: int) -> int | None:
    """Return the first bit from `start` on at which the line goes from high to low."""
    edges = (place for place in range(start, len(levels)) if levels[place] == 0)
    return next((place for place in edges if place == 0 or levels[place - 1] == 1), None)
