"""What is searched for in the archive: executions by filters or as they came, and the records of a rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eyeflow.coordinator.archive.chain import Row
from eyeflow.coordinator.archive.sql_searching import (
    Acting,
    Arrival,
    ExecutionsAsked,
    FoundExecution,
    arrived_query,
    page_query,
)

BUNDLES_AT_ONCE = 64
"""Bundles that are looked through for one answer to who follows: each has some hundred records."""
CHANGES_MAX = 1_000
"""Changes of one rule that are looked through for the last of one kind."""
_CHAIN = "(SELECT id FROM chains WHERE node = ? AND epoch = ? AND branch = 0)"


class Searching:
    """Part of the readers of both databases."""

    _names_index = False
    """The database is told which index to read."""

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        raise NotImplementedError

    def executions(self, asked: ExecutionsAsked) -> list[FoundExecution]:
        """Return executions that fit, newest first; see `ArchiveReader`."""
        chains = self._chains_of(asked)
        if chains == [] or asked.acts == frozenset():
            return []
        return self._found(self._rows(*page_query(asked, chains, names_index=self._names_index)))

    def arrived(self, asked: ExecutionsAsked, after: Arrival | None) -> tuple[list[FoundExecution], Arrival, bool]:
        """Return executions in the order in which they came; see `ArchiveReader`."""
        newest = self._rows("SELECT number, last_seq FROM arrivals ORDER BY number DESC LIMIT 1")
        end: Arrival = tuple(newest[0]) if newest else (0, 0)
        if after is None or after >= end or asked.acts == frozenset():
            return [], end if after is None else max(after, end), False
        last = self._rows(
            "SELECT number, last_seq FROM (SELECT * FROM arrivals WHERE number >= ? ORDER BY number LIMIT ?) "
            "AS next ORDER BY number DESC LIMIT 1",
            (after[0], BUNDLES_AT_ONCE),
        )
        until: Arrival = tuple(last[0]) if last else end
        rows = self._rows(*arrived_query(asked, self._chains_of(asked), after, until[0]))
        read = (rows[-1][-1], rows[-1][1]) if len(rows) == asked.limit else until
        return self._found([row[:-1] for row in rows]), read, read < end

    def acting(self, after: int) -> list[Acting]:
        """Return what records are found by for an action, from a number on; see `ArchiveReader`."""
        rows = self._rows("SELECT number, program, sites FROM acting WHERE number > ? ORDER BY number", (after,))
        return [Acting(number, program, tuple(map(int, sites.split()))) for number, program, sites in rows]

    def of_rule(self, node: str, epoch: int, rule: str, after_seq: int, until_seq: int, limit: int) -> list[bytes]:
        """Return records of a rule, and of no rule, ascending; see `ArchiveReader`."""
        one = f"""
            SELECT * FROM (SELECT seq, record FROM records INDEXED BY records_of_rules
            WHERE chain = {_CHAIN} AND rule = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?) AS one
        """
        values = [part for name in ("", rule) for part in (node, epoch, name, after_seq, until_seq, limit)]
        return [row[1] for row in self._rows(f"{one} UNION ALL {one} ORDER BY seq LIMIT ?", (*values, limit))]

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
            WHERE chain = {_CHAIN} AND rule = ? AND seq <= ? AND kind NOT IN (1, 2, 3, 13) ORDER BY seq DESC LIMIT ?
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
        among = ", ".join("?" * len(asked.nodes))
        query = f"SELECT id FROM chains WHERE branch = 0 AND node IN ({among})"
        return [row[0] for row in self._rows(query, sorted(asked.nodes))]

    def _found(self, rows: Sequence[Any]) -> list[FoundExecution]:
        if not rows:
            return []
        ids = sorted({row[0] for row in rows})
        query = f"SELECT id, node, epoch FROM chains WHERE id IN ({', '.join('?' * len(ids))})"
        chains = {number: (node, epoch) for number, node, epoch in self._rows(query, ids)}
        return [FoundExecution(*chains[row[0]], row[0], Row(*row[1:])) for row in rows]
