"""The questions of `lists.ListReading` as SQL: each page begins behind a key (keyset pagination), none is skipped to.

Why not OFFSET: it reads all that it skips, and rows that come or go meanwhile are shown twice or never (M. Winand, "SQL
Performance Explained", 2012).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from typing import Any, TypeVar

from eyeflow.coordinator.histories import History
from eyeflow.coordinator.store import sql_rows as rows
from eyeflow.coordinator.store.coordination import Link
from eyeflow.coordinator.store.facts import ApiToken, NodeRecord, ProgramRecord, SignerKey
from eyeflow.coordinator.store.kept_requests import KeptRequest
from eyeflow.coordinator.store.lists import (
    DeploymentsAsked,
    Key,
    KeysAsked,
    Labels,
    LogAsked,
    NodeDetails,
    NodeOrder,
    NodesAsked,
    NodeSums,
    Page,
    ProgramsAsked,
    ProgressAsked,
    RuleRow,
    RulesAsked,
    Standing,
    TokensAsked,
    TokenState,
)
from eyeflow.coordinator.store.sql import Row, Sql
from eyeflow.coordinator.store.sql_boards import BOARDS, board_of
from eyeflow.protocol.coordinator_log import Entry
from eyeflow.rollout.deployment import Deployment, NodeProgress

T = TypeVar("T")
PROGRAMS_SHOWN = 20
"""The newest programs of a rule that its row names, beside those that nodes shall run."""

_NODES = "nodes LEFT JOIN links ON links.node = nodes.name"
_OFFLINE = "(links.node IS NULL OR nodes.silent = 1 OR nodes.last_seen_us < ?)"
_FAILING = "(nodes.doubtful = 1 OR nodes.failed > 0 OR nodes.refused > 0)"
_STANDINGS = {
    Standing.FAILING: _FAILING,
    Standing.OFFLINE: _OFFLINE,
    Standing.PENDING: "nodes.pending > 0",
    Standing.DRAINED: "nodes.drained_us > 0",
    Standing.FINE: f"NOT ({_OFFLINE} OR {_FAILING} OR nodes.pending > 0)",
}
_RANK = (
    f"CASE WHEN {_FAILING} THEN 0 WHEN {_OFFLINE} THEN 1 WHEN nodes.pending > 0 THEN 2 "
    "WHEN nodes.drained_us > 0 THEN 3 ELSE 4 END"
)
_ORDERS = {
    NodeOrder.NAME: "nodes.name",
    NodeOrder.WORST: _RANK,
    NodeOrder.HEARD: "nodes.last_seen_us",
    NodeOrder.EXECUTIONS: "-nodes.executions",
    NodeOrder.ERRORS: "-nodes.errors",
}


class Conditions:
    """The WHERE of a statement: `sql`, with the `values` of its places."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.values: list[Any] = []

    def add(self, sql: str, *values: Any) -> None:
        """This holds, too."""
        self._parts.append(sql)
        self.values += values

    def among(self, column: str, members: Collection[Enum]) -> None:
        """The column has one of these values; any when there are none."""
        self.one_of(column, sorted(str(member.value) for member in members))

    def one_of(self, column: str, values: Sequence[str]) -> None:
        """The column has one of these values; any when there are none."""
        if values:
            self.add(f"{column} IN ({places(values)})", *values)

    def same(self, column: str, value: str) -> None:
        """The column has this value; any when it is empty."""
        if value:
            self.add(f"{column} = ?", value)

    def has(self, column: str, part: str) -> None:
        """The column has this text in it, in capitals or not."""
        if part:
            self.add(f"lower({column}) LIKE ? ESCAPE '!'", f"%{_escaped(part.lower())}%")

    def since(self, column: str, time_us: int) -> None:
        """The column is this time or later; any when it is 0."""
        if time_us:
            self.add(f"{column} >= ?", time_us)

    def behind(self, columns: str, after: Key | None, *, falls: bool = False) -> None:
        """Only what stands behind a key."""
        if after is not None:
            self.add(f"({columns}) {'<' if falls else '>'} ({places(after)})", *after)

    @property
    def sql(self) -> str:
        """The clause, empty without a condition."""
        return f"WHERE {' AND '.join(self._parts)}" if self._parts else ""


def places(values: Sequence[Any]) -> str:
    """Return a place for each value."""
    return ", ".join("?" * len(values))


def _escaped(text: str) -> str:
    for sign in "!%_":
        text = text.replace(sign, f"!{sign}")
    return text


