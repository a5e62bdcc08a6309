"""`on mqtt` against a real Mosquitto: acknowledgement after the commit, reconnects, TLS, bad payloads."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.certificates import TestAuthority
from components.mosquitto import Mosquitto
from components.waiting import running, until
from eyeflow.base.errors import EyeflowError
from eyeflow.node.backoff import Backoff
from eyeflow.node.io.mqtt.driver import MqttDriver
from eyeflow.node.io.mqtt.publisher import Publisher, Refused
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.mqtt.source import MqttSource
from eyeflow.node.io.mqtt.subscriber import Message, Subscriber
from eyeflow.node.io.ports import Deliver, IncomingEvent, Subscription
from eyeflow.svm.execution import CapabilityFailure

PROTOCOLS = ("5", "3.1.1")


def quick() -> Backoff:
    return Backoff(random.Random(1), first_s=0.05, last_s=0.2)


def config(broker: Mosquitto, **more: object) -> MqttConfig:
    return MqttConfig.from_table({"host": "127.0.0.1", "port": broker.port, "keepalive_s": 5, **more})


def client(broker: Mosquitto, name: str = "eyeflow-test", **more: object) -> Subscriber:
    return Subscriber(config(broker, **more), name, quick())


def publisher(broker: Mosquitto, **more: object) -> Publisher:
    return Publisher(config(broker, **more), f"sender-{random.random()}", quick())


def mqtt(topic_filter: str) -> Subscription:
    return Subscription("mqtt", topic_filter)


class Engine:
    """Stands where the engine stands: keeps the events, and commits (`done`) when told to."""

    def __init__(self, commit: Callable[[IncomingEvent], bool] = lambda _event: True) -> None:
        self.events: list[IncomingEvent] = []
        self.committed: list[IncomingEvent] = []
        self._commit = commit

    async def deliver(self, event: IncomingEvent) -> None:
        self.events.append(event)
        if self._commit(event):
            self.committed.append(event)
            assert event.done is not None
            event.done()

    def numbers(self) -> list[object]:
        return [event.payload["n"] for event in self.committed]


async def publish(broker: Mosquitto, messages: list[tuple[str, bytes]], qos: int = 1, **more: object) -> None:
    sender = publisher(broker, **more)
    async with running(sender.run()):
        for topic, payload in messages:
            await sender.publish(topic, payload, qos, retain=False)


@pytest.fixture
def broker(tmp_path: Path) -> object:
    with Mosquitto(tmp_path / "broker") as server:
        yield server


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_message_reaches_each_matching_rule_once_although_filters_overlap(broker: Mosquitto, protocol: str) -> None:
    async def scenario() -> None:
        source, engine = MqttSource(client(broker, protocol=protocol), clock=lambda: 42), Engine()
        source.update([mqtt("plant/#"), mqtt("plant/+/temp"), mqtt("plant/a/temp"), mqtt("other")])
        async with running(source.run(engine.deliver)):
            await until(lambda: source.status.state == "up")
            messages = [("plant/a/temp", b'{"n": 1}'), ("plant/b/temp", b'{"n": 2}'), ("other", b'{"n": 3}')]
            await publish(broker, messages)
            await until(lambda: 3 in engine.numbers())
        seen = sorted((event.subscription.address, event.payload["n"]) for event in engine.events)
        assert seen == [
            ("other", 3), ("plant/#", 1), ("plant/#", 2), ("plant/+/temp", 1), ("plant/+/temp", 2), ("plant/a/temp", 1),
        ]  # fmt: skip
        assert {event.payload["topic"] for event in engine.events} == {"plant/a/temp", "plant/b/temp", "other"}
        assert {event.time_us for event in engine.events} == {42}
        keys = {(event.subscription.address, event.payload["n"]): event.key for event in engine.events}
        assert keys["plant/#", 1] == keys["plant/+/temp", 1] == "plant/a/temp" and keys["plant/#", 2] == "plant/b/temp"
        assert keys["plant/a/temp", 1] is keys["other", 3] is None, "one topic is no key: all its events are alike"

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_not_committed_when_the_node_died_comes_again(broker: Mosquitto, protocol: str) -> None:
    async def scenario() -> None:
        first, dead = MqttSource(client(broker, protocol=protocol)), Engine(lambda event: event.payload["n"] == 0)
        first.update([mqtt("t")])
        async with running(first.run(dead.deliver)):
            await until(lambda: first.status.state == "up")
            await publish(broker, [("t", b'{"n": %d}' % n) for n in range(5)])
            await until(lambda: len(dead.events) == 5)
        assert dead.numbers() == [0]

        second, engine = MqttSource(client(broker, protocol=protocol)), Engine()
        second.update([mqtt("t")])
        async with running(second.run(engine.deliver)):
            await until(lambda: len(engine.events) == 4)
        assert engine.numbers() == [1, 2, 3, 4]

    asyncio.run(scenario())


class AckFirst(MqttSource):
    """The control: it acknowledges before the event is recorded, as a client without manual acknowledgement does."""

    async def _deliver(self, message: Message, deliver: Deliver) -> None:
        message.ack()
        await super()._deliver(replace(message, ack=lambda: None), deliver)


def test_control_acknowledging_before_the_commit_loses_messages(broker: Mosquitto) -> None:
    async def scenario() -> None:
        first, dead = AckFirst(client(broker)), Engine(lambda _event: False)
        first.update([mqtt("t")])
        async with running(first.run(dead.deliver)):
            await until(lambda: first.status.state == "up")
            await publish(broker, [("t", b'{"n": 1}'), ("t", b'{"n": 2}')])
            await until(lambda: len(dead.events) == 2)
        second, engine = MqttSource(client(broker)), Engine()
        second.update([mqtt("t")])
        async with running(second.run(engine.deliver)):
            await until(lambda: second.status.state == "up")
            await publish(broker, [("t", b'{"n": 3}')])
            await until(lambda: bool(engine.events))
        assert engine.numbers() == [3], "1 and 2 were acknowledged, never committed, and are gone"

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_message_the_broker_took_is_lost_when_it_is_killed_and_comes_back(broker: Mosquitto, protocol: str) -> None:
    async def scenario() -> None:
        rng = random.Random(7)
        held: list[IncomingEvent] = []

        def commit(event: IncomingEvent) -> bool:
            # Some commits come late: their acknowledgements belong to a connection that is gone by then.
            if rng.random() < 0.5:
                held.append(event)
                return False
            return True

        source, engine = MqttSource(client(broker, protocol=protocol)), Engine(commit)
        source.update([mqtt("t")])
        async with running(source.run(engine.deliver)):
            await until(lambda: source.status.state == "up")
            await publish(broker, [("t", b'{"n": %d}' % n) for n in range(15)])
            await until(lambda: len(engine.events) >= 15)
            await broker.save()
            broker.kill()
            await until(lambda: source.status.state != "up")
            late = [event for event in held if event.done is not None]
            for event in late:
                assert event.done is not None
                event.done()
            engine._commit = lambda _event: True
            broker.start()
            await until(lambda: source.status.state == "up")
            await publish(broker, [("t", b'{"n": %d}' % n) for n in range(15, 20)])
            await until(lambda: set(engine.numbers()) == set(range(20)))
        assert source.status.counters["connects"] == 2

    asyncio.run(scenario())


def test_bad_payloads_are_handed_over_as_rejected_and_acknowledged(broker: Mosquitto) -> None:
    bad = [b"not json", b"[1]", b"\xff", b'{"n": NaN}', b"[" * 100_000, b'{"x": "' + b"y" * 2000 + b'"}', b"", b"null"]
    reasons = ["is not JSON", "a list", "not UTF-8", "NaN", "too deeply", "more than 120000", "is not JSON", "null"]

    async def scenario() -> None:
        source, engine = MqttSource(client(broker, payload_bytes_max=120_000)), Engine()
        source.update([mqtt("t")])
        bad[5] = b'{"x": "' + b"y" * 120_000 + b'"}'
        async with running(source.run(engine.deliver)):
            await until(lambda: source.status.state == "up")
            await publish(broker, [("t", payload) for payload in bad])
            await until(lambda: len(engine.events) == len(bad))
        for event, reason in zip(engine.events, reasons, strict=True):
            assert reason in event.rejected, (event.rejected, reason)
            assert not event.payload
        await nothing_waits(broker)

    asyncio.run(scenario())


async def nothing_waits(broker: Mosquitto) -> None:
    source, engine = MqttSource(client(broker)), Engine()
    source.update([mqtt("t")])
    async with running(source.run(engine.deliver)):
        await until(lambda: source.status.state == "up")
        await publish(broker, [("t", b'{"n": "last"}')])
        await until(lambda: bool(engine.events))
    assert engine.numbers() == ["last"]


def test_a_rule_that_goes_unsubscribes(broker: Mosquitto) -> None:
    async def scenario() -> None:
        source, engine = MqttSource(client(broker)), Engine()
        source.update([mqtt("a"), mqtt("b")])
        async with running(source.run(engine.deliver)):
            await until(lambda: source.status.state == "up")
            source.update([mqtt("b"), mqtt("c")])
            await publish(broker, [("a", b'{"n": 1}'), ("b", b'{"n": 2}'), ("c", b'{"n": 3}')])
            await until(lambda: len(engine.events) == 2)
        assert engine.numbers() == [2, 3]

    asyncio.run(scenario())


def test_a_broker_that_is_down_is_retried_and_shown(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = Mosquitto(tmp_path)
        sender = publisher(server)
        source, engine = MqttSource(client(server), publisher=sender), Engine()
        source.update([mqtt("t")])
        async with running(source.run(engine.deliver)):
            await until(lambda: "next attempt in" in source.status.detail)
            assert source.status.state == "failed"
            assert f"127.0.0.1:{server.port}" in source.status.detail
            with pytest.raises(CapabilityFailure, match="cannot reach the MQTT broker"):
                await MqttDriver(sender).act("mqtt.publish", {"topic": "t", "payload": "x", "retain": False, "qos": 1})
            server.start()
            try:
                await until(lambda: source.status.state == sender.status.state == "up")
                await MqttDriver(sender).act(
                    "mqtt.publish", {"topic": "t", "payload": '{"n": 1}', "retain": False, "qos": 1}
                )
                await until(lambda: engine.numbers() == [1])
            finally:
                server.stop()

    asyncio.run(scenario())


def mutual_tls(directory: Path) -> tuple[TestAuthority, list[str]]:
    authority = TestAuthority(directory)
    cert, key = authority.issue("broker")
    lines = [f"cafile {authority.ca_file}", f"certfile {cert}", f"keyfile {key}", "require_certificate true"]
    return authority, [*lines, "allow_anonymous true"]


def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    authority, settings = mutual_tls(tmp_path)
    cert, key = authority.issue("node")
    tls = {"ca_file": str(authority.ca_file), "cert_file": str(cert), "key_file": str(key)}

    async def scenario(broker: Mosquitto) -> None:
        source, engine = MqttSource(client(broker, tls=tls)), Engine()
        source.update([mqtt("t")])
        async with running(source.run(engine.deliver)):
            await until(lambda: source.status.state == "up")
            await publish(broker, [("t", b'{"n": 1}')], tls=tls)
            await until(lambda: engine.numbers() == [1])

    with Mosquitto(tmp_path / "broker", settings) as broker:
        asyncio.run(scenario(broker))


def test_control_a_broker_of_another_authority_is_not_trusted(tmp_path: Path) -> None:
    _authority, settings = mutual_tls(tmp_path)
    (tmp_path / "other").mkdir()
    stranger = TestAuthority(tmp_path / "other")

    async def scenario(broker: Mosquitto) -> None:
        source = MqttSource(client(broker, tls={"ca_file": str(stranger.ca_file)}))
        source.update([mqtt("t")])
        async with running(source.run(Engine().deliver)):
            await until(lambda: "the certificate is not trusted" in source.status.detail)
            assert source.status.state == "failed"

    with Mosquitto(tmp_path / "broker", settings) as broker:
        asyncio.run(scenario(broker))


def test_password_from_the_environment_and_a_wrong_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "node", "right"], check=True, capture_output=True)
    monkeypatch.setenv("TEST_MQTT_PASSWORD", "right")
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    wrong.chmod(0o600)

    async def scenario(broker: Mosquitto) -> None:
        good = client(broker, "good", username="node", password_env="TEST_MQTT_PASSWORD")
        bad = client(broker, "bad", username="node", password_file=str(wrong))
        async with running(good.run()), running(bad.run()):
            await until(lambda: good.status.state == "up" and bad.status.state == "failed")
            assert "Not authorized" in bad.status.detail or "user name or password" in bad.status.detail

    with Mosquitto(tmp_path / "broker", ["allow_anonymous false", f"password_file {passwords}"]) as broker:
        asyncio.run(scenario(broker))


def test_a_secret_that_is_not_there_stops_the_start(broker: Mosquitto, tmp_path: Path) -> None:
    with pytest.raises(EyeflowError, match="EYEFLOW_NOT_SET is not set"):
        client(broker, username="node", password_env="EYEFLOW_NOT_SET")
    with pytest.raises(EyeflowError, match="cannot read the secret"):
        client(broker, username="node", password_file=str(tmp_path / "absent"))
    with pytest.raises(EyeflowError, match="cannot load the TLS files"):
        client(broker, tls={"ca_file": str(tmp_path / "absent")})


def test_qos_0_is_published_and_wildcards_are_not(broker: Mosquitto) -> None:
    async def scenario() -> None:
        sender = publisher(broker)
        source, engine, driver = MqttSource(client(broker), publisher=sender), Engine(), MqttDriver(sender)
        source.update([mqtt("t")])
        async with running(source.run(engine.deliver)):
            await until(lambda: source.status.state == "up")
            await driver.act("mqtt.publish", {"topic": "t", "payload": '{"n": 1}', "retain": False, "qos": 0})
            await until(lambda: engine.numbers() == [1])
            for topic, qos in (("t/#", 1), ("", 1), ("t", 2)):
                with pytest.raises(CapabilityFailure):
                    await driver.act("mqtt.publish", {"topic": topic, "payload": "", "retain": False, "qos": qos})

    asyncio.run(scenario())


def test_a_silent_server_that_is_no_broker_does_not_hang_the_end() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            source = MqttSource(Subscriber(MqttConfig("127.0.0.1", port), "x", quick()))
            source.update([mqtt("t")])
            async with running(source.run(Engine().deliver)):
                accepted, _ = await asyncio.to_thread(listener.accept)
                accepted.close()

    asyncio.run(scenario())


def test_a_message_that_the_broker_does_not_take_fails_alone(broker: Mosquitto) -> None:
    async def scenario() -> None:
        sender = publisher(broker)
        async with running(sender.run()):
            good = [asyncio.create_task(sender.publish("good", b"", 1, retain=False)) for _ in range(20)]
            with pytest.raises(Refused, match="ends the connection at this message"):
                await sender.publish("a\x01b", b"", 1, retain=False)
            await asyncio.gather(*good)
            connects = sender.status.counters["connects"]
            with pytest.raises(Refused, match="earlier message to this topic"):
                await sender.publish("a\x01b", b"", 1, retain=False)
            await sender.publish("good", b"", 1, retain=False)
        assert sender.status.counters["connects"] == connects

    asyncio.run(scenario())


@pytest.mark.parametrize("topic", ["a\x01b", "a\nb", "a\x7f", "a\x9fb", "a\uffff", "a\ufffe"])
def test_a_topic_that_brokers_refuse_is_a_failure_of_its_rule_alone(broker: Mosquitto, topic: str) -> None:
    async def scenario() -> None:
        driver = MqttDriver(publisher(broker))
        with pytest.raises(CapabilityFailure, match="brokers end the connection") as failure:
            await driver.act("mqtt.publish", {"topic": topic, "payload": "", "retain": False, "qos": 1})
        assert str(failure.value).isprintable() and driver.status.detail.isprintable()

    asyncio.run(scenario())


def of(topic_filter: str, *rules: str) -> Subscription:
    return Subscription("mqtt", topic_filter, rules=frozenset(rules))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_second_rule_with_the_same_filter_gets_the_retained_message_and_it_alone(
    broker: Mosquitto, protocol: str
) -> None:
    async def scenario() -> None:
        source, engine, sender = MqttSource(client(broker, protocol=protocol)), Engine(), publisher(broker)
        source.update([of("ret/+", "ret1")])
        async with running(source.run(engine.deliver)), running(sender.run()):
            await sender.publish("ret/a", b'{"n": 1}', 1, retain=True)
            await until(lambda: engine.numbers() == [1])
            source.update([of("ret/+", "ret1", "ret2")])
            await until(lambda: len(engine.events) == 2)
            source.update([of("ret/+", "ret1", "ret2"), of("ret/a", "ret3")])
            await until(lambda: len(engine.events) == 3)
            await sender.publish("ret/b", b'{"n": 2}', 1, retain=False)
            await until(lambda: 2 in engine.numbers())
        seen = [(event.payload["n"], event.subscription.address, event.only) for event in engine.events]
        assert seen[1:] == [
            (1, "ret/+", frozenset({"ret2"})), (1, "ret/a", frozenset({"ret3"})), (2, "ret/+", None),
        ]  # fmt: skip

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_subscriptions_give_each_message_to_one_node(broker: Mosquitto, protocol: str) -> None:
    async def scenario() -> None:
        engines = [Engine(), Engine()]
        sources = [MqttSource(client(broker, f"node-{n}", protocol=protocol)) for n in range(2)]
        for source in sources:
            source.update([mqtt("$share/g1/t/share/#"), mqtt("other")])
        async with running(sources[0].run(engines[0].deliver)), running(sources[1].run(engines[1].deliver)):
            await until(lambda: all(source.status.state == "up" for source in sources))
            await publish(broker, [("t/share/a", b'{"n": %d}' % n) for n in range(20)])
            await until(lambda: sum(len(engine.events) for engine in engines) == 20)
        numbers = [engine.numbers() for engine in engines]
        assert sorted(numbers[0] + numbers[1]) == list(range(20)) and all(numbers)  # type: ignore[type-var]
        assert {event.payload["topic"] for engine in engines for event in engine.events} == {"t/share/a"}
        assert [source.status.counters["unmatched"] for source in sources] == [0, 0]

    asyncio.run(scenario())


def test_what_waits_in_the_session_finds_its_rule_after_a_restart(broker: Mosquitto) -> None:
    async def scenario() -> None:
        first, engine = MqttSource(client(broker)), Engine()
        first.update([of("zebra", "z")])
        async with running(first.run(engine.deliver)):
            await until(lambda: first.status.state == "up")
            first.update([of("zebra", "z"), of("apple", "a")])
            await publish(broker, [("zebra", b'{"n": 1}')])
            await until(lambda: len(engine.events) == 1)
        await publish(broker, [("zebra", b'{"n": 2}'), ("apple", b'{"n": 3}')])
        second, engine = MqttSource(client(broker)), Engine()
        second.update([of("apple", "a"), of("zebra", "z")])
        async with running(second.run(engine.deliver)):
            await until(lambda: len(engine.events) == 2)
        assert {(e.payload["n"], e.subscription.address) for e in engine.events} == {(2, "zebra"), (3, "apple")}

    asyncio.run(scenario())
