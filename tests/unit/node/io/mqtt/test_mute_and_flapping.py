"""A network that flaps is no broker that objects to a message; a broker that confirms nothing is left."""

from __future__ import annotations

import asyncio
import random

import pytest

from components.fake_broker import FakeBroker
from components.waiting import running, until
from eyeflow.node.backoff import Backoff
from eyeflow.node.io.mqtt import publisher as module
from eyeflow.node.io.mqtt.publisher import Publisher
from eyeflow.node.io.mqtt.settings import MqttConfig

FLAPS = 6


def publisher_of(broker: FakeBroker) -> Publisher:
    table = {"host": "127.0.0.1", "port": broker.port, "keepalive_s": 60, "publish_timeout_s": 60.0}
    return Publisher(MqttConfig.from_table(table), "x", Backoff(random.Random(1), first_s=0.02, last_s=0.1))


async def flap(broker: FakeBroker, publisher: Publisher) -> None:
    """End each connection soon after it came up, as a bad radio link does, and then no more."""
    for number in range(1, FLAPS + 1):
        await until(lambda number=number: broker.connects >= number and publisher.is_up)
        broker.confirms = number == FLAPS
        broker.writers[-1].close()


async def publish_while_flapping() -> None:
    async with FakeBroker() as broker:
        broker.confirms = False
        publisher = publisher_of(broker)
        async with running(publisher.run()), running(flap(broker, publisher)):
            await publisher.publish("t", b"1", 1, retain=False)
        assert broker.connects > FLAPS


def test_a_flapping_network_does_not_let_a_topic_be_refused() -> None:
    asyncio.run(publish_while_flapping())


def test_control_a_message_that_is_not_held_back_is_taken_for_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "up", lambda self: (self._changed.set(), self._send_waiting()))
    with pytest.raises(module.Refused):
        asyncio.run(publish_while_flapping())


def test_a_broker_that_confirms_nothing_is_left_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "UNCONFIRMED_S", 0.5)

    async def scenario() -> None:
        async with FakeBroker() as broker:
            broker.confirms = False
            publisher = publisher_of(broker)
            async with running(publisher.run()):
                sent = publisher.begin("t", b"1", 1, retain=False)
                await until(lambda: broker.connects >= 2)
                assert not sent.done()
                broker.confirms = True
                await sent

    asyncio.run(scenario())
    assert any("the broker confirmed nothing" in line for line in caplog.messages)
