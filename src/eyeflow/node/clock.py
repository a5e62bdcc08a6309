"""Time as the engine sees it: passed in, so that a simulation owns it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

STEP_US_MIN = 1_000_000
"""A smaller difference to the steady clock is no setting of the clock: time services slew it by 500 ppm at most."""


class Clock(Protocol):
    """The wall clock (UTC), a steady one beside it, and waiting."""

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z."""
        ...

    def steady_us(self) -> int:
        """Return microseconds of a clock that nobody sets and that goes on while the machine sleeps."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Return after `duration_s` seconds."""
        ...


class SystemClock:
    """The clock of this machine. It may jump when somebody sets it: `ClockWatch` tells."""

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z."""
        return time.time_ns() // 1000

    def steady_us(self) -> int:
        """Return microseconds since the machine started, those it slept included where the system counts them."""
        return time.clock_gettime_ns(STEADY) // 1000

    async def sleep(self, duration_s: float) -> None:
        """Return after `duration_s` seconds."""
        await asyncio.sleep(duration_s)


class ClockWatch:
    """Notices when somebody sets the wall clock, which no rule may take for time that passed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_us = clock.now_us() - clock.steady_us()

    def step_us(self) -> int:
        """Return by how much the wall clock was set since the last call, forward or back; 0 when it just went on."""
        ahead_us = self._clock.now_us() - self._clock.steady_us()
        step_us, self._ahead_us = ahead_us - self._ahead_us, ahead_us
        return step_us if abs(step_us) >= STEP_US_MIN else 0
