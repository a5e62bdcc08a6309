"""A member of a consumer group, in a thread of its own; the home of confluent-kafka.

librdkafka calls back only in the thread that polls, and reading a partition's start may take seconds. Where the node
goes on is its own matter (`streams`): the brokers are told its offsets so that others can watch them, and for the
partitions that another member of the group takes over.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from eyeflow.base.reasons import why
from eyeflow.node.backoff import Backoff
from eyeflow.node.io.kafka.library import ck, refusal_text, security_of
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.streams import Streams

_log = logging.getLogger("eyeflow.node")
POLL_S = 0.5
BATCH_MAX = 256
ASK_S = 10.0
"""How long a broker may take to say where a partition begins."""
COMMIT_S = 5.0
DRAIN_S = 5.0
"""How long a partition that goes to another member is kept until what was read of it is recorded."""
STATISTICS_S = 2.0
SESSION_MS = 45_000
"""How long its partitions are kept for a member that is away."""
FETCHED_KB_MAX = 16 * 1024
OWN_MARK = "eyeflow "
"""How the metadata of an offset begins that a node committed. Whoever resets offsets by hand leaves another."""


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """A record, `time_us` since 1970 UTC (0: it has none). `lost`: how many before it the brokers no longer have."""

    topic: str
    stream: str
    offset: int
    value: bytes | None = None
    key: bytes | None = None
    time_us: int = 0
    lost: int = 0


class GroupMember:
    """Reads the wanted topics. `on_records` and `go_to` (as that of `Streams`) are called in its thread."""

    def __init__(
        self,
        config: KafkaConfig,
        node: str,
        streams: Streams,
        status: PortStatus,
        on_records: Callable[[Sequence[KafkaRecord]], None],
        go_to: Callable[[str, int], None],
        random: Random | None = None,
    ) -> None:
        """Start nothing yet. Raises EyeflowError for a secret or a key that cannot be read."""
        self._config, self._node, self._streams = config, node, streams
        self._on_records, self._go_to = on_records, go_to
        self.status, self._backoff = status, Backoff(random)
        self._settings = self._librdkafka()
        self._topics: tuple[str, ...] = ()
        self._asked: tuple[str, ...] = ()
        self._stops = threading.Event()
        self._taken = self.worked_on = 0
        self._paused = False
        self._handed: dict[str, int] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._told: dict[str, int] = {}
        self._told_s = 0.0
        self._problems: dict[str, str] = {}
        self._trouble = ""
        self._is_lost = self._has_joined = False

    def _librdkafka(self) -> dict[str, Any]:
        return security_of(self._config, self._node) | {
            "group.id": self._config.group or f"eyeflow-{self._node}",
            # A node that comes back is the same member: nobody waits for the end of the session of the one before.
            "group.instance.id": self._node,
            "session.timeout.ms": SESSION_MS,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": FETCHED_KB_MAX,
            "statistics.interval.ms": int(STATISTICS_S * 1000),
        }

    def want(self, topics: Sequence[str]) -> None:
        """Read these topics, and no others; from any thread."""
        self._topics = tuple(sorted(topics))

    def stop(self) -> None:
        """Let `work` end soon; from any thread."""
        self._stops.set()

    # --- in the thread of its own ---

    def work(self) -> None:
        """Read until `stop`; librdkafka connects again by itself, and what it gives up is begun anew."""
        while not self._stops.is_set():
            self._asked, self._has_joined = (), False
            try:
                consumer = ck.Consumer(self._settings | {"error_cb": self._failed, "stats_cb": self._counted})
            except (ck.KafkaException, ValueError, TypeError) as error:
                self._show("failed", refusal_text(error))
            else:
                try:
                    self._read(consumer)
                except ck.KafkaException as error:
                    self._show("failed", refusal_text(error))
                finally:
                    self._close(consumer)
            if not self._stops.is_set():
                self._stops.wait(self._backoff.next_s())

    def _read(self, consumer: Any) -> None:
        while not self._stops.is_set():
            if self._topics != self._asked:
                self._subscribe(consumer)
            if not self._asked:
                consumer.poll(0)
                self._show("up", "no rule listens")
                self._stops.wait(POLL_S)
                continue
            first = consumer.poll(POLL_S)  # `consume` alone would wait until it has all
            if first is not None:
                self._hand_on(consumer, [first, *consumer.consume(BATCH_MAX, 0)])
            if self._is_lost:
                self._is_lost = False
                raise ck.KafkaException(ck.KafkaError(ck.KafkaError._FAIL, self._trouble))
            self._keep_pace(consumer)
            if time.monotonic() - self._told_s >= COMMIT_S:
                self._commit(consumer, asynchronous=True)

    def _subscribe(self, consumer: Any) -> None:
        self._asked, self._problems = self._topics, {}
        if self._asked:
            consumer.subscribe(
                list(self._asked), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )
        else:
            consumer.unsubscribe()

    def _hand_on(self, consumer: Any, messages: Sequence[Any]) -> None:
        records, refused = [], []
        for message in messages:
            if message.error() is not None:
                refused.append(message)
                continue
            name = self._names[message.topic(), message.partition()]
            kind, time_ms = message.timestamp()
            time_us = 0 if kind == ck.TIMESTAMP_NOT_AVAILABLE else time_ms * 1000
            records.append(
                KafkaRecord(message.topic(), name, message.offset(), message.value(), message.key(), time_us)
            )
            self._handed[name] = message.offset() + 1
            self._problems.pop(message.topic(), None)
        if records:
            self._give(records)
        for message in refused:  # last: a partition may be begun anew, behind all that was handed on
            self._refused(consumer, message)

    def _give(self, records: Sequence[KafkaRecord]) -> None:
        self._taken += len(records)
        self._on_records(records)

    def _refused(self, consumer: Any, message: Any) -> None:
        error, topic = message.error(), message.topic()
        if error.code() == ck.KafkaError._AUTO_OFFSET_RESET and topic is not None:
            self._go_on_behind_gap(consumer, topic, message.partition())
        elif topic is not None:
            self._problems[topic] = error.str()
            self._show(self.status.state, "")
        elif error.fatal():
            raise ck.KafkaException(error)

    def _go_on_behind_gap(self, consumer: Any, topic: str, partition: int) -> None:
        """The brokers have dropped what comes next, or the topic was made anew: go on with the oldest that is there."""
        name = self._names[topic, partition]
        place = ck.TopicPartition(topic, partition)
        low, high = consumer.get_watermark_offsets(place, timeout=ASK_S)
        wanted = self._handed.get(name, 0)
        start = low if wanted < low else high if self._config.start == "latest" else low
        lost = low - wanted if wanted < low else 0
        what = f"dropped {lost} records" if lost else f"have {high} records where {wanted} had been read before"
        _log.warning("kafka: the brokers %s of %s, partition %d: it goes on at %d", what, topic, partition, start)
        self._handed[name] = start
        places = consumer.assignment()
        for one in places:  # a mere seek does not let librdkafka fetch again
            one.offset = self._handed[self._names[one.topic, one.partition]]
        consumer.assign(places)
        self._paused = False
        if lost:
            self._give([KafkaRecord(topic, name, start - 1, lost=lost)])
        else:
            self._go_to(name, start)

    def _keep_pace(self, consumer: Any) -> None:
        """Read no more than the node can hold; what is fetched already waits in librdkafka."""
        held, bound = self._taken - self.worked_on, self._config.inflight_max
        if held >= bound and not self._paused:
            consumer.pause(consumer.assignment())
            self._paused = True
        elif held <= bound // 2 and self._paused:
            consumer.resume(consumer.assignment())
            self._paused = False
        self.status.counters["held"] = held

    # --- partitions come and go ---

    def _assigned(self, consumer: Any, places: Sequence[Any]) -> None:
        try:
            cluster = self._cluster()
            committed = {(one.topic, one.partition): one for one in consumer.committed(list(places), timeout=ASK_S)}
            known = {place.topic for place in places if self._streams.knows(self._prefix(cluster, place.topic))}
            for place in places:
                name = self._names[place.topic, place.partition] = (
                    f"{self._prefix(cluster, place.topic)}{place.partition}"
                )
                place.offset = self._start(
                    consumer, name, committed[place.topic, place.partition], place.topic in known
                )
                self._handed[name] = place.offset
        except ck.KafkaException as error:
            self._is_lost, self._trouble = True, f"cannot tell where to begin: {refusal_text(error)}"
            return
        consumer.assign(list(places))
        self._paused, self._has_joined = False, True
        self._backoff.reset()
        self._trouble = ""
        self._show("up", "")

    def _cluster(self) -> str:
        """Ask with a client of its own. In a callback, `list_topics` of the same client makes the next callback end the
        process: confluent-kafka 2.16 then has no thread state to call it with.
        """
        return str(ck.Producer(security_of(self._config, self._node)).list_topics(timeout=ASK_S).cluster_id)

    def _prefix(self, cluster: str, topic: str) -> str:
        """Return how the names of its streams begin: another group, or another cluster, goes on by itself."""
        return f"kafka/{cluster}/{self._settings['group.id']}/{topic}/"

    def _start(self, consumer: Any, name: str, committed: Any, is_known: bool) -> int:
        """Return where to go on: behind what is on its way here, or recorded, unless somebody moved the group."""
        here = self._handed.get(name, self._streams.next_of(name))
        there = None if committed.offset < 0 else int(committed.offset)
        if there is not None and not (committed.metadata or "").startswith(OWN_MARK):
            if here is not None and there != here:
                _log.warning("kafka: %s was set to %d by hand: the node was at %d", name, there, here)
            self._go_to(name, there)
            return there
        if here is not None and (there is None or here >= there):
            return here
        if there is None:
            low, high = consumer.get_watermark_offsets(committed, timeout=ASK_S)
            # Of a topic that is read already, a partition without an offset is new: all that it has came since.
            there = low if self._config.start == "earliest" or is_known else high
        self._go_to(name, there)
        return int(there)

    def _revoked(self, consumer: Any, places: Sequence[Any]) -> None:
        """Let what was read be recorded before another member goes on behind it."""
        names = [name for one in places if (name := self._names.get((one.topic, one.partition)))]
        end_s = time.monotonic() + DRAIN_S
        while not self._stops.is_set() and time.monotonic() < end_s and not all(map(self._is_kept, names)):
            time.sleep(POLL_S / 10)
        self._commit(consumer, asynchronous=False)

    def _is_kept(self, name: str) -> bool:
        return (self._streams.kept_of(name) or 0) >= self._handed.get(name, 0)

    def _commit(self, consumer: Any, *, asynchronous: bool) -> None:
        self._told_s = time.monotonic()
        assigned = {self._names[one.topic, one.partition]: one for one in consumer.assignment()}
        kept = {name: self._streams.kept_of(name) for name in assigned}
        news = {name: n for name, n in kept.items() if n is not None and self._told.get(name) != n}
        if not news:
            return
        offsets = [
            ck.TopicPartition(assigned[name].topic, assigned[name].partition, number, OWN_MARK + self._node)
            for name, number in news.items()
        ]
        try:
            consumer.commit(offsets=offsets, asynchronous=asynchronous)
        except ck.KafkaException as error:
            _log.info("kafka: the brokers were not told how far the node is: %s", refusal_text(error))
        else:
            self._told |= news

    def _close(self, consumer: Any) -> None:
        try:
            self._commit(consumer, asynchronous=False)
            consumer.close()
        except (ck.KafkaException, RuntimeError) as error:
            _log.info("kafka: the group was not left in good order: %s", why(error))

    # --- what people see ---

    def _failed(self, error: Any) -> None:
        self._trouble = error.str()
        if error.fatal():
            self._is_lost = True
        down = error.code() in (ck.KafkaError._ALL_BROKERS_DOWN, ck.KafkaError._AUTHENTICATION, ck.KafkaError._SSL)
        if down or error.fatal():
            self._show("failed" if error.code() != ck.KafkaError._ALL_BROKERS_DOWN else "connecting", "")

    def _counted(self, text: str) -> None:
        """Take from librdkafka's statistics whether a broker is there, and how far the node is behind."""
        told: Mapping[str, Any] = json.loads(text)
        if any(one["state"] == "UP" for one in told["brokers"].values()):
            self._trouble = ""
        partitions = [p for t in told["topics"].values() for p in t["partitions"].values()]
        self.status.counters["lag"] = sum(max(0, p["consumer_lag"]) for p in partitions)
        if self._trouble:
            self._show("failed" if self.status.state == "failed" else "connecting", "")
        elif self._asked:
            self._show("up" if self._has_joined else "connecting", "" if self._has_joined else "it joins the group")

    def _show(self, state: str, detail: str) -> None:
        notes = [f"cannot read `{topic}`: {reason}" for topic, reason in sorted(self._problems.items())]
        own = detail or self._trouble or ", ".join(self._config.servers)
        self.status.state, self.status.detail = state, "; ".join([own, *notes])
