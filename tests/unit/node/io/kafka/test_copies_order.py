"""Copies in a real Kafka stand in the order of the audit, also where brokers refuse the time of a record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from components.kafka import Kafka, kafka
from components.waiting import running, until
from eyeflow.base.clock import wall_clock_us
from eyeflow.node.io.kafka.copies import AUDIT, AuditCopies
from eyeflow.node.io.kafka.library import security_of
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.protocol.audit import ZERO_HASH, Record, decode_record, encode_record, record_hash
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.identity import Identity

RECORDS, AHEAD, BATCH = 60, range(20, 23), 5
DAY_US = 86_400_000_000


class Chain:
    """Satisfies `Audit`: records of which some were written while the clock was ten years ahead."""

    def __init__(self) -> None:
        self.kept = KeptHead(1)
        self.records: list[bytes] = []
        head, now_us = ZERO_HASH, wall_clock_us()  # Kafka deletes what is days old
        for seq in range(1, RECORDS + 1):
            time_us = now_us + (3650 * DAY_US if seq in AHEAD else 0) + seq
            body = ExecutionBody("r", bytes(32), 0, time_us, 0, 1, inputs=(seq,))
            data = encode_record(Record("n", 1, seq, head, time_us, body), Identity(bytes(range(32))))
            self.records.append(data)
            head = record_hash(data)

    async def after(self, kept: KeptHead) -> Sequence[bytes]:
        self.kept = kept
        if kept.seq == RECORDS:
            await asyncio.get_running_loop().create_future()
        return self.records[kept.seq :]

    async def program(self, program_id: bytes) -> None:
        """It is forgotten."""

    def show(self, state: str, detail: str) -> None:
        """Nobody looks."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


async def until_copied(copies: AuditCopies, chain: Chain) -> None:
    async with running(copies.run(chain.kept)) as task:
        await until(lambda: task.done() or chain.kept.seq == RECORDS)
        assert not task.done()


def copied(cluster: Kafka, node: str, **settings: Any) -> list[int]:
    """Copy a chain under this name; return the seqs in the topic, in their order."""
    chain = Chain()
    config = KafkaConfig.from_table({"bootstrap_servers": cluster.servers})
    copies = AuditCopies(security_of(config, node), cluster.servers, node, chain)
    copies._settings |= {"batch.num.messages": BATCH, **settings}
    asyncio.run(until_copied(copies, chain))
    consumer = cluster.consumer("ends")
    _, count = consumer.get_watermark_offsets(TopicPartition(AUDIT, 0), timeout=30)
    consumer.close()
    came = cluster.records(AUDIT, count)
    return [decode_record(value).seq for _, key, value, _ in came if key == node.encode()]


def test_what_comes_behind_a_refused_record_waits_for_it(cluster: Kafka) -> None:
    found = copied(cluster, "ordered")
    assert list(dict.fromkeys(found)) == list(range(1, RECORDS + 1))
    assert len(found) > RECORDS, "a broker refused some, and they came again"


def test_control_a_producer_that_leaves_gaps_lets_later_records_go_first(
    cluster: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends the rest before anybody hears of the refusal, as on a slow machine."""
    real = AuditCopies._confirmed

    async def confirmed(self: AuditCopies, producer: Any, failed: Any) -> None:
        await asyncio.to_thread(producer.flush)
        await real(self, producer, failed)

    monkeypatch.setattr(AuditCopies, "_confirmed", confirmed)
    found = copied(cluster, "gaps", **{"enable.gapless.guarantee": False})
    assert sorted(set(found)) == list(range(1, RECORDS + 1))
    assert list(dict.fromkeys(found)) != list(range(1, RECORDS + 1))
