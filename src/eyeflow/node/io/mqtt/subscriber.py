"""The connection that messages come over: what it asks for, how much it holds, and in which order it acknowledges."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eyeflow.base.visible import visible
from eyeflow.node.backoff import Backoff
from eyeflow.node.io.mqtt.connection import Connection, Handler
from eyeflow.node.io.mqtt.filters import STRUCK, Filters
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.mqtt.window import Window
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.run_key import RunKey

_log = logging.getLogger("eyeflow.node")

STRIKES_MAX = 2
"""Connections that may end at a filter, asked for alone, before it is taken for the reason."""
STRUCK_FIRST_S, STRUCK_LAST_S = 5.0, 300.0
"""For how long it is then left out, each time twice as long: a network that breaks looks like a broker that refuses."""
HELD_TELL_S = 10.0
"""The log is told when the node has read nothing for so long, as its rules do not keep up."""
HELD_TELL_AGAIN_S = 60.0
NAMED_MAX = 3
"""Filters that the status names."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message from the broker, for the filters `routes`: each with the rules it is for, None for all of them."""

    topic: str
    payload: bytes
    routes: Mapping[str, frozenset[RunKey] | None]
    ack: Callable[[], None]


class Subscriber(Handler):
    """Keeps a session with the broker. All methods belong to the event loop."""

    def __init__(self, config: MqttConfig, client_id: str, backoff: Backoff | None = None) -> None:
        self.status = PortStatus("mqtt", counters={"connects": 0, "received": 0, "held": 0})
        self._connection = Connection(config, client_id, self.status, self, backoff)
        self.config = config
        self._filters = Filters()
        self._window = Window(config.inflight_max, self._connection.ack)
        self._on_message: Callable[[Message], None] = lambda message: None
        self._runs = False
        self._queue: deque[str] = deque()
        self._asked: dict[int, str] = {}
        self._subscribed: set[str] = set()
        self._gone: set[str] = set()
        self._one_by_one = False
        self._strikes: dict[str, int] = {}
        self._struck_until_s: dict[str, float] = {}
        self._denied: dict[str, str] = {}
        self._unsafe: set[str] = set()
        self._held_since_s: float | None = None
        self._told_s = float("-inf")

    def subscribe(self, wanted: Mapping[str, frozenset[RunKey]], on_message: Callable[[Message], None]) -> None:
        """Replace the wanted filters, each with its rules; takes effect at once, or at the next connection."""
        self._on_message = on_message
        self._filters.change(wanted, running=self._runs)
        self._strikes = {f: count for f, count in self._strikes.items() if f in wanted}
        self._struck_until_s = {f: until_s for f, until_s in self._struck_until_s.items() if f in wanted}
        self._denied = {f: reason for f, reason in self._denied.items() if f in wanted}
        if self._connection.is_up:
            self._ask(everything=False)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        self._runs = True
        await self._connection.run()

    # --- subscriptions ---

    def _ask(self, *, everything: bool) -> None:
        wanted = self._filters.to_ask(self._problem)
        new = [f for f, is_new in wanted.items() if everything or is_new or f not in self._subscribed]
        # The broker keeps what a filter brings that may be well: it is asked for again.
        self._gone = (self._gone | self._subscribed) - wanted.keys() - self._struck_until_s.keys()
        self._subscribed = set(wanted)
        waiting = [f for f in self._queue if f in wanted]
        # The suspicious ones last, so that the others have been asked for when the connection ends.
        order = sorted({*waiting, *new}, key=lambda f: (self._strikes.get(f, 0), f))
        self._queue = deque(order)
        self._ask_next()
        for topic_filter in self._gone:
            self._connection.unsubscribe(topic_filter)
        self._gone.clear()
        self._describe()

    def _problem(self, topic_filter: str) -> str:
        if topic_filter in self._struck_until_s:
            return STRUCK
        return self._denied.get(topic_filter, "") or self._connection.limits.filter_problem(topic_filter)

    def _ask_next(self) -> None:
        while self._queue and not (self._one_by_one and self._asked):
            topic_filter = self._queue.popleft()
            how = self._filters.ask(topic_filter)
            mid = self._connection.subscribe(topic_filter, how.identifier, retained=how.retained)
            self._asked[mid] = topic_filter

    def subscribed(self, mid: int, reason: Any) -> None:
        """Take the broker's answer to one filter."""
        topic_filter = self._asked.pop(mid, None)
        if topic_filter is None:
            return
        self._strikes.pop(topic_filter, None)
        self._filters.answered(topic_filter)
        if reason.is_failure:
            self._denied[topic_filter] = f"the broker refused: {reason}"
            _log.warning("mqtt: cannot listen to %s: %s", topic_filter, self._denied[topic_filter])
            self._ask(everything=False)  # another one may have been left out because this covers it
            return
        (self._unsafe.add if reason.value == 0 else self._unsafe.discard)(topic_filter)
        if not self._queue and not self._asked:
            self._one_by_one = False
        self._ask_next()
        self._describe()

    # --- the connection ---

    def up(self) -> None:
        """Ask for everything: the broker may have lost what it had."""
        limits = self._connection.limits
        self._filters.has_identifiers = limits.identifiers and self.config.protocol == "5"
        self._denied.clear()
        self._unsafe.clear()
        self._ask(everything=True)
        self._pause_if_full()  # by messages of earlier connections that are still worked on

    def _pause_if_full(self) -> None:
        if self._window.is_full and not self._connection.is_paused:
            self._connection.pause()
            self._held_since_s = asyncio.get_running_loop().time()

    def down(self, reason: str) -> None:
        """Suspect what was asked for: a broker may end the connection instead of refusing a filter."""
        if self._asked:
            if len(self._asked) == 1:
                (topic_filter,) = self._asked.values()
                self._strike(topic_filter)
            self._one_by_one = True
        self._asked.clear()
        self._queue.clear()
        self._window.forget()
        self._held_since_s = None

    def _strike(self, topic_filter: str) -> None:
        count = self._strikes[topic_filter] = self._strikes.get(topic_filter, 0) + 1
        if count >= STRIKES_MAX:
            pause_s = min(STRUCK_FIRST_S * 2 ** (count - STRIKES_MAX), STRUCK_LAST_S)
            self._struck_until_s[topic_filter] = asyncio.get_running_loop().time() + pause_s
        if count == STRIKES_MAX:
            _log.warning("mqtt: cannot listen to %s: %s", topic_filter, self._problem(topic_filter))

    def _try_struck(self, now_s: float) -> None:
        """Ask again for what was left out long enough, alone as before."""
        due = [f for f, until_s in self._struck_until_s.items() if until_s <= now_s]
        if due and self._connection.is_up:
            for topic_filter in due:
                del self._struck_until_s[topic_filter]
            self._one_by_one = True
            self._ask(everything=False)

    # --- messages ---

    def message(self, message: Any) -> None:
        """Hand a message on, and stop reading when enough are held."""
        self.status.counters["received"] += 1
        topic = _topic(message)
        numbers = getattr(message.properties, "SubscriptionIdentifier", None) if message.properties else None
        routes = self._filters.route(topic, numbers, message.retain)
        payload = bytes(message.payload)
        done = self._window.take(message.mid, message.qos, topic, len(payload))
        self._pause_if_full()
        self._on_message(Message(topic, payload, routes, lambda: self._done(done)))

    def _done(self, done: Callable[[], None]) -> None:
        done()
        if self._connection.is_paused and self._window.has_room:
            self._connection.resume()
            self._held_since_s = None

    def tick(self) -> None:
        """Say so when the node does not read because its rules do not keep up."""
        now_s = asyncio.get_running_loop().time()
        self._try_struck(now_s)
        held_s = 0.0 if self._held_since_s is None else now_s - self._held_since_s
        if held_s >= HELD_TELL_S and now_s - self._told_s >= HELD_TELL_AGAIN_S:
            self._told_s = now_s
            _log.warning("mqtt: nothing was read for %.0fs: %s", held_s, self._waits())
        self._describe()

    def _waits(self) -> str:
        return f"{self._window.unacknowledged} messages wait, the first on {visible(self._window.oldest_topic)}"

    def _describe(self) -> None:
        self.status.counters["held"] = self._window.unacknowledged
        if not self._connection.is_up:
            return
        notes = [f"cannot listen to `{f}`: {why}" for f, why in sorted(self._filters.refused.items())[:NAMED_MAX]]
        notes += [f"`{f}` comes with QoS 0, so the broker keeps nothing" for f in sorted(self._unsafe)[:NAMED_MAX]]
        lacks = self._connection.limits.lacks(self.config.session_expiry_s) if self.config.protocol == "5" else []
        notes += [f"the broker says: {', '.join(lacks)}"] if lacks else []
        notes += [f"does not read on: {self._waits()}"] if self._held_since_s is not None else []
        self.status.detail = "; ".join([f"{self.config.host}:{self.config.port}", *notes])


def _topic(message: Any) -> str:
    try:
        return str(message.topic)
    except UnicodeDecodeError as error:
        return error.object.decode("utf-8", "replace")
