"""The schema of what a node tells of itself."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import COUNT, TEXT, Shape, closed

_TOLD: Shape = {"type": ["array", "null"], "items": {"type": "string"}, "examples": [["gpio.*"]]}
FACTS = closed(
    "What the node told of itself; null when it told nothing. A list is null when it is too long to be told",
    {
        "profile": {"type": "string", "examples": ["linux"]},
        "chip": TEXT,
        "architecture": {"type": "string", "examples": ["aarch64"]},
        "memoryBytes": {**COUNT, "description": "0: unknown"},
        "abi": COUNT,
        "grants": _TOLD,
        "drivers": _TOLD,
        "sources": _TOLD,
    },
)
