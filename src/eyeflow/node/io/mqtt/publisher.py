"""The connection that messages are published over.

It is not the one they come over: while the node does not read there, because its rules do not keep up, the broker's
confirmations could not be read either, and the rules that wait for them would never keep up again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, replace

from eyeflow.node.backoff import Backoff
from eyeflow.node.io.mqtt.connection import Connection, Handler, NotConnected
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.ports import PortStatus

_log = logging.getLogger("eyeflow.node")

UNCONFIRMED_MAX = 64
"""Messages published and not yet confirmed; the broker may allow less (Receive Maximum)."""
STRIKES_MAX = 2
"""Connections that may end while a message, alone, is not confirmed, before it is taken for the reason."""
OBJECTS_WITHIN_S = 1.0
"""A broker that objects to a message ends the connection so soon after it. A suspected message is held back so long on
a new connection: a network that flaps ends that one, too, and then the message is not the reason."""
UNCONFIRMED_S = 30.0
"""A connection on which the broker owes confirmations and sends none for so long is ended, and made again."""
REFUSED_S = 60.0
REFUSED_MAX = 256
"""Topics at which the broker ended the connection; for so long nothing is sent to them, so that others are."""


class Refused(Exception):  # noqa: N818 - it is an answer
    """The broker does not take this message; the text says why."""


@dataclass(slots=True, eq=False)
class _Message:
    """A message on its way. `strikes`: connections that ended while it, alone, was not confirmed."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    answer: asyncio.Future[None]
    timer: asyncio.TimerHandle | None = None
    strikes: int = 0
    sent_s: float = 0.0


