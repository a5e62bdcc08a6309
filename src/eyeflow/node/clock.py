"""Time as the engine sees it: passed in, so that a simulation owns it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from eyeflow.base.clock import steady_clock_us, wall_clock_us


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
        return wall_clock_us()

    def steady_us(self) -> int:
        """Return microseconds since the machine started, those it slept included where the system counts them."""
        return steady_clock_us()

    async def sleep(self, duration_s: float) -> None:
        """Return after `duration_s` seconds."""
        await asyncio.sleep(duration_s)
