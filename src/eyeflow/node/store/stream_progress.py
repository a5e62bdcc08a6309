"""How far the node has come in streams that can be read again: rows that commit with the records themselves."""

from __future__ import annotations

import apsw

from eyeflow.node.run_key import RunKey
from eyeflow.node.streams import Mark, Progress, Ran
from eyeflow.protocol.slot import Slot


def write_progress(db: apsw.Connection, progress: Progress) -> None:
    """Write how far the events of this batch bring each stream; call it inside a transaction."""
    db.executemany("DELETE FROM stream_runs WHERE stream = ?", [(stream,) for stream in progress.begun])
    db.executemany("INSERT OR REPLACE INTO streams VALUES (?, ?)", progress.nexts.items())
    db.executemany(
        "INSERT OR IGNORE INTO stream_runs VALUES (?, ?, ?, ?)",
        [(one.mark.stream, one.mark.number, one.key.rule, one.key.slot.value) for one in progress.ran],
    )
    db.executemany("DELETE FROM stream_runs WHERE stream = ? AND number < ?", progress.nexts.items())


def read_progress(db: apsw.Connection) -> Progress:
    """Return how far the node has come in streams that can be read again."""
    nexts = {str(stream): int(number) for stream, number in db.execute("SELECT stream, next FROM streams")}
    rows = db.execute("SELECT stream, number, rule, slot FROM stream_runs")
    ran = (Ran(Mark(stream, number), RunKey(rule, Slot(slot))) for stream, number, rule, slot in rows)
    return Progress(nexts, tuple(ran))
