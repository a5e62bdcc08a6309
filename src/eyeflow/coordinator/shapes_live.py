"""The schemas of narrow rows, and of what a watcher is told with them."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import COUNT, NODE_NAME, TEXT, TIME_US, Shape, array, closed, page_of, ref
from eyeflow.coordinator.shapes_boards import BOARD
from eyeflow.coordinator.shapes_rollout import LABELS, RATE

_PERCENT: Shape = {"type": ["number", "null"], "examples": [12.5]}


_BOARD_ROW = closed(
    "How a board stands; null for a node that is none",
    {name: BOARD["properties"][name] for name in ("gateway", "state", "sinceUs", "flashBytes", "flashUsedBytes")},
)


def _row_or_gone(name: str) -> Shape:
    """Return the schema of rows by name; null: it is gone."""
    return {"type": "object", "additionalProperties": {"anyOf": [ref(name), {"type": "null"}]}}


LIVE: dict[str, Shape] = {
    "NodeRow": closed(
        "A node as tables show it. `rules`, `pending` and `failing` are numbers; percents are null while unknown",
        {
            "name": NODE_NAME,
            "connected": {"type": "boolean", "examples": [True]},
            "connectedSinceUs": TIME_US,
            "lastSeenUs": TIME_US,
            "labels": LABELS,
            "drainedUs": TIME_US,
            "problem": TEXT,
            "inDoubt": {"type": "boolean", "examples": [False]},
            "executionsPerMinute": RATE,
            "errorsPerMinute": RATE,
            "manifestVersion": COUNT,
            "appliedVersion": COUNT,
            "rules": COUNT,
            "pending": COUNT,
            "refused": COUNT,
            "failingSinceUs": {
                **TIME_US,
                "description": "since when something on it fails or was refused; 0 while nothing does",
            },
            "waiting": COUNT,
            "failing": COUNT,
            "failingFirst": {**array(TEXT), "description": "the first of what fails, with the reason"},
            "processorPercent": _PERCENT,
            "memoryPercent": _PERCENT,
            "bufferRecords": {
                "type": ["integer", "null"],
                "description": "audit records that it keeps, as it told last; null while unknown",
                "examples": [1200],
            },
            "bufferPercent": {**_PERCENT, "description": "of the room for them"},
            "board": {**_BOARD_ROW, "type": ["object", "null"]},
        },
    ),
    "NodeRows": page_of(
        "Nodes as rows. `feedCursor`: `/api/changes` tells from there on what changes of them",
        "nodes",
        "NodeRow",
        {"total": {**COUNT, "description": "how many fit, on all pages together"}, "feedCursor": COUNT},
    ),
    "Rows": closed(
        "What the lists show now of what changed, by name or id; null: it is gone. The first 200 of each kind",
        {
            "nodes": _row_or_gone("NodeRow"),
            "deployments": _row_or_gone("DeploymentSummary"),
            "progress": {"type": "object", "additionalProperties": _row_or_gone("NodeProgress")},
            "alarms": _row_or_gone("Alarm"),
        },
    ),
}
