"""Programs that somebody pushed to a board by hand, kept at its gateway: its questions are read with them."""

from __future__ import annotations

import re
from pathlib import Path

from eyeflow.base.machine import WriteWhole
from eyeflow.base.reading import read_at_once
from eyeflow.protocol.wire import PROGRAM_ID

FOLDER = "pushed"
KEPT_MAX = 8
"""A board runs four programs, and may go back to four others."""
PROGRAM_BYTES_MAX = 64 * 1024


class PushedPrograms:
    """The programs below the `directory` of a board, the newest ones. Both methods may block."""

    def __init__(self, directory: Path, write: WriteWhole) -> None:
        self._folder, self._write = directory / FOLDER, write

    def keep(self, program_id: str, program: bytes) -> None:
        """Keep a program beyond a restart of the gateway. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write(self._path(program_id), program, 0o600)
        kept = sorted(self._folder.glob("*.svm"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in kept[KEPT_MAX:]:
            path.unlink(missing_ok=True)

    def program(self, program_id: str) -> bytes:
        """Return a program. Raises OSError when it is not here."""
        return read_at_once(self._path(program_id), PROGRAM_BYTES_MAX)

    def _path(self, program_id: str) -> Path:
        assert re.fullmatch(PROGRAM_ID, program_id)
        return self._folder / f"{program_id}.svm"
