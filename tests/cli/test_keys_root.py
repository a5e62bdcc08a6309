"""A stolen coordinator, with real processes: it runs a program of its own on a node without a root, and on no other."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from .conftest import Command
from .test_first_path import Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]


def test_a_stolen_coordinator_runs_nothing_that_the_root_does_not_allow(
    cluster: Cluster, eyeflow: Command, ticker: Path, home: Path, tmp_path: Path
) -> None:
    eyeflow("keys", "new", "anna")
    root = eyeflow("keys", "root", "new", "--json").json["publicKey"]
    anna = eyeflow("keys", "show", "anna", "--json").json["publicKey"]
    files = [tmp_path / f"signers-{number}.json" for number in (1, 2)]
    assert eyeflow("keys", "root", "sign", files[0], "--signer", anna).code == 0
    files[1].write_bytes(files[0].read_bytes())
    second = eyeflow("keys", "root", "sign", files[1], "--json")
    assert second.json["version"] == 2 and second.json["signers"] == [anna], "the same signers again"
    url = cluster.coordinator()
    for node in ("node-a", "node-b"):
        cluster.join(node, url)
    text = cluster.config("node-b").read_text()
    assert "root_keys" not in text
    logs = [cluster.folder / f"{name}.log" for name in ("coordinator", "node-a", "node-b")]
    with shown_on_failure(*logs):
        cluster.node("node-a")
        cluster.node("node-b", "--trust-root-keys", root)
        assert eyeflow("keys", "root", "publish", files[1]).code == 0
        stale = eyeflow("keys", "root", "publish", files[0])
        assert stale.code == 1 and "older than version 2" in stale.err
        good = eyeflow("deploy", ticker, "--all", "--sign", "anna")
        assert good.code == 0, good.out + good.err
        until(lambda: cluster.executions("node-b") > 0, "the root allows anna")

        # The thief has the coordinator, and with it an admin token: he lets the cluster trust his key.
        eyeflow("keys", "new", "thief")
        thief = eyeflow("keys", "show", "thief", "--json").json["publicKey"]
        assert eyeflow("keys", "trust", thief, "--name", "thief", "--cluster").code == 0
        bad = tmp_path / "bad.eye"
        bad.write_text(ticker.read_text().replace("rule ticker", "rule bad"))
        control = eyeflow("deploy", bad, "--nodes", "node-a", "--sign", "thief")
        assert control.code == 0, control.out + control.err
        until(
            lambda: int(cluster.rule("node-a", "bad").get("executions", 0)) > 0, "the control: it acts without a root"
        )  # type: ignore[call-overload]
        until_linked(eyeflow, "node-b")
        refused = eyeflow("deploy", bad, "--nodes", "node-b", "--sign", "thief")
        assert refused.code == 1 and "no such key is trusted here" in refused.out + refused.err, refused.err
        assert cluster.rule("node-b", "bad").get("executions", 0) == 0

        # He puts other lists into the store: an older one of the root, and one of a root of his own.
        eyeflow("keys", "root", "new", "his")
        forged = tmp_path / "forged.json"
        assert eyeflow("keys", "root", "sign", forged, "--signer", thief, "--key", "his").code == 0
        for text, words in ((files[0].read_bytes(), "older than version 2"), (forged.read_bytes(), "does not know")):
            assert cluster.stop("coordinator") == 0
            put_in_store(home, text)
            cluster.coordinator(int(url.rsplit(":", 1)[1]))
            until(lambda words=words: words in logs[2].read_text(), words)  # type: ignore[misc]
        assert cluster.stop("node-b") == 0
        cluster.node("node-b", "--trust-root-keys", root)
        until(lambda: cluster.executions("node-b") > 0, "what anna signed runs after a start, too")
        until_linked(eyeflow, "node-b")
        refused = eyeflow("deploy", bad, "--nodes", "node-b", "--sign", "thief")
        assert refused.code == 1, "nor after a start"
        assert "bad" not in json.dumps(cluster.status("node-b")["rules"]) or not cluster.rule("node-b", "bad").get(
            "executions"
        )  # type: ignore[index]


def until_linked(eyeflow: Command, node: str) -> None:
    """Return once a node's link is up again: a deployment to one that is offline waits, and is not refused."""
    until(lambda: eyeflow("nodes", "show", node, "--json").json["connected"], f"the link of {node}")


def put_in_store(home: Path, signers: bytes) -> None:
    """Put another list of signers in the place of the coordinator's."""
    db = sqlite3.connect(home / ".local" / "share" / "eyeflow" / "coordinator" / "coordinator.sqlite")
    with db:
        assert db.execute("UPDATE meta SET value = ? WHERE key = 'signer_list'", (signers,)).rowcount == 1
    db.close()


