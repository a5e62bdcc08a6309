"""A bug of eyeflow itself: say so, and write down what is needed to mend it."""

from __future__ import annotations

import platform
import re
import sys
import tempfile
import traceback
from pathlib import Path

from eyeflow import __version__
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli.console import report_error


def report_bug(error: BaseException, *, as_json: bool) -> int:
    """Write a report file with the traceback, tell the user where it is, and return the exit code for a bug."""
    lines = [
        f"eyeflow {__version__}",
        f"python {platform.python_version()} on {platform.platform()}",
        f"arguments: {_without_secrets(sys.argv[1:])!r}",
        "",
        *traceback.format_exception(error),
    ]
    place = _written("\n".join(lines))
    summary = EyeflowError(
        f"this is a bug in eyeflow {__version__}, not in your rule: {type(error).__name__}: {error}",
        next_step=f"please report it with the file {place}" if place else "please report it with what you typed",
        code="bug",
        exit_code=ExitCode.BUG,
    )
    report_error(summary, as_json=as_json)
    return int(ExitCode.BUG)


def _without_secrets(arguments: list[str]) -> list[str]:
    """Reports are sent to others: a password in a URL stays here."""
    return [re.sub(r"(://[^:@/]*):[^@]*@", r"\1:***@", one) for one in arguments]


def _written(report: str) -> Path | None:
    """Write the report and return where it is; None when nothing can be written, which must not hide the bug."""
    try:
        with tempfile.NamedTemporaryFile("wb", prefix="eyeflow-bug-", suffix=".txt", delete=False) as out:
            out.write(report.encode(errors="backslashreplace"))
    except OSError:
        return None
    return Path(out.name)
