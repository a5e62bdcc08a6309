"""Whatever a message or a page tells people to type exists: commands, subcommands and their options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from eyeflow.cli.main import command_line

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "eyeflow").rglob("*.py"))
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *(ROOT / "examples").rglob("*.md")])

QUOTED = re.compile(r"`eyeflow ([^`\n]+)`")
ADVICE = re.compile(r"(?:^|: |then |see |or )eyeflow ((?:[a-z-]+ ?){1,2}[^.;,)]*)")
TYPED = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?eyeflow ((?:[^#\\\n]|\\\n)+)", re.MULTILINE)
GLOBAL = {"--help", "-h", "--version", "--install-completion", "--show-completion"}
COMMANDS: Any = typer.main.get_command(command_line())


def wrong(line: str) -> str:
    """Return what of a command line does not exist, empty when all does."""
    line = re.split(r" [0-9]?>+ ", line)[0]  # where its output goes is the shell's
    words = re.split(r"[ \n|&;]+(?![^<]*>)", line.replace("\\\n", " ").strip())
    command = COMMANDS
    while words and hasattr(command, "commands"):
        if words[0] in ("...", "COMMAND") or words[0].startswith(("-", "<", "[")):
            return ""
        if words[0] not in command.commands:
            return f"no command `{words[0]}` in `{line}`"
        command = command.commands[words.pop(0)]
    known = GLOBAL | {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    open_ended = command.context_settings.get("ignore_unknown_options", False)
    flags = [word.split("=")[0].strip("[](),.'\"") for word in words if word.strip("[").startswith("--")]
    unknown = [flag for flag in flags if flag not in known and not open_ended]
    return f"no option {unknown} of `{line}`" if unknown else ""


def texts(path: Path) -> Iterator[str]:
    """Yield the texts of a module: messages and docstrings; an f-string with its values as `X`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_name_what_exists(path: Path) -> None:
    named = {line for text in texts(path) for line in QUOTED.findall(text)}
    named |= {
        line
        for text in texts(path)
        for line in ADVICE.findall(text)
        if line.split()[0] in COMMANDS.commands  # "eyeflow has ..." is prose
    }
    assert [problem for line in sorted(named) if (problem := wrong(line))] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_name_what_exists(path: Path) -> None:
    text = path.read_text()
    blocks = "\n".join(re.findall(r"^```(?:sh|console|bash|shell|text)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    named = set(QUOTED.findall(text)) | set(TYPED.findall(blocks))
    assert [problem for line in sorted(named) if (problem := wrong(line))] == []


@pytest.mark.parametrize("line", ["bogus", "keys bogus", "check --bogus x.eye", "node log"])
def test_control_what_does_not_exist_is_found(line: str) -> None:
    assert wrong(line)


def test_there_is_something_to_check() -> None:
    assert sum(len(QUOTED.findall(path.read_text())) for path in SOURCES) > 20
