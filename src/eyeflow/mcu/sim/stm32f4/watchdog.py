"""IWDG: once started, it resets the chip unless it is fed in time; it runs on, whatever the core does."""

from __future__ import annotations

from collections.abc import Callable

from eyeflow.mcu.sim.bus import Registers
from eyeflow.mcu.sim.stm32f4.clocks import LSI_HZ
from eyeflow.mcu.sim.timeline import Timeline

KR, PR, RLR, SR = 0x00, 0x04, 0x08, 0x0C
_FEED, _START, _UNLOCK = 0xAAAA, 0xCCCC, 0x5555


class Watchdog(Registers):
    """The independent watchdog."""

    def __init__(self, timeline: Timeline, on_bite: Callable[[], None]) -> None:
        super().__init__({RLR: 0xFFF})
        self._timeline = timeline
        self._alarm = timeline.alarm(on_bite)
        self._started = False
        self._unlocked = False
        self.readers.update({KR: lambda: 0, SR: lambda: 0})
        self.writers.update({KR: self._write_key, PR: lambda v: self._set(PR, v & 7), RLR: lambda v: self._set(RLR, v)})

    def reset(self) -> None:
        """Stop, as every reset does."""
        super().reset()
        self._alarm.stop()
        self._started = self._unlocked = False

    def _set(self, offset: int, value: int) -> None:
        if self._unlocked:
            self.values[offset] = value & 0xFFF

    def _write_key(self, key: int) -> None:
        self._unlocked = key == _UNLOCK
        if key == _START:
            self._started = True
        if key in (_START, _FEED) and self._started:
            self._alarm.set(self._timeline.cycles + self._timeline.cycles_of_ns(self._timeout_ns()))

    def _timeout_ns(self) -> int:
        divider = 4 << min(self.get(PR), 6)
        return (self.get(RLR) + 1) * divider * 1_000_000_000 // LSI_HZ
