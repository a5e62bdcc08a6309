"""USART as the STM32F4 has it: one byte of buffer each way, RXNE, TXE, TC, IDLE and overrun, timed by BRR."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from eyeflow.mcu.sim.bus import Registers
from eyeflow.mcu.sim.nvic import Nvic
from eyeflow.mcu.sim.timeline import Timeline

SR, DR, BRR, CR1 = 0x00, 0x04, 0x08, 0x0C
ORE, IDLE, RXNE, TC, TXE = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7
_ENABLED, _TRANSMIT, _RECEIVE, _OVER8 = 1 << 13, 1 << 3, 1 << 2, 1 << 15
FRAME_BITS = 10
"""Start, eight data bits, stop."""

RESET_STATUS = TXE | TC


class Usart(Registers):
    """One USART. `feed` queues bytes on its RX line; `on_byte` gets each byte when its stop bit has passed."""

    def __init__(self, nvic: Nvic, timeline: Timeline, irq: int, divider: Callable[[], int]) -> None:
        super().__init__()
        self._nvic, self._timeline, self._irq, self._divider = nvic, timeline, irq, divider
        self.on_byte: Callable[[int], None] = lambda byte: None
        self.line: deque[int] = deque()
        self.overruns = 0
        self._arrives = timeline.alarm(self._arrive)
        self._falls_idle = timeline.alarm(self._fall_idle)
        self._sent = timeline.alarm(self._finish)
        self.readers.update({SR: lambda: self._status, DR: self._read_data})
        self.writers.update({SR: self._write_status, DR: self._write_data, CR1: self._write_control})
        self._start()

    def _start(self) -> None:
        self._status, self._data, self._shifting, self._next = RESET_STATUS, 0, -1, -1

    def reset(self) -> None:
        """Lose what is under way; bytes still on the line stay there."""
        super().reset()
        for alarm in (self._arrives, self._falls_idle, self._sent):
            alarm.stop()
        self._start()

    def feed(self, data: bytes) -> None:
        """Queue bytes on the RX line, back to back."""
        idle = not self.line
        self.line.extend(data)
        if idle and data and self._receives:
            self._arrives.set(self._timeline.cycles + self.frame_cycles)
            self._falls_idle.stop()

    @property
    def _receives(self) -> bool:
        return self.get(CR1) & (_ENABLED | _RECEIVE) == _ENABLED | _RECEIVE

    @property
    def frame_cycles(self) -> int:
        """Core cycles of one byte on the line."""
        divisor = self.get(BRR)
        if self.get(CR1) & _OVER8:
            divisor = (divisor & ~0xF) // 2 + (divisor & 7)
        return max(divisor, 1) * FRAME_BITS * self._divider()

    def _arrive(self) -> None:
        byte = self.line.popleft()
        if self._status & RXNE:
            self._status |= ORE
            self.overruns += 1
        else:
            self._data, self._status = byte, self._status | RXNE
        later = self._arrives if self.line else self._falls_idle
        later.set(self._timeline.cycles + self.frame_cycles)
        self._drive()

    def _fall_idle(self) -> None:
        self._status |= IDLE
        self._drive()

    def _read_data(self) -> int:
        self._status &= ~(RXNE | ORE | IDLE)
        self._drive()
        return self._data

    def _write_status(self, value: int) -> None:
        self._status &= value | ~(TC | RXNE)
        self._drive()

    def _write_data(self, value: int) -> None:
        if not self.get(CR1) & _ENABLED or not self.get(CR1) & _TRANSMIT:
            return
        self._status &= ~TC
        if self._shifting < 0:
            self._shift(value & 0xFF)
        else:
            self._next = value & 0xFF
            self._status &= ~TXE
        self._drive()

    def _shift(self, byte: int) -> None:
        self._shifting = byte
        self._sent.set(self._timeline.cycles + self.frame_cycles)

    def _finish(self) -> None:
        byte, self._shifting = self._shifting, -1
        if self._next >= 0:
            following, self._next = self._next, -1
            self._shift(following)
            self._status |= TXE
        else:
            self._status |= TC
        self.on_byte(byte)
        self._drive()

    def _write_control(self, value: int) -> None:
        received = self._receives
        self.values[CR1] = value
        if self._receives and not received and self.line:
            self._arrives.set(self._timeline.cycles + self.frame_cycles)
        self._drive()

    def _drive(self) -> None:
        control = self.get(CR1)
        wanted = control & (IDLE | RXNE | TC | TXE)
        if control & RXNE:
            wanted |= ORE
        self._nvic.set_line(self._irq, bool(control & _ENABLED and self._status & wanted))
