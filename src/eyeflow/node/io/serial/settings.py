"""The settings of serial ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from eyeflow.node.config.settings import PAYLOAD_BYTES_MAX, Section, integer, named, required


@dataclass(frozen=True, slots=True)
class SerialPort(Section):
    """One serial port that carries a JSON object per line."""

    SECTION: ClassVar[str] = "serial.NAME"

    device: str = required("Path of the port: `/dev/ttyUSB0`.")
    baud: int = integer(115_200, 50, 4_000_000, "Speed in bits per second.")
    line_bytes_max: int = integer(65_536, 16, PAYLOAD_BYTES_MAX, "Longer lines are rejected events.")


@dataclass(frozen=True, slots=True)
class SerialConfig(Section):
    """The serial ports by the names that rules listen to: `on serial "scale"` and `[serial.scale]`."""

    SECTION: ClassVar[str] = "serial"

    ports: Mapping[str, SerialPort] = named(SerialPort)
