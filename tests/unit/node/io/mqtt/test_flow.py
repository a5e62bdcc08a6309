"""How much of a broker that does not keep to Receive Maximum is read, and in which order it is acknowledged."""

from __future__ import annotations

import asyncio
import random
import socket
import time

import pytest

from components.fake_broker import FakeBroker
from components.waiting import running, until
from eyeflow.node.backoff import Backoff
from eyeflow.node.io.mqtt.connection import Connection
from eyeflow.node.io.mqtt.publisher import UNCONFIRMED_MAX, Publisher
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.mqtt.subscriber import Message, Subscriber
from eyeflow.node.io.mqtt.window import BYTES_MAX, Window

INFLIGHT = 16
FLOOD = 8_000
PAYLOAD = b"x" * 8_000


def config(broker: FakeBroker, **more: object) -> MqttConfig:
    table = {"host": "127.0.0.1", "port": broker.port, "keepalive_s": 5, "inflight_max": INFLIGHT, **more}
    return MqttConfig.from_table(table)


def subscriber(broker: FakeBroker, **more: object) -> tuple[Subscriber, list[Message]]:
    found: list[Message] = []
    source = Subscriber(config(broker, **more), "x", Backoff(random.Random(1), first_s=0.02, last_s=0.1))
    source.subscribe({"t": frozenset({"rule"})}, found.append)
    return source, found


async def flood(broker: FakeBroker, count: int) -> None:
    await until(lambda: bool(broker.subscribed))
    for number in range(1, count + 1):
        broker.send("t", PAYLOAD, number, identifier=broker.subscribed[-1][1])


def test_no_more_is_read_than_the_node_may_hold_and_the_connection_lives_on() -> None:
    async def scenario() -> None:
        async with FakeBroker(bytes([0x13, 0, 1])) as broker:  # Server Keep Alive: one second
            source, found = subscriber(broker)
            async with running(source.run()):
                await flood(broker, FLOOD)
                await until(lambda: len(found) == INFLIGHT)
                pings = broker.pings
                await until(lambda: broker.pings >= pings + 3)
                assert len(found) == INFLIGHT and source.status.counters["held"] == INFLIGHT
                assert broker.unsent_bytes > FLOOD * len(PAYLOAD) // 2, "TCP holds the broker back"
                assert "does not read on: 16 messages wait, the first on t" in source.status.detail
                taken = 0
                while taken < FLOOD:
                    await until(lambda: len(found) > taken)  # noqa: B023
                    assert len(found) - taken <= INFLIGHT
                    found[taken].ack()
                    taken += 1
                await until(lambda: len(broker.acknowledged) == FLOOD)
            assert broker.acknowledged == list(range(1, FLOOD + 1)) and broker.connects == 1

    asyncio.run(scenario())


def test_control_a_node_that_trusts_receive_maximum_reads_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "pause", lambda self: None)

    async def scenario() -> None:
        async with FakeBroker() as broker:
            source, found = subscriber(broker)
            async with running(source.run()):
                await flood(broker, 2000)
                await until(lambda: len(found) == 2000)

    asyncio.run(scenario())


def test_a_ping_whose_answer_stands_behind_unread_messages_does_not_end_the_connection() -> None:
    """The control of the test above for keep-alive: without the mercy of `_wait_a_tick` paho ends the connection."""

    async def scenario() -> None:
        async with FakeBroker(bytes([0x13, 0, 1])) as broker:
            source, found = subscriber(broker)

            async def paho_alone() -> None:
                try:
                    async with asyncio.timeout(0.3):
                        await source._connection._ended.wait()
                except TimeoutError:
                    source._connection._guarded(source._connection._paho.loop_misc)

            source._connection._wait_a_tick = paho_alone  # type: ignore[method-assign]
            async with running(source.run()):
                await flood(broker, INFLIGHT)
                await until(lambda: len(found) == INFLIGHT)
                await until(lambda: broker.connects >= 2)

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_acknowledgements_leave_in_the_order_of_the_messages(seed: int) -> None:
    async def scenario() -> None:
        rng = random.Random(seed)
        async with FakeBroker() as broker:
            source, found = subscriber(broker, inflight_max=1000)
            async with running(source.run()):
                await flood(broker, 300)
                await until(lambda: len(found) == 300)
                rng.shuffle(found)
                for message in found:
                    message.ack()
                    if rng.random() < 0.1:
                        await asyncio.sleep(0)
                await until(lambda: len(broker.acknowledged) == 300)
            assert broker.acknowledged == list(range(1, 301))

    asyncio.run(scenario())


