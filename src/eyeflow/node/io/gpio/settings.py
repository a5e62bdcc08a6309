"""The settings of pins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from eyeflow.node.config.settings import Section, boolean, named, number, path, required_integer, text


@dataclass(frozen=True, slots=True)
class GpioLine(Section):
    """Where a pin is wired."""

    SECTION: ClassVar[str] = "gpio.pins.NAME"

    line: int = required_integer(0, 1023, "Number of the line of the chip.")
    chip: str = text("/dev/gpiochip0", "Character device of the chip.")
    active_low: bool = boolean(False, "Whether the pin is HIGH when its line is low.")
    bias: str = text(
        "as-is", "Resistor of an input: `as-is`, `pull-up` or `pull-down`.", ("as-is", "pull-up", "pull-down")
    )


@dataclass(frozen=True, slots=True)
class GpioConfig(Section):
    """Pins: `simulated` (levels in memory, mirrored in the JSON file `levels_file` if given) or `libgpiod`."""

    SECTION: ClassVar[str] = "gpio"

    backend: str = text(
        "simulated",
        "`simulated`, or `libgpiod` (needs `pip install eyeflow[gpio]`).",
        ("simulated", "libgpiod"),
    )
    levels_file: Path | None = path("JSON file that mirrors the simulated levels and may set inputs.")
    poll_s: float = number(0.02, 0.001, 60.0, "How often simulated inputs are looked at.")
    pins: Mapping[str, GpioLine] = named(GpioLine, "pins", short="line")
