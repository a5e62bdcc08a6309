"""MQTT as a connector: messages are events, publishing is an action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.ports import Driver, Source

if TYPE_CHECKING:
    from eyeflow.node.io.mqtt.publisher import Publisher
    from eyeflow.node.io.mqtt.subscriber import Subscriber


def _share(site: Site) -> tuple[Subscriber, Publisher]:
    from eyeflow.node.io.mqtt.publisher import Publisher
    from eyeflow.node.io.mqtt.subscriber import Subscriber

    # The name of the node makes the client's id, so that its session at the broker outlives a restart.
    config, client_id = site.of(MqttConfig), f"eyeflow-{site.node}"
    return Subscriber(config, client_id), Publisher(config, f"{client_id}-publish")


def _source(site: Site, both: tuple[Subscriber, Publisher]) -> Source:
    from eyeflow.node.io.mqtt.source import MqttSource

    return MqttSource(both[0], site.clock, both[1])


def _driver(site: Site, both: tuple[Subscriber, Publisher]) -> Driver:
    from eyeflow.node.io.mqtt.driver import MqttDriver

    return MqttDriver(both[1])


CONNECTOR = Connector(
    name="mqtt",
    sections=(MqttConfig,),
    share=_share,
    source=_source,
    driver=_driver,
    grants=("mqtt.publish",),
    template="""\
# [mqtt]
# host = "localhost"
""",
    catalog="""\
[[source]]
name = "mqtt"
address = "required"
form = "mqtt-filter"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no network; listen on its gateway" }
injected = { topic = "text" }
doc = "A message of an MQTT topic filter: a JSON object. The field `topic`, if declared, gets the topic."

[[capability]]
name = "mqtt.publish"
kind = "act"
args = [
    { name = "topic", type = "text(255)" },
    { name = "payload", type = "text(4096)" },
    { name = "retain", type = "bool", default = false },
    { name = "qos", type = "int", default = 1 },
]
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no network; `emit` an event and let a rule on its gateway publish it" }
cost = 100
doc = "Publish a message to the node's MQTT broker."
""",
)
