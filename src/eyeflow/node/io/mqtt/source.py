"""`on mqtt "plant/+/temp"`: messages of the node's broker, acknowledged only after the rules' work is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.node.io.mqtt.publisher import Publisher
from eyeflow.node.io.mqtt.subscriber import Message, Subscriber
from eyeflow.node.io.mqtt.topics import has_wildcard
from eyeflow.node.io.payloads import UnreadablePayload, decode_object
from eyeflow.node.io.ports import Deliver, IncomingEvent, Subscription


class MqttSource:
    """Delivers each message once to each subscription whose filter it fits. It runs the publisher's connection too."""

    def __init__(
        self, subscriber: Subscriber, clock: NowUs = wall_clock_us, publisher: Publisher | None = None
    ) -> None:
        self._subscriber, self._publisher = subscriber, publisher
        self._clock = clock
        self._subscriptions: dict[str, Subscription] = {}
        # Its bound is the subscriber's window: what is in it is held, and not acknowledged.
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self.status = subscriber.status
        self.status.counters |= {"unmatched": 0}

    def update(self, subscriptions: Collection[Subscription]) -> None:
        """Replace the wanted set; see `Source`."""
        self._subscriptions = {subscription.address: subscription for subscription in subscriptions}
        wanted = {address: subscription.rules for address, subscription in self._subscriptions.items()}
        self._subscriber.subscribe(wanted, self._queue.put_nowait)

    async def run(self, deliver: Deliver) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._subscriber.run())
            if self._publisher is not None:
                group.create_task(self._publisher.run())
            while True:
                await self._deliver(await self._queue.get(), deliver)

    async def _deliver(self, message: Message, deliver: Deliver) -> None:
        wanted = [(self._subscriptions[f], only) for f, only in message.routes.items() if f in self._subscriptions]
        if not wanted:
            # Of a subscription that an earlier set of rules left in the session: nobody waits for it any more.
            self.status.counters["unmatched"] += 1
            message.ack()
            return
        done = _after(len(wanted), message.ack)
        now_us = self._clock()
        try:
            payload_bytes_max = self._subscriber.config.payload_bytes_max
            payload = {**decode_object(message.payload, payload_bytes_max), "topic": message.topic}
            rejected = ""
        except UnreadablePayload as error:
            payload, rejected = {}, str(error)
        for subscription, only in wanted:
            key = message.topic if has_wildcard(subscription.address) else None
            await deliver(IncomingEvent(subscription, payload, now_us, done, rejected, only=only, key=key))


def _after(count: int, function: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `function` when it is called for the `count`th time."""
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            function()

    return step
