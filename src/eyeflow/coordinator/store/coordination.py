"""What several coordinators of one cluster agree on through their store: who runs, who leads, who holds which link.

A coordinator that leads carries its epoch into each step that only a leader may do (`check_lead`). The epoch grows with
each change of the leader, so that one that stood still and does not know yet that it was replaced writes nothing: a
fencing token (M. Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.store.kept_boards import BoardReading, BoardWriting


class NotLeadingError(EyeflowError):
    """Another coordinator leads by now: nothing of the step is kept."""

    def __init__(self, epoch: int, newest: int) -> None:
        super().__init__(
            "this coordinator does not lead the cluster any more",
            cause=f"it led in epoch {epoch}, and epoch {newest} has begun",
            next_step="nothing: it goes on to serve its nodes and the API",
            code="not_leading",
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a coordinator stands among the others: `leads`, and in which `session` with the database that was seen.

    `living` are the ids of the coordinators that hold a session now. A new number of `session` says that the one
    before was lost: others may have taken over meanwhile.
    """

    leads: bool
    session: int
    living: frozenset[str]


ALONE = Standing(True, 0, frozenset())
"""Of a store that serves one process."""


@dataclass(frozen=True, slots=True)
class Link:
    """Which coordinator holds a node's link. `number` tells the links apart that one coordinator held."""

    node: str
    coordinator: str
    number: int
    since_us: int


class CoordinationReading(BoardReading, Protocol):
    """Questions about coordinators and links."""

    def coordinators(self) -> list[str]:
        """Return the ids of the coordinators that registered and were not forgotten, ascending."""
        ...

    def link(self, node: str) -> Link | None:
        """Return who holds the node's link, None when it has none."""
        ...

    def links(self) -> list[Link]:
        """Return all links, ascending by node."""
        ...

    def health(self, node: str) -> list[dict[str, Any]]:
        """Return what the coordinator that holds the node's link wrote of its health, empty when it wrote nothing."""
        ...

    def lead_epoch(self) -> int:
        """Return the epoch of the present leader, 0 before the first."""
        ...


class CoordinationWriting(CoordinationReading, BoardWriting, Protocol):
    """Changes of coordinators and links, inside one step."""

    def register_coordinator(self, coordinator: str, now_us: int) -> None:
        """Keep that a coordinator runs, also when it is known."""
        ...

    def forget_coordinator(self, coordinator: str, now_us: int) -> list[str]:
        """Forget a coordinator that ended with the links that it held; returns their nodes, ascending."""
        ...

    def take_link(self, link: Link) -> None:
        """Let a coordinator hold the node's link, whoever did before; nothing for a node that is not there."""
        ...

    def drop_link(self, node: str, coordinator: str, now_us: int) -> bool:
        """Keep that the node has no link, unless another coordinator holds it; says whether this one did."""
        ...

    def take_lead(self, coordinator: str) -> int:
        """Begin a new epoch, led by this coordinator, and return it."""
        ...

    def check_lead(self, epoch: int) -> None:
        """Raise NotLeadingError unless `epoch` is the present one: before anything that only the leader may do."""
        ...
