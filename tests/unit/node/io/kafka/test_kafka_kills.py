"""Nodes that read from Kafka are killed at any moment: each rule runs each record once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from components.kafka import Kafka, kafka
from components.waiting import wait_until
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody
from unit.node.io.kafka.node_process import RULES

PROCESS = Path(__file__).with_name("node_process.py")
KILLS = int(os.environ.get("EYEFLOW_KILLS", "3"))
EVENTS = 300 * KILLS


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Kafka]:
    with kafka(tmp_path / "kafka") as broker:
        broker.make("events", partitions=2)
        yield broker


def started(data_dir: Path, cluster: Kafka, *options: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, str(PROCESS), str(data_dir), cluster.servers, *options], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout as told:
        assert told.readline() == b"ready\n"
    return process


def ran(data_dir: Path) -> Counter[tuple[str, int]]:
    """Return how often each rule has run each record, by the audit."""
    found: Counter[tuple[str, int]] = Counter()
    with AuditReader(data_dir) as reader:
        for data in reader.records():
            body = decode_record(data).body
            if isinstance(body, ExecutionBody):
                found[body.rule, int(body.inputs[0])] += 1
    return found


def killed_in_the_stream(
    data_dir: Path, cluster: Kafka, seed: int, *options: str, dies: bool = False
) -> Counter[tuple[str, int]]:
    """Kill a node again and again while records come, one time the broker too; then let it finish."""
    rng, sent = Random(seed), 0
    for kill in range(KILLS):
        process = started(data_dir, cluster, *options)
        seen = len(ran(data_dir))
        for _ in range(EVENTS // KILLS):
            cluster.send("events", b'{"n":%d}' % sent, partition=sent % 2)
            sent += 1
        wanted = min(2 * sent, seen + rng.randrange(1, EVENTS // KILLS))
        wait_until(lambda wanted=wanted: len(ran(data_dir)) >= wanted, "the node has recorded some")  # type: ignore[misc]
        if dies and kill == KILLS // 2:
            cluster.kill()
            cluster.start()
        process.kill()
        process.wait()
    process = started(data_dir, cluster, *options)
    wait_until(lambda: len(ran(data_dir)) >= 2 * sent, "the node has recorded all", within_s=120)
    with AuditReader(data_dir) as reader:
        last_seq = reader.range[1]
    wait_until(lambda: last_seq in {seq for seq, _ in copied(cluster)}, "all records are in the topic")
    process.terminate()
    assert process.wait(60) == 0
    return ran(data_dir)


def test_each_rule_runs_each_record_once_whoever_is_killed(tmp_path: Path, cluster: Kafka) -> None:
    found = killed_in_the_stream(tmp_path / "node", cluster, seed=1, dies=True)
    assert found == {(rule, n): 1 for rule in RULES for n in range(EVENTS)}
    assert_copied(tmp_path / "node", cluster)


def copied(cluster: Kafka) -> list[tuple[int, bytes]]:
    """Return all records of the topic: seq and bytes."""
    found = cluster.records("eyeflow.audit", 100_000, idle_s=2.0)
    return [(int(headers["seq"]), value) for _, _, value, headers in found]


def assert_copied(data_dir: Path, cluster: Kafka) -> None:
    """The topic has each record that the node has, in order; a crash may let some come again."""
    with AuditReader(data_dir) as reader:
        records, public_key = list(reader.records()), reader.public_key
    here = {decode_record(data).seq: data for data in records}
    came = copied(cluster)
    assert all(here[seq] == value for seq, value in came)
    first_times = list(dict.fromkeys(seq for seq, _ in came))
    assert first_times == list(range(1, len(first_times) + 1))
    assert verify_chain([here[seq] for seq in first_times], public_key).holds
    (_, key, text, headers) = cluster.records("eyeflow.executions", 1)[0]
    shown = json.loads(text)
    assert (key, headers["kind"]) == (b"killed", b"execution")
    assert shown["rule"] in RULES and shown["inputs"] == {"n": shown["inputs"]["n"]} and shown["outcome"] == "ok"


def test_the_control_whose_store_does_not_keep_how_far_it_is_runs_records_again(tmp_path: Path, cluster: Kafka) -> None:
    found = killed_in_the_stream(tmp_path / "node", cluster, 1, "forgets")
    assert max(found.values()) > 1


def test_a_node_stops_while_the_brokers_are_away_and_copies_the_rest_later(tmp_path: Path, cluster: Kafka) -> None:
    process = started(tmp_path / "node", cluster)
    cluster.send("events", b'{"n":0}')
    wait_until(lambda: len(ran(tmp_path / "node")) == 2, "the record is run")
    cluster.kill()
    process.terminate()
    assert process.wait(60) == 0
    with AuditReader(tmp_path / "node") as reader:
        last_seq = reader.range[1]
    cluster.start()
    process = started(tmp_path / "node", cluster)
    wait_until(lambda: last_seq in {seq for seq, _ in copied(cluster)}, "what waited is copied")
    process.terminate()
    assert process.wait(60) == 0


def test_what_is_told_right_after_partitions_came_does_not_end_the_node(tmp_path: Path, cluster: Kafka) -> None:
    """confluent-kafka ends the process where a callback comes after one that has asked with the same client."""
    process = started(tmp_path / "node", cluster, "counts")
    cluster.send("events", b'{"n":0}')
    wait_until(lambda: process.poll() is not None or len(ran(tmp_path / "node")) == 2, "the record is run")
    process.terminate()
    assert process.wait(60) == 0
