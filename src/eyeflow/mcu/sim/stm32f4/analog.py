"""ADC1: regular conversions started by software, one channel or a sequence, with values from outside."""

from __future__ import annotations

from collections.abc import Callable

from eyeflow.mcu.sim.bus import Registers
from eyeflow.mcu.sim.nvic import Nvic
from eyeflow.mcu.sim.timeline import Timeline

SR, CR1, CR2, SMPR1, SMPR2, SQR1, SQR3, DR = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x2C, 0x34, 0x4C
EOC, STRT = 1 << 1, 1 << 4
ADC_IRQ = 18
COUNTS_MAX = 4095
_ON, _CONTINUOUS, _START = 1 << 0, 1 << 1, 1 << 30
_SAMPLE_CYCLES = (3, 15, 28, 56, 84, 112, 144, 480)


class Adc(Registers):
    """ADC1. `sample(channel)` gives 0..4095 when a conversion ends."""

    def __init__(self, nvic: Nvic, timeline: Timeline, divider: Callable[[], int]) -> None:
        super().__init__()
        self._nvic, self._timeline, self._divider = nvic, timeline, divider
        self.sample: Callable[[int], int] = lambda channel: 0
        self._rank = 0
        self._done = timeline.alarm(self._finish)
        self.readers[DR] = self._read_data
        self.writers.update({CR2: self._write_cr2, SR: self._write_sr, CR1: self._write_cr1})

    def reset(self) -> None:
        """Stop converting."""
        super().reset()
        self._done.stop()

    def _channel(self) -> int:
        register, place = SQR3 - 4 * (self._rank // 6), self._rank % 6
        return self.get(register) >> (5 * place) & 0x1F

    def _conversion_cycles(self) -> int:
        channel = self._channel()
        register, place = (SMPR2, channel) if channel < 10 else (SMPR1, channel - 10)
        bits = 12 - 2 * (self.get(CR1) >> 24 & 3)
        prescaler = 2 * (self.get(0x304) >> 16 & 3) + 2
        return (_SAMPLE_CYCLES[self.get(register) >> (3 * place) & 7] + bits) * prescaler * self._divider()

    def _write_cr2(self, value: int) -> None:
        self.values[CR2] = value & ~_START
        if value & _START and value & _ON:
            self._rank = 0
            self.values[SR] = self.get(SR) | STRT
            self._done.set(self._timeline.cycles + self._conversion_cycles())
        elif not value & _ON:
            self._done.stop()

    def _write_cr1(self, value: int) -> None:
        self.values[CR1] = value
        self._drive()

    def _write_sr(self, value: int) -> None:
        self.values[SR] = self.get(SR) & value
        self._drive()

    def _finish(self) -> None:
        counts = min(max(self.sample(self._channel()), 0), COUNTS_MAX)
        self.values[DR] = counts >> (2 * (self.get(CR1) >> 24 & 3))
        self.values[SR] = self.get(SR) | EOC
        length = (self.get(SQR1) >> 20 & 0xF) + 1
        if self._rank + 1 < length or self.get(CR2) & _CONTINUOUS:
            self._rank = (self._rank + 1) % length
            self._done.set(self._timeline.cycles + self._conversion_cycles())
        self._drive()

    def _read_data(self) -> int:
        self.values[SR] = self.get(SR) & ~EOC
        self._drive()
        return self.get(DR)

    def _drive(self) -> None:
        self._nvic.set_line(ADC_IRQ, bool(self.get(SR) & EOC and self.get(CR1) >> 5 & 1))
