"""What a microcontroller offers to rules, and what of a rule it cannot serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from eyeflow.base.record import dataclass
from eyeflow.svm.program import Direction

CHANNEL_KINDS = {
    "adc": ("an analog input", "analog inputs"),
    "dac": ("an analog output", "analog outputs"),
    "i2c": ("an I2C bus", "I2C buses"),
    "spi": ("an SPI bus", "SPI buses"),
    "uart": ("a serial port for rules", "serial ports for rules"),
}
"""The namespaces of capabilities whose first argument numbers a channel, bus or port; what one and many are called."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a board has, or at most can have when only its chip is known.

    `channels`: how many of each of CHANNEL_KINDS. `pins`: the pins that rules may name, None where no board file says.
    `sends_events`: rules may `emit`, for rules of the gateway.
    `elsewhere`: for a kind that the chip lacks, who has it. `remedy`: how more is declared.
    """

    name: str
    channels: Mapping[str, int]
    pins: Mapping[str, Direction] | None = None
    delegates_llm: bool = False
    sends_events: bool = False
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    remedy: str = "declare it in the board file"

    def lacking(self, capability: str) -> str | None:
        """Return the kind that a capability needs and this hardware has none of."""
        kind = capability.split(".", 1)[0]
        return kind if kind in CHANNEL_KINDS and not self.channels.get(kind) else None

    def has_channel(self, capability: str, number: int) -> bool:
        """Return whether the channel, bus or port that a capability is called with exists."""
        kind = capability.split(".", 1)[0]
        return kind not in CHANNEL_KINDS or 0 <= number < self.channels.get(kind, 0)

    def describe_channels(self, capability: str) -> str:
        """Return how many there are of what a capability numbers: `8 analog inputs, 0 to 7`."""
        kind = capability.split(".", 1)[0]
        count, (one, many) = self.channels.get(kind, 0), CHANNEL_KINDS[kind]
        if count < 3:
            return f"{one}, number 0" if count == 1 else f"{count} {many}, 0 and 1"
        return f"{count} {many}, 0 to {count - 1}"
