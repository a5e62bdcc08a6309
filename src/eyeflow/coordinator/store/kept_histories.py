"""What the store keeps of the audit chain of each node, and of what contradicts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from eyeflow.coordinator.histories import Finding, History


class HistoryReading(Protocol):
    """Questions about histories."""

    def history(self, node: str) -> History:
        """Return what is known of a node's audit chain."""
        ...

    def in_doubt(self) -> int:
        """Return how many nodes have a finding that blocks."""
        ...


class HistoryWriting(HistoryReading, Protocol):
    """Changes of histories, inside one step."""

    def record_histories(self, histories: Mapping[str, History], now_us: int) -> None:
        """Keep what is known of nodes' audit chains; of a node that is not in the cluster nothing is kept.

        A quarantine stays as it is.
        """
        ...

    def set_quarantine(self, node: str, finding: Finding | None, now_us: int) -> None:
        """Keep that a person set a node of the cluster aside, None: that somebody accepted it."""
        ...
