"""Time as the engine sees it: passed in, so that a simulation owns it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """The wall clock (UTC) and waiting on it."""

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Return after `duration_s` seconds."""
        ...


class SystemClock:
    """The clock of this machine. It may jump when somebody sets it; the scheduler copes."""

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z."""
        return time.time_ns() // 1000

    async def sleep(self, duration_s: float) -> None:
        """Return after `duration_s` seconds."""
        await asyncio.sleep(duration_s)
