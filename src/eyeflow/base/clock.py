"""The clocks of a machine: the one that people set, and a steady one beside it that tells when somebody did."""

from __future__ import annotations

import time
from collections.abc import Callable

NowUs = Callable[[], int]
"""Returns microseconds: of a wall clock since 1970-01-01T00:00Z, of a steady one since some moment."""

STEP_US_MIN = 1_000_000
"""A smaller difference to the steady clock is no setting of the clock: time services slew it by 500 ppm at most."""

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def wall_clock_us() -> int:
    """Return microseconds since 1970-01-01T00:00Z. It jumps when somebody sets the clock: `ClockWatch` tells."""
    return time.time_ns() // 1000


def steady_clock_us() -> int:
    """Return microseconds since the machine started, those it slept included where the system counts them."""
    return time.clock_gettime_ns(_STEADY) // 1000


class ClockWatch:
    """Notices when somebody sets the wall clock, which nothing may take for time that passed."""

    def __init__(self, wall: NowUs, steady: NowUs) -> None:
        self._wall, self._steady = wall, steady
        self._ahead_us = wall() - steady()

    def step_us(self) -> int:
        """Return by how much the wall clock was set since the last call, forward or back; 0 when it just went on."""
        ahead_us = self._wall() - self._steady()
        step_us, self._ahead_us = ahead_us - self._ahead_us, ahead_us
        return step_us if abs(step_us) >= STEP_US_MIN else 0
