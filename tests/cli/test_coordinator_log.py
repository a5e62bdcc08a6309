"""The coordinator's log from the command line: who did what, and a log that was changed while it was stopped."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .conftest import Command
from .test_first_path import Cluster, cluster, until

__all__ = ["cluster"]


def test_the_log_tells_who_did_what_and_a_changed_one_is_found(cluster: Cluster, eyeflow: Command, home: Path) -> None:
    url = cluster.coordinator()
    bot = {"EYEFLOW_TOKEN": eyeflow("tokens", "new", "bot", "--role", "admin", "--json").json["token"]}
    assert eyeflow("coordinator", "join-token", env=bot).code == 0
    cluster.join("node-a", url)
    rows = [line.split(maxsplit=3)[2:] for line in eyeflow("coordinator", "log").out.splitlines()[1:]]
    assert ["coordinator", "create_token first-admin"] in [[who, what.rsplit(" ", 2)[0]] for who, what in rows]
    assert any(who == "bot" and what.startswith("join_token ") for who, what in rows)
    shown = eyeflow("coordinator", "log", "--json").json
    assert ("node node-a", "join", "node-a") in [(one["actor"], one["action"], one["subject"]) for one in shown]
    assert len(eyeflow("coordinator", "log", "--last", "2", "--json").json) == 2

    first = eyeflow("coordinator", "log", "--verify")
    assert first.code == 0 and "the log holds" in first.out and "your first check" in first.err
    until(lambda: eyeflow("coordinator", "log", "--verify", "--json").json["signed"] > 3, "it is signed")
    last = eyeflow("coordinator", "log", "--verify", "--json").json
    assert last["holds"] and last["seen"] == last["last"]

    assert cluster.stop("coordinator") == 0
    store = home / ".local" / "share" / "eyeflow" / "coordinator" / "coordinator.sqlite"
    with sqlite3.connect(store) as db:
        assert db.execute("UPDATE log SET actor = 'first-admin' WHERE actor = 'bot'").rowcount == 1
    db.close()
    cluster.coordinator(int(url.rsplit(":", 1)[1]))
    changed = eyeflow("coordinator", "log", "--verify")
    assert changed.code == 1 and "was changed" in changed.err and "backup of its store" in changed.err
    assert eyeflow("coordinator", "log", "--verify", "--json").json["error"]["code"] == "log_changed"
