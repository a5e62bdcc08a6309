"""Executions of all nodes by what people ask for: what is asked, and the SQL for it that SQLite and PostgreSQL share.

Each filter has an index that ends with the time, so a page costs about what it returns. Of several filters the index of
the one that fits fewest executions as a rule is read, and the others are checked row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eyeflow.coordinator.archive.chain import NO_OUTCOME, Row

ALTERNATIVES_MAX = 64
"""Up to so many values of one filter its index is read once for each; more are checked row by row."""

INDEXES = """
    CREATE INDEX records_of_rules ON records (chain, rule, seq);
    CREATE INDEX changes_of_rules ON records (chain, rule, seq) WHERE kind NOT IN (1, 2, 3, 13);
    CREATE INDEX executions_by_time ON records (time_us, chain, seq) WHERE kind = 1;
    CREATE INDEX executions_by_chain ON records (chain, time_us, seq) WHERE kind = 1;
    CREATE INDEX executions_by_rule ON records (rule, time_us, chain, seq, outcome, acts) WHERE kind = 1;
    CREATE INDEX executions_by_key ON records (key, time_us, chain, seq) WHERE kind = 1 AND key <> '';
    CREATE INDEX executions_by_outcome ON records (outcome, time_us, chain, seq) WHERE kind = 1 AND outcome > 0;
    CREATE INDEX executions_by_acts ON records (acts, time_us, chain, seq) WHERE kind = 1 AND acts > 0;
