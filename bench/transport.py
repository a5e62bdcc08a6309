"""Messages in, one rule, messages out, over a real Mosquitto with QoS 1: beside a durable script in the same run."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench.measure import Report, Row

TUNED = ("max_inflight_messages 0", "max_queued_messages 0", "set_tcp_nodelay true")
DEFAULT = ("max_queued_messages 0",)
"""As installed, but for a queue that does not drop what the load sends ahead."""
MESSAGES = 6_000
STREAM_MESSAGES, STREAM_RULES = 400, 300
SLOW_SYNC_MS = 10
PACED = ((20, 100), (500, 1_500))
"""Messages a second, and how many."""
ROUNDS = 3
WAIT_S = 120.0
SLOW_SYNC = Path(__file__).parents[1] / "tests" / "components" / "slow_sync.c"


class Load:
    """Sends numbered messages and notes when each comes back.

    It hears over another connection than it sends over. On one, the broker's answer to the message that came last would
    wait for the confirmation of the one before: 40 ms, without `set_tcp_nodelay`, whatever is measured.
    """

    def __init__(self, port: int) -> None:
        self.heard: dict[int, float] = {}
        self.sent: dict[int, float] = {}
        self._numbers = itertools.count()
        self._client, self._ears = _client("load", port), _client("ears", port)
        self._ears.on_message = self._received
        subscribed = threading.Event()
        self._ears.on_subscribe = lambda *_: subscribed.set()
        self._ears.subscribe("out", qos=1)
        self._client.loop_start()
        self._ears.loop_start()
        subscribed.wait(WAIT_S)

    def _received(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.heard.setdefault(int(message.payload), time.perf_counter())

    def send(self) -> None:
        """Send the next message; readings of all temperatures."""
        number = next(self._numbers)
        self.sent[number] = time.perf_counter()
        temp = 50 + number * 7 % 40  # one rule in ten of bench/sources.py acts
        payload = f'{{"number": {number}, "sensor": "press-1", "temp": {temp}.5, "pressure": 5.5}}'
        self._client.publish("in", payload, qos=1)

    def until_heard(self) -> None:
        """Return when everything that was sent has come back."""
        ends = time.monotonic() + WAIT_S
        while len(self.heard) < len(self.sent):
            if time.monotonic() > ends:
                raise RuntimeError(f"only {len(self.heard)} of {len(self.sent)} messages came back")
            time.sleep(0.002)

    def until_answered(self) -> None:
        """Return when the subject has its subscription: until then the broker drops what is sent."""
        while not self.heard:
            self.send()
            time.sleep(0.05)
        self.heard.clear()
        self.sent.clear()
        self._numbers = itertools.count(1_000_000)

    def close(self) -> None:
        """Leave."""
        for client in (self._client, self._ears):
            client.disconnect()
            client.loop_stop()


def _sends_at_once(_client: paho.Client, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _client(name: str, port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv311)
    client.max_inflight_messages_set(1000)
    client.on_socket_open = _sends_at_once
    client.connect("127.0.0.1", port)
    return client


@contextlib.contextmanager
def broker(directory: Path, settings: Sequence[str]) -> Iterator[int]:
    """Run a Mosquitto on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = directory / "mosquitto.conf"
    config.write_text("\n".join([f"listener {port} 127.0.0.1", "allow_anonymous true", "user root", *settings]))
    found = shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if found is None:
        raise RuntimeError("mosquitto is not installed: run scripts/install-test-deps.sh")
    process = subprocess.Popen([found, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + WAIT_S
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < ends:
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def subject(command: Sequence[str], environment: dict[str, str]) -> Iterator[None]:
    """Run what is measured; returns when it says that it is ready."""
    with subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError(f"{command[0]} did not start")
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def running(name: str, settings: Sequence[str], sync_ms: int = 0, rules: int = 0) -> Iterator[Load]:
    """Run a broker, what is measured, and the load."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        environment = slow_disk(directory, sync_ms) if sync_ms else dict(os.environ)
        with broker(directory, settings) as port:
            load = Load(port)
            node = ["bench.transport_node", str(port), str(directory / "node"), str(rules)]
            script = ["bench.transport_script", str(port), str(directory / "script.db")]
            with subject(node if name == "node" else script, environment):
                load.until_answered()
                yield load
            load.close()


def slow_disk(directory: Path, sync_ms: int) -> dict[str, str]:
    """Return the environment of a process whose syncs take longer: a library that is loaded before the C library."""
    library = directory / "slow_sync.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SLOW_SYNC, "-ldl"], check=True)
    return {**os.environ, "LD_PRELOAD": str(library), "SLOW_SYNC_MS": str(sync_ms)}


def rate(name: str, settings: Sequence[str], messages: int = MESSAGES, sync_ms: int = 0, rules: int = 0) -> float:
    """Return messages a second, from the first that is sent to the last that comes back."""
    with running(name, settings, sync_ms, rules) as load:
        started = time.perf_counter()
        for _ in range(messages):
            load.send()
        load.until_heard()
        return messages / (max(load.heard.values()) - started)


def median_ms(name: str, a_second: int, count: int) -> float:
    """Return the median time from sending a message to its answer, at a steady pace."""
    with running(name, DEFAULT) as load:
        started = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, started + number / a_second - time.perf_counter()))
            load.send()
        load.until_heard()
        return statistics.median((load.heard[number] - at) * 1e3 for number, at in load.sent.items())


def report() -> Report:
    """Measure in alternating rounds."""
    settings = {"tuned": TUNED, "default": DEFAULT}
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for name, (place, lines) in itertools.product(("script", "node"), settings.items()):
            found.setdefault((name, place), []).append(rate(name, lines))
    rates = {key: statistics.median(values) for key, values in found.items()}
    slow = {name: rate(name, TUNED, MESSAGES if name == "node" else 300, SLOW_SYNC_MS) for name in ("script", "node")}
    delays = {(name, pace): median_ms(name, pace, n) for name in ("script", "node") for pace, n in PACED}
    evaluations = rate("node", TUNED, STREAM_MESSAGES, rules=STREAM_RULES) * (STREAM_RULES + 1)
    rows = [Row(f"{name}, {place} broker", value, "messages/s") for (name, place), value in rates.items()]
    rows += [Row(f"{name}, syncs of {SLOW_SYNC_MS} ms", value, "messages/s") for name, value in slow.items()]
    rows += [Row(f"{name}, median at {pace}/s", value, "ms") for (name, pace), value in delays.items()]
    rows.append(Row(f"node, {STREAM_RULES} rules on one stream, each recorded", evaluations, "evaluations/s"))
    bars = [(f"at least the durable script, {p} broker", rates["node", p] >= rates["script", p]) for p in settings]
    bars.append((f"at least 1,500/s with syncs of {SLOW_SYNC_MS} ms", slow["node"] >= 1_500))
    bars += [(f"median at most 3 ms at {pace}/s", delays["node", pace] <= 3.0) for pace, _ in PACED]
    return Report("MQTT in, one rule, MQTT out, QoS 1", tuple(rows), tuple(bars))
