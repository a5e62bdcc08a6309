"""Recorded events as CSV or JSON lines, from a file or a pipe, one at a time: memory does not grow with their number.

The first character tells the format: `{` starts JSON lines, anything else is the header of a CSV file (RFC 4180; comma,
semicolon or tab). A row that cannot be read is given as a reason, never raised: the replay counts it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import IO, Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.node.payloads import DECODER
from eyeflow.node.replay.event_times import parse_time

LINE_CHARACTERS_MAX = 1024 * 1024
COLUMNS_MAX = 4096
TIME_COLUMN = "timestamp"
UNREADABLE = -1
"""In place of the time of a row that is rejected."""

Row = tuple[int, int, Any]
"""Line number, time in microseconds (or UNREADABLE), and the mapping of the row (or the reason as a text)."""


class RowFormat(Enum):
    """How rows are written, and so which method of the payload decoder reads them."""

    TEXT = "csv"
    JSON = "jsonl"


@dataclass(frozen=True, slots=True)
class EventRows:
    """Opened events. `columns` is empty for JSON lines; `rows` can be iterated once and closes them at its end."""

    name: str
    format: RowFormat
    columns: tuple[str, ...]
    rows: Iterator[Row]
    close: Callable[[], None]


@dataclass(frozen=True, slots=True)
class TimeSource:
    """Where the time of a row comes from: `column`, or, with `period_us`, row n is n periods after `start_us`."""

    column: str = TIME_COLUMN
    period_us: int = 0
    start_us: int = 0


def open_events(path: Path | None, stdin: IO[bytes] | None = None, times: TimeSource | None = None) -> EventRows:
    """Open a file, or the binary stream `stdin` when `path` is None.

    Raises EyeflowError for a file that is missing, unreadable, empty or not UTF-8, and for a header without times.
    """
    name = str(path) if path is not None else "standard input"
    try:
        if path is not None:
            binary: IO[bytes] = path.open("rb")
        elif stdin is not None:
            binary = stdin
        else:
            raise ValueError("neither a path nor a stream")
    except OSError as error:
        _refuse(
            f"cannot read the events in {name}", error.strerror or str(error), "Check the path and its permissions."
        )
    stream = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
    close = partial(_close, stream, keep=path is None)
    try:
        return _open_stream(name, stream, times or TimeSource(), close)
    except BaseException:
        close()
        raise


def _close(stream: io.TextIOWrapper, *, keep: bool) -> None:
    """Close a file; a stream that somebody else opened is only let go. Twice does no harm."""
    if not keep:
        stream.close()
    else:
        with contextlib.suppress(ValueError):  # it was let go before
            stream.detach()


def require_columns(events: EventRows, wanted: Mapping[str, str]) -> None:
    """Raise one EyeflowError for the first of the `wanted` columns (name to purpose) that a CSV file lacks."""
    if events.format is RowFormat.JSON:
        return
    for name, purpose in wanted.items():
        if name not in events.columns:
            guess = near(name, [column for column in events.columns if column not in (*wanted, TIME_COLUMN)])
            hint = f"Did you mean `{guess}`? Rename the column, or the field." if guess else f"Add a column `{name}`."
            present = ", ".join(f"`{column}`" for column in events.columns)
            _refuse(f"{events.name} has no column `{name}`, {purpose}", f"Its columns are {present}.", hint)


def _open_stream(name: str, stream: io.TextIOWrapper, times: TimeSource, close: Callable[[], None]) -> EventRows:
    lines = iter(partial(stream.readline, LINE_CHARACTERS_MAX), "")
    first, number = "", 0
    try:
        while not first.strip():
            first = next(lines, "")
            number += 1
            if not first:
                _refuse(f"{name} has no events", "It is empty.", "Give a CSV file with a header, or JSON lines.")
    except UnicodeDecodeError as error:
        _refuse_encoding(name, number, error)
    if first.lstrip().startswith("{"):
        rows = _guard(name, _json_rows(first, number, lines, times), close)
        return EventRows(name, RowFormat.JSON, (), rows, close)
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
    columns = _header(name, reader)
    rows = _guard(name, _csv_rows(reader, number, columns, times), close)
    events = EventRows(name, RowFormat.TEXT, columns, rows, close)
    if not times.period_us:
        require_columns(events, {times.column: "the time of each event"})
    return events


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _header(name: str, reader: Any) -> tuple[str, ...]:
    try:
        columns = tuple(column.strip() for column in next(reader))
    except (csv.Error, StopIteration) as error:
        _refuse(f"the header of {name} cannot be read", str(error), "Write the names of the columns in the first line.")
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        _refuse(f"{name} has two columns named `{twice}`", "A name stands for one field.", "Rename one of them.")
    if len(columns) > COLUMNS_MAX:
        _refuse(f"{name} has {len(columns)} columns", f"At most {COLUMNS_MAX} are read.", "Leave out some.")
    return columns


def _csv_rows(reader: Any, first_line: int, columns: tuple[str, ...], times: TimeSource) -> Iterator[Row]:
    offset, width = first_line - 1, len(columns)
    place = -1 if times.period_us else columns.index(times.column)
    time_us = times.start_us - times.period_us
    while True:
        try:
            for cells in reader:
                if len(cells) != width:
                    if cells:
                        yield reader.line_num + offset, UNREADABLE, f"{len(cells)} cells where the header has {width}"
                    continue
                if place >= 0:
                    try:
                        time_us = parse_time(cells[place])
                    except ValueError as error:
                        yield reader.line_num + offset, UNREADABLE, f"column `{times.column}`: {error}"
                        continue
                else:
                    time_us += times.period_us
                yield reader.line_num + offset, time_us, dict(zip(columns, cells, strict=True))
            return
        except csv.Error as error:
            yield reader.line_num + offset, UNREADABLE, f"not CSV: {error}"


def _json_rows(first: str, number: int, lines: Iterator[str], times: TimeSource) -> Iterator[Row]:
    column, period_us = times.column, times.period_us
    time_us = times.start_us - period_us
    decode = DECODER.decode
    for line in _chain(first, lines):
        if line.isspace():
            number += 1
            continue
        try:
            row = decode(line)
            if type(row) is not dict:
                raise ValueError("not a JSON object")
            time_us = time_us + period_us if period_us else _json_time(row, column)
        except (ValueError, RecursionError) as error:
            yield number, UNREADABLE, _json_reason(line, error)
        else:
            yield number, time_us, row
        number += line.endswith("\n")


def _json_time(row: Mapping[str, object], column: str) -> int:
    if column not in row:
        raise ValueError(f"the field `{column}`, the time of the event, is missing")
    return parse_time(row[column])


def _json_reason(line: str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "not JSON: nested too deeply"
    if len(line) >= LINE_CHARACTERS_MAX:
        return f"a line of more than {LINE_CHARACTERS_MAX} characters"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at column {error.colno}"
    return str(error)


def _guard(name: str, rows: Iterator[Row], close: Callable[[], None]) -> Iterator[Row]:
    """Turn a byte that is not UTF-8, and a disk that fails, into the user's error; close at the end."""
    line = 0
    try:
        for row in rows:
            line = row[0]
            yield row
    except UnicodeDecodeError as error:
        _refuse_encoding(name, line + 1, error)
    except OSError as error:
        _refuse(f"reading {name} failed after line {line}", error.strerror or str(error), "Check the disk or the pipe.")
    finally:
        close()


def _refuse_encoding(name: str, line: int, error: UnicodeDecodeError) -> None:
    cause = f"Byte 0x{error.object[error.start]:02x} at or after line {line}: {error.reason}."
    _refuse(f"{name} is not UTF-8", cause, "Save or convert it as UTF-8: iconv -f latin1 -t utf-8.")


def _refuse(message: str, cause: str, next_step: str) -> Any:
    raise EyeflowError(message, cause=cause, next_step=next_step, code="bad_events", exit_code=ExitCode.PROBLEMS)
