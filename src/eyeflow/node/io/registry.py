"""Which namespaces of capabilities a node serves, and how their drivers are built from its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eyeflow.node.config.ports import MqttConfig, PortsConfig
from eyeflow.node.io.adc.driver import AdcDriver
from eyeflow.node.io.broken import Broken, over, set_up
from eyeflow.node.io.file.driver import FileDriver
from eyeflow.node.io.gpio.backends import GpioBackend, open_gpio
from eyeflow.node.io.gpio.driver import GpioDriver
from eyeflow.node.io.host.readings import HostReadings
from eyeflow.node.io.log.driver import LogDriver
from eyeflow.node.io.ports import Driver

if TYPE_CHECKING:
    from eyeflow.node.io.mqtt.publisher import Publisher
    from eyeflow.node.io.mqtt.subscriber import Subscriber

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

    gpio: GpioBackend | Broken
    readings: HostReadings
    mqtt: tuple[Subscriber, Publisher] | Broken | None

    @classmethod
    def open(cls, config: PortsConfig, node_name: str) -> Shared:
        """Open them; the MQTT client's id is `eyeflow-` and the node's name, so that its session outlives a restart."""
        mqtt: tuple[Subscriber, Publisher] | Broken | None = None
        if (broker := config.mqtt) is not None:
            mqtt = set_up("mqtt", lambda: _open_mqtt(broker, node_name))
        return cls(set_up("gpio", lambda: open_gpio(config.gpio)), HostReadings(config.host), mqtt)


def _open_mqtt(config: MqttConfig, node_name: str) -> tuple[Subscriber, Publisher]:
    from eyeflow.node.io.mqtt.publisher import Publisher
    from eyeflow.node.io.mqtt.subscriber import Subscriber

    return Subscriber(config, f"eyeflow-{node_name}"), Publisher(config, f"eyeflow-{node_name}-publish")


def build_drivers(config: PortsConfig, shared: Shared) -> dict[str, Driver]:
    """Return a driver for each namespace that the configuration can serve; one that cannot be set up is `Broken`."""
    from eyeflow.node.io.host.driver import HostDriver
    from eyeflow.node.io.http.driver import HttpDriver

    drivers: dict[str, Driver] = {
        "adc": set_up("adc", lambda: AdcDriver(config.adc)),
        "file": set_up("file", lambda: FileDriver(config.file)),
        "gpio": over(shared.gpio, "gpio", GpioDriver),
        "host": set_up("host", lambda: HostDriver(shared.readings)),
        "http": set_up("http", lambda: HttpDriver(config.http_client)),
        "log": LogDriver(),
    }
    if shared.mqtt is not None:
        from eyeflow.node.io.mqtt.driver import MqttDriver

        drivers["mqtt"] = over(shared.mqtt, "mqtt", lambda both: MqttDriver(both[1]))
    if (llm := config.llm) is not None:
        from eyeflow.node.io.llm.driver import LlmDriver

        drivers["llm"] = set_up("llm", lambda: LlmDriver(llm))
    return drivers
