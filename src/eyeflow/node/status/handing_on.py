"""How fast each destination takes the audit, and how long the rest takes at that pace."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_US = 60_000_000
"""Over so long a pace is measured."""
KEEPS_UP_S = 10.0
"""What is taken within so long is no backlog: records wait for the next page while others come in as fast."""
STEP_US = 500_000
"""What comes within so long counts as one: a burst of small pages tells no more than its last."""


@dataclass(frozen=True, slots=True)
class _Seen:
    time_us: int
    seq: int
    head_seq: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Records a second that a destination takes, and that come in meanwhile."""

    taken_per_s: float = 0.0
    grown_per_s: float = 0.0

    def left_s(self, behind: int) -> float | None:
        """Return in how many seconds it has caught up; None: never, at this pace."""
        if not behind:
            return 0.0
        if behind <= self.taken_per_s * KEEPS_UP_S:
            return behind / self.taken_per_s
        gain = self.taken_per_s - self.grown_per_s
        return behind / gain if gain > 0 else None


class HandingOn:
    """What was seen of each destination. Times are of a clock that is never set, in microseconds."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[_Seen]] = {}

    def noted(self, destination: str, now_us: int, seq: int, head_seq: int) -> None:
        """A destination holds record `seq` now, and the last one is `head_seq`."""
        seen = self._seen.setdefault(destination, deque())
        if len(seen) > 1 and now_us - seen[-2].time_us < STEP_US:
            seen.pop()
        seen.append(_Seen(now_us, seq, head_seq))
        # One from before the window stays: from it on is counted.
        while len(seen) > 1 and seen[1].time_us <= now_us - WINDOW_US:
            seen.popleft()

    def pace(self, destination: str, now_us: int, head_seq: int) -> Pace:
        """Return how fast it went during the last minute."""
        seen = self._seen.get(destination)
        if not seen or seen[-1].time_us <= now_us - WINDOW_US:
            return Pace()
        first, last = seen[0], seen[-1]
        passed_s = (now_us - max(first.time_us, now_us - WINDOW_US)) / 1e6
        if passed_s <= 0:
            return Pace()
        return Pace((last.seq - first.seq) / passed_s, (head_seq - first.head_seq) / passed_s)
