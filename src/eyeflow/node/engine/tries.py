"""How often in a row the node ended while the driver of an unfinished action had been told of it and had not answered.

Such an action may be what ends the node, whatever its driver is. Each start would begin it again, for ever: after
ENDS_MAX such ends it is given up. What waits for its driver has not been told, and counts nothing: a node may be
started as often as one likes while its broker is away. Nor does a stop in good order count, or an answer of the driver,
also one that says no: the counts begin again.
"""

from __future__ import annotations

from collections.abc import Callable

from eyeflow.node.store.types import Tried

ENDS_MAX = 5
"""An action under which the node ended so often in a row is not begun again."""


def why_given_up(ends: int) -> str:
    """Return the reason in the record of an action that is given up."""
    return f"the node ended {ends} times in a row while this action was under way"


class Tries:
    """The counts that the next batch is to keep, and who waits for that before a driver is told."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], int] = {}
        self._waiting: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        """Whether there is something to keep."""
        return bool(self._counts)

    def put(self, seq: int, index: int, ends: int, then: Callable[[], None] | None = None) -> None:
        """Keep the count of an action; `then` is called once it is durable."""
        self._counts[seq, index] = ends
        if then is not None:
            self._waiting.append(then)

    def take(self) -> tuple[list[Tried], list[Callable[[], None]]]:
        """Return what a batch is to keep, and who is to be told when it is."""
        counts, self._counts = self._counts, {}
        waiting, self._waiting = self._waiting, []
        return [Tried(*place, ends) for place, ends in counts.items()], waiting
