"""How commands speak: text for people on a terminal, JSON for scripts, errors on stderr.

Whatever is printed passes `visible` here, so that no text of a device, a recording or a file name steers the terminal.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, TextIO

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.visible import visible
from eyeflow.cli.streams import NO_OUTPUT, GuardedStream

UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]
"""What typer raises for wrong arguments. Depending on its version the class is click's or its own copy of it."""

NO_COMMAND = "NoArgsIsHelpError"
"""The class of what typer raises where a command is missing, for which it has no public name."""

_ESC = "\x1b" + os.urandom(8).hex()
"""Begins a style of `paint`. No text from outside can hold it, so that `_plain` can tell a style from a forged one."""
_TAB_CELLS = 4
CUT_MIN = 20
"""A cell is never cut shorter."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def use_color(stream: TextIO) -> bool:
    """Return whether to colour: a terminal, and neither NO_COLOR nor TERM=dumb (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return `text` in an ANSI style (`31` red, `32` green, `33` yellow, `1` bold, `2` dim) where colour is on.

    The result is for `say`, `note` and `table`, which turn its marks into ANSI sequences.
    """
    return f"{_ESC}[{style}m{text}{_ESC}[0m" if use_color(stream) else text


def _plain(text: str) -> str:
    """Return a line with escapes for whatever steers a terminal, but for the styles of `paint`."""
    return "\x1b".join(map(visible, text.split(_ESC)))


def say(text: str = "") -> None:
    """Print one line of the result to stdout; a line break in it is shown as an escape."""
    sys.stdout.write(_plain(text) + "\n")


def say_lines(text: str) -> None:
    """Print a text of several lines to stdout."""
    for line in text.removesuffix("\n").split("\n"):
        say(line.expandtabs(_TAB_CELLS))


def say_data(text: str) -> None:
    """Print a text that is the result itself, such as a formatted rule: in UTF-8, but visible on a terminal."""
    if sys.stdout.isatty() or not isinstance(sys.stdout, GuardedStream):
        say_lines(text)
    else:
        sys.stdout.write_bytes(text.encode())


def note(text: str) -> None:
    """Print a line that is not part of the result (progress, advice) to stderr, after all that was said before."""
    sys.stdout.flush()
    sys.stderr.write(_plain(text) + "\n")
    sys.stderr.flush()


def note_lines(text: str) -> None:
    """Print several such lines."""
    for line in text.removesuffix("\n").split("\n"):
        note(line)


def note_moving(text: str) -> None:
    """Show progress on the last line of a terminal, in place of what it showed; an empty text clears it."""
    sys.stderr.write(f"\r\x1b[K{visible(text)}")
    sys.stderr.flush()


def say_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document to stdout; with `indent` None on one line, for streams.

    It is ASCII: JSON's own escapes (RFC 8259, section 7) keep texts from steering a terminal, and lose nothing.
    """
    import json  # text, the usual form, does without

    sys.stdout.write(json.dumps(value, indent=indent, allow_nan=False, default=str) + "\n")


def report_error(error: EyeflowError, *, as_json: bool) -> None:
    """Show an EyeflowError: what, why, what to do."""
    if as_json and error.code != NO_OUTPUT:
        fields = {"code": error.code, "message": error.message, "cause": error.cause, "next": error.next_step}
        say_json({"error": fields, "exitCode": int(error.exit_code)})
        return
    note(f"{paint('error', '1;31', sys.stderr)}: {error.message}")
    if error.cause:
        note(f"  {paint('why', '1', sys.stderr)}: {error.cause}")
    if error.next_step:
        note(f"  {paint('try', '1', sys.stderr)}: {error.next_step}")


def report_usage(error: typer.BadParameter, *, as_json: bool) -> None:
    """Show what was wrong with the arguments, in typer's words."""
    command = error.ctx.command_path if error.ctx else "eyeflow"
    if type(error).__name__ == NO_COMMAND:  # its message is the help page
        note_lines(error.message)
        return
    if not as_json:
        if error.ctx:
            note_lines(error.ctx.get_usage())
        note(f"Try '{command} --help' for help.")
        note("")
        note(f"Error: {error.format_message()}")
        return
    next_step = f"see {command} --help"
    report_error(
        EyeflowError(error.format_message(), next_step=next_step, code="usage", exit_code=ExitCode.USAGE), as_json=True
    )


def finite(value: float | None) -> float | None:
    """Refuse NaN and infinity as the value of an option: they pass every check of a range, or none."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter("it is no finite number")
    return value


def counted(count: int, noun: str) -> str:
    """Return `1 event` or `2 events`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def table(headers: list[str], rows: list[list[str]], *, cut: int | None = None) -> None:
    """Print a plain table: columns padded to their widest cell, headers bold on a terminal.

    The cells of the column `cut` lose their middle where a line would not fit the terminal; JSON has them whole.
    """
    rows = [[_plain(cell) for cell in row] for row in rows]
    if cut is not None:
        import shutil

        others = sum(max(len(line[at]) for line in [headers, *rows]) + 2 for at in range(len(headers)) if at != cut)
        room = max(shutil.get_terminal_size((sys.maxsize, 0)).columns - others, len(headers[cut]), CUT_MIN)
        rows = [[_cut(cell, room) if at == cut else cell for at, cell in enumerate(row)] for row in rows]
    widths = [max(len(line[column]) for line in [headers, *rows]) for column in range(len(headers))]
    cells = [h.ljust(w) for h, w in zip(headers, widths, strict=True)]
    say(paint("  ".join(cells).rstrip(), "1", sys.stdout))
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cut(text: str, room: int) -> str:
    """Return a text without its middle where it is too long: the end of a name says most."""
    if len(text) <= room:
        return text
    head = (room - 3) // 3
    return f"{text[:head]}...{text[len(text) - (room - 3 - head) :]}"


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show that something long is under way: a spinner on a terminal, one line elsewhere."""
    if not sys.stderr.isatty():
        note(text)
        yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(visible(text))):  # a plain text would be read as markup
        yield


def is_terminal() -> bool:
    """Say whether progress goes to a terminal that can draw over what it shows."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class LivePicture:
    """A table between lines of text, drawn again in place on a terminal's stderr; the last one stays."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), auto_refresh=False)

    def __enter__(self) -> LivePicture:
        sys.stdout.flush()
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def draw(self, above: list[str], headers: list[str], rows: list[list[str]], below: list[str]) -> None:
        """Draw this in place of what was drawn before; rows beyond the height of the terminal are counted only."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        room = max(3, self._live.console.size.height - len(above) - len(below) - 3)
        grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for header in headers:
            grid.add_column(Text(header))
        for row in rows[:room]:
            grid.add_row(*(Text(visible(cell), style=_rich_style(cell)) for cell in row))
        more = [f"and {len(rows) - room} more"] if len(rows) > room else []
        lines = [Text(visible(line)) for line in above]
        ends = [Text(visible(line)) for line in [*more, *below]]
        self._live.update(Group(*lines, *([grid] if rows else []), *ends), refresh=True)


def _rich_style(state: str) -> str:
    if not use_color(sys.stderr):
        return ""
    return "green" if state in GOOD else "red" if state in BAD else ""


TERMINATED = 143
"""Exit code after SIGTERM: 128 + 15, as shells expect."""


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind what is under way, as Ctrl-C does, so that programs started by it end too."""

    def end(*_: object) -> NoReturn:
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def finish(code: ExitCode) -> None:
    """End the command with an exit code; 0 just returns."""
    if code is not ExitCode.OK:
        raise typer.Exit(int(code))


GOOD = {"installed", "succeeded", "running", "up", "pass", "connected", "online"}
BAD = {"refused", "failed", "silent", "fail", "link lost"}


def colored(state: str) -> str:
    """Return a state, green when it is good and red when it is bad."""
    if state in GOOD:
        return paint(state, "32", sys.stdout)
    return paint(state, "31", sys.stdout) if state in BAD else state


def iso_time(time_us: int) -> str:
    """Return a time as ISO 8601 in UTC, to the second, millisecond or microsecond as it needs."""
    from datetime import UTC, datetime

    text = datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction_us = time_us % 1_000_000
    if not fraction_us:
        return text + "Z"
    return f"{text}.{fraction_us // 1000:03d}Z" if fraction_us % 1000 == 0 else f"{text}.{fraction_us:06d}Z"
