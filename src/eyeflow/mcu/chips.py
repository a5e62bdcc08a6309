"""The chips that programs can be compiled for, and what each leaves to a program. The table is `chips.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.compiler.limits import ChipLimits


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip: its exact name, family and core, its memories in bytes, and the limits of one program on it."""

    name: str
    family: str
    core: str
    flash_bytes: int
    ram_bytes: int
    limits: ChipLimits


@cache
def chips() -> dict[str, Chip]:
    """Return all chips by name."""
    table = tomllib.loads(resources.files("eyeflow.mcu").joinpath("chips.toml").read_text("utf-8"))
    return {name: _chip(name, entry) for name, entry in table.items()}


def _chip(name: str, entry: dict[str, object]) -> Chip:
    program = entry["program"]
    assert isinstance(program, dict)
    limits = ChipLimits(
        fuel_max=program["fuel"],
        stack_max=program["stack"],
        state_bytes_max=program["state_bytes"],
        actions_max=program["actions"],
        slots_max=program["slots"],
        scratch_bytes_max=program["scratch_bytes"],
        code_words_max=program["instructions"],
    )
    return Chip(
        name, str(entry["family"]), str(entry["core"]), _int(entry["flash_bytes"]), _int(entry["ram_bytes"]), limits
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


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
