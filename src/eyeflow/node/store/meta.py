"""Small values by name: what the store says of itself, and what others keep in it (`Batch.put_meta`)."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

KEPT = "kept."
MetaValue = str | int | bytes
_GET = "SELECT value FROM meta WHERE key = ?"
_PUT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


def read_meta(db: apsw.Connection, key: str) -> MetaValue | None:
    """Return a value, None when there is none."""
    value: MetaValue | None = db.execute(_GET, (key,)).get
    return value


def read_number(db: apsw.Connection, key: str) -> int:
    """Return a number, 0 when there is none."""
    return int(read_meta(db, key) or 0)


def read_meta_or_set(db: apsw.Connection, key: str, default: MetaValue) -> MetaValue:
    """Return a value; a store that has it is not written, so that it opens on a full disk, too."""
    value = read_meta(db, key)
    if value is None:
        write_meta(db, key, default)
        value = read_meta(db, key)
    assert value is not None
    return value


def read_named(db: apsw.Connection, prefix: str) -> dict[str, MetaValue]:
    """Return the values whose names begin with `prefix`, by the rest of their names."""
    # Cut here: `substr` of SQLite ends a text at its first NUL.
    rows = db.execute("SELECT key, value FROM meta WHERE key GLOB ?", (prefix + "*",))
    return {str(key).removeprefix(prefix): value for key, value in rows}


def write_meta(db: apsw.Connection, key: str, value: MetaValue) -> None:
    """Write a value."""
    db.execute(_PUT, (key, value))


def write_kept(db: apsw.Connection, values: Iterable[tuple[str, bytes]]) -> None:
    """Write small values of others; call it inside a transaction."""
    db.executemany(_PUT, [(KEPT + key, value) for key, value in values])


def read_kept(db: apsw.Connection) -> dict[str, bytes]:
    """Return the small values that others keep here (`Batch.put_meta`)."""
    return {name: value for name, value in read_named(db, KEPT).items() if isinstance(value, bytes)}
