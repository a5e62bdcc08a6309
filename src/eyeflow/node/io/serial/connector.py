"""Serial ports as a connector: each line is an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from eyeflow.base.names import near
from eyeflow.node.config.settings import PAYLOAD_BYTES_MAX, Section, integer, named, required
from eyeflow.node.io.connector import Connector, PortsConfig, Problem, Site
from eyeflow.node.io.ports import Source


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


def _check(address: str, config: PortsConfig) -> Problem | None:
    ports = config.of(SerialConfig).ports
    if address in ports:
        return None
    guess = near(address, ports)
    hint = f"Did you mean `{guess}`?" if guess else f"Add `[serial.{address}]` with `device = ...`."
    return f"this node has no serial port named `{address}`", hint


def _source(site: Site, shared: None) -> Source:
    from eyeflow.node.io.serial.source import SerialSource

    return SerialSource(site.of(SerialConfig).ports, site.clock)


CONNECTOR = Connector(
    name="serial",
    sections=(SerialConfig,),
    source=_source,
    check=_check,
    template="""\
# [serial.scale]                 # `on serial "scale"`: a JSON object per line
# device = "/dev/ttyUSB0"
""",
    catalog="""\
[[source]]
name = "serial"
address = "required"
profiles = ["linux"]
unavailable = { mcu = "read the port in an `every` handler with uart.read_byte" }
doc = "A line from a serial port: a JSON object."
""",
)
