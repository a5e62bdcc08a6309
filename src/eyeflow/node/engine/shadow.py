"""Whether a candidate that acts on nothing decides as the active program does, event by event.

Both see the same events, each in its own time. The decision of whoever was first waits here for the other one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from eyeflow.protocol.slot import Slot
from eyeflow.svm.program import Program, TriggerKind

WAITING_MAX = 2048
"""Decisions of one program that wait for those of the other; the oldest are not compared. Each has 1024 events."""
NEWEST_MAX = 20
"""Differences that are kept for the coordinator, for each rule; all are in the audit."""

EventId = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a program decided on an event: its actions as texts, and the number of its audit record."""

    slot: Slot
    seq: int
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unlike:
    """An event on which both decided otherwise; `time_us` is its time."""

    time_us: int
    active: Decision
    candidate: Decision


class Shadow:
    """The two programs of one rule, compared from now on."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[EventId, Decision] = OrderedDict()
        self.newest: deque[Unlike] = deque(maxlen=NEWEST_MAX)

    def compare(self, event: EventId, time_us: int, decision: Decision) -> Unlike | None:
        """Take a decision; return the difference if the other program has decided otherwise."""
        other = self._waiting.pop(event, None)
        if other is None or other.slot is decision.slot:
            self._waiting[event] = decision
            if len(self._waiting) > WAITING_MAX:
                self._waiting.popitem(last=False)
            return None
        if other.actions == decision.actions:
            return None
        active, candidate = (other, decision) if decision.slot is Slot.CANDIDATE else (decision, other)
        found = Unlike(time_us, active, candidate)
        self.newest.append(found)
        return found


def event_id(program: Program, trigger: int, number: int, time_us: int) -> EventId:
    """Return what is the same for both programs on one event: its number and place, or the timer and its time."""
    one = program.triggers[trigger]
    place = sum(
        (other.kind, other.source, other.address, other.period_us) == (one.kind, one.source, one.address, one.period_us)
        for other in program.triggers[:trigger]
    )
    if one.kind is TriggerKind.SOURCE:
        return (number, one.source, one.address, place)
    return (int(one.kind), one.address, one.period_us, place, time_us)
