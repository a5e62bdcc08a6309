"""Names of pins: `PA0` to `PH15` on STM32, `GPIO0` to `GPIO29` on RP2040."""

from __future__ import annotations

import re

from eyeflow.base.errors import ExitCode, EyeflowError

STM32_PORTS = "ABCDEH"
_STM32_PIN = re.compile(rf"P([{STM32_PORTS}])(1[0-5]|[0-9])", re.IGNORECASE)
_RP2040_PIN = re.compile(r"(?:GPIO|PIN_|GP)?([12]?[0-9])", re.IGNORECASE)


def parse_stm32_pin(name: str) -> tuple[str, int]:
    """Return (port letter, number) of `PA5`; raises EyeflowError (USAGE) for anything else."""
    found = _STM32_PIN.fullmatch(name)
    if found is None:
        raise _unknown(name, "pins are named PA0 to PH15 (ports A to E and H)")
    return found[1].upper(), int(found[2])


def parse_rp2040_pin(name: str) -> int:
    """Return the number of `GPIO25`; raises EyeflowError (USAGE) for anything else."""
    found = _RP2040_PIN.fullmatch(name)
    if found is None:
        raise _unknown(name, "pins are named GPIO0 to GPIO29")
    return int(found[1])


def _unknown(name: str, cause: str) -> EyeflowError:
    return EyeflowError(
        f"there is no pin {name} on this chip",
        cause=cause,
        next_step="use a name from the board file",
        code="unknown_pin",
        exit_code=ExitCode.USAGE,
    )
