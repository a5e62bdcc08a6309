"""The connection that messages are published over.

It is not the one they come over: while the node does not read there, because its rules do not keep up, the broker's
confirmations could not be read either, and the rules that wait for them would never keep up again.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from eyeflow.node.backoff import Backoff
from eyeflow.node.config.ports import MqttConfig
from eyeflow.node.mqtt.connection import Connection, Handler, NotConnected
from eyeflow.node.ports import PortStatus

UNCONFIRMED_MAX = 64
"""Messages published and not yet confirmed; the broker may allow less (Receive Maximum)."""
STRIKES_MAX = 2
"""Connections that may end while a message, alone, is not confirmed, before it is taken for the reason."""
REFUSED_S = 60.0
REFUSED_MAX = 256
"""Topics at which the broker ended the connection; for so long nothing is sent to them, so that others are."""


class Refused(Exception):  # noqa: N818 - it is an answer
    """The broker does not take this message; the text says why."""


class _Ended(Exception):  # noqa: N818
    """The connection ended before the message was confirmed. `alone`: no other was unconfirmed."""

    def __init__(self, reason: str, *, alone: bool) -> None:
        super().__init__(reason)
        self.alone = alone


class Publisher(Handler):
    """Connects when the first message is to be published. All methods belong to the event loop."""

    def __init__(self, config: MqttConfig, client_id: str, backoff: Backoff | None = None) -> None:
        self.status = PortStatus("mqtt publish", "up", "nothing published yet", {"connects": 0, "published": 0})
        self.config = config
        # Nothing of a session is of use here: what was not confirmed is sent again below, or fails for its rule.
        self._connection = Connection(replace(config, session_expiry_s=0), client_id, self.status, self, backoff)
        self._wanted, self._changed = asyncio.Event(), asyncio.Event()
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._refused: dict[str, float] = {}
        self._under_way = 0
        self._one_by_one = False
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Stay connected, from the first message on, until cancelled."""
        await self._wanted.wait()
        self.status.state, self.status.detail = "connecting", ""
        await self._connection.run()

    @property
    def is_up(self) -> bool:
        """Whether the broker has taken the connection."""
        return self._connection.is_up

    async def until_up(self) -> None:
        """Connect, if nothing has been published yet, and return once `is_up`, however long the broker is away."""
        self._wanted.set()
        while not self._connection.is_up:
            self._changed.clear()
            await self._changed.wait()

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish one message and, with QoS 1, wait for its PUBACK. Raises NotConnected, Refused or TimeoutError.

        When the connection ends meanwhile, it is sent again, so that no message suffers from another one.
        """
        self._wanted.set()
        self._under_way += 1
        try:
            async with asyncio.timeout(self.config.publish_timeout_s):
                await self._until_confirmed(topic, payload, qos, retain)
        finally:
            self._under_way -= 1
            self._one_by_one = self._one_by_one and self._under_way > 0
        self.status.counters["published"] += 1

    async def _until_confirmed(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        strikes = 0
        while strikes < STRIKES_MAX:
            await self._until_room()
            if problem := self._problem(topic, payload, qos, retain):
                raise Refused(problem)
            try:
                if self._one_by_one:
                    async with self._turn:
                        return await self._send(topic, payload, qos, retain)
                return await self._send(topic, payload, qos, retain)
            except _Ended as ended:
                strikes += ended.alone
        if len(self._refused) < REFUSED_MAX:
            self._refused[topic] = asyncio.get_running_loop().time() + REFUSED_S
        raise Refused("the broker ends the connection at this message")

    def _problem(self, topic: str, payload: bytes, qos: int, retain: bool) -> str:
        now_s = asyncio.get_running_loop().time()
        self._refused = {one: until_s for one, until_s in self._refused.items() if until_s > now_s}
        if topic in self._refused:
            return "the broker ended the connection at an earlier message to this topic"
        return self._connection.limits.publish_problem(topic, payload, qos, retain)

    async def _until_room(self) -> None:
        while not self._connection.is_up or len(self._unconfirmed) >= self._room:
            if self.status.state == "failed":
                raise NotConnected(self.status.detail)
            self._changed.clear()
            await self._changed.wait()

    @property
    def _room(self) -> int:
        return min(self._connection.limits.receive_max, UNCONFIRMED_MAX)

    async def _send(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if not self._connection.is_up:
            raise _Ended("the connection ended", alone=False)
        mid = self._connection.publish(topic, payload, qos, retain)
        if not qos:
            return
        # It stays there when nobody waits for it any more: the broker still counts it.
        future = self._unconfirmed[mid] = asyncio.get_running_loop().create_future()
        await future

    def up(self) -> None:
        """Let whoever waits publish."""
        self._changed.set()

    def down(self, reason: str) -> None:
        """Let whoever waits for a confirmation send again, one after the other: one of them may be the reason."""
        waiting = [future for future in self._unconfirmed.values() if not future.done()]
        for future in waiting:
            future.set_exception(_Ended(reason, alone=len(waiting) == 1))
        self._unconfirmed.clear()
        self._one_by_one = self._one_by_one or bool(waiting)
        self._changed.set()

    def published(self, mid: int, problem: str) -> None:
        """Take the broker's confirmation."""
        future = self._unconfirmed.pop(mid, None)
        self._changed.set()
        if future is None or future.done():
            return
        if problem:
            future.set_exception(Refused(f"the MQTT broker refused the message: {problem}"))
        else:
            future.set_result(None)

    def tick(self) -> None:
        """Show what the broker lacks."""
        lacks = self._connection.limits.lacks(0)
        if self._connection.is_up and lacks:
            self.status.detail = f"{self.config.host}:{self.config.port}; the broker says: {', '.join(lacks)}"
