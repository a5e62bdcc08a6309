"""GPIO ports, and EXTI lines for edges: what the firmware drives, and what the world outside drives."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial

from eyeflow.mcu.sim.bus import Registers
from eyeflow.mcu.sim.nvic import Nvic

PINS = 16
MODER, OTYPER, PUPDR, IDR, ODR, BSRR = 0x00, 0x04, 0x0C, 0x10, 0x14, 0x18
_OUTPUT = 1
_EXTI_IRQS = (6, 7, 8, 9, 10, 23, 23, 23, 23, 23, 40, 40, 40, 40, 40, 40)


class PinMode(Enum):
    """What the firmware uses a pin for."""

    INPUT = 0
    OUTPUT = 1
    PERIPHERAL = 2
    ANALOG = 3


class Port(Registers):
    """One port. `outside` holds the levels that something outside drives, by pin."""

    def __init__(self, letter: str, on_level: Callable[[str, int, bool], None], initial: dict[int, int]) -> None:
        super().__init__(initial)
        self.letter = letter
        self.outside: dict[int, bool] = {}
        self._on_level = on_level
        self._levels = [self.level(pin) for pin in range(PINS)]
        self.readers[IDR] = lambda: sum(self.level(pin) << pin for pin in range(PINS))
        self.readers[BSRR] = lambda: 0
        self.writers[BSRR] = self._write_bsrr
        self.writers[IDR] = lambda _: None
        for offset in (MODER, OTYPER, PUPDR, ODR):
            self.writers[offset] = partial(self._write, offset)

    def reset(self) -> None:
        """Let go of every pin; what is outside stays."""
        super().reset()
        self.refresh()

    def mode(self, pin: int) -> PinMode:
        """Return what a pin is used for."""
        return PinMode(self.get(MODER) >> (2 * pin) & 3)

    def level(self, pin: int) -> bool:
        """Return the level of a pin: driven by the firmware, else from outside, else by its pull, else low."""
        if self.mode(pin) is PinMode.OUTPUT:
            high = bool(self.get(ODR) >> pin & 1)
            if not (high and self.get(OTYPER) >> pin & 1):
                return high
        return self.outside.get(pin, self.get(PUPDR) >> (2 * pin) & 3 == 1)

    def drive(self, pin: int, level: bool | None) -> None:
        """Drive a pin from outside, or let it go with None."""
        if level is None:
            self.outside.pop(pin, None)
        else:
            self.outside[pin] = level
        self.refresh()

    def refresh(self) -> None:
        """Report every pin whose level has changed."""
        for pin in range(PINS):
            level = self.level(pin)
            if level != self._levels[pin]:
                self._levels[pin] = level
                self._on_level(self.letter, pin, level)

    def _write(self, offset: int, value: int) -> None:
        self.values[offset] = value
        self.refresh()

    def _write_bsrr(self, value: int) -> None:
        self._write(ODR, self.get(ODR) & ~(value >> 16) | value & 0xFFFF)


class Exti(Registers):
    """Edges of pins as interrupts. SYSCFG chooses the port of each line."""

    IMR, RTSR, FTSR, SWIER, PR = 0x00, 0x08, 0x0C, 0x10, 0x14

    def __init__(self, nvic: Nvic, selection: Registers) -> None:
        super().__init__()
        self._nvic = nvic
        self._selection = selection
        self.writers[self.PR] = self._clear
        self.writers[self.SWIER] = self._set
        self.writers[self.IMR] = self._write_mask

    def edge(self, port: str, pin: int, level: bool) -> None:
        """Take the new level of a pin."""
        chosen = self._selection.get(0x08 + 4 * (pin // 4)) >> (4 * (pin % 4)) & 0xF
        if chosen != "ABCDEFGH".index(port):
            return
        if self.get(self.RTSR if level else self.FTSR) >> pin & 1:
            self._set(1 << pin)

    def _set(self, bits: int) -> None:
        self.values[self.PR] = self.get(self.PR) | bits
        self._drive()

    def _clear(self, bits: int) -> None:
        self.values[self.PR] = self.get(self.PR) & ~bits
        self._drive()

    def _write_mask(self, value: int) -> None:
        self.values[self.IMR] = value
        self._drive()

    def _drive(self) -> None:
        waiting = self.get(self.PR) & self.get(self.IMR)
        for irq in sorted(set(_EXTI_IRQS)):
            self._nvic.set_line(irq, any(waiting >> pin & 1 for pin in range(PINS) if _EXTI_IRQS[pin] == irq))
