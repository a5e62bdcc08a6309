"""The changes of `cluster_store.Writing` as SQL, made inside an open transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from eyeflow.coordinator.histories import Finding, History
from eyeflow.coordinator.store import sql_rows as rows
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.coordinator.store.facts import ChangeKind, EvidenceRow, LogEntry, NodeReport, Reporter, Seen
from eyeflow.coordinator.store.kept_requests import KeptRequest
from eyeflow.coordinator.store.sql_alarms import SqlAlarmWriting
from eyeflow.coordinator.store.sql_asked import SqlAskedWriting
from eyeflow.coordinator.store.sql_boards import SqlBoardWriting
from eyeflow.coordinator.store.sql_cases import SqlCaseWriting
from eyeflow.coordinator.store.sql_coordination import SqlCoordinationWriting
from eyeflow.coordinator.store.sql_reading import OPEN_PROGRESS, open_progress_of
from eyeflow.coordinator.store.sql_sessions import SqlSessionWriting
from eyeflow.coordinator.store.sql_trends import SqlTrendWriting
from eyeflow.protocol.coordinator_log import ZERO_HASH, SignedHead
from eyeflow.protocol.messages import RuleState
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.rollout.actions import Nodes
from eyeflow.rollout.deployment import Deployment, DeploymentState, NodeProgress, NodeState, Target, Wanted

LOG_ENTRIES_MAX = 100_000
"""Entries of who did what that are kept; the oldest go first."""
ROWS_MAX = 100
"""Rows of one statement: databases bound the values that it has."""
CHANGES_MAX = 100_000
"""Entries of the change feed that are kept; a reader that fell further behind reads the whole state again."""


class SqlWriting(
    SqlAlarmWriting,
    SqlCoordinationWriting,
    SqlCaseWriting,
    SqlAskedWriting,
    SqlBoardWriting,
    SqlTrendWriting,
    SqlSessionWriting,
):
    """Satisfies `Writing`. Lives as long as one step."""

    def add_log_entry(self, entry: LogEntry) -> None:
        """Record who did what, as the next entry of the chain."""
        self._chain_old_entries()
        before = self.log_head()
        self._run(
            f"INSERT INTO log({rows.LOG}) VALUES(?, ?, ?, ?, ?, ?, ?)",
            *(before.number + 1, entry.time_us, entry.actor, entry.action, entry.subject, entry.detail, before.hash),
        )
        self.add_change(entry.time_us, ChangeKind.LOG, str(before.number + 1))

    def _chain_old_entries(self) -> None:
        """Chain what a version before the chain has written, once: SQL has no words for a hash."""
        if not self._number(
            "SELECT count(*) FROM (SELECT prev FROM log ORDER BY number DESC LIMIT 1) AS newest WHERE prev IS NULL"
        ):
            return
        before = ZERO_HASH
        for entry in self.log_after(0, LOG_ENTRIES_MAX):
            self._run("UPDATE log SET prev = ? WHERE number = ?", before, entry.number)
            before = replace(entry, prev=before).hash

    def keep_signed_head(self, signed: SignedHead) -> None:
        """Keep the head of the log that was signed last."""
        self._run(
            "INSERT INTO log_heads(name, number, hash, signature) VALUES('signed', ?, ?, ?) ON CONFLICT(name) "
            "DO UPDATE SET number = excluded.number, hash = excluded.hash, signature = excluded.signature",
            *(signed.head.number, signed.head.hash, signed.signature),
        )

    def move_cursor(self, reader: str, number: int) -> None:
        """Keep how far a durable reader of the feed has come."""
        self._run(
            "INSERT INTO cursors VALUES(?, ?) ON CONFLICT(reader) DO UPDATE SET number = excluded.number",
            *(reader, number),
        )

    def compact(self) -> None:
        """Forget the oldest entries of feed and log beyond their bounds."""
        self._run("DELETE FROM changes WHERE number <= (SELECT max(number) FROM changes) - ?", CHANGES_MAX)
        self._run("DELETE FROM log WHERE number <= (SELECT max(number) FROM log) - ?", LOG_ENTRIES_MAX)

    def register_node(self, name: str, public_key: bytes, now_us: int) -> None:
        """Add a node; its manifest versions go on where those of an earlier node of the name ended."""
        # A node that joins again may still hold its old manifest: it would refuse lower versions as a rollback.
        floor = self._number("SELECT version FROM manifest_floors WHERE node = ?", name)
        self._run(
            "INSERT INTO nodes(name, public_key, joined_us, manifest_version) VALUES(?, ?, ?, ?)",
            *(name, public_key, now_us, floor),
        )
        self.add_change(now_us, ChangeKind.NODE, name)

    def remove_node(self, name: str, now_us: int) -> None:
        """Remove a node with all that was wanted and known of it; keep the highest version of its manifests."""
        self._run(
            "INSERT INTO manifest_floors SELECT name, manifest_version FROM nodes WHERE name = ? "
            "ON CONFLICT(node) DO UPDATE SET version = excluded.version",
            name,
        )
        had = self.labels(name)
        self._run("DELETE FROM nodes WHERE name = ?", name)
        self._run("DELETE FROM trends WHERE node = ?", name)
        self._end_alarms_of_node(name, now_us)
        self._tell_leaving(name, had, now_us)

    def set_labels(self, node: str, labels: Mapping[str, str], now_us: int) -> None:
        """Make these the labels of a node, in place of those before."""
        had = self.labels(node)
        self._run("DELETE FROM labels WHERE node = ?", node)
        for name, value in sorted(labels.items()):
            self._run("INSERT INTO labels(node, name, value) VALUES(?, ?, ?)", node, name, value)
        self._tell_leaving(node, had, now_us)

    def _tell_leaving(self, node: str, had: Mapping[str, str], now_us: int) -> None:
        """Who watched the node by these labels hears of it, too: nothing else would tell that it is gone there."""
        self._db.append((now_us, ChangeKind.NODE.value, node, "", rows.dump(sorted(had.items()))))

    def set_drained(self, node: str, since_us: int, now_us: int) -> None:
        """Keep since when a node is drained, 0 for not any more."""
        self._run("UPDATE nodes SET drained_us = ? WHERE name = ?", since_us, node)
        self.add_change(now_us, ChangeKind.NODE, node)

    def record_hello(self, node: str, software: str, protocol: int, now_us: int, facts: NodeFacts | None) -> None:
        """Keep that a node's link is up, which protocol version it speaks, and what it tells of itself."""
        self._run(
            "UPDATE nodes SET last_seen_us = ?, software = ?, protocol = ?, facts = ?, problem = '', silent = 0 "
            "WHERE name = ?",
            *(now_us, software, protocol, rows.dump_facts(facts), node),
        )
        self.add_change(now_us, ChangeKind.NODE, node)

    def record_seen(self, seen: Iterable[Seen]) -> None:
        """Keep when nodes were seen, and how they did."""
        for one in seen:
            kept = self._changed(
                "UPDATE nodes SET last_seen_us = ?, epoch = ?, next_seq = ?, failed = ?, waiting = ?, executions = ?, "
                "errors = ?, silent = ?, failing_since_us = CASE WHEN ? + refused = 0 THEN 0 WHEN failing_since_us > 0 "
                "THEN failing_since_us ELSE ? END WHERE name = ?",
                *(one.seen_us, one.epoch, one.next_seq, one.failed, one.waiting, one.executions_a_minute),
                *(one.errors_a_minute, int(one.is_silent), one.failed, one.seen_us, one.node),
            )
            if kept:
                self._alarms_of_losses(one)
            if kept and one.is_news:
                self.add_change(one.seen_us, ChangeKind.NODE, one.node)
            if one.health:
                self._run(
                    "INSERT INTO healths SELECT name, ? FROM nodes WHERE name = ? "
                    "ON CONFLICT(node) DO UPDATE SET health = excluded.health",
                    *(one.health, one.node),
                )
            if one.board:
                self._run("UPDATE boards SET told = ? WHERE node = ?", one.board, one.node)

    def record_problem(self, node: str, problem: str, now_us: int) -> None:
        """Keep why a node's link was refused or closed."""
        if self._changed("UPDATE nodes SET problem = ? WHERE name = ? AND problem <> ?", problem, node, problem):
            self.add_change(now_us, ChangeKind.NODE, node)

    def record_report(self, report: NodeReport, now_us: int) -> Reporter:
        """Keep what a node said of a manifest, unless it has said something of a newer one; return how it stands."""
        found = self._rows(
            "SELECT nodes.applied_version, nodes.doubtful, (SELECT count(*) FROM alarms WHERE kind = ? AND "
            f"subject = nodes.name AND ended_us = 0), {OPEN_PROGRESS} FROM nodes "
            "LEFT JOIN progress ON progress.node = name AND progress.over = 0 "
            "LEFT JOIN deployments ON id = deployment WHERE name = ? ORDER BY number",
            *(AlarmKind.LAST_GOOD_REFUSED.value, report.node),
        )
        if not found:
            return Reporter()
        applied_version, doubtful, alarms = found[0][:3]
        if applied_version <= report.manifest_version:
            self._keep_report(report, now_us)
            self._alarms_of_report(report, bool(alarms), now_us)
        return Reporter(bool(doubtful), tuple(open_progress_of(row[3:]) for row in found if row[3] is not None))

    def _keep_report(self, report: NodeReport, now_us: int) -> None:
        self._run("DELETE FROM said WHERE node = ?", report.node)
        # What a node removed is not kept: nothing is left of it to tell of, and it would be shown for ever.
        kept = [one for one in report.results if one.state is not RuleState.REMOVED]
        values = [(report.node, one.rule, one.slot.value, one.program_id, one.state.value, one.reason) for one in kept]
        for some in (values[at : at + ROWS_MAX] for at in range(0, len(values), ROWS_MAX)):
            self._run(
                "INSERT INTO said(node, rule, slot, program_id, state, reason) "
                f"VALUES{', '.join(['(?, ?, ?, ?, ?, ?)'] * len(some))}",
                *(value for row in some for value in row),
            )
        counts, names = _answers_of(report.node)
        self._run(
            f"UPDATE nodes SET last_seen_us = ?, applied_version = ?, {counts} WHERE name = ?",
            *(now_us, report.manifest_version, *names, report.node),
        )
        self._answered(report.node, now_us)

    def record_taken_back(self, node: str, found: Sequence[EvidenceRow], now_us: int) -> None:
        """Keep that a node runs programs no more that it said it had installed, where they are wanted still."""
        wanted = {(one.rule, one.slot): one.target for one in self.wanted(node)}
        refused = 0
        for one in found:
            target = wanted.get((one.rule, one.slot))
            if target is None or target.deployment_id != one.deployment_id:
                continue
            refused += self._changed(
                "UPDATE said SET state = ?, reason = ? WHERE node = ? AND rule = ? AND slot = ? AND program_id = ? "
                "AND state = ?",
                *(RuleState.REFUSED.value, f"it went back by itself: {one.reason}", node, one.rule, one.slot),
                *(one.program_id, RuleState.INSTALLED.value),
            )
        if refused:
            self._count_answers(node)
            self._answered(node, now_us)

    def _answered(self, node: str, now_us: int) -> None:
        self._run(
            "UPDATE nodes SET failing_since_us = CASE WHEN failed + refused = 0 THEN 0 WHEN failing_since_us > 0 "
            "THEN failing_since_us ELSE ? END WHERE name = ?",
            *(now_us, node),
        )
        self.add_change(now_us, ChangeKind.NODE, node)

    def _count_answers(self, node: str) -> None:
        counts, names = _answers_of(node)
        self._run(f"UPDATE nodes SET {counts} WHERE name = ?", *names, node)

    def forget_applied(self, node: str) -> None:
        """Forget which manifest the node said it had applied."""
        self._run("UPDATE nodes SET applied_version = 0 WHERE name = ?", node)

    def record_histories(self, histories: Mapping[str, History], now_us: int) -> None:
        """Keep what is known of nodes' audit chains."""
        for node, history in sorted(histories.items()):
            if not self._number("SELECT count(*) FROM nodes WHERE name = ?", node):
                continue
            before = self.history(node)
            self._keep_findings(node, before, history.with_quarantine(before.by_hand), now_us)
            self._keep_head(node, history)

    def set_quarantine(self, node: str, finding: Finding | None, now_us: int) -> None:
        """Keep that a person set a node aside, None: that somebody accepted it."""
        before = self.history(node)
        self._keep_findings(node, before, before.with_quarantine(finding), now_us)

    def _keep_head(self, node: str, history: History) -> None:
        head = history.head
        if head is None:
            self._run("DELETE FROM heads WHERE node = ?", node)
            return
        self._run(
            "INSERT INTO heads(node, epoch, seq, hash, boots, dials) VALUES(?, ?, ?, ?, ?, ?) "
            "ON CONFLICT(node) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, hash = excluded.hash, "
            "boots = excluded.boots, dials = excluded.dials",
            *(node, head.epoch, head.seq, head.hash, b"".join(history.boots), rows.dump_dials(history.dials)),
        )

    def _keep_findings(self, node: str, before: History, history: History, now_us: int) -> None:
        if set(before.findings) == set(history.findings):
            return
        self._run("DELETE FROM findings WHERE node = ?", node)
        for one in history.findings:
            self._run(
                "INSERT INTO findings(node, kind, since_us, last_us, evidence, proof) VALUES(?, ?, ?, ?, ?, ?)",
                *(node, one.kind.value, one.since_us, one.last_us, one.evidence, rows.dump_proof(one.proof)),
            )
        self._run("UPDATE nodes SET doubtful = ? WHERE name = ?", int(history.doubtful), node)
        self._alarms_of_history(node, history, now_us)
        self.add_change(now_us, ChangeKind.NODE, node)

    def want(self, node: str, wanted: Wanted) -> None:
        """Make the node's wanted set hold this program in this slot of this rule."""
        self._run(
            "INSERT INTO wanted(node, rule, slot, target, how) VALUES(?, ?, ?, ?, ?) "
            "ON CONFLICT(node, rule, slot) DO UPDATE SET target = excluded.target, how = excluded.how",
            *(node, wanted.rule, wanted.slot, rows.dump_target(wanted.target), rows.dump_how(wanted)),
        )

    def unwant(self, node: str, rule: str, slot: str) -> None:
        """Make the node's wanted set hold nothing in this slot of this rule."""
        self._run("DELETE FROM wanted WHERE node = ? AND rule = ? AND slot = ?", node, rule, slot)

    def record_evidence(self, found: Sequence[EvidenceRow]) -> None:
        """Keep what nodes said last of programs of these rules, in place of what they said before."""
        for node, rule in sorted({(one.node, one.rule) for one in found}):
            self._run("DELETE FROM evidence WHERE node = ? AND rule = ?", node, rule)
        for one in found:
            decided, acted = one.tally.decisions, one.tally.actions
            self._run(
                "INSERT INTO evidence(node, rule, slot, program_id, deployment, executions, failures, acted, "
                "failed_actions, pending, differing, boots, standing, reason, seen_us) "
                "SELECT name, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM nodes WHERE name = ?",
                *(one.rule, one.slot, one.program_id, one.deployment_id, decided.executions, decided.failures),
                *(acted.executions, acted.failures, one.pending, one.differing, one.boots),
                *(one.standing, one.reason, one.seen_us, one.node),
            )

    def keep_baselines(self, deployment: Deployment, phase: int) -> None:
        """Keep, for each node whose turn comes in this step, how the programs did that are to be replaced there."""
        places = ", ".join("?" * len(deployment.rules))
        numbers = ("executions", "failures", "acted", "failed_actions")
        columns = ", ".join(f"before_{name}" for name in numbers)
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in numbers)
        self._run(
            f"UPDATE progress SET ({columns}) = (SELECT {sums} FROM evidence WHERE evidence.node = progress.node "
            f"AND slot = 'active' AND standing = 'passed' AND rule IN ({places})) WHERE deployment = ? AND phase = ?",
            *(*deployment.rules, deployment.id, phase),
        )

    def keep_known_good(self, node: str, rule: str, target: Target) -> None:
        """Move the last known good of a rule on a node. A target without a program: a deployment took the rule off."""
        self._run(
            "INSERT INTO known_good(node, rule, target) VALUES(?, ?, ?) "
            "ON CONFLICT(node, rule) DO UPDATE SET target = excluded.target",
            *(node, rule, rows.dump_target(target)),
        )

    def forget_known_good(self, node: str, rule: str) -> None:
        """Forget the last known good of a rule on a node."""
        self._run("DELETE FROM known_good WHERE node = ? AND rule = ?", node, rule)

    def next_manifest_version(self, node: str) -> int:
        """Raise the version of a node's manifest and return it, 0 for an unknown node."""
        self._run("UPDATE nodes SET manifest_version = manifest_version + 1 WHERE name = ?", node)
        return self._number("SELECT manifest_version FROM nodes WHERE name = ?", node)

    def record_ahead(self, node: str, version: int, now_us: int) -> None:
        """Keep that a node has a manifest that this store never knew; 0: no more."""
        self._run("DELETE FROM ahead WHERE node = ?", node)
        self._alarms_of_ahead(node, version, now_us)
        self.add_change(now_us, ChangeKind.NODE, node)
        if version:
            self._run("INSERT INTO ahead SELECT name, ? FROM nodes WHERE name = ?", version, node)

    def raise_manifest_version(self, node: str, version: int) -> None:
        """Raise the version of a node's manifest to `version`, if it is lower."""
        self._run(
            "UPDATE nodes SET manifest_version = ? WHERE name = ? AND manifest_version < ?", version, node, version
        )

    def keep_manifest(self, node: str, body: bytes, signature: bytes, now_us: int) -> None:
        """Keep the signed manifest of the node's present version."""
        self._run(
            "INSERT INTO manifests SELECT name, manifest_version, ?, ? FROM nodes WHERE name = ? ON CONFLICT(node) "
            "DO UPDATE SET version = excluded.version, body = excluded.body, signature = excluded.signature",
            *(body, signature, node),
        )
        self._count_answers(node)
        self.add_change(now_us, ChangeKind.MANIFEST, node)

    def add_deployment(self, deployment: Deployment, nodes: Sequence[NodeProgress]) -> None:
        """Keep a new deployment with its nodes."""
        places = ", ".join("?" * (rows.DEPLOYMENT.count(",") + 3))
        self._run(
            f"INSERT INTO deployments({rows.DEPLOYMENT}, due_us, over) VALUES({places})",
            *rows.deployment_row(deployment),
        )
        for one in nodes:
            self._run(
                f"INSERT INTO progress(deployment, {rows.PROGRESS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(deployment.id, *rows.progress_row(one)),
            )
            self._count(deployment.id, {one.state: 1})
        self.add_change(deployment.created_us, ChangeKind.DEPLOYMENT, deployment.id)

    def keep_request(self, request: KeptRequest) -> None:
        """Keep what was begun for a request, in place of what was kept under its key."""
        one = request
        self._run("DELETE FROM requests WHERE caller = ? AND key = ?", one.caller, one.key)
        self._run(
            "INSERT INTO requests(caller, key, digest, created_us, deployment) VALUES(?, ?, ?, ?, ?)",
            *(one.caller, one.key, one.digest, one.created_us, one.deployment_id),
        )

    def forget_requests(self, before_us: int, caller: str, kept: int) -> None:
        """Forget the requests of all from before a time, and those of a caller beyond the newest `kept`."""
        self._run("DELETE FROM requests WHERE created_us <= ?", before_us)
        self._run(
            "DELETE FROM requests WHERE caller = ? AND key NOT IN "
            "(SELECT key FROM requests WHERE caller = ? ORDER BY created_us DESC, key LIMIT ?)",
            *(caller, caller, kept),
        )

    def forget_old_deployments(self, kept: int, now_us: int) -> None:
        """Forget ended deployments other than the newest `kept`."""
        old = "over = 1 AND number <= (SELECT max(number) FROM deployments) - ?"
        gone = self._db.rows(f"SELECT id FROM deployments WHERE {old} ORDER BY number", [kept])
        for (deployment_id,) in gone:
            self._end_alarms_of_deployment(deployment_id, "the deployment is so old that it is forgotten", now_us)
            self.add_change(now_us, ChangeKind.DEPLOYMENT, deployment_id)
        if gone:
            self._run(f"DELETE FROM deployments WHERE {old}", kept)

    def save_deployment(self, deployment: Deployment) -> Deployment:
        """Write a deployment's own row where it is still of the revision that was read."""
        saved = replace(deployment, revision=deployment.revision + 1)
        columns = ", ".join(f"{name} = ?" for name in f"{rows.DEPLOYMENT}, due_us, over".split(", "))
        condition, values = self._unchanged(deployment.revision)
        self._db.must_change(
            f"UPDATE deployments SET {columns} WHERE id = ? {condition}",
            (*rows.deployment_row(saved), deployment.id, *values),
            f"deployment {deployment.id}",
        )
        if deployment.over:
            self._run("UPDATE progress SET over = 1, due_us = 0 WHERE deployment = ?", deployment.id)
        elif deployment.state is DeploymentState.ROLLING_BACK:  # one that had succeeded is open again
            self._run("UPDATE progress SET over = 0 WHERE deployment = ? AND over = 1", deployment.id)
        self._alarms_of_deployment(saved)
        self.add_change(deployment.updated_us, ChangeKind.DEPLOYMENT, deployment.id)
        return saved

    def save_progress(self, deployment_id: str, before: NodeProgress, after: NodeProgress, now_us: int) -> NodeProgress:
        """Write a node's row where it is still of the revision that was read, and move the counts with it."""
        saved = replace(after, revision=before.revision + 1)
        columns = ", ".join(f"{name} = ?" for name in rows.PROGRESS.split(", "))
        condition, values = self._unchanged(before.revision)
        self._db.must_change(
            f"UPDATE progress SET {columns} WHERE deployment = ? AND node = ? {condition}",
            (*rows.progress_row(saved), deployment_id, before.node, *values),
            f"node {before.node} of deployment {deployment_id}",
        )
        if before.state is not after.state:
            self._count(deployment_id, {before.state: -1, after.state: 1})
        self.add_change(now_us, ChangeKind.PROGRESS, deployment_id, before.node)
        return saved

    def drop_progress(self, deployment_id: str, node: str) -> None:
        """Take a node out of a deployment."""
        for one in self.progress(deployment_id, Nodes((node,))):
            self._count(deployment_id, {one.state: -1})
        self._run("DELETE FROM progress WHERE deployment = ? AND node = ?", deployment_id, node)

    def _unchanged(self, revision: int) -> tuple[str, tuple[Any, ...]]:
        """Return the condition that the row is the one that was read: without it two writers lose an update."""
        return "AND revision = ?", (revision,)

    def _count(self, deployment_id: str, changes: Mapping[NodeState, int]) -> None:
        for state, change in changes.items():
            self._db.count(deployment_id, state.value, change)


def _answers_of(node: str) -> tuple[str, tuple[str, ...]]:
    """Return what sets how many rules a node has refused, and has yet to answer for, with the values of its places."""
    is_answer = (
        "said.node = wanted.node AND said.rule = wanted.rule AND said.slot = 'active' "
        "AND said.program_id = substr(wanted.target, 3, 64)"
    )
    counts = (
        f"refused = (SELECT count(*) FROM wanted JOIN said ON {is_answer} "
        "WHERE wanted.node = ? AND wanted.slot = 'active' AND said.state = 'refused'), "
        "pending = (SELECT count(*) FROM wanted WHERE node = ? AND slot = 'active' "
        f"AND NOT EXISTS (SELECT 1 FROM said WHERE {is_answer})) "
        "+ (SELECT count(*) FROM said WHERE node = ? AND slot = 'active' AND NOT EXISTS "
        "(SELECT 1 FROM wanted WHERE wanted.node = said.node AND wanted.rule = said.rule AND slot = 'active'))"
    )
    return counts, (node, node, node)
