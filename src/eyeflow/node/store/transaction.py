"""One transaction of the store, which lets go of Python's lock while the disk works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


@contextmanager
def transaction(db: apsw.Connection) -> Iterator[None]:
    """Run the block as one transaction; on an exception nothing of it remains.

    Never `with db:`: apsw 3.54 holds the interpreter's lock while that commits, so that no other thread, the event loop
    among them, runs until the disk has answered. `execute` lets go of it.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
