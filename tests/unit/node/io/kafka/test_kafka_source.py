"""`on kafka` against brokers of the real protocol: what comes, what is refused, and where reading goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.certificates import TestAuthority
from components.kafka import Kafka, kafka
from components.waiting import running, until
from eyeflow.base.errors import EyeflowError
from eyeflow.node.config.config import load_config
from eyeflow.node.io.kafka import library, member
from eyeflow.node.io.kafka.member import OWN_MARK
from eyeflow.node.io.kafka.settings import KafkaConfig, KafkaTlsConfig, SaslConfig
from eyeflow.node.io.kafka.source import KafkaSource
from eyeflow.node.io.ports import IncomingEvent, Subscription
from eyeflow.node.run_key import active
from eyeflow.node.streams import Streams

RULE = active("r")
TOPIC = Subscription("kafka", "t", rules=frozenset({RULE}))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(autouse=True)
def short_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that left without a word is waited for; the broker takes no less than 6 s."""
    monkeypatch.setattr(member, "SESSION_MS", 6000)


@pytest.fixture
def topic(cluster: Kafka, request: pytest.FixtureRequest) -> Subscription:
    """A topic of this test's own, with one record that came before."""
    name = request.node.name[:80].replace("[", "-").replace("]", "")
    cluster.send(name, b'{"n":-1}')
    return Subscription("kafka", name, rules=frozenset({RULE}))


class Host:
    """A node around a source: it keeps what came, and, unless `holds`, records it at once."""

    def __init__(
        self, config: KafkaConfig, topic: Subscription, streams: Streams | None = None, name: str = "n1"
    ) -> None:
        self.streams = streams or Streams()
        self.config, self.topic, self.events = config, topic, list[IncomingEvent]()
        self.source = KafkaSource(config, name, self.streams, clock=lambda: 7)
        self.source.update([topic])
        self.room = asyncio.Event()
        self.room.set()

    async def deliver(self, event: IncomingEvent) -> None:
        await self.room.wait()
        self.events.append(event)
        assert event.mark is not None and event.done is not None
        self.streams.take(event.mark)
        self.record(event)

    def record(self, event: IncomingEvent) -> None:
        assert event.mark is not None and event.done is not None
        self.streams.done(event.mark)
        self.streams.were_kept(self.streams.changes())
        event.done()

    @property
    def numbers(self) -> list[object]:
        return [event.payload.get("n") for event in self.events]

    async def up(self) -> None:
        await until(lambda: self.source.status.state == "up")


def config_of(cluster: Kafka, topic: Subscription, **changes: object) -> KafkaConfig:
    settings = {"start": "earliest", "group": topic.address} | changes
    return KafkaConfig(cluster.servers, **settings)  # type: ignore[arg-type]


def test_records_become_events_and_bad_ones_are_rejected(cluster: Kafka, topic: Subscription) -> None:
    async def scenario() -> None:
        host = Host(config_of(cluster, topic, payload_bytes_max=64), topic)
        cluster.send(topic.address, b'{"n":1}', b"nonsense", None, b"[1]", b'"' + b"x" * 80 + b'"', key=b"pump-\xff")
        async with running(host.source.run(host.deliver)):
            await until(lambda: len(host.events) == 6)
        first, second, *bad = host.events
        assert (first.payload, first.key) == ({"n": -1}, None)
        assert second.payload == {"n": 1, "record_key": "pump-\ufffd"} and second.key == "pump-\\xff"
        assert second.time_us > 1_700_000_000_000_000
        reasons = [event.rejected for event in bad]
        assert [
            any(word in reason for reason in reasons)
            for word in ("not JSON", "deletes its key", "a list", "more than 64")
        ] == [True] * 4

    asyncio.run(scenario())


def test_latest_begins_with_what_comes_from_now_on(cluster: Kafka, topic: Subscription) -> None:
    async def scenario() -> None:
        host = Host(config_of(cluster, topic, start="latest"), topic)
        async with running(host.source.run(host.deliver)):
            await host.up()
            cluster.send(topic.address, b'{"n":1}')
            await until(lambda: bool(host.events))
        assert host.numbers == [1]

    asyncio.run(scenario())


