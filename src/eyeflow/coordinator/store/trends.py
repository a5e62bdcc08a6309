"""What the cluster and its nodes did over time, as the store keeps it: packed points, a block at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

CLUSTER = "@"
"""In the place of a node: the whole cluster. No node has such a name."""


class Span(Enum):
    """How much time one point stands for."""

    MINUTE = "minute"
    HOUR = "hour"


@dataclass(frozen=True, slots=True)
class Block:
    """Points of a node, or of the nodes of one coordinator (CLUSTER and its id), from `start_us` on, as packed."""

    node: str
    span: Span
    start_us: int
    points: bytes


class TrendReading(Protocol):
    """Questions about what was."""

    def trend(self, node: str, span: Span, since_us: int) -> list[Block]:
        """Return the blocks of a node that begin at a time or later; of CLUSTER: those of all coordinators."""
        ...


class TrendWriting(TrendReading, Protocol):
    """Changes of what is kept, inside one step."""

    def keep_trend(self, block: Block) -> None:
        """Keep a block, in place of the one that began at the same time."""
        ...

    def forget_trends(self, span: Span, before_us: int) -> None:
        """Forget the blocks that begin before a time."""
        ...
