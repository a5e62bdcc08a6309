"""What scripts rely on in every command: JSON also for wrong arguments, quiet pipes, a reference that is true."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from eyeflow.cli.main import command_line

from .conftest import Command

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


@pytest.mark.parametrize(
    "arguments", [("bogus",), ("check",), ("explain", "--bogus"), ("coordinator", "start", "--port", "99999")]
)
def test_wrong_arguments_are_json_too(eyeflow: Command, arguments: tuple[str, ...]) -> None:
    ran = eyeflow(*arguments, "--json")
    assert ran.code == 2 and ran.json["exitCode"] == 2 and ran.json["error"]["code"] == "usage"
    assert ran.json["error"]["message"] and "--help" in ran.json["error"]["next"] and not ran.err
    plain = eyeflow(*arguments)
    assert plain.code == 2 and not plain.out and "Usage:" in plain.err


def test_a_reader_that_goes_away_is_no_failure(environment: dict[str, str], rule: Path) -> None:
    lines = "timestamp,lux\n" + "".join(f"{n},{n % 20}\n" for n in range(20_000))
    events = rule.with_name("many.csv")
    events.write_text(lines)
    command = [sys.executable, "-m", "eyeflow", "run", str(rule), "--events", str(events), "--repeats"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert (process.wait(120), b"Traceback" in process.stderr.read()) == (0, False)


@pytest.mark.parametrize("period", ["0s", "-1s", "often"])
def test_a_period_that_is_no_time(eyeflow: Command, rule: Path, recording: Path, period: str) -> None:
    ran = eyeflow("run", rule, "--events", recording, "--period", period)
    assert ran.code == 2 and "--period" in ran.err and "5min" in ran.err


def options(command: Any, path: str) -> Iterator[tuple[str, str]]:
    for name, sub in getattr(command, "commands", {}).items():
        yield from options(sub, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield from ((path, flag) for param in command.params for flag in param.opts if flag.startswith("--"))


def test_the_reference_names_every_option_as_it_is_typed() -> None:
    sections = {text.split("\n", 1)[0]: text for text in PAGE.read_text().split("\n## ")[1:]}
    found = list(options(typer.main.get_command(command_line()), "eyeflow"))
    assert len(found) > 60
    # Flags for the node's settings have a page of their own.
    missing = [(path, flag) for path, flag in found if flag != "--help" and f"`{flag}" not in sections[path]]
    assert [pair for pair in missing if f"{flag_setting(pair[1])}" not in settings()] == []


def flag_setting(flag: str) -> str:
    return "EYEFLOW_" + flag.removeprefix("--").replace("-", "_").upper()


def settings() -> str:
    return (PAGE.parent / "node-settings.md").read_text()


@pytest.mark.parametrize("phase", ["tokens", "ast", "typed", "ir", "asm"])
def test_every_phase_can_be_json(eyeflow: Command, rule: Path, phase: str) -> None:
    (shown,) = eyeflow("compile", rule, "--emit", phase, "--json").json["phases"]
    assert (Path(shown["file"]).name, shown["phase"], shown["diagnostics"]) == ("lamp.eye", phase, [])
    assert shown["text"].rstrip() == eyeflow("compile", rule, "--emit", phase).out.rstrip()
    rule.write_text(rule.read_text().replace("rule lamp {", "rule lamp { and"))
    broken = eyeflow("compile", rule, "--emit", phase, "--json")
    assert broken.code == (0 if phase == "tokens" else 1), broken.out


@pytest.mark.parametrize("module", ["typer", "eyeflow.cli.logs", "eyeflow.coordinator.store"])
def test_ctrl_c_while_the_command_loads_says_nothing(environment: dict[str, str], module: str) -> None:
    """`-X importtime` tells on stderr what has been imported, so that the signal comes in the middle."""
    command = [sys.executable, "-X", "importtime", "-m", "eyeflow", "coordinator", "start", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line.decode())
            if lines[-1].rstrip().endswith(f" {module}"):
                process.send_signal(signal.SIGINT)
                break
            if lines[-1].rstrip().endswith(" eyeflow.coordinator.serve"):  # all is loaded: it would run for ever
                process.kill()
                raise AssertionError(f"{module} was not loaded")
        lines += process.stderr.read().decode().splitlines()
        assert process.wait(120) in (-signal.SIGINT, 130, 0)
        assert "Traceback" not in "".join(lines), lines[-5:]
