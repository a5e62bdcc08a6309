"""What engineers write by hand to keep events: one row for each event in SQLite, WAL, `synchronous=FULL`.

It does no more: nothing is decided, chained, audited or acted on. So it is the floor of what a commit costs, with as
many rows in one as a node takes (`batch` 256), and what most scripts do (`batch` 1).
"""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path


def rows_a_second(path: Path, batch: int, seconds: float) -> float:
    """Write rows for so long; return how many a second were durable."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, time REAL, payload TEXT)")
    count, began_s = 0, time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        events = [{"number": number, "temp": 81.5} for number in range(count, count + batch)]
        db.execute("BEGIN")
        values = ((time.time(), json.dumps(event)) for event in events)
        db.executemany("INSERT INTO events (time, payload) VALUES (?, ?)", values)
        db.execute("COMMIT")
        count += batch
    took_s = time.perf_counter() - began_s
    db.close()
    return count / took_s
