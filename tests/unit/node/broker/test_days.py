"""Days of a node with a real Kafka of its own: the node's clock is days behind, and each event moves it on until now.

Kafka's own clock cannot be moved. It is at the end of those days from the beginning, so it looks for what is too old
only when all that it is to drop has been read. On the way it is killed and kept away for hours, and what copies, too.
`make test` runs three days with an event every ten minutes; `make real-days` one each minute, more kills, and the control.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from pytest import MonkeyPatch

from components.kafka import HOME, QUIET
from components.node_sim import SIGNER, SimClock, program
from components.ports import free_port
from components.waiting import until, wait_until
from eyeflow.base.clock import wall_clock_us
from eyeflow.node.broker import properties
from eyeflow.node.broker.properties import MB
from eyeflow.node.broker.settings import EmbeddedSection
from eyeflow.node.broker.share import usage_of
from eyeflow.node.config.config import NodeConfig, OfflineConfig
from eyeflow.node.config.sections import OfflineSection
from eyeflow.node.daemon import run_node
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.kafka.copies import AUDIT, EXECUTIONS
from eyeflow.node.io.kafka.copying import NodeAudit
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.ports import IncomingEvent, PortStatus, Subscription
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.store.cursors import KAFKA
from eyeflow.node.store.types import PASSED
from eyeflow.protocol.audit import decode_record, record_hash, verify_chain
from eyeflow.protocol.audit_bodies import COPIED, ExecutionBody
from eyeflow.protocol.collecting import KeptHead
from eyeflow.svm.signing import public_key_of

IS_FULL = os.environ.get("EYEFLOW_FUZZ") == "full"
HOUR_US = 3_600_000_000
HOURS = max(2, int(os.environ.get("EYEFLOW_DAYS", "3"))) * 24
EVENTS_PER_HOUR = 60 if IS_FULL else 6
AGE_HOURS, SIZE_MB, AWAY_HOURS, BATCH_HOURS = 24, 64, 4, 2
LONGER_US = AGE_HOURS * HOUR_US // properties.ROLLS_PER_AGE + BATCH_HOURS * HOUR_US
"""Kafka drops whole segments, and a segment has one batch at least: so long may a record stay for the others in it."""
NEVER_MS, SOON_MS = 1_000_000_000, 500
WITHIN_S = 600.0
"""A broker that is killed again and again is started after waits that grow."""

READING = Subscription("event", "reading")
RULE = """
rule meter {
    version "1.0.0"
    record Reading { n: int }
    state sum: int = 0
    on event "reading" as r: Reading
    sum = sum + r.n
}
"""


@dataclass
class Days:
    """The days of a node; `came` is what a reader got of each topic: by its offset, as partition 0 has all."""

    node: NodeRuntime
    clock: SimClock
    end_us: int
    is_control: bool = False
    """The node takes for copied what it has handed over: what copies is killed when that is certain to be wrong."""
    events: int = 0
    kills: int = 0
    unnoted: set[int] = field(default_factory=set)
    """What the node had not noted as held by Kafka when that, or what copies, was killed: it may come again."""
    came: dict[str, list[bytes]] = field(default_factory=lambda: {AUDIT: [], EXECUTIONS: []})

    async def live(self, patch: MonkeyPatch) -> None:
        """Live until now. The broker is killed while records go to it; while it is away, what copies is killed, too."""
        installed = await self.node.install(program(RULE), {}, "d", 1, PASSED)
        assert installed.code == "", installed
        for at in range(0, HOURS - AGE_HOURS - AWAY_HOURS, AWAY_HOURS):
            if IS_FULL and at % 12 == 8:
                await self.hours(1)
                async with self.broker_away():
                    await self.hours(AWAY_HOURS - 1)
            else:
                await self.hours(AWAY_HOURS)
            await self.until_copied()
        for _ in range(3):  # small batches, where Kafka is to cut
            await self.hours(BATCH_HOURS)
            await self.until_copied()
        # The rest is two hours from being too old at the end, so all that Kafka is to drop is read now.
        await asyncio.to_thread(self.read)
        patch.setattr(properties, "CHECK_MS", SOON_MS)
        await self.hours(1)
        await self.lose_broker_and_copies()
        while self.clock.time_us < self.end_us:
            await self.until_copied()
            await self.hours(1 if IS_FULL else 17)
        await self.until_copied()
        await asyncio.to_thread(self.read)

    async def lose_broker_and_copies(self) -> None:
        if self.is_control:
            await self.until_copied()
        async with self.broker_away():
            seq = self.node.audit_head.seq
            await self.hours(1)
            if self.is_control:  # a page was handed over that nobody can have confirmed
                await until(lambda: self.kept_seq > seq, WITHIN_S)
            self.may_come_again(self.kept_seq)
            _kill(self.node.services["kafka_copies"])
            await self.hours(AWAY_HOURS - 1)

    async def hours(self, count: int) -> None:
        """Let time pass event by event; each is recorded before the next one comes."""
        for _ in range(count * EVENTS_PER_HOUR):
            self.clock.move(self.clock.time_us + HOUR_US // EVENTS_PER_HOUR)
            recorded = asyncio.get_running_loop().create_future()
            done = partial(recorded.set_result, None)
            await self.node.engine.deliver(IncomingEvent(READING, {"n": self.events}, self.clock.now_us(), done))
            async with asyncio.timeout(WITHIN_S):
                await recorded
            self.events += 1

    @asynccontextmanager
    async def broker_away(self) -> AsyncIterator[None]:
        """Kill the broker, and keep it away: another program has its port meanwhile."""
        status, self.kills = self.node.services["kafka_embedded"], self.kills + 1
        starts, kept_seq = status.counters["starts"], self.kept_seq
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await until(lambda: _kill(status) and _takes(other, self.node.config.embedded.port), WITHIN_S)
            self.may_come_again(kept_seq)
            yield
        await until(lambda: status.counters["starts"] > starts and status.state == "up", WITHIN_S)

    def may_come_again(self, kept_seq: int) -> None:
        self.unnoted |= set(range(kept_seq + 1, self.node.audit_head.seq + 1))

    @property
    def kept_seq(self) -> int:
        """What the brokers hold, as the node has noted it."""
        known = self.node.kept_by(KAFKA)
        return known.seq if known else 0

    async def until_copied(self) -> None:
        """Return once Kafka has whatever the node has recorded until now, by the word of what copies."""
        seq, status = self.node.audit_head.seq, self.node.services["kafka_copies"]
        await until(lambda: status.counters["seq"] >= seq, WITHIN_S)

    def read(self) -> None:
        """Read on in both topics, to their ends."""
        with self.reader() as consumer:
            for topic, came in self.came.items():
                _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=WITHIN_S)
                consumer.assign([TopicPartition(topic, 0, len(came))])
                while len(came) < end:
                    found = consumer.consume(min(500, end - len(came)), WITHIN_S)
                    assert found and not any(one.error() for one in found), [str(one.error()) for one in found]
                    assert [one.offset() for one in found] == list(range(len(came), len(came) + len(found)))
                    came += [one.value() for one in found]

    def first_offset(self, topic: str) -> int:
        """Return where a topic begins now."""
        with self.reader() as consumer:
            return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=WITHIN_S)[0])

    @contextmanager
    def reader(self) -> Iterator[Any]:
        servers = f"127.0.0.1:{self.node.config.embedded.port}"
        how = {"group.id": "r", "enable.auto.commit": False, "auto.offset.reset": "error", "fetch.wait.max.ms": 10}
        consumer = Consumer({"bootstrap.servers": servers, **how, **QUIET})
        try:
            yield consumer
        finally:
            consumer.close()


def _kill(status: PortStatus) -> bool:
    if pid := status.counters["pid"]:  # 0 would be this process itself
        with suppress(ProcessLookupError):  # killed before, and not told yet
            os.kill(pid, signal.SIGKILL)
    return True


def _takes(other: socket.socket, port: int) -> bool:
    try:
        other.bind(("127.0.0.1", port))
    except OSError:
        return False
    other.listen()
    return True


def lived(directory: Path, patch: MonkeyPatch, look: Callable[[Days], None], is_control: bool = False) -> None:
    """Let a node live, and look at what came of it while it runs."""
    patch.setattr(properties, "CHECK_MS", NEVER_MS)
    port, end_us = free_port(), wall_clock_us()
    bounds = {"max_buffer_age_hours": AGE_HOURS, "max_buffer_size_mb": SIZE_MB}
    config = NodeConfig(
        "days",
        directory,
        trusted_keys=(public_key_of(SIGNER),),
        offline=OfflineConfig.of(OfflineSection(buffer_backend="kafka_embedded", **bounds)),
        embedded=EmbeddedSection(home=HOME, port=port),
        ports=ports_config(KafkaConfig(f"127.0.0.1:{port}")),
    )
    clock = SimClock(end_us - HOURS * HOUR_US)

    async def scenario() -> None:
        ready, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
        running = asyncio.ensure_future(run_node(config, clock=clock, stop=stop, on_ready=ready.set_result))
        try:
            await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                days = Days(ready.result(), clock, end_us, is_control)
                await days.live(patch)
                await asyncio.to_thread(look, days)
        finally:
            stop.set()
            await running  # raises why it did not start

    asyncio.run(scenario())


def once(came: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys(came))


def assert_whole(days: Days) -> None:
    """Kafka has each record of the audit once and in order, and a text of each execution.

    Records may come again that the node had not noted when Kafka or what copies was killed (`copies` says so, too).
    """
    audit, head = once(days.came[AUDIT]), days.node.audit_head
    records = [decode_record(one) for one in audit]
    numbers = [one.seq for one in records]
    missing = set(range(1, head.seq + 1)) - set(numbers)
    assert not missing, f"{len(missing)} records never came: {sorted(missing)[:3]}"
    assert numbers == sorted(numbers), "they came in another order"
    assert verify_chain(audit, days.node.identity.public_key).holds and record_hash(audit[-1]) == head.hash
    readings = list(range(days.events))
    assert [one.body.inputs[0] for one in records if isinstance(one.body, ExecutionBody)] == readings
    assert [json.loads(one)["inputs"]["n"] for one in once(days.came[EXECUTIONS])] == readings
    assert set(again(days.came[AUDIT])) <= days.unnoted, "records came again that the node had noted"


def again(came: Sequence[bytes]) -> list[int]:
    """Return the numbers of the records that came more than once."""
    return [decode_record(one).seq for one, count in Counter(came).items() if count > 1]


def assert_store_bounded(days: Days) -> None:
    """The store has the records of the last 24 hours; what it dropped Kafka had, so none counts as lost."""
    store, audit = days.node.writer.store, once(days.came[AUDIT])
    depth, limit_us = store.depth, days.clock.now_us() - AGE_HOURS * HOUR_US
    assert dict(depth.dropped) == {COPIED: depth.first_seq - 1}
    assert times_of(audit)[depth.first_seq - 2] < limit_us, "it dropped no record that was younger"
    assert depth.oldest_us >= limit_us - HOUR_US // 4
    assert store.size_bytes <= SIZE_MB * MB // 2


def assert_topics_bounded(days: Days) -> None:
    """Kafka drops what is older than 24 hours, in whole segments, and nothing younger."""
    assert_topic_bounded(days, AUDIT, times_of(days.came[AUDIT]))
    assert_topic_bounded(days, EXECUTIONS, shown_times(days))
    assert usage_of(days.node.config.data_dir / "kafka" / "data").size_bytes <= SIZE_MB * MB // 2


def assert_topic_bounded(days: Days, topic: str, times_us: Sequence[int]) -> None:
    first = 0

    def is_bounded() -> bool:
        nonlocal first
        first = days.first_offset(topic)
        return wall_clock_us() - times_us[first] <= AGE_HOURS * HOUR_US + LONGER_US

    wait_until(is_bounded, f"{topic} keeps nothing for longer", WITHIN_S)
    assert first and max(times_us[:first]) < wall_clock_us() - AGE_HOURS * HOUR_US, "it dropped a younger record"


def times_of(records: Sequence[bytes]) -> list[int]:
    return [decode_record(one).time_us for one in records]


def shown_times(days: Days) -> list[int]:
    """Return the time of each record that stands in the topic of executions, as text."""
    times_us = {record.seq: record.time_us for record in map(decode_record, days.came[AUDIT])}
    return [times_us[json.loads(one)["seq"]] for one in days.came[EXECUTIONS]]


def test_days_with_a_kafka_that_is_killed_leave_each_record_once_in_order_and_within_the_bounds(
    tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    def look(days: Days) -> None:
        assert_whole(days)
        assert_store_bounded(days)
        assert_topics_bounded(days)
        assert days.node.services["kafka_embedded"].counters["starts"] > days.kills > 0
        assert days.node.services["kafka_copies"].counters["starts"] == 2
        assert_check_sees_faults(days)
        tell(days)

    lived(tmp_path, monkeypatch, look)


def tell(days: Days) -> None:
    """Print figures; `make real-days` shows them."""
    store, now_us = days.node.writer.store, wall_clock_us()
    store_us, topic_us = store.depth.oldest_us, times_of(days.came[AUDIT])[days.first_offset(AUDIT)]
    on_disk = store.size_bytes, usage_of(days.node.config.data_dir / "kafka" / "data").size_bytes
    print(
        f"{HOURS} hours, {days.events} events, {days.node.audit_head.seq} records in order, "
        f"{len(again(days.came[AUDIT]))} of them twice. The broker was killed {days.kills} times. The store dropped "
        f"{dict(store.depth.dropped)} and has {(days.clock.now_us() - store_us) / HOUR_US:.1f} hours, "
        f"the topic {(now_us - topic_us) / HOUR_US:.1f}; they take {on_disk[0] / MB:.1f} and {on_disk[1] / MB:.1f} MB"
    )


def assert_check_sees_faults(days: Days) -> None:
    """A record less, two in another order, one that comes again: the check refuses each."""
    came = days.came[AUDIT]
    spoiled = ([*came[:9], *came[10:]], [*came[:9], came[10], came[9], *came[11:]], [*came, came[9]])
    for one in spoiled:
        with pytest.raises(AssertionError):
            assert_whole(replace(days, came=days.came | {AUDIT: one}))


def notes_what_is_not_confirmed(patch: MonkeyPatch) -> None:
    """The node takes a page for copied when it hands it over, as a relay would that does not wait for the brokers."""
    real = NodeAudit.after

    async def after(self: NodeAudit, kept: KeptHead) -> Sequence[bytes]:
        page = await real(self, kept)
        last = decode_record(page[-1])
        await self._node.note_kept(KAFKA, KeptHead(last.epoch, last.seq, record_hash(page[-1]), last.time_us))
        return page

    patch.setattr(NodeAudit, "after", after)


if IS_FULL:  # it takes as long as the test above

    def test_control_a_node_that_takes_for_copied_what_it_handed_over_leaves_records_out(
        tmp_path: Path, monkeypatch: MonkeyPatch
    ) -> None:
        notes_what_is_not_confirmed(monkeypatch)
        with pytest.raises(AssertionError, match="records never came"):
            lived(tmp_path, monkeypatch, assert_whole, is_control=True)
