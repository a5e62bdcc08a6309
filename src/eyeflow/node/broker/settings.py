"""The settings of the node's own broker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from eyeflow.node.config.settings import PORT_MAX, Section, integer, path, text

HEAP_MB_MIN, HEAP_MB_MAX = 40, 65_536
"""Apache Kafka 4.4 ends at its start with less than 32 MB."""
TOPIC_MB_MIN, TOPIC_MB_MAX = 2, 1_048_576


@dataclass(frozen=True, slots=True)
class EmbeddedSection(Section):
    """The section `[kafka_embedded]`."""

    SECTION: ClassVar[str] = "kafka_embedded"

    home: Path | None = path(
        "Where `eyeflow node kafka-setup` put Kafka; without it `kafka/home` in the node's data_dir."
    )
    java: str = text("java", "The Java that runs it, 17 or newer.")
    heap_mb: int = integer(64, HEAP_MB_MIN, HEAP_MB_MAX, "Memory of its heap; all of it takes about 100 MB more.")
    port: int = integer(9092, 1, PORT_MAX - 1, "Its port on 127.0.0.1; the next one is for itself.")
    topic_size_mb: int = integer(
        32, TOPIC_MB_MIN, TOPIC_MB_MAX, "What it keeps of each partition of a topic; less where it has no room."
    )
    topic_age_hours: int = integer(72, 1, 24 * 3650, "How long it keeps a record, unless max_buffer_age_hours is less.")
