"""Finding, reading and writing the files that commands are given."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable, read_stream
from eyeflow.base.reading import read_bytes as read_whole
from eyeflow.base.reasons import why
from eyeflow.base.whole_file import whole_file

if TYPE_CHECKING:
    from eyeflow.svm.container import SignedProgram

STDIN = Path("-")
RULE_BYTES_MAX = 16 * 1024 * 1024
"""A rule file larger than this is not even read: the compiler's own limit is far below."""


def find_rules(paths: list[Path]) -> list[Path]:
    """Return the rule files that `paths` name: files as they are, folders searched for `*.eye`, `-` for stdin."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.rglob("*.eye"))
            if not inside:
                raise EyeflowError(
                    f"no rules in {path}",
                    cause="the folder holds no file that ends in .eye",
                    next_step="name a rule file, or a folder with rules in it",
                    code="no_rules",
                )
            found += inside
        elif path == STDIN or path.exists():  # a pipe, too: `eyeflow check <(make-rule)`
            found.append(path)
        else:
            raise missing(path)
    return list(dict.fromkeys(found))


def missing(path: Path) -> EyeflowError:
    """Return the error for a path that does not exist, with a near name from its folder."""
    guess = None
    if path.parent.is_dir():
        guess = near(path.name, [entry.name for entry in path.parent.iterdir()])
    return EyeflowError(
        f"there is no file {path}",
        cause="nothing exists at this path" if path.parent.is_dir() else f"there is no folder {path.parent}",
        next_step=f"did you mean {path.parent / guess}?" if guess else "check the path",
        code="no_file",
    )


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file, or of stdin for `-`; every refusal of the system becomes an EyeflowError."""
    try:
        return read_stream(sys.stdin.buffer, RULE_BYTES_MAX) if path == STDIN else read_whole(path, RULE_BYTES_MAX)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, Unreadable) as error:
        raise EyeflowError(
            f"cannot read {path}",
            cause=why(error),
            next_step="name a file that you may read" if path.is_dir() else "check the file and its permissions",
            code="unreadable",
        ) from None


def read_program(path: Path) -> tuple[bytes, SignedProgram]:
    """Return the bytes of a program file, and what they hold; an EyeflowError names the file when they hold none."""
    from eyeflow.svm.container import decode
    from eyeflow.svm.failure import ProgramError

    data = read_bytes(path)
    try:
        return data, decode(data)
    except ProgramError as error:
        raise EyeflowError(
            f"{path} holds no program that can be used",
            cause=error.message,
            next_step=error.next_step,
            code=error.code,
            exit_code=error.exit_code,
        ) from error


@contextmanager
def writing(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Give a file to write: whole or not at all, through a symbolic link if it is one; into a device or pipe as it is.

    A rename onto `/dev/null` would take the device from the whole machine. Raises EyeflowError.
    """
    try:
        old = path.stat().st_mode if path.exists() else stat.S_IFREG | (0o666 & ~_umask())
        if stat.S_ISREG(old):
            with whole_file(path.resolve(), 0o600 if private else stat.S_IMODE(old)) as file:
                yield file
        else:
            with path.open("wb") as file:
                yield file
    except OSError as error:
        raise EyeflowError(
            f"cannot write {path}",
            cause=why(error),
            next_step="check that the folder exists, that you may write there, and that the disk has room",
            code="unwritable",
        ) from None


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file, as `writing` does, and make the folder that it is in."""
    with suppress(OSError):  # why there is none, `writing` says
        path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path, private=private) as file:
        file.write(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def usage_error(message: str, next_step: str, cause: str = "") -> EyeflowError:
    """Return the error for arguments that do not make sense together."""
    return EyeflowError(message, cause=cause, next_step=next_step, code="usage", exit_code=ExitCode.USAGE)
