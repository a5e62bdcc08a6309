"""Diagnostics as text for a terminal: the source line, carets, labels, note and help."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from eyeflow.base.diagnostic import Diagnostic, Severity, Span
from eyeflow.base.record import dataclass
from eyeflow.base.visible import visible
from eyeflow.compiler.render.cells import Cells, layout
from eyeflow.compiler.source import Source

WIDTH_DEFAULT = 120
"""Columns of the output; longer source lines are shown in part, around their marks."""

_WIDTH_MIN = 40
_CONTEXT_CELLS = 12
_SKIPPED = "..."
_LINES_BETWEEN = 1
"""A gap of this many lines between two shown ones is shown, a larger one is `...`."""

_COLORS = {"error": "1;31", "warning": "1;33", "gutter": "1;34", "secondary": "1;34", "bold": "1"}

Paint = Callable[[str, str], str]
"""Puts a text into an ANSI style: `1;31` is bold and red."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """Part of a line, in characters, with its label."""

    first: int
    last: int
    text: str
    primary: bool


def render_text(
    diagnostics: Iterable[Diagnostic], source: str, name: str, width: int = WIDTH_DEFAULT, paint: Paint | None = None
) -> str:
    """Return every diagnostic with its source lines, an empty line between two; empty when there are none.

    `paint` colours the parts; without it there are none.
    """
    painter = _Painter(Source(source), visible(name), max(width, _WIDTH_MIN), paint)
    return "\n".join(painter.diagnostic(diagnostic) for diagnostic in diagnostics)


def render_short(diagnostics: Iterable[Diagnostic], source: str, name: str) -> str:
    """Return one line per diagnostic: `file:line:column: error[EF0203]: message`."""
    lines = Source(source)
    shown = []
    for diagnostic in diagnostics:
        place = lines.position(diagnostic.span.start)
        head = f"{visible(name)}:{place.line}:{place.column}: {diagnostic.severity.value}[{diagnostic.code}]"
        shown.append(f"{head}: {visible(diagnostic.message)}\n")
    return "".join(shown)


def summarize(diagnostics: Iterable[Diagnostic]) -> str:
    """Return `2 errors, 1 warning`, or the empty string when there is nothing to count."""
    counts = dict.fromkeys(Severity, 0)
    for diagnostic in diagnostics:
        counts[diagnostic.severity] += 1
    return ", ".join(
        f"{count} {severity.value}{'s' if count > 1 else ''}" for severity, count in counts.items() if count
    )


class _Painter:
    """Draws diagnostics of one source."""

    def __init__(self, source: Source, name: str, width: int, paint: Paint | None) -> None:
        self._source = source
        self._name = name
        self._width = width
        self._style = paint

    def diagnostic(self, diagnostic: Diagnostic) -> str:
        """Draw one diagnostic; ends with a newline."""
        marks = self._marks(diagnostic)
        gutter = len(str(max(marks)))
        kind = diagnostic.severity.value
        place = self._source.position(diagnostic.span.start)
        head = self._paint(f"{kind}[{diagnostic.code}]", kind) + self._paint(f": {visible(diagnostic.message)}", "bold")
        arrow = self._paint(" " * gutter + "-->", "gutter")
        rows = [head, f"{arrow} {self._name}:{place.line}:{place.column}", self._row(gutter, "", "")]
        rows += self._lines(marks, gutter, kind)
        tail = [(word, visible(text)) for word, text in (("note", diagnostic.note), ("help", diagnostic.help)) if text]
        if tail:
            rows.append(self._row(gutter, "", ""))
        rows += [
            f"{self._paint(' ' * gutter + ' =', 'gutter')} {self._paint(word, 'bold')}: {text}" for word, text in tail
        ]
        return "\n".join(row.rstrip() for row in rows) + "\n"

    # --- which lines, which marks ---

    def _marks(self, diagnostic: Diagnostic) -> dict[int, list[_Mark]]:
        marks: dict[int, list[_Mark]] = {}
        self._add(marks, diagnostic.span, diagnostic.label, True)
        for label in diagnostic.labels:
            self._add(marks, label.span, label.text, False)
        return dict(sorted(marks.items()))

    def _add(self, marks: dict[int, list[_Mark]], span: Span, text: str, primary: bool) -> None:
        """Add the mark of a span; one over several lines marks its first and its last line."""
        start = self._source.position(span.start)
        end = self._source.position(max(span.start, span.end - 1))
        if start.line == end.line:
            last = max(end.column, start.column) if span.end > span.start else start.column
            marks.setdefault(start.line, []).append(_Mark(start.column - 1, last, visible(text), primary))
            return
        first_line, last_line = self._source.line_text(start.line), self._source.line_text(end.line)
        indent = len(last_line) - len(last_line.lstrip())
        marks.setdefault(start.line, []).append(_Mark(start.column - 1, len(first_line), "from here", primary))
        marks.setdefault(end.line, []).append(
            _Mark(min(indent, end.column - 1), end.column, visible(text) or "to here", primary)
        )

    # --- drawing ---

    def _lines(self, marks: dict[int, list[_Mark]], gutter: int, kind: str) -> list[str]:
        rows: list[str] = []
        before: int | None = None
        for line, found in marks.items():
            if before is not None and line - before == _LINES_BETWEEN + 1:
                rows += self._source_line(before + 1, [], gutter, kind)
            elif before is not None and line - before > 1:
                rows.append(self._paint(_SKIPPED, "gutter"))
            rows += self._source_line(line, found, gutter, kind)
            before = line
        return rows

    def _source_line(self, line: int, marks: list[_Mark], gutter: int, kind: str) -> list[str]:
        text = self._source.line_text(line)
        cells = layout(text)
        first, last = self._window(cells, marks, self._width - gutter - 3)
        lead = _SKIPPED if first > 0 else ""
        trail = _SKIPPED if last < len(text) else ""
        rows = [self._row(gutter, str(line), lead + cells.text(first, last) + trail)]
        if marks:
            shift = len(lead) - cells.starts[first]
            rows += self._marked(marks, cells, shift, (first, last), gutter, kind)
        return rows

    def _window(self, cells: Cells, marks: list[_Mark], room: int) -> tuple[int, int]:
        """Return which characters of a line to show: all, or those around its first mark that fit."""
        count = len(cells.shown)
        if cells.width <= room:
            return 0, count
        room -= 2 * len(_SKIPPED)
        focus = next((mark for mark in marks if mark.primary), marks[0] if marks else None)
        start_cell = 0 if focus is None else max(0, cells.starts[min(focus.first, count)] - _CONTEXT_CELLS)
        first = next(index for index in range(count + 1) if cells.starts[index] >= start_cell)
        last = first
        while last < count and cells.starts[last + 1] - cells.starts[first] <= room:
            last += 1
        return first, last

    def _marked(
        self, marks: list[_Mark], cells: Cells, shift: int, window: tuple[int, int], gutter: int, kind: str
    ) -> list[str]:
        """Draw the carets below a line, the label of the last mark beside them and the others below."""
        placed = sorted(
            (self._placed(mark, cells, shift, window) for mark in marks), key=lambda mark: (mark.first, mark.last)
        )
        canvas = [" "] * (max(mark.last for mark in placed) + 1)
        for mark in sorted(placed, key=lambda mark: mark.primary):
            canvas[mark.first : mark.last] = ("^" if mark.primary else "-") * (mark.last - mark.first)
        beside = placed[-1] if all(mark.last <= placed[-1].first for mark in placed[:-1]) else None
        carets = "".join(canvas).rstrip()
        rows = [self._mark_row(gutter, carets + (f" {beside.text}" if beside else ""), placed, kind)]
        hanging = [mark for mark in placed if mark is not beside and mark.text]
        if hanging:
            rows.append(self._mark_row(gutter, _bars(hanging), hanging, kind))
        while hanging:
            mark = hanging.pop()
            stem = _bars([other for other in hanging if other.first < mark.first]).ljust(mark.first)
            rows.append(self._mark_row(gutter, stem + mark.text, [mark], kind))
        return rows

    def _placed(self, mark: _Mark, cells: Cells, shift: int, window: tuple[int, int]) -> _Mark:
        """Return the mark in cells of the shown part; it is at least one cell wide."""
        count = len(cells.shown)
        first = min(max(mark.first, window[0]), window[1])
        last = min(max(mark.last, first), window[1], count)
        start = cells.starts[first] + shift
        return _Mark(start, max(cells.starts[last] + shift, start + 1), mark.text, mark.primary)

    def _mark_row(self, gutter: int, text: str, marks: list[_Mark], kind: str) -> str:
        style = kind if any(mark.primary for mark in marks) else "secondary"
        return self._row(gutter, "", self._paint(text.rstrip(), style))

    def _row(self, gutter: int, number: str, text: str) -> str:
        return self._paint(f"{number:>{gutter}} |", "gutter") + (f" {text}" if text else "")

    def _paint(self, text: str, style: str) -> str:
        return self._style(text, _COLORS[style]) if self._style and text.strip() else text


def _bars(marks: list[_Mark]) -> str:
    canvas = [" "] * (max((mark.first for mark in marks), default=-1) + 1)
    for mark in marks:
        canvas[mark.first] = "|"
    return "".join(canvas)
