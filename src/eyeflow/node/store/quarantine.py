"""Sets a damaged store aside, whole, and reads from it what the new one goes on with: the evidence stays as it is.

A start may be cut short anywhere in that. The next one goes on from there: `set_aside` moves the store's file first, so
that `finish_move` finds what is left; the new store is given what was read only when it is `unread`.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import apsw

from eyeflow.base.reasons import why
from eyeflow.base.whole_file import sync_directory, write_whole
from eyeflow.node.store.file import FILES, STORE_NAME
from eyeflow.node.store.meta import read_kept
from eyeflow.node.store.programs import read_slots, read_states
from eyeflow.node.store.stream_progress import read_progress
from eyeflow.node.store.types import Batch
from eyeflow.node.streams import NOTHING

_log = logging.getLogger("eyeflow.node")
T = TypeVar("T")

PREFIX = "damaged-"
MARK = "salvaged"
"""The name of a file in such a folder: a new store holds durably what could be read of this one."""
KEPT_MAX = 2
"""Damaged stores that stay; the oldest goes first. A disk that damages one after the other must not fill up by that."""


def set_aside(data_dir: Path, now_us: int) -> Path:
    """Move the files of the store into a folder of their own below `data_dir`; return that. Raises OSError.

    Its name begins with the next number: a clock that is behind must not make the newest pass for the oldest.
    """
    number = 1 + max(map(_number, data_dir.glob(f"{PREFIX}*")), default=0)
    time = datetime.fromtimestamp(now_us / 1e6, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder = data_dir / f"{PREFIX}{number}-{time}"
    folder.mkdir(mode=0o700)
    _move(data_dir, folder)
    return folder


def _number(folder: Path) -> int:
    number = folder.name.removeprefix(PREFIX).partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _newest_first(data_dir: Path) -> list[Path]:
    return sorted(data_dir.glob(f"{PREFIX}*"), key=_number, reverse=True)


def _move(data_dir: Path, folder: Path) -> None:
    # The log last: the file alone would pass for a store that lacks what the log holds.
    for suffix in FILES:
        with suppress(FileNotFoundError):
            (data_dir / (STORE_NAME + suffix)).rename(folder / (STORE_NAME + suffix))
            sync_directory(folder)
            sync_directory(data_dir)


def finish_move(data_dir: Path) -> None:
    """Move the log after a store whose file alone was set aside; SQLite would delete it. Raises OSError."""
    if not (data_dir / STORE_NAME).exists() and (folder := unread(data_dir)) is not None:
        _move(data_dir, folder)


def unread(data_dir: Path) -> Path | None:
    """Return the newest store that was set aside and not given to a new one, None when there is none."""
    folders = _newest_first(data_dir)
    return next((one for one in folders if (one / STORE_NAME).exists() and not (one / MARK).exists()), None)


def note_read(folder: Path) -> None:
    """What could be read of a store is durable in the new one: note that, and remove the oldest folders."""
    try:
        write_whole(folder / MARK, b"", 0o600)
    except OSError as error:
        _log.warning("cannot write %s: %s", folder / MARK, why(error))
    for old in _newest_first(folder.parent)[KEPT_MAX:]:
        shutil.rmtree(old, ignore_errors=True)


def salvaged(folder: Path) -> Batch:
    """Return the programs of a store that was set aside, with their memory, as far as its tables can be read.

    A table comes whole or not at all. A program is signed, and checked again before it runs. Unfinished actions do not
    come: what of them was performed is not known any more.
    """
    try:
        # Nothing is written there: neither a log that was left, nor its index.
        uri = f"{(folder / STORE_NAME).absolute().as_uri()}?mode=ro"
        db = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    except apsw.Error:
        return Batch()
    with closing(db):
        slots, states, kept = _table(read_slots, db), _table(read_states, db), _table(read_kept, db)
        held = {row.key for row in slots or ()}
        memory = tuple(row for key, row in (states or {}).items() if key in held)
        progress = _table(read_progress, db) or NOTHING
        return Batch(put_slots=slots or (), states=memory, put_meta=tuple((kept or {}).items()), progress=progress)


def _table(read: Callable[[apsw.Connection], T], db: apsw.Connection) -> T | None:
    try:
        return read(db)
    except (apsw.Error, ValueError, TypeError, LookupError):  # what bytes that no node wrote are decoded to
        return None