def test_it_goes_on_behind_what_is_recorded_not_behind_what_was_read(cluster: Kafka, topic: Subscription) -> None:
    async def first(streams: Streams) -> None:
        host = Host(config_of(cluster, topic), topic, streams)
        async with running(host.source.run(host.deliver)):
            await until(lambda: host.numbers == [-1])
            host.record = lambda event: event.done()  # type: ignore[method-assign, misc]
            cluster.send(topic.address, b'{"n":1}', b'{"n":2}')
            await until(lambda: len(host.events) == 3)

    async def second(streams: Streams, expected: list[object]) -> None:
        host = Host(config_of(cluster, topic), topic, streams)
        async with running(host.source.run(host.deliver)):
            await until(lambda: len(host.events) == len(expected))
        assert host.numbers == expected

    streams = Streams()
    asyncio.run(first(streams))
    restarted = Streams()
    restarted.restore(_on_disk(streams))
    asyncio.run(second(restarted, [1, 2]))


def _on_disk(streams: Streams):  # type: ignore[no-untyped-def]
    from eyeflow.node.streams import Progress

    return Progress({name: kept for name in streams._streams if (kept := streams.kept_of(name)) is not None})


def test_the_brokers_are_told_how_far_it_is_and_whoever_resets_that_is_followed(
    cluster: Kafka, topic: Subscription
) -> None:
    streams = Streams()

    async def reads(expected: list[object]) -> None:
        host = Host(config_of(cluster, topic), topic, streams)
        async with running(host.source.run(host.deliver)):
            await until(lambda: len(host.events) == len(expected))
        assert host.numbers == expected

    asyncio.run(reads([-1]))
    assert cluster.committed(topic.address, topic.address) == (1, OWN_MARK + "n1")
    cluster.send(topic.address, b'{"n":1}')
    asyncio.run(reads([1]))
    cluster.reset(topic.address, topic.address, 0)
    asyncio.run(reads([-1, 1]))


def test_a_topic_that_is_not_there_yet_is_said_and_read_once_it_is(
    cluster: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "REFRESH_MS", 200)

    async def scenario() -> None:
        missing = Subscription("kafka", "later", rules=frozenset({RULE}))
        host = Host(config_of(cluster, missing), missing)
        async with running(host.source.run(host.deliver)):
            await until(lambda: "cannot read `later`" in host.source.status.detail)
            cluster.send("later", b'{"n":1}')
            await until(lambda: host.numbers == [1])
            assert "cannot read" not in host.source.status.detail


def test_records_that_the_broker_dropped_unread_are_told_once(cluster: Kafka, topic: Subscription) -> None:
    streams = Streams()

    async def reads(count: int) -> Host:
        host = Host(config_of(cluster, topic), topic, streams)
        async with running(host.source.run(host.deliver)):
            await until(lambda: len(host.events) == count)
        return host

    asyncio.run(reads(1))
    cluster.send(topic.address, *(b'{"n":%d}' % n for n in range(6)))
    cluster.drop_before(topic.address, 5)
    host = asyncio.run(reads(3))
    assert host.events[0].rejected == "the brokers dropped 4 records before they were read"
    assert host.numbers == [None, 4, 5] and host.source.status.counters["lost"] == 4
    cluster.send(topic.address, b'{"n":6}')
    assert asyncio.run(reads(1)).numbers == [6]


def test_two_nodes_of_one_group_share_the_partitions_and_no_record_comes_twice(
    cluster: Kafka, topic: Subscription
) -> None:
    """A second node takes a partition over only behind what the first has recorded of it."""
    shared = Subscription("kafka", "shared", rules=frozenset({RULE}))
    cluster.make("shared", partitions=4)

    async def scenario() -> None:
        one = Host(config_of(cluster, shared), shared)
        other = Host(config_of(cluster, shared), shared, name="n2")
        sent = 0

        def send() -> None:
            nonlocal sent
            for partition in range(4):
                for _ in range(50):
                    cluster.send("shared", b'{"n":%d}' % sent, partition=partition)
                    sent += 1

        async with running(one.source.run(one.deliver)):
            send()
            await until(lambda: len(one.events) > 20)
            async with running(other.source.run(other.deliver)):
                await until(lambda: other.source.status.state == "up")
                await asyncio.to_thread(send)
                await until(lambda: len(one.events) + len(other.events) >= sent)
                assert other.events
            send()
            await until(lambda: len(one.events) + len(other.events) >= sent)
        assert sorted([*one.numbers, *other.numbers]) == list(range(sent))  # type: ignore[type-var]

    asyncio.run(scenario())


