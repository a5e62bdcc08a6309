"""Whether a store has the tables and columns that its version says.

A version that was never released may have written a store under the same number with other tables. Without this look,
the first question that needs a missing column would end the coordinator as a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import apsw

from eyeflow.base.errors import EyeflowError

Column = tuple[str, str]
COLUMNS = (
    "SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns "
    "WHERE tables.type = 'table' AND tables.name <> 'sqlite_sequence'"
)
"""All (table, column) of a SQLite file."""


@cache
def _columns_of(migrations: tuple[str, ...]) -> frozenset[Column]:
    db = apsw.Connection(":memory:")
    try:
        for migration in migrations:
            db.execute(migration)
        return frozenset((str(table), str(column)) for table, column in db.execute(COLUMNS))
    finally:
        db.close()


def check_columns(place: str, migrations: tuple[str, ...], found: Iterable[Column], next_step: str) -> None:
    """Raise EyeflowError unless all columns are there that the migrations make. `place` names the store."""
    missing = sorted(_columns_of(migrations) - frozenset(found))
    if missing:
        named = ", ".join(f"{table}.{column}" for table, column in missing[:3])
        raise EyeflowError(
            f"{place} is not a store that this eyeflow can use",
            cause=f"an eyeflow between two releases wrote it: it lacks {named}"
            + (f" and {len(missing) - 3} more columns" if len(missing) > 3 else ""),
            next_step=next_step,
            code="store_version",
        )
