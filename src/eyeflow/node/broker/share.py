"""The broker's share of the node's buffer: what it may keep of each partition, so that all of them stay within it.

Kafka's own rule bounds a partition, and not the disk. It deletes whole segments, and looks every few seconds. So of
each partition there are on disk at most the bytes that it shall keep, one segment, two indices, and what comes in
until it has looked and deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eyeflow.node.broker.properties import CHECK_MS, DELETE_MS, INDEX_BYTES, MB, SEGMENT_BYTES

METADATA_BYTES = 16 * MB
"""For what the broker writes of itself: the log of its metadata, and files of a few bytes."""
OVERHEAD_BYTES = SEGMENT_BYTES + 2 * INDEX_BYTES
"""What a partition takes beside what it keeps."""
KEPT_BYTES_MIN = 64 * 1024
"""The segment that is written to stays in any case."""


@dataclass(frozen=True, slots=True)
class Share:
    """What the broker may take on disk, and how old a record may be."""

    size_bytes: int = 256 * MB
    age_hours: float = 72.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the broker takes on disk, in bytes of allocated blocks, and in how many partitions."""

    size_bytes: int
    partitions: int


def usage_of(data: Path) -> Usage:
    """Look through the folder of a broker. What it deletes meanwhile counts as gone."""
    folders = [path for path in _in(data) if path.is_dir()]
    size_bytes = sum(_block_bytes(path) for folder in (data, *folders) for path in _in(folder))
    return Usage(size_bytes, sum(not path.name.startswith("__cluster_metadata") for path in folders))


def _in(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _block_bytes(path: Path) -> int:
    """Return what a file takes; a folder counts as nothing."""
    try:
        return path.lstat().st_blocks * 512 if not path.is_dir() else 0
    except OSError:
        return 0


def kept_bytes(share_bytes: int, partitions: int, topic_bytes_max: int) -> int:
    """Return what is to be kept of each partition, so that all stay within the share."""
    each = (share_bytes - METADATA_BYTES) // max(partitions, 1) - OVERHEAD_BYTES
    return max(KEPT_BYTES_MIN, min(each, topic_bytes_max))


def late_bytes(bytes_per_s: float) -> int:
    """Return what comes in until Kafka has looked and deleted, which its bound does not hold."""
    return round(bytes_per_s * (CHECK_MS + DELETE_MS) / 1000)
