"""Which waiting events run in one round: critical first, and none waits for ever.

A round runs at most EVENTS_PER_ROUND events. Each of the five levels may run RESERVED of them however busy the levels
above are; the rest goes to the most urgent level that has events. Within a level, rules take turns, one event each. So
an event at the head of its rule's queue waits for at most `ceil(rules of its level / RESERVED)` rounds, whatever else
happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from eyeflow.node.engine.running import QueuedEvent, RunningRule
from eyeflow.node.run_key import RunKey
from eyeflow.svm.program import Priority

EVENTS_PER_ROUND = 256
RESERVED = 8


class Turns:
    """Picks the events of each round."""

    def __init__(self) -> None:
        self._rings: dict[Priority, deque[RunKey]] = {level: deque() for level in Priority}

    def pick(self, rules: Iterable[RunningRule]) -> list[tuple[RunningRule, QueuedEvent]]:
        """Take the events of one round out of the rules' queues, the most urgent level first."""
        levels: dict[Priority, dict[RunKey, RunningRule]] = {level: {} for level in Priority}
        for rule in rules:
            if rule.is_ready and not rule.runs_beside:
                levels[rule.program.priority][rule.key] = rule
        shares = _shares({level: sum(len(r.queue) for r in ready.values()) for level, ready in levels.items()})
        return [pair for level in Priority for pair in self._take(level, levels[level], shares[level])]

    def _take(
        self, level: Priority, ready: dict[RunKey, RunningRule], share: int
    ) -> list[tuple[RunningRule, QueuedEvent]]:
        ring = self._rings[level]
        ring.extend(sorted(ready.keys() - set(ring), key=str))
        taken: list[tuple[RunningRule, QueuedEvent]] = []
        idle = 0
        while len(taken) < share and ring and idle < len(ring):
            key = ring.popleft()
            rule = ready.get(key)
            if rule is None:
                continue
            ring.append(key)
            if rule.queue:
                taken.append((rule, rule.queue.popleft()))
                idle = 0
            else:
                idle += 1
        return taken


def _shares(waiting: dict[Priority, int]) -> dict[Priority, int]:
    """Return how many events of each level run."""
    shares = {level: min(count, RESERVED) for level, count in waiting.items()}
    left = EVENTS_PER_ROUND - sum(shares.values())
    for level in Priority:
        more = min(left, waiting[level] - shares[level])
        shares[level] += more
        left -= more
    return shares
