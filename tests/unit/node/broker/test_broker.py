"""The node's own Kafka: a real one, started, killed, filled up, and everything that can keep it from starting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from components.kafka import HOME, QUIET
from components.ports import free_port
from components.waiting import running, until, wait_until
from eyeflow.node.broker import broker as broker_module
from eyeflow.node.broker import properties as properties_module
from eyeflow.node.broker import share as share_module
from eyeflow.node.broker.broker import EmbeddedBroker, tie
from eyeflow.node.broker.properties import MB
from eyeflow.node.broker.settings import EmbeddedSection
from eyeflow.node.broker.share import Share, Usage, kept_bytes, usage_of

PROCESS = Path(__file__).with_name("broker_process.py")


def section(**changes: object) -> EmbeddedSection:
    return EmbeddedSection(**{"home": HOME, "port": free_port()} | changes)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def up(config: EmbeddedSection, directory: Path, share: Share | None = None) -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(config, directory, share)
    async with running(broker.run()):
        await until(lambda: broker.status.state == "up")
        yield broker


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_it_comes_back_after_a_kill_and_ends_with_whoever_runs_it(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with up(section(), tmp_path) as broker:
            first = broker.status.counters["pid"]
            os.kill(first, signal.SIGKILL)
            await until(lambda: broker.status.state == "failed")
            assert "it ended with code -9; next attempt in" in broker.status.detail
            await until(lambda: broker.status.state == "up")
            second = broker.status.counters["pid"]
            assert second != first and broker.status.counters["starts"] == 2
        return second

    pid = asyncio.run(scenario())
    assert not is_there(pid)
    assert list((tmp_path / "data").glob(".kafka_cleanshutdown")), "it ended in good order"


def test_it_does_not_outlive_a_node_that_is_killed(tmp_path: Path) -> None:
    assert HOME.is_dir(), "make test installs Kafka there: without it the process waits for ever"
    command = [sys.executable, str(PROCESS), str(tmp_path), str(HOME), str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_there(pid)
        process.kill()
    wait_until(lambda: not is_there(pid), "the broker has ended")


def test_where_setpriv_may_not_run_the_broker_runs_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the sandbox of the unit it ends with code 127: `activate capabilities: Operation not permitted`."""
    assert tie()[1:] == ["--pdeathsig", "KILL"]
    refuses = tmp_path / "setpriv"
    refuses.write_text("#!/bin/sh\nexit 127\n")
    refuses.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(refuses))
    assert tie() == []
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert tie() == []


def failure(config: EmbeddedSection, directory: Path, **how: object) -> str:
    """Return what its status says after the first attempt."""

    async def scenario() -> str:
        broker = EmbeddedBroker(config, directory, **how)  # type: ignore[arg-type]
        async with running(broker.run()):
            await until(lambda: broker.status.state == "failed")
        return broker.status.detail

    return asyncio.run(scenario())


def java_that(tmp_path: Path, does: str, version: str = "17.0.1") -> str:
    """Return a Java that formats a folder, and as a broker does this."""
    script = tmp_path / "java"
    script.write_text(
        f"""#!/bin/sh
case "$*" in
*-version*) echo 'openjdk version "{version}"' >&2 ;;
*StorageTool*) ;;
*) {does} ;;
esac
"""
    )
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"java": "no-such-java"}, ("needs Java 17", "no-such-java", "apt install default-jre-headless")),
        ({"home": Path("/nonexistent")}, ("there is no Kafka in /nonexistent", "eyeflow node kafka-setup")),
    ],
)
def test_what_lacks_is_said_with_what_to_do(tmp_path: Path, changes: dict[str, object], words: tuple[str, ...]) -> None:
    told = failure(section(**changes), tmp_path)
    assert all(word in told for word in words), told


def test_an_old_java_is_said(tmp_path: Path) -> None:
    assert "is Java 11" in failure(section(java=java_that(tmp_path, "exit 1", "11.0.2")), tmp_path)
    assert "is Java 8" in failure(section(java=java_that(tmp_path, "exit 1", "1.8.0_392")), tmp_path)


