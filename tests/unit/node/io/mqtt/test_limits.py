"""What a broker lacks is done without; what needs it fails alone. Against a broker that ends the connection otherwise."""

from __future__ import annotations

import asyncio
import random

import pytest

from components.fake_broker import FakeBroker, varint
from components.waiting import running, until
from eyeflow.node.backoff import Backoff
from eyeflow.node.io.mqtt.driver import MqttDriver
from eyeflow.node.io.mqtt.limits import BrokerLimits
from eyeflow.node.io.mqtt.publisher import Publisher
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.mqtt.subscriber import Message, Subscriber
from eyeflow.svm.execution import CapabilityFailure

QOS_MAX, RETAIN, PACKET_MAX, RECEIVE_MAX = 0x24, 0x25, 0x27, 0x21
WILDCARDS, IDENTIFIERS, SHARED, KEEP_ALIVE, EXPIRY = 0x28, 0x29, 0x2A, 0x13, 0x11


def config(broker: FakeBroker, **more: object) -> MqttConfig:
    return MqttConfig.from_table({"host": "127.0.0.1", "port": broker.port, "keepalive_s": 5, **more})


def quick() -> Backoff:
    return Backoff(random.Random(1), first_s=0.02, last_s=0.1)


def wanted(*filters: str) -> dict[str, frozenset[str]]:
    return {f: frozenset({"rule"}) for f in filters}


class Inbox:
    """Keeps and acknowledges what comes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        message.ack()

    def routes(self) -> list[tuple[str, list[str]]]:
        return [(message.topic, sorted(message.routes)) for message in self.messages]


def test_nothing_said_means_no_limit() -> None:
    limits = BrokerLimits.from_properties(object())
    assert limits == BrokerLimits() and limits.lacks(3600) == []
    assert not limits.publish_problem("t", b"x" * 1000, 1, retain=True)


def test_a_broker_without_identifiers_is_not_sent_any_and_messages_find_their_rules() -> None:
    async def scenario() -> None:
        async with FakeBroker(bytes([IDENTIFIERS, 0])) as broker:
            source, inbox = Subscriber(config(broker), "x", quick()), Inbox()
            source.subscribe(wanted("a/#", "a/b", "c"), inbox)
            async with running(source.run()):
                await until(lambda: len(broker.subscribed) == 2)
                broker.send("a/b", b"", 1)
                broker.send("c", b"", 2)
                await until(lambda: broker.acknowledged == [1, 2])
                assert "no subscription identifiers" in source.status.detail
            assert [(f, number) for f, number, _ in broker.subscribed] == [("a/#", 0), ("c", 0)]
            assert inbox.routes() == [("a/b", ["a/#", "a/b"]), ("c", ["c"])]
            assert broker.connects == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("lacking", "refused", "reason"),
    [(WILDCARDS, "a/+", "no wildcards"), (SHARED, "$share/g/a", "no shared subscriptions")],
)
def test_only_the_filter_that_needs_it_is_refused(lacking: int, refused: str, reason: str) -> None:
    async def scenario() -> None:
        async with FakeBroker(bytes([lacking, 0]), ends_at=lambda f: f == refused) as broker:
            source, inbox = Subscriber(config(broker), "x", quick()), Inbox()
            source.subscribe(wanted(refused, "a/b"), inbox)
            async with running(source.run()):
                await until(lambda: bool(broker.subscribed))
                broker.send("a/b", b"", 1, identifier=broker.subscribed[0][1])
                await until(lambda: broker.acknowledged == [1])
                assert f"cannot listen to `{refused}`: the broker has {reason}" in source.status.detail
            assert [f for f, _, _ in broker.subscribed] == ["a/b"] and broker.connects == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("properties", "qos", "retain", "payload", "reason"),
    [
        (bytes([QOS_MAX, 0]), 1, False, "", "takes QoS 0 at most"),
        (bytes([RETAIN, 0]), 1, True, "", "keeps no retained messages"),
        (bytes([PACKET_MAX]) + (100).to_bytes(4, "big"), 1, False, "x" * 100, "packets of at most 100 bytes, this has"),
    ],
)
def test_only_the_action_that_needs_it_fails(
    properties: bytes, qos: int, retain: bool, payload: str, reason: str
) -> None:
    async def scenario() -> None:
        async with FakeBroker(properties) as broker:
            publisher = Publisher(config(broker), "x", quick())
            driver = MqttDriver(publisher)
            async with running(publisher.run()):
                with pytest.raises(CapabilityFailure, match=reason):
                    await driver.act("mqtt.publish", {"topic": "t", "payload": payload, "qos": qos, "retain": retain})
                await driver.act("mqtt.publish", {"topic": "t", "payload": "y", "qos": 0, "retain": False})
                await until(lambda: len(broker.published) == 1)
            assert broker.connects == 1 and publisher.status.counters["failures"] == 1

    asyncio.run(scenario())


def test_the_packet_that_just_fits_is_sent() -> None:
    """The size is reckoned as the broker sees it, or larger by no more than the length's own bytes."""
    limits = BrokerLimits(packet_bytes_max=100)
    whole = 1 + 1 + 2 + len("t") + 2 + 1
    assert not limits.publish_problem("t", b"x" * (100 - whole - 3), 1, retain=False)
    assert limits.publish_problem("t", b"x" * (100 - whole + 1), 1, retain=False)


