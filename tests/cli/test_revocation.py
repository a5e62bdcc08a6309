"""A revoked key, with real processes: the program stops at once, or after the grace that the node was given."""

from __future__ import annotations

from pathlib import Path

from .conftest import Command
from .test_first_path import Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]


def test_a_revoked_key_stops_what_runs(cluster: Cluster, eyeflow: Command, ticker: Path) -> None:
    eyeflow("keys", "new")
    url = cluster.coordinator()
    for node in ("node-a", "node-b"):
        cluster.join(node, url)
    with shown_on_failure(*(cluster.folder / f"{name}.log" for name in ("coordinator", "node-a", "node-b"))):
        cluster.node("node-a")
        cluster.node("node-b", "--trust-revoked-grace-s", "86400")
        assert eyeflow("deploy", ticker, "--all").code == 0
        assert eyeflow("keys", "revoke", "default", "--cluster").code == 0

        until(lambda: cluster.rule("node-a").get("state") == "refused", "it is stopped at once")
        said = str(cluster.rule("node-a")["lastError"])
        assert "was revoked. It had run since 20" in said and "Sign it with a trusted key" in said
        until(lambda: bool(cluster.rule("node-b").get("stopsUs")), "the grace is shown")
        before = cluster.executions("node-b")
        until(lambda: cluster.executions("node-b") > before, "the control: within its grace it runs on")
        nodes = {node["name"]: node for node in eyeflow("status", "--json").json["nodes"]}
        assert nodes["node-a"]["rules"][0]["state"] == "refused"
        assert "was revoked" in nodes["node-a"]["rules"][0]["reason"], nodes["node-a"]
        records = eyeflow("audit", "show", "--config", cluster.config("node-a"), "--json").out
        assert "withdraw" in records
        assert cluster.audit("node-a")["holds"]

        again = eyeflow("deploy", ticker, "--all")
        assert again.code == 1 and "trust" in again.err
        assert eyeflow("keys", "new", "second").code == 0
        assert eyeflow("deploy", ticker, "--all", "--sign", "second").code == 0
        until(lambda: cluster.executions("node-a") > 0, "another trusted key signed it: it runs again")
        until(lambda: cluster.rule("node-b").get("stopsUs") == 0, "nothing is stopped any more")