class Publisher(Handler):
    """Connects when the first message is to be published. All methods belong to the event loop.

    Messages go out in the order in which they were handed over, also those that are sent again.
    """

    def __init__(self, config: MqttConfig, client_id: str, backoff: Backoff | None = None) -> None:
        self.status = PortStatus("mqtt publish", "up", "nothing published yet", {"connects": 0, "published": 0})
        self.config = config
        # Nothing of a session is of use here: what was not confirmed is sent again below, or fails for its rule.
        self._connection = Connection(replace(config, session_expiry_s=0), client_id, self.status, self, backoff)
        self._wanted, self._changed = asyncio.Event(), asyncio.Event()
        self._unsent: deque[_Message] = deque()
        self._unconfirmed: dict[int, _Message] = {}
        self._refused: dict[str, float] = {}
        self._one_by_one = False
        self._held: asyncio.TimerHandle | None = None
        self._progress_s = 0.0
        """When the broker last confirmed a message, or began to owe a confirmation."""

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
        """Publish one message and, with QoS 1, wait for its PUBACK. Raises NotConnected, Refused or TimeoutError."""
        await self.begin(topic, payload, qos, retain)

    def begin(self, topic: str, payload: bytes, qos: int, retain: bool) -> asyncio.Future[None]:
        """Publish one message after those before it; the future ends as `publish` would. Cancel it to give up.

        When the connection ends meanwhile, it is sent again, so that no message suffers from another one.
        """
        loop = asyncio.get_running_loop()
        message = _Message(topic, payload, qos, retain, loop.create_future())
        self._wanted.set()
        if self.status.state == "failed":
            message.answer.set_exception(NotConnected(self.status.detail))
            return message.answer
        message.timer = loop.call_later(self.config.publish_timeout_s, _end, message, TimeoutError())
        # A broker that is connected and confirms nothing makes no room: what nobody waits for any more would pile up.
        while self._unsent and self._unsent[0].answer.done():
            _end(self._unsent.popleft())
        self._unsent.append(message)
        self._send_waiting()
        return message.answer

    def _send_waiting(self) -> None:
        """Send what may be sent, in order."""
        while self._unsent and self._has_room:
            message = self._unsent.popleft()
            if message.answer.done():
                _end(message)
            elif problem := self._problem(message):
                _end(message, Refused(problem))
            else:
                self._send(message)
        self._one_by_one = self._one_by_one and bool(self._unsent or self._unconfirmed)

    def _send(self, message: _Message) -> None:
        try:
            mid = self._connection.publish(message.topic, message.payload, message.qos, message.retain)
        except NotConnected as error:
            _end(message, error)
            return
        if message.qos:
            message.sent_s = asyncio.get_running_loop().time()
            if not self._unconfirmed:
                self._progress_s = message.sent_s
            # It stays there when nobody waits for it any more: the broker still counts it.
            self._unconfirmed[mid] = message
        else:
            self._sent(message)

    def _sent(self, message: _Message) -> None:
        self.status.counters["published"] += not message.answer.done()
        _end(message)

    @property
    def _has_room(self) -> bool:
        room = 1 if self._one_by_one else min(self._connection.limits.receive_max, UNCONFIRMED_MAX)
        return self._connection.is_up and self._held is None and len(self._unconfirmed) < room

    def _problem(self, message: _Message) -> str:
        if self._refused:
            now_s = asyncio.get_running_loop().time()
            self._refused = {one: until_s for one, until_s in self._refused.items() if until_s > now_s}
        if message.topic in self._refused:
            return "the broker ended the connection at an earlier message to this topic"
        return self._connection.limits.publish_problem(message.topic, message.payload, message.qos, message.retain)

    def up(self) -> None:
        """Send what waits; a suspected message only when the connection has held for a while without it."""
        self._changed.set()
        if self._unsent and self._unsent[0].strikes:
            self._held = asyncio.get_running_loop().call_later(OBJECTS_WITHIN_S, self._release)
        self._send_waiting()

    def _release(self) -> None:
        self._held = None
        self._send_waiting()

    def down(self, reason: str) -> None:
        """Send again what was not confirmed, before the rest and one by one: one of them may be the reason."""
        if self._held is not None:
            self._held.cancel()
            self._held = None
            for message in self._unsent:
                message.strikes = 0  # the connection ended without it
        again = [message for message in self._unconfirmed.values() if not message.answer.done()]
        self._unconfirmed.clear()
        self._one_by_one = self._one_by_one or bool(again)
        if len(again) == 1:
            again = self._judge(again[0])
        self._unsent.extendleft(reversed(again))
        if self.status.state == "failed":
            while self._unsent:
                _end(self._unsent.popleft(), NotConnected(self.status.detail))
        self._changed.set()

    def _judge(self, message: _Message) -> list[_Message]:
        """Refuse a message at which the broker has ended the connection again; return what is to be sent again."""
        if asyncio.get_running_loop().time() - message.sent_s > OBJECTS_WITHIN_S:
            return [message]
        message.strikes += 1
        if message.strikes < STRIKES_MAX:
            return [message]
        if len(self._refused) < REFUSED_MAX:
            self._refused[message.topic] = asyncio.get_running_loop().time() + REFUSED_S
        _end(message, Refused("the broker ends the connection at this message"))
        return []

    def published(self, mid: int, problem: str) -> None:
        """Take the broker's confirmation."""
        self._progress_s = asyncio.get_running_loop().time()
        message = self._unconfirmed.pop(mid, None)
        if message is not None and problem:
            _end(message, Refused(f"the MQTT broker refused the message: {problem}"))
        elif message is not None:
            self._sent(message)
        self._send_waiting()

    def tick(self) -> None:
        """Show what the broker lacks; end a connection on which it confirms nothing."""
        if self._unconfirmed and asyncio.get_running_loop().time() - self._progress_s > UNCONFIRMED_S:
            _log.warning(
                "%s: the broker confirmed nothing for %.0f s; connecting again", self.status.name, UNCONFIRMED_S
            )
            self._connection.end(f"the broker confirmed nothing for {UNCONFIRMED_S:.0f} s")
            return
        lacks = self._connection.limits.lacks(0)
        if self._connection.is_up and lacks:
            self.status.detail = f"{self.config.host}:{self.config.port}; the broker says: {', '.join(lacks)}"


def _end(message: _Message, error: Exception | None = None) -> None:
    """Tell whoever waits for a message; nobody may wait for it any more."""
    if message.timer is not None:
        message.timer.cancel()
    if message.answer.done():
        return
    if error is None:
        message.answer.set_result(None)
    else:
        message.answer.set_exception(error)
