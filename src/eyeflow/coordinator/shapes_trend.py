"""The schemas of what the cluster and its nodes did over time."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import COUNT, TEXT, TIME_US, Shape, array, closed, names, ref
from eyeflow.coordinator.store.trends import Span

_RATE: Shape = {"type": "number", "minimum": 0, "examples": [120.5]}
_PERCENT: Shape = {"type": ["number", "null"], "examples": [12.5]}
TREND: dict[str, Shape] = {
    "TrendPoint": closed(
        "What was in a minute or an hour, on average. `active`: nodes that were heard; percents are null while unknown",
        {
            "timeUs": {**TIME_US, "description": "when it began, in microseconds since 1970 UTC"},
            "active": COUNT,
            "executionsPerMinute": _RATE,
            "errorsPerMinute": _RATE,
            "processorPercent": _PERCENT,
            "memoryPercent": _PERCENT,
        },
    ),
    "Trend": closed(
        "Points in their order. A minute of which nothing was kept has none",
        {
            "node": {**TEXT, "description": "empty: all nodes together"},
            "span": names(Span),
            "points": array(ref("TrendPoint")),
        },
    ),
}
