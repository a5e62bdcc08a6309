"""Nodes by label: chosen, left out, drained, and seen in the overview; with real nodes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from .conftest import Command
from .test_deployments import started
from .test_first_path import Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]


def placed(ran_json: dict[str, object]) -> list[str]:
    return [node["node"] for node in ran_json["nodes"]]  # type: ignore[attr-defined]


def test_labels_choose_nodes_and_a_drained_one_is_left_out(cluster: Cluster, eyeflow: Command, ticker: Path) -> None:
    started(cluster, eyeflow, "node-a", "node-b", "node-c")
    with shown_on_failure(cluster.folder / "coordinator.log"):
        for node, site in (("node-a", "lyon"), ("node-b", "lyon"), ("node-c", "oslo")):
            assert eyeflow("nodes", "label", node, f"site={site}", "arch=arm64").code == 0
        assert eyeflow("nodes", "label", "node-b", "arch-", "rack=7").out == "node-b has the labels: rack=7 site=lyon\n"
        listed = eyeflow("nodes", "list", "--label", "site=lyon", "--json").json
        assert [one["name"] for one in listed] == ["node-a", "node-b"]
        assert "arch=arm64 site=oslo" in eyeflow("nodes").out

        deploy = ("deploy", ticker, "--no-wait", "--json")
        assert placed(eyeflow(*deploy, "--label", "site=lyon", "--label", "arch=arm64").json) == ["node-a"]
        assert placed(eyeflow(*deploy, "--label", "site=lyon", "--exclude", "node-a").json) == ["node-b"]
        wrong = eyeflow("deploy", ticker, "--label", "site=lyn")
        assert wrong.code == 1 and "did you mean `site=lyon`" in wrong.err, wrong.err
        wrong = eyeflow("deploy", ticker, "--nodes", "node-aa")
        assert wrong.code == 1 and "node-a" in wrong.err
        assert eyeflow("deploy", ticker, "--all", "--label", "site=lyon").code == 2

        assert eyeflow("deploy", ticker, "--all").code == 0
        refused = eyeflow("nodes", "drain", "node-a")
        assert refused.code == 2 and "eyeflow nodes drain node-a --yes" in refused.err
        assert eyeflow("nodes", "drain", "node-a", "--yes").out == "node-a is drained: ticker taken off\n"
        until(lambda: cluster.rule("node-a") == {}, "the rule is gone from node-a")
        assert placed(eyeflow(*deploy, "--all", "--param", "level=2").json) == ["node-b", "node-c"]
        assert "connected, drained" in eyeflow("nodes").out
        assert eyeflow("nodes", "undrain", "node-a").code == 0
        last = eyeflow("deploy", ticker, "--all", "--param", "level=3", "--json")
        assert last.code == 0 and placed(last.lines[-1]) == ["node-a", "node-b", "node-c"]
        assert eyeflow("remove", "tickr", "--all").err.count("did you mean ticker?") == 1
        assert eyeflow("remove", "ticker", "--label", "site=lyon", "--json").json["nodes"] == ["node-a", "node-b"]
        unknown = eyeflow("nodes", "show", "node-x")
        assert unknown.code == 1 and "Did you mean `node-" in unknown.err
        assert eyeflow("nodes", "forget", "node-c").code == 0
        assert [one["name"] for one in eyeflow("nodes", "--json").json] == ["node-a", "node-b"]


def test_the_overview_tells_the_worst_first(
    cluster: Cluster, eyeflow: Command, ticker: Path, environment: dict[str, str]
) -> None:
    started(cluster, eyeflow, "node-a", "node-b")
    assert eyeflow("deploy", ticker, "--all").code == 0

    def told() -> dict[str, float]:
        return dict(eyeflow("status", "--json").json["summary"])

    until(lambda: told()["executionsPerMinute"] > 60, "what both do in a minute is known")
    assert {name: told()[name] for name in ("active", "nodes", "failing")} == {"active": 2, "nodes": 2, "failing": 0}
    assert "nodes 2/2 active, 0 failing, executions " in eyeflow("status").out
    watching = [sys.executable, "-m", "eyeflow", "status", "--watch", "--json"]
    with subprocess.Popen(watching, stdout=subprocess.PIPE, env=environment) as watch:
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["summary"]["active"] == 2
        cluster.stop("node-b")
        while json.loads(watch.stdout.readline())["summary"]["active"] == 2:
            pass
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) == 130
    shown = eyeflow("status").out.splitlines()
    rows = [line.split()[0] for line in shown if line.startswith("node-") and "  " in line]
    assert rows[:2] == ["node-b", "node-a"], shown
    assert "last heard " in next(line for line in shown if line.startswith("node-b"))
    offline = eyeflow("status", "--filter", "offline", "--json").json["nodes"]
    assert [one["name"] for one in offline] == ["node-b"]
    paged = eyeflow("status", "--sort", "name", "--limit", "1")
    assert "page 1 of 2, 2 nodes; --page 2 shows the next" in paged.out and "node-b" not in paged.out


def test_an_old_copy_of_the_store_is_said_and_nodes_are_accepted_together(
    cluster: Cluster, eyeflow: Command, ticker: Path, home: Path
) -> None:
    """Somebody put a copy of the file back, in place of `eyeflow coordinator restore`."""
    eyeflow("keys", "new")
    url = cluster.coordinator()
    port, store = int(url.rsplit(":", 1)[1]), home / ".local" / "share" / "eyeflow" / "coordinator"
    for node in ("node-a", "node-b"):
        cluster.join(node, url)
        cluster.node(node)
    assert eyeflow("deploy", ticker, "--all").code == 0
    first = cluster.rule("node-a")["programId"]
    assert cluster.stop("coordinator") == 0
    shutil.copytree(store, home / "old")
    cluster.coordinator(port)
    linked = ("status", "--filter", "offline", "--json")  # a deployment that finds nodes offline only begins
    until(lambda: not eyeflow(*linked).json["nodes"], "both nodes are back")
    ticker.write_text(ticker.read_text().replace('version "1.0.0"', 'version "1.1.0"'))
    assert eyeflow("deploy", ticker, "--all").code == 0
    newer = cluster.rule("node-a")["programId"]
    assert newer != first and eyeflow("nodes", "accept", "--ahead").err.startswith("no node has a newer manifest")
    assert cluster.stop("coordinator") == 0
    shutil.rmtree(store)
    shutil.move(home / "old", store)
    cluster.coordinator(port)

    def ahead() -> list[int]:
        return [one["aheadVersion"] for one in eyeflow("status", "--json").json["nodes"]]

    with shown_on_failure(*(cluster.folder / f"{name}.log" for name in ("coordinator", "node-a", "node-b"))):
        until(lambda: all(ahead()), "both nodes are refused")
        assert "is the store an old copy?" in (cluster.folder / "coordinator.log").read_text()
        assert "eyeflow nodes accept node-a" in eyeflow("nodes", "show", "node-a").out
        assert cluster.rule("node-a")["programId"] == newer, "what runs, runs on"
        neither = eyeflow("nodes", "accept")
        assert neither.code == 2 and eyeflow("nodes", "accept", "node-a", "--ahead").code == 2
        accepted = eyeflow("nodes", "accept", "--ahead")
        assert accepted.code == 0 and accepted.out.count("is accepted") == 2, accepted.out + accepted.err
        until(lambda: all(cluster.rule(one)["programId"] == first for one in ("node-a", "node-b")), "they follow")
        assert ahead() == [0, 0]
