"""Peripherals by address: the core's loads and stores outside memory end here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

WINDOW_BITS = 10
"""Every STM32 peripheral has a window of 1 KiB."""

NOTES_MAX = 64
"""How many accesses to nothing are remembered."""


class Peripheral(Protocol):
    """Registers of 32 bits at offsets from a base."""

    def read(self, offset: int) -> int:
        """Return the register at a word offset, with the side effects a read has."""
        ...

    def write(self, offset: int, value: int) -> None:
        """Write the register at a word offset."""
        ...

    def reset(self) -> None:
        """Go back to the state after power-on."""
        ...


class Registers:
    """A peripheral that keeps what is written; registers with a meaning get a reader or a writer by their offset."""

    def __init__(self, initial: dict[int, int] | None = None) -> None:
        self.initial = dict(initial or {})
        self.values = dict(self.initial)
        self.readers: dict[int, Callable[[], int]] = {}
        self.writers: dict[int, Callable[[int], None]] = {}

    def get(self, offset: int) -> int:
        """Return what a register holds, without side effects."""
        return self.values.get(offset, 0)

    def read(self, offset: int) -> int:
        """Return the register, by its reader when it has one."""
        reader = self.readers.get(offset)
        return reader() if reader is not None else self.values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write the register, by its writer when it has one."""
        writer = self.writers.get(offset)
        if writer is not None:
            writer(value)
        else:
            self.values[offset] = value

    def reset(self) -> None:
        """Put every register back to its value after power-on."""
        self.values = dict(self.initial)


class Bus:
    """Finds the peripheral of an address; an address without one reads 0 and is noted once."""

    def __init__(self) -> None:
        self._windows: dict[int, tuple[int, Peripheral]] = {}
        self.peripherals: list[Peripheral] = []
        self.unmodelled: dict[int, None] = {}

    def attach(self, base: int, peripheral: Peripheral, size: int = 1 << WINDOW_BITS) -> None:
        """Put a peripheral at a base address."""
        for window in range(base >> WINDOW_BITS, (base + size) >> WINDOW_BITS):
            self._windows[window] = (base, peripheral)
        self.peripherals.append(peripheral)

    def read(self, address: int, size: int) -> int:
        """Return `size` bytes at an address."""
        found = self._windows.get(address >> WINDOW_BITS)
        if found is None:
            self._note(address)
            return 0
        base, peripheral = found
        shift = 8 * (address & 3)
        return (peripheral.read((address & ~3) - base) >> shift) & ((1 << (8 * size)) - 1)

    def write(self, address: int, value: int) -> None:
        """Write at an address; the other bytes of the word count as 0, as they do in every register written so."""
        found = self._windows.get(address >> WINDOW_BITS)
        if found is None:
            self._note(address)
            return
        base, peripheral = found
        peripheral.write((address & ~3) - base, value << (8 * (address & 3)))

    def reset(self) -> None:
        """Reset every peripheral."""
        for peripheral in self.peripherals:
            peripheral.reset()

    def _note(self, address: int) -> None:
        if len(self.unmodelled) < NOTES_MAX:
            self.unmodelled[address & ~0x3FF] = None
