"""A wrong time in a recording must not become endless work: timers fire for all the time between two events.

One row of 1970 among those of today would let a timer of 500 ms fire 3,500 million times before the next event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo

from eyeflow.base.duration import format_duration
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.svm.program import Trigger, TriggerKind
from eyeflow.svm.schedule import next_due_us

FIRINGS_MAX = 10_000_000
"""Most firings of timers between two events: those of a timer of 100 ms in eleven days, and a minute's work."""
FIRINGS_HARMLESS = FIRINGS_MAX // 100
"""A gap with fewer is not counted: its work is that of its event, half a second at most."""
_SAMPLES = 32
"""Times of a cron expression from which its pace is taken."""
_MINUTE_US = 60_000_000
_DAY_US = 86_400_000_000
_CRON_MIN_US = 1_000_000


class GapGuard:
    """Knows how much time may lie between two events of a recording. `zone` is that of `cron`.

    One gap above FIRINGS_MAX ends the replay. Gaps below it may be right, and many of them may take hours: `tell` hears
    where the time goes, each time the firings between events have doubled.
    """

    def __init__(self, triggers: Sequence[Trigger], zone: tzinfo, tell: Callable[[str], None] | None = None) -> None:
        self._timers = [one for one in triggers if one.kind is not TriggerKind.SOURCE or one.period_us > 0]
        self._zone = zone
        periods = [one.period_us or _CRON_MIN_US for one in self._timers]
        self._tell = tell
        self._silent = 0
        self._told_at = FIRINGS_MAX
        self._harmless_us = min(periods, default=0) * FIRINGS_HARMLESS // max(len(periods), 1)

    def check(self, place: str, before_us: int, time_us: int) -> None:
        """Raise EyeflowError when the timers would fire too often from one event to the next, at `place`."""
        gap_us = time_us - before_us
        if not self._timers or gap_us <= self._harmless_us:
            return
        firings = sum(self._firings(timer, before_us, gap_us) for timer in self._timers)
        self._count(place, gap_us, firings)
        if firings > FIRINGS_MAX:
            raise EyeflowError(
                f"{place} lies {gap_us // _DAY_US} days after the event before it",
                cause=f"The rule's timers would fire {firings:,} times in between; at most {FIRINGS_MAX:,} are run.",
                next_step="Correct the time in this line or in the line before it, or split the recording there.",
                code="bad_events",
                exit_code=ExitCode.PROBLEMS,
            )

    def _count(self, place: str, gap_us: int, firings: int) -> None:
        """Tell where the time goes when long gaps add up."""
        self._silent += firings
        if self._silent > self._told_at and firings <= FIRINGS_MAX and self._tell is not None:
            self._told_at = 2 * self._silent
            self._tell(
                f"{place} lies {format_duration(gap_us // _MINUTE_US * _MINUTE_US)} after the event before it; in such "
                f"gaps the rule's timers have fired {self._silent:,} times so far. Is the time in this line right?"
            )

    def _firings(self, timer: Trigger, before_us: int, gap_us: int) -> int:
        if timer.kind is not TriggerKind.CRON:
            return gap_us // timer.period_us
        last_us = before_us
        for number in range(_SAMPLES):
            due_us = next_due_us(timer, last_us, before_us, self._zone)
            if due_us is None or due_us > before_us + gap_us:
                return number
            last_us = due_us
        return _SAMPLES * gap_us // (last_us - before_us)
