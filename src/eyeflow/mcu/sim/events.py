"""What a simulated chip tells the world outside, each with its virtual time."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS_MAX = 100_000
"""How many events wait for `take_events`; the oldest are lost beyond that."""


@dataclass(frozen=True, slots=True)
class PinChanged:
    """A pin has another level now; `pin` is a name such as PC13 or GPIO25."""

    time_us: int
    pin: str
    level: bool


@dataclass(frozen=True, slots=True)
class ChipReset:
    """The chip has started: `power`, `software`, `watchdog` or `pin`."""

    time_us: int
    cause: str


@dataclass(frozen=True, slots=True)
class CoreFault:
    """The core met an instruction or an address it cannot use; the firmware's fault handler runs next."""

    time_us: int
    text: str


@dataclass(frozen=True, slots=True)
class PowerLost:
    """The power has failed, within a flash operation or by hand."""

    time_us: int


@dataclass(frozen=True, slots=True)
class SerialText:
    """A line of text on a serial port that carries no link, such as a log."""

    time_us: int
    port: str
    text: str


SimEvent = PinChanged | ChipReset | CoreFault | PowerLost | SerialText
