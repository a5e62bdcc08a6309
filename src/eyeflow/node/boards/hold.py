"""Lets the line of a board go for a while: something else works on the board, and will reset it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from eyeflow.node.clock import Clock

HOLD_S_MAX = 600.0
"""After this time the line is taken back by itself: whoever asked for it may have died."""


@dataclass(slots=True)
class Hold:
    """Why a line is let go, empty while it is not. `changed` is set when that begins or ends."""

    why: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _ends_us: int = 0

    def begin(self, why: str, clock: Clock, seconds: float = HOLD_S_MAX) -> None:
        """Let the line go."""
        self.why, self._ends_us = why, clock.steady_us() + int(min(seconds, HOLD_S_MAX) * 1e6)
        self.changed.set()

    def end(self) -> None:
        """Take the line back."""
        self.why = ""
        self.changed.set()

    async def over(self, clock: Clock) -> None:
        """Return once the line may be taken."""
        while self.why:
            self.changed.clear()
            left_s = (self._ends_us - clock.steady_us()) / 1e6
            if left_s <= 0:
                self.why = ""
                return
            waits = {asyncio.ensure_future(clock.sleep(left_s)), asyncio.ensure_future(self.changed.wait())}
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()
