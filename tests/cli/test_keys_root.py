"""A stolen coordinator, with real processes: it runs a program of its own on a node without a root, and on no other."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

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
        refused = eyeflow("deploy", bad, "--nodes", "node-b", "--sign", "thief")
        assert refused.code == 1 and "no such key is trusted here" in refused.out + refused.err, refused.err
        assert cluster.rule("node-b", "bad").get("executions", 0) == 0

        # He puts other lists into the store: an older one of the root, and one of a root of his own.
        eyeflow("keys", "root", "new", "his")
        forged = tmp_path / "forged.json"
        assert eyeflow("keys", "root", "sign", forged, "--signer", thief, "--key", "his").code == 0
        store = home / ".local" / "share" / "eyeflow" / "coordinator" / "coordinator.sqlite"
        for text, words in ((files[0].read_bytes(), "older than version 2"), (forged.read_bytes(), "does not know")):
            assert cluster.stop("coordinator") == 0
            with sqlite3.connect(store) as db:
                assert db.execute("UPDATE meta SET value = ? WHERE key = 'signer_list'", (text,)).rowcount == 1
            db.close()
            cluster.coordinator(int(url.rsplit(":", 1)[1]))
            until(lambda words=words: words in logs[2].read_text(), words)  # type: ignore[misc]
        assert cluster.stop("node-b") == 0
        cluster.node("node-b", "--trust-root-keys", root)
        until(lambda: cluster.executions("node-b") > 0, "what anna signed runs after a start, too")
        refused = eyeflow("deploy", bad, "--nodes", "node-b", "--sign", "thief")
        assert refused.code == 1, "nor after a start"
        assert "bad" not in json.dumps(cluster.status("node-b")["rules"]) or not cluster.rule("node-b", "bad").get(
            "executions"
        )  # type: ignore[index]


def test_a_list_that_is_none_is_said(eyeflow: Command, tmp_path: Path) -> None:
    assert eyeflow("keys", "root", "sign").code == 3, "there is no root key"
    assert "name them" in eyeflow("keys", "root", "sign", "--key", "x").err
    path = tmp_path / "signers.json"
    path.write_text("{}")
    ran = eyeflow("keys", "root", "show", path)
    assert ran.code == 1 and "is no list of signers" in ran.err
