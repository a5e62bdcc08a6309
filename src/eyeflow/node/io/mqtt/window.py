"""The messages that the node has read and not yet acknowledged: how many there may be, and in which order they go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

BYTES_MAX = 64 * 1024 * 1024
"""Bound of the payloads of all messages that are held; the one that passes it is still taken."""


@dataclass(slots=True)
class _Held:
    mid: int
    qos: int
    topic: str
    size_bytes: int
    done: bool = False


class Window:
    """Counts held messages and acknowledges them in the order in which they came (MQTT 5.0, 4.6).

    The node keeps this bound itself, by not reading on: a broker's word for how much it sends is not relied on
    (Mosquitto 2.0.11 ignores Receive Maximum for the backlog of a session).
    """

    def __init__(self, messages_max: int, send_ack: Callable[[int, int], None]) -> None:
        """`send_ack` gets packet identifier and QoS."""
        self._messages_max, self._send_ack = messages_max, send_ack
        self._waiting: deque[_Held] = deque()
        self.count = self.bytes = 0

    def take(self, mid: int, qos: int, topic: str, size_bytes: int) -> Callable[[], None]:
        """Hold a message; returns what to call, once, when the work on it is recorded."""
        held = _Held(mid, qos, topic, size_bytes)
        self._waiting.append(held)
        self.count += 1
        self.bytes += size_bytes
        return partial(self._done, held)

    def _done(self, held: _Held) -> None:
        held.done = True
        self.count -= 1
        self.bytes -= held.size_bytes
        while self._waiting and self._waiting[0].done:
            first = self._waiting.popleft()
            if first.qos:
                self._send_ack(first.mid, first.qos)

    def forget(self) -> None:
        """The connection ended: the broker sends again what it saw no acknowledgement for; ours would mean another."""
        self._waiting.clear()

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be read."""
        return self.unacknowledged >= self._messages_max or self.bytes >= BYTES_MAX

    @property
    def has_room(self) -> bool:
        """Whether reading may go on: not at once when one message is done, so that reading goes on in batches."""
        return self.unacknowledged <= self._messages_max // 2 and self.bytes <= BYTES_MAX // 2

    @property
    def unacknowledged(self) -> int:
        """Messages that the broker waits for, and those of earlier connections that are still worked on."""
        return max(self.count, len(self._waiting))

    @property
    def oldest_topic(self) -> str:
        """The topic of the message that has waited longest, empty when none waits."""
        return self._waiting[0].topic if self._waiting else ""
