"""A source line as a terminal shows it: tabs, wide and combining characters, nothing that could steer the terminal."""

from __future__ import annotations

import unicodedata

from eyeflow.base.record import dataclass
from eyeflow.base.visible import steers

TAB_CELLS = 4


@dataclass(frozen=True, slots=True)
class Cells:
    """What is shown for each character, and the cell at which each starts (one more entry: the end)."""

    shown: tuple[str, ...]
    starts: tuple[int, ...]

    @property
    def width(self) -> int:
        """How many cells the line takes."""
        return self.starts[-1]

    def text(self, first: int, last: int) -> str:
        """Return what is shown for the characters [first, last)."""
        return "".join(self.shown[first:last])


def layout(line: str) -> Cells:
    """Lay out one line."""
    shown: list[str] = []
    starts = [0]
    for char in line:
        if char == "\t":
            piece, width = " " * TAB_CELLS, TAB_CELLS
        else:
            piece, width = _visible(char)
        shown.append(piece)
        starts.append(starts[-1] + width)
    return Cells(tuple(shown), tuple(starts))


def _visible(char: str) -> tuple[str, int]:
    if char.isascii() and char.isprintable():
        return char, 1
    if ord(char) < 0x20:
        return chr(0x2400 + ord(char)), 1
    if steers(char):
        return "\ufffd", 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return char, 0
    return char, 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
