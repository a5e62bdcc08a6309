"""How much a node does in a minute, from the totals that it tells."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import nan

from eyeflow.protocol.messages import Health, Status
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
    return used_percents(next((dict(one.counters) for one in status.health if _is_machine(one)), {}))


def _is_machine(one: Health) -> bool:
    return (one.slot, one.name) == (None, "machine")


def used_percents(use: Mapping[str, int]) -> tuple[float, float]:
    """Return the shares of processor and memory from the counters of a machine; NaN: it does not tell.

    A node may tell any numbers: more than all of a machine is all of it.
    """
    processor = use["processor_hundredths"] / 100 if "processor_hundredths" in use else nan
    memory = 100 * use["memory_used_bytes"] / use["memory_bytes"] if _tells_memory(use) else nan
    return min(processor, 100.0), min(memory, 100.0)


def _tells_memory(use: Mapping[str, int]) -> bool:
    return "memory_used_bytes" in use and use.get("memory_bytes", 0) > 0


def totals(status: Status) -> tuple[int, int]:
    """Return executions and errors of all active programs since their counters began."""
    executions = errors = 0
    for one in status.health:
        if one.slot is Slot.ACTIVE:
            counters = dict(one.counters)
            executions += counters.get("executions", 0)
            errors += sum(counters.get(name, 0) for name in ERRORS)
    return executions, errors
