"""Copies of the coordinator's SQLite file: a consistent one while the coordinator writes, and one that goes on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import apsw

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.coordinator.store.sqlite_file import BUSY_MS

AHEAD = 1_000_000
"""By how much the numbers of a restored store go on: more manifests than a node can have got since the backup."""


def copy_store(path: Path, copy: Path) -> None:
    """Write all that is committed in the store `path` to the new file `copy`, durably, as of one moment (VACUUM INTO).

    The coordinator goes on writing meanwhile. Raises EyeflowError `backup`.
    """
    try:
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))  # SQLite would make it as the umask says
        source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        with contextlib.closing(source):
            source.set_busy_timeout(BUSY_MS)
            source.execute("VACUUM INTO ?", (str(copy),))
    except (OSError, apsw.Error) as error:
        raise EyeflowError(
            f"cannot copy the coordinator's store {path}",
            cause=why(error),
            next_step="check that it is there, that the disk has room, and that you may write there",
            code="backup",
        ) from error


def is_whole(path: Path) -> bool:
    """Say whether the file is an undamaged database."""
    try:
        with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as db:
            return bool(db.pragma("quick_check") == "ok")
    except apsw.Error:
        return False


def go_ahead(path: Path) -> None:
    """Let the numbers of a store that was put back go on where no node and no reader of the feed has been.

    A node refuses a manifest that is older than the one it has, and a reader would take the numbers of the feed for
    those that it knows. The file must be a store of this version.
    """
    with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as db, db:
        db.execute("UPDATE nodes SET manifest_version = manifest_version + ?", (AHEAD,))
        db.execute("UPDATE manifest_floors SET version = version + ?", (AHEAD,))
        db.execute("DELETE FROM links")
        db.execute("INSERT INTO changes(time_us, kind, subject, node) VALUES(0, 'restored', '', '')")
        db.execute("DELETE FROM changes")
        db.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'changes'", (AHEAD,))
