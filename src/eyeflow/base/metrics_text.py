"""Numbers in the Prometheus text format, by the Prometheus client library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as MEDIA_TYPE

__all__ = ["MEDIA_TYPE", "Metric", "metrics_text"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number. All of one name have the same labels, and the text of the first."""

    name: str
    text: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def metrics_text(metrics: Iterable[Metric]) -> str:
    """Return them all as gauges. The registry is made anew each time: nothing is global, and nothing is left over."""
    registry, gauges = CollectorRegistry(), dict[str, Gauge]()
    for one in metrics:
        if one.name not in gauges:
            gauges[one.name] = Gauge(one.name, one.text, tuple(one.labels), registry=registry)
        gauge = gauges[one.name]
        (gauge.labels(**one.labels) if one.labels else gauge).set(one.value)
    return generate_latest(registry).decode()
