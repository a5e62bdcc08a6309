"""What `status`, `nodes` and `node status` say of a real node: a failed port, a refused rule, a removed one."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eyeflow.cli import status

from .conftest import Command
from .test_first_path import Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]

HOOK = """\
rule hook {
    version "1.0.0"

    record Reading {
        lux: float
    }

    on http "/light" as reading: Reading

    log.info("lux {reading.lux}")
}
"""


def set_up(cluster: Cluster, allow: str, http_port: int) -> None:
    """Grant what `allow` says to node-a, and let its webhooks listen on a port."""
    config = cluster.config("node-a")
    kept = [line for line in config.read_text().splitlines() if not line.startswith(("allow =", "[http]", "port ="))]
    grants = kept.index("[grants]")
    kept[grants + 1 : grants + 1] = [f"allow = {allow}"]
    config.write_text("\n".join([*kept, "[http]", f"port = {http_port}", ""]))


def test_a_failed_port_a_refusal_and_a_removed_rule(
    cluster: Cluster, eyeflow: Command, ticker: Path, tmp_path: Path
) -> None:
    eyeflow("keys", "new")
    url = cluster.coordinator()
    cluster.join("node-a", url)
    hook = tmp_path / "hook.eye"
    hook.write_text(HOOK)
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    with taken, shown_on_failure(tmp_path / "coordinator.log", tmp_path / "node-a.log"):
        set_up(cluster, '["log.*", "gpio.*"]', port)
        cluster.node("node-a")
        status = cluster.status("node-a")
        assert status is not None and status["coordinator"]["url"] == url  # type: ignore[index]
        assert f"coordinator {url}: " in eyeflow("node", "status", "--config", cluster.config("node-a")).out
        for rule in (ticker, hook):
            assert eyeflow("deploy", rule, "--all").code == 0

        # The source has the name of a driver that is up.
        listens = f"port http  failed  cannot listen for webhooks on 127.0.0.1:{port}: "
        until(lambda: listens in eyeflow("status").out, "the webhooks that cannot listen are shown")
        assert listens in eyeflow("nodes", "show", "node-a").out

        # How busy its machine is.
        until(lambda: re.search(r"^node-a .* \d+ % +[1-9]\d* % ", eyeflow("status").out, re.M), "it is in the table")
        told = r"machine  processor \d+ %, memory \d+ % of [\d.]+ GiB, of which the node has [1-9]\d* MiB"
        assert re.search(told, eyeflow("nodes", "show", "node-a").out)
        assert "memory_bytes" not in eyeflow("status").out

        row = eyeflow("nodes").out.splitlines()[1]
        assert row.startswith("node-a  connected") and row in eyeflow("nodes", "show", "node-a").out
        assert eyeflow("nodes", "accept", "node-a").out.startswith("node-a is accepted: ")

        # What ran is not granted any more.
        cluster.stop("node-a")
        set_up(cluster, '["log.*"]', port)
        cluster.node("node-a")
        refusal = "does not grant: gpio.set_pin"
        until(lambda: "refused" in eyeflow("status").out, "the refusal is shown")
        until(lambda: "Add gpio.set_pin to [grants] allow" in eyeflow("status").out, "what to do is shown")
        assert eyeflow("status").out.count(refusal) == 1

        # A rule that is gone is not shown any more.
        assert eyeflow("remove", "hook", "--all").code == 0
        until(lambda: "hook" not in eyeflow("status").out, "the removed rule is forgotten")
        assert [one["rule"] for one in eyeflow("nodes", "show", "node-a", "--json").json["rules"]] == ["ticker"]
        assert cluster.stop("node-a") == 0 and cluster.stop("coordinator") == 0


class Scripted:
    """News that come, or do not, as `told` says."""

    def __init__(self, *told: bool) -> None:
        self.told, self.asked, self.trouble = list(told), {}, ""

    def wait(self, seconds: float) -> bool:
        is_told = self.told.pop(0)
        self.trouble = "" if is_told else "the connection for news is broken"
        return is_told


def test_watch_looks_when_it_is_told_and_says_when_it_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    news, slept = Scripted(True, False, False, True, False), []

    @contextmanager
    def told(**asked: Any) -> Iterator[Scripted]:
        news.asked = asked
        yield news

    client = SimpleNamespace(news=told, status=lambda: {"summary": {}}, nodes=lambda **_: [])
    view = status._View(client, {}, 1, None, everything=True)  # type: ignore[arg-type]
    monkeypatch.setattr(time, "sleep", slept.append)
    looks = list(islice(status._noted(view, view.look), 6))
    assert looks == [({"summary": {}}, [])] * 6 and set(news.asked["kind"]) == set(status.SHOWN)
    assert [one >= status.LOOK_S for one in slept] == [False, True, True, False, True]
    line = "the connection for news is broken: it is asked every 2 s"
    assert capsys.readouterr().err.count(line) == 2, "once each time that nobody tells any more"