def test_no_more_unconfirmed_messages_than_the_broker_takes() -> None:
    async def scenario() -> None:
        async with FakeBroker(bytes([RECEIVE_MAX, 0, 2])) as broker:
            publisher = Publisher(config(broker), "x", quick())
            held: list[tuple[bytes, object]] = []
            broker._publish = lambda _flags, body, writer: held.append((body, writer)) or True  # type: ignore[method-assign,func-returns-value]
            async with running(publisher.run()):
                tasks = [asyncio.create_task(publisher.publish("t", b"", 1, retain=False)) for _ in range(5)]
                sent = 0
                while sent < 5:
                    await until(lambda: len(held) > sent)  # noqa: B023
                    for _ in range(50):
                        await asyncio.sleep(0)
                    assert len(held) - sent <= 2
                    body, writer = held[sent]
                    writer.write(b"\x40\x02" + body[3:5])  # type: ignore[attr-defined]
                    sent += 1
                await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_the_brokers_keep_alive_and_session_are_kept_to_and_shown() -> None:
    async def scenario() -> None:
        properties = bytes([KEEP_ALIVE, 0, 1, EXPIRY]) + (60).to_bytes(4, "big")
        async with FakeBroker(properties) as broker:
            source = Subscriber(config(broker, keepalive_s=3600), "x", quick())
            source.subscribe(wanted("t"), Inbox())
            async with running(source.run()):
                await until(lambda: broker.pings >= 2)
                assert "keeps messages for 60s only" in source.status.detail
            assert broker.connects == 1

    asyncio.run(scenario())


def test_a_filter_at_which_the_broker_ends_the_connection_is_named_and_left_out() -> None:
    async def scenario() -> None:
        async with FakeBroker(ends_at=lambda f: f == "b/too/deep") as broker:
            source, inbox = Subscriber(config(broker), "x", quick()), Inbox()
            source.subscribe(wanted("a", "b/too/deep", "c"), inbox)
            async with running(source.run()):
                await until(lambda: "cannot listen to `b/too/deep`: the broker ends" in source.status.detail)
                connects = broker.connects
                number = next(number for f, number, _ in reversed(broker.subscribed) if f == "c")
                broker.send("c", b"", 1, identifier=number)
                await until(lambda: broker.acknowledged == [1])
                assert inbox.routes() == [("c", ["c"])]
                assert broker.connects == connects <= 4 and source.status.state == "up"

    asyncio.run(scenario())


def test_a_message_at_which_the_broker_ends_the_connection_fails_alone() -> None:
    async def scenario() -> None:
        async with FakeBroker(ends_at=lambda topic: topic == "forbidden") as broker:
            publisher = Publisher(config(broker), "x", quick())
            driver = MqttDriver(publisher)
            args = {"payload": "", "qos": 1, "retain": False}
            async with running(publisher.run()):
                good = [asyncio.create_task(driver.act("mqtt.publish", {"topic": "t", **args})) for _ in range(9)]
                with pytest.raises(CapabilityFailure, match="the broker ends the connection at this message"):
                    await driver.act("mqtt.publish", {"topic": "forbidden", **args})
                await asyncio.gather(*good)

    asyncio.run(scenario())


def test_bytes_that_are_no_mqtt_end_the_connection_and_not_the_node() -> None:
    async def scenario() -> None:
        async with FakeBroker() as broker:
            source = Subscriber(config(broker), "x", quick())
            source.subscribe(wanted("t"), Inbox())
            async with running(source.run()):
                for rubbish in (b"\x30\x02\x00\x09", b"\xff\xff\xff\xff\xff\xff", b"\x90\x00", varint(0) * 40):
                    await until(lambda: source.status.state == "up")
                    before = broker.connects
                    broker.writers[-1].write(rubbish)
                    await until(lambda: broker.connects > before)  # noqa: B023
                await until(lambda: source.status.state == "up")

    asyncio.run(scenario())
