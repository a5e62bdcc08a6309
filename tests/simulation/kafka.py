"""Brokers of Kafka on the virtual loop, and in the place of librdkafka a producer: the relay above it is the real one.

What the brokers have confirmed they keep. They are away at times, answer late, and refuse a record now and then. Of what
is on its way when a node dies, a part has come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from eyeflow.node.config.sections import Backend
from eyeflow.node.io.kafka.copies import AUDIT, EXECUTIONS, AuditCopies, Unread
from eyeflow.node.io.kafka.copying import NodeAudit
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.services import Service
from eyeflow.node.store.types import StorageError
from eyeflow.protocol.collecting import KeptHead
from simulation.loop import Process, pass_time

LATE_S, RETRY_S = 0.05, 1.0
REFUSES_SHARE = 0.002
START_S = (1.0, 20.0)
LIFE_S = 4 * 3600.0
"""How long the node's own broker runs until it ends by itself, in the mean."""
QUEUE_MAX = 5000
AHEAD_MS_MAX = 3_600_000
"""Brokers take no record that is further ahead of their clock (KIP-1030)."""

Later = Callable[[float, Callable[[], None]], None]


@dataclass(frozen=True)
class Message:
    """One record of a topic."""

    key: bytes
    value: bytes
    headers: Mapping[str, str]


@dataclass
class SimKafka:
    """The brokers. `later` schedules what they do; `clock_us` is theirs."""

    rng: Random
    later: Later
    clock_us: Callable[[], int]
    topics: dict[str, list[Message]] = field(default_factory=lambda: {AUDIT: [], EXECUTIONS: []})
    is_up: bool = True
    refused: int = 0

    def refusal(self, timestamp_ms: int) -> KafkaError | None:
        """Return why a record is not taken."""
        if timestamp_ms > self.clock_us() // 1000 + AHEAD_MS_MAX:
            return KafkaError(KafkaError.INVALID_TIMESTAMP)
        return KafkaError(KafkaError.KAFKA_STORAGE_ERROR) if self.rng.random() < REFUSES_SHARE else None


@dataclass
class _Sent:
    topic: str
    message: Message
    timestamp_ms: int
    told: Callable[[Any, Any], None]
    error: KafkaError | None = None


class SimProducer:
    """What `AuditCopies` uses of `confluent_kafka.Producer`: one request at a time is on its way, with all that waits."""

    def __init__(self, brokers: SimKafka, process: Process, settings: Mapping[str, Any]) -> None:
        self._brokers, self._process, self._warned = brokers, process, settings["error_cb"]
        self._is_gapless, self._is_broken = settings.get("enable.gapless.guarantee", False), False
        self._waiting: list[_Sent] = []
        self._under_way: list[_Sent] = []
        self._answered: list[_Sent] = []
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way) + len(self._answered)

    def produce(self, topic: str, value: bytes, key: bytes, **about: Any) -> None:
        if self._is_broken:
            raise KafkaException(KafkaError(KafkaError._FATAL))
        if len(self) >= QUEUE_MAX:
            raise BufferError("Local: Queue full")
        timestamp_ms = about.get("timestamp", self._brokers.clock_us() // 1000)
        sent = _Sent(topic, Message(key, value, dict(about["headers"])), timestamp_ms, about["on_delivery"])
        self._waiting.append(sent)
        self._go()

    def flush(self, timeout_s: float) -> int:
        """Tell what became of records, and whether the brokers can be reached; return how many are on their way still.

        Nothing waits here for more.
        """
        if not self._brokers.is_up and len(self):
            self._warned(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        answered, self._answered = self._answered, []
        for one in answered:
            one.told(one.error, one.message)
        return len(self)

    def purge(self) -> None:
        self._is_closed = True

    def _go(self) -> None:
        if self._waiting and not self._under_way:
            self._under_way, self._waiting = self._waiting, []
            self._brokers.later(self._brokers.rng.uniform(0, LATE_S), self._arrive)

    def _arrive(self) -> None:
        """The request reaches the brokers, or is sent again later. Of a producer that is gone it may still come."""
        brokers = self._brokers
        is_gone = self._is_closed or not self._process.alive
        if is_gone and (not brokers.is_up or brokers.rng.random() < 0.5):
            return
        if not brokers.is_up:
            brokers.later(RETRY_S, self._arrive)
            return
        for one in self._under_way:
            one.error = KafkaError(KafkaError._FATAL) if self._is_broken else brokers.refusal(one.timestamp_ms)
            if one.error is None:
                brokers.topics[one.topic].append(one.message)
            else:
                brokers.refused += 1
                self._is_broken |= self._is_gapless
        brokers.later(brokers.rng.uniform(0, LATE_S), self._confirm)

    def _confirm(self) -> None:
        """The answer comes, when the brokers can be reached: what they have is not sent a second time (idempotence)."""
        if not self._brokers.is_up:
            self._brokers.later(RETRY_S, self._confirm)
            return
        self._answered += self._under_way
        self._under_way = []
        self._go()


class SimBroker:
    """In the place of the node's own broker: it starts with the node, ends with it, and now and then by itself."""

    def __init__(self, brokers: SimKafka, process: Process) -> None:
        self.status = PortStatus("kafka_embedded", "connecting")
        self._brokers, self._process = brokers, process
        process.on_death.append(self._down)

    async def run(self) -> None:
        rng = self._brokers.rng
        try:
            while True:
                await pass_time(rng.uniform(*START_S))
                self._brokers.is_up, self.status.state = True, "up"
                await pass_time(rng.expovariate(1 / LIFE_S))
                self._down()
        finally:
            self._down()

    def _down(self) -> None:
        self._brokers.is_up, self.status.state = False, "failed"


class SimCopies(NodeAudit):
    """In the place of the process that copies, and the pipes to it: they live and die with the node here."""

    def __init__(self, node: NodeRuntime, brokers: SimKafka, process: Process) -> None:
        super().__init__(node, node.identity.epoch)
        where = ", ".join(node.config.ports.of(KafkaConfig).servers)
        make = partial(SimProducer, brokers, process)
        self.copies = AuditCopies({}, where, node.config.name, self, node.machine.random, make)

    async def after(self, kept: KeptHead) -> Sequence[bytes]:
        try:
            return await super().after(kept)
        except StorageError as error:
            raise Unread(error.brief) from error

    async def program(self, program_id: bytes) -> bytes | None:
        try:
            return await super().program(program_id)
        except StorageError as error:
            raise Unread(error.brief) from error

    async def run(self) -> None:
        await self.copies.run(await self.begin())


def sim_services(node: NodeRuntime, brokers: SimKafka, process: Process) -> Sequence[Service]:
    """As `usual_services` of the product."""
    backend, services = node.config.offline.backend, list[Service]()
    if backend is Backend.KAFKA_EMBEDDED:
        broker = SimBroker(brokers, process)
        services.append(Service("kafka_embedded", broker.status, broker.run))
    if backend is not Backend.SQLITE:
        copies = SimCopies(node, brokers, process)
        services.append(Service("kafka_copies", copies.status, copies.run))
    return services
