"""The configuration of the node's own broker: one process on loopback, small, and with bounds on disk."""

from __future__ import annotations

from pathlib import Path

MB = 1024 * 1024
SEGMENT_BYTES = MB
"""The smallest that Kafka takes (KIP-1030)."""
CHECK_MS, DELETE_MS = 5_000, 1_000
INDEX_BYTES = 65_536


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
    "metadata.max.retention.bytes": 16 * MB,
    # Else it writes a gigabyte a day to say that nothing happens.
    "metadata.max.idle.interval.ms": 0,
    "num.network.threads": 1,
    "num.io.threads": 2,
    "background.threads": 2,
    "num.recovery.threads.per.data.dir": 1,
    "auto.create.topics.enable": "true",
}


def properties(data: Path, port: int, topic_size_mb: int, topic_age_hours: int) -> str:
    """Return the file `server.properties`.

    Of a partition there is on disk at most what is kept, a segment, what comes in while old segments are found and
    deleted (6 s), and two indices: the bound is that of Kafka's log retention, and not a hard one.
    """
    own = {
        "controller.quorum.voters": f"1@127.0.0.1:{port + 1}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": data,
        "log.retention.bytes": topic_size_mb * MB,
        "log.retention.hours": topic_age_hours,
        "log.retention.check.interval.ms": CHECK_MS,
        "log.initial.task.delay.ms": CHECK_MS,
        "log.segment.delete.delay.ms": DELETE_MS,
    }
    return "".join(f"{key}={value}\n" for key, value in (_ALWAYS | own).items())


def bound_bytes(topic_size_mb: int, bytes_per_s: float) -> int:
    """Return what one partition may take on disk while `bytes_per_s` come in."""
    late = bytes_per_s * (CHECK_MS + DELETE_MS) / 1000
    return round(topic_size_mb * MB + SEGMENT_BYTES + late + 2 * INDEX_BYTES)
