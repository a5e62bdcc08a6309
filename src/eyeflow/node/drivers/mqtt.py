"""`mqtt.publish(topic, payload, retain, qos)` over the node's one connection to its broker."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from eyeflow.node.drivers.base import BaseDriver
from eyeflow.node.mqtt_client import MqttClient, NotConnected
from eyeflow.svm.program import Value

QOS_ALLOWED = (0, 1)


class MqttDriver(BaseDriver):
    """With QoS 1 an action is done when the broker confirmed it; a retry may deliver it twice, as QoS 1 says."""

    def __init__(self, client: MqttClient) -> None:
        super().__init__("mqtt")
        self._client = client

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Publish one message."""
        if capability != "mqtt.publish":
            await super().act(capability, args)
        topic, qos = str(args["topic"]), args.get("qos", 1)
        if qos not in QOS_ALLOWED:
            raise self.failure(f"mqtt.publish: qos is 0 or 1, not {qos}")
        if not topic or any(character in topic for character in "+#\0"):
            raise self.failure(f"mqtt.publish: {topic!r} is no topic to publish to (wildcards are for filters)")
        if not is_sendable(topic):
            raise self.failure(f"mqtt.publish: {topic!r} is no topic: it holds a control character")
        try:
            await self._client.publish(topic, str(args["payload"]).encode(), int(qos), bool(args.get("retain", False)))
        except TimeoutError as error:
            raise self.failure(f"mqtt.publish to {topic}: the broker did not confirm in time") from error
        except NotConnected as error:
            raise self.failure(f"mqtt.publish to {topic}: {error}") from error
        self.status.counters["actions"] += 1


def is_sendable(topic: str) -> bool:
    """Say whether brokers take a topic: many end the connection at control and non-characters (MQTT 5, 1.5.4)."""
    return not any(unicodedata.category(one) == "Cc" or ord(one) & 0xFFFE == 0xFFFE for one in topic)
