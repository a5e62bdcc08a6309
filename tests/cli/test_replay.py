"""`deploy --replay` with real processes: a node tells where a program would have decided otherwise, before it changes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from eyeflow.cli import replays

from .conftest import Command
from .test_first_path import TICKER, Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]

LATER = TICKER.replace("1.0.0", "1.1.0").replace("ticks % 2 == 0", "ticks % 4 == 0")
TIDY = TICKER.replace("1.0.0", "1.2.0").replace("ticks = ticks + 1", "ticks = 1 + ticks")


def written(path: Path, source: str) -> Path:
    path.write_text(source.split("    test ")[0] + "}\n")
    return path


def on_a_terminal(environment: dict[str, str], answer: bytes, *arguments: object) -> tuple[int, str]:
    """Run a command that asks on a terminal; returns its exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "eyeflow", *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        os.write(ours, answer)
        seen = b""
        with contextlib.suppress(OSError):  # the terminal has no other end any more
            while chunk := os.read(ours, 65536):
                seen += chunk
        os.close(ours)
        return process.wait(120), seen.decode()


def test_a_candidate_is_tried_on_what_nodes_recorded(
    cluster: Cluster, eyeflow: Command, ticker: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    eyeflow("keys", "new")
    url = cluster.coordinator()
    for node in ("node-a", "node-b"):
        cluster.join(node, url)
    log = cluster.node("node-a")
    with shown_on_failure(log, tmp_path / "coordinator.log"):
        assert eyeflow("deploy", written(ticker, TICKER), "--all", "--timeout", "60").code == 0
        until(lambda: cluster.executions("node-a") > 40, "node-a has something to replay")
        before = cluster.rule("node-a")["programId"]
        replay = ("deploy", written(ticker, LATER), "--all", "--replay", "1h")

        looked = eyeflow(*replay, "--dry-run", "--json")
        assert looked.code == 0, looked.err
        here, away = looked.json["replay"]
        assert (away["node"], away["problem"], away["events"]) == ("node-b", "it is offline", 0)
        assert (here["node"], here["rule"], here["problem"], here["memory"]) == ("node-a", "ticker", "", "known")
        assert here["events"] > 20 and abs(here["differing"] - here["events"] / 4) <= 1, here
        assert (here["unlike"], here["unanswered"], here["missing"]) == (0, 0, [])
        first = here["differences"][0]
        assert first["event"] == "every 100ms" and first["active"]["seq"] > 0
        assert first["active"]["decided"] == ["gpio.set_pin(LAMP, HIGH) at line 11"]
        assert first["candidate"]["decided"] == ["gpio.set_pin(LAMP, LOW) at line 11"]

        shown = eyeflow(*replay, "--dry-run", "--fail-on-difference")
        assert shown.code == 1 and "decisions differ" in shown.err
        assert "candidate would do  gpio.set_pin(LAMP, LOW) at line 11" in shown.out
        assert shown.out.count("candidate would do") == 5 and "more (--json shows the first " in shown.out
        assert "node-b" in shown.out and "it is offline" in shown.out and "1 node could not tell" in shown.out

        mute = eyeflow(*replay)
        assert mute.code == 2 and "--yes" in mute.err and "--dry-run" in mute.err
        stopped = eyeflow(*replay, "--fail-on-difference", "--yes")
        assert stopped.code == 1 and "nothing was changed" in stopped.err
        assert cluster.rule("node-a")["programId"] == before
        assert len(eyeflow("deployments", "--json").json) == 1, "nothing has begun"

        asked = on_a_terminal(environment, b"n\n", *replay)
        assert asked[0] == 1 and "Deploy it? [y/N]" in asked[1] and "nothing was changed" in asked[1], asked
        assert len(eyeflow("deployments", "--json").json) == 1, "a no is a no"

        same = ("deploy", written(ticker, TIDY), "--nodes", "node-a", "--replay", "1h")
        gone_on = eyeflow(*same, "--fail-on-difference", "--yes", "--json", "--timeout", "60")
        assert gone_on.code == 0, gone_on.err + gone_on.out
        told, *_, last = map(json.loads, gone_on.out.splitlines())
        assert told["event"] == "replay" and told["replay"][0]["differing"] == 0 < told["replay"][0]["events"]
        assert last["state"] == "succeeded" and cluster.rule("node-a")["programId"] != before


def test_a_gate_that_compared_nothing_lets_nothing_through() -> None:
    def found(events: int, differing: int, unlike: int = 0, unanswered: int = 0) -> dict[str, int]:
        return {"events": events, "differing": differing, "unlike": unlike, "unanswered": unanswered}

    assert replays.holds([found(5, 0), found(0, 0)])
    assert not replays.holds([found(5, 0), found(5, 1)])
    assert not replays.holds([]) and not replays.holds([found(0, 0)])
    assert not replays.holds([found(5, 0, unlike=2, unanswered=3)]), "all are unknown"


def test_what_does_not_go_together_is_said(eyeflow: Command, ticker: Path) -> None:
    for options, says in (
        (("--yes",), "--yes needs --replay"),
        (("--fail-on-difference",), "--fail-on-difference needs --replay"),
        (("--replay", "soon", "--yes"), "--replay: "),
        (("--replay", "100ms", "--yes"), "--replay 100ms is out of range"),
        (("--replay", "8d", "--yes"), "--replay 8d is out of range: from 1s to 7d"),
        (("--replay", "1h", "--yes", "--replay-timeout", "2h"), "from 1 to 3600 seconds"),
    ):
        ran = eyeflow("deploy", ticker, "--all", *options)
        assert ran.code == 2 and says in ran.err, ran.err
