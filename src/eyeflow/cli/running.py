"""The command `run`: a rule or program on recorded events."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.duration import format_duration
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, parse_float
from eyeflow.base.word import literal
from eyeflow.cli import compiling
from eyeflow.cli.console import JsonFlag, counted, iso_time, note, paint, say, say_json
from eyeflow.cli.durations import duration_us
from eyeflow.cli.files import STDIN, read_bytes, read_program, usage_error
from eyeflow.cli.parameters import parse_params
from eyeflow.cli.streams import require_reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eyeflow.node.replay.event_files import EventRows, TimeSource
    from eyeflow.node.replay.replay import ActionRecord, ReplayOptions, Summary
    from eyeflow.svm.program import Program
    from eyeflow.svm.verify import Verified

SPEED_MIN, SPEED_MAX = 0.001, 1e6
"""Slower, a gap of a night would last for years, and longer than a sleep may."""

EventsOption = Annotated[
    list[str],
    typer.Option(
        "--events",
        metavar="[NAME=]FILE",
        help="Recorded events: a CSV or JSON Lines file, or - for stdin. May be given again; NAME is the handler.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("run")(run)


def run(
    rule: Annotated[Path, typer.Argument(help="A rule (.eye) or a compiled program (.svm).")],
    events: EventsOption,
    read: Annotated[
        list[str] | None,
        typer.Option("--read", metavar="CALL=COLUMN", help="What answers a read: 'adc.read_channel(0)=value'."),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Set a parameter of the rule.")
    ] = None,
    trigger: Annotated[
        str, typer.Option("--trigger", help="The handler's event name, when several could take them.")
    ] = "",
    stream: Annotated[
        str, typer.Option("--stream", metavar="COLUMN", help="The column that names the handler of each event.")
    ] = "stream",
    timestamp: Annotated[
        str, typer.Option("--timestamp", metavar="COLUMN", help="The column with the time.")
    ] = "timestamp",
    period: Annotated[
        str, typer.Option("--period", metavar="DURATION", help="The file has no times: one event each so long.")
    ] = "",
    speed: Annotated[str, typer.Option("--speed", help="1 as recorded, 60 a minute in a second, or max.")] = "max",
    timezone: Annotated[str, typer.Option("--timezone", help="For local time words: Europe/Berlin.")] = "UTC",
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Show also actions that repeat the level a pin already has.")
    ] = False,
    summary_only: Annotated[bool, typer.Option("--summary", help="Print only the summary.")] = False,
    catalog: compiling.CatalogOption = None,
    json_: JsonFlag = False,
) -> None:
    """Run a rule on recorded events and show what it would have done. Nothing reaches the world."""
    from eyeflow.node.replay.event_files import TimeSource

    verified = load_program(rule, catalog)
    options = replace(_options(verified.program, read, param, trigger, speed, timezone, repeats=repeats), stream=stream)
    rows = _open_recordings(events, TimeSource(timestamp, _period_us(period)))
    _play(verified, rows, options, show=not summary_only, as_json=json_)


def _play(verified: Verified, rows: EventRows, options: ReplayOptions, *, show: bool, as_json: bool) -> None:
    from eyeflow.node.replay.replay import Replay

    replay = Replay(verified, rows, options, tell=note)
    try:
        for record in replay.run():
            if show:
                _show(record, as_json)
                require_reader()
    except KeyboardInterrupt:
        note("interrupted: the summary is of the events so far")
        _show_summary(replay.summary, rows, as_json)
        raise
    finally:
        rows.close()
    _show_summary(replay.summary, rows, as_json)


def _open_recordings(texts: list[str], times: TimeSource) -> EventRows:
    """Open all recordings and merge them by time."""
    from eyeflow.node.replay.event_files import open_events
    from eyeflow.node.replay.streams import merge_events, named_path

    named = [named_path(text, lambda whole: Path(whole).exists()) for text in texts]
    _check_recordings([path for _name, path in named])
    opened: list[EventRows] = []
    try:
        for name, path in named:
            found = open_events(None if path == str(STDIN) else Path(path), sys.stdin.buffer, times)
            opened.append(replace(found, streams=(name,)))
        return merge_events(opened)
    except EyeflowError:
        for one in opened:
            one.close()
        raise


def _check_recordings(paths: list[str]) -> None:
    """Refuse what could not mean a recording: `--events door=` would read the current folder."""
    if "" in paths:
        raise EyeflowError(
            "--events has no file behind `=`", next_step="write --events NAME=FILE", exit_code=ExitCode.USAGE
        )
    if paths.count(str(STDIN)) > 1:
        raise EyeflowError(
            "standard input is named twice as a recording",
            cause="It can be read once.",
            next_step="put one of the recordings into a file",
            exit_code=ExitCode.USAGE,
        )


def load_program(path: Path, catalog: list[Path] | None) -> Verified:
    """Return a verified program from a .svm file, or by compiling a rule."""
    from eyeflow.svm.verify import verify

    data = read_bytes(path) if path.is_file() and path.suffix != ".eye" else b""  # a pipe can be read once only
    if data.startswith(b"\x7fSVM") or path.suffix == ".svm":
        from eyeflow.svm.signing import check_unchanged

        _data, signed = read_program(path)
        check_unchanged(signed)
        return verify(signed.program)
    options = compiling.compile_options(None, "")
    source, result = compiling.compile_path(path, compiling.load_catalog(catalog), options, guess_profile=True)
    if result.program is None or compiling.has_errors(result.diagnostics):
        compiling.show_diagnostics(result.diagnostics, source, path, compiling.Format.TEXT)
    if result.program is None:
        raise EyeflowError(f"{path} does not compile", code="not_compiled", exit_code=ExitCode.PROBLEMS)
    return verify(result.program)


def _period_us(text: str) -> int:
    if not text:
        return 0
    try:
        period_us = duration_us(text)
    except Unreadable as error:
        raise usage_error(f"--period: {error}", "write for example --period 5min") from None
    if period_us <= 0:
        raise usage_error(f"--period {text} is no time", "write for example --period 5min")
    return period_us


def _options(
    program: Program,
    read: list[str] | None,
    param: list[str] | None,
    trigger: str,
    speed: str,
    timezone: str,
    *,
    repeats: bool,
) -> ReplayOptions:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from eyeflow.node.replay.reads import parse_read
    from eyeflow.node.replay.replay import Repeats, ReplayOptions

    try:
        factor = 0.0 if speed == "max" else parse_float(speed)
        if speed != "max" and not SPEED_MIN <= factor <= SPEED_MAX:
            raise ValueError
    except ValueError:
        raise usage_error(
            f"--speed {speed} is no speed", f"write a number from {SPEED_MIN:g} to {SPEED_MAX:g}, or max"
        ) from None
    try:
        zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise usage_error(f"there is no time zone {timezone}", "write for example --timezone Europe/Berlin") from None
    return ReplayOptions(
        reads=tuple(parse_read(text) for text in read or ()),
        params=parse_params(program, param),
        trigger=trigger,
        speed=factor,
        zone=zone,
        repeats=Repeats.SHOW if repeats else Repeats.LEAVE_OUT,
    )


def _json_record(record: ActionRecord) -> dict[str, Any]:
    return {
        "time": iso_time(record.time_us),
        "event": record.event,
        "rule": record.rule,
        "emit" if record.is_event else "action": record.action,
        "arguments": record.arguments,
        "line": record.line,
        "execution": record.execution,
    }


def _show(record: ActionRecord, as_json: bool) -> None:
    if as_json:
        say_json(_json_record(record), indent=None)
        return
    call = f"{record.action}({', '.join(f'{n}: {literal(v)}' for n, v in record.arguments.items())})"
    place = paint(f"line {record.line}, event {record.event}", "2", sys.stdout)
    say(f"{iso_time(record.time_us)}  {'emit ' if record.is_event else ''}{call}  {place}")


def _show_summary(summary: Summary, rows: EventRows, as_json: bool) -> None:
    if as_json:
        say_json({"summary": summary.to_json()}, indent=None)
        return
    for line in _summary_lines(summary, several_files=len(rows.files) > 1):
        note(line)


def _summary_lines(summary: Summary, *, several_files: bool) -> Iterator[str]:
    yield (
        f"{counted(summary.events, 'event')} over {format_recorded(summary.duration_us)}, "
        f"{counted(summary.executions, 'execution')}, {counted(summary.actions, 'action')}, "
        f"{counted(summary.emits, 'event')} emitted"
    )
    if summary.repeated:
        yield f"{counted(summary.repeated, 'action')} repeated the level a pin already had (--repeats shows them)"
    if summary.skipped:
        yield f"{counted(summary.skipped, 'execution')} skipped by a failed read with `else skip`"
    if summary.out_of_order:
        yield f"{counted(summary.out_of_order, 'event')} older than the one before, taken to be as old as that one"
    for (trap, line), count in summary.traps.items():
        yield f"{counted(count, 'execution')} trapped: {trap} at line {line}"
    for call, count in summary.failed_reads.items():
        yield f"{counted(count, 'read')} failed: {call}"
    if summary.rejected_count:
        yield f"{counted(summary.rejected_count, 'event')} rejected:"
        yield from (f"  {count} x {reason}" for reason, count in summary.rejected.items())
        for example in summary.rejected_examples:
            yield f"  {f'{example.file} ' if several_files else ''}line {example.line}: {example.reason}"


def format_recorded(duration_us: int) -> str:
    """Return how long a recording is, to the second: `12d 3h 5min`."""
    rest_s = round(duration_us / 1e6)
    parts: list[str] = []
    for name, size_s in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if rest_s >= size_s and len(parts) < 3:
            parts.append(f"{rest_s // size_s}{name}")
            rest_s %= size_s
    return " ".join(parts) or format_duration(duration_us)
