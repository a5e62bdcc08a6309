"""Deployments from the terminal: followed, seen and steered, on real nodes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

from .conftest import Command
from .test_first_path import Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]


def started(cluster: Cluster, eyeflow: Command, *nodes: str) -> None:
    eyeflow("keys", "new")
    url = cluster.coordinator()
    for node in nodes:
        cluster.join(node, url)
        cluster.node(node)


def begun(eyeflow: Command, ticker: Path, *options: str) -> str:
    ran = eyeflow("deploy", ticker, "--all", "--no-wait", "--json", *options)
    assert ran.code == 0, ran.out
    return str(ran.json["id"])


def state(eyeflow: Command, identity: str) -> str:
    return str(eyeflow("deployments", "show", identity, "--json").json["state"])


def test_a_rolling_deployment_is_followed_and_taken_back(cluster: Cluster, eyeflow: Command, ticker: Path) -> None:
    started(cluster, eyeflow, "node-a", "node-b")
    with shown_on_failure(cluster.folder / "coordinator.log", cluster.folder / "node-a.log"):
        assert eyeflow("deploy", ticker, "--all").code == 0
        options = ("--strategy", "rolling", "--observe", "3s", "--samples", "5", "--param", "level=2")
        ran = eyeflow("deploy", ticker, "--all", *options, "--json")
        assert ran.code == 0, ran.out
        events = [(one["event"], one.get("node", one.get("kind"))) for one in ran.lines]
        assert events.count(("node", "node-a")) == 1 and events.count(("node", "node-b")) == 1, events
        assert events.index(("node", "node-a")) < events.index(("node", "node-b"))
        last = ran.lines[-1]
        assert (last["event"], last["exitCode"], last["state"]) == ("end", 0, "succeeded")

        shown = eyeflow("deployments", "show", last["id"]).out
        assert f"eyeflow deployments rollback {last['id']}" in shown and "watches 3s after each step" in shown
        assert f"eyeflow deployments retry {last['id']}" in shown and "node-a  active  installed" in shown
        back = eyeflow("deployments", "rollback", last["id"], "--json")
        assert back.code == 0, back.out
        until(lambda: state(eyeflow, last["id"]) == "rolledBack", "it is taken back")
        assert eyeflow("deployments", "watch", last["id"]).code == 1, "what was taken back did not succeed"
        again = eyeflow("deployments", "retry", last["id"], "--json").json
        assert (again["strategy"], again["options"], again["changes"]) == tuple(
            last[name] for name in ("strategy", "options", "changes")
        )
        refused = eyeflow("deployments", "retry", again["id"])
        assert refused.code == 1 and f"eyeflow deployments cancel {again['id']}" in refused.err
        watched = eyeflow("deployments", "watch", again["id"])
        assert watched.code == 0 and watched.err.count("node-b: installed") == 1, watched.err
        assert [one["id"] for one in eyeflow("deployments", "list", "--json").json][:2] == [again["id"], last["id"]]
        assert again["id"] in eyeflow("deployments").out


def test_a_deployment_is_paused_resumed_promoted_and_cancelled(
    cluster: Cluster, eyeflow: Command, ticker: Path
) -> None:
    started(cluster, eyeflow, "node-a")
    with shown_on_failure(cluster.folder / "coordinator.log", cluster.folder / "node-a.log"):
        assert eyeflow("deploy", ticker, "--all").code == 0
        options = ("--strategy", "canary", "--percent", "10,50", "--observe", "1h", "--param", "level=3")
        identity = begun(eyeflow, ticker, *options)
        until(lambda: state(eyeflow, identity) == "observing", "the canary runs")
        paused = eyeflow("deployments", "pause", identity)
        assert "observing, paused" in paused.out and "somebody to resume it" in paused.out
        assert "step 1 of 3: 10 % of the traffic" in paused.out and f"deployments resume {identity}" in paused.out
        waited = eyeflow("deployments", "watch", identity, "--timeout", "1")
        assert waited.code == 1 and "paused: paused by" in waited.err, "paused is no success"
        assert "somebody to resume it" not in eyeflow("deployments", "resume", identity).out
        assert eyeflow("deployments", "approve", identity).code == 1
        eyeflow("deployments", "promote", identity)
        until(lambda: "step 2 of 3: 50 %" in eyeflow("deployments", "show", identity).out, "the next step")
        until(lambda: "verdict" in eyeflow("deployments", "show", identity).out, "the evidence is looked at")
        assert eyeflow("deployments", "cancel", identity).code == 0
        until(lambda: state(eyeflow, identity) == "cancelled", "it ends")
        assert eyeflow("deployments", "cancel", identity).code == 1
        unknown = eyeflow("deployments", "show", "d-nope")
        assert unknown.code == 1 and "eyeflow deployments list" in unknown.err


def on_a_terminal(environment: dict[str, str], *arguments: Any) -> tuple[int, str]:
    """Run a command whose stderr is a terminal; returns its exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "eyeflow", *map(str, arguments)]
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
        os.close(ours)
        return process.wait(120), seen.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the terminal has no other end any more
        return b""


def test_a_terminal_shows_a_live_picture(
    cluster: Cluster, eyeflow: Command, ticker: Path, environment: dict[str, str]
) -> None:
    started(cluster, eyeflow, "node-a")
    code, seen = on_a_terminal(environment | {"TERM": "xterm", "LINES": "24"}, "deploy", ticker, "--all")
    assert code == 0
    assert "NODE" in seen and "PLACE" in seen and "node-a" in seen and "installed" in seen
    assert "\x1b[2K" in seen or "\x1b[1A" in seen, "it is drawn again in place"
