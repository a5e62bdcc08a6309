"""Copies of a node and a lost store, with real processes: the coordinator finds them, shows them, and trusts no result."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

from .conftest import Command
from .test_first_path import TICKER, Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]


class Watched:
    """One node, its copies, and what the coordinator says of it."""

    def __init__(self, made: Cluster, eyeflow: Command) -> None:
        self.cluster, self.eyeflow = made, eyeflow

    def shown(self) -> Any:
        return self.eyeflow("nodes", "show", "node-a", "--json").json

    def kinds(self) -> list[str]:
        return sorted(one["kind"] for one in self.shown()["findings"])

    def copy(self, name: str) -> Path:
        """Copy the data of the node, which does not run."""
        to = self.cluster.folder / name
        shutil.copytree(self.cluster.folder / "node-a" / "data", to)
        return to

    def start(self, data: Path) -> None:
        config = self.cluster.config("node-a")
        self.cluster.start(str(data.name), "node", "start", "--config", str(config), "--node-data-dir", str(data))

    def runs_on(self, records: int = 5) -> None:
        """Until the coordinator has seen that the node wrote some more records."""
        before = self.shown()["nextSeq"]
        until(lambda: self.shown()["connected"] and self.shown()["nextSeq"] > before + records, "more records are seen")

    def alarm(self) -> str:
        """Return the number of the one alarm that there is."""
        (alarm,) = self.eyeflow("alarms", "list", "--node", "node-a", "--new", "--json").json
        assert (alarm["kind"], alarm["subject"]) == ("nodeInDoubt", "node-a")
        return str(alarm["id"])

    def acknowledged(self) -> str:
        """Take note of the one alarm that there is; returns its number."""
        eyeflow = self.eyeflow
        assert "1 alarm (1 new): eyeflow alarms" in eyeflow("status").out
        alarm = self.alarm()
        seen = eyeflow("alarms", "acknowledge", alarm, "--note", "Anna looks")
        assert seen.code == 0 and "seen by" in seen.out and ": Anna looks" in seen.out, seen.out
        assert eyeflow("alarms", "list", "--new").out == "" and "its last record is" in eyeflow("alarms").out
        assert eyeflow("alarms", "show", "99").code == 1
        return alarm

    def accept(self) -> None:
        assert self.eyeflow("nodes", "accept", "node-a").code == 0
        assert self.kinds() == []


def deploy(eyeflow: Command, rule: Path, version: str) -> tuple[int, str]:
    rule.write_text(TICKER.replace("1.0.0", version))
    ran = eyeflow("deploy", rule, "--all", "--json")
    return ran.code, ran.lines[-1]["reason"]


def test_a_copy_a_clone_and_a_lost_store_are_found(cluster: Cluster, eyeflow: Command, ticker: Path) -> None:
    eyeflow("keys", "new")
    url = cluster.coordinator()
    cluster.join("node-a", url)
    watched, data = Watched(cluster, eyeflow), cluster.folder / "node-a" / "data"
    with shown_on_failure(cluster.folder / "coordinator.log", cluster.folder / "node-a.log"):
        cluster.node("node-a")
        assert deploy(eyeflow, ticker, "1.0.0") == (0, ""), "the control: without a copy it succeeds"
        watched.runs_on()
        cluster.stop("node-a")
        old = watched.copy("old")
        cluster.node("node-a")
        watched.runs_on()
        cluster.stop("node-a", signal.SIGKILL)
        assert watched.kinds() == [], "the control: stops, kills and starts of one node are no doubt"

        # An old copy comes up, and the coordinator has been killed meanwhile.
        until(lambda: not watched.shown()["connected"], "the end of the link, with which the head is kept")
        highest = watched.shown()["head"]["seq"]
        cluster.stop("coordinator", signal.SIGKILL)
        cluster.coordinator(int(url.rsplit(":", 1)[1]))
        watched.start(old)
        until(lambda: "older" in watched.kinds(), "the older copy is found")
        shown = eyeflow("status")
        assert "in doubt since 20" in shown.out and "its last record is" in shown.out, shown.out
        assert "eyeflow nodes accept node-a" in shown.out
        alarm = watched.acknowledged()
        assert "connected, in doubt" in eyeflow("nodes").out
        assert watched.shown()["head"]["seq"] >= highest, "the longer chain is not forgotten"
        code, reason = deploy(eyeflow, ticker, "1.1.0")
        assert code == 1 and "node-a: in doubt: its last record is" in reason

        # Accepted: the copy is the node now, and the original beside it is the clone.
        watched.accept()
        assert "somebody accepted" in eyeflow("alarms", "show", alarm).out
        assert deploy(eyeflow, ticker, "1.2.0") == (0, "")
        watched.runs_on()
        watched.start(data)
        until(lambda: bool({"older", "forked", "twins"} & set(watched.kinds())), "the clone is found")
        code, reason = deploy(eyeflow, ticker, "1.3.0")
        assert code == 1 and "in doubt" in reason

        # One of them ends, the other is accepted, and loses its store.
        cluster.stop("data")
        until(lambda: bool(watched.shown()["connected"]), "the other one is back")
        watched.accept()
        watched.runs_on()
        assert watched.kinds() == []
        cluster.stop("old", signal.SIGKILL)
        for file in old.glob("node.db*"):
            file.unlink()
        watched.start(old)
        until(lambda: watched.kinds() == ["newEpoch"], "the lost store is found")
        assert "lost store since 20" in eyeflow("status").out
        assert "ended at record" in watched.shown()["findings"][0]["evidence"]
        assert deploy(eyeflow, ticker, "1.4.0") == (0, ""), "it is said, and does not stop a deployment"
        log = (cluster.folder / "coordinator.log").read_text()
        assert "node node-a: its last record is" in log and "Traceback" not in log


def test_a_person_sets_a_node_aside_and_lets_it_in_again(cluster: Cluster, eyeflow: Command, ticker: Path) -> None:
    eyeflow("keys", "new")
    cluster.join("node-a", cluster.coordinator())
    watched = Watched(cluster, eyeflow)
    with shown_on_failure(cluster.folder / "coordinator.log", cluster.folder / "node-a.log"):
        cluster.node("node-a")
        until(lambda: watched.shown()["nextSeq"] > 1, "the node is heard")
        said = eyeflow("nodes", "quarantine", "node-a", "--reason", "the cabinet was open")
        assert said.code == 0 and "eyeflow nodes accept node-a" in said.out, said
        assert watched.kinds() == ["quarantined"]
        shown = eyeflow("nodes", "show", "node-a").out
        assert "set it aside: the cabinet was open" in shown and "from 127.0.0.1, process " in shown, shown
        alarm = watched.alarm()
        assert "from 127.0.0.1, process " in eyeflow("alarms", "show", alarm).out
        code, reason = deploy(eyeflow, ticker, "1.0.0")
        assert code == 1 and "the cabinet was open" in reason
        accepted = eyeflow("nodes", "accept", "node-a")
        assert "goes on where it ended" in accepted.out and watched.kinds() == [], accepted
        assert "somebody accepted" in eyeflow("alarms", "show", alarm).out
        assert deploy(eyeflow, ticker, "1.1.0") == (0, ""), "the control"
        until(lambda: "ticker (active) after record" in eyeflow("nodes", "show", "node-a", "--state").out, "its state")
