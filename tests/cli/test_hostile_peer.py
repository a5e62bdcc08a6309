"""A node that reports hostile text to a real coordinator: no command that shows it steers the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .conftest import Command
from .hostile_node import HOSTILE
from .test_first_path import Cluster, cluster, shown_on_failure, ticker, until
from .test_foreign_text import steering

__all__ = ["cluster", "ticker"]

PEER = Path(__file__).with_name("hostile_node.py")
ESCAPED = "a\\x9b31mred\\u202eb\\x1b[2J\\x7f\\rfake\\nline"


def start_peer(made: Cluster, name: str) -> None:
    """Start the node that lies, with the arguments of the real one."""
    arguments = ["node", "start", "--config", str(made.config(name))]
    with (made.folder / f"{name}.log").open("ab") as out:
        made.running[name] = subprocess.Popen(
            [sys.executable, str(PEER), *arguments], stdout=out, stderr=out, env=made.environment
        )


def test_what_a_hostile_node_reports_steers_no_terminal(cluster: Cluster, eyeflow: Command, ticker: Path) -> None:
    eyeflow("keys", "new")
    url = cluster.coordinator()
    cluster.join("node-a", url)
    start_peer(cluster, "node-a")
    with shown_on_failure(cluster.folder / "coordinator.log", cluster.folder / "node-a.log"):
        until(lambda: "fake" in json.dumps(eyeflow("status", "--json").json), "the node has reported")
        assert HOSTILE in _texts(eyeflow("nodes", "show", "node-a", "--json").json), (
            "the control: it is hostile in the store"
        )
        deployed = eyeflow("deploy", ticker, "--all")
        assert deployed.code == 1 and "fake" in deployed.out + deployed.err
        named = eyeflow("tokens", "new", HOSTILE)
        identity = eyeflow("deployments", "--json").json[0]["id"]
        shown = {
            "deploy": deployed,
            "tokens new": named,
            **{
                " ".join((*line, *how)): eyeflow(*line, *how)
                for line in (
                    ("status",),
                    ("nodes",),
                    ("nodes", "show", "node-a"),
                    ("deployments",),
                    ("deployments", "show", identity),
                    ("tokens", "list"),
                    ("node", "status", "--config", str(cluster.config("node-a"))),
                    ("audit", "show", "--config", str(cluster.config("node-a"))),
                )
                for how in ((), ("--json",))
            },
        }
        assert {name: steering(ran.out + ran.err) for name, ran in shown.items()} == {name: [] for name in shown}
        assert (
            ESCAPED in eyeflow("nodes", "show", "node-a").out
            and ESCAPED in eyeflow("deployments", "show", identity).out
        )
        log = (cluster.folder / "coordinator.log").read_text()
        assert steering(log) == [] and "Traceback" not in log


def _texts(value: object) -> list[str]:
    """Return every text of a JSON document."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []
