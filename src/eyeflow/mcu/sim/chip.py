"""What a simulated chip can do, whichever emulator runs it."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.mcu.sim.events import SimEvent
from eyeflow.mcu.sim.recording import AdcValues

SERIAL_BUFFER_BYTES_MAX = 1 << 20
"""What a serial port keeps for a reader that does not come; older bytes are lost first, as on a real line."""


class Power(Enum):
    """Whether the chip has power."""

    ON = "on"
    OFF = "off"


class SerialBuffer:
    """What a chip has sent and nobody has read yet."""

    def __init__(self) -> None:
        self._data = bytearray()

    def append(self, data: bytes) -> None:
        """Keep bytes, up to the bound."""
        self._data += data
        if len(self._data) > SERIAL_BUFFER_BYTES_MAX:
            del self._data[:-SERIAL_BUFFER_BYTES_MAX]

    def take(self) -> bytes:
        """Return and forget everything."""
        data = bytes(self._data)
        self._data.clear()
        return data


class SimulatedChip(Protocol):
    """A chip that runs firmware on virtual time. Ports are numbered as on the chip (USART1 is 1, UART0 is 0)."""

    power: Power
    serial_ports: tuple[int, ...]
    adc: AdcValues

    @property
    def time_us(self) -> int:
        """Virtual microseconds since the simulator was made."""
        ...

    @property
    def instruction_count(self) -> int:
        """Instructions executed since the simulator was made."""
        ...

    def run(self, until_us: int) -> None:
        """Run to a virtual time, or until the power fails."""
        ...

    def serial_write(self, port: int, data: bytes) -> None:
        """Put bytes on the line to the chip; they arrive one after the other at the baud rate."""
        ...

    def serial_read(self, port: int) -> bytes:
        """Take what the chip has sent."""
        ...

    def serial_waiting(self, port: int) -> int:
        """Return how many bytes to the chip are still on the line."""
        ...

    def serial_overruns(self, port: int) -> int:
        """Return how many bytes the firmware was too slow to take."""
        ...

    def pin(self, name: str) -> bool:
        """Return the level of a pin."""
        ...

    def set_pin(self, name: str, level: bool | None) -> None:
        """Drive a pin from outside; None lets it go."""
        ...

    def set_adc(self, channel: int, value: int) -> None:
        """Set what an ADC channel reads from now on, 0..4095."""
        ...

    def take_events(self) -> list[SimEvent]:
        """Return what has happened since the last call, in order."""
        ...

    def cut_power_in(self, flash_operations: int) -> None:
        """Let the power fail within the n-th flash operation from now (1 is the next), which is then half done."""
        ...

    def power_cut(self) -> None:
        """Take the power away at once."""
        ...

    def power_on(self) -> None:
        """Give power again: the flash is as it was, RAM is not."""
        ...

    def reset(self) -> None:
        """Pull the reset pin."""
        ...

    def close(self) -> None:
        """End the simulation and free what it holds."""
        ...


def unknown_chip(chip: str, names: list[str]) -> EyeflowError:
    """Return the error for a chip that cannot be simulated."""
    guess = near(chip, names)
    return EyeflowError(
        f"{chip} cannot be simulated",
        cause=f"there are simulators of {' and '.join(names)}",
        next_step=f"did you mean {guess}?" if guess else "simulate one of these; rules decide the same on every chip",
        code="no_simulator",
        exit_code=ExitCode.USAGE,
    )
