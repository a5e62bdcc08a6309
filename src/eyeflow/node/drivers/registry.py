"""Which namespaces of capabilities a node serves, and how their drivers are built from its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eyeflow.node.config.ports import PortsConfig
from eyeflow.node.drivers.adc import AdcDriver
from eyeflow.node.drivers.file import FileDriver
from eyeflow.node.drivers.gpio import GpioDriver
from eyeflow.node.drivers.log import LogDriver
from eyeflow.node.gpio_backends import GpioBackend, open_gpio
from eyeflow.node.host_readings import HostReadings
from eyeflow.node.ports import Driver

if TYPE_CHECKING:
    from eyeflow.node.mqtt.publisher import Publisher
    from eyeflow.node.mqtt.subscriber import Subscriber

NAMESPACES = ("adc", "file", "gpio", "host", "http", "llm", "log", "mqtt")
"""The namespaces this module has drivers for; `mqtt` and `llm` only when their sections are there."""

HINTS = {
    "mqtt": "add a section [mqtt] with `host = ...` to the node's configuration",
    "llm": "add a section [llm] with `endpoint` and `model` to the node's configuration",
}
"""What to do when a driver of NAMESPACES is not there."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a source and a driver use together."""

    gpio: GpioBackend
    readings: HostReadings
    subscriber: Subscriber | None
    publisher: Publisher | None

    @classmethod
    def open(cls, config: PortsConfig, node_name: str) -> Shared:
        """Open them; the MQTT client's id is `eyeflow-` and the node's name, so that its session outlives a restart."""
        subscriber = publisher = None
        if config.mqtt is not None:
            from eyeflow.node.mqtt.publisher import Publisher
            from eyeflow.node.mqtt.subscriber import Subscriber

            subscriber = Subscriber(config.mqtt, f"eyeflow-{node_name}")
            publisher = Publisher(config.mqtt, f"eyeflow-{node_name}-publish")
        return cls(open_gpio(config.gpio), HostReadings(config.host), subscriber, publisher)


def build_drivers(config: PortsConfig, shared: Shared) -> dict[str, Driver]:
    """Return a driver for each namespace that the configuration can serve."""
    from eyeflow.node.drivers.host import HostDriver
    from eyeflow.node.drivers.http import HttpDriver

    drivers: dict[str, Driver] = {
        "adc": AdcDriver(config.adc),
        "file": FileDriver(config.file),
        "gpio": GpioDriver(shared.gpio),
        "host": HostDriver(shared.readings),
        "http": HttpDriver(config.http_client),
        "log": LogDriver(),
    }
    if shared.publisher is not None:
        from eyeflow.node.drivers.mqtt import MqttDriver

        drivers["mqtt"] = MqttDriver(shared.publisher)
    if config.llm is not None:
        from eyeflow.node.drivers.llm import LlmDriver

        drivers["llm"] = LlmDriver(config.llm)
    return drivers
