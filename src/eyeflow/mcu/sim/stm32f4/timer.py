"""General-purpose timers TIM2 to TIM5 as counters with four compare channels: enough for Embassy's time driver."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from eyeflow.mcu.sim.bus import Registers
from eyeflow.mcu.sim.nvic import Nvic
from eyeflow.mcu.sim.timeline import NEVER, Timeline

CR1, DIER, SR, EGR, CNT, PSC, ARR, CCR1 = 0x00, 0x0C, 0x10, 0x14, 0x24, 0x28, 0x2C, 0x34
CHANNELS = 4


class Timer(Registers):
    """An up-counter. Its count is computed from virtual time; the next flag is planned, not polled."""

    def __init__(self, nvic: Nvic, timeline: Timeline, irq: int, divider: Callable[[], int], bits: int = 16) -> None:
        top = (1 << bits) - 1
        super().__init__({ARR: top})
        self._nvic, self._timeline, self._irq, self._divider, self._mask = nvic, timeline, irq, divider, top
        self._alarm = timeline.alarm(self._reach)
        self._base_cycles, self._base_count, self._seen, self._prescaler = 0, 0, 0, 0
        self.readers[CNT] = self._count
        self.writers.update({CR1: self._write_cr1, SR: self._write_sr, EGR: self._write_egr, CNT: self._start_at})
        self.writers.update({ARR: partial(self._write_compare, ARR), DIER: self._write_dier})
        for channel in range(CHANNELS):
            offset = CCR1 + 4 * channel
            self.writers[offset] = partial(self._write_compare, offset)

    def reset(self) -> None:
        """Stop, at zero."""
        super().reset()
        self._alarm.stop()
        self._base_count, self._seen, self._prescaler = 0, 0, 0

    @property
    def _running(self) -> bool:
        return bool(self.get(CR1) & 1)

    @property
    def _cycles_per_count(self) -> int:
        return (self._prescaler + 1) * self._divider()

    def _total(self) -> int:
        """Return the count without wrapping since the base."""
        if not self._running:
            return self._base_count
        return self._base_count + (self._timeline.cycles - self._base_cycles) // self._cycles_per_count

    def _count(self) -> int:
        return self._total() % (self.get(ARR) + 1)

    def _start_at(self, count: int) -> None:
        self._base_cycles, self._base_count, self._seen = self._timeline.cycles, count & self._mask, count & self._mask
        self._plan()

    def _write_cr1(self, value: int) -> None:
        count = self._count()
        self.values[CR1] = value
        self._start_at(count)

    def _write_sr(self, value: int) -> None:
        self.values[SR] = self.get(SR) & value
        self._drive()

    def _write_dier(self, value: int) -> None:
        self.values[DIER] = value
        self._drive()

    def _write_egr(self, value: int) -> None:
        if value & 1:
            self._prescaler = self.get(PSC)
            self._start_at(0)
            if not self.get(CR1) & 1 << 2:
                self._flag(1)

    def _write_compare(self, offset: int, value: int) -> None:
        self._catch_up()
        self.values[offset] = value & self._mask
        self._plan()

    def _matches(self) -> list[tuple[int, int]]:
        """Return (count without wrapping, flag) of the next update and the next match of each channel."""
        period = self.get(ARR) + 1
        turn = self._seen // period * period
        found = [(turn + period, 1)]
        for channel in range(CHANNELS):
            target = turn + self.get(CCR1 + 4 * channel)
            found.append((target if target > self._seen else target + period, 2 << channel))
        return found

    def _catch_up(self) -> None:
        now = self._total()
        for target, flag in self._matches():
            if target <= now:
                self.values[SR] = self.get(SR) | flag
        self._seen = max(self._seen, now)

    def _plan(self) -> None:
        target = min((count for count, _ in self._matches()), default=NEVER)
        if self._running:
            self._alarm.set(self._base_cycles + (target - self._base_count) * self._cycles_per_count)
        else:
            self._alarm.stop()

    def _reach(self) -> None:
        self._catch_up()
        self._drive()
        self._plan()

    def _flag(self, flag: int) -> None:
        self.values[SR] = self.get(SR) | flag
        self._drive()

    def _drive(self) -> None:
        self._nvic.set_line(self._irq, bool(self.get(SR) & self.get(DIER) & 0x1F))
