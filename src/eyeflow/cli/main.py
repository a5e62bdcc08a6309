"""The `eyeflow` command: registers the commands and turns every failure into a message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from eyeflow import __version__
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli import audit, coordinator, deploy, keys, mcu, mcu_sim, node, programs, rules, running, streams, testing
from eyeflow.cli.console import UsageError, note, report_error, report_usage, say

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells expect."""

app = typer.Typer(
    name="eyeflow",
    help="Write a control rule once, prove it safe, run it on a server, a Raspberry Pi and a microcontroller.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for part in (rules, testing, running, programs, deploy):
    part.register(app)
app.add_typer(keys.app, name="keys")
app.add_typer(coordinator.app, name="coordinator")
app.add_typer(node.app, name="node")
app.add_typer(audit.app, name="audit")
mcu_sim.register(mcu.app)
app.add_typer(mcu.app, name="mcu")


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"eyeflow {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; the only place where a failure becomes an exit code."""
    streams.open_standard_streams()
    as_json = "--json" in sys.argv[1:]
    code = _reported(_run, as_json)
    sys.exit(_reported(sys.stdout.flush, as_json) or code)


def _run() -> int:
    """Run the command and return its exit code."""
    stdout, stderr = sys.stdout, sys.stderr
    try:
        code = app(standalone_mode=False)
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
    except Exception as error:  # the last resort: a bug must be reported as one, with what we need to mend it
        from eyeflow.cli.bug import report_bug

        return report_bug(error, as_json=as_json)


def _from_os_error(error: OSError) -> EyeflowError:
    place = f": {error.filename}" if error.filename else ""
    return EyeflowError(
        f"{error.strerror or error}{place}",
        cause="the operating system refused it",
        next_step="check that the path exists, that you may use it, and that the disk is not full",
        code="os_error",
    )


if __name__ == "__main__":
    main()
