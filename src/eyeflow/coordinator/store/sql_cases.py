"""The verbs of `cases` as SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from eyeflow.coordinator.store.cases import Case, CaseKind, kept
from eyeflow.coordinator.store.sql import Sql


class SqlCaseReading:
    """Satisfies `CaseReading`."""

    _db: Sql

    def cases(self, deployment_id: str, kind: CaseKind) -> list[Case]:
        """Return the cases of one kind of a deployment, newest first."""
        return [case for _, case in self._numbered(deployment_id, kind)]

    def _numbered(self, deployment_id: str, kind: CaseKind) -> list[tuple[int, Case]]:
        sql = "SELECT number, node, time_us, body FROM cases WHERE deployment = ? AND kind = ? "
        found = self._db.rows(sql + "ORDER BY time_us DESC, node DESC, body DESC", (deployment_id, kind.value))
        return [(number, Case(deployment_id, kind, node, time_us, body)) for number, node, time_us, body in found]


class SqlCaseWriting(SqlCaseReading):
    """Satisfies `CaseWriting`."""

    def record_cases(self, found: Sequence[Case]) -> None:
        """Keep these beside those that are there, as `kept` chooses."""
        groups = defaultdict[tuple[str, CaseKind], list[Case]](list)
        for case in found:
            groups[case.deployment_id, case.kind].append(case)
        for (deployment_id, kind), new in groups.items():
            here = self._numbered(deployment_id, kind)
            stays = new if kind is CaseKind.VERDICT else kept([*(case for _, case in here), *self._own(new)])
            for number, case in here:
                if case not in stays:
                    self._db.run("DELETE FROM cases WHERE number = ?", (number,))
            known = {case for _, case in here}
            for case in reversed(stays):
                if case not in known:
                    self._insert(case)

    def _own(self, cases: Sequence[Case]) -> list[Case]:
        """A node says what it likes: only of its own deployments it can know anything."""
        part = "SELECT 1 FROM progress WHERE deployment = ? AND node = ?"
        nodes = {case.node for case in cases if self._db.rows(part, (case.deployment_id, case.node))}
        return [case for case in cases if case.node in nodes]

    def _insert(self, case: Case) -> None:
        sql = "INSERT INTO cases(deployment, kind, node, time_us, body) VALUES(?, ?, ?, ?, ?)"
        self._db.run(sql, (case.deployment_id, case.kind.value, case.node, case.time_us, case.body))
