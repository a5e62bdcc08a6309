"""What others wrote never steers the terminal: names, payloads, messages of peers, in the output of every command."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eyeflow.base.visible import DIRECTIONS, steers
from eyeflow.cli import console
from eyeflow.cli.main import command_line
from eyeflow.cli.main import run as run_command

from .conftest import RULE, Ran

HOSTILE = "a\x9b31mred\u202eb\x1b[2J\x7f\rfake\nline"
LITERAL = "a\\u{9b}31mred\\u{202e}b\\u{1b}[2J\\u{7f}\\nfake"
ESCAPE_RULE = f"""\
rule esc {{
    record R {{ t: text(64), n: float = 0.0 }}
    on event "x" as r: R
    log.info("got {{r.t}}")
    test "shows {LITERAL}" {{
        send {{ t: "{LITERAL}" }}
        expect log.info("{LITERAL}")
    }}
}}
"""
EVENTS = [
    {"timestamp": 1767225600, "t": HOSTILE},
    {"timestamp": 1767225601, "t": 5},
    {"timestamp": 1767225602, "t": "ok", "n": HOSTILE},
    {"timestamp": HOSTILE, "t": "ok"},
]


def steering(text: str) -> list[str]:
    """Return what of a command's output steers a terminal."""
    return sorted({repr(char) for char in text if steers(char) and char != "\n"})


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], home: Path, tmp_path: Path) -> Any:
    """Run a command in this process; its output must steer nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NO_COLOR", "1")
    for name in [name for name in os.environ if name.startswith(("EYEFLOW_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EYEFLOW_TOKEN", "asked for otherwise")
    monkeypatch.setattr(typer.main, "get_command", lambda app: TREE)

    def run(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["eyeflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_command(command_line())
        out, err = capfd.readouterr()
        assert steering(out + err) == [], (arguments, out, err)
        assert ended.value.code != 70, err
        return Ran(int(str(ended.value.code)), out, err)

    return run


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


TREE = typer.main.get_command(command_line())
"""All commands. To make them again for each call would take longer than all else here."""
COMMANDS = dict(commands(TREE))
SERVERS = {("coordinator", "start"), ("node", "start")}


@pytest.mark.parametrize("path", [path for path in COMMANDS if path not in SERVERS], ids=" ".join)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_hostile_arguments_of_every_command(call: Any, path: tuple[str, ...], as_json: bool) -> None:
    arguments = [HOSTILE for param in COMMANDS[path].params if param.param_type_name == "argument"]
    required = [
        text
        for param in COMMANDS[path].params
        if param.param_type_name == "option" and param.required
        for text in (param.opts[0], HOSTILE)
    ]
    json_ = ["--json"] if as_json and any("--json" in param.opts for param in COMMANDS[path].params) else []
    ran = call(*path, *required, *json_, "--", *arguments)
    assert ran.out or ran.err
    refused = call(*path, f"--{HOSTILE}", *json_)
    assert refused.code in (1, 2, 3) and refused.out + refused.err
    if json_:
        assert json.loads(ran.out) is not None and json.loads(refused.out)["error"]["message"]


@pytest.mark.parametrize("how", [(), ("--json",)], ids=["text", "json"])
def test_events_and_rules_that_are_hostile(call: Any, tmp_path: Path, how: tuple[str, ...]) -> None:
    rule, events = tmp_path / f"esc{HOSTILE}.eye", tmp_path / f"{HOSTILE}.jsonl"
    rule.write_text(ESCAPE_RULE)
    events.write_text("".join(json.dumps(row) + "\n" for row in EVENTS))
    shown = call("run", rule, "--events", events, *how)
    assert shown.code == 0 and "2J" in shown.out
    assert how or all(part in shown.out for part in ("\\x9b31m", "\\u202e", "\\u001b[2J", "\\x7f"))
    if how:
        assert json.loads(shown.out.splitlines()[0])["arguments"]["message"] == f"got {HOSTILE}", "nothing is lost"
    assert call("test", rule, *how).code == 1
    assert call("test", rule, "--cov", *how).code == 1
    assert call("compile", rule, "-o", tmp_path / f"out{HOSTILE}.svm", *how).code == 0
    assert call("inspect", tmp_path / f"out{HOSTILE}.svm", "--source", rule, "--disasm", *how).code == 0
    for phase in ("tokens", "ast", "typed", "ir", "asm"):
        assert call("compile", rule, "--emit", phase, *how).code == 0


@pytest.mark.parametrize("how", ["text", "concise", "github", "json"])
def test_diagnostics_about_hostile_text(call: Any, tmp_path: Path, how: str) -> None:
    path = tmp_path / f"x{HOSTILE}.eye"
    path.write_text(RULE.replace("seen + 1", "sean + 1  # \x9b31m \u202e \x1b[2J \x7f"))
    ran = call("check", path, *(["--json"] if how == "json" else ["--format", how]))
    assert ran.code == 1 and "sean" in ran.out + ran.err
    assert len(ran.out.splitlines()) == 1 or how != "github", "a file's name forges no second annotation"
    path.write_bytes(b"rule \xff " + HOSTILE.encode())
    assert call("check", path).code == 1
    call("fmt", "--diff", path)
    call("explain", HOSTILE)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=()), max_size=12))
def test_whatever_is_said_steers_nothing(capfd: pytest.CaptureFixture[str], text: str) -> None:
    for speak in (console.say, console.note, console.say_lines, console.note_lines, console.say_data):
        speak(text if speak is not console.say_data else "")
    console.table(["X"], [[text]])
    console.say_json({"text": text}, indent=None)
    out, err = capfd.readouterr()
    assert steering(out + err) == []
    assert json.loads(out.splitlines()[-1])["text"] == text


def test_only_own_styles_reach_the_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.say(f"{console.paint('red', '31', sys.stdout)} \x1b[31mforged\x1b[0m")
    assert capfd.readouterr().out == "\x1b[31mred\x1b[0m \\x1b[31mforged\\x1b[0m\n"


def test_control_what_steers_is_found() -> None:
    assert len(steering(HOSTILE)) == 5 and all(steers(mark) for mark in DIRECTIONS)


def test_a_formatted_rule_is_data_in_a_pipe_and_visible_on_a_terminal(environment: dict[str, str]) -> None:
    rule = RULE.replace("pin LAMP: output", "pin LAMP: output  # \x9b31m\u202e")
    command = [sys.executable, "-m", "eyeflow", "fmt", "-"]
    piped = subprocess.run(command, input=rule.encode(), capture_output=True, env=environment, timeout=120, check=True)
    assert piped.stdout.decode() == rule
    ours, theirs = pty.openpty()
    done = subprocess.run(command, input=rule.encode(), stdout=theirs, env=environment, timeout=120, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0 and "\\x9b31m\\u202e" in shown and steering(shown.replace("\r\n", "\n")) == []
