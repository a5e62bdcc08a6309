"""The `eyeflow` command: registers the commands and turns every failure into a message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from eyeflow import __version__
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reasons import why
from eyeflow.cli import streams
from eyeflow.cli.console import UsageError, note, report_error, report_usage, say
from eyeflow.cli.surface import MODULES

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells expect."""

PARTS = (
    *(
        "rules",
        "testing",
        "running",
        "programs",
        "deploy",
        "deployments",
        "status",
        "nodes",
        "alarms",
        "keys",
        "tokens",
        "policy",
        "coordinator",
        "node",
    ),
    *("buffer", "executions", "why", "audit", "mcu"),
)
"""Modules of this package that register commands, in the order of `eyeflow --help`."""


def command_line(first: str = "") -> typer.Typer:
    """Return the command tree. If `first` is a command, it has that one only: the others need not be loaded then.

    The generated `MODULES` knows which module to load; for a name it does not know, all are loaded, so that typer can
    say which names are near.
    """
    app = typer.Typer(
        name="eyeflow",
        help="Write a control rule once, prove it safe, run it on a server, a Raspberry Pi and a microcontroller.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for part in (MODULES[first],) if first in MODULES else PARTS:
        import_module(f"eyeflow.cli.{part}").register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"eyeflow {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def run(app: typer.Typer) -> None:
    """Run a command line; the only place where a failure becomes an exit code."""
    streams.open_standard_streams()
    as_json = "--json" in sys.argv[1:]
    code = _reported(partial(_run, app), as_json)
    sys.exit(_reported(sys.stdout.flush, as_json) or code)


def _run(app: typer.Typer) -> int:
    """Run the command and return its exit code."""
    stdout, stderr = sys.stdout, sys.stderr
    try:
        code = app(prog_name="eyeflow", standalone_mode=False)
        return code if isinstance(code, int) else int(ExitCode.OK)
    except SystemExit as error:
        # Typer takes each broken pipe for the reader's, whose leaving is no failure; that of a socket is one.
        sys.stdout, sys.stderr = stdout, stderr
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        return error.code if isinstance(error.code, int) else int(ExitCode.PROBLEMS)


def _reported(run: Callable[[], int | None], as_json: bool) -> int:
    """Run a part of the command, report what went wrong, and return the exit code."""
    try:
        return run() or int(ExitCode.OK)
    except streams.ReaderLeft:
        return int(ExitCode.OK)
    except UsageError as error:
        report_usage(error, as_json=as_json)
        return int(ExitCode.USAGE)
    except typer.Abort:  # a question was answered with Ctrl-C or Ctrl-D
        note("")
        return INTERRUPTED
    except EyeflowError as error:
        report_error(error, as_json=as_json)
        return int(error.exit_code)
    except KeyboardInterrupt:
        note("interrupted")
        return INTERRUPTED
    except OSError as error:
        report_error(_from_os_error(error), as_json=as_json)
        return int(ExitCode.ENVIRONMENT)
    except UnicodeEncodeError as error:
        if (foreign := _foreign_argument()) is None:
            return _bug(error, as_json)
        report_error(foreign, as_json=as_json)
        return int(ExitCode.USAGE)
    except Exception as error:  # the last resort: a bug must be reported as one, with what we need to mend it
        return _bug(error, as_json)


def _bug(error: Exception, as_json: bool) -> int:
    from eyeflow.cli.bug import report_bug

    return report_bug(error, as_json=as_json)


def _foreign_argument() -> EyeflowError | None:
    """Return the error for an argument that is no UTF-8: a path may be so, but no name, key or text."""
    foreign = [text for text in sys.argv[1:] if any("\ud800" <= char <= "\udfff" for char in text)]
    if not foreign:
        return None
    return EyeflowError(
        f"{foreign[0]!a} is no text in UTF-8",
        next_step="write this argument in UTF-8",
        code="usage",
        exit_code=ExitCode.USAGE,
    )


def _from_os_error(error: OSError) -> EyeflowError:
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        from eyeflow.cli.files import missing

        return missing(Path(error.filename))
    place = f": {error.filename}" if error.filename else ""
    return EyeflowError(
        f"{why(error)}{place}",
        cause="the operating system refused it",
        next_step="check that the path exists, that you may use it, and that the disk is not full",
        code="os_error",
    )