def page_of(found: Sequence[Row], limit: int, key_of: Callable[[Row], Key], make: Callable[[Row], T]) -> Page[T]:
    """Make a page of rows of which one more was asked for than it holds."""
    kept = found[:limit]
    return Page([make(row) for row in kept], key_of(kept[-1]) if len(found) > limit else None)


class SqlListReading:
    """Satisfies `lists.ListReading`."""

    _db: Sql

    def node_page(self, asked: NodesAsked) -> Page[NodeRecord]:
        """Return nodes in the order that is asked for."""
        where, order = _fitting(asked), _ORDERS[asked.order]
        silent = [asked.silent_us] * order.count("?")
        is_by_name = asked.order is NodeOrder.NAME
        if asked.after is not None:
            key, some = ("nodes.name", "?") if is_by_name else (f"{order}, nodes.name", "?, ?")
            where.add(f"({key}) > ({some})", *silent, *asked.after)
        columns = ", ".join(f"nodes.{name}" for name in rows.NODE.split(", "))
        found = self._db.rows(
            f"SELECT {order}, {columns} FROM {_NODES} {where.sql} ORDER BY 1, nodes.name LIMIT ?",
            [*silent, *where.values, asked.limit + 1],
        )
        return page_of(
            found, asked.limit, lambda row: row[:1] if is_by_name else row[:2], lambda row: rows.node_of(row[1:])
        )

    def count_nodes(self, asked: NodesAsked) -> int:
        """Return how many nodes fit, on all pages together."""
        where = _fitting(asked)
        return int(self._db.rows(f"SELECT count(*) FROM {_NODES} {where.sql}", where.values)[0][0])

    def node_sums(self, silent_us: int, own_id: str, labels: Labels = ()) -> NodeSums:
        """Return how many nodes, of those that have all `labels`, stand how."""
        where = _fitting(NodesAsked(0, labels=labels))
        sums = [f"CASE WHEN {one} THEN 1 ELSE 0 END" for one in (f"NOT {_OFFLINE}", _FAILING)]
        sums += ["nodes.pending", "CASE WHEN nodes.drained_us > 0 THEN 1 ELSE 0 END"]
        sums += [
            f"CASE WHEN links.coordinator <> ? THEN nodes.{name} ELSE 0 END"
            for name in ("waiting", "executions", "errors")
        ]
        columns = ", ".join(f"coalesce(sum({one}), 0)" for one in sums)
        values = [silent_us, own_id, own_id, own_id, *where.values]
        row = self._db.rows(f"SELECT count(*), {columns} FROM {_NODES} {where.sql}", values)[0]
        return NodeSums(*(int(one) for one in row[:6]), *(float(one) for one in row[6:]))

    def node_details(self, names: Sequence[str]) -> dict[str, NodeDetails]:
        """Return what else is known of some nodes, by name."""
        links = {row[0]: Link(*row) for row in self._of("SELECT node, coordinator, number, since_us FROM links", names)}
        healths: dict[str, str] = dict(self._of("SELECT node, health FROM healths", names))
        ahead: dict[str, int] = dict(self._of("SELECT node, version FROM ahead", names))
        boards = {row[0]: board_of(row) for row in self._of(BOARDS, names, column="boards.node")}
        heads = _grouped(self._of("SELECT node, epoch, seq, hash, boots, dials FROM heads", names))
        findings = _grouped(
            self._of("SELECT node, kind, since_us, last_us, evidence, proof FROM findings", names, "since_us, kind")
        )
        labels = _grouped(self._of("SELECT node, name, value FROM labels", names, "name"))
        wanted = _grouped(self._of("SELECT node, rule, slot, target, how FROM wanted", names, "rule, slot"))
        said = _grouped(self._of("SELECT node, rule, program_id, state, reason, slot FROM said", names, "rule, slot"))

        def details(name: str) -> NodeDetails:
            history: History = rows.history_of(next(iter(heads[name]), None), findings[name])
            return NodeDetails(
                links.get(name),
                history,
                json.loads(healths.get(name, "[]")),
                dict(labels[name]),
                [rows.wanted_of(row) for row in wanted[name]],
                [rows.result_of(row) for row in said[name]],
                ahead.get(name, 0),
                boards.get(name),
            )

        return {name: details(name) for name in names}

    def _of(self, select: str, names: Sequence[str], order: str = "node", column: str = "node") -> list[Row]:
        if not names:
            return []
        order = column if order == "node" else order
        return self._db.rows(f"{select} WHERE {column} IN ({places(names)}) ORDER BY {order}", names)

    def rule_page(self, asked: RulesAsked) -> Page[RuleRow]:
        """Return rules, ascending."""
        where = Conditions()
        where.same("rule", asked.rule)
        where.has("rule", asked.name)
        where.since("uploaded_us", asked.since_us)
        where.behind("rule", asked.after)
        if asked.node:
            where.add(
                "rule IN (SELECT rule FROM wanted WHERE node = ? AND slot = 'active')",
                asked.node,
            )
        found = self._db.rows(
            f"SELECT DISTINCT rule FROM programs {where.sql} ORDER BY rule LIMIT ?", [*where.values, asked.limit + 1]
        )
        return page_of(found, asked.limit, lambda row: (row[0],), lambda row: self._rule_row(row[0]))

    def _rule_row(self, rule: str) -> RuleRow:
        running = self._db.rows(
            "SELECT substr(target, 3, 64), count(*) FROM wanted WHERE rule = ? AND slot = 'active' "
            "GROUP BY substr(target, 3, 64)",
            [rule],
        )
        nodes = {program_id: int(count) for program_id, count in running}
        newest = self._db.rows(
            f"SELECT {rows.PROGRAM} FROM programs WHERE rule = ? ORDER BY uploaded_us DESC, rowid DESC LIMIT ?",
            [rule, PROGRAMS_SHOWN],
        )
        older = sorted(nodes.keys() - {row[0] for row in newest})
        more = (
            self._db.rows(f"SELECT {rows.PROGRAM} FROM programs WHERE id IN ({places(older)})", older) if older else []
        )
        return RuleRow(rule, [rows.program_of(row) for row in [*newest, *more]], nodes)

    def program_page(self, asked: ProgramsAsked) -> Page[ProgramRecord]:
        """Return programs, the last uploaded first."""
        where = Conditions()
        where.same("rule", asked.rule)
        where.since("uploaded_us", asked.since_us)
        where.behind("uploaded_us, id", asked.after, falls=True)
        found = self._db.rows(
            f"SELECT uploaded_us, {rows.PROGRAM} FROM programs {where.sql} ORDER BY uploaded_us DESC, id DESC LIMIT ?",
            [*where.values, asked.limit + 1],
        )
        return page_of(found, asked.limit, lambda row: (row[0], row[1]), lambda row: rows.program_of(row[1:]))

    def deployment_page(self, asked: DeploymentsAsked) -> Page[Deployment]:
        """Return deployments, the newest first."""
        where = Conditions()
        where.among("state", asked.states)
        where.same("strategy", asked.strategy)
        where.since("created_us", asked.since_us)
        where.behind("number", asked.after, falls=True)
        if asked.is_open is not None:
            where.add("over = ?", int(not asked.is_open))
        if asked.rule:  # a parameter may have the name of a rule; behind a rule stands its program, or null
            parts = [f'%["{_escaped(asked.rule)}",{behind}%' for behind in ("[", "null")]
            where.add("(targets LIKE ? ESCAPE '!' OR targets LIKE ? ESCAPE '!')", *parts)
        if asked.node:
            where.add("id IN (SELECT deployment FROM progress WHERE node = ?)", asked.node)
        found = self._db.rows(
            f"SELECT number, {rows.DEPLOYMENT} FROM deployments {where.sql} ORDER BY number DESC LIMIT ?",
            [*where.values, asked.limit + 1],
        )
        return page_of(found, asked.limit, lambda row: (row[0],), lambda row: rows.deployment_of(row[1:]))

    def progress_page(self, asked: ProgressAsked) -> Page[NodeProgress]:
        """Return nodes of a deployment, ascending by name."""
        where = Conditions()
        where.add("deployment = ?", asked.deployment_id)
        where.among("state", asked.states)
        where.has("node", asked.name)
        where.one_of("node", asked.names)
        where.behind("node", asked.after)
        found = self._db.rows(
            f"SELECT {rows.PROGRESS} FROM progress {where.sql} ORDER BY node LIMIT ?", [*where.values, asked.limit + 1]
        )
        return page_of(found, asked.limit, lambda row: (row[0],), rows.progress_of)

    def token_page(self, asked: TokensAsked) -> Page[ApiToken]:
        """Return API tokens in the order they were made."""
        where = Conditions()
        where.same("role", asked.role)
        where.has("name", asked.name)
        where.since("created_us", asked.since_us)
        where.behind("created_us, id", asked.after)
        is_over = "(expires_us > 0 AND expires_us <= ?)"
        ways = {
            TokenState.REVOKED: ("revoked_us > 0", []),
            TokenState.EXPIRED: (f"revoked_us = 0 AND {is_over}", [asked.now_us]),
            TokenState.WORKS: (f"revoked_us = 0 AND NOT {is_over}", [asked.now_us]),
        }
        if chosen := [ways[state] for state in ways if state in asked.states]:
            values = [value for _, values in chosen for value in values]
            where.add(f"({' OR '.join(f'({sql})' for sql, _ in chosen)})", *values)
        found = self._db.rows(
            f"SELECT created_us, {rows.API_TOKEN} FROM api_tokens {where.sql} ORDER BY created_us, id LIMIT ?",
            [*where.values, asked.limit + 1],
        )
        return page_of(found, asked.limit, lambda row: (row[0], row[1]), lambda row: rows.api_token_of(row[1:]))

    def signer_page(self, asked: KeysAsked) -> Page[SignerKey]:
        """Return signer keys, revoked ones too, in the order they came."""
        where = Conditions()
        where.has("name", asked.name)
        where.since("added_us", asked.since_us)
        if asked.after is not None:
            added_us, key = asked.after
            where.add("(added_us, public_key) > (?, ?)", added_us, bytes.fromhex(str(key)))
        found = self._db.rows(
            f"SELECT added_us, public_key, name, revoked_us FROM signer_keys {where.sql} "
            "ORDER BY added_us, public_key LIMIT ?",
            [*where.values, asked.limit + 1],
        )
        key_of = lambda row: (row[0], bytes(row[1]).hex())  # noqa: E731
        return page_of(found, asked.limit, key_of, lambda row: SignerKey(bytes(row[1]), row[2], row[0], row[3]))

    def request(self, caller: str, key: str) -> KeptRequest | None:
        """Return what was begun for a request with this key."""
        found = self._db.rows(
            "SELECT caller, key, digest, created_us, deployment FROM requests WHERE caller = ? AND key = ?",
            [caller, key],
        )
        if not found:
            return None
        at, name, digest, created_us, deployment_id = found[0]
        return KeptRequest(at, name, bytes(digest), created_us, deployment_id)

    def log_page(self, asked: LogAsked) -> Page[Entry]:
        """Return entries of the log."""
        where = Conditions()
        for column, value in (("actor", asked.actor), ("action", asked.action), ("subject", asked.subject)):
            where.same(column, value)
        where.since("time_us", asked.since_us)
        where.behind("number", asked.after, falls=asked.newest_first)
        found = self._db.rows(
            f"SELECT {rows.LOG} FROM log {where.sql} ORDER BY number {'DESC' if asked.newest_first else ''} LIMIT ?",
            [*where.values, asked.limit + 1],
        )
        return page_of(found, asked.limit, lambda row: (row[0],), rows.log_entry_of)


