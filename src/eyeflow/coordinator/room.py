"""Bounds of what the coordinator keeps."""

from __future__ import annotations

from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.store.facts import Kept


def check_room(reading: Reading, kept: Kept, count_max: int) -> None:
    """Raise Problem `limit_reached` when the store holds `count_max` of these."""
    if reading.count(kept) >= count_max:
        raise Problem("limit_reached", f"The coordinator keeps {count_max} {kept.value} at most.", "remove some first")
