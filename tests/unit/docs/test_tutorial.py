"""What the tutorial shows is what happens: its files are written, its commands run, their output compared."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RULE = Path("freezer_alarm.eye")
CLUSTER = "## 6."
"""From here on servers run; the end-to-end tests cover that."""


def steps() -> Iterator[tuple[str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    start, end = text.index("## 2."), text.index(CLUSTER)
    for match in BLOCK.finditer(text, start, end):
        yield match[1], match[2]


def eyeflow(command: str) -> str:
    """Run `eyeflow ...` in this process and return what a terminal shows."""
    from eyeflow.cli.main import command_line

    return CliRunner().invoke(command_line(), command.split()[1:], env={"COLUMNS": "110", "NO_COLOR": "1"}).output


def lasting(text: str) -> str:
    """Blank what differs from run to run or version to version: keys, fingerprints, ids of programs, and paths."""
    return re.sub(r"/\S+/keys/|\b(?:[0-9a-f]{64}|[0-9a-f]{16})\b", "...", text)


def play(language: str, text: str) -> str | None:
    """Play one block; return the command of a `console` block whose output must be compared."""
    if language == "eye" and text.startswith("rule "):
        RULE.write_text(text, encoding="utf-8")
    elif language == "eye" and text.startswith("    test "):
        RULE.write_text(f"{RULE.read_text(encoding='utf-8').rstrip()[:-1]}\n{text}}}\n", encoding="utf-8")
    elif text.startswith("timestamp,"):
        Path("night.csv").write_text(text, encoding="utf-8")
    elif language == "sh":
        subprocess.run(text, shell=True, check=True)
    elif language == "console":
        return text.splitlines()[0].removeprefix("$ ")
    return None


def test_the_tutorial_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EYEFLOW_KEYS", str(tmp_path / "config" / "keys"))
    compared = 0
    for language, text in steps():
        command = play(language, text)
        if command is not None:
            shown = text.split("\n", 1)[1]
            assert lasting(eyeflow(command)) == lasting(shown), command
            compared += 1
    assert compared >= 9


def test_one_program_has_one_id_on_the_page() -> None:
    """Each command shows as much of it as it does; an id of an older compiler must not stay on the way."""
    text = PAGE.read_text(encoding="utf-8")
    whole = re.search(r"programId +([0-9a-f]{64})", text)
    assert whole is not None
    shown = re.findall(r"(?:freezer_alarm(?:\.svm)?|program|program=) *([0-9a-f]{8,16})\b", text)
    assert len(shown) >= 5 and {len(one) for one in shown} == {8, 12, 16}
    assert [one for one in shown if not whole[1].startswith(one)] == []
