"""The chips that programs and firmware can be built for, and what each leaves to a program: `chips.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.compiler.limits import ChipLimits
from eyeflow.mcu.program_area import ProgramArea, record_bytes_max

ANY = "any"
"""In a list of pins: the peripheral reaches every pin of the chip."""

PIN_RANGE = re.compile(r"(P[A-K]|GP|P\d\.)(\d+)(?:-\1(\d+))?")


Peripherals = dict[str, dict[str, tuple[str, ...]]]
"""The peripherals of a kind by name; of each, the pins that can carry a signal, by signal (`tx`, `scl`, `mosi`...)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the firmware gets, in bytes: flash from `flash_start`, RAM from `ram_start` as stack and then data."""

    flash_start: int
    flash_bytes: int
    ram_start: int
    stack_bytes: int
    data_bytes: int

    @property
    def ram_bytes(self) -> int:
        """All RAM of the firmware: its budget."""
        return self.stack_bytes + self.data_bytes


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip: names, memories in bytes, pins and what they can carry, and the limits of one program on it."""

    name: str
    family: str
    core: str
    hal: str
    feature: str
    target: str
    probe: str
    flash_bytes: int
    ram_bytes: int
    memory: Memory
    programs: ProgramArea
    pins: tuple[str, ...]
    reserved: dict[str, str]
    uart: Peripherals
    i2c: Peripherals
    spi: Peripherals
    adc: dict[str, tuple[str, ...]]
    dac: dict[str, tuple[str, ...]]
    limits: ChipLimits
    records_bytes: int


@cache
def chips() -> dict[str, Chip]:
    """Return all chips by name."""
    table = tomllib.loads(resources.files("eyeflow.mcu").joinpath("chips.toml").read_text("utf-8"))
    return {name: chip_from_table(name, entry) for name, entry in table.items()}


def chip_from_table(name: str, entry: dict[str, Any]) -> Chip:
    """Read one entry of the chip table; KeyError names a value that is missing in it."""
    programs = ProgramArea(**entry["programs"])
    return Chip(
        name=name,
        family=entry["family"],
        core=entry["core"],
        hal=entry["hal"],
        feature=entry["feature"],
        target=entry["target"],
        probe=entry["probe"],
        flash_bytes=entry["flash_bytes"],
        ram_bytes=entry["ram_bytes"],
        memory=_memory(entry),
        programs=programs,
        pins=_expand(entry["pins"]),
        reserved=dict(entry.get("reserved", {})),
        uart=_peripherals(entry.get("uart", {})),
        i2c=_peripherals(entry.get("i2c", {})),
        spi=_peripherals(entry.get("spi", {})),
        adc={name: _expand(pins) for name, pins in entry.get("adc", {}).items()},
        dac={name: _expand(pins) for name, pins in entry.get("dac", {}).items()},
        limits=_limits(entry["program"], programs),
        records_bytes=entry["records_bytes"],
    )


def _memory(entry: dict[str, Any]) -> Memory:
    flash, ram = entry["firmware"], entry["ram"]
    return Memory(flash["start"], flash["bytes"], ram["start"], ram["stack_bytes"], ram["data_bytes"])


def _limits(program: dict[str, int], area: ProgramArea) -> ChipLimits:
    return ChipLimits(
        fuel_max=program["fuel"],
        stack_max=program["stack"],
        state_bytes_max=program["state_bytes"],
        actions_max=program["actions"],
        slots_max=program["slots"],
        scratch_bytes_max=program["scratch_bytes"],
        code_words_max=program["instructions"],
        program_bytes_max=area.program_bytes_max(record_bytes_max(program["state_bytes"])),
    )


def _peripherals(table: dict[str, dict[str, list[str]]]) -> Peripherals:
    return {name: {signal: tuple(pins) for signal, pins in signals.items()} for name, signals in table.items()}


def _expand(ranges: list[str]) -> tuple[str, ...]:
    """Return the pins of ranges such as `PA0-PA3` and `P0.02-P0.05`, in order."""
    return tuple(pin for text in ranges for pin in _range(text))


def _range(text: str) -> list[str]:
    match = PIN_RANGE.fullmatch(text)
    assert match, f"{text} is no range of pins"
    port, first, last = match[1], match[2], match[3] or match[2]
    digits = len(first) if port.endswith(".") else 1
    return [f"{port}{number:0{digits}}" for number in range(int(first), int(last) + 1)]


def find_chip(name: str) -> Chip:
    """Return a chip by its name, in any case; raises EyeflowError (USAGE) with near names for an unknown one."""
    known = chips()
    by_folded = {chip.casefold(): chip for chip in known}
    if name.casefold() in by_folded:
        return known[by_folded[name.casefold()]]
    guess = near(name, known)
    raise EyeflowError(
        f"the chip {name} is not known",
        cause=f"known are {', '.join(known)}",
        next_step=f"did you mean {guess}?" if guess else "choose one of the known chips",
        code="unknown_chip",
        exit_code=ExitCode.USAGE,
    )
