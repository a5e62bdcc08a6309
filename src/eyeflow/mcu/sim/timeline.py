"""Virtual time: counted in core cycles, one per instruction, so that equal firmware and inputs make equal runs."""

from __future__ import annotations

import heapq
from collections.abc import Callable

NEVER = 1 << 62
"""A cycle that no run reaches."""

Action = Callable[[], None]


class Alarm:
    """One planned action of a peripheral; planning it again or stopping it forgets the older plan."""

    __slots__ = ("_action", "_timeline", "cycle")

    def __init__(self, timeline: Timeline, action: Action) -> None:
        self._timeline = timeline
        self._action = action
        self.cycle = NEVER

    def set(self, cycle: int) -> None:
        """Plan the action for a cycle; one that has passed counts as now."""
        self.cycle = max(cycle, self._timeline.cycles)
        self._timeline.push(self)

    def stop(self) -> None:
        """Forget the plan."""
        self.cycle = NEVER

    def fire(self) -> None:
        """Do the action now."""
        self.cycle = NEVER
        self._action()


class Timeline:
    """The present cycle, the core's clock, and the planned actions in their order."""

    def __init__(self, clock_hz: int) -> None:
        self.cycles = 0
        self.clock_hz = clock_hz
        self.deadline = NEVER
        self._base_ns = 0
        self._base_cycles = 0
        self._queue: list[tuple[int, int, Alarm]] = []
        self._order = 0

    def alarm(self, action: Action) -> Alarm:
        """Return an alarm for an action, not yet planned."""
        return Alarm(self, action)

    def push(self, alarm: Alarm) -> None:
        """Queue an alarm at its cycle; equal cycles keep the order in which they were planned."""
        self._order += 1
        heapq.heappush(self._queue, (alarm.cycle, self._order, alarm))
        self.deadline = self._queue[0][0]

    def run_due(self) -> None:
        """Do every action whose cycle has come."""
        while self._queue and self._queue[0][0] <= self.cycles:
            cycle, _, alarm = heapq.heappop(self._queue)
            if alarm.cycle == cycle:
                alarm.fire()
        self._drop_forgotten()

    def _drop_forgotten(self) -> None:
        while self._queue and self._queue[0][2].cycle != self._queue[0][0]:
            heapq.heappop(self._queue)
        self.deadline = self._queue[0][0] if self._queue else NEVER

    def forget_all(self) -> None:
        """Forget every plan, as a reset does."""
        for _, _, alarm in self._queue:
            alarm.stop()
        self._queue.clear()
        self.deadline = NEVER

    def set_clock(self, clock_hz: int) -> None:
        """Go on with another core clock; time that has passed stays as it was."""
        self._base_ns = self.time_ns
        self._base_cycles = self.cycles
        self.clock_hz = clock_hz

    @property
    def time_ns(self) -> int:
        """Virtual nanoseconds since the simulator started."""
        return self._base_ns + (self.cycles - self._base_cycles) * 1_000_000_000 // self.clock_hz

    @property
    def time_us(self) -> int:
        """Virtual microseconds since the simulator started."""
        return self.time_ns // 1000

    def cycle_at_us(self, time_us: int) -> int:
        """Return the first cycle at or after a virtual time, at the present clock."""
        ahead_ns = time_us * 1000 - self._base_ns
        return self._base_cycles - (-ahead_ns * self.clock_hz // 1_000_000_000)

    def cycles_of_ns(self, duration_ns: int) -> int:
        """Return the cycles of a duration, rounded up."""
        return -(-duration_ns * self.clock_hz // 1_000_000_000)
