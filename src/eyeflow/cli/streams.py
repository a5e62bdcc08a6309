"""The edges of the process: stdin, stdout and stderr that are closed, full, unread, or not in UTF-8."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why

_USES = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))
"""What stands in for a closed descriptor. A read-only stdout refuses what is written, so that its loss is noticed."""
NO_OUTPUT = "no_output"
"""The code of the error when stdout cannot be written."""


class ReaderLeft(Exception):  # noqa: N818 - it ends a stream of output, it is no failure
    """Nobody reads stdout any more: a command that would go on printing ends."""


class GuardedStream:
    """A stream that survives its reader; all else is as the stream has it.

    When the reader has left, what is written is thrown away and the command goes on: its exit code still tells how it
    ended (`eyeflow test | head -n 1`). Raises EyeflowError when stdout cannot be written for any other reason.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_unread = False

    def write(self, text: str) -> int:
        """Write a text."""
        if text == "":
            return 0  # typer writes nothing to try a stream, and hides its errors
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lost(error)
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes, whatever the encoding of the stream."""
        self.flush()
        try:
            self._stream.buffer.write(data)
        except OSError as error:
            self._lost(error)

    def flush(self) -> None:
        """Hand over what was written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lost(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lost(self, error: OSError) -> None:
        _discard(self._stream)
        if isinstance(error, BrokenPipeError):
            self.is_unread = True
        elif self._stream.fileno() == 1:
            raise EyeflowError(
                "cannot write to standard output",
                cause="it is closed" if error.errno == errno.EBADF else why(error),
                next_step="check where the output goes, and whether the disk there is full",
                code=NO_OUTPUT,
            ) from error


def open_standard_streams() -> None:
    """Give the process all three streams, and let them print any character and outlive their readers.

    Without this a file that the command opens, a database for example, may become descriptor 1 and take what is
    printed; and Python's `sys.stdout` is None.
    """
    for descriptor, use in _USES:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, use), True)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = _guarded(sys.stdout or os.fdopen(1, "w", closefd=False))
    sys.stderr = _guarded(sys.stderr or os.fdopen(2, "w", closefd=False))


def _guarded(stream: TextIO) -> TextIO:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream if isinstance(stream, GuardedStream) else cast(TextIO, GuardedStream(stream))


def require_reader() -> None:
    """Raise ReaderLeft when stdout has no reader any more; for commands that only show, and may never end."""
    if isinstance(sys.stdout, GuardedStream) and sys.stdout.is_unread:
        raise ReaderLeft


def hand_over() -> None:
    """Flush stdout; raises ReaderLeft when it has no reader any more."""
    sys.stdout.flush()
    require_reader()


def _discard(stream: TextIO) -> None:
    """Let nothing more of a stream be written, also not what waits in its buffer."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
