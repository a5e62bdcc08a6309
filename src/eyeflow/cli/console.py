"""How commands speak: text for people on a terminal, JSON for scripts, errors on stderr."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, TextIO

import typer

from eyeflow.base.errors import ExitCode, EyeflowError

UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]
"""What typer raises for wrong arguments. Depending on its version the class is click's or its own copy of it."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def use_color(stream: TextIO) -> bool:
    """Return whether to colour: a terminal, and neither NO_COLOR nor TERM=dumb (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return `text` in an ANSI style (`31` red, `32` green, `33` yellow, `1` bold, `2` dim) where colour is on."""
    return f"\x1b[{style}m{text}\x1b[0m" if use_color(stream) else text


def say(text: str = "") -> None:
    """Print a line of the result to stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line that is not part of the result (progress, advice) to stderr, after all that was said before."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document to stdout; with `indent` None on one line, for streams."""
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def report_error(error: EyeflowError, *, as_json: bool) -> None:
    """Show an EyeflowError: what, why, what to do."""
    if as_json:
        fields = {"code": error.code, "message": error.message, "cause": error.cause, "next": error.next_step}
        say_json({"error": fields, "exitCode": int(error.exit_code)})
        return
    note(f"{paint('error', '1;31', sys.stderr)}: {error.message}")
    if error.cause:
        note(f"  {paint('why', '1', sys.stderr)}: {error.cause}")
    if error.next_step:
        note(f"  {paint('try', '1', sys.stderr)}: {error.next_step}")


def report_usage(error: typer.BadParameter, *, as_json: bool) -> None:
    """Show what was wrong with the arguments: typer's own text, or the same as JSON."""
    if not as_json:
        error.show()
        return
    command = error.ctx.command_path if error.ctx else "eyeflow"
    next_step = f"see {command} --help"
    report_error(
        EyeflowError(error.format_message(), next_step=next_step, code="usage", exit_code=ExitCode.USAGE), as_json=True
    )


def counted(count: int, noun: str) -> str:
    """Return `1 event` or `2 events`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def table(headers: list[str], rows: list[list[str]]) -> None:
    """Print a plain table: columns padded to their widest cell, headers bold on a terminal."""
    widths = [max(len(line[column]) for line in [headers, *rows]) for column in range(len(headers))]
    cells = [h.ljust(w) for h, w in zip(headers, widths, strict=True)]
    say(paint("  ".join(cells).rstrip(), "1", sys.stdout))
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show that something long is under way: a spinner on a terminal, one line elsewhere."""
    if not sys.stderr.isatty():
        note(text)
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


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
