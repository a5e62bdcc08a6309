"""`mqtt.publish(topic, payload, retain, qos)` over the node's connection for publishing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from eyeflow.base.visible import visible
from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.node.io.mqtt.publisher import Publisher
from eyeflow.svm.addresses import topic_problem
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Value

QOS_ALLOWED = (0, 1)


class MqttDriver(BaseDriver):
    """With QoS 1 an action is done when the broker confirmed it; a retry may deliver it twice, as QoS 1 says."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__("mqtt")
        self._publisher = publisher
        publisher.status.counters |= self.status.counters
        self.status = publisher.status

    def failure(self, message: str) -> CapabilityFailure:
        """Return the exception to raise, after counting it; the status goes on telling of the connection."""
        self.status.counters["failures"] += 1
        return CapabilityFailure(visible(message))

    @property
    def is_ready(self) -> bool:
        """Whether the connection is up."""
        return self._publisher.is_up

    async def until_ready(self) -> None:
        """Return once the connection is up."""
        await self._publisher.until_up()

    def begin(self, capability: str, args: Mapping[str, Value]) -> asyncio.Future[None]:
        """Publish one message after those before it; the broker confirms later."""
        if capability != "mqtt.publish":
            raise self.failure(f"{capability} is not an action that this node serves")
        topic, qos = str(args["topic"]), args.get("qos", 1)
        if qos not in QOS_ALLOWED:
            raise self.failure(f"mqtt.publish: qos is 0 or 1, not {qos}")
        if problem := topic_problem(topic):
            raise self.failure(f"mqtt.publish: {topic!r} is no topic to publish to: {problem}")
        payload, retain = str(args["payload"]).encode(), bool(args.get("retain", False))
        sent = self._publisher.begin(topic, payload, int(qos), retain)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.add_done_callback(partial(self._answer, answer, topic))
        answer.add_done_callback(lambda _: sent.cancel())  # whoever waits no more gives the message up
        return answer

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Publish one message, and wait until the broker confirmed it."""
        await self.begin(capability, args)

    def _answer(self, answer: asyncio.Future[None], topic: str, sent: asyncio.Future[None]) -> None:
        error = None if sent.cancelled() else sent.exception()
        if answer.done():
            return
        if error is None:
            self.status.counters["actions"] += 1
            answer.set_result(None)
        elif isinstance(error, TimeoutError):
            answer.set_exception(self.failure(f"mqtt.publish to {topic}: the broker did not confirm in time"))
        else:
            answer.set_exception(self.failure(f"mqtt.publish to {topic}: {error}"))
