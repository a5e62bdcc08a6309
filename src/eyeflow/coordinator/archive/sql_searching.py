"""Executions of all nodes by what people ask for: what is asked, and the SQL for it that SQLite and PostgreSQL share.

Each filter has an index that ends with the time, so a page costs about what it returns. Of several filters the index of
the one that fits fewest executions as a rule is read, and the others are checked row by row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eyeflow.coordinator.archive.chain import NO_OUTCOME
from eyeflow.coordinator.archive.database import ExecutionsAsked, Place

ALTERNATIVES_MAX = 64
"""Up to so many values of one filter its index is read once for each; more are checked row by row."""

INDEXES = """
    CREATE INDEX records_of_rules ON records (chain, rule, seq);
    CREATE INDEX changes_of_rules ON records (chain, rule, seq) WHERE kind NOT IN (1, 2, 3, 13, 15, 16);
    CREATE INDEX executions_by_time ON records (time_us, chain, seq) WHERE outcome >= 0;
    CREATE INDEX executions_by_chain ON records (chain, time_us, seq) WHERE outcome >= 0;
    CREATE INDEX executions_by_rule ON records (rule, time_us, chain, seq, outcome, acts) WHERE outcome >= 0;
    CREATE INDEX executions_by_key ON records (key, time_us, chain, seq) WHERE outcome >= 0 AND key <> '';
    CREATE INDEX executions_by_outcome ON records (outcome, time_us, chain, seq) WHERE outcome > 0;
    CREATE INDEX executions_by_acts ON records (acts, time_us, chain, seq) WHERE outcome >= 0 AND acts > 0;
"""
"""Executions have an outcome, those of boards, too; other records have NO_OUTCOME."""
ASIDE = "chain NOT IN (SELECT id FROM chains WHERE branch > 0)"
"""Copies that were set aside are evidence, and not what happened."""
COLUMNS = "chain, seq, time_us, kind, rule, slot, key, outcome, record"

_ORDER = "ORDER BY time_us DESC, chain DESC, seq DESC"


@dataclass(frozen=True, slots=True)
class _Drive:
    """The index that is read, its column, and the values of which each is read on its own."""

    index: str
    column: str = ""
    values: Sequence[Any] = ()
    implied: str = ""

    def first(self, value: Any) -> list[Any]:
        """Return what a query of the index begins with."""
        return [value] if self.column else []


def page_query(
    asked: ExecutionsAsked, chains: Sequence[int] | None, names_index: bool, stop: Place | None = None
) -> tuple[str, list[Any]]:
    """Return the query for a page, newest first, and its values. `chains`: those of the nodes asked for, None: all.

    `names_index`: SQLite is told which index to read, since it keeps no statistics. `stop`: the last place that counts.
    """
    drive = _drive(asked, chains)
    residual, values = _checked(asked, chains, drive.column)
    if stop is not None:
        residual += ["time_us >= ?", "(time_us, chain, seq) >= (?, ?, ?)"]
        values += [stop[0], *stop]
    one = _places(drive, residual, names_index)
    each = [part for value in drive.values or [None] for part in (*drive.first(value), *values, asked.limit)]
    if len(drive.values) <= 1:
        return _whole(one), each
    parts = " UNION ALL ".join(f"SELECT * FROM ({one}) AS part{number}" for number in range(len(drive.values)))
    return _whole(f"SELECT * FROM ({parts}) AS parts {_ORDER} LIMIT ?"), [*each, asked.limit]


def stop_query(
    asked: ExecutionsAsked, chains: Sequence[int] | None, names_index: bool, rows_max: int, has_aside: bool
) -> tuple[str, list[Any]] | None:
    """Return the query for the place at which the look for a page ends, after `rows_max` entries of its index.

    None: the index has nothing but what fits, so the look ends with the page. `has_aside`: copies were set aside.
    """
    drive = _drive(asked, chains)
    bounds = ExecutionsAsked(asked.limit, asked.before, since_us=asked.since_us, until_us=asked.until_us)
    bounded, values = _checked(bounds, None, drive.column)
    is_checked = set(_checked(asked, chains, drive.column)[0]) != set(bounded)
    if not is_checked and not (has_aside and ASIDE in bounded):
        return None
    one = f"{_places(drive, [part for part in bounded if part != ASIDE], names_index)} OFFSET ?"
    skipped = max(rows_max // max(len(drive.values), 1), asked.limit)
    each = [part for value in drive.values or [None] for part in (*drive.first(value), *values, 1, skipped)]
    parts = " UNION ALL ".join(f"SELECT * FROM ({one}) AS part{number}" for number in range(len(drive.values) or 1))
    return f"SELECT * FROM ({parts}) AS parts {_ORDER} LIMIT 1", each


def _places(drive: _Drive, conditions: Sequence[str], names_index: bool) -> str:
    where = " AND ".join(["outcome >= 0", *([drive.implied] if drive.implied else []), *conditions])
    hint = f" INDEXED BY {drive.index}" if names_index else ""
    column = f"{drive.column} = ? AND " if drive.column else ""
    return f"SELECT time_us, chain, seq FROM records{hint} WHERE {column}{where} {_ORDER} LIMIT ?"


def listed(values: Iterable[int | str]) -> str:
    """Return values as one value of a statement, for `json_each`: a statement takes some ten thousand at most."""
    return json.dumps(sorted(values))


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
        found.append(ASIDE if chains is None else _among("chain"))
        values += [] if chains is None else [listed(chains)]
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
        found.append(_among("acts"))
        values.append(listed(asked.acts))
    for text, bound in (("time_us >= ?", asked.since_us), ("time_us < ?", asked.until_us)):
        if bound is not None:
            found.append(text)
            values.append(bound)
    return found, values


def _among(column: str) -> str:
    return f"{column} IN (SELECT CAST(value AS BIGINT) FROM json_each(?))"


def arrived_query(
    asked: ExecutionsAsked, chains: Sequence[int] | None, after: tuple[int, int], until: int
) -> tuple[str, list[Any]]:
    """Return the query for executions in the order in which they came: behind `after`, up to bundle `until`."""
    found, values = _filters(asked)
    if chains is not None:
        found.append(_among("+r.chain"))  # no index: it is read in the order of bundles
        values.append(listed(chains))
    columns = ", ".join(f"r.{name}" for name in COLUMNS.split(", "))
    query = f"""
        SELECT {columns}, a.number FROM arrivals a
        JOIN chains c ON c.id = a.chain AND c.branch = 0
        JOIN records r ON r.chain = a.chain AND r.seq >= a.first_seq AND r.seq <= a.last_seq
        WHERE a.number >= ? AND a.number <= ? AND (a.number > ? OR r.seq > ?) AND r.outcome >= 0
        {"".join(f" AND {one}" for one in found)} ORDER BY a.number, r.seq LIMIT ?
    """
    return query, [after[0], until, *after, *values, asked.limit]
