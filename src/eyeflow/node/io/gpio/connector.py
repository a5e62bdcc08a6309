"""Pins of this machine as a connector: edges are events, levels are read and set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eyeflow.node.config.settings import Section, boolean, named, number, path, required_integer, text
from eyeflow.node.io.connector import Connector, PortsConfig, Problem, Site
from eyeflow.node.io.ports import Driver, Source

if TYPE_CHECKING:
    from eyeflow.node.io.gpio.backends import GpioBackend

EDGES = ("rises", "falls", "changes")
BIASES = ("as-is", "pull-up", "pull-down")


@dataclass(frozen=True, slots=True)
class GpioLine(Section):
    """Where a pin is wired."""

    SECTION: ClassVar[str] = "gpio.pins.NAME"

    line: int = required_integer(0, 1023, "Number of the line of the chip.")
    chip: str = text("/dev/gpiochip0", "Character device of the chip.")
    active_low: bool = boolean(False, "Whether the pin is HIGH when its line is low.")
    bias: str = text(
        "as-is", "Resistor of an input: `as-is`, `pull-up` or `pull-down`.", ("as-is", "pull-up", "pull-down")
    )


@dataclass(frozen=True, slots=True)
class GpioConfig(Section):
    """Pins: `simulated` (levels in memory, mirrored in the JSON file `levels_file` if given) or `libgpiod`."""

    SECTION: ClassVar[str] = "gpio"

    backend: str = text(
        "simulated",
        "`simulated`, or `libgpiod` (needs `pip install eyeflow[gpio]`).",
        ("simulated", "libgpiod"),
    )
    levels_file: Path | None = path("JSON file that mirrors the simulated levels and may set inputs.")
    poll_s: float = number(0.02, 0.001, 60.0, "How often simulated inputs are looked at.")
    pins: Mapping[str, GpioLine] = named(GpioLine, "pins", short="line")


def split_address(address: str) -> tuple[str, str]:
    """Return pin and edge of an address `DOOR changes`."""
    pin, _, edge = address.partition(" ")
    return pin, edge


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


CONNECTOR = Connector(
    name="gpio",
    sections=(GpioConfig,),
    share=_share,
    source=_source,
    driver=_driver,
    check=_check,
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
