"""Recorded events as CSV or JSON lines, from a file or a pipe, one at a time: memory does not grow with their number.

The first bytes tell the packing (gzip) and the encoding (UTF-8, or UTF-16 with its mark), the first character that is
no blank the format: `{` starts JSON lines, anything else the header of a CSV file (`event_tables`). A row that cannot
be read is given as a reason, never raised: the replay counts it.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.base.reasons import why
from eyeflow.node.replay.event_tables import LINE_CHARACTERS_MAX, TOO_LONG, Endless, Lines, TableProblem, open_table
from eyeflow.node.replay.event_times import TIME_MAX_US, parse_time

TIME_COLUMN = "timestamp"
UNREADABLE = -1
"""In place of the time of a row that is rejected."""

_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

Row = tuple[int, int, Any, int]
"""Line number, time in microseconds (or UNREADABLE), the mapping of the row (or the reason as a text), and the number
of the file, from 0."""


class RowFormat(Enum):
    """How rows are written, and so which method of the payload decoder reads them."""

    TEXT = "csv"
    JSON = "jsonl"


@dataclass(frozen=True, slots=True)
class EventRows:
    """Opened events. `columns` is empty for JSON lines; `rows` can be iterated once and closes them at its end.

    `files` are the names of the files whose rows these are, and `streams` for each the handler that it is for, by the
    name that the user gave, or an empty text.
    """

    name: str
    format: RowFormat
    columns: tuple[str, ...]
    rows: Iterator[Row]
    close: Callable[[], None]
    files: tuple[str, ...] = ("",)
    streams: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class TimeSource:
    """Where the time of a row comes from: `column`, or, with `period_us`, row n is n periods after `start_us`."""

    column: str = TIME_COLUMN
    period_us: int = 0
    start_us: int = 0


def open_events(path: Path | None, stdin: IO[bytes] | None = None, times: TimeSource | None = None) -> EventRows:
    """Open a file, or the binary stream `stdin` when `path` is None.

    Raises EyeflowError for a file that is missing, unreadable, empty or not text, and for a header without times.
    """
    name = str(path) if path is not None else "standard input"
    binary = stdin if path is None else _open_file(path)
    if binary is None:
        raise ValueError("neither a path nor a stream")
    try:
        stream = _text_stream(name, binary)
    except BaseException:
        if path is not None:
            binary.close()
        raise
    close = partial(_close, stream, None if path is None else binary)
    try:
        return _open_stream(name, stream, times or TimeSource(), close)
    except BaseException:
        close()
        raise


def _open_file(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        refuse(
            f"cannot read the events in {path}", why(error), "Check the path and its permissions.", ExitCode.ENVIRONMENT
        )


class _Lent(io.RawIOBase):
    """The bytes of a stream that somebody else closes, however many readers are put on top."""

    def __init__(self, binary: IO[bytes]) -> None:
        self._binary = binary

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # `read1` gives what a pipe has now; `read` would wait until the buffer is full.
        read: Callable[[int], bytes] = getattr(self._binary, "read1", self._binary.read)
        data = read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _text_stream(name: str, binary: IO[bytes]) -> io.TextIOWrapper:
    """Return the text of a stream; its first bytes tell how it is packed and encoded."""
    buffered: io.BufferedReader[Any] = io.BufferedReader(_Lent(binary))
    try:
        if buffered.peek(2)[:2] == _GZIP:
            buffered = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=buffered)))
        is_utf_16 = buffered.peek(2)[:2] in _UTF_16
    except (OSError, EOFError, zlib.error) as error:
        refuse(f"cannot read the events in {name}", _read_problem(error), "Check the file, the disk or the pipe.")
    return io.TextIOWrapper(buffered, encoding="utf-16" if is_utf_16 else "utf-8-sig", newline="")


def _close(stream: io.TextIOWrapper, own: IO[bytes] | None) -> None:
    """Close a file that was opened here; a stream that somebody else opened is only let go. Twice does no harm."""
    stream.close()
    if own is not None:
        own.close()


def require_columns(events: EventRows, wanted: Mapping[str, str], option: str = "", otherwise: str = "") -> None:
    """Raise one EyeflowError for the first of the `wanted` columns (name to purpose) that a CSV file lacks.

    `option` names another column for it; `otherwise` is what to do when there is none.
    """
    if events.format is RowFormat.JSON:
        return
    for name, purpose in wanted.items():
        if name not in events.columns:
            guess = near(name, [column for column in events.columns if column not in (*wanted, TIME_COLUMN)])
            if guess:
                add = f"Add {option} {guess}." if option else "Rename the column, or the field."
                hint = f"Did you mean `{guess}`? {add}"
            else:
                hint = f"Name the column with {option} COLUMN, or {otherwise}." if option else f"Add a column `{name}`."
            present = ", ".join(f"`{column}`" for column in events.columns)
            refuse(f"{events.name} has no column `{name}`, {purpose}", f"Its columns are {present}.", hint)


def _open_stream(name: str, stream: io.TextIOWrapper, times: TimeSource, close: Callable[[], None]) -> EventRows:
    lines = Lines(stream)
    try:
        first = lines.first()
        if first is None:
            refuse(f"{name} has no events", "It is empty.", "Give a CSV file with a header, or JSON lines.")
        if first.lstrip().startswith("{"):
            rows = _guard(name, _json_rows(lines, times), close)
            return EventRows(name, RowFormat.JSON, (), rows, close, (name,))
        if first.lstrip().startswith("["):
            refuse(f"{name} is one JSON list", "JSON lines have one object in each line.", "jq -c '.[]' makes them.")
        table = open_table(lines, "" if times.period_us else times.column)
    except UnicodeDecodeError as error:
        _refuse_encoding(name, lines.number + 1, error)
    except (OSError, EOFError, zlib.error) as error:
        refuse(f"cannot read the events in {name}", _read_problem(error), "Check the file, the disk or the pipe.")
    except Endless as error:
        _refuse_endless(name, error)
    except TableProblem as problem:
        refuse(f"{name} {problem.message}", problem.cause, problem.next_step)
    rows = _guard(name, _csv_rows(table.rows, table.columns, times), close)
    events = EventRows(name, RowFormat.TEXT, table.columns, rows, close, (name,))
    if not times.period_us:
        no_times = "give --period 1s: then the file needs no times"
        require_columns(events, {times.column: "the time of each event"}, "--timestamp", no_times)
    return events


def _csv_rows(
    rows: Iterator[tuple[int, list[str] | str]], columns: tuple[str, ...], times: TimeSource
) -> Iterator[Row]:
    place = -1 if times.period_us or times.column not in columns else columns.index(times.column)
    time_us = times.start_us - times.period_us
    for line, cells in rows:
        if type(cells) is str:
            yield line, UNREADABLE, cells, 0
            continue
        if place >= 0:
            try:
                time_us = parse_time(cells[place])
            except Unreadable as error:
                yield line, UNREADABLE, f"column `{times.column}`: {error}", 0
                continue
        else:
            time_us += times.period_us
            if time_us >= TIME_MAX_US:
                yield line, UNREADABLE, "with this period its time lies beyond the year 9899", 0
                continue
        yield line, time_us, dict(zip(columns, cells, strict=True)), 0


def _json_rows(lines: Lines, times: TimeSource) -> Iterator[Row]:
    column, period_us = times.column, times.period_us
    time_us = times.start_us - period_us
    for number, line in lines:
        if line is TOO_LONG:
            yield number, UNREADABLE, f"a line of more than {LINE_CHARACTERS_MAX} characters", 0
            continue
        if line.isspace():
            continue
        try:
            row = parse_json(line)
            if type(row) is not dict:
                raise Unreadable("not a JSON object")
            time_us = time_us + period_us if period_us else _json_time(row, column)
            if time_us >= TIME_MAX_US:
                raise Unreadable("with this period its time lies beyond the year 9899")
        except Unreadable as error:
            yield number, UNREADABLE, str(error), 0
        else:
            yield number, time_us, row, 0


def _json_time(row: Mapping[str, object], column: str) -> int:
    if column not in row:
        raise Unreadable(
            f"the field `{column}`, the time of the event, is missing: --timestamp names another, --period gives times"
        )
    return parse_time(row[column])


def _guard(name: str, rows: Iterator[Row], close: Callable[[], None]) -> Iterator[Row]:
    """Turn a byte that is no text, and a disk that fails, into the user's error; close at the end."""
    line = 0
    try:
        for row in rows:
            line = row[0]
            yield row
    except UnicodeDecodeError as error:
        _refuse_encoding(name, line + 1, error)
    except Endless as error:
        _refuse_endless(name, error)
    except (OSError, EOFError, zlib.error) as error:
        refuse(
            f"reading {name} failed after line {line}", _read_problem(error), "Check the file, the disk or the pipe."
        )
    finally:
        close()


def _read_problem(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
        return why(error)
    return "Its gzip packing is damaged or cut off."


def _refuse_encoding(name: str, line: int, error: UnicodeDecodeError) -> NoReturn:
    if error.encoding.startswith("utf-16"):
        refuse(f"{name} is not UTF-16", f"Its text breaks at or after line {line}.", "Save or convert it as UTF-8.")
    cause = f"Byte 0x{error.object[error.start]:02x} at or after line {line} belongs to no character."
    refuse(f"{name} is not UTF-8", cause, "Save or convert it as UTF-8: iconv -f latin1 -t utf-8.")


def _refuse_endless(name: str, error: Endless) -> NoReturn:
    refuse(f"{name} has no end", f"In it {error}.", "Name a recording: a file of lines.", ExitCode.ENVIRONMENT)


def refuse(message: str, cause: str, next_step: str, exit_code: ExitCode = ExitCode.PROBLEMS) -> NoReturn:
    """Raise the error of a recording that cannot be used; ENVIRONMENT when it cannot even be read."""
    raise EyeflowError(message, cause=cause, next_step=next_step, code="bad_events", exit_code=exit_code)
