"""The first path end to end, with real processes: coordinator, nodes, deployment, actions, audit, restart alone."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import Command

DEADLINE_S = 90.0
POLL_S = 0.1
FAULTY = Path(__file__).parents[1] / "kills" / "faulty.py"

TICKER = """\
rule ticker {
    version "1.0.0"

    pin LAMP: output
    param level: float = 1.0 in 0.0..10.0
    state ticks: int = 0

    on every 100ms

    ticks = ticks + 1
    gpio.set_pin(LAMP, if ticks % 2 == 0 then HIGH else LOW)
    if ticks == 3 {
        log.warn("third tick, level {level:1}")
    }

    test "ticks" {
        after 100ms expect gpio.set_pin(LAMP, HIGH)
    }
}
"""


def until(condition: Callable[[], bool], what: str) -> None:
    """Look until it is so, with a deadline. A look may be a command, and what is looked at needs the processor, too."""
    looked = time.monotonic()
    ends = looked + DEADLINE_S
    while not condition():
        now = time.monotonic()
        assert now < ends, f"waited in vain: {what}"
        time.sleep(max(POLL_S, now - looked))
        looked = time.monotonic()


class Cluster:
    """A coordinator and its nodes as processes, each with its folder."""

    def __init__(self, eyeflow: Command, environment: dict[str, str], folder: Path) -> None:
        self.eyeflow, self.environment, self.folder = eyeflow, environment, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.url = self.fault = ""
        """`fault` names the one of `faulty.py` that is in what is started from now on: for a control."""

    def start(self, name: str, *arguments: str) -> Path:
        log = self.folder / f"{name}.log"
        program = [sys.executable, *((str(FAULTY), self.fault) if self.fault else ("-m", "eyeflow"))]
        with log.open("ab") as out:
            self.running[name] = subprocess.Popen([*program, *arguments], stdout=out, stderr=out, env=self.environment)
        return log

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(DEADLINE_S)

    def coordinator(self, port: int = 0) -> str:
        before = len(self._lines())
        self.start("coordinator", "coordinator", "start", "--port", str(port), "--json")
        until(lambda: len(self._lines()) > before, "the coordinator listens")
        self.url = str(json.loads(self._lines()[-1])["url"])
        return self.url

    def _lines(self) -> list[str]:
        log = self.folder / "coordinator.log"
        return [line for line in log.read_text().splitlines() if line.startswith("{")] if log.exists() else []

    def config(self, node: str) -> Path:
        return self.folder / node / "eyeflow-svm.toml"

    def join(self, node: str, url: str) -> str:
        """Set up a node and let it join; returns the token that it used."""
        assert self.eyeflow("node", "init", node, "--out", self.config(node)).code == 0
        token = self.eyeflow("coordinator", "join-token", "--json").json["token"]
        joined = self.eyeflow("node", "join", url, "--token", token, "--config", self.config(node))
        assert joined.code == 0, joined.err
        assert f"now start it: eyeflow node start --config {self.config(node)}" in joined.err
        return str(token)

    def node(self, node: str, *flags: str) -> Path:
        log = self.start(node, "node", "start", "--config", str(self.config(node)), *flags)
        until(lambda: self.status(node) is not None, f"{node} answers")
        return log

    def status(self, node: str) -> dict[str, object] | None:
        ran = self.eyeflow("node", "status", "--config", self.config(node), "--json")
        return ran.json if ran.code == 0 else None

    def rule(self, node: str, rule: str = "ticker") -> dict[str, object]:
        status = self.status(node)
        assert status is not None
        return next((one for one in status["rules"] if one["rule"] == rule), {})  # type: ignore[attr-defined, index]

    def executions(self, node: str) -> int:
        return int(self.rule(node).get("executions", 0))  # type: ignore[call-overload]

    def audit(self, node: str) -> dict[str, object]:
        ran = self.eyeflow("audit", "verify", "--config", self.config(node), "--json")
        return ran.json | {"code": ran.code}


@pytest.fixture
def cluster(eyeflow: Command, environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(eyeflow, environment, tmp_path)
    try:
        yield made
    finally:
        for process in made.running.values():
            process.kill()
            process.wait()


@contextmanager
def shown_on_failure(*logs: Path) -> Iterator[None]:
    try:
        yield
    except AssertionError:
        for log in logs:
            if log.exists():
                sys.stderr.write(f"--- {log.name}\n{log.read_text()}\n")
        raise


@pytest.fixture
def ticker(tmp_path: Path) -> Path:
    path = tmp_path / "ticker.eye"
    path.write_text(TICKER)
    return path


def test_the_first_path(cluster: Cluster, eyeflow: Command, ticker: Path, tmp_path: Path) -> None:
    assert eyeflow("test", ticker).code == 0
    assert eyeflow("keys", "new").code == 0
    url = cluster.coordinator()
    for node in ("node-a", "node-b"):
        token = cluster.join(node, url)
    again = eyeflow("node", "join", url, "--token", token, "--config", cluster.config(node))
    assert again.code == 0, "a node whose answer was lost may ask again"
    flags = ("--node-name", "thief", "--node-data-dir", str(cluster.folder / "thief"))
    other = eyeflow("node", "join", url, "--token", token, *flags)
    assert other.code == 1, "a join token works for one node"
    log = cluster.node("node-a")

    with shown_on_failure(log, tmp_path / "coordinator.log"):
        deployed = eyeflow("deploy", ticker, "--nodes", "node-a", "--param", "level=2.5", "--json")
        assert deployed.code == 0 and deployed.lines[-1]["state"] == "succeeded", deployed.out + deployed.err
        until(lambda: "third tick, level 2.5" in log.read_text(), "the rule acts, with its parameter")

        # A node that is away gets the program when it comes.
        waits = eyeflow("deploy", ticker, "--nodes", "node-b", "--timeout", "1", "--json")
        assert waits.code == 0 and waits.lines[-1]["nodes"][0]["state"] == "waiting"
        cluster.node("node-b")
        until(lambda: cluster.executions("node-b") > 0, "node-b runs it")

        shown = eyeflow("status")
        assert shown.code == 0 and "node-a" in shown.out and "ticker" in shown.out
        assert {node["name"] for node in eyeflow("status", "--json").json["nodes"]} == {"node-a", "node-b"}

        # The coordinator dies, hard: nothing changes for the node.
        cluster.stop("coordinator", signal.SIGKILL)
        before = cluster.executions("node-a")
        until(lambda: cluster.executions("node-a") > before + 3, "node-a runs on alone")

        # The node is killed and comes back with no coordinator: same program, state goes on, one chain.
        cluster.stop("node-a", signal.SIGKILL)
        cluster.node("node-a")
        until(lambda: cluster.executions("node-a") > 3, "node-a runs its program again")
        report = cluster.audit("node-a")
        assert report["code"] == 0 and report["holds"], report
        assert "third tick" in log.read_text() and log.read_text().count("third tick") == 1, "state is durable"

        # The coordinator comes back, and knows everything.
        cluster.coordinator(int(url.rsplit(":", 1)[1]))
        until(lambda: all(n["connected"] for n in eyeflow("status", "--json").json["nodes"]), "the nodes are back")
        assert [one["state"] for one in eyeflow("deployments", "--json").json if one["name"] == "ticker"]
        removed = eyeflow("remove", "ticker", "--nodes", "node-b")
        assert removed.code == 0, removed.err
        until(lambda: cluster.rule("node-b") == {}, "the rule is gone from node-b")
        assert eyeflow("remove", "ticker", "--nodes", "node-b").code == 1
        assert cluster.stop("node-a") == 0, "SIGTERM is a clean end"
        assert cluster.stop("node-b") == 0 and cluster.stop("coordinator") == 0
        assert "Traceback" not in log.read_text() + (tmp_path / "coordinator.log").read_text()


def test_a_changed_record_breaks_the_chain(cluster: Cluster, eyeflow: Command, ticker: Path) -> None:
    """The control of the audit: one flipped byte must be found."""
    eyeflow("keys", "new")
    cluster.join("node-a", cluster.coordinator())
    cluster.node("node-a")
    assert eyeflow("deploy", ticker, "--all").code == 0
    until(lambda: cluster.executions("node-a") > 5, "some records")
    assert cluster.stop("node-a") == 0
    assert cluster.audit("node-a")["holds"] is True
    store = next((cluster.folder / "node-a").rglob("*.sqlite*"), None) or next(
        path for path in (cluster.folder / "node-a" / "data").iterdir() if path.read_bytes()[:6] == b"SQLite"
    )
    with sqlite3.connect(store) as db:
        seq, record = db.execute("SELECT seq, record FROM audit ORDER BY seq LIMIT 1 OFFSET 3").fetchone()
        flipped = bytes(record[:-1]) + bytes([record[-1] ^ 1])
        db.execute("UPDATE audit SET record = ? WHERE seq = ?", (flipped, seq))
    db.close()
    broken = cluster.audit("node-a")
    assert broken["code"] == 1 and broken["holds"] is False


def test_foreign_and_ungranted_programs_are_refused(
    cluster: Cluster, eyeflow: Command, ticker: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    eyeflow("keys", "new")
    cluster.join("node-a", cluster.coordinator())
    cluster.node("node-a", "--grants-allow", "log.*")
    until(
        lambda: eyeflow("nodes", "show", "node-a", "--json").json["facts"] is not None, "the node told what it grants"
    )
    plan = eyeflow("deploy", ticker, "--all", "--dry-run")
    assert plan.code == 1
    assert "cannot run it: does not grant gpio.set_pin, which `ticker` needs" in plan.out
    refused = eyeflow("deploy", ticker, "--all")
    assert refused.code == 1
    assert "node-a does not grant gpio.set_pin" in refused.err
    assert eyeflow("deployments", "--json").json == [], "it is refused before anything begins"

    stranger = {"EYEFLOW_KEYS": str(tmp_path / "stranger")}
    assert eyeflow("keys", "new", "mallory", env=stranger).code == 0
    assert eyeflow("compile", ticker, "--sign", "mallory", env=stranger).code == 0
    foreign = eyeflow("deploy", ticker.with_suffix(".svm"), "--all")
    assert foreign.code == 1 and "trust" in foreign.err
    assert eyeflow("compile", ticker).code == 0
    unsigned = eyeflow("deploy", ticker.with_suffix(".svm"), "--all")
    assert unsigned.code == 1 and "not signed" in unsigned.err


def test_a_port_in_use_and_a_second_node(cluster: Cluster, eyeflow: Command) -> None:
    url = cluster.coordinator()
    port = url.rsplit(":", 1)[1]
    taken = eyeflow("coordinator", "start", "--port", port, "--data-dir", str(cluster.folder / "other"))
    assert taken.code == 3 and "cannot listen" in taken.err and "another process" in taken.err
    cluster.join("node-a", url)
    cluster.node("node-a")
    second = eyeflow("node", "start", "--config", cluster.config("node-a"))
    assert second.code == 3 and second.err.startswith("error:"), second.err
    exposed = eyeflow("coordinator", "start", "--host", "0.0.0.0", "--data-dir", str(cluster.folder / "x"))
    assert exposed.code == 2 and "without TLS" in exposed.err


def interrupted(command: list[str], environment: dict[str, str], moment_s: float) -> tuple[int, bytes]:
    """Run a command, interrupt it at a moment, and return its exit code and what it said."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    try:
        process.wait(moment_s)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGINT)
    _out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, err


@pytest.mark.parametrize("moment_s", [0.05, 0.3, 0.8])
def test_interrupt_at_any_moment(environment: dict[str, str], ticker: Path, tmp_path: Path, moment_s: float) -> None:
    rows = "".join(f"{i}\n" for i in range(200_000))
    (tmp_path / "long.csv").write_text("timestamp\n" + rows)
    command = [sys.executable, "-m", "eyeflow", "run", str(ticker), "--events", str(tmp_path / "long.csv"), "--summary"]
    code, err = interrupted(command, environment, moment_s)
    # A busy machine may still be starting Python itself: that is not ours to keep quiet, so look a little later.
    while code == 1 and b"KeyboardInterrupt" in err and b"eyeflow/cli" not in err:
        moment_s += 0.02
        code, err = interrupted(command, environment, moment_s)
    assert code in (0, 130, -signal.SIGINT), err
    assert code != 130 or b"Traceback" not in err
