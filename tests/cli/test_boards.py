"""Boards behind a node, with real processes: adopted, seen, deployed to by one command, and lost with their gateway."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from starlette.responses import JSONResponse

from components.board_double import BoardDouble, plugged_in
from components.http_server import serve
from components.rust import ROOT
from eyeflow.svm.opcodes import Trap

from .conftest import Command
from .test_deployments import started
from .test_first_path import TICKER, Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]

RULE = ROOT / "examples" / "overheat_relay" / "overheat_relay.eye"
BOARD = (ROOT / "examples" / "boards" / "stm32f401cc.toml").read_text("utf-8")
DELEGATED = "\n[llm]\ndelegated = true\n"
TRIAGE = """rule triage {
    version "1.0.0"
    pin RELAY: output
    enum Kind { CALM, HOT }
    on every 1s
    let kind = llm.classify("what the probe says", Kind, "is it hot?") timeout 2s else CALM
    gpio.set_pin(RELAY, if kind == HOT then HIGH else LOW)
}
"""


def test_a_rule_is_compiled_for_a_board_and_reaches_it_by_one_command(
    cluster: Cluster, eyeflow: Command, ticker: Path, tmp_path: Path
) -> None:
    started(cluster, eyeflow, "node-a")
    config = ("--config", cluster.config("node-a"))
    board_file = tmp_path / "board.toml"
    board_file.write_text(BOARD)
    board = BoardDouble(delegates_llm=True)
    with plugged_in(board) as port, shown_on_failure(cluster.folder / "node-a.log"):
        nowhere = eyeflow("node", "boards", "adopt", "/dev/none", "--name", "press", "--config", tmp_path / "none.toml")
        assert nowhere.code != 0 and "none.toml" in nowhere.err and "asking the board" not in nowhere.err
        missing = eyeflow("node", "boards", "adopt", "/dev/none", "--name", "press", *config)
        assert missing.code == 3 and "cannot be opened" in missing.err
        assert "no boards yet" in eyeflow("node", "boards", "list", *config).err
        ran = eyeflow("node", "boards", "adopt", port, "--name", "press", "--board", board_file, *config)
        assert (ran.code, ran.out) == (0, f"press is a board of this node: {port}\n"), ran.err
        listed = lambda: eyeflow("nodes", "list", "--json").json  # noqa: E731
        until(lambda: [one["name"] for one in listed()] == ["node-a", "press"], "the board has joined")
        until(lambda: listed()[1]["board"]["hasBoardFile"] and listed()[1]["connected"], "its link is up")
        assert "press  online" in eyeflow("node", "boards", "list", *config).out.replace("   ", "  ")

        for where in (("--nodes", "press"), ("--nodes", "node-a,press"), ("--all",)):
            wrong = eyeflow("deploy", ticker, *where)
            assert wrong.code == 1 and "the board black-pill has no pin `LAMP`" in wrong.err, wrong.err
            assert "ticker.eye does not compile for the board press" in wrong.err and "--exclude press" in wrong.err
        nodes_and_boards_by_one_command(eyeflow, board, tmp_path)
        ran = eyeflow("deploy", RULE, "--nodes", "press")
        assert ran.code == 0, ran.err
        assert [one.signed.program.rule for one in board.programs.values()] == ["overheat_relay"]
        assert board.programs[0].signed.program.chip == "STM32F401CC"
        shown = eyeflow("nodes", "show", "press").out
        assert "STM32F401CC, device 0001020304050607, firmware 0.1.0, gateway node-a" in shown
        assert "then, started by power" in shown and "stack 1800 of 4096 bytes at most" in shown
        assert "program overheat_relay 1.2.0" in shown and "online" in eyeflow("status").out
        its_records_are_in_the_audit(eyeflow, board, tmp_path)
        assert eyeflow("remove", "overheat_relay", "--nodes", "press").code == 0
        until(lambda: board.programs == {}, "the board has removed it")

        assert "another audit record" not in (cluster.folder / "node-a.log").read_text()
        cluster.stop("node-a")
        until(lambda: "unknown (gateway lost)" in eyeflow("status").out, "its gateway is lost")
        with serve(lambda request, body: JSONResponse({"choices": [{"message": {"content": "HOT"}}]})) as model:
            grants = "adc.*,gpio.*,log.*,llm.*"
            cluster.node("node-a", "--llm-endpoint", f"{model}/v1", "--llm-model", "small", "--grants-allow", grants)
            until(lambda: listed()[1]["board"]["state"] == "online", "it is back")
            its_gateway_asks_the_model(eyeflow, board, tmp_path)
        assert eyeflow("node", "boards", "release", "press", *config).out == "press is released; it runs on\n"
        until(lambda: listed()[1]["board"]["reason"] == "not_served", "nobody speaks for it")


def nodes_and_boards_by_one_command(eyeflow: Command, board: BoardDouble, tmp_path: Path) -> None:
    """Each gets the program for its chip, by a strategy; what a board cannot do is told before anything changes."""
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "blink.eye").write_text(TICKER.replace("LAMP", "RELAY").replace("rule ticker", "rule blink"))
    shadow = eyeflow("deploy", rules / "blink.eye", "--all", "--strategy", "shadow", "--dry-run")
    assert shadow.code == 1, shadow.err
    assert "cannot run it: is a board, which runs one program of a rule at a time" in shadow.out
    board.executes = 50
    watched = ("--strategy", "rolling", "--observe", "1s", "--samples", "3")
    ran = eyeflow("deploy", rules / "blink.eye", "--all", *watched, "--json")
    assert ran.code == 0, ran.err + ran.out
    (change,) = ran.lines[-1]["changes"]
    (of_board,) = change["boardPrograms"]
    assert of_board["chip"] == "STM32F401CC" and of_board["programId"] != change["programId"]
    assert [held.signed.program_id for held in board.programs.values()] == [of_board["programId"]]
    wanted = {node["name"]: node["rules"][0]["wanted"]["programId"] for node in eyeflow("nodes", "list", "--json").json}
    assert wanted == {"node-a": change["programId"], "press": of_board["programId"]}
    shown = eyeflow("deployments", "show", ran.lines[-1]["id"]).out
    assert of_board["programId"][:16] in shown and "STM32F401CC" in shown, shown
    assert eyeflow("diff", rules, "--all").out == "node-a: 1 unchanged\npress: 1 unchanged\n"
    same = eyeflow("deploy", rules, "--all")
    assert same.out == "nothing to change: 1 rule as wanted\n", same.out + same.err
    assert eyeflow("remove", "blink", "--all").code == 0
    board.executes = 0


def its_gateway_asks_the_model(eyeflow: Command, board: BoardDouble, tmp_path: Path) -> None:
    rule, board_file = tmp_path / "triage.eye", tmp_path / "delegating.toml"
    rule.write_text(TRIAGE)
    board_file.write_text(BOARD + DELEGATED)
    for ran in (
        eyeflow("compile", rule, "--board", board_file, "--out", rule.with_suffix(".svm")),
        eyeflow("sign", rule.with_suffix(".svm")),
        eyeflow("deploy", rule.with_suffix(".svm"), "--nodes", "press"),
    ):
        assert ran.code == 0, ran.err
    board.ask(7, 0, "what the probe says", "is it hot?")
    until(lambda: board.llm_answers == [bytes([7, 2]) + (1).to_bytes(8, "little")], "the board is answered")
    shown = lambda: eyeflow("audit", "show", "--node", "press", "--json").lines  # noqa: E731
    until(lambda: [one["answer"] for one in shown() if one["kind"] == "board_answer"] == ["HOT"], "it is recorded")


def its_records_are_in_the_audit(eyeflow: Command, board: BoardDouble, tmp_path: Path) -> None:
    """Each record of the board is at the coordinator once, is found there, is explained, and proved to an outsider."""
    for number in range(30):
        board.run(number % 2, time_us=number)
        if number % 10 == 9:
            until(lambda: board.oldest == len(board.records), "the gateway has the records")
    board.run(1, trap=int(Trap.DIV_BY_ZERO))
    listed = lambda *more: eyeflow("executions", "--node", "press", "--json", "-n", "100", *more).lines  # noqa: E731
    until(lambda: len(listed()) == 31, "all of them are at the coordinator")
    assert [one["board"]["number"] for one in listed()] == list(range(31))
    assert [one["board"]["outputs"] for one in listed()][:2] == [
        {"RELAY": False, "LED": False},
        {"RELAY": True, "LED": False},
    ]
    (trapped,) = listed("--outcome", "trapped", "--rule", "overheat_relay")
    assert trapped["trap"]["name"] == "DIV_BY_ZERO" and trapped["trap"]["line"] > 0
    assert "inputs not recorded -> trapped: DIV_BY_ZERO at line" in trapped["text"]

    why = eyeflow("why", trapped["id"])
    assert why.code == 3 and "a board records neither what its rule read nor its memory" in why.out, why.out
    assert "the board told outcome, trap" in why.out and "RELAY HIGH, LED LOW" in why.out
    shown = eyeflow("audit", "show", "--node", "press", "-n", "100").out
    assert "board_chain" in shown and "overheat_relay on every 500ms: inputs not recorded" in shown
    assert eyeflow("audit", "verify", "--node", "press").code == 0
    file = tmp_path / "press.audit"
    exported = eyeflow("audit", "export", file, "--node", "press", "--json").json
    page = (ROOT / "docs" / "reference" / "audit.md").read_text("utf-8")
    (tmp_path / "verify.py").write_text(page.split("```python verify.py\n")[1].split("```")[0])
    command = [sys.executable, tmp_path / "verify.py", file, exported["nodeKey"], exported["coordinatorKey"]]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and ran.stdout.startswith("holds: "), ran.stderr