def _fitting(asked: NodesAsked) -> Conditions:
    where = Conditions()
    if asked.standings:
        ways = [_STANDINGS[one] for one in Standing if one in asked.standings]
        where.add(f"({' OR '.join(ways)})", *[asked.silent_us] * sum(one.count("?") for one in ways))
    for name, value in asked.labels:
        where.add(
            "EXISTS (SELECT 1 FROM labels WHERE labels.node = nodes.name AND labels.name = ? AND labels.value = ?)",
            *(name, value),
        )
    if asked.rule:
        where.add(
            "EXISTS (SELECT 1 FROM wanted WHERE wanted.node = nodes.name AND wanted.rule = ? AND slot = 'active')",
            asked.rule,
        )
    if asked.gateway:
        where.add("EXISTS (SELECT 1 FROM boards WHERE boards.node = nodes.name AND gateway = ?)", asked.gateway)
    if asked.is_board is not None:
        where.add(
            f"{'' if asked.is_board else 'NOT '}EXISTS (SELECT 1 FROM boards WHERE boards.node = nodes.name)",
        )
    where.has("nodes.name", asked.name)
    where.one_of("nodes.name", asked.names)
    where.since("nodes.last_seen_us", asked.since_us)
    return where


def _grouped(found: Iterable[Row]) -> defaultdict[str, list[Row]]:
    """Return the rows without their first column, by it."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for first, *rest in found:
        groups[first].append(tuple(rest))
    return groups
