"""What is read of the archive, in the words that SQLite and PostgreSQL share, each look by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from eyeflow.coordinator.archive import sql_archive as sql
from eyeflow.coordinator.archive.chain import Row
from eyeflow.coordinator.archive.database import (
    Acting,
    Arrival,
    Chain,
    ExecutionsAsked,
    FoundExecution,
    KeptState,
    Place,
)
from eyeflow.coordinator.archive.sql_searching import arrived_query, listed, page_query, stop_query

T = TypeVar("T")

BUNDLES_AT_ONCE = 64
"""Bundles that are looked through for one answer to who follows."""
ROWS_AT_ONCE = 10_000
"""Records that are looked through for one page, or one answer to who follows; a whole bundle at least."""
CHANGES_MAX = 1_000
"""Changes of one rule that are looked through for the last of one kind."""
_CHAIN = "(SELECT id FROM chains WHERE node = ? AND epoch = ? AND branch = 0)"


class SqlReader:
    """What the readers of both databases share; see `ArchiveReader`."""

    _names_index = False
    """The database is told which index to read."""

    def _look(self, look: Callable[[sql.ArchiveSql], T]) -> T:
        raise NotImplementedError

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._look(lambda db: db.rows(query, values))

    def chains(self) -> list[Chain]:
        """Return the newest chain of each node."""
        return self._look(sql.chains)

    def chain(self, node: str, epoch: int) -> Chain | None:
        """Return one chain, None when nothing of it is kept."""
        return self._look(lambda db: sql.chain(db, node, epoch))

    def states(self, node: str) -> list[KeptState]:
        """Return how the rules of a node stood when it told last."""
        return self._look(lambda db: sql.states(db, node))

    def copies(self, node: str) -> list[Chain]:
        """Return all that is kept of a node."""
        return self._look(lambda db: sql.copies(db, node))

    def page(self, node: str, epoch: int, after_seq: int, limit: int, branch: int = 0) -> list[Row]:
        """Return records of a chain that follow `after_seq`, ascending, at most `limit`."""
        return self._look(lambda db: sql.page(db, node, epoch, after_seq, limit, branch))

    def executions(self, asked: ExecutionsAsked) -> tuple[list[FoundExecution], Place | None]:
        """Return executions that fit, newest first, and where to go on; see `ArchiveReader`."""
        chains = self._chains_of(asked)
        if chains == [] or asked.acts == frozenset():
            return [], None
        stop = self._stop(asked, chains)
        found = self._found(self._rows(*page_query(asked, chains, self._names_index, stop)))
        return found, found[-1].place if len(found) == asked.limit else stop

    def _stop(self, asked: ExecutionsAsked, chains: Sequence[int] | None) -> Place | None:
        """Return where the look for a page ends, None at the end of what there is."""
        has_aside = bool(self._rows("SELECT 1 FROM chains WHERE branch > 0 LIMIT 1"))
        query = stop_query(asked, chains, self._names_index, ROWS_AT_ONCE, has_aside)
        rows = self._rows(*query) if query is not None else []
        return tuple(rows[0]) if rows else None

    def arrived(self, asked: ExecutionsAsked, after: Arrival | None) -> tuple[list[FoundExecution], Arrival, bool]:
        """Return executions in the order in which they came; see `ArchiveReader`."""
        ((archive,),) = self._rows("SELECT id FROM archive_id")
        newest = self._rows("SELECT number, last_seq FROM arrivals ORDER BY number DESC LIMIT 1")
        end = tuple(newest[0]) if newest else (0, 0)
        if after is None:
            return [], (archive, *end), False
        begin = after[1:] if after[0] == archive else (0, 0)
        if begin >= end or asked.acts == frozenset():
            return [], (archive, *max(begin, end)), False
        until = self._until(begin[0]) or end
        rows = self._rows(*arrived_query(asked, self._chains_of(asked), begin, until[0]))
        read = (rows[-1][-1], rows[-1][1]) if len(rows) == asked.limit else until
        return self._found([row[:-1] for row in rows]), (archive, *read), read < end

    def _until(self, number: int) -> tuple[int, int] | None:
        """Return the last bundle of one answer that begins with bundle `number`, and its last record."""
        query = "SELECT number, first_seq, last_seq FROM arrivals WHERE number >= ? ORDER BY number LIMIT ?"
        until, looked = None, 0
        for one, first_seq, last_seq in self._rows(query, (number, BUNDLES_AT_ONCE)):
            looked += last_seq - first_seq + 1
            if until is not None and until[0] > number and looked > ROWS_AT_ONCE:
                break
            until = (one, last_seq)
        return until

    def acting(self, after: int, limit: int) -> list[Acting]:
        """Return what records are found by for an action, from a number on; see `ArchiveReader`."""
        query = "SELECT number, program, sites FROM acting WHERE number > ? ORDER BY number LIMIT ?"
        rows = self._rows(query, (after, limit))
        return [Acting(number, program, tuple(map(int, sites.split()))) for number, program, sites in rows]

    def of_rule(self, node: str, epoch: int, rule: str, after_seq: int, until_seq: int, limit: int) -> list[bytes]:
        """Return records of a rule, and of no rule, ascending; see `ArchiveReader`."""
        one = f"""
            SELECT * FROM (SELECT seq, record FROM records INDEXED BY records_of_rules
            WHERE chain = {_CHAIN} AND rule = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?) AS one
        """
        names = sorted({"", rule})
        values = [part for name in names for part in (node, epoch, name, after_seq, until_seq, limit)]
        query = " UNION ALL ".join(one for _ in names)
        return [row[1] for row in self._rows(f"{query} ORDER BY seq LIMIT ?", (*values, limit))]

    def begin_of_rule(self, node: str, epoch: int, rule: str, until_seq: int, count: int) -> int:
        """Return the seq before the last `count` records of a rule up to `until_seq`; 0 when there are fewer."""
        rows = self._rows(
            f"SELECT seq FROM records INDEXED BY records_of_rules WHERE chain = {_CHAIN} AND rule = ? AND seq <= ? "
            "ORDER BY seq DESC LIMIT 1 OFFSET ?",
            (node, epoch, rule, until_seq, count),
        )
        return int(rows[0][0]) if rows else 0

    def changes_of_rule(self, node: str, epoch: int, rule: str, until_seq: int) -> list[bytes]:
        """Return records that changed which program of a rule runs, the newest first; see `ArchiveReader`."""
        query = f"""
            SELECT record FROM records INDEXED BY changes_of_rules
            WHERE chain = {_CHAIN} AND rule = ? AND seq <= ? AND kind NOT IN (1, 2, 3, 13, 15, 16)
            ORDER BY seq DESC LIMIT ?
        """
        return [row[0] for row in self._rows(query, (node, epoch, rule, until_seq, CHANGES_MAX))]

    def holes(self, node: str, epoch: int, after_seq: int, until_seq: int) -> list[int]:
        """Return the seqs of records before which others are missing; see `ArchiveReader`."""
        query = f"""
            SELECT first_seq FROM arrivals a WHERE chain = {_CHAIN} AND first_seq > ? AND first_seq <= ? AND NOT EXISTS
            (SELECT 1 FROM records r WHERE r.chain = a.chain AND r.seq = a.first_seq - 1) ORDER BY first_seq
        """
        return [row[0] for row in self._rows(query, (node, epoch, max(after_seq, 1), until_seq))]

    def _chains_of(self, asked: ExecutionsAsked) -> list[int] | None:
        if asked.nodes is None:
            return None
        query = "SELECT id FROM chains WHERE branch = 0 AND node IN (SELECT value FROM json_each(?))"
        return [row[0] for row in self._rows(query, (listed(asked.nodes),))]

    def _found(self, rows: Sequence[Any]) -> list[FoundExecution]:
        if not rows:
            return []
        ids = sorted({row[0] for row in rows})
        query = "SELECT id, node, epoch FROM chains WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))"
        chains = {number: (node, epoch) for number, node, epoch in self._rows(query, (listed(ids),))}
        return [FoundExecution(*chains[row[0]], row[0], Row(*row[1:])) for row in rows]
