"""Runs a program on recorded events: `eyeflow run`. Time is the events' own; nothing of it reaches the world."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from eyeflow.base.names import camel_case
from eyeflow.node.io.ports import Driver
from eyeflow.node.replay.event_files import UNREADABLE, EventRows
from eyeflow.node.replay.gaps import GapGuard
from eyeflow.node.replay.reads import Answers, ReadMapping
from eyeflow.node.replay.streams import STREAM_COLUMN, Streams
from eyeflow.svm.arguments import readable_arguments
from eyeflow.svm.execution import Execution, Outcome
from eyeflow.svm.instance import Instance
from eyeflow.svm.opcodes import Trap
from eyeflow.svm.program import Program, SiteKind, TriggerKind, Value
from eyeflow.svm.scheduler import Timetable, edge_triggers
from eyeflow.svm.schema import RejectedEvent
from eyeflow.svm.source_map import line_of, site_lines
from eyeflow.svm.verify import Verified

EXAMPLES_MAX = 5
"""Rejected events that a summary shows with line and reason; all are counted."""
REASONS_MAX = 100
"""Different reasons that are counted apart; the rest are counted together."""
PAUSE_MIN_S = 0.001
QUARTER_S = 900


class Repeats(Enum):
    """What becomes of an action that repeats the level a resource already has (`gpio.set_pin(RELAY, LOW)` again)."""

    LEAVE_OUT = "leave out"
    SHOW = "show"


class ActionRecord(NamedTuple):
    """One action, or emitted event (`is_event`). `event` counts the rows read so far, `execution` the executions, both
    from 1; `line` is the place in the rule (0: not known); pins and enums in `arguments` are names."""

    time_us: int
    event: int
    rule: str
    action: str
    arguments: dict[str, Value]
    line: int
    execution: int
    is_event: bool


@dataclass(frozen=True, slots=True)
class RejectedExample:
    """One rejected event: its line in the recording and the reason; `file` is the recording."""

    line: int
    reason: str
    file: str = ""


@dataclass(slots=True)
class Summary:
    """What a replay did. Times are microseconds since 1970 UTC; `repeated` counts actions left out as repetitions."""

    events: int = 0
    executions: int = 0
    actions: int = 0
    emits: int = 0
    repeated: int = 0
    skipped: int = 0
    out_of_order: int = 0
    first_us: int = 0
    last_us: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rejected_examples: list[RejectedExample] = field(default_factory=list)
    traps: dict[tuple[str, int], int] = field(default_factory=dict)
    failed_reads: dict[str, int] = field(default_factory=dict)

    @property
    def rejected_count(self) -> int:
        """All rejected events."""
        return sum(self.rejected.values())

    @property
    def duration_us(self) -> int:
        """From the first event of the recording to the last."""
        return self.last_us - self.first_us

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON data."""
        plain = ("events", "executions", "actions", "emits", "repeated", "skipped", "out_of_order", "duration_us")
        return {camel_case(name): getattr(self, name) for name in plain} | {
            "rejected": self.rejected_count,
            "rejectedByReason": self.rejected,
            "rejectedExamples": [
                {"file": example.file, "line": example.line, "reason": example.reason}
                for example in self.rejected_examples
            ],
            "traps": [{"trap": trap, "line": line, "count": count} for (trap, line), count in self.traps.items()],
            "failedReads": self.failed_reads,
        }


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """`speed` 0 is as fast as possible, 1.0 as recorded, 60.0 a minute in a second.

    `trigger` is the binding (`as NAME`) that gets all rows, `stream` the column that names the handler of each.
    `reads` are the `--read` mappings, `zone` gives the local time of `cron`, `time_of_day` and `weekday`.
    """

    reads: Sequence[ReadMapping] = ()
    params: Mapping[str, Value] = field(default_factory=dict)
    trigger: str = ""
    stream: str = STREAM_COLUMN
    speed: float = 0.0
    zone: tzinfo = UTC
    repeats: Repeats = Repeats.LEAVE_OUT


