"""What a page that shows the cluster needs beside the names of what changed: narrow rows, and figures that never rest.

A row is what a table shows. A `Node` has the state of each of its rules; a page of many nodes would be megabytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import isnan
from typing import Any

from eyeflow.coordinator import views
from eyeflow.coordinator.alarms_api import alarm_view
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.healths import machine_use, store_use
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.lists_api import answer, asked_nodes, silent_us
from eyeflow.coordinator.rates import used_percents
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.store.facts import Change, ChangeKind
from eyeflow.coordinator.store.lists import ProgressAsked

ROWS_MAX = 200
"""Rows of one kind in one message: who lacks one reads the list again."""
FAILING_SHOWN = 3
OF_NODES = frozenset({ChangeKind.NODE, ChangeKind.LINK, ChangeKind.MANIFEST})
_KEPT = (
    "name",
    "connected",
    "connectedSinceUs",
    "lastSeenUs",
    "labels",
    "drainedUs",
    "problem",
    "inDoubt",
    "executionsPerMinute",
    "errorsPerMinute",
    "manifestVersion",
    "appliedVersion",
)
"""What a `NodeRow` has as `Node` has it."""


async def list_node_rows(hub: Hub, call: Call) -> Reply:
    """Return nodes as narrow rows, a page at a time, with the cursor of the change feed."""
    asked = asked_nodes(hub, call.query)

    def look(reading: Reading) -> dict[str, Any]:
        page = reading.node_page(asked)
        rows = [node_row(hub, facts) for facts in views.facts_of(reading, page.rows)]
        return {**answer("nodes", rows, page), "total": reading.count_nodes(asked)}

    feed_cursor = await hub.feed.newest()  # first: what changes meanwhile is told once more
    return Reply(200, {**await hub.store.read(look), "feedCursor": feed_cursor})


def node_row(hub: Hub, facts: views.NodeFacts) -> dict[str, Any]:
    """Return a `NodeRow`."""
    node = views.node_view(hub, facts)
    use = machine_use(node["health"]) if node["connected"] else {}
    failing = [one for one in node["health"] if one["state"] == "failed"]
    processor, memory = (None if isnan(one) else round(one, 1) for one in used_percents(use))
    stored = store_use(node["health"])  # also of a node that is away: as it told last
    return {name: node[name] for name in _KEPT} | {
        "rules": len(node["rules"]),
        "pending": sum(one["state"] == "pending" for one in node["rules"]),
        "refused": sum(one["state"] == "refused" for one in node["rules"]),
        "failingSinceUs": facts.node.failing_since_us,
        "waiting": sum(one["counters"].get("waiting", 0) for one in node["health"] if one["kind"] == "rule"),
        "failing": len(failing),
        "failingFirst": [f"{one['name']}: {one['detail']}" for one in failing[:FAILING_SHOWN]],
        "processorPercent": processor,
        "memoryPercent": memory,
        "bufferRecords": stored.get("buffer_records"),
        "bufferPercent": _buffer_percent(stored),
        "board": _board(node["board"]),
    }


def _buffer_percent(stored: Mapping[str, int]) -> float | None:
    size_bytes, used_bytes = stored.get("buffer_size_bytes", 0), stored.get("buffer_used_bytes", 0)
    return min(100.0, round(100 * used_bytes / size_bytes, 1)) if size_bytes > 0 else None


def _board(board: dict[str, Any] | None) -> dict[str, Any] | None:
    names = ("gateway", "state", "sinceUs", "flashBytes", "flashUsedBytes")
    return None if board is None else {name: board[name] for name in names}


async def changed_rows(hub: Hub, changes: Sequence[Change], names: Collection[str]) -> dict[str, Any]:
    """Return the rows of what changed, as lists show them now; null for what is gone.

    `names` are the nodes whose rows are asked for; empty: of all.
    """

    def look(reading: Reading) -> dict[str, Any]:
        return {
            "nodes": _node_rows(hub, reading, _subjects(changes, OF_NODES, names)),
            "deployments": {one: _deployment_row(reading, one) for one in _subjects(changes, {ChangeKind.DEPLOYMENT})},
            "progress": _progress_rows(hub, reading, changes, names),
            "alarms": {one: _alarm_row(reading, one) for one in _subjects(changes, {ChangeKind.ALARM})},
        }

    return await hub.store.read(look)


async def figures(hub: Hub, names: Sequence[str]) -> dict[str, Any]:
    """Return what changes without being told of: the sums of the cluster, and the rows of some nodes."""

    def look(reading: Reading) -> dict[str, Any]:
        sums = reading.node_sums(silent_us(hub), hub.store.own_id)
        status = views.status_view(hub, views.cluster_facts(reading), sums)
        return {"status": status, "nodes": _node_rows(hub, reading, names)}

    return await hub.store.read(look)


def _subjects(changes: Sequence[Change], kinds: Collection[ChangeKind], names: Collection[str] = ()) -> list[str]:
    found = (one.subject for one in changes if one.kind in kinds and (not names or one.subject in names))
    return list(dict.fromkeys(found))[:ROWS_MAX]


def _node_rows(hub: Hub, reading: Reading, names: Sequence[str]) -> dict[str, Any]:
    there = [node for node in map(reading.node, names) if node is not None]
    rows = {facts.node.name: node_row(hub, facts) for facts in views.facts_of(reading, there)}
    return {name: rows.get(name) for name in names}


def _deployment_row(reading: Reading, deployment_id: str) -> dict[str, Any] | None:
    found = reading.deployment(deployment_id)
    return None if found is None else views.deployment_summary(reading, found)


def _progress_rows(
    hub: Hub, reading: Reading, changes: Sequence[Change], names: Collection[str]
) -> Mapping[str, dict[str, Any]]:
    """Of each deployment by node. A deployment that is gone has none."""
    told = [one for one in changes if one.kind is ChangeKind.PROGRESS and (not names or one.node in names)][:ROWS_MAX]
    rows: dict[str, dict[str, Any]] = {}
    for deployment_id in dict.fromkeys(one.subject for one in told):
        nodes = tuple(one.node for one in told if one.subject == deployment_id)
        page = reading.progress_page(ProgressAsked(deployment_id, ROWS_MAX, names=nodes)).rows
        linked = hub.linked_of(reading, [one.node for one in page])
        rows[deployment_id] = {one["node"]: one for one in views.progress_views(reading, deployment_id, page, linked)}
    return rows


def _alarm_row(reading: Reading, number: str) -> dict[str, Any] | None:
    found = reading.alarm(int(number))
    return None if found is None else alarm_view(found)
