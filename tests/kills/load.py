"""Senders that never rest: they know of each event whether its source has taken it, and whether the node said so."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import paho.mqtt.client as mqtt
from confluent_kafka import Producer
from paho.mqtt.enums import CallbackAPIVersion

from components.waiting import wait_until

TOPIC, PATH = "plant-kills", "/kills"
HTTP, MQTT, KAFKA = "http", "mqtt", "kafka"
SOURCES = (HTTP, MQTT, KAFKA)
POST_PAUSE_S, PUBLISH_PAUSE_S = 0.01, 0.03
HTTP_SENDERS = 2
TIMEOUT_S = 60.0
FLUSH_S = 120.0


def source_of(number: int) -> str:
    """Return where an event comes in: its number says so."""
    return SOURCES[number % len(SOURCES)]


@dataclass
class Sent:
    """What was sent to one node. Of a request without an answer nobody knows what became of it."""

    acknowledged: set[int] = field(default_factory=set)
    """Requests that the node answered with 202."""
    unanswered: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    """Messages and records that the broker has confirmed: they wait there until the node has recorded them."""

    def counts(self) -> Counter[str]:
        found = Counter(source_of(number) for number in self.acknowledged | self.taken)
        found["unanswered"] = len(self.unanswered)
        return found


class Load:
    """Sends to one node by all three ways, from `start` until `stop`."""

    def __init__(self, http_port: int, mqtt_port: int, servers: str, topic: str) -> None:
        self.sent = Sent()
        self._http_port, self._topic = http_port, topic
        self._over = threading.Event()
        self._numbers = itertools.count()
        self._mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, f"load-{topic}")
        self._mqtt.max_inflight_messages_set(100)
        self._mqtt.connect("127.0.0.1", mqtt_port)
        self._mqtt.loop_start()
        self._published: deque[tuple[int, mqtt.MQTTMessageInfo]] = deque()
        self._lock = threading.Lock()
        self._trouble: deque[str] = deque(maxlen=3)
        settings = {"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 0, "log_level": 0}
        self._kafka = Producer(settings | {"error_cb": lambda error: self._trouble.append(str(error))})
        senders = [self._post_all] * HTTP_SENDERS + [self._publish_all]
        self._threads = [threading.Thread(target=one, daemon=True) for one in senders]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; return once each event is either taken or given up."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        left = self._kafka.flush(FLUSH_S)
        assert left == 0, f"the broker of Kafka does not take {left} records: {list(self._trouble)}"
        wait_until(self._note_published, "Mosquitto has all messages", FLUSH_S)
        self._mqtt.loop_stop()
        self._mqtt.disconnect()

    def _next(self, source: str) -> int:
        with self._lock:
            return next(self._numbers) * len(SOURCES) + SOURCES.index(source)

    def _post_all(self) -> None:
        while not self._over.wait(POST_PAUSE_S):
            self._post(self._next(HTTP))

    def _post(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", PATH, json.dumps({"id": number}))
            is_taken = connection.getresponse().status == 202
        except (OSError, http.client.HTTPException):
            is_taken = False
        finally:
            connection.close()
        (self.sent.acknowledged if is_taken else self.sent.unanswered).add(number)

    def _publish_all(self) -> None:
        while not self._over.wait(PUBLISH_PAUSE_S):
            number = self._next(MQTT)
            info = self._mqtt.publish(self._topic, json.dumps({"id": number}), qos=1)
            self._published.append((number, info))
            self._note_published()
            number = self._next(KAFKA)
            self._kafka.produce(self._topic, json.dumps({"id": number}), callback=self._delivered(number))
            self._kafka.poll(0)

    def _note_published(self) -> bool:
        while self._published and self._published[0][1].is_published():
            self.sent.taken.add(self._published.popleft()[0])
        return not self._published

    def _delivered(self, number: int) -> Callable[[object, object], None]:
        def told(error: object, message: object) -> None:
            if error is None:
                self.sent.taken.add(number)

        return told
