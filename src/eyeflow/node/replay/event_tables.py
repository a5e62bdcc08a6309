"""CSV as people and programs write it (RFC 4180; comma, semicolon or tab), read so that one bad row costs one row.

Python's csv module reads each record. What it leaves open is done here: which character separates (a `;` file may
have commas in its quoted names), and where a record ends whose quote is never closed: such a row is rejected alone,
and the lines behind it are rows again.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TextIO

LINE_CHARACTERS_MAX = 1024 * 1024
COLUMNS_MAX = 4096
RECORD_LINES_MAX = 100
"""Most lines of one record: texts in cells have line breaks, but no recording in a cell."""
SEPARATORS = ",;\t"
SKIPPED_CHARACTERS_MAX = 64 * LINE_CHARACTERS_MAX
"""Most characters of one line that are passed over: `/dev/zero` has no end of them."""
BLANK_LINES_MAX = 1_000_000
"""Most blank lines before the first event."""
TOO_LONG = ""
"""In place of a line above LINE_CHARACTERS_MAX, no part of which may run as an event."""
_SEPARATOR_LINE = re.compile(r'sep=([^"\r\n])\s*', re.IGNORECASE)
"""What a spreadsheet writes before the header. A quote or the end of a line separates no cells."""


class TableProblem(Exception):  # noqa: N818 - it becomes an EyeflowError where the file's name is known
    """A file is no table of events: what, why, and what to do."""

    def __init__(self, message: str, cause: str, next_step: str) -> None:
        super().__init__(message)
        self.message, self.cause, self.next_step = message, cause, next_step


class Endless(Exception):  # noqa: N818 - it becomes an EyeflowError where the file's name is known
    """A stream has no lines that could be events, and no end in sight; the text says which line."""


class Lines:
    """The lines of a stream with their numbers from 1, ends included; lines can be put back."""

    def __init__(self, stream: TextIO) -> None:
        self._read = partial(stream.readline, LINE_CHARACTERS_MAX)
        self._back: deque[tuple[int, str]] = deque()
        self.number = 0

    def first(self) -> str | None:
        """Return the first line that is not blank, which comes again; None when there is none. Raises Endless."""
        for number, line in self:
            if line is TOO_LONG or not line.isspace():
                self.put_back([(number, line)])
                return line
            if number > BLANK_LINES_MAX:
                raise Endless(f"the first {BLANK_LINES_MAX} lines are blank")
        return None

    def put_back(self, lines: list[tuple[int, str]]) -> None:
        """Let lines come again, in this order."""
        self._back.extendleft(reversed(lines))

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return self

    def __next__(self) -> tuple[int, str]:
        if self._back:
            return self._back.popleft()
        line = self._read()
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == LINE_CHARACTERS_MAX and line[-1] not in "\r\n":
            self._skip_line()
            line = TOO_LONG
        return self.number, line

    def _skip_line(self) -> None:
        skipped = 0
        while (rest := self._read()) and rest[-1] not in "\r\n":
            skipped += len(rest)
            if skipped > SKIPPED_CHARACTERS_MAX:
                raise Endless(f"line {self.number} has more than {SKIPPED_CHARACTERS_MAX} characters")


@dataclass(frozen=True, slots=True)
class Table:
    """The names of the columns, and the rows: line number and cells, or the reason why a row is rejected."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[int, list[str] | str]]


def open_table(lines: Lines, time_column: str) -> Table:
    """Read the header; raises TableProblem. `time_column` is a name that the header should have, or an empty text."""
    number, line = next(lines)
    named = _SEPARATOR_LINE.fullmatch(line)
    if named is None:
        lines.put_back([(number, line)])
    elif lines.first() is None:
        raise TableProblem("has no header", "Only its separator is there.", "Write the names of the columns next.")
    headers = [(mark, names) for mark in (named[1] if named else SEPARATORS) if (names := _names(lines, mark))]
    if not headers:
        cause = "A quote in it is not closed, or it is too long."
        raise TableProblem(
            "has a header that cannot be read", cause, "Write the names of the columns in the first line."
        )
    separator, columns = max(headers, key=lambda header: _fitness(header[1], time_column))
    _record(lines, separator)  # the header itself
    _check(columns)
    return Table(columns, _rows(lines, separator, len(columns)))


def _names(lines: Lines, separator: str) -> tuple[str, ...]:
    """Return the header by a separator, empty when it is none; its lines stay to be read."""
    taken, cells = _record(lines, separator)
    lines.put_back(taken)
    return tuple(cell.strip() for cell in cells or ())


def _fitness(columns: tuple[str, ...], time_column: str) -> tuple[bool, bool, int]:
    """The right separator finds the time's column, leaves no quote inside a name, and gives the most columns."""
    return time_column in columns, not any('"' in column for column in columns), len(columns)


def _check(columns: tuple[str, ...]) -> None:
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise TableProblem(f"has two columns named `{twice}`", "A name stands for one field.", "Rename one of them.")
    if len(columns) > COLUMNS_MAX:
        raise TableProblem(f"has {len(columns)} columns", f"At most {COLUMNS_MAX} are read.", "Leave out some.")


def _rows(lines: Lines, separator: str, width: int) -> Iterator[tuple[int, list[str] | str]]:
    for number, line in lines:
        if line is TOO_LONG:
            yield number, f"a line of more than {LINE_CHARACTERS_MAX} characters"
        elif '"' in line:
            lines.put_back([(number, line)])
            yield number, _quoted_row(lines, separator, width)
        elif text := line.rstrip("\r\n"):
            cells = text.split(separator)
            yield number, cells if len(cells) == width else _wrong_width(cells, width)


def _quoted_row(lines: Lines, separator: str, width: int) -> list[str] | str:
    """Return the next record, or why it is none: then only its first line is lost, not those that a quote swallowed."""
    taken, cells = _record(lines, separator)
    if cells is not None and len(cells) == width:
        return cells
    lines.put_back(taken[1:])
    if cells is not None and len(taken) == 1:
        return _wrong_width(cells, width)
    if len(taken[0][1]) > csv.field_size_limit():
        return f"not CSV: a cell may be of more than {csv.field_size_limit()} characters"
    if taken[0][1].count('"') % 2:
        return 'not CSV: a quote that is opened here is not closed; write `""` for a quote inside a cell'
    return 'not CSV: text stands behind a closing quote; write `""` for a quote inside a cell'


def _wrong_width(cells: list[str], width: int) -> str:
    return f"{len(cells)} cells where the header has {width}"


def _record(lines: Lines, separator: str) -> tuple[list[tuple[int, str]], list[str] | None]:
    """Return the lines of the next record and its cells, or None for what is no record.

    A record ends with its first line, unless a quote is open there (RFC 4180, section 2, number 6).
    """
    taken = [next(lines)]
    text = taken[0][1]
    cells = _cells(text, separator)
    while cells is None and len(taken) < RECORD_LINES_MAX and text.count('"') % 2:
        following = next(lines, None)
        if following is None:
            break
        taken.append(following)
        text += following[1]
        if '"' in following[1]:
            cells = _cells(text, separator)
    return taken, cells


def _cells(text: str, separator: str) -> list[str] | None:
    try:
        return next(csv.reader([text], delimiter=separator, strict=True), None)
    except csv.Error:
        return None
