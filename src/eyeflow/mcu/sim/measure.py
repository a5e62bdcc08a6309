"""Instruction counts of single functions of the firmware: the same figures in every run."""

from __future__ import annotations

from dataclasses import dataclass, field

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.mcu.sim.firmware import Firmware

NAMES_SHOWN_MAX = 5


@dataclass(slots=True)
class CallCounts:
    """Instructions of each call of one function, callees included and interrupt handlers left out."""

    function: str
    counts: list[int] = field(default_factory=list)


def find_function(firmware: Firmware, part: str) -> tuple[str, int]:
    """Return name and address of the function whose name contains `part`; raises EyeflowError for none or several."""
    found = firmware.find_functions(part)
    if len(found) != 1:
        raise EyeflowError(
            f"{len(found)} functions of the firmware have {part} in their name, not one",
            cause=", ".join(sorted(found)[:NAMES_SHOWN_MAX]) or "it may have been inlined, or its symbol stripped",
            next_step="name one function exactly, and mark it #[inline(never)]",
            code="no_function",
            exit_code=ExitCode.USAGE,
        )
    return next(iter(found.items()))
