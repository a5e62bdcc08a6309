"""Chooses the simulator of a chip by the chip's name."""

from __future__ import annotations

import re
from pathlib import Path

from eyeflow.mcu.sim.chip import SimulatedChip, unknown_chip
from eyeflow.mcu.sim.recording import AdcValues

CHIPS = ("STM32F401CC", "RP2040")


def start_simulator(
    elf: Path, chip: str, *, flash_image: Path | None = None, adc: AdcValues | None = None
) -> SimulatedChip:
    """Return a simulator of `chip` that runs the firmware file `elf`; close it after use.

    `flash_image` keeps the flash between runs, `adc` is what the converter reads. Raises EyeflowError for a chip
    without a simulator, a missing package, and a file that is no firmware of this chip.
    """
    names = {name.casefold(): name for name in CHIPS}
    match names.get(chip.casefold()):
        case "STM32F401CC" as name:
            from eyeflow.mcu.sim.simulator import Simulator

            return Simulator(elf, name, flash_image=flash_image, adc=adc)
        case "RP2040":
            from eyeflow.mcu.sim.rp2040.process import Rp2040Simulator

            return Rp2040Simulator(elf, flash_image=flash_image, adc=adc)
        case _:
            raise unknown_chip(chip, list(CHIPS))


def serial_port_number(uart: str) -> int:
    """Return the simulator's number of a serial port by its name in the board file: 1 for USART1, 0 for UART0."""
    found = re.search(r"\d+$", uart)
    assert found, f"{uart} is no name of a serial port"
    return int(found[0])
