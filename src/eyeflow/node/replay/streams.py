"""Which handlers a recorded event belongs to, and how several recordings become one in the order of time.

A row goes to the handlers that its file is for (`--events reading=light.csv`), or that its column `stream` names, or to
the one handler that can take it. A handler is named by its event (`as reading`), or by its address; an MQTT topic names
the handlers whose filters it fits, as a broker would.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.node.io.mqtt.topics import matches
from eyeflow.node.replay.event_files import UNREADABLE, EventRows, Row, RowFormat, refuse, require_columns
from eyeflow.svm.program import Program, Trigger, TriggerKind, Value
from eyeflow.svm.schema import PayloadDecoder, RejectedEvent

STREAM_COLUMN = "stream"

Call = tuple[int, tuple[Value, ...]]
"""A trigger and its inputs."""


def merge_events(recordings: Sequence[EventRows]) -> EventRows:
    """Return several recordings as one, by time; of equal times the recording named first comes first.

    Raises EyeflowError when some are CSV and others JSON lines.
    """
    first = recordings[0]
    if len(recordings) == 1:
        return first
    other = next((one for one in recordings if one.format is not first.format), None)
    if other is not None:
        cause = f"{first.name} is {first.format.value}, {other.name} is {other.format.value}."
        refuse("the recordings are of two formats", cause, "Give all as CSV, or all as JSON lines.")
    rows = heapq.merge(*(_timed(one.rows, number) for number, one in enumerate(recordings)), key=itemgetter(0))
    return EventRows(
        ", ".join(one.name for one in recordings),
        first.format,
        tuple(dict.fromkeys(column for one in recordings for column in one.columns)),
        (row for _time_us, row in rows),
        lambda: _close_all(recordings),
        tuple(one.name for one in recordings),
        tuple(one.streams[0] for one in recordings),
    )


def _close_all(recordings: Sequence[EventRows]) -> None:
    for one in recordings:
        one.close()


def _timed(rows: Iterator[Row], number: int) -> Iterator[tuple[int, Row]]:
    """Give each row the time by which it is merged: one that is older than those before it keeps its place."""
    latest_us = 0
    for line, time_us, row, _number in rows:
        latest_us = max(latest_us, time_us)
        yield latest_us, (line, time_us, row, number)


class Streams:
    """Turns the rows of a recording into calls of a program's handlers.

    `trigger` names the one handler for all rows, `column` the column that names it for each.
    """

    def __init__(self, program: Program, events: EventRows, trigger: str = "", column: str = STREAM_COLUMN) -> None:
        self._program = program
        self._handlers = {
            index: one
            for index, one in enumerate(program.triggers)
            if one.kind is TriggerKind.SOURCE and one.source != "gpio"
        }
        self._is_text = events.format is RowFormat.TEXT
        self._decoders = {index: self._decoder(one) for index, one in self._handlers.items()}
        self._found: dict[str, tuple[int, ...]] = {}
        self._of_file = [self._named_file(events, number) for number in range(len(events.files))]
        by_column = not trigger and (column != STREAM_COLUMN or len(self._handlers) > 1)
        self._column = column if by_column and self._has(events, column) else ""
        self._default = None if self._column or all(self._of_file) else self._choose(events, trigger)
        self.rows = self._peeked(events, column) if by_column and not self._is_text else events.rows

    def calls(self, row: Any, number: int) -> list[Call]:
        """Return what a row of a file calls; raises RejectedEvent when it fits no handler."""
        indexes = self._of_file[number]
        if not indexes and self._column:
            indexes = self._indexes(row.get(self._column))
        if not indexes:
            indexes = () if self._default is None else (self._default,)
        return [(index, self._decoders[index](row)) for index in indexes]

    def _decoder(self, trigger: Trigger) -> Callable[[Any], tuple[Value, ...]]:
        decoder = PayloadDecoder(trigger)
        return decoder.from_text_row if self._is_text else decoder.from_mapping

    def _indexes(self, name: object) -> tuple[int, ...]:
        if name not in self._found:
            found = self._named(name) if isinstance(name, str) else ()
            if not found:
                listed = ", ".join(sorted(self._names()))
                got = "nothing" if name is None or name == "" else f"`{str(name)[:40]}`"
                raise RejectedEvent(f"a handler ({listed})", got, self._column)
            self._found[str(name)] = found
        return self._found[str(name)]

    def _named(self, name: str) -> tuple[int, ...]:
        by_binding = tuple(index for index, one in self._handlers.items() if one.binding == name)
        return by_binding or tuple(index for index, one in self._handlers.items() if _fits(one, name))

    def _names(self) -> set[str]:
        return {one.binding or one.address for one in self._handlers.values()}

    def _named_file(self, events: EventRows, number: int) -> tuple[int, ...]:
        name = events.streams[number]
        if not name:
            return ()
        found = self._named(name)
        if not found:
            self._refuse(f"the rule has no handler `{name}`", near(name, self._names()))
        return found

    def _has(self, events: EventRows, column: str) -> bool:
        if not self._is_text or column in events.columns:
            return True
        if column != STREAM_COLUMN:
            require_columns(events, {column: "the handler of each event"}, "--stream", f"add a column `{column}`")
        return False

    def _peeked(self, events: EventRows, column: str) -> Iterator[Row]:
        """Look at the first JSON line: one without the field that names its handler is refused before all are."""
        rows = iter(events.rows)
        first = next(rows, None)
        if first is None:
            return rows
        _line, time_us, row, number = first
        if time_us != UNREADABLE and column not in row and not self._of_file[number]:
            self._column = ""
            self._default = self._choose(events, "")
        return chain([first], rows)

    def _choose(self, events: EventRows, binding: str) -> int | None:
        """Return the handler that gets all rows; None for a rule that only has timers and edges."""
        fitting = self._handlers
        if binding:
            fitting = {index: one for index, one in fitting.items() if one.binding == binding}
            if not fitting:
                self._refuse(f"the rule has no handler whose event is called `{binding}`", near(binding, self._names()))
        elif len(fitting) > 1 and self._is_text:
            fitting = {i: one for i, one in fitting.items() if set(_required(one)) <= set(events.columns)} or fitting
        if len(fitting) > 1:
            self._refuse(f"{len(fitting)} handlers of the rule could take these events", None)
        if not fitting:
            return None
        index, trigger = next(iter(fitting.items()))
        require_columns(events, dict.fromkeys(_required(trigger), f"a field of `{trigger.binding}`"))
        return index

    def _refuse(self, message: str, guess: str | None) -> None:
        names = sorted(self._names())
        steps = (
            f"Say which one with --trigger {names[0]}, name it for each file with --events {names[0]}=FILE, "
            f"or for each row in a column `{STREAM_COLUMN}`."
            if names
            else "Leave out --trigger."
        )
        raise EyeflowError(
            message,
            cause=f"Its events are called {', '.join(names) or 'nothing: it has timers only'}.",
            next_step=f"Did you mean `{guess}`?" if guess else steps,
            code="trigger_unclear",
            exit_code=ExitCode.USAGE,
        )


def _fits(trigger: Trigger, name: str) -> bool:
    """Say whether an address, or a topic that a broker has delivered, belongs to a handler."""
    return trigger.address == name or (trigger.source == "mqtt" and matches(trigger.address, name))


def _required(trigger: Trigger) -> list[str]:
    return [item.name for item in trigger.fields if item.default is None]


def named_path(text: str, is_file: Callable[[str], bool]) -> tuple[str, str]:
    """Return handler and path of `NAME=FILE` or of `FILE`; a file that is there with an `=` in its name is a file."""
    name, equals, path = text.partition("=")
    return ("", text) if not equals or is_file(text) else (name, path)
