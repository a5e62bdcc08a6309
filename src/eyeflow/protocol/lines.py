"""`eyeflow mcu monitor --node`: what a board logs, as its gateway keeps it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from eyeflow.protocol import wire
from eyeflow.protocol.wire import Natural, Reason

LINES_MAX = 200
"""Lines of one answer."""
LINE_CHARS_MAX = 256
"""A line of a board's log has at most 128 bytes. A question may have 1,024, so its gateway may have to shorten it."""
ARGS_MAX = 16


class Listen(wire.Wire, frozen=True, tag=17):
    """The coordinator asks for the lines of a board from the number `since` on; nil: for the newest ones."""

    number: Natural
    since: Natural | None = None


class BoardLine(wire.Wire, frozen=True):
    """A line of the log with its `level`; with `asks` it is a question for a language model instead.

    `number` is its place among the lines of the board, `time_us` when the gateway heard it.
    """

    number: Natural
    time_us: Natural
    level: Annotated[int, Meta(ge=0, le=255)]
    text: Annotated[str, Meta(max_length=LINE_CHARS_MAX)]
    asks: Annotated[tuple[Annotated[str, Meta(max_length=LINE_CHARS_MAX)], ...], Meta(max_length=ARGS_MAX)] = ()


class Listened(wire.Wire, frozen=True, tag=18):
    """The answer to question `number`: lines in order; with a `refusal` there are none, and it says why.

    `next` is the number to ask with for those after them. `missed` counts lines that the gateway keeps no more.
    """

    number: Natural
    lines: Annotated[tuple[BoardLine, ...], Meta(max_length=LINES_MAX)] = ()
    next: Natural = 0
    missed: Natural = 0
    refusal: Reason = ""