def test_a_stolen_coordinator_cannot_lower_the_number_of_signers(
    cluster: Cluster, eyeflow: Command, ticker: Path, home: Path, tmp_path: Path
) -> None:
    """And raising it does not stop a rule that enough people have signed meanwhile. node-a, the control, has no root."""
    root = eyeflow("keys", "root", "new", "--json").json["publicKey"]
    signers = []
    for name in ("anna", "ben"):
        eyeflow("keys", "new", name)
        signers += ["--signer", eyeflow("keys", "show", name, "--json").json["publicKey"]]
    lists = [tmp_path / f"signers-{number}.json" for number in (1, 2)]
    assert eyeflow("keys", "root", "sign", lists[0], *signers).code == 0
    lists[1].write_bytes(lists[0].read_bytes())
    made = eyeflow("keys", "root", "sign", lists[1], "--need", "2:rule=*")
    assert made.code == 0 and "2 of them sign each program: node *, rule *" in made.out, made.err
    url = cluster.coordinator()
    for node in ("node-a", "node-b"):
        cluster.join(node, url)
    logs = [cluster.folder / f"{name}.log" for name in ("coordinator", "node-a", "node-b")]
    with shown_on_failure(*logs):
        cluster.node("node-a")
        cluster.node("node-b", "--trust-root-keys", root)
        assert eyeflow("keys", "root", "publish", lists[0]).code == 0
        assert eyeflow("deploy", ticker, "--all", "--sign", "anna").code == 0
        assert eyeflow("deploy", ticker, "--all", "--sign", "ben").code == 0, "the same program, by another signer"
        assert eyeflow("keys", "root", "publish", lists[1]).code == 0
        until(lambda: "version 2 now" in logs[2].read_text(), "node-b knows the new list")
        until(lambda: cluster.rule("node-b").get("state") == "running", "both signed it: it goes on")
        before = cluster.executions("node-b")
        until(lambda: cluster.executions("node-b") > before, "it goes on")
        bad = tmp_path / "bad.eye"
        bad.write_text(ticker.read_text().replace("rule ticker", "rule bad"))
        early = eyeflow("deploy", bad, "--nodes", "node-b", "--sign", "anna")
        assert early.code == 1 and "only with 2 trusted signers, and it has 1" in early.err

        pair = tmp_path / "pair.eye"
        pair.write_text(ticker.read_text().replace("rule ticker", "rule pair"))
        codes = [eyeflow("deploy", pair, "--nodes", "node-b", "--sign", who).code for who in ("anna", "ben")]
        assert codes == [1, 0], "their signatures came together"

        # The thief has the coordinator and anna's key. He puts the old list back, which asks for one signer.
        assert cluster.stop("coordinator") == 0
        put_in_store(home, lists[0].read_bytes())
        cluster.coordinator(int(url.rsplit(":", 1)[1]))
        until_linked(eyeflow, "node-a")
        control = eyeflow("deploy", bad, "--nodes", "node-a", "--sign", "anna")
        assert control.code == 0, control.out + control.err
        until_linked(eyeflow, "node-b")
        refused = eyeflow("deploy", bad, "--nodes", "node-b", "--sign", "anna")
        assert refused.code == 1 and "and 2 must" in refused.out + refused.err, refused.out + refused.err
        assert cluster.rule("node-b", "bad").get("executions", 0) == 0
        said = eyeflow("node", "status", "--config", cluster.config("node-b")).out
        assert "signers: 2 trusted keys, list 2 of the root until 20" in said, said
        assert cluster.stop("node-b") == 0
        cluster.node("node-b", "--trust-root-keys", root)
        until(lambda: cluster.executions("node-b") > 0, "what both signed runs after a start")
        until_linked(eyeflow, "node-b")
        refused = eyeflow("deploy", bad, "--nodes", "node-b", "--sign", "anna")
        assert refused.code == 1 and "and 2 must" in refused.out + refused.err, "nor after a start"


NEEDS = {
    "0": "2 to 4 signers",
    "5": "2 to 4 signers",
    "two": "2 to 4 signers",
    "2:": "begins with none of",
    "2:pump": "begins with none of",
    "2:rule=": "a pattern of names",
    "2:node=a/b": "a pattern of names",
    "2:label=site": "no label is",
}


@pytest.mark.parametrize("need", NEEDS)
def test_a_need_that_is_none_is_said(eyeflow: Command, tmp_path: Path, need: str) -> None:
    eyeflow("keys", "root", "new")
    ran = eyeflow("keys", "root", "sign", tmp_path / "s.json", "--signer", "ab" * 32, "--need", need)
    assert ran.code == 2 and NEEDS[need] in ran.err, ran.err


def test_needs_are_kept_replaced_and_never_more_than_there_are_signers(eyeflow: Command, tmp_path: Path) -> None:
    eyeflow("keys", "root", "new")
    path, two = tmp_path / "s.json", ["--signer", "ab" * 32, "--signer", "cd" * 32]
    lonely = eyeflow("keys", "root", "sign", path, *two[:2], "--need", "2")
    assert lonely.code == 3 and "names 1 signers, and a program would need 2" in lonely.err and not path.exists()
    first = eyeflow("keys", "root", "sign", path, *two, "--need", "2:node=a-*,rule=pump,label=site=lyon", "--json")
    labels = {"site": "lyon"}
    assert first.json["thresholds"] == [{"signers": 2, "nodes": "a-*", "rules": "pump", "labels": labels}]
    kept = eyeflow("keys", "root", "sign", path, "--json").json
    assert (kept["version"], kept["thresholds"]) == (2, first.json["thresholds"])
    assert eyeflow("keys", "root", "sign", path, "--signer", "ab" * 32).code == 3, (
        "one signer is too few for what holds"
    )
    assert "thresholds" not in eyeflow("keys", "root", "sign", path, "--need", "1", "--json").json


def test_a_list_that_is_none_is_said(eyeflow: Command, tmp_path: Path) -> None:
    assert eyeflow("keys", "root", "sign").code == 3, "there is no root key"
    assert "name them" in eyeflow("keys", "root", "sign", "--key", "x").err
    path = tmp_path / "signers.json"
    path.write_text("{}")
    ran = eyeflow("keys", "root", "show", path)
    assert ran.code == 1 and "is no list of signers" in ran.err