def test_it_reads_no_more_than_the_node_can_hold(cluster: Kafka, topic: Subscription) -> None:
    async def scenario() -> None:
        host = Host(config_of(cluster, topic, inflight_max=10), topic)
        host.room.clear()
        cluster.send(topic.address, *(b'{"n":%d}' % n for n in range(3000)))
        async with running(host.source.run(host.deliver)):
            await until(lambda: host.source._member._paused)
            assert host.source._member._taken <= 10 + 256
            host.room.set()
            await until(lambda: len(host.events) == 3001)
        assert host.numbers == list(range(-1, 3000))

    asyncio.run(scenario())


def test_no_broker_is_said_and_no_traceback(cluster: Kafka) -> None:
    async def scenario() -> None:
        host = Host(KafkaConfig("127.0.0.1:1"), TOPIC)
        async with running(host.source.run(host.deliver)):
            await until(lambda: "127.0.0.1:1" in host.source.status.detail and "refused" in host.source.status.detail)
        assert host.source.status.state in ("connecting", "failed")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ('bootstrap_servers = "broker"', "address of a broker"),
        ('bootstrap_servers = ""', "needs `bootstrap_servers`"),
        ('bootstrap_servers = "b:1"\ngroup = "a b"', "name of a group"),
        ('bootstrap_servers = "b:1"\nstart = "newest"', "newest"),
        ('bootstrap_servers = "b:1"\n[kafka.sasl]\nusername = "u"', "names no password"),
        ('bootstrap_servers = "b:1"\n[kafka.tls]\nkey_file = "k"', "needs cert_file"),
    ],
)
def test_settings_that_are_wrong_are_refused(tmp_path: Path, lines: str, word: str) -> None:
    (tmp_path / "c.toml").write_text(f"[node]\nname = 'n'\n[kafka]\n{lines}\n")
    with pytest.raises(EyeflowError) as caught:
        load_config(tmp_path / "c.toml")
    assert word in caught.value.whole


def test_a_password_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_PASSWORD", raising=False)
    config = KafkaConfig("b:1", sasl=SaslConfig("u", password_env="NO_SUCH_PASSWORD"))
    with pytest.raises(EyeflowError, match="NO_SUCH_PASSWORD"):
        KafkaSource(config, "n1", Streams())


def test_it_reads_over_tls_with_a_certificate_and_a_password_and_says_when_one_is_wrong(tmp_path: Path) -> None:
    """SASL_SSL with SCRAM-SHA-512, as clusters outside of one's own network are reached."""
    authority = TestAuthority(tmp_path)
    (tmp_path / "password").write_text("correct horse")
    (tmp_path / "wrong").write_text("battery")
    for name in ("password", "wrong"):
        (tmp_path / name).chmod(0o600)

    def config(broker: Kafka, password: str, **files: Path) -> KafkaConfig:
        sasl = SaslConfig("eyeflow", password_file=tmp_path / password)
        tls = KafkaTlsConfig(**{"ca_file": authority.ca_file} | files)
        return KafkaConfig(broker.secure_servers, start="earliest", sasl=sasl, tls=tls)

    async def scenario(broker: Kafka) -> None:
        cert_file, key_file = authority.issue("node")
        topic = Subscription("kafka", "secret", rules=frozenset({RULE}))
        for password, files, word in (
            ("wrong", {"cert_file": cert_file, "key_file": key_file}, "uthentication"),
            ("password", {}, "SSL"),
        ):
            refused = Host(config(broker, password, **files), topic)
            async with running(refused.source.run(refused.deliver)):
                await until(lambda word=word, refused=refused: word in refused.source.status.detail)  # type: ignore[misc]
            assert not refused.events
        host = Host(config(broker, "password", cert_file=cert_file, key_file=key_file), topic)
        async with running(host.source.run(host.deliver)):
            await until(lambda: host.numbers == [1])

    with kafka(tmp_path / "kafka", authority) as broker:
        broker.add_user("eyeflow", "correct horse")
        broker.send("secret", b'{"n":1}')
        asyncio.run(scenario(broker))
