"""Remembers outside of the store that there is one: an empty or missing `node.db` is then a loss and no first start."""

from __future__ import annotations

import logging
from pathlib import Path

from eyeflow.base.reading import decode_utf8, read_at_once
from eyeflow.base.reasons import why
from eyeflow.base.whole_file import write_whole

_log = logging.getLogger("eyeflow.node")

MARKER_NAME = "node.epoch"
DIGITS_MAX = 19


def marked_epoch(data_dir: Path) -> int:
    """Return the highest audit epoch of a store that this directory had, 0 when it never had one."""
    try:
        text = decode_utf8(read_at_once(data_dir / MARKER_NAME, DIGITS_MAX + 1)).strip()
    except (OSError, ValueError):
        return 0
    return int(text) if text.isdecimal() and len(text) <= DIGITS_MAX else 0


def mark_epoch(data_dir: Path, epoch: int) -> None:
    """Note the epoch durably. A disk that refuses is told at the next start: it must not keep rules from running."""
    if marked_epoch(data_dir) >= epoch:  # higher after an older store was restored: its own must not come again either
        return
    try:
        write_whole(data_dir / MARKER_NAME, f"{epoch}\n".encode(), 0o600)
    except OSError as error:
        _log.warning("a lost store would not be noticed: cannot write %s: %s", data_dir / MARKER_NAME, why(error))
