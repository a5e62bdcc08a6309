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

    def run(self, sql: str, values: Sequence[Any]) -> None:
        """Run a statement that changes rows. Its error may come later: with the next answer, or with the commit."""
        ...

    def append(self, change: Row) -> None:
        """Append (time_us, kind, subject, node, labels) to the feed, behind all that was appended before."""
        ...

    def count(self, deployment_id: str, state: str, change: int) -> None:
        """Add to how many nodes of a deployment stand in a state."""
        ...

    def must_change(self, sql: str, values: Sequence[Any], what: str) -> None:
        """Run a statement that changes one row, or raise ConflictError about `what`: at the latest with the commit."""
        ...

    def changed(self, sql: str, values: Sequence[Any]) -> int:
        """Run a statement that changes rows, and return how many it changed: that costs a round trip to a server."""
        ...
