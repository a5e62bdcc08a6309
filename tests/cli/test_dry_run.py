"""`deploy --dry-run` with real processes: it tells what would happen, and nothing does."""

from __future__ import annotations

from pathlib import Path

from .conftest import Command
from .test_first_path import TICKER, Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]


def test_a_plan_tells_and_changes_nothing(cluster: Cluster, eyeflow: Command, ticker: Path, tmp_path: Path) -> None:
    eyeflow("keys", "new")
    url = cluster.coordinator()
    cluster.join("node-a", url)
    log = cluster.node("node-a")
    with shown_on_failure(log):
        until(lambda: eyeflow("nodes", "show", "node-a", "--json").json["connected"], "the link is up")
        first = eyeflow("deploy", ticker, "--nodes", "node-a", "--dry-run")
        assert first.code == 0, first.err
        assert "node-a  gets ticker" in first.out
        assert "immediate: 1 step. Nothing was changed." in first.out
        assert eyeflow("status", "--json").json["rules"] == 0, "nothing was uploaded"
        assert eyeflow("deploy", ticker, "--nodes", "node-a").code == 0
        newer = tmp_path / "newer.eye"
        newer.write_text(TICKER.replace("ticks % 2", "(ticks + 1) % 2").replace('"1.0.0"', '"1.1.0"'))
        plan = eyeflow("deploy", newer, "--all", "--strategy", "rolling", "--dry-run")
        assert plan.code == 0, plan.err
        assert "keeps the state ticks" in plan.out
        assert "rolling: 1 step, watched for 1min in all" in plan.out
        told = eyeflow("deploy", newer, "--all", "--dry-run", "--json").json["nodes"][0]["changes"][0]
        assert (told["change"], told["state"]["kept"]) == ("replace", ["ticks"])
        assert len(eyeflow("deployments", "list", "--json").json) == 1, "no plan is a deployment"


def test_a_policy_holds_for_the_commands(cluster: Cluster, eyeflow: Command, ticker: Path, tmp_path: Path) -> None:
    eyeflow("keys", "new")
    cluster.join("node-a", cluster.coordinator())
    policy = tmp_path / "policy.toml"
    policy.write_text('[[demand]]\nname = "all"\nnodes = ["node-*"]\nstrategies = ["rolling"]\napproval = true\n')
    checked = eyeflow("policy", "check", policy)
    assert checked.code == 0, checked.err
    assert "node-a" in checked.out
    assert "no policy" in eyeflow("policy", "show").err, "a check applies nothing"
    assert eyeflow("policy", "apply", policy).code == 0
    assert eyeflow("policy", "show").out == policy.read_text()
    refused = eyeflow("deploy", ticker, "--all")
    assert refused.code == 1
    assert "line 4 of the policy (`all`) demands rolling for node-a, not immediate" in refused.err
    plan = eyeflow("deploy", ticker, "--all", "--strategy", "rolling", "--dry-run")
    assert "would wait: another person must approve it: line 5" in plan.out
    policy.write_text('[[demand]]\nname = "all"\n')
    wrong = eyeflow("policy", "check", policy)
    assert wrong.code == 1
    assert "line 1: " in wrong.err
