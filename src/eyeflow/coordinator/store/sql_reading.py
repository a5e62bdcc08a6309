"""The questions of `cluster_store.Reading` as SQL, asked inside an open transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eyeflow.coordinator.histories import History
from eyeflow.coordinator.store import sql_rows as rows
from eyeflow.coordinator.store.cluster_store import CursorTooOldError
from eyeflow.coordinator.store.facts import (
    ApiToken,
    AppliedPolicy,
    Change,
    EvidenceSums,
    JoinToken,
    Kept,
    LogEntry,
    NodeRecord,
    ProgramRecord,
    SignedManifest,
    SignerKey,
    TestRun,
)
from eyeflow.coordinator.store.sql import Row, Sql
from eyeflow.coordinator.store.sql_alarm_reading import SqlAlarmReading
from eyeflow.coordinator.store.sql_asked import SqlAskedReading
from eyeflow.coordinator.store.sql_boards import SqlBoardReading
from eyeflow.coordinator.store.sql_cases import SqlCaseReading
from eyeflow.coordinator.store.sql_coordination import SqlCoordinationReading
from eyeflow.coordinator.store.sql_lists import SqlListReading
from eyeflow.coordinator.store.sql_sessions import SqlSessionReading
from eyeflow.coordinator.store.sql_trends import SqlTrendReading
from eyeflow.evidence.outcomes import Tally
from eyeflow.protocol.coordinator_log import Entry, Head, SignedHead
from eyeflow.protocol.messages import RuleResult
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.actions import InStates, Which
from eyeflow.rollout.deployment import Deployment, NodeProgress, NodeState, Place, Target, Wanted

_DEPLOYMENT = [f"deployments.{name}" for name in rows.DEPLOYMENT.split(", ")]
OPEN_PROGRESS = ", ".join([*_DEPLOYMENT, *(f"progress.{name}" for name in rows.PROGRESS.split(", "))])
"""The columns of a deployment and of where a node stands in it; `open_progress_of` reads them."""
COUNTS = "sum(executions), sum(failures), sum(acted), sum(failed_actions)"
_KEPT = {
    Kept.NODES: "count(*) FROM nodes",
    Kept.PROGRAMS: "count(*) FROM programs",
    Kept.API_TOKENS: "count(*) FROM api_tokens",
    Kept.JOIN_TOKENS: "count(*) FROM join_tokens",
    Kept.LINKS: "count(*) FROM links",
    Kept.RULES: "count(DISTINCT rule) FROM programs",
    Kept.OPEN_DEPLOYMENTS: "count(*) FROM deployments WHERE over = 0",
}


class SqlReading(
    SqlCoordinationReading,
    SqlListReading,
    SqlAlarmReading,
    SqlCaseReading,
    SqlAskedReading,
    SqlBoardReading,
    SqlTrendReading,
    SqlSessionReading,
):
    """Satisfies `Reading`. Lives as long as one step or look."""

    def __init__(self, db: Sql) -> None:
        self._db = db

    def _rows(self, sql: str, *values: Any) -> list[Row]:
        return self._db.rows(sql, values)

    def _row(self, sql: str, *values: Any) -> Row | None:
        return next(iter(self._rows(sql, *values)), None)

    def _number(self, sql: str, *values: Any) -> int:
        row = self._row(sql, *values)
        return 0 if row is None or row[0] is None else int(row[0])

    def count(self, kept: Kept) -> int:
        """Return how many of these there are."""
        return self._number(f"SELECT {_KEPT[kept]}")

    def node(self, name: str) -> NodeRecord | None:
        """Return one node."""
        row = self._row(f"SELECT {rows.NODE} FROM nodes WHERE name = ?", name)
        return None if row is None else rows.node_of(row)

    def nodes(self) -> list[NodeRecord]:
        """Return all nodes, ascending by name."""
        return [rows.node_of(row) for row in self._rows(f"SELECT {rows.NODE} FROM nodes ORDER BY name")]

    def node_names(self) -> list[str]:
        """Return the names of all nodes, ascending."""
        return [name for (name,) in self._rows("SELECT name FROM nodes ORDER BY name")]

    def labels(self, node: str) -> dict[str, str]:
        """Return the labels of a node."""
        return dict(self._rows("SELECT name, value FROM labels WHERE node = ? ORDER BY name", node))

    def label_values(self) -> list[tuple[str, str]]:
        """Return every (name, value) that a node has as a label, ascending."""
        found = self._rows("SELECT DISTINCT name, value FROM labels ORDER BY name, value")
        return [(name, value) for name, value in found]

    def labelled(self, labels: Mapping[str, str]) -> list[str]:
        """Return the nodes that have all of these labels, ascending."""
        found = set(self.node_names())
        for name, value in labels.items():
            having = self._rows("SELECT node FROM labels WHERE name = ? AND value = ?", name, value)
            found &= {node for (node,) in having}
        return sorted(found)

    def drained(self) -> frozenset[str]:
        """Return the nodes that are drained."""
        return frozenset(name for (name,) in self._rows("SELECT name FROM nodes WHERE drained_us > 0"))

    def said(self, node: str) -> list[RuleResult]:
        """Return what a node said of each rule's slot, ascending by both."""
        found = self._rows(
            "SELECT rule, program_id, state, reason, slot FROM said WHERE node = ? ORDER BY rule, slot", node
        )
        return [rows.result_of(row) for row in found]

    def history(self, node: str) -> History:
        """Return what is known of a node's audit chain."""
        found = self._rows(
            "SELECT heads.epoch, seq, hash, boots, dials, kind, since_us, last_us, evidence, proof FROM nodes "
            "LEFT JOIN heads ON heads.node = name LEFT JOIN findings ON findings.node = name WHERE name = ? "
            "ORDER BY since_us, kind",
            node,
        )
        head = found[0][:5] if found and found[0][0] is not None else None
        return rows.history_of(head, [row[5:] for row in found if row[5] is not None])

    def in_doubt(self) -> int:
        """Return how many nodes have a finding that blocks."""
        return self._number("SELECT count(*) FROM nodes WHERE doubtful = 1")

    def manifest(self, node: str) -> SignedManifest | None:
        """Return a node's newest manifest."""
        row = self._row("SELECT version, body, signature FROM manifests WHERE node = ?", node)
        if row is None:
            return None
        program_ids = frozenset(one.target.program_id for one in self.wanted(node))
        return SignedManifest(row[0], bytes(row[1]), bytes(row[2]), program_ids)

    def ahead(self, node: str) -> int:
        """Return which manifest the node has that this store never knew, as it said last; 0 when it has none."""
        return self._number("SELECT coalesce(max(version), 0) FROM ahead WHERE node = ?", node)

    def wanted(self, node: str) -> list[Wanted]:
        """Return what a node shall run, ascending by rule."""
        found = self._rows("SELECT rule, slot, target, how FROM wanted WHERE node = ? ORDER BY rule, slot", node)
        return [rows.wanted_of(row) for row in found]

    def wanted_of_rule(self, rule: str) -> list[tuple[str, Wanted]]:
        """Return which node shall run which program of a rule, ascending by node."""
        sql = "SELECT node, rule, slot, target, how FROM wanted WHERE rule = ? ORDER BY node, slot"
        return [(node, rows.wanted_of(tuple(row))) for node, *row in self._rows(sql, rule)]

    def known_good(self, node: str, rule: str) -> Target | None:
        """Return the last known good of a rule on a node."""
        good = self._good(node, rule)
        return None if good is None or not good.program_id else good

    def good_by(self, node: str, rule: str) -> str:
        """Return which deployment brought the last known good, or took the rule off the node; empty if none did."""
        good = self._good(node, rule)
        return "" if good is None else good.deployment_id

    def _good(self, node: str, rule: str) -> Target | None:
        row = self._row("SELECT target FROM known_good WHERE node = ? AND rule = ?", node, rule)
        return None if row is None else rows.load_target(row[0])

    def program(self, program_id: str) -> ProgramRecord | None:
        """Return one program."""
        row = self._row(f"SELECT {rows.PROGRAM} FROM programs WHERE id = ?", program_id)
        return None if row is None else rows.program_of(row)

    def programs_of(self, rule: str) -> list[ProgramRecord]:
        """Return the programs of a rule, the last uploaded first."""
        order = "ORDER BY uploaded_us DESC, rowid DESC"
        found = self._rows(f"SELECT {rows.PROGRAM} FROM programs WHERE rule = ? {order}", rule)
        return [rows.program_of(row) for row in found]

    def rules(self) -> list[str]:
        """Return the rules that have a program, ascending."""
        return [rule for (rule,) in self._rows("SELECT DISTINCT rule FROM programs ORDER BY rule")]

    def program_bytes(self, program_id: str) -> bytes:
        """Return a program's bytes, empty when it is not here."""
        row = self._row("SELECT bytes FROM programs WHERE id = ?", program_id)
        return b"" if row is None else bytes(row[0])

    def program_source(self, program_id: str) -> str:
        """Return the text of the rule of a program, empty when it was not uploaded."""
        row = self._row("SELECT source FROM program_sources WHERE program = ?", program_id)
        return "" if row is None else str(row[0])

    def program_tests(self, program_id: str) -> TestRun | None:
        """Return how the tests of a program's rule went, None when nobody told it."""
        row = self._row("SELECT told_us, told_by, tests FROM program_tests WHERE program = ?", program_id)
        return None if row is None else TestRun(row[0], row[1], tuple(json.loads(row[2])))

    def signer_list(self) -> bytes | None:
        """Return the root's list of signers, as it was published last."""
        row = self._row("SELECT value FROM meta WHERE key = 'signer_list'")
        return None if row is None else bytes(row[0])

    def signers(self) -> list[SignerKey]:
        """Return all signer keys, revoked ones too, in the order they came."""
        found = self._rows(
            "SELECT public_key, name, added_us, revoked_us FROM signer_keys ORDER BY added_us, public_key"
        )
        return [SignerKey(bytes(key), name, added_us, revoked_us) for key, name, added_us, revoked_us in found]

    def api_token(self, token_id: str) -> ApiToken | None:
        """Return one API token."""
        row = self._row(f"SELECT {rows.API_TOKEN} FROM api_tokens WHERE id = ?", token_id)
        return None if row is None else rows.api_token_of(row)

    def api_tokens(self) -> list[ApiToken]:
        """Return all API tokens in the order they were made."""
        found = self._rows(f"SELECT {rows.API_TOKEN} FROM api_tokens ORDER BY created_us, id")
        return [rows.api_token_of(row) for row in found]

    def policy(self) -> AppliedPolicy | None:
        """Return the policy that was applied last."""
        row = self._row("SELECT text, time_us, actor FROM policies ORDER BY number DESC LIMIT 1")
        return None if row is None else AppliedPolicy(*row)

    def join_token(self, token_id: str) -> JoinToken | None:
        """Return one join token."""
        row = self._row(f"SELECT {rows.JOIN_TOKEN} FROM join_tokens WHERE id = ?", token_id)
        return None if row is None else rows.join_token_of(row)

    def deployment(self, deployment_id: str) -> Deployment | None:
        """Return one deployment."""
        row = self._row(f"SELECT {rows.DEPLOYMENT} FROM deployments WHERE id = ?", deployment_id)
        return None if row is None else rows.deployment_of(row)

    def open_deployments(self) -> list[Deployment]:
        """Return the deployments that have not ended, oldest first."""
        found = self._rows(
            f"SELECT {rows.DEPLOYMENT} FROM deployments INDEXED BY deployments_due WHERE over = 0 ORDER BY number"
        )
        return [rows.deployment_of(row) for row in found]

    def due_deployments(self, now_us: int) -> list[str]:
        """Return the open deployments of which a deadline has passed, or the answer of a node is overdue."""
        found = self._rows(
            "SELECT id FROM deployments WHERE over = 0 AND due_us <= ? "
            "UNION SELECT DISTINCT deployment FROM progress WHERE due_us > 0 AND due_us <= ? ORDER BY 1",
            now_us,
            now_us,
        )
        return [deployment_id for (deployment_id,) in found]

    def counts(self, deployment_id: str) -> dict[NodeState, int]:
        """Return how many nodes stand in each state."""
        found = self._rows("SELECT state, nodes FROM progress_counts WHERE deployment = ? AND nodes > 0", deployment_id)
        return {NodeState(state): nodes for state, nodes in found}

    def overdue(self, deployment_id: str, now_us: int) -> tuple[str, ...]:
        """Return the nodes whose answer was due by now, ascending."""
        found = self._rows(
            "SELECT node FROM progress WHERE deployment = ? AND due_us > 0 AND due_us <= ?", deployment_id, now_us
        )
        return tuple(sorted(node for (node,) in found))

    def progress(self, deployment_id: str, which: Which | None = None, limit: int | None = None) -> list[NodeProgress]:
        """Return nodes of a deployment, ascending by name."""
        condition, values = _condition(which)
        # Left alone, SQLite walks over all nodes of the deployment in their order and looks at the state of each.
        by = "INDEXED BY progress_by_state" if isinstance(which, InStates) else ""
        if limit is None and isinstance(which, InStates):
            limit = which.limit
        bound, most = ("", ()) if limit is None else ("LIMIT ?", (limit,))
        sql = f"SELECT {rows.PROGRESS} FROM progress {by} WHERE deployment = ? {condition} ORDER BY node {bound}"
        found = self._rows(sql, deployment_id, *values, *most)
        return [rows.progress_of(row) for row in found]

    def open_progress(self, node: str) -> list[tuple[Deployment, NodeProgress]]:
        """Return where a node stands in each open deployment that it is part of, the oldest first."""
        found = self._rows(
            f"SELECT {OPEN_PROGRESS} FROM progress JOIN deployments ON id = deployment "
            "WHERE progress.node = ? AND progress.over = 0 ORDER BY number",
            node,
        )
        return [open_progress_of(row) for row in found]

    def tallies(self, deployment_id: str, nodes: Sequence[str]) -> dict[str, Tally]:
        """Return what some nodes of a deployment told last of its programs; those that told nothing are left out."""
        places = ", ".join("?" * len(nodes))
        sql = f"SELECT node, {COUNTS} FROM evidence WHERE deployment = ? AND node IN ({places}) GROUP BY node"
        found = self._rows(sql, deployment_id, *nodes) if nodes else []
        return {node: rows.tally_of(counts) for node, *counts in found}

    def evidence_sums(self, deployment: Deployment, since_us: int) -> EvidenceSums:
        """Return the sums of the evidence for and beside the present step of a deployment.

        Of a node that has switched, only what it told since counts: before, the program watched and did not act.
        """
        step = (deployment.id, deployment.phase)
        candidates = self._by_kind(
            f"{COUNTS}, max(boots), sum(differing), sum(pending)",
            "LEFT JOIN evidence ON evidence.node = progress.node AND evidence.deployment = progress.deployment "
            f"AND (progress.place <> '{Place.SWITCHED.value}' OR evidence.slot = '{Slot.ACTIVE.value}')",
            *step,
        )
        places = ", ".join("?" * len(deployment.rules))
        *beside, programs = self._sums(
            f"SELECT {COUNTS}, count(*) FROM progress JOIN evidence ON evidence.node = progress.node "
            "AND evidence.deployment <> progress.deployment WHERE progress.deployment = ? AND phase = ? "
            f"AND state IN ('staged', 'installed') AND standing <> 'rolledBack' AND rule IN ({places})",
            *(*step, *deployment.rules),
        )
        ran, did = (f"sum(CASE WHEN {one} > 0 THEN before_{{}} END)" for one in ("ran", "did"))
        before = self._by_kind(
            f"{ran.format('executions')}, {ran.format('failures')}, {did.format('acted')}, "
            f"{did.format('failed_actions')}",
            "JOIN (SELECT node, sum(executions) AS ran, sum(acted) AS did FROM evidence WHERE deployment = ? "
            "GROUP BY node) told ON told.node = progress.node",
            *(deployment.id, *step),
        )
        silent = self._rows(
            "SELECT node FROM progress WHERE deployment = ? AND phase = ? AND state IN ('staged', 'installed') "
            "AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.node = progress.node "
            "AND evidence.deployment = progress.deployment AND seen_us > ?) ORDER BY node LIMIT 10",
            *(*step, since_us),
        )
        control = rows.tally_of(beside) if programs else None
        unheard = tuple(node for (node,) in silent)
        tallies, earlier = (
            {kind: rows.tally_of(one[:4]) for kind, one in found.items()} for found in (candidates, before)
        )
        return EvidenceSums(
            candidate=tallies.get(False),
            control=control,
            before=earlier.get(False, Tally()),
            starts_max=max((one[4] for one in candidates.values()), default=0),
            differing=sum(one[5] for one in candidates.values()),
            unheard=unheard,
            board_candidate=tallies.get(True),
            board_before=earlier.get(True, Tally()),
            pending=candidates[False][6] if False in candidates else 0,
        )

    def _by_kind(self, sums: str, joined: str, *values: Any) -> dict[bool, list[int]]:
        """Return sums over the nodes of a deployment's step, and over its boards (True); none where it has none."""
        found = self._rows(
            f"SELECT CASE WHEN boards.node IS NULL THEN 0 ELSE 1 END AS is_board, {sums} FROM progress {joined} "
            "LEFT JOIN boards ON boards.node = progress.node WHERE progress.deployment = ? AND phase = ? "
            "GROUP BY is_board",
            *values,
        )
        return {bool(kind): [number or 0 for number in numbers] for kind, *numbers in found}

    def _sums(self, sql: str, *values: Any) -> list[int]:
        """Return one row of sums; the sum of nothing is 0."""
        row = self._row(sql, *values)
        assert row is not None, "sums without GROUP BY always are one row"
        return [number or 0 for number in row]

    def taken_back(self, deployment_id: str) -> list[tuple[str, str]]:
        """Return (node, reason) of the nodes that took a program of this deployment back by themselves."""
        sql = "SELECT node, min(reason) FROM evidence WHERE deployment = ? AND standing = 'rolledBack' GROUP BY node"
        return [(node, reason) for node, reason in self._rows(sql, deployment_id)]

    def watched_rules(self) -> frozenset[str]:
        """Return the rules of open deployments."""
        return frozenset(rule for one in self.open_deployments() for rule in one.rules)

    def awaited(self) -> list[tuple[str, str]]:
        """Return (deployment, node) of every node whose answer is due at some time."""
        found = self._rows("SELECT deployment, node FROM progress WHERE due_us > 0 ORDER BY deployment, node")
        return [(deployment, node) for deployment, node in found]

    def changes(self, cursor: int, limit: int) -> list[Change]:
        """Return the changes after `cursor`, oldest first."""
        oldest, newest = self._number("SELECT min(number) FROM changes"), self.newest_change()
        if cursor > newest or cursor + 1 < oldest:
            raise CursorTooOldError(cursor, oldest, newest)
        sql = (
            "SELECT number, time_us, kind, subject, node, labels FROM changes WHERE number > ? ORDER BY number LIMIT ?"
        )
        return [rows.change_of(row) for row in self._rows(sql, cursor, limit)]

    def newest_change(self) -> int:
        """Return the number of the newest change, 0 before the first."""
        return self._number("SELECT max(number) FROM changes")

    def cursor(self, reader: str) -> int:
        """Return how far a durable reader of the feed has come, 0 before it began."""
        return self._number("SELECT number FROM cursors WHERE reader = ?", reader)

    def log_entries(self, limit: int) -> list[LogEntry]:
        """Return the newest entries of who did what, newest first."""
        sql = "SELECT time_us, actor, action, subject, detail FROM log ORDER BY number DESC LIMIT ?"
        return [LogEntry(*row) for row in self._rows(sql, limit)]

    def log_after(self, number: int, limit: int) -> list[Entry]:
        """Return the entries of the log after a number, oldest first."""
        sql = f"SELECT {rows.LOG} FROM log WHERE number > ? ORDER BY number LIMIT ?"
        return [rows.log_entry_of(row) for row in self._rows(sql, number, limit)]

    def log_head(self) -> Head:
        """Return the head of the newest entry of the log."""
        row = self._row(f"SELECT {rows.LOG} FROM log ORDER BY number DESC LIMIT 1")
        if row is None:
            return Head()
        entry = rows.log_entry_of(row)
        return Head(entry.number, entry.hash)

    def signed_head(self) -> SignedHead | None:
        """Return the head of the log that was signed last."""
        row = self._row("SELECT number, hash, signature FROM log_heads WHERE name = 'signed'")
        return None if row is None else SignedHead(Head(row[0], bytes(row[1])), bytes(row[2]))


def _condition(which: Which | None) -> tuple[str, Sequence[Any]]:
    if which is None:
        return "", ()
    if isinstance(which, InStates):
        states = sorted(state.value for state in which.states)
        return f"AND state IN ({', '.join('?' * len(states))})", states
    return f"AND node IN ({', '.join('?' * len(which.names))})", which.names


def open_progress_of(row: Row) -> tuple[Deployment, NodeProgress]:
    """Return a deployment, and where a node stands in it, from the columns OPEN_PROGRESS."""
    at = len(_DEPLOYMENT)
    return rows.deployment_of(row[:at]), rows.progress_of(row[at:])
