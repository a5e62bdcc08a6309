"""Sets a damaged store aside, whole, so that the node starts with a new one and the evidence stays."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from eyeflow.node.store.file import FILES, STORE_NAME

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
