"""Every strategy with real processes: a good program comes to all nodes, one that fails is taken back from all."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from .conftest import Command
from .test_first_path import TICKER, Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]

NODES = ("node-a", "node-b")
TRAPS = TICKER.replace("HIGH else LOW)\n", 'HIGH else LOW)\n    log.info("share {100 / (ticks % 2)}")\n', 1)
"""Every other execution divides by zero."""
LATER = TICKER.replace("ticks % 2 == 0", "ticks % 4 == 0")


class Fleet:
    """Two nodes that run version 1.0.0 of a rule."""

    def __init__(self, made: Cluster, eyeflow: Command, rule: Path) -> None:
        self.cluster, self.eyeflow, self.rule = made, eyeflow, rule
        self.version = 0

    def deploy(self, source: str, *options: str) -> Any:
        self.version += 1
        self.rule.write_text(source.replace("1.0.0", f"1.0.{self.version}").split("    test ")[0] + "}\n")
        ran = self.eyeflow("deploy", self.rule, "--all", "--json", "--timeout", "120", *options)
        # The lines before tell what happened on the way.
        last = json.loads(ran.out if "--no-wait" in options else ran.out.splitlines()[-1])
        return last | {"code": ran.code, "told": ran.err}

    def runs(self, node: str) -> dict[str, str]:
        """Which programs a node runs of the rule, by slot."""
        status = self.cluster.status(node)
        assert status is not None
        return {one["slot"]: one["programId"] for one in status["rules"]}  # type: ignore[index, attr-defined]


@pytest.fixture
def fleet(cluster: Cluster, eyeflow: Command, ticker: Path, tmp_path: Path) -> Fleet:
    eyeflow("keys", "new")
    url = cluster.coordinator()
    for node in NODES:
        cluster.join(node, url)
        cluster.node(node)
    return Fleet(cluster, eyeflow, ticker)


@pytest.mark.parametrize("strategies", [("immediate", "rolling", "shadow"), ("canary", "blue_green")], ids="+".join)
def test_a_candidate_that_fails_is_taken_back_everywhere_and_a_good_one_passes(
    fleet: Fleet, strategies: tuple[str, ...], tmp_path: Path
) -> None:
    """One cluster for several strategies: to make one takes as long as to try one."""
    with shown_on_failure(*(tmp_path / f"{name}.log" for name in ("coordinator", *NODES))):
        assert fleet.deploy(TICKER)["state"] == "succeeded"
        for strategy in strategies:
            check(fleet, strategy)
            check_crashes(fleet, strategy)


def check(fleet: Fleet, strategy: str) -> None:
    how = ("--strategy", strategy, "--percent", "50", "--observe")
    before = {node: fleet.runs(node) for node in NODES}

    bad = fleet.deploy(TRAPS, *how, "60s")
    assert (bad["code"], bad["state"]) == (1, "failed"), bad
    assert "executions failed" in bad["reason"], bad["reason"]
    for node in NODES:
        until(lambda node=node: fleet.runs(node) == before[node], f"{node} runs what it ran before {strategy}")
    check_post_mortem(fleet, bad, strategy)

    good = fleet.deploy(LATER if strategy == "shadow" else TICKER, *how, "2s")
    assert (good["code"], good["state"]) == (0, "succeeded"), good
    if strategy == "shadow":
        check_differences(fleet, good)
    wanted = before["node-a"]["active"] if strategy == "shadow" else good["changes"][0]["programId"]
    for node in NODES:
        until(lambda node=node: fleet.runs(node) == {"active": wanted}, f"{node} runs what passed by {strategy}")


def check_crashes(fleet: Fleet, strategy: str) -> None:
    """Coordinator and node are killed in the middle: it goes on, and ends as if nothing had been."""
    before = {node: fleet.runs(node) for node in NODES}
    begun = fleet.deploy(TICKER, "--strategy", strategy, "--percent", "50", "--observe", "5s", "--no-wait")
    fleet.cluster.stop("coordinator", signal.SIGKILL)
    fleet.cluster.stop("node-a", signal.SIGKILL)
    fleet.cluster.coordinator(int(fleet.cluster.url.rsplit(":", 1)[1]))
    fleet.cluster.node("node-a")
    watched = fleet.eyeflow("deployments", "watch", begun["id"], "--json", "--timeout", "120")
    ended = json.loads(watched.out.splitlines()[-1])
    assert (watched.code, ended["state"]) == (0, "succeeded"), (ended, watched.err)
    for node in NODES:
        wanted = before[node] if strategy == "shadow" else {"active": begun["changes"][0]["programId"]}
        until(lambda node=node, wanted=wanted: fleet.runs(node) == wanted, f"{node} runs what passed by {strategy}")


def check_post_mortem(fleet: Fleet, bad: Any, strategy: str) -> None:
    """Which check, which numbers, which executions, with inputs and lines: also after a restart of the coordinator."""
    if strategy == "immediate":
        fleet.cluster.stop("coordinator")
        fleet.cluster.coordinator(int(fleet.cluster.url.rsplit(":", 1)[1]))
    shown = fleet.eyeflow("deployments", "show", bad["id"], "--json").json
    verdict, found = shown["verdict"], shown["failures"]
    assert verdict["failures"] >= 1 and verdict["executions"] >= 20, verdict
    assert 1 <= len(found) <= 20 and {one["node"] for one in found} <= set(NODES), found
    for one in found:
        assert (one["rule"], one["programId"]) == ("ticker", bad["changes"][0]["programId"])
        assert one["event"] == "every 100ms"
    traps = [one for one in found if one["kind"] == "trap"]
    assert traps and {one["kind"] for one in found} <= {"trap", "deadline"}, "a busy machine misses deadlines"
    assert {(one["what"], one["seq"] > 0) for one in traps} == {("trap DIV_BY_ZERO at line 12", True)}
    told = fleet.eyeflow("deployments", "show", bad["id"]).out
    assert "executions that failed, the newest first" in told and "ticker on every 100ms, audit record" in told
    assert "trap DIV_BY_ZERO at line 12" in told and f"of {verdict['executions']} executions failed" in told


def check_differences(fleet: Fleet, shadow: Any) -> None:
    def shown() -> Any:
        return fleet.eyeflow("deployments", "show", shadow["id"], "--json").json["differences"]

    until(lambda: bool(shown()), "the decisions that differ are listed")
    one = shown()[0]
    assert one["active"]["decided"] == ["gpio.set_pin(LAMP, HIGH) at line 11"], one
    assert one["candidate"]["decided"] == ["gpio.set_pin(LAMP, LOW) at line 11"], one
    assert (one["event"], one["rule"]) == ("every 100ms", "ticker") and one["active"]["seq"] != one["candidate"]["seq"]
    told = fleet.eyeflow("deployments", "show", shadow["id"]).out
    assert "decisions that differ, the newest first" in told
    assert "candidate would do  gpio.set_pin(LAMP, LOW) at line 11" in told
