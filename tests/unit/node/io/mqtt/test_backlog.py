"""A backlog that waits at a real broker for a real node: every message is executed once, and none is rejected."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.mosquitto import Mosquitto
from components.waiting import running, until
from eyeflow.node.io.mqtt.publisher import Publisher
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.mqtt.subscriber import Subscriber
from eyeflow.node.status.local_socket import fetch_status
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import ExecutionBody, RejectedBody

PROCESS = Path(__file__).with_name("node_process.py")
MESSAGES = 10_000
AT_ONCE = 64


@contextlib.contextmanager
def node(data_dir: Path, broker: Mosquitto, *options: str) -> Iterator[None]:
    command = [sys.executable, str(PROCESS), str(data_dir), str(broker.port), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        with process.stdout:
            assert process.wait(60) == 0


def executed(data_dir: Path) -> tuple[Counter[int], int]:
    """Return how often each number was executed, and how many events were rejected."""
    with AuditReader(data_dir) as reader:
        bodies = [decode_record(data).body for data in reader.records()]
    numbers = Counter(int(body.inputs[0]) for body in bodies if isinstance(body, ExecutionBody))  # type: ignore[arg-type]
    del numbers[-1]  # those of `until the broker keeps messages`
    return numbers, sum(body.count for body in bodies if isinstance(body, RejectedBody))


def recorded(data_dir: Path) -> int:
    """Return how many of the numbered events are in the audit log, executed or rejected."""
    numbers, rejected = executed(data_dir)
    return sum(numbers.values()) + rejected


def settled(data_dir: Path) -> int:
    """Return how many events the running node has executed or rejected."""
    rules = fetch_status(data_dir)["rules"]
    return sum(rule["executions"] + rule["rejected"] for rule in rules)  # type: ignore[attr-defined]


async def publish(broker: Mosquitto, wanted: range) -> None:
    sender = Publisher(MqttConfig("127.0.0.1", broker.port, publish_timeout_s=60.0), "sender")
    numbers = iter(wanted)

    async def some() -> None:
        for number in numbers:
            await sender.publish("in", b'{"n": %d}' % number, 1, retain=False)

    async with running(sender.run()):
        await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def backlog(path: Path, broker: Mosquitto, *options: str) -> tuple[list[int], Counter[int], int]:
    """Return what the rule published, what was executed, and how much was rejected."""
    data_dir = path / "node"
    with node(data_dir, broker):
        while not settled(data_dir):  # until the broker keeps messages for the node
            await publish(broker, range(-1, 0))
    await publish(broker, range(MESSAGES))
    heard: list[int] = []
    listener = Subscriber(MqttConfig("127.0.0.1", broker.port), "listener")

    def hear(message: object) -> None:
        heard.append(int(message.payload))  # type: ignore[attr-defined]
        message.ack()  # type: ignore[attr-defined]

    listener.subscribe({"out": frozenset()}, hear)
    async with running(listener.run()):
        await until(lambda: listener.status.state == "up")
        with node(data_dir, broker, *options):
            await _quiet(data_dir)
            await until(lambda: recorded(data_dir) >= MESSAGES)  # the status counts the first messages, too
            actions = lambda: fetch_status(data_dir)["actionsWaiting"]  # noqa: E731
            await until(lambda: actions() == 0)
            wanted = sum(1 for number in executed(data_dir)[0] if number % 5 == 0)
            await until(lambda: len(heard) >= wanted)
    return heard, *executed(data_dir)


async def _quiet(data_dir: Path) -> None:
    for _ in range(5):  # each has a minute
        with contextlib.suppress(TimeoutError):
            return await until(lambda: settled(data_dir) >= MESSAGES)
    raise AssertionError(f"only {settled(data_dir)} of {MESSAGES} were executed or rejected")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", ["allow_anonymous true", "max_queued_messages 0"]) as server:
        yield server


def test_a_backlog_is_executed_once_and_none_of_it_is_rejected(tmp_path: Path, broker: Mosquitto) -> None:
    heard, numbers, rejected = asyncio.run(backlog(tmp_path, broker))
    assert rejected == 0
    assert numbers == Counter(range(MESSAGES))
    assert sorted(heard) == list(range(0, MESSAGES, 5))


def test_control_without_waiting_for_room_most_of_it_is_rejected(tmp_path: Path, broker: Mosquitto) -> None:
    _heard, numbers, rejected = asyncio.run(backlog(tmp_path, broker, "no-wait"))
    assert rejected > MESSAGES // 10
    assert sum(numbers.values()) < MESSAGES
