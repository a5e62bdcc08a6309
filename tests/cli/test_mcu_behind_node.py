"""`eyeflow mcu` while a node owns the board's port: the same commands go through that node. With real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse

from components.board_double import BoardDouble, log_line, plugged_in
from components.http_server import serve

from .conftest import Command
from .test_boards import BOARD, DELEGATED, TRIAGE
from .test_deployments import started
from .test_first_path import Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]

RULE = """rule interlock {
    version "1.2.0"
    pin RELAY: output
    param limit: float = 80.0 in 0.0..150.0
    on every 500ms
    gpio.set_pin(RELAY, if adc.read_channel(0) * 0.1 > limit then HIGH else LOW)
}
"""
PROBE_RS = """#!{python}
import json, subprocess, sys
from pathlib import Path
import serial
if sys.argv[1] == "list":
    print("[0]: STLink V2-1 -- 0483:374b:5034A (ST-LINK)")
if sys.argv[1] == "download":
    with serial.serial_for_url({port!r}, exclusive=True):
        pass
    told = subprocess.run([sys.executable, "-m", "eyeflow", "node", "boards", "list", "--json", "--config", {config!r}],
                          capture_output=True, check=True).stdout
    Path({seen!r}).write_bytes(told)
"""
"""A probe-rs whose download needs the board's serial port to be free, and notes what the node says of the board."""


@contextmanager
def behind(cluster: Cluster, eyeflow: Command, board: BoardDouble, tmp_path: Path, *flags: str) -> Iterator[str]:
    """The port of a board that a node has adopted and brought into the cluster."""
    cluster.node("node-a", *flags)
    (tmp_path / "board.toml").write_text(BOARD + DELEGATED)
    with plugged_in(board) as port, shown_on_failure(cluster.folder / "node-a.log"):
        config = ("--config", cluster.config("node-a"))
        ran = eyeflow("node", "boards", "adopt", port, "--name", "press", "--board", tmp_path / "board.toml", *config)
        assert ran.code == 0, ran.err
        joined = lambda: eyeflow("nodes", "list", "--json").json[1:]  # noqa: E731
        until(lambda: any(one["connected"] for one in joined()), "the board has joined, and its link is up")
        yield port
        cluster.stop("node-a")


def test_commands_of_a_board_go_through_the_node_that_owns_its_port(
    cluster: Cluster, eyeflow: Command, tmp_path: Path
) -> None:
    started(cluster, eyeflow, "node-a")
    cluster.stop("node-a")
    board = BoardDouble(delegates_llm=True)
    reply = JSONResponse({"choices": [{"message": {"content": "HOT"}}]})
    with serve(lambda request, body: reply) as model:
        llm = ("--llm-endpoint", f"{model}/v1", "--llm-model", "small", "--grants-allow", "adc.*,gpio.*,log.*,llm.*")
        with behind(cluster, eyeflow, board, tmp_path, *llm) as port:
            at, rule = ("--port", port), tmp_path / "interlock.eye"
            rule.write_text(RULE)
            ran = eyeflow("mcu", "push", rule, *at, "--param", "limit=70", "--json")
            assert ran.code == 0 and "is press of the node that runs on" in ran.err, ran.err
            pushed = ran.json
            assert (pushed["rule"], pushed["already"]) == ("interlock", False)
            assert board.programs[0].signed.program_id == pushed["programId"] and len(board.params) == 1
            assert eyeflow("mcu", "push", rule, *at, "--json").json["already"]
            assert [one["rule"] for one in eyeflow("mcu", "list", *at, "--json").json] == ["interlock"]
            assert eyeflow("mcu", "status", *at, "--json").json["hello"]["chip"] == "STM32F401CC"
            its_log_is_shown(eyeflow, board, at)
            what_it_says_is_shown(cluster, board, "--port", port)
            it_is_read_from_elsewhere(cluster, eyeflow, board)
            a_pushed_program_is_answered(eyeflow, board, tmp_path, at)
            its_audit_names_what_was_pushed(eyeflow, pushed["programId"])
            what_the_cluster_manages_is_refused(eyeflow, board, at, rule)
            flashing_lets_the_port_go(cluster, eyeflow, port, tmp_path)


def its_log_is_shown(eyeflow: Command, board: BoardDouble, at: tuple[str, str]) -> None:
    for number in range(5):
        board.run(number % 2, time_us=number)
    until(lambda: board.oldest == len(board.records), "the node has the records")
    shown = eyeflow("mcu", "log", *at, "--json").lines
    assert [(one["sequence"], one["rule"], one["levels"]) for one in shown] == [
        (number, "interlock", number % 2) for number in range(5)
    ]
    refused = eyeflow("mcu", "log", *at, "--forget")
    assert refused.code == 3 and "the node takes the records of press" in refused.err, refused.err


def what_it_says_is_shown(cluster: Cluster, board: BoardDouble, *at: str) -> None:
    stir = lambda: board.once.append(log_line("door open", 2))  # noqa: E731
    with told_by(cluster, "monitor", *at, "--json") as lines:
        until(lambda: (stir(), lines())[1] != [], "the monitor shows what the board logs")
        assert lines()[0] == {"level": "warning", "text": "door open"}


