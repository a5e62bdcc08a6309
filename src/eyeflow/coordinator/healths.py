"""What a node tells of its health, as plain JSON-able objects: the API shows them, and other coordinators read them."""

from __future__ import annotations

from typing import Any

from eyeflow.protocol.messages import Status


def health_list(status: Status) -> list[dict[str, Any]]:
    """Return the health of a node as the list `health` of `Node`."""
    return [
        {
            "kind": one.kind.value,
            "name": one.name,
            "slot": one.slot.value if one.slot is not None else "",
            "state": one.state.value,
            "detail": one.detail,
            "programId": one.program_id,
            "counters": dict(one.counters),
        }
        for one in status.health
    ]


def machine_use(health: list[dict[str, Any]]) -> dict[str, int]:
    """Return what a node tells of its machine; empty when it tells nothing."""
    return _counters(health, "machine")


def store_use(health: list[dict[str, Any]]) -> dict[str, int]:
    """Return what a node tells of its store and the buffer in it; empty when it tells nothing."""
    return _counters(health, "store")


def _counters(health: list[dict[str, Any]], port: str) -> dict[str, int]:
    return next((one["counters"] for one in health if (one["kind"], one["name"]) == ("port", port)), {})


def standing(health: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a health without its counters: what changes only when something happens."""
    return [{key: value for key, value in one.items() if key != "counters"} for one in health]
