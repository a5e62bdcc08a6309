"""What the node's MQTT client does in place of paho's: the same, with fewer steps."""

from __future__ import annotations

from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from eyeflow.node.io.mqtt.client import BufferedClient, QuickProperties

VALUES: dict[str, object] = {
    "PayloadFormatIndicator": 1,
    "MessageExpiryInterval": 70_000,
    "ContentType": "text/plain",
    "ResponseTopic": "a/b",
    "CorrelationData": b"\x00\x01",
    "SubscriptionIdentifier": [3, 300],
    "TopicAlias": 7,
    "UserProperty": [("k", "v"), ("k", "w")],
}


def read(kind: Any, data: bytes) -> tuple[int, Any]:
    properties = kind(PacketTypes.PUBLISH)
    _, length = properties.unpack(data)
    return length, properties


def packed(names: list[str]) -> bytes:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for name in names:
        setattr(properties, name, VALUES[name])
    return bytes(properties.pack())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("names", [[], *([name] for name in VALUES), list(VALUES)], ids=lambda names: "+".join(names))
def test_properties_are_read_as_paho_reads_them(names: list[str]) -> None:
    data = packed(names) + b"payload"
    found = []
    for kind in (Properties, QuickProperties):
        length, properties = read(kind, data)
        found.append((length, properties.json(), str(properties)))
    assert found[0] == found[1]
    assert all(getattr(properties, name) == VALUES[name] for name in names)


def test_a_property_that_comes_twice_or_does_not_belong_here_is_refused_as_by_paho() -> None:
    for data in (b"\x04\x01\x01\x01\x01", b"\x03\x21\x00\x05"):
        problems = []
        for kind in (Properties, QuickProperties):
            with pytest.raises(Exception) as caught:
                read(kind, data)
            problems.append(type(caught.value))
        assert problems[0] is problems[1]


def test_packets_share_nothing() -> None:
    second = QuickProperties(PacketTypes.PUBLISH)
    read(QuickProperties, packed(["SubscriptionIdentifier"]))
    assert not hasattr(second, "SubscriptionIdentifier") and not hasattr(Properties(PacketTypes.PUBLISH), "TopicAlias")  # type: ignore[no-untyped-call]


def test_everything_that_came_is_taken_from_one_call_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    came = [b"abcdef", b"gh"]
    monkeypatch.setattr(Client, "_sock_recv", lambda self, size: came.pop(0))
    client = BufferedClient(CallbackAPIVersion.VERSION2)
    assert client._sock_recv(1) == b"a" and client._sock_recv(3) == b"bcd" and client.has_more
    assert client._sock_recv(9) == b"ef" and client.is_drained
    with pytest.raises(BlockingIOError):
        client._sock_recv(1)
    client.expect_more()
    assert client._sock_recv(9) == b"gh"
