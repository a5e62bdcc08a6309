"""The questions and changes of `trends` as SQL."""

from __future__ import annotations

from eyeflow.coordinator.store.sql import Sql
from eyeflow.coordinator.store.trends import CLUSTER, Block, Span


class SqlTrendReading:
    """Satisfies `TrendReading`."""

    _db: Sql

    def trend(self, node: str, span: Span, since_us: int) -> list[Block]:
        """Return the blocks of a node that begin at a time or later; of CLUSTER: those of all coordinators."""
        where = "node >= '@' AND node < 'A'" if node == CLUSTER else "node = ?"
        found = self._db.rows(
            f"SELECT node, start_us, points FROM trends WHERE {where} AND span = ? AND start_us >= ? ORDER BY start_us",
            [*([] if node == CLUSTER else [node]), span.value, since_us],
        )
        return [Block(name, span, start_us, bytes(points)) for name, start_us, points in found]


class SqlTrendWriting(SqlTrendReading):
    """Satisfies `TrendWriting`."""

    def keep_trend(self, block: Block) -> None:
        """Keep a block, in place of the one that began at the same time."""
        self._db.run(
            "INSERT INTO trends(node, span, start_us, points) VALUES(?, ?, ?, ?) "
            "ON CONFLICT(node, span, start_us) DO UPDATE SET points = excluded.points",
            (block.node, block.span.value, block.start_us, block.points),
        )

    def forget_trends(self, span: Span, before_us: int) -> None:
        """Forget the blocks that begin before a time."""
        self._db.run("DELETE FROM trends WHERE span = ? AND start_us < ?", (span.value, before_us))