def test_a_port_that_is_taken_is_said_with_its_number(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        told = failure(section(port=port), tmp_path)
    assert (
        f"127.0.0.1:{port + 1}" in told and "Another program has this port" in told and "[kafka_embedded] port" in told
    )


def test_a_full_disk_is_told_from_a_broken_broker(tmp_path: Path) -> None:
    full = java_that(tmp_path, "echo '[main] ERROR x - java.io.IOException: No space left on device'; exit 1")
    assert "is full. Free space on it" in failure(section(java=full), tmp_path)
    broken = java_that(tmp_path, "echo 'starting'; echo '[main] ERROR x - it is broken'; exit 1")
    assert "it is broken" in failure(section(java=broken), tmp_path)
    refused = java_that(tmp_path, "echo 'setpriv: activate capabilities: Operation not permitted'; exit 127")
    assert "code 127: setpriv: activate capabilities" in failure(section(java=refused), tmp_path)
    silent = java_that(tmp_path, "exit 7")
    assert "it ended with code 7" in failure(section(java=silent), tmp_path)
    assert "is full" in failure(section(java=silent), tmp_path, free_bytes=lambda directory: 1024)


def test_one_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "START_S", 0.5)
    monkeypatch.setattr(broker_module, "STOP_S", 0.2)
    mute = java_that(tmp_path, f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done")
    assert "did not answer within" in failure(section(java=mute), tmp_path)
    assert not is_there(int((tmp_path / "pid").read_text()))


SHARE = 8 * MB


def overfilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Write ten times its share to two topics, of which one comes later; return the most on disk, and one round."""
    monkeypatch.setattr(properties_module, "CHECK_MS", 500)
    monkeypatch.setattr(properties_module, "DELETE_MS", 100)
    monkeypatch.setattr(share_module, "METADATA_BYTES", MB)
    monkeypatch.setattr(broker_module, "WATCH_S", 0.2)
    data, largest, rounds = tmp_path / "data", 0, 20
    round_bytes = 10 * SHARE // rounds

    def fill(servers: str, broker: EmbeddedBroker) -> int:
        nonlocal largest
        producer = Producer({"bootstrap.servers": servers, "acks": "all", **QUIET})
        for number in range(rounds):
            topic = ("load", "later")[number % 2] if number >= rounds // 2 else "load"
            for _ in range(round_bytes // 65_536):
                producer.produce(topic, os.urandom(65_536))
            assert producer.flush(60) == 0
            largest = max(largest, usage_of(data).size_bytes)
            settled(data, broker)
        return usage_of(data).size_bytes

    async def scenario() -> None:
        config = section()
        async with up(config, tmp_path, Share(SHARE)) as broker:
            await asyncio.to_thread(fill, f"127.0.0.1:{config.port}", broker)

    asyncio.run(scenario())
    return largest, round_bytes


def settled(data: Path, broker: EmbeddedBroker) -> None:
    """Wait until Kafka has looked and deleted."""
    wait_until(lambda: usage_of(data).size_bytes <= SHARE, "old segments are gone")


def test_ten_times_its_share_stays_within_it_and_what_comes_before_kafka_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka's own rule: what is kept, a segment and the indices, and what comes in until it has looked and deleted."""
    largest, round_bytes = overfilled(tmp_path, monkeypatch)
    assert SHARE // 2 < largest <= SHARE + round_bytes * 1.1, "all of a round comes before it looks"


def test_control_topics_that_do_not_share_outgrow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_module, "OVERHEAD_BYTES", 0)
    monkeypatch.setattr(broker_module, "kept_bytes", lambda share_bytes, partitions, topic_bytes_max: topic_bytes_max)
    monkeypatch.setattr(sys.modules[__name__], "settled", lambda data, broker: None)
    largest, round_bytes = overfilled(tmp_path, monkeypatch)
    assert largest > SHARE + round_bytes * 1.1


