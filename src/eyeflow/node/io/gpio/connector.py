"""Pins of this machine as a connector: edges are events, levels are read and set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eyeflow.node.io.connector import Connector, PortsConfig, Problem, Site, SystemNeeds
from eyeflow.node.io.gpio.address import EDGES, split_address
from eyeflow.node.io.gpio.settings import GpioConfig
from eyeflow.node.io.ports import Driver, Source

if TYPE_CHECKING:
    from eyeflow.node.io.gpio.backends import GpioBackend


def _check(address: str, config: PortsConfig) -> Problem | None:
    (pin, edge), gpio = split_address(address), config.of(GpioConfig)
    if edge not in EDGES:
        return f"an edge is one of {', '.join(EDGES)}", "Compile the rule again."
    if gpio.backend == "libgpiod" and pin not in gpio.pins:
        return f"pin {pin} is not wired", f"Add `{pin} = LINE` to [gpio.pins]."
    return None


def _share(site: Site) -> GpioBackend:
    from eyeflow.node.io.gpio.backends import open_gpio

    return open_gpio(site.of(GpioConfig))


def _source(site: Site, backend: GpioBackend) -> Source:
    from eyeflow.node.io.gpio.source import GpioSource

    return GpioSource(backend, site.of(GpioConfig).poll_s, site.clock)


def _driver(site: Site, backend: GpioBackend) -> Driver:
    from eyeflow.node.io.gpio.driver import GpioDriver

    return GpioDriver(backend)


def _system_needs(config: PortsConfig) -> SystemNeeds:
    gpio = config.of(GpioConfig)
    if gpio.backend != "libgpiod":
        return SystemNeeds(writable=(gpio.levels_file.parent,) if gpio.levels_file else ())
    return SystemNeeds(tuple({pin.chip for pin in gpio.pins.values()}), ("gpio",))


CONNECTOR = Connector(
    name="gpio",
    sections=(GpioConfig,),
    share=_share,
    source=_source,
    driver=_driver,
    check=_check,
    system_needs=_system_needs,
    short={"pins": "gpio.pins"},
    grants=("gpio.*",),
    template="""\
[gpio]
backend = "simulated"            # "libgpiod" on a Raspberry Pi: pip install eyeflow[gpio]

[pins]
# RELAY = 17
""",
    catalog="""\
[[capability]]
name = "gpio.read_pin"
kind = "read"
args = [{ name = "pin", type = "pin.input" }]
result = "Level"
profiles = ["linux", "mcu"]
cost = 10
doc = "Read the level of an input pin."

[[capability]]
name = "gpio.set_pin"
kind = "act"
args = [{ name = "pin", type = "pin.output" }, { name = "level", type = "Level" }]
profiles = ["linux", "mcu"]
resource = "gpio/{pin}"
level = true
cost = 10
doc = "Set the level of an output pin."
""",
)
