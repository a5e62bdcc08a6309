"""What a node committed to publish is published, although it is killed in the middle, again and again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from components.mosquitto import Mosquitto
from components.waiting import wait_until
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import Record, decode_record, verify_chain
from eyeflow.protocol.audit_bodies import ActionResultBody, ExecutionBody

PROCESS = Path(__file__).with_name("publishing_process.py")
KILLS = 24
BURST = 120
WITHIN_S = 60.0


class Witness:
    """An independent client: sends numbers to the node's rule and hears what the node publishes."""

    def __init__(self, port: int) -> None:
        self.heard: list[int] = []
        self.sent = self.lost = 0
        """Numbers that were sent; of them the first ones, that nobody had subscribed to yet."""
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="witness", clean_session=True)
        self._client.max_inflight_messages_set(1000)
        self._client.on_message = lambda _c, _u, message: self.heard.append(int(message.payload))
        subscribed: list[int] = []
        self._client.on_subscribe = lambda _c, _u, mid, _r, _p: subscribed.append(mid)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("out", qos=1)
        self._client.loop_start()
        wait_until(lambda: bool(subscribed), "the subscription of the witness")

    def send(self, count: int) -> None:
        """Send the next numbers; returns when the broker has them."""
        sent = [self._client.publish("in", f'{{"number": {self.sent + n}}}', qos=1) for n in range(count)]
        for one in sent:
            one.wait_for_publish(WITHIN_S)
        self.sent += count

    def has_heard_all(self) -> bool:
        """Say whether every number has come back."""
        return set(range(self.lost, self.sent)) <= set(self.heard)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Node:
    """A node that is started and ended again and again on the same data, with its broker and a witness."""

    def __init__(self, path: Path, broker: Mosquitto, witness: Witness, *options: str) -> None:
        self.data_dir, self.witness = path / "node", witness
        self._command = [sys.executable, str(PROCESS), str(self.data_dir), str(broker.port), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stdout.readline() == b"ready\n"

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end; without effect when it does not run."""
        if self._process is None:
            return
        self._process.send_signal(number)
        assert self._process.stdout is not None
        with self._process.stdout:
            code = self._process.wait()
        self._process = None
        assert code == (0 if number == signal.SIGTERM else -number)

    def until_heard(self, number: int) -> None:
        """Return when this number, or a later one, has been published."""
        wait_until(lambda: max(self.witness.heard) >= number, "the node publishes", WITHIN_S)

    def until_decided(self, number: int) -> None:
        """Return when the node has committed to publish this number, or a later one."""
        wait_until(lambda: max(committed(self.data_dir), default=-1) >= number, "the node decides", WITHIN_S)

    def until_connected(self) -> None:
        """Send numbers until one of them comes back. Earlier ones may be lost: nobody had subscribed, or (control)
        the node had no connection for its publications yet."""
        first = self.witness.sent

        def sent_and_heard() -> bool:
            self.witness.send(1)
            return max(self.witness.heard, default=-1) >= first

        wait_until(sent_and_heard, "the node publishes", WITHIN_S)
        self.until_heard(self.witness.sent - 1)

    def kill_in_bursts(self, kills: int, until: Callable[[Node, int], None]) -> None:
        """Kill the node in the middle of each burst, when `until` says that it has come to a random number of it."""
        rng = random.Random(kills)
        for _ in range(kills):
            self.start()
            self.witness.send(BURST)
            until(self, self.witness.sent - rng.randrange(1, BURST))
            self.end(signal.SIGKILL)


@contextmanager
def node_of(path: Path, *options: str) -> Iterator[Node]:
    """Return a node that has run once, so that the broker keeps its session while it is away."""
    with Mosquitto(path / "broker", ("allow_anonymous true", "max_queued_messages 0")) as broker:
        witness = Witness(broker.port)
        node = Node(path, broker, witness, *options)
        try:
            node.start()
            node.until_connected()  # until the broker has the node's subscription, it drops what is sent
            witness.lost = min(witness.heard)
            node.end(signal.SIGTERM)
            yield node
        finally:
            node.end(signal.SIGKILL)
            witness.close()


def records(data_dir: Path) -> list[Record]:
    with AuditReader(data_dir) as reader:
        data = list(reader.records())
        assert verify_chain(data, reader.public_key).holds
    return [decode_record(one) for one in data]


def committed(data_dir: Path) -> list[int]:
    """Return the numbers that the node's records say it decided to publish."""
    return [r.body.inputs[0] for r in records(data_dir) if isinstance(r.body, ExecutionBody)]  # type: ignore[misc]


def pending(data_dir: Path) -> int:
    """Return how many actions of the node are not known to have ended."""
    with AuditReader(data_dir) as reader:
        return int(reader._page("SELECT count(*) FROM pending", ())[0][0])


def first_seen(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def test_every_committed_publication_is_seen_although_the_node_is_killed_again_and_again(tmp_path: Path) -> None:
    with node_of(tmp_path) as node:
        witness = node.witness
        node.kill_in_bursts(KILLS, Node.until_heard)
        node.start()
        # All may have been heard before the last kill. What that one left unconfirmed is still to be sent again.
        wait_until(lambda: witness.has_heard_all() and not pending(node.data_dir), "all are published", WITHIN_S)
        node.end(signal.SIGTERM)
        decided = committed(node.data_dir)
        assert set(decided) == set(range(witness.lost, witness.sent))
        assert set(witness.heard) == set(decided), "at least once"
        assert not [r for r in records(node.data_dir) if isinstance(r.body, ActionResultBody)], "none was given up"
        assert first_seen(witness.heard) == first_seen(decided), "in the order in which they were decided"
        assert pending(node.data_dir) == 0


def test_control_actions_tried_before_the_broker_is_connected_are_lost(tmp_path: Path) -> None:
    with node_of(tmp_path, "control") as node:
        witness = node.witness
        node.kill_in_bursts(5, Node.until_decided)  # by luck all the rest of a burst is lost: nothing to be heard
        node.start()
        node.until_decided(witness.sent - 1)
        node.until_connected()
        node.end(signal.SIGTERM)
        assert not set(committed(node.data_dir)) <= set(witness.heard)


def test_a_node_that_is_stopped_in_a_burst_gives_no_publication_up(tmp_path: Path) -> None:
    """SIGTERM: what was decided goes out while the connection is still there, or stays for the next start."""
    with node_of(tmp_path) as node:
        witness = node.witness
        for _ in range(4):
            node.start()
            witness.send(BURST)
            node.until_heard(witness.sent - BURST // 2)
            node.end(signal.SIGTERM)
        node.start()
        wait_until(witness.has_heard_all, "all are published", WITHIN_S)
        node.end(signal.SIGTERM)
        assert not [r for r in records(node.data_dir) if isinstance(r.body, ActionResultBody)]
