"""Serial ports as a connector: each line is an event."""

from __future__ import annotations

from eyeflow.base.names import near
from eyeflow.node.io.connector import Connector, PortsConfig, Problem, Site, SystemNeeds
from eyeflow.node.io.ports import Source
from eyeflow.node.io.serial.settings import SerialConfig


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


def _system_needs(config: PortsConfig) -> SystemNeeds:
    devices = tuple(port.device for port in config.of(SerialConfig).ports.values())
    return SystemNeeds(devices, ("dialout",) if devices else ())


CONNECTOR = Connector(
    name="serial",
    sections=(SerialConfig,),
    source=_source,
    check=_check,
    system_needs=_system_needs,
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
