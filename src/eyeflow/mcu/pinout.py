"""Who uses which pin and which peripheral of a chip, and whether it can: the conflicts of a board file."""

from __future__ import annotations

from eyeflow.base.names import near
from eyeflow.mcu.chips import ANY, Chip, Peripherals, chips
from eyeflow.mcu.problems import Problems

KINDS = {"uart": "UART", "i2c": "I2C", "spi": "SPI", "adc": "ADC", "dac": "DAC"}


class Pinout:
    """The pins of one chip while a board file is read: each is given away once."""

    def __init__(self, chip: Chip, problems: Problems) -> None:
        self._chip = chip
        self._problems = problems
        self._used: dict[str, str] = {}
        self._peripherals: dict[str, str] = {}

    def plain(self, where: str, pin: str, name: str) -> str:
        """Take a pin as a plain input or output; returns it in the chip's spelling."""
        return self._take(where, pin, name)

    def channel(self, where: str, kind: str, pin: str) -> str:
        """Take a pin as a channel of the ADC or DAC."""
        table = self._chip.adc if kind == "adc" else self._chip.dac
        if not table:
            self._lacking(where, kind)
            return pin
        pin = self._spelled(pin)
        known = [able for pins in table.values() for able in pins]
        peripheral = next((name for name, pins in table.items() if pin in pins), "")
        if pin in self._chip.pins and not peripheral:
            self._problems.add(where, f"{pin} is no {KINDS[kind]} pin", f"use one of {', '.join(known)}")
            return pin
        return self._take(where, pin, f"{peripheral} channel")

    def peripheral(self, where: str, kind: str, name: str, pins: dict[str, str]) -> None:
        """Take a UART, I2C or SPI with its pins."""
        table: Peripherals = getattr(self._chip, kind)
        if not table:
            self._lacking(where, kind)
            return
        if name not in table:
            self._unknown_peripheral(where, kind, name, table)
            return
        owner = self._peripherals.setdefault(name, where)
        if owner != where:
            self._problems.add(where, f"{name} is already used by [{owner}]", self._another(name, table))
        for signal, pin in pins.items():
            self._signal(where, name, signal, pin, table[name][signal])

    def _signal(self, where: str, name: str, signal: str, pin: str, able: tuple[str, ...]) -> None:
        spelled = self._spelled(pin)
        if ANY not in able and spelled in self._chip.pins and spelled not in able:
            self._problems.add(
                f"{where}.{signal}", f"{spelled} cannot be {name} {signal.upper()}", f"use {' or '.join(able)}"
            )
            return
        self._take(f"{where}.{signal}", pin, f"{name} {signal.upper()}")

    def _take(self, where: str, pin: str, use: str) -> str:
        if not pin:
            return pin
        pin = self._spelled(pin)
        if pin in self._chip.reserved:
            self._problems.add(where, f"{pin} cannot be used: {self._chip.reserved[pin]}", "use another pin")
        elif pin not in self._chip.pins:
            guess = near(pin, self._chip.pins)
            step = f"did you mean {guess}?" if guess else f"pins are {self._chip.pins[0]} to {self._chip.pins[-1]}"
            self._problems.add(where, f"{self._chip.name} has no pin {pin}", step)
        elif pin in self._used:
            self._problems.add(where, f"{pin} is already {self._used[pin]}", "use another pin for one of them")
        else:
            self._used[pin] = use
        return pin

    def _spelled(self, pin: str) -> str:
        by_folded = {known.casefold(): known for known in (*self._chip.pins, *self._chip.reserved)}
        return by_folded.get(pin.casefold(), pin)

    def _lacking(self, where: str, kind: str) -> None:
        having = [chip.name for chip in chips().values() if getattr(chip, kind)]
        self._problems.add(
            where,
            f"{self._chip.name} has no {KINDS[kind]}; {' and '.join(having)} {'have' if len(having) > 1 else 'has'}",
            f"choose another chip, or leave out [{where.split('.')[0]}]",
        )

    def _unknown_peripheral(self, where: str, kind: str, name: str, table: Peripherals) -> None:
        guess = near(name, table)
        step = f"did you mean {guess}?" if guess else f"use one of {', '.join(table)}"
        self._problems.add(where, f"{self._chip.name} has no {KINDS[kind]} named {name}", step)

    def _another(self, name: str, table: Peripherals) -> str:
        free = [other for other in table if other != name and other not in self._peripherals]
        return f"use {' or '.join(free)}" if free else "leave one of them out"
