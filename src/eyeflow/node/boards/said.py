"""The log of a board as its gateway hears it: the newest lines, numbered, for whoever asks for what came since."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from eyeflow.board_link.messages import LlmRequest, LogLine, Value

LINES_MAX = 1000
PAGE_LINES = 200
"""Lines that one question gets at most."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log with its `level`; with `asks` it is a question for a language model instead."""

    number: int
    time_us: int
    level: int
    text: str
    asks: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Lines in order; `next` is the number to ask with for those after them, `missed` counts what was forgotten."""

    lines: tuple[Line, ...]
    next: int
    missed: int


class Said:
    """Keeps the newest lines. Numbers begin at `first`; with the time of the start they also grow over restarts."""

    def __init__(self, first: int) -> None:
        self._lines: deque[Line] = deque(maxlen=LINES_MAX)
        self._first = self._next = first

    def add(self, heard: LogLine | LlmRequest, now_us: int) -> None:
        """Keep a line; the oldest one makes room for it."""
        if isinstance(heard, LogLine):
            line = Line(self._next, now_us, heard.level, heard.text)
        else:
            line = Line(self._next, now_us, 0, "", heard.args)
        self._lines.append(line)
        self._next += 1

    def since(self, number: int | None, lines_max: int = PAGE_LINES) -> Page:
        """Return the lines from a number on, so many at most; None asks for the newest ones."""
        oldest = self._next - len(self._lines)
        if number is None:
            return self._page(self._lines_from(max(oldest, self._next - lines_max)), 0)
        if number > self._next:  # of another time: nothing is known of it
            number = self._first
        missed = max(0, oldest - max(number, self._first))
        return self._page(self._lines_from(max(number, oldest))[:lines_max], missed)

    def _lines_from(self, number: int) -> Sequence[Line]:
        return [line for line in self._lines if line.number >= number]

    def _page(self, lines: Sequence[Line], missed: int) -> Page:
        return Page(tuple(lines), lines[-1].number + 1 if lines else self._next, missed)
