"""`on mqtt "plant/+/temp"`: messages of the node's broker, acknowledged only after the rules' work is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from eyeflow.node.mqtt_client import Message, MqttClient
from eyeflow.node.payloads import UnreadablePayload, decode_object
from eyeflow.node.ports import Deliver, IncomingEvent, Subscription
from eyeflow.node.sources.clock import Clock, system_clock
from eyeflow.node.topics import matches, without_covered

QUEUE_MAX = 4096
"""Messages received and not yet handed to the engine. The broker's in-flight window bounds QoS 1 far below; a QoS 0
message that finds the queue full is dropped and counted, a QoS 1 message stays unacknowledged with the broker."""


class MqttSource:
    """Delivers each message once to each subscription whose filter it fits."""

    def __init__(self, client: MqttClient, clock: Clock = system_clock) -> None:
        self._client = client
        self._clock = clock
        self._subscriptions: tuple[Subscription, ...] = ()
        self._queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE_MAX)
        self.status = client.status
        self.status.counters |= {"dropped": 0, "unmatched": 0}

    def update(self, subscriptions: Collection[Subscription]) -> None:
        """Replace the wanted set; see `Source`."""
        self._subscriptions = tuple(subscriptions)
        filters = {subscription.address for subscription in subscriptions}
        # With MQTT 5 the broker names the filters a message was sent for; before it, overlap would deliver twice.
        wanted = filters if self._client.config.protocol == "5" else without_covered(filters)
        self._client.subscribe(wanted, self._enqueue)

    async def run(self, deliver: Deliver) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._client.run())
            while True:
                await self._deliver(await self._queue.get(), deliver)

    def _enqueue(self, message: Message) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.status.counters["dropped"] += 1

    async def _deliver(self, message: Message, deliver: Deliver) -> None:
        wanted = [s for s in self._subscriptions if _is_for(message, s.address)]
        if not wanted:
            # Of a subscription that an earlier set of rules left in the session: nobody waits for it any more.
            self.status.counters["unmatched"] += 1
            message.ack()
            return
        done = _after(len(wanted), message.ack)
        now_us = self._clock()
        try:
            payload = {"topic": message.topic, **decode_object(message.payload, self._client.config.payload_bytes_max)}
            payload["topic"] = message.topic
            rejected = ""
        except UnreadablePayload as error:
            payload, rejected = {}, str(error)
        for subscription in wanted:
            await deliver(IncomingEvent(subscription, payload, now_us, done, rejected))


def _is_for(message: Message, topic_filter: str) -> bool:
    return topic_filter in message.filters if message.filters is not None else matches(topic_filter, message.topic)


def _after(count: int, function: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `function` when it is called for the `count`th time."""
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            function()

    return step
