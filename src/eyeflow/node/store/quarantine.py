"""Sets a damaged store aside, whole, and reads from it what the new one goes on with: the evidence stays as it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import apsw

from eyeflow.node.store.file import FILES, STORE_NAME
from eyeflow.node.store.meta import read_kept
from eyeflow.node.store.programs import read_slots, read_states
from eyeflow.node.store.stream_progress import read_progress
from eyeflow.node.store.types import Batch
from eyeflow.node.streams import NOTHING

T = TypeVar("T")

PREFIX = "damaged-"
KEPT_MAX = 2
"""Damaged stores that stay; the oldest goes first. A disk that damages one after the other must not fill up by that."""


def set_aside(data_dir: Path, now_us: int) -> Path:
    """Move the files of the store into a folder of their own below `data_dir`; return that. Raises OSError."""
    name = datetime.fromtimestamp(now_us / 1e6, UTC).strftime(f"{PREFIX}%Y%m%dT%H%M%S.%fZ")
    folder = data_dir / name
    folder.mkdir(mode=0o700)
    # The log first: the file alone would pass for a store that lacks what the log holds.
    for suffix in reversed(FILES):
        with suppress(FileNotFoundError):
            (data_dir / (STORE_NAME + suffix)).rename(folder / (STORE_NAME + suffix))
    for old in sorted(data_dir.glob(f"{PREFIX}*"))[:-KEPT_MAX]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


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
