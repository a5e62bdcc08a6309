"""API tokens from the command line, against a real coordinator."""

from __future__ import annotations

from pathlib import Path

from .conftest import Command
from .test_first_path import Cluster, cluster, ticker, until

__all__ = ["cluster", "ticker"]


def test_a_token_does_what_its_role_says_until_it_expires_or_is_revoked(cluster: Cluster, eyeflow: Command) -> None:
    cluster.coordinator()
    made = eyeflow("tokens", "new", "viewer", "--role", "read", "--valid", "30d", "--json").json
    viewer = {"EYEFLOW_TOKEN": made["token"]}
    assert eyeflow("status", env=viewer).code == 0
    refused = eyeflow("coordinator", "join-token", env=viewer)
    assert refused.code == 1 and "`viewer` has the role read; this needs admin" in refused.err
    refused = eyeflow("tokens", "new", "more", "--role", "admin", env=viewer)
    assert refused.code == 1, "a token makes no stronger one"

    again = eyeflow("tokens", "new", "viewer")
    assert again.code == 1 and "revoke it first" in again.err
    text = eyeflow("tokens", "new", "ci")
    assert text.code == 0 and text.out.startswith("eft_") and "may deploy, until 20" in text.err
    assert "until it is revoked" in eyeflow("tokens", "new", "bot", "--valid", "forever").err

    shown = eyeflow("tokens", "list")
    assert shown.code == 0 and made["token"].split("_")[2] not in shown.out
    rows = {line.split()[0]: line.split() for line in shown.out.splitlines()[1:]}
    assert rows["viewer"][2:6] == ["read", "all", "-", "works"] and rows["viewer"][7] != "never"
    assert rows["ci"][7] == "never" and rows["bot"][6:] == ["never", "never"]

    assert eyeflow("tokens", "revoke", "viewer").code == 0
    gone = eyeflow("status", env=viewer)
    assert gone.code == 1 and "`viewer` was revoked" in gone.err and "eyeflow tokens new" in gone.err
    near = eyeflow("tokens", "revoke", "bott")
    assert near.code == 1 and "did you mean bot?" in near.err
    last = eyeflow("tokens", "revoke", "first-admin", "--json")
    assert last.code == 1 and last.json["error"]["code"] == "last_admin"

    short = {"EYEFLOW_TOKEN": eyeflow("tokens", "new", "short", "--valid", "1s", "--json").json["token"]}
    until(lambda: "`short` has expired" in eyeflow("status", env=short).err, "it expires")
    states = {one["name"]: one["works"] for one in eyeflow("tokens", "list", "--json").json}
    assert states == {"first-admin": True, "viewer": False, "ci": True, "bot": True, "short": False}


def test_a_token_for_one_site_deploys_there_and_sees_nothing_else(
    cluster: Cluster, eyeflow: Command, ticker: Path
) -> None:
    url = cluster.coordinator()
    eyeflow("keys", "new")
    for node, site in (("node-a", "lyon"), ("node-b", "paris")):
        cluster.join(node, url)
        assert eyeflow("nodes", "label", node, f"site={site}").code == 0
        cluster.node(node)
    assert eyeflow("deploy", ticker, "--all").code == 0
    until(lambda: cluster.executions("node-b") > 0, "it runs")
    made = eyeflow("tokens", "new", "ci-lyon", "--label", "site=lyon", "--person", "anna", "--json").json
    assert (made["labels"], made["person"]) == ({"site": "lyon"}, "anna")
    lyon = {"EYEFLOW_TOKEN": made["token"]}
    assert "site=lyon" in eyeflow("tokens", "list").out

    for command in (("status",), ("nodes", "list"), ("deployments", "list")):
        ran = eyeflow(*command, env=lyon)
        assert ran.code == 0 and "node-b" not in ran.out + ran.err, ran.out + ran.err
    assert "node-a" in eyeflow("nodes", "list", env=lyon).out
    newer = ticker.read_text().replace('version "1.0.0"', 'version "1.1.0"')
    assert newer != ticker.read_text()
    ticker.write_text(newer)
    there = eyeflow("deploy", ticker, "--nodes", "node-b", env=lyon)
    assert there.code == 1 and "with site=lyon, which this token is for" in there.out + there.err, there.out + there.err
    here = eyeflow("deploy", ticker, "--all", env=lyon)
    assert here.code == 0, here.out + here.err
    versions = {
        one["name"]: one["rules"][0]["wanted"]["programId"] for one in eyeflow("status", "--json").json["nodes"]
    }
    assert versions["node-a"] != versions["node-b"], "all nodes are its own nodes"
    assert eyeflow("coordinator", "log", env=lyon).code == 1, "the log is about the whole cluster"
    assert eyeflow("nodes", "label", "node-b", "site=lyon", env=lyon).code == 1
    admin = eyeflow("tokens", "new", "boss", "--role", "admin", "--label", "site=lyon")
    assert admin.code == 2 and "whole cluster" in admin.err


def test_how_long_a_token_works_is_a_duration(eyeflow: Command) -> None:
    for valid in ("", "soon", "0s", "10ms", "-1d"):
        ran = eyeflow("tokens", "new", "ci", "--valid", valid)
        assert ran.code == 2 and "--valid" in ran.err and "forever" in ran.err, ran.err
