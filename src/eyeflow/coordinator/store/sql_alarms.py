"""The changes of `alarms` as SQL, and which writes begin and end an alarm."""

from __future__ import annotations

from eyeflow.coordinator.histories import History
from eyeflow.coordinator.store.alarms import ALARMS_MAX, OF_DEPLOYMENTS, OF_NODES, AlarmKind
from eyeflow.coordinator.store.facts import ChangeKind, NodeReport, Seen
from eyeflow.coordinator.store.sql_administration import SqlAdministration
from eyeflow.protocol.messages import RuleState
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import Deployment, DeploymentState


class SqlAlarmWriting(SqlAdministration):
    """Satisfies `AlarmWriting`."""

    def raise_alarm(self, kind: AlarmKind, subject: str, evidence: str, now_us: int) -> None:
        """Begin an alarm, or keep newer evidence of one that lasts."""
        found = self._open(kind, subject)
        if found is not None and found[1] == evidence:
            return
        if found is not None:
            self._run("UPDATE alarms SET evidence = ? WHERE number = ?", evidence, found[0])
        else:
            self._run(
                "INSERT INTO alarms(kind, subject, since_us, evidence) VALUES(?, ?, ?, ?)",
                *(kind.value, subject, now_us, evidence),
            )
            self._run(
                "DELETE FROM alarms WHERE ended_us > 0 AND number <= (SELECT max(number) FROM alarms) - ?", ALARMS_MAX
            )
        found = self._open(kind, subject)
        assert found is not None
        self.add_change(now_us, ChangeKind.ALARM, str(found[0]))

    def end_alarm(self, kind: AlarmKind, subject: str, why: str, now_us: int) -> None:
        """End an alarm, if it lasts."""
        found = self._open(kind, subject)
        if found is not None:
            self._run("UPDATE alarms SET ended_us = ?, ended = ? WHERE number = ?", now_us, why, found[0])
            self.add_change(now_us, ChangeKind.ALARM, str(found[0]))

    def acknowledge_alarm(self, number: int, actor: str, note: str, now_us: int) -> None:
        """Keep who has taken note of an alarm."""
        self._run("UPDATE alarms SET seen_us = ?, seen_by = ?, note = ? WHERE number = ?", now_us, actor, note, number)
        self.add_change(now_us, ChangeKind.ALARM, str(number))

    def _open(self, kind: AlarmKind, subject: str) -> tuple[int, str] | None:
        sql = "SELECT number, evidence FROM alarms WHERE kind = ? AND subject = ? AND ended_us = 0"
        found = self._db.rows(sql, [kind.value, subject])
        return (int(found[0][0]), str(found[0][1])) if found else None

    def _alarms_of_history(self, node: str, history: History, now_us: int) -> None:
        """What contradicts a node's history began or ended."""
        lost = "; ".join(one.evidence for one in history.findings if not one.blocks)
        doubts = "; ".join(one.evidence for one in history.findings if one.blocks)
        for kind, evidence in ((AlarmKind.STORE_LOST, lost), (AlarmKind.NODE_IN_DOUBT, doubts)):
            if evidence:
                self.raise_alarm(kind, node, evidence, now_us)
            else:
                self.end_alarm(kind, node, "somebody accepted what the node has now", now_us)

    def _alarms_of_ahead(self, node: str, version: int, now_us: int) -> None:
        if version:
            told = f"it has manifest {version}, which this store never knew"
            self.raise_alarm(AlarmKind.NODE_AHEAD, node, told, now_us)
        else:
            self.end_alarm(AlarmKind.NODE_AHEAD, node, "the next manifest of the node is newer", now_us)

    def _alarms_of_losses(self, seen: Seen) -> None:
        if seen.gaps:
            told = f"{seen.lost_records} audit records dropped, in {seen.gaps} gaps, since its last start"
            self.raise_alarm(AlarmKind.RECORDS_LOST, seen.node, told, seen.seen_us)
        elif seen.is_news:
            self.end_alarm(AlarmKind.RECORDS_LOST, seen.node, "nothing was dropped since its last start", seen.seen_us)

    def _alarms_of_report(self, report: NodeReport, is_open: bool, now_us: int) -> None:
        """A node reported; `is_open`: such an alarm of it lasts. It asks nothing more while all is well."""
        said = {one.rule: one for one in report.results if one.slot is Slot.ACTIVE and one.state is RuleState.REFUSED}
        wanted = [one for one in self.wanted(report.node) if one.is_return] if said else []
        refused = [said[one.rule] for one in wanted if one.rule in said]
        if refused:
            told = "; ".join(f"{one.rule}: {one.reason}" for one in refused)
            self.raise_alarm(AlarmKind.LAST_GOOD_REFUSED, report.node, told, now_us)
        elif is_open:
            why = "the node refuses no last known good program any more"
            self.end_alarm(AlarmKind.LAST_GOOD_REFUSED, report.node, why, now_us)

    def _end_alarms_of_node(self, node: str, now_us: int) -> None:
        for kind in sorted(OF_NODES, key=lambda one: one.value):
            self.end_alarm(kind, node, "the node was removed from the cluster", now_us)

    def _end_alarms_of_deployment(self, deployment_id: str, why: str, now_us: int) -> None:
        for kind in sorted(OF_DEPLOYMENTS, key=lambda one: one.value):
            self.end_alarm(kind, deployment_id, why, now_us)

    def _alarms_of_deployment(self, deployment: Deployment) -> None:
        """A deployment was written. One that succeeded ends what was wrong with those that it repeats."""
        one, now_us = deployment, deployment.updated_us
        if one.state is DeploymentState.FAILED:
            self.raise_alarm(AlarmKind.DEPLOYMENT_FAILED, one.id, one.reason, now_us)
        elif one.state is DeploymentState.SUCCEEDED and one.reason:
            self.raise_alarm(AlarmKind.LATE_FAILURE, one.id, one.reason, now_us)
        elif one.state is DeploymentState.SUCCEEDED:
            for older in self._repeated_by(one):
                why = f"deployment {one.id} of the same rules succeeded there"
                self._end_alarms_of_deployment(older, why, now_us)
        elif one.state is DeploymentState.ROLLED_BACK:
            self.end_alarm(AlarmKind.LATE_FAILURE, one.id, "it was taken back", now_us)

    def _repeated_by(self, deployment: Deployment) -> list[str]:
        """Return the deployments with an alarm whose rules and nodes are all among those of this one."""
        found = []
        for subject in sorted({one.subject for one in self.open_alarms() if one.kind in OF_DEPLOYMENTS}):
            older = self.deployment(subject)
            if older is None or older.id == deployment.id or not set(older.rules) <= set(deployment.rules):
                continue
            elsewhere = self._number(
                "SELECT count(*) FROM progress JOIN nodes ON nodes.name = progress.node WHERE deployment = ? "
                "AND node NOT IN (SELECT node FROM progress WHERE deployment = ?)",
                *(older.id, deployment.id),
            )
            found += [older.id] * (not elsewhere)
        return found
