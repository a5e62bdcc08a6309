"""`on kafka "plant-events"`: records of a topic, each run once by each rule, also across a crash of the node."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Sequence

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.node.io.kafka.member import GroupMember, KafkaRecord
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.payloads import UnreadablePayload, decode_object
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription
from eyeflow.node.streams import Mark, Streams

STOP_S = 10.0


class KafkaSource:
    """Delivers records in the order of their partition. The event's time is that of the record."""

    def __init__(self, config: KafkaConfig, node: str, streams: Streams, clock: NowUs = wall_clock_us) -> None:
        """Start nothing yet. Raises EyeflowError for a secret, a key or a package that is not there."""
        self.status = PortStatus("kafka", counters={"received": 0, "held": 0, "lag": 0, "unmatched": 0, "lost": 0})
        self._config, self._streams, self._clock = config, streams, clock
        self._subscriptions: dict[str, Subscription] = {}
        self._queue: asyncio.Queue[KafkaRecord] = asyncio.Queue()
        """Its bound is `inflight_max`: the member reads no more than that."""
        self._loop: asyncio.AbstractEventLoop
        self._member = GroupMember(config, node, streams, self.status, self._arrived, self._go_to)

    def update(self, subscriptions: Collection[Subscription]) -> None:
        """Replace the wanted set; see `Source`."""
        self._subscriptions = {subscription.address: subscription for subscription in subscriptions}
        self._member.want(tuple(self._subscriptions))

    async def run(self, deliver: Deliver) -> None:
        """Run until cancelled."""
        self._loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._member.work, name="eyeflow-kafka", daemon=True)
        thread.start()
        try:
            while True:
                await self._deliver(await self._queue.get(), deliver)
        finally:
            self._member.stop()
            await asyncio.to_thread(thread.join, STOP_S)

    def _arrived(self, records: Sequence[KafkaRecord]) -> None:
        def put() -> None:
            for record in records:
                self._queue.put_nowait(record)

        self._loop.call_soon_threadsafe(put)

    def _go_to(self, stream: str, number: int) -> None:
        self._loop.call_soon_threadsafe(self._streams.go_to, stream, number)

    async def _deliver(self, record: KafkaRecord, deliver: Deliver) -> None:
        mark = Mark(record.stream, record.offset)
        self.status.counters["received"] += 1
        subscription = self._subscriptions.get(record.topic)
        if subscription is None:  # its last rule has gone meanwhile
            self.status.counters["unmatched"] += 1
            self._streams.take(mark)
            self._streams.done(mark)
            self._worked_on()
            return
        payload, rejected = self._read(record)
        key = None if record.key is None else record.key.decode("utf-8", "backslashreplace")
        await deliver(
            IncomingEvent(
                subscription,
                payload,
                record.time_us or self._clock(),
                self._worked_on,
                rejected,
                only=self._streams.left(mark, subscription.rules),
                key=key,
                mark=mark,
            )
        )

    def _read(self, record: KafkaRecord) -> tuple[dict[str, object], str]:
        if record.lost:
            self.status.counters["lost"] += record.lost
            return {}, f"the brokers dropped {record.lost} records before they were read"
        if record.value is None:
            return {}, "the record has no value: it deletes its key"
        try:
            payload = dict(decode_object(record.value, self._config.payload_bytes_max))
        except UnreadablePayload as error:
            return {}, str(error)
        if record.key is not None:
            payload["record_key"] = record.key.decode("utf-8", "replace")
        return payload, ""

    def _worked_on(self) -> None:
        self._member.worked_on += 1