"""
ASIDE = "chain NOT IN (SELECT id FROM chains WHERE branch > 0)"
"""Copies that were set aside are evidence, and not what happened."""
COLUMNS = "chain, seq, time_us, kind, rule, slot, key, outcome, record"

_ORDER = "ORDER BY time_us DESC, chain DESC, seq DESC"

Place = tuple[int, int, int]
"""Where an execution stands among all: its time (us), the number of its chain in this archive, its seq."""
Arrival = tuple[int, int]
"""How far somebody has read: the number of a bundle, and the seq of the last record that was read of it."""


@dataclass(frozen=True, slots=True)
class ExecutionsAsked:
    """Filters; those that are left out fit everything. `nodes` None: all. `acts`: numbers of `Acting`, None: any.

    Times are those of the nodes' clocks, in microseconds: from `since_us` on, and before `until_us`.
    """

    limit: int
    before: Place | None = None
    nodes: frozenset[str] | None = None
    rule: str = ""
    key: str = ""
    outcome: int = NO_OUTCOME
    acts: frozenset[int] | None = None
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class FoundExecution:
    """An execution with the chain that it is of."""

    node: str
    epoch: int
    chain: int
    row: Row

    @property
    def place(self) -> Place:
        """Where it stands among all."""
        return (self.row.time_us, self.chain, self.row.seq)


@dataclass(frozen=True, slots=True)
class Acting:
    """A program (32 bytes) and the sites at which it acted in one execution: for an action, records are found by it."""

    number: int
    program: bytes
    sites: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Drive:
    """The index that is read, its column, and the values of which each is read on its own."""

    index: str
    column: str = ""
    values: Sequence[Any] = ()
    implied: str = ""


def page_query(asked: ExecutionsAsked, chains: Sequence[int] | None, names_index: bool) -> tuple[str, list[Any]]:
    """Return the query for a page, newest first, and its values. `chains`: those of the nodes asked for, None: all.

    `names_index`: SQLite is told which index to read, since it keeps no statistics.
    """
    drive = _drive(asked, chains)
    residual, values = _checked(asked, chains, drive.column)
    where = " AND ".join(["kind = 1", *([drive.implied] if drive.implied else []), *residual])
    hint = f" INDEXED BY {drive.index}" if names_index else ""
    column = f"{drive.column} = ? AND " if drive.column else ""
    one = f"SELECT time_us, chain, seq FROM records{hint} WHERE {column}{where} {_ORDER} LIMIT ?"
    each = [part for value in drive.values or [None] for part in (*([value] if column else []), *values, asked.limit)]
    if len(drive.values) <= 1:
        return _whole(one), each
    parts = " UNION ALL ".join(f"SELECT * FROM ({one}) AS part{number}" for number in range(len(drive.values)))
    return _whole(f"SELECT * FROM ({parts}) AS parts {_ORDER} LIMIT ?"), [*each, asked.limit]


def _whole(places: str) -> str:
    """Return the query for the records at these places: what is checked on the way there is in the index."""
    columns = ", ".join(f"r.{name}" for name in COLUMNS.split(", "))
    join = "JOIN records r ON r.chain = places.chain AND r.seq = places.seq"
    order = _ORDER.replace("time_us", "places.time_us").replace("chain", "places.chain").replace("seq", "places.seq")
    return f"SELECT {columns} FROM ({places}) AS places {join} {order}"


def _drive(asked: ExecutionsAsked, chains: Sequence[int] | None) -> _Drive:
    if asked.key:
        return _Drive("executions_by_key", "key", [asked.key], "key <> ''")
    if asked.acts is not None and len(asked.acts) <= ALTERNATIVES_MAX:
        return _Drive("executions_by_acts", "acts", sorted(asked.acts), "acts > 0")
    if asked.outcome > 0:
        return _Drive("executions_by_outcome", "outcome", [asked.outcome], "outcome > 0")
    if asked.rule:
        return _Drive("executions_by_rule", "rule", [asked.rule])
    if chains is not None and len(chains) <= ALTERNATIVES_MAX:
        return _Drive("executions_by_chain", "chain", chains)
    return _Drive("executions_by_time")


def _checked(asked: ExecutionsAsked, chains: Sequence[int] | None, driven: str) -> tuple[list[str], list[Any]]:
    """Return the conditions that are checked row by row, and their values."""
    found, values = _filters(asked, driven)
    if driven != "chain":
        found.append(ASIDE if chains is None else _among("chain", chains))
        values += chains or ()
    if asked.before is not None:
        found += ["time_us <= ?", "(time_us, chain, seq) < (?, ?, ?)"]
        values += [asked.before[0], *asked.before]
    return found, values


def _filters(asked: ExecutionsAsked, driven: str = "") -> tuple[list[str], list[Any]]:
    found: list[str] = []
    values: list[Any] = []
    for column, value in (("rule", asked.rule), ("key", asked.key), ("outcome", asked.outcome)):
        if column != driven and value not in ("", NO_OUTCOME):
            found.append(f"{column} = ?")
            values.append(value)
    if asked.acts is not None and driven != "acts":
        found.append(_among("acts", asked.acts))
        values += sorted(asked.acts)
    for text, bound in (("time_us >= ?", asked.since_us), ("time_us < ?", asked.until_us)):
        if bound is not None:
            found.append(text)
            values.append(bound)
    return found, values


def _among(column: str, values: Sequence[int] | frozenset[int]) -> str:
    return f"{column} IN ({', '.join('?' * len(values))})" if values else "1 = 0"


def arrived_query(
    asked: ExecutionsAsked, chains: Sequence[int] | None, after: Arrival, until: int
) -> tuple[str, list[Any]]:
    """Return the query for executions in the order in which they came: behind `after`, up to bundle `until`."""
    found, values = _filters(asked)
    if chains is not None:
        found.append(_among("r.chain", chains))
        values += chains
    columns = ", ".join(f"r.{name}" for name in COLUMNS.split(", "))
    query = f"""
        SELECT {columns}, a.number FROM arrivals a
        JOIN chains c ON c.id = a.chain AND c.branch = 0
        JOIN records r ON r.chain = a.chain AND r.seq >= a.first_seq AND r.seq <= a.last_seq
        WHERE a.number >= ? AND a.number <= ? AND (a.number > ? OR r.seq > ?) AND r.kind = 1
        {"".join(f" AND {one}" for one in found)} ORDER BY a.number, r.seq LIMIT ?
    """
    return query, [after[0], until, *after, *values, asked.limit]
