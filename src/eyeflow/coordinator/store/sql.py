"""One connection with an open transaction, whatever the database: all that the statements of the store need.

Statements are written once, in the words that SQLite and PostgreSQL share. Places of values are `?`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]


class Sql(Protocol):
    """Runs statements inside the open transaction. Errors of the database pass through as they are."""

    def rows(self, sql: str, values: Sequence[Any]) -> list[Row]:
        """Return the rows of a SELECT. Texts come as str, bytes as bytes or a view of them."""
        ...

    def run(self, sql: str, values: Sequence[Any]) -> int:
        """Run a statement that changes rows, and return how many it changed."""
        ...
