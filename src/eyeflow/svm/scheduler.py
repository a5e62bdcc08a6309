"""When timers fire, what an edge starts, and what comes first at one time: the same in a node, in `test` and in `run`.

At one time come first the timers, in the order of their handlers in the rule, then events and edges as they arrive. A
timer that is due at a time was due before anything that arrives at that time was known.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Generic, TypeVar
from zoneinfo import ZoneInfo

from eyeflow.base.record import dataclass
from eyeflow.svm.program import Program, Trigger, TriggerKind
from eyeflow.svm.schedule import next_due_us

NEVER_US = 2**62
"""The end of time: no event is later."""

K = TypeVar("K", bound=Hashable)

UtcOffset = Callable[[int], int]
"""The local time's offset from UTC, in microseconds, at a time in microseconds since 1970 UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_MAX = 253_000_000_000
"""Beyond the year 9987 the calendar of Python ends; the offset of then is as good as any."""


def utc_offset_of(zone: ZoneInfo) -> UtcOffset:
    """Return the offset of a time zone as a function of time."""
    if zone.key == "UTC":
        return lambda time_us: 0

    def offset(time_us: int) -> int:
        moment = _EPOCH + timedelta(seconds=min(time_us // 1_000_000, _SECONDS_MAX))
        delta = moment.astimezone(zone).utcoffset()
        return 0 if delta is None else delta // timedelta(microseconds=1)

    return offset


@dataclass(frozen=True, slots=True)
class Due(Generic[K]):
    """A timer that fires: the time it was due last, and how often it was due before without being looked at."""

    key: K
    trigger: int
    time_us: int
    missed: int


def order_of(trigger: Trigger, time_us: int) -> tuple[int, bool]:
    """Return the key by which executions of one rule are sorted; what has the same one keeps the order of arrival."""
    return time_us, trigger.kind is TriggerKind.SOURCE


def edge_triggers(program: Program, pin: int, *, rises: bool) -> list[int]:
    """Return the triggers that an edge of a pin starts, in the order of the rule."""
    wanted = {f"{program.pins[pin].name} {edge}" for edge in ("changes", "rises" if rises else "falls")}
    return [i for i, trigger in enumerate(program.triggers) if trigger.source == "gpio" and trigger.address in wanted]


class Timetable:
    """The timers of one program on a virtual clock that starts at `start_us`: a `Scheduler` that is never late."""

    def __init__(self, program: Program, start_us: int, zone: tzinfo) -> None:
        self._scheduler = Scheduler[str](zone)
        self._scheduler.put(program.rule, program, start_us)

    def until(self, time_us: int) -> Iterator[Due[str]]:
        """Yield the timers that come before an event of this time, each when it is due, and never again."""
        while (next_us := self._scheduler.next_us()) is not None and next_us <= time_us:
            yield from self._scheduler.due(next_us)


@dataclass(slots=True)
class _Timer:
    trigger: Trigger
    start_us: int
    due_us: int


class Scheduler(Generic[K]):
    """The timers of all running programs, under whatever key names a running program."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._timers: dict[tuple[K, int], _Timer] = {}
        self._next_us: int | None = None

    def put(self, key: K, program: Program, now_us: int, in_step_with: K | None = None) -> None:
        """Start the timers of a program, in place of those of the one that had its key.

        Those with the period of a timer of the program `in_step_with` fire together with it.
        """
        self.remove(key)
        steps = {one.trigger.period_us: one for (other, _), one in self._timers.items() if other == in_step_with}
        for index, trigger in enumerate(program.triggers):
            if trigger.kind is TriggerKind.EVERY and (step := steps.get(trigger.period_us)) is not None:
                self._timers[key, index] = _Timer(trigger, step.start_us, step.due_us)
            elif trigger.kind is not TriggerKind.SOURCE:
                self._timers[key, index] = _Timer(trigger, now_us, self._after(trigger, now_us - 1, now_us))
        self._find_next()

    def remove(self, key: K) -> None:
        """Stop the timers of a program."""
        for timer in [timer for timer in self._timers if timer[0] == key]:
            del self._timers[timer]
        self._find_next()

    def move(self, key: K, new_key: K) -> None:
        """Let the timers of a program go on under another key, in place of those of the program that had it."""
        self.remove(new_key)
        moved = {(new_key if timer[0] == key else timer[0], timer[1]): found for timer, found in self._timers.items()}
        self._timers = moved
        self._find_next()

    def swap(self, key: K, other: K) -> None:
        """Let the timers of two programs go on, each under the key of the other."""
        keys = {key: other, other: key}
        self._timers = {(keys.get(was, was), index): timer for (was, index), timer in self._timers.items()}
        self._find_next()

    def next_us(self) -> int | None:
        """Return when the next timer is due, None when there is none."""
        return self._next_us

    def due(self, now_us: int) -> Sequence[Due[K]]:
        """Return the timers that fire now, each once, earliest first."""
        if self._next_us is None or now_us < self._next_us:
            return ()
        fired = [self._fire(key, timer, now_us) for key, timer in self._timers.items() if timer.due_us <= now_us]
        self._find_next()
        return sorted(fired, key=lambda due: due.time_us)  # stable: at one time, as the handlers stand in the rule

    def _fire(self, key: tuple[K, int], timer: _Timer, now_us: int) -> Due[K]:
        missed = 0
        if timer.trigger.kind is TriggerKind.EVERY:
            missed = (now_us - timer.due_us) // timer.trigger.period_us
        due = Due(*key, timer.due_us + missed * timer.trigger.period_us, missed)
        timer.due_us = self._after(timer.trigger, now_us, timer.start_us)
        return due

    def clock_was_set(self, step_us: int, now_us: int) -> None:
        """Keep the pace of `every`; `cron` follows the calendar: it fires again for times that come again."""
        for timer in self._timers.values():
            timer.start_us += step_us
            if timer.trigger.kind is TriggerKind.EVERY:
                timer.due_us += step_us
            elif step_us < 0:
                timer.due_us = self._after(timer.trigger, now_us - 1, timer.start_us)
        self._find_next()

    def _after(self, trigger: Trigger, after_us: int, start_us: int) -> int:
        due_us = next_due_us(trigger, after_us, start_us, self._zone)
        return NEVER_US if due_us is None else due_us

    def _find_next(self) -> None:
        self._next_us = min((timer.due_us for timer in self._timers.values()), default=None)
