"""How much a node does in a minute, from the totals that it tells."""

from __future__ import annotations

from collections import deque
from math import nan

from eyeflow.protocol.messages import Status
from eyeflow.protocol.slot import Slot

WINDOW_US = 60_000_000
KEPT_MAX = 32
"""Totals of one node that are kept: a node tells its status every few seconds."""
ERRORS = frozenset({"trapped", "action_failures", "missed", "rejected"})
"""Counters of a rule that count what went wrong."""


class Rates:
    """The totals of one node over the last minute. `machine`: processor and memory in use, in percent."""

    def __init__(self) -> None:
        self.machine = nan, nan
        self._totals: deque[tuple[int, int, int]] = deque(maxlen=KEPT_MAX)

    def saw(self, status: Status, now_us: int) -> None:
        """The node told its status."""
        executions, errors = totals(status)
        self.machine = machine(status)
        # Totals fall when a rule goes or the node starts again: what came before tells nothing of this minute.
        if self._totals and (executions < self._totals[-1][1] or errors < self._totals[-1][2]):
            self._totals.clear()
        self._totals.append((now_us, executions, errors))
        while len(self._totals) > 2 and now_us - self._totals[0][0] > WINDOW_US:
            self._totals.popleft()

    def a_minute(self) -> tuple[float | None, float | None]:
        """Return executions and errors a minute, None while too little is known."""
        if len(self._totals) < 2 or self._totals[-1][0] <= self._totals[0][0]:
            return None, None
        (then_us, executions, errors), (now_us, executions_now, errors_now) = self._totals[0], self._totals[-1]
        minutes = (now_us - then_us) / 60e6
        return round((executions_now - executions) / minutes, 1), round((errors_now - errors) / minutes, 1)


def machine(status: Status) -> tuple[float, float]:
    """Return the shares of a node's processor and memory that are in use, in percent; NaN: it does not tell."""
    use = next((dict(one.counters) for one in status.health if one.slot is None and one.name == "machine"), {})
    memory_bytes = use.get("memory_bytes", 0)
    memory = 100 * use.get("memory_used_bytes", 0) / memory_bytes if memory_bytes else nan
    return use["processor_hundredths"] / 100 if "processor_hundredths" in use else nan, memory


def totals(status: Status) -> tuple[int, int]:
    """Return executions and errors of all active programs since their counters began."""
    executions = errors = 0
    for one in status.health:
        if one.slot is Slot.ACTIVE:
            counters = dict(one.counters)
            executions += counters.get("executions", 0)
            errors += sum(counters.get(name, 0) for name in ERRORS)
    return executions, errors
