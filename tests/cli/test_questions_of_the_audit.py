"""What people ask of the audit at the coordinator, with real processes: which, why, whether it holds, and the export."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import apsw

from .conftest import Command
from .test_first_path import Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "audit.md"


def test_the_coordinator_answers(cluster: Cluster, eyeflow: Command, ticker: Path, tmp_path: Path) -> None:
    assert eyeflow("keys", "new").code == 0
    cluster.join("node-a", cluster.coordinator())
    cluster.node("node-a")
    with shown_on_failure(tmp_path / "coordinator.log", tmp_path / "node-a.log"):
        assert eyeflow("deploy", ticker, "--all", "--param", "level=2.5", "--no-source").code == 0
        until(lambda: bool(eyeflow("executions", "--action", "log.warn", "--json").lines), "the third tick is copied")
        (warned,) = eyeflow("executions", "--action", "log.warn", "--json").lines
        assert "if ticks == 3" not in eyeflow("why", warned["id"]).out, "nobody uploaded the text"
        again = eyeflow("deploy", ticker, "--all", "--param", "level=2.5")
        assert again.code == 0 and "its text was not taken" not in again.err, again.err
        followed = follow(cluster)
        cluster.stop("node-a")
        until(lambda: not eyeflow("nodes", "show", "node-a", "--json").json["connected"], "the link has ended")
        explain(eyeflow)
        check_and_hand_over(eyeflow, tmp_path)
        assert followed == sorted(set(followed)), "in order, each once"
        damage(cluster, eyeflow, tmp_path)


def follow(cluster: Cluster) -> list[int]:
    """Return the numbers of executions that `--follow` told of: some that were there, and some that came."""
    command = [sys.executable, "-m", "eyeflow", "executions", "--node", "node-a", "-n", "2", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=cluster.environment, text=True) as process:
        assert process.stdout is not None
        found = [json.loads(process.stdout.readline())["seq"] for _ in range(12)]
        process.terminate()
        process.wait(60)
    return found


def explain(eyeflow: Command) -> None:
    (warned,) = eyeflow("executions", "--action", "log.warn", "--json").lines
    ran = eyeflow("why", warned["id"])
    assert ran.code == 0, ran.out + ran.err
    for line in (
        "ticks = 2 -> 3",
        "if ticks == 3",
        "yes: 3 == 3 is true",
        "with level = 2.5",
        "has signed the chain",
        "decides the same",
    ):
        assert line in ran.out, ran.out
    assert eyeflow("why", f"node-a:{warned['seq']}", "--json").json["execution"] == warned
    assert eyeflow("why", str(warned["seq"])).code == 2, "whose?"
    assert eyeflow("why", "node-a:999999").code == 1


def check_and_hand_over(eyeflow: Command, folder: Path) -> None:
    whole = eyeflow("audit", "verify", "--node", "node-a", "--json")
    assert whole.code == 0 and whole.json["holds"] and whole.json["cosigned"], whole.out
    ran = eyeflow("audit", "verify", "--node", "node-a", "--key", whole.json["publicKey"])
    assert ran.code == 0 and "as the coordinator" in ran.out
    assert eyeflow("audit", "verify", "--node", "node-a", "--key", "ab" * 32).code == 1, "the control"
    shown = eyeflow("audit", "show", "--node", "node-a", "--from", "1", "--last", "5")
    assert "start" in shown.out and "ticker on every 100ms: no input -> gpio.set_pin(LAMP, LOW) at line 11" in shown.out
    assert len(eyeflow("audit", "show", "--node", "node-a", "--last", "3", "--json").lines) == 3
    for wrong in (("--branch", "1"), ("--epoch", "5")):
        assert eyeflow("audit", "show", "--node", "node-a", *wrong).code == 1
        assert eyeflow("audit", "show", *wrong).code == 2
    made = eyeflow("audit", "export", "a.audit", "--node", "node-a", "--json")
    assert made.code == 0 and made.json["records"] == whole.json["records"]
    (program,) = re.findall(r"^```python verify\.py\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    command = [sys.executable, "-c", program, "a.audit", made.json["nodeKey"], made.json["coordinatorKey"]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and f"holds: {made.json['records']} records" in done.stdout


def damage(cluster: Cluster, eyeflow: Command, folder: Path) -> None:
    """Somebody cuts off the end of the copy: the head that was signed tells."""
    file = next(folder.rglob("archive.db"))
    db = apsw.Connection(str(file))
    db.execute("DELETE FROM records WHERE seq = (SELECT max(seq) FROM records)")
    db.close()
    ran = eyeflow("audit", "verify", "--node", "node-a", "--json")
    assert ran.code == 1 and ran.json["holds"] and not ran.json["cosigned"], "the chain alone cannot tell"
    assert "CUT OFF" in eyeflow("audit", "verify", "--node", "node-a").out
