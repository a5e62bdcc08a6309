"""Commands in the documentation are taken by the command line: people copy them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from eyeflow.base.reading import Unreadable
from eyeflow.cli.durations import duration_us, seconds
from eyeflow.cli.main import command_line

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"^ *```(?:sh|console|bash)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DURATIONS = {"--observe", "--timeout", "--valid", "--period", "--replay"}
END = {"|", ">", ">>", "&&", "||", ";", "&", "2>"}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield (place, words) of each `eyeflow ...` in a block for a shell."""
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            text = block[1].replace("\\\n", " ")
            for line in text.splitlines():
                for found in re.finditer(r"(?:^(?:\$ )?|&& |\| |\$\()eyeflow (.*)", line.strip()):
                    yield f"{page.relative_to(ROOT)}: {line.strip()}", words(found[1])


def words(text: str) -> list[str]:
    """Return the words of one command, up to what the shell does with it."""
    given = re.sub(r"\$\([^)]*\)|\$\{?\w+[^}\s]*\}?", "VALUE", text)
    lexer = shlex.shlex(given, posix=True, punctuation_chars="|&;>)")
    lexer.whitespace_split = True
    found = []
    for word in lexer:
        if word in END or set(word) <= set("|&;>)"):
            break
        found.append(word)
    return found


COMMANDS = list(commands())


USAGE_ERROR = typer.BadParameter.__mro__[1]


@cache
def tree() -> Any:
    return typer.main.get_command(command_line())


def complaint(arguments: list[str]) -> str:
    """Return what the command line says against a command without running it, empty if nothing."""
    command, name = tree(), "eyeflow"
    try:
        while True:
            is_group = hasattr(command, "resolve_command")
            context = command.make_context(name, list(arguments), **({"allow_extra_args": True} if is_group else {}))
            rest = [*context._protected_args, *context.args]
            if not is_group or not rest:
                return ""
            name, command, arguments = command.resolve_command(context, rest)
    except typer.Exit:  # --help
        return ""
    except USAGE_ERROR as error:
        said = str(error.format_message())
        return "" if "does not exist" in said or "VALUE" in said else said


def test_the_command_line_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = [f"{place}: {said}" for place, arguments in COMMANDS if (said := complaint(arguments))]
    assert not found, "\n".join(found)


def test_control_what_the_command_line_refuses_is_found() -> None:
    for wrong in (["deploy", "a.eye", "--strategie", "canary"], ["deplo"], ["deployments", "show"]):
        assert complaint(wrong)
    assert len(COMMANDS) > 100, "the pages are read"


def test_durations_are_taken() -> None:
    given = [(place, w[n + 1]) for place, w in COMMANDS for n, word in enumerate(w[:-1]) if word in DURATIONS]
    assert len(given) > 5
    for place, text in given:
        assert text in {"forever", "DURATION", "VALUE"} or seconds()(text) > 0, place


@pytest.mark.parametrize(("text", "us"), [("5m", 300), ("5min", 300), ("1h30m", 5400), ("2m30s", 150), ("500ms", 0.5)])
def test_minutes_have_two_names(text: str, us: float) -> None:
    assert duration_us(text) == us * 1e6


@pytest.mark.parametrize("text", ["m", "5mm", "5mi", "5m5min", ""])
def test_other_words_are_no_durations(text: str) -> None:
    with pytest.raises(Unreadable):
        duration_us(text)
