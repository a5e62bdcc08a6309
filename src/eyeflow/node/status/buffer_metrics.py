"""The buffer of a node as metrics, from what `eyeflow buffer status --json` tells of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eyeflow.base.metrics_text import Metric

Json = Mapping[str, Any]
_WHOLE: dict[str, tuple[str, str, float]] = {
    "running": ("node_running", "1 while the node runs", 1),
    "records": ("buffer_records", "Audit records in the buffer", 1),
    "lastSeq": ("buffer_last_seq", "Number of the last record", 1),
    "sizeBytes": ("buffer_size_bytes", "Bytes of all files of the store on disk", 1),
    "sizeBytesSet": (
        "buffer_size_bytes_max",
        "The bound of the store, from max_buffer_size_mb",
        1,
    ),
    "brokerBytes": ("buffer_broker_bytes", "Bytes of the node's own broker on disk", 1),
    "oldestAgeUs": ("buffer_oldest_age_seconds", "Age of the oldest record", 1e-6),
    "ageUsMax": ("buffer_age_seconds_max", "The setting max_buffer_age_hours", 1e-6),
    "lost": ("buffer_lost_records", "Records of this epoch that were dropped and nobody holds", 1),
    "actionsWaiting": ("node_actions_waiting", "Executions whose actions have not ended", 1),
}
_OF_DESTINATION = {
    "seq": ("buffer_destination_seq", "The last record that a destination holds"),
    "behind": ("buffer_destination_behind", "Records that wait for a destination"),
    "missed": ("buffer_destination_missed", "Records that were dropped before a destination had them"),
    "recordsPerS": ("buffer_destination_records_per_second", "Records a second that a destination took in a minute"),
    "leftS": ("buffer_destination_left_seconds", "Until a destination has caught up, at this pace"),
}


def buffer_metrics(found: Json) -> Iterator[Metric]:
    """Yield what is known. What is not, as the pace of a destination while the node does not run, is left out."""
    node = {"node": str(found["node"])}
    for name, (metric, text, unit) in _WHOLE.items():
        if found.get(name) is not None:
            yield Metric(f"eyeflow_{metric}", text, found[name] * unit, node)
    for reason, count in found["dropped"].items():
        text = "Records of this epoch that were dropped, by reason"
        yield Metric("eyeflow_buffer_dropped_records", text, count, node | {"reason": reason})
    for one in found["destinations"]:
        for name, (metric, text) in _OF_DESTINATION.items():
            if one[name] is not None:
                yield Metric(f"eyeflow_{metric}", text, one[name], node | {"destination": one["name"]})