@contextmanager
def told_by(cluster: Cluster, *words: str) -> Iterator[Callable[[], list[Any]]]:
    """Run `eyeflow mcu` until the end of the block, and give what returns all that it has printed by then, as JSON."""
    command = [sys.executable, "-m", "eyeflow", "mcu", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=cluster.environment, cwd=cluster.folder) as running:
        assert running.stdout is not None
        data = bytearray()
        os.set_blocking(running.stdout.fileno(), False)

        def lines() -> list[Any]:
            data.extend(running.stdout.read() or b"")  # type: ignore[union-attr]
            return [json.loads(line) for line in data.split(b"\n")[:-1]]

        try:
            yield lines
        finally:
            running.terminate()
    assert running.returncode in (143, -15), "it ends at once, also while it waits for what comes"


def it_is_read_from_elsewhere(cluster: Cluster, eyeflow: Command, board: BoardDouble) -> None:
    """Through the coordinator, which any machine reaches: no port is named."""
    at = ("--node", "press")
    what_it_says_is_shown(cluster, board, *at)
    with told_by(cluster, "log", *at, "--follow", "--json") as lines:
        until(lambda: len(lines()) == 5, "what is there comes first")
        board.run(1, time_us=5)
        until(lambda: len(lines()) == 6, "what comes follows")
        assert [one["sequence"] for one in lines()] == list(range(6))
        newest = lines()[-1]
        assert (newest["rule"], newest["levels"]) == ("interlock", 1)
    last = eyeflow("mcu", "log", *at).out.splitlines()[-1]
    assert last.split()[0] == "5" and last.endswith("interlock  ok  RELAY HIGH  LED LOW"), last
    none = eyeflow("mcu", "monitor", "--node", "node-a")
    assert none.code == 1 and "node-a is no board" in none.err, none.err


def a_pushed_program_is_answered(eyeflow: Command, board: BoardDouble, tmp_path: Path, at: tuple[str, str]) -> None:
    rule = tmp_path / "triage.eye"
    rule.write_text(TRIAGE)
    ran = eyeflow("mcu", "push", rule, *at, "--json")
    assert ran.code == 0, ran.err
    board.ask(7, 0, "what the probe says", "is it hot?", place=1)
    until(lambda: board.llm_answers == [bytes([7, 2]) + (1).to_bytes(8, "little")], "the board is answered")


def its_audit_names_what_was_pushed(eyeflow: Command, program_id: str) -> None:
    key = eyeflow("keys", "show", "--json").json["publicKey"]
    shown = lambda: eyeflow("audit", "show", "--node", "press", "--json").lines  # noqa: E731
    installs = lambda: [one for one in shown() if one["kind"] == "install"]  # noqa: E731
    until(lambda: len(installs()) == 2, "the audit says what was pushed")
    (first, second) = installs()
    assert (first["rule"], first["program"], first["signers"]) == ("interlock", program_id, [key])
    assert (first["deployment"], second["rule"]) == ("", "triage")
    assert eyeflow("audit", "verify", "--node", "press").code == 0


def what_the_cluster_manages_is_refused(eyeflow: Command, board: BoardDouble, at: tuple[str, str], rule: Path) -> None:
    newer = rule.with_name("newer.eye")
    newer.write_text(RULE.replace('version "1.2.0"', 'version "1.3.0"'))
    assert "no deployment brought it: somebody pushed it" in eyeflow("nodes", "show", "press").out
    assert eyeflow("deploy", rule, "--nodes", "press").code == 0
    for refused in (eyeflow("mcu", "push", newer, *at), eyeflow("mcu", "remove", "interlock", *at)):
        assert refused.code == 1 and "interlock on press is the cluster's" in refused.err, refused.err
    assert board.programs[0].signed.program.version == "1.2.0"
    ran = eyeflow("mcu", "push", newer, *at, "--force", "--json")
    assert ran.code == 0 and board.programs[0].signed.program_id == ran.json["programId"], ran.err
    until(lambda: "it is not the deployed program" in eyeflow("nodes", "show", "press").out, "the cluster shows it")
    assert eyeflow("mcu", "remove", "triage", *at).out == "triage is off the board\n"
    assert [decode_rule(one) for one in board.programs.values()] == ["interlock"]


def decode_rule(held: object) -> str:
    return str(held.signed.program.rule)  # type: ignore[attr-defined]


def flashing_lets_the_port_go(cluster: Cluster, eyeflow: Command, port: str, tmp_path: Path) -> None:
    tools, seen, config = tmp_path / "tools", tmp_path / "seen.json", cluster.config("node-a")
    tools.mkdir()
    program = tools / "probe-rs"
    facts = {"port": port, "config": str(config), "seen": str(seen)}
    program.write_text(PROBE_RS.format(python=sys.executable, **facts))
    program.chmod(0o755)
    (tmp_path / "firmware.elf").write_bytes(b"\x7fELF")
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    ran = eyeflow("mcu", "flash", tmp_path / "firmware.elf", "--chip", "STM32F401CC", "--port", port, env=path)
    assert ran.code == 0 and "flashed and verified STM32F401CC" in ran.out, ran.err
    (meanwhile,) = json.loads(seen.read_text())["boards"]
    assert (meanwhile["state"], meanwhile["evidence"]) == ("updating", "its firmware is written by eyeflow mcu flash")
    state = lambda: eyeflow("node", "boards", "list", "--json", "--config", config).json["boards"][0]  # noqa: E731
    until(lambda: state()["state"] == "online", "the node has the port again")
    assert state()["starts"] == 0
