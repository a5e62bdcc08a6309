"""`/api/trend`: what the cluster, and what one node did over the last day and the last month."""

from __future__ import annotations

from math import isnan
from typing import Any

from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.choosing import found_node
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.lists_api import since
from eyeflow.coordinator.queries import Param
from eyeflow.coordinator.shape_words import names
from eyeflow.coordinator.store.trends import CLUSTER, Span
from eyeflow.coordinator.trends import BLOCK_US, Point, trend

TREND_QUERY = (
    Param("span", {**names(Span), "default": "minute"}, "minutes of the last day, or hours of the last month"),
    since("points"),
)


async def get_trend(hub: Hub, call: Call) -> Reply:
    """Return what all nodes did together, by minutes of the last day or by hours of the last month."""
    return await _trend(hub, call, CLUSTER)


async def get_node_trend(hub: Hub, call: Call) -> Reply:
    """Return what one node did, by minutes of the last day or by hours of the last month."""
    node = call.path["id"]
    await hub.store.read(lambda reading: found_node(reading, node))
    return await _trend(hub, call, node)


async def _trend(hub: Hub, call: Call, node: str) -> Reply:
    span, since_us = Span(call.query.get("span", Span.MINUTE.value)), call.query.get("sinceUs", 0)
    recent, until_us = hub.trends.recent(node, span), hub.trends.settled_us(node, hub.clock())
    blocks = await hub.store.read(lambda reading: reading.trend(node, span, since_us - BLOCK_US[span]))
    shown = [_view(at_us, point) for at_us, point in trend(blocks, recent) if since_us <= at_us <= until_us]
    return Reply(200, {"node": "" if node == CLUSTER else node, "span": span.value, "points": shown})


def _view(at_us: int, point: Point) -> dict[str, Any]:
    return {
        "timeUs": at_us,
        "active": point.active,
        "executionsPerMinute": round(point.executions, 1),
        "errorsPerMinute": round(point.errors, 1),
        "processorPercent": None if isnan(point.processor) else round(point.processor, 1),
        "memoryPercent": None if isnan(point.memory) else round(point.memory, 1),
    }
