"""The configuration of the node's own broker: one process on loopback, small, and with bounds on disk."""

from __future__ import annotations

from pathlib import Path

MB = 1024 * 1024
SEGMENT_BYTES = MB
"""The smallest that Kafka takes (KIP-1030)."""
CHECK_MS, DELETE_MS = 5_000, 1_000
INDEX_BYTES = 65_536
ROLLS_PER_AGE = 16

_ALWAYS: dict[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # One broker has one copy of everything, and nobody to wait for.
    "default.replication.factor": 1,
    "min.insync.replicas": 1,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "num.partitions": 1,
    "group.initial.rebalance.delay.ms": 0,
    # After a kill it waits for the end of its own session before it serves again: 9 s by default.
    "broker.session.timeout.ms": 2_000,
    "broker.heartbeat.interval.ms": 500,
    # What it has confirmed survives a power cut: one sync for each batch.
    "log.flush.interval.messages": 1,
    "log.segment.bytes": SEGMENT_BYTES,
    "log.index.size.max.bytes": INDEX_BYTES,
    "log.cleaner.threads": 1,
    "log.cleaner.dedupe.buffer.size": 2 * MB,
    "metadata.log.segment.bytes": 8 * MB,
    "metadata.max.retention.bytes": 8 * MB,
    # Else its own topics take 100 MB each before they are tidied.
    "offsets.topic.segment.bytes": SEGMENT_BYTES,
    "transaction.state.log.segment.bytes": SEGMENT_BYTES,
    "share.coordinator.state.topic.segment.bytes": SEGMENT_BYTES,
    # Else it writes a gigabyte a day to say that nothing happens.
    "metadata.max.idle.interval.ms": 0,
    "num.network.threads": 1,
    "num.io.threads": 2,
    "background.threads": 2,
    "num.recovery.threads.per.data.dir": 1,
    "auto.create.topics.enable": "true",
}


def properties(data: Path, port: int, kept_bytes: int, age_hours: float) -> str:
    """Return the file `server.properties`. `kept_bytes` is of one partition, until the broker is told another number.

    A segment is begun anew after a part of the age, so that the youngest record in it does not keep an old one long.
    """
    age_ms = round(age_hours * 3_600_000)
    own = {
        "controller.quorum.voters": f"1@127.0.0.1:{port + 1}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": data,
        "log.retention.bytes": kept_bytes,
        "log.retention.ms": age_ms,
        "log.roll.ms": max(age_ms // ROLLS_PER_AGE, 1000),
        "log.retention.check.interval.ms": CHECK_MS,
        "log.initial.task.delay.ms": CHECK_MS,
        "log.segment.delete.delay.ms": DELETE_MS,
    }
    return "".join(f"{key}={value}\n" for key, value in (_ALWAYS | own).items())