@pytest.mark.parametrize(
    ("share_mb", "partitions", "kept"),
    [
        (256, 3, 32 * MB),
        (32, 3, (16 * MB) // 3 - MB - 2 * 65_536),
        (32, 1, 16 * MB - MB - 2 * 65_536),
        (32, 50, 64 * 1024),
        (256, 0, 32 * MB),
    ],
)
def test_partitions_share_what_there_is(share_mb: int, partitions: int, kept: int) -> None:
    assert kept_bytes(share_mb * MB, partitions, 32 * MB) == kept
    if kept > 64 * 1024:
        most = partitions * (kept + share_module.OVERHEAD_BYTES) + share_module.METADATA_BYTES
        assert most <= share_mb * MB


def test_records_older_than_the_age_go_and_younger_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`max_buffer_age_hours` is one hour here, and a record may stay a sixteenth of it longer."""
    monkeypatch.setattr(properties_module, "CHECK_MS", 500)
    monkeypatch.setattr(properties_module, "DELETE_MS", 100)
    minutes = [300, 120, 70, 50, 0]

    def fill(servers: str) -> list[int]:
        producer = Producer({"bootstrap.servers": servers, "acks": "all", "linger.ms": 0, **QUIET})
        now_ms = time.time_ns() // 1_000_000
        for age in minutes:
            producer.produce("load", b"x", timestamp=now_ms - age * 60_000)
            assert producer.flush(60) == 0
        consumer = Consumer({"bootstrap.servers": servers, "group.id": "g", **QUIET})
        partition = TopicPartition("load", 0)
        wait_until(lambda: consumer.get_watermark_offsets(partition, 60)[0] >= 3, "the old records are gone")
        first, end = consumer.get_watermark_offsets(partition, 60)
        consumer.close()
        return minutes[first:end]

    async def scenario() -> list[int]:
        config = section()
        async with up(config, tmp_path, Share(64 * MB, age_hours=1)):
            return await asyncio.to_thread(fill, f"127.0.0.1:{config.port}")

    assert asyncio.run(scenario()) == [50, 0]


def test_more_topics_than_there_is_room_for_are_said(tmp_path: Path) -> None:
    broker = EmbeddedBroker(section(), tmp_path, Share(32 * MB))
    for _ in range(2):
        assert "Raise that" not in broker.status.detail, "one look alone may come before Kafka had deleted"
        broker._tell_size(Usage(40 * MB, 50))
    assert "40 MB in 50 partitions" in broker.status.detail and "32 MB. Raise that" in broker.status.detail
    broker._tell_size(Usage(30 * MB, 20))
    assert broker.status.detail == f"127.0.0.1:{broker._config.port}"


def test_a_look_that_fails_is_told_and_the_next_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka deletes folders while they are looked through; its library may fail in ways of its own."""
    monkeypatch.setattr(broker_module, "WATCH_S", 0.0)
    broker, told, looks = EmbeddedBroker(section(), tmp_path, Share(32 * MB)), [], 0

    class Asking:
        def keep(self, partition_bytes: int) -> bool:
            nonlocal looks
            looks += 1
            told.append(broker.status.detail)
            if looks == 1:
                raise FileNotFoundError(2, "gone")
            return True

    broker._asking = Asking()  # type: ignore[assignment]

    async def scenario() -> None:
        async with running(broker._watch()):
            await until(lambda: looks == 2 and "not known" not in broker.status.detail)

    asyncio.run(scenario())
    assert "its size is not known: No such file or directory" in told[1]
    assert (broker.status.state, broker.status.detail) == ("up", f"127.0.0.1:{broker._config.port}")


def test_a_folder_that_is_deleted_meanwhile_counts_as_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("topic-0", "topic-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.log").write_bytes(b"x" * 4096)
    whole, real = usage_of(tmp_path), Path.iterdir

    def deleting(self: Path) -> object:
        if self.name == "topic-0":
            raise FileNotFoundError(2, "gone")
        return real(self)

    monkeypatch.setattr(Path, "iterdir", deleting)
    assert 0 < usage_of(tmp_path).size_bytes < whole.size_bytes