def test_control_acknowledgements_that_do_not_wait_leave_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Window, mid: int, qos: int, _topic: str, _size_bytes: int) -> object:
        return lambda: self._send_ack(mid, qos)

    monkeypatch.setattr(Window, "take", at_once)

    async def scenario() -> None:
        async with FakeBroker() as broker:
            source, found = subscriber(broker, inflight_max=1000)
            async with running(source.run()):
                await flood(broker, 10)
                await until(lambda: len(found) == 10)
                for message in reversed(found):
                    message.ack()
                await until(lambda: len(broker.acknowledged) == 10)
            assert broker.acknowledged == list(range(10, 0, -1))

    asyncio.run(scenario())


def test_a_late_acknowledgement_of_an_earlier_connection_is_not_sent_and_still_counts_as_held() -> None:
    async def scenario() -> None:
        async with FakeBroker() as broker:
            source, found = subscriber(broker, inflight_max=4)
            async with running(source.run()):
                await flood(broker, 4)
                await until(lambda: len(found) == 4)
                broker.subscribed.clear()
                broker.writers[-1].transport.abort()
                await flood(broker, 4)
                await until(lambda: broker.connects == 2 and "does not read on" in source.status.detail)
                assert len(found) == 4, "the window was full before the first message of the new connection"
                for message in list(found):
                    message.ack()
                await until(lambda: len(found) == 8)
                for message in found[4:]:
                    message.ack()
                await until(lambda: len(broker.acknowledged) == 4)
            assert broker.acknowledged == [1, 2, 3, 4]

    asyncio.run(scenario())


def test_the_window_is_bounded_in_bytes_too() -> None:
    window = Window(1000, lambda _mid, _qos: None)
    done = [window.take(number, 1, "t", BYTES_MAX // 4) for number in range(1, 4)]
    assert not window.is_full
    done.append(window.take(4, 1, "t", BYTES_MAX // 4))
    assert window.is_full and not window.has_room
    for one in done:
        one()
    assert window.has_room and window.count == window.bytes == 0


def test_small_packets_are_sent_at_once() -> None:
    async def scenario() -> None:
        async with FakeBroker() as broker:
            publisher = Publisher(config(broker), "x")
            async with running(publisher.run()):
                await publisher.publish("t", b"", 1, retain=False)
                sock = publisher._connection._paho.socket()
                assert sock is not None
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # type: ignore[attr-defined]
                before_s = time.monotonic()
                for _ in range(100):
                    await publisher.publish("t", b"", 1, retain=False)
                print(f"a round trip takes {(time.monotonic() - before_s) * 10:.2f} ms")

    asyncio.run(scenario())


@pytest.mark.parametrize("confirms", [False, True], ids=["mute", "control"])
def test_messages_that_nobody_waits_for_any_more_are_not_kept(confirms: bool) -> None:
    """A broker may answer pings and confirm nothing, for days; each message that is given up would stay in memory."""

    async def scenario() -> None:
        async with FakeBroker() as broker:
            broker.confirms = confirms
            publisher = Publisher(config(broker, publish_timeout_s=0.1), "x")
            async with running(publisher.run()):
                await publisher.until_up()
                for _ in range(20):
                    sent = [publisher.begin("t", b"", 1, retain=False) for _ in range(UNCONFIRMED_MAX)]
                    answers = await asyncio.gather(*sent, return_exceptions=True)
                failed = sum(isinstance(answer, TimeoutError) for answer in answers)
                assert failed == (0 if confirms else UNCONFIRMED_MAX)
                assert len(publisher._unsent) <= UNCONFIRMED_MAX

    asyncio.run(scenario())
