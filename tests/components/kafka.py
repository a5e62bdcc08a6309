"""A real Apache Kafka on loopback, as `eyeflow node kafka-setup` brought it in (`make test` does)."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from components.certificates import TestAuthority
from components.ports import free_port
from components.waiting import wait_until
from eyeflow.node.broker.home import KafkaHome, find_home, format_arguments
from eyeflow.node.broker.properties import properties

HOME = Path(__file__).parents[2] / ".venv" / "kafka"
QUIET = {"log_level": 0}
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


def kafka_home() -> KafkaHome:
    """Return where it is. Fails with what to do when it is not there."""
    return find_home(HOME)


class Kafka:
    """One broker; a topic that is written to, or asked for, has one partition."""

    def __init__(self, directory: Path, authority: TestAuthority | None = None) -> None:
        """With an `authority` it listens a second time, with TLS, certificates of clients, and passwords."""
        self.directory, self.port, self._authority = directory, free_port(), authority
        self.servers, self._secure_port = f"127.0.0.1:{self.port}", free_port()
        self.secure_servers = f"127.0.0.1:{self._secure_port}"
        self.advertised_port = self.port
        """Where clients are sent: the port of a proxy, if there is one."""
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Producer] = []

    def start(self) -> None:
        """Start it, and return once it answers."""
        home, file = kafka_home(), self.directory / "server.properties"
        self.directory.mkdir(parents=True, exist_ok=True)
        file.write_text(properties(self.directory / "data", self.port, 32, 72) + self._advertised() + self._secure())
        if not (self.directory / "data" / "meta.properties").exists():
            subprocess.run(home.command("java", 64, *format_arguments(file)), check=True, capture_output=True)
        command = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL"]
        command += home.command("java", 96, "kafka.Kafka", str(file))
        with (self.directory / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self.answers, "Kafka answers", within_s=120)

    def _advertised(self) -> str:
        return f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.advertised_port}\n"

    def _secure(self) -> str:
        if self._authority is None:
            return ""
        cert_file, key_file = self._authority.issue("broker")
        both = self.directory / "broker.pem"
        both.write_text(key_file.read_text() + cert_file.read_text())
        plain, secure = f"PLAINTEXT://{self.servers}", f"SECURE://{self.secure_servers}"
        own = {
            "listeners": f"{plain},CONTROLLER://127.0.0.1:{self.port + 1},{secure}",
            "advertised.listeners": f"{plain},{secure}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
            "listener.name.secure.ssl.keystore.type": "PEM",
            "listener.name.secure.ssl.keystore.location": both,
            "listener.name.secure.ssl.truststore.type": "PEM",
            "listener.name.secure.ssl.truststore.location": self._authority.ca_file,
            "listener.name.secure.ssl.client.auth": "required",
            "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.secure.scram-sha-512.sasl.jaas.config": f"{SCRAM} required;",
        }
        return "".join(f"{key}={value}\n" for key, value in own.items())

    def add_user(self, name: str, password: str) -> None:
        """Let a user in at the second listener."""
        admin = self.admin()
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        (done,) = admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(name, how, password.encode())]
        ).values()
        done.result(30)

    def answers(self) -> bool:
        """Say whether it answers a question."""
        assert self._process is not None and self._process.poll() is None, (self.directory / "log.txt").read_text()
        try:
            return bool(self.admin().list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.servers, **QUIET})

    def make(self, topic: str, partitions: int = 1, **config: str) -> None:
        """Make a topic."""
        admin = self.admin()  # it has to live until the answer is there
        (made,) = admin.create_topics([NewTopic(topic, partitions, 1, config=config)]).values()
        made.result(30)

    def send(self, topic: str, *values: bytes | None, key: bytes | None = None, partition: int = 0) -> None:
        """Write records, and return once the broker has them."""
        if not self._clients:
            self._clients.append(Producer({"bootstrap.servers": self.servers, "linger.ms": 0, **QUIET}))
        for value in values:
            self._clients[0].produce(topic, value, key, partition)
        assert self._clients[0].flush(30) == 0

    def drop_before(self, topic: str, offset: int) -> None:
        """Let the broker forget the records of partition 0 before an offset, as its retention does."""
        admin = self.admin()
        (done,) = admin.delete_records([TopicPartition(topic, 0, offset)]).values()
        done.result(30)

    def committed(self, group: str, topic: str, partition: int = 0) -> tuple[int, str | None]:
        """Return the offset that a group has committed, negative for none, and its metadata."""
        consumer = self.consumer(group)
        (found,) = consumer.committed([TopicPartition(topic, partition)], timeout=30)
        consumer.close()
        return found.offset, found.metadata

    def reset(self, group: str, topic: str, offset: int, partition: int = 0) -> None:
        """Set the offset of a group that has no members, as an operator does."""
        consumer = self.consumer(group)

        def was_set() -> bool:
            try:
                consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
            except KafkaException:
                return False
            return True

        wait_until(was_set, "the offset of the group is set")
        consumer.close()

    def consumer(self, group: str) -> Consumer:
        return Consumer({"bootstrap.servers": self.servers, "group.id": group, "enable.auto.commit": False, **QUIET})

    def records(
        self, topic: str, count: int, idle_s: float = 60.0
    ) -> list[tuple[int, bytes | None, bytes, dict[str, bytes]]]:
        """Return the first records of partition 0 as offset, key, value, headers: fewer when none comes for a while."""
        consumer, found = self.consumer("reader"), []
        consumer.assign([TopicPartition(topic, 0, 0)])
        ends_s = time.monotonic() + idle_s
        while len(found) < count and time.monotonic() < ends_s:
            for one in consumer.consume(count - len(found), 0.2):
                if one.error() is None:
                    ends_s = time.monotonic() + idle_s
                    found.append((one.offset(), one.key(), one.value(), dict(one.headers() or [])))
        consumer.close()
        return found


@contextmanager
def kafka(directory: Path, authority: TestAuthority | None = None) -> Iterator[Kafka]:
    """Run one for the length of the block."""
    broker = Kafka(directory, authority)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
