"""The interrupt controller and system control space of an ARMv7-M core (ARM DDI 0403E, chapters B1 and B3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from eyeflow.mcu.sim.bus import Registers
from eyeflow.mcu.sim.timeline import Alarm, Timeline

SYSTICK = 15
PENDSV = 14
SVCALL = 11
HARD_FAULT = 3
FIRST_IRQ = 16
"""Exception number of interrupt 0."""

IRQS = 96
CPUID_M4 = 0x410F_C241
RESET_REQUEST = 0x05FA_0004
IDLE_PRIORITY = 256

_PENDING_SET = {31: 2, 28: PENDSV, 26: SYSTICK}
_PENDING_CLEAR = {27: PENDSV, 25: SYSTICK}


def _bits(value: int) -> list[int]:
    return [bit for bit in range(32) if value >> bit & 1]


class Nvic(Registers):
    """Which exceptions are enabled, pending and how urgent; offsets count from 0xE000_0000."""

    def __init__(self, timeline: Timeline, on_reset_request: Callable[[], None]) -> None:
        super().__init__({0xED00: CPUID_M4, 0xE004: 2, 0x42000: 0x1000_6423})
        self.timeline = timeline
        self.on_reset_request = on_reset_request
        self.on_pending: Callable[[], None] = lambda: None
        self.systick = SysTick(self, timeline)
        self._start()
        self._wire()

    def _start(self) -> None:
        self.enabled: set[int] = set()
        self.pending: set[int] = set()
        self.lines: set[int] = set()
        self.active: list[int] = []

    def reset(self) -> None:
        """Forget everything enabled, pending and active."""
        super().reset()
        self.systick.reset()
        self._start()

    def _wire(self) -> None:
        for word in range(IRQS // 32):
            first = FIRST_IRQ + 32 * word
            self.writers[0xE100 + 4 * word] = partial(self._enable, first)
            self.writers[0xE180 + 4 * word] = partial(self._disable, first)
            self.writers[0xE200 + 4 * word] = partial(self._pend_bits, first)
            self.writers[0xE280 + 4 * word] = partial(self._unpend_bits, first)
            for enable in (0xE100, 0xE180):
                self.readers[enable + 4 * word] = partial(self._enabled_bits, first)
            for pending in (0xE200, 0xE280):
                self.readers[pending + 4 * word] = partial(self._pending_bits, first)
        self.readers[0xED04] = lambda: self.active[-1] if self.active else 0
        self.writers[0xED04] = self._write_icsr
        self.writers[0xED0C] = self._write_aircr
        self.readers[0x1004] = lambda: self.timeline.cycles & 0xFFFF_FFFF  # DWT CYCCNT
        self.systick.wire(self)

    def _enabled_bits(self, first: int) -> int:
        return sum(1 << bit for bit in range(32) if first + bit in self.enabled)

    def _pending_bits(self, first: int) -> int:
        return sum(1 << bit for bit in range(32) if first + bit in self.pending)

    def _disable(self, first: int, value: int) -> None:
        self.enabled.difference_update(first + bit for bit in _bits(value))

    def _pend_bits(self, first: int, value: int) -> None:
        for bit in _bits(value):
            self.pend(first + bit)

    def _unpend_bits(self, first: int, value: int) -> None:
        self.pending.difference_update({first + bit for bit in _bits(value)} - self.lines)

    def _enable(self, first: int, value: int) -> None:
        self.enabled.update(first + bit for bit in _bits(value))
        self.on_pending()

    def _write_icsr(self, value: int) -> None:
        for bit, number in _PENDING_SET.items():
            if value >> bit & 1:
                self.pend(number)
        for bit, number in _PENDING_CLEAR.items():
            if value >> bit & 1:
                self.pending.discard(number)

    def _write_aircr(self, value: int) -> None:
        if value & RESET_REQUEST == RESET_REQUEST:
            self.on_reset_request()

    def pend(self, number: int) -> None:
        """Make an exception pending."""
        self.pending.add(number)
        self.on_pending()

    def set_line(self, irq: int, level: bool) -> None:
        """Drive the interrupt line of a peripheral; a line that stays high makes its interrupt pending again."""
        number = FIRST_IRQ + irq
        if not level:
            self.lines.discard(number)
        elif number not in self.lines:
            self.lines.add(number)
            self.pend(number)

    def priority(self, number: int) -> int:
        """Return how urgent an exception is: lower is more urgent; four bits as the STM32F4 has them."""
        if number <= HARD_FAULT:
            return number - 4
        byte = (0xE400 + number - FIRST_IRQ) if number >= FIRST_IRQ else (0xED14 + number)
        return self.values.get(byte & ~3, 0) >> (8 * (byte & 3)) & 0xF0

    def write_byte(self, offset: int, value: int) -> None:
        """Write one byte of a priority register and leave the other three."""
        word, shift = offset & ~3, 8 * (offset & 3)
        self.values[word] = self.values.get(word, 0) & ~(0xFF << shift) | (value & 0xFF) << shift

    def candidate(self) -> int | None:
        """Return the most urgent pending exception that is enabled and more urgent than what runs."""
        ready = [n for n in self.pending if n < FIRST_IRQ or n in self.enabled]
        if not ready:
            return None
        number = min(ready, key=lambda n: (self.priority(n), n))
        return number if self.priority(number) < self.running_priority() else None

    def running_priority(self) -> int:
        """Return the priority of the most urgent active exception."""
        return min((self.priority(number) for number in self.active), default=IDLE_PRIORITY)

    def enter(self, number: int) -> None:
        """Take an exception: it is active and no longer pending."""
        self.pending.discard(number)
        self.active.append(number)

    def leave(self) -> int:
        """End the exception that runs, pending again where its line is still high; returns its number."""
        number = self.active.pop()
        if number in self.lines:
            self.pending.add(number)
        return number


class SysTick:
    """The core's 24-bit down counter; exception 15 at each wrap when asked for."""

    def __init__(self, nvic: Nvic, timeline: Timeline) -> None:
        self._nvic = nvic
        self._timeline = timeline
        self._alarm: Alarm = timeline.alarm(self._wrap)
        self.reset()

    def reset(self) -> None:
        """Stop counting."""
        self._alarm.stop()
        self._control, self._reload, self._start, self._wrapped = 0, 0, 0, False

    def wire(self, registers: Registers) -> None:
        """Put the four registers into the system control space."""
        registers.readers.update({0xE010: self._read_control, 0xE014: lambda: self._reload, 0xE018: self._value})
        registers.writers.update(
            {0xE010: self._write_control, 0xE014: self._write_reload, 0xE018: lambda _: self._restart()}
        )

    def _read_control(self) -> int:
        wrapped = self._wrapped or (bool(self._control & 1) and self._timeline.cycles - self._start > self._reload)
        self._wrapped = False
        self._start += (self._timeline.cycles - self._start) // (self._reload + 1) * (self._reload + 1)
        return self._control | (1 << 16 if wrapped else 0)

    def _write_control(self, value: int) -> None:
        self._control = value & 7
        self._restart()

    def _write_reload(self, value: int) -> None:
        self._reload = value & 0xFF_FFFF

    def _restart(self) -> None:
        self._start, self._wrapped = self._timeline.cycles, False
        self._alarm.stop()
        if self._control & 3 == 3 and self._reload:
            self._alarm.set(self._start + self._reload + 1)

    def _value(self) -> int:
        if not self._control & 1:
            return 0
        return self._reload - (self._timeline.cycles - self._start) % (self._reload + 1)

    def _wrap(self) -> None:
        self._wrapped = True
        self._start += self._reload + 1
        self._alarm.set(self._start + self._reload + 1)
        self._nvic.pend(SYSTICK)
