"""What a broker says of itself when it takes a connection (CONNACK; MQTT 5.0, 3.2.2.3), and what that rules out.

A client that uses what the broker lacks has its connection ended, and with it everything that shares it. So whatever
needs it fails here, alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from eyeflow.svm.addresses import is_shared

PACKET_BYTES_MAX = 268_435_460
"""The largest packet of MQTT: 5 bytes of fixed header and a remaining length of 28 bits."""
RECEIVE_MAX = 65_535
HEADER_BYTES = 5


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """The broker's limits; the defaults are what holds when it says nothing."""

    qos_max: int = 2
    retain: bool = True
    packet_bytes_max: int = PACKET_BYTES_MAX
    receive_max: int = RECEIVE_MAX
    wildcards: bool = True
    identifiers: bool = True
    shared: bool = True
    session_expiry_s: int | None = None

    @classmethod
    def from_properties(cls, properties: object) -> BrokerLimits:
        """Read the properties of a CONNACK; paho gives those an attribute that the broker sent."""
        return cls(
            qos_max=getattr(properties, "MaximumQoS", 2),
            retain=bool(getattr(properties, "RetainAvailable", True)),
            packet_bytes_max=getattr(properties, "MaximumPacketSize", PACKET_BYTES_MAX),
            receive_max=getattr(properties, "ReceiveMaximum", RECEIVE_MAX),
            wildcards=bool(getattr(properties, "WildcardSubscriptionAvailable", True)),
            identifiers=bool(getattr(properties, "SubscriptionIdentifierAvailable", True)),
            shared=bool(getattr(properties, "SharedSubscriptionAvailable", True)),
            session_expiry_s=getattr(properties, "SessionExpiryInterval", None),
        )

    def filter_problem(self, topic_filter: str) -> str:
        """Return why this broker cannot be asked for a filter, or an empty text."""
        if is_shared(topic_filter) and not self.shared:
            return "the broker has no shared subscriptions"
        if ("+" in topic_filter or "#" in topic_filter) and not self.wildcards:
            return "the broker has no wildcards"
        if len(topic_filter.encode()) + 3 * HEADER_BYTES > self.packet_bytes_max:
            return f"the broker takes packets of at most {self.packet_bytes_max} bytes"
        return ""

    def publish_problem(self, topic: str, payload: bytes, qos: int, retain: bool) -> str:
        """Return why this broker cannot be sent a message, or an empty text."""
        if qos > self.qos_max:
            return f"the broker takes QoS {self.qos_max} at most; write `qos: {self.qos_max}`"
        if retain and not self.retain:
            return "the broker keeps no retained messages; leave `retain` out"
        # Fixed header, length of the topic, packet identifier, length of the properties.
        size_bytes = HEADER_BYTES + 2 + len(topic.encode()) + 2 + 1 + len(payload)
        if size_bytes > self.packet_bytes_max:
            return f"the broker takes packets of at most {self.packet_bytes_max} bytes, this has {size_bytes}"
        return ""

    def lacks(self, session_wanted_s: int) -> list[str]:
        """Return, for the status, what a rule may miss at this broker."""
        found = {
            f"QoS {self.qos_max} at most": self.qos_max < 1,
            "no retained messages": not self.retain,
            "no wildcards": not self.wildcards,
            "no subscription identifiers": not self.identifiers,
            "no shared subscriptions": not self.shared,
            f"packets of at most {self.packet_bytes_max} bytes": self.packet_bytes_max < PACKET_BYTES_MAX,
            f"keeps messages for {self.session_expiry_s}s only": (
                self.session_expiry_s is not None and self.session_expiry_s < session_wanted_s
            ),
        }
        return [text for text, holds in found.items() if holds]