class Replay:
    """One replay: iterate `run()` to the end (or stop early); `summary` is right at every moment.

    `tell` hears what makes a replay long. Raises EyeflowError when the recording lacks a column, a read has no answer,
    or no handler fits.
    """

    def __init__(
        self,
        verified: Verified,
        events: EventRows,
        options: ReplayOptions | None = None,
        drivers: Mapping[str, Driver] | None = None,
        pause: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._options = options or ReplayOptions()
        self._program: Program = verified.program
        self._events = events
        self._pause = pause
        self._tell = tell
        try:
            self._instance = Instance(verified, self._options.params)
            self._answers = Answers(self._program, events, self._options.reads, drivers or {})
            self._streams = Streams(self._program, events, self._options.trigger, self._options.stream)
        except BaseException:
            events.close()
            raise
        self._lines = site_lines(self._program)
        self._levels: dict[tuple[str, Value], tuple[Value, ...]] = {}
        self._has_timers = any(trigger.kind is not TriggerKind.SOURCE for trigger in self._program.triggers)
        self._timetable = Timetable(self._program, 0, self._options.zone)
        self._start_us = 0
        self._offset_us = offset_of(self._options.zone)
        self.summary = Summary(failed_reads=self._answers.failed)

    def run(self) -> Iterator[ActionRecord]:
        """Run all events in order and give each action as it comes; closes the events at the end, or when stopped."""
        try:
            yield from self._run()
        finally:
            self._events.close()

    def _run(self) -> Iterator[ActionRecord]:
        summary, answers, step = self.summary, self._answers, self._instance.step
        calls_of, gaps = self._streams.calls, GapGuard(self._program.triggers, self._options.zone, self._tell)
        offset_us, has_reads, paced = self._offset_us, answers.has_columns, self._options.speed > 0
        timers, last_us = self._has_timers, -1
        for line, time_us, row, number in self._streams.rows:
            if time_us == UNREADABLE:
                summary.events += 1
                self._reject(line, number, row, row)
                continue
            if time_us < last_us:
                summary.out_of_order += 1
                time_us = last_us
            elif last_us < 0:
                self._begin(time_us)
            else:
                gaps.check(f"line {line} of {self._events.files[number]}", last_us, time_us)
            last_us = summary.last_us = time_us
            if paced:
                self._pace(time_us)
            if timers:
                yield from self._fire_timers(time_us - 1)
            summary.events += 1
            try:
                if has_reads:
                    answers.update(row)
                calls = calls_of(row, number)
            except RejectedEvent as error:
                self._reject(line, number, f"field `{error.path}`: expected {error.expected}", error.reason)
                continue
            if timers:
                yield from self._fire_timers(time_us)  # these come before the event, and read what the row says
            if has_reads and answers.changed_pins:
                yield from self._fire_edges(time_us)
            for trigger, inputs in calls:
                execution = step(trigger, inputs, time_us, offset_us(time_us), answers)
                summary.executions += 1
                if execution.actions or execution.outcome:
                    yield from self._report(execution, time_us)
        if timers and last_us >= 0:
            yield from self._fire_timers(last_us)  # those of a last row that was rejected

    # --- time ---

    def _begin(self, time_us: int) -> None:
        self._start_us = self.summary.first_us = time_us
        self._began_s = time.monotonic()
        self._timetable = Timetable(self._program, time_us, self._options.zone)

    def _fire_timers(self, until_us: int) -> Iterator[ActionRecord]:
        for due in self._timetable.until(until_us):
            yield from self._execute(due.trigger, due.time_us)

    def _fire_edges(self, time_us: int) -> Iterator[ActionRecord]:
        for pin, level in self._answers.changed_pins:
            for trigger in edge_triggers(self._program, pin, rises=bool(level)):
                yield from self._execute(trigger, time_us)

    def _pace(self, time_us: int) -> None:
        wait_s = self._began_s + (time_us - self._start_us) / 1e6 / self._options.speed - time.monotonic()
        if wait_s > PAUSE_MIN_S:
            self._pause(wait_s)

    # --- results ---

    def _execute(self, trigger: int, time_us: int) -> Iterator[ActionRecord]:
        execution = self._instance.step(trigger, (), time_us, self._offset_us(time_us), self._answers)
        self.summary.executions += 1
        if execution.actions or execution.outcome:
            yield from self._report(execution, time_us)

    def _report(self, execution: Execution, time_us: int) -> Iterator[ActionRecord]:
        summary, sites = self.summary, self._program.sites
        if execution.outcome is Outcome.SKIPPED:
            summary.skipped += 1
        elif execution.trap is not None:
            key = (Trap(execution.trap.code).name, line_of(self._program, execution.trap.pc))
            summary.traps[key] = summary.traps.get(key, 0) + 1
        for index, args in execution.actions:
            site = sites[index]
            is_event = site.kind is SiteKind.EMIT
            if site.level and self._is_repeated(site.resource, args):
                summary.repeated += 1
                continue
            summary.emits += is_event
            summary.actions += not is_event
            arguments = readable_arguments(site, args, self._program.pins)
            yield ActionRecord(
                time_us,
                summary.events,
                self._program.rule,
                site.capability,
                arguments,
                self._lines[index],
                summary.executions,
                is_event,
            )

    def _is_repeated(self, resource: str, args: tuple[Value, ...]) -> bool:
        """Say whether a level is commanded again; the first argument names the resource, the rest is its level."""
        key = (resource, args[0] if args else "")
        if self._options.repeats is Repeats.LEAVE_OUT and self._levels.get(key) == args:
            return True
        self._levels[key] = args
        return False

    def _reject(self, line: int, number: int, group: str, reason: str) -> None:
        rejected = self.summary.rejected
        if group not in rejected and len(rejected) >= REASONS_MAX:
            group = "other reasons"
        rejected[group] = rejected.get(group, 0) + 1
        if len(self.summary.rejected_examples) < EXAMPLES_MAX:
            self.summary.rejected_examples.append(RejectedExample(line, reason, self._events.files[number]))


def offset_of(zone: tzinfo) -> Callable[[int], int]:
    """Return a function from a time to the offset from UTC in microseconds; clocks change on a quarter of an hour."""
    if zone is UTC:
        return lambda _time_us: 0

    @lru_cache(maxsize=16)
    def of_quarter(quarter: int) -> int:
        offset = datetime.fromtimestamp(quarter * QUARTER_S, zone).utcoffset()
        return 0 if offset is None else offset // timedelta(microseconds=1)

    return lambda time_us: of_quarter(time_us // (QUARTER_S * 1_000_000))
