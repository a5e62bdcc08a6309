"""The programs that this user pushed to boards, kept so that `status` and `log` can name rules and lines."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reading import Unreadable, read_bytes
from eyeflow.cli.files import write_bytes

if TYPE_CHECKING:
    from eyeflow.svm.program import Program

KEPT_MAX = 256
KEY_DIGITS = 16
"""A board's record names a program by so many digits of its id."""


def folder() -> Path:
    """Return where pushed programs are kept: below XDG_CACHE_HOME (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "eyeflow" / "pushed"


def remember(data: bytes, program_id: str) -> None:
    """Keep a pushed program; a cache that cannot be written costs names and lines, not the push."""
    with suppress(EyeflowError, OSError):
        write_bytes(folder() / f"{program_id}.svm", data)
        kept = sorted(folder().glob("*.svm"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in kept[KEPT_MAX:]:
            path.unlink(missing_ok=True)


def recall(program_id: str) -> Program | None:
    """Return a program by its id or the first digits of it, or None when it was not pushed from here."""
    from eyeflow.svm.container import decode
    from eyeflow.svm.failure import ProgramError

    for path in sorted(folder().glob(f"{program_id[:KEY_DIGITS]}*.svm"))[:1]:
        with suppress(OSError, Unreadable, ProgramError):
            return decode(read_bytes(path)).program
    return None


def where(program_id: str, pc: int) -> str:
    """Return the place of an instruction for people: the line of the rule, or its number when the rule is not known."""
    from eyeflow.svm.source_map import line_of

    program = recall(program_id)
    line = line_of(program, pc) if program is not None else 0
    return f"line {line} of {program.source_name}" if program is not None and line else f"instruction {pc}"
