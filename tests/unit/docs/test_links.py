"""Every relative link of the documentation leads somewhere, and every command line in it exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```(\w*)$")
SHELL = ("sh", "console")


def pages() -> list[Path]:
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    return sorted(path for path in found if "diagnostics" not in path.parts)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ +(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_relative_links_resolve(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not resolves(page, link)]
    assert broken == []


def resolves(page: Path, link: str) -> bool:
    if link.startswith(("http://", "https://", "mailto:")):
        return True
    place, _, anchor = link.partition("#")
    target = (page.parent / place).resolve() if place else page
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))


def test_a_broken_link_is_noticed() -> None:
    assert not resolves(ROOT / "README.md", "docs/no-such-page.md")
    assert not resolves(ROOT / "README.md", "docs/index.md#no-such-heading")


def shell_lines(page: Path) -> Iterator[str]:
    """Yield the commands of the shell blocks; in `console` blocks these are the lines after `$ `."""
    language = ""
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    for line in lines:
        fence = FENCE.match(line)
        if fence:
            language = fence[1] if not language else ""
            continue
        text = line.strip()
        if language not in SHELL or (language == "console" and not text.startswith("$ ")):
            continue
        while text.endswith("\\"):
            text = text[:-1] + next(lines).strip()
        yield text.removeprefix("$ ")


OTHERS = {"createdb", "createuser", "pg_dump"}
"""Commands of others, to which `eyeflow` is a name."""


def eyeflow_arguments(line: str) -> list[list[str]]:
    """Return the arguments of each `eyeflow` in a command line, up to a pipe, a redirection or the like."""
    found: list[list[str]] = []
    current: list[str] | None = None
    words = shlex.split(line, comments=True)
    if words[:1] and words[0] in OTHERS:
        return []
    for word in words:
        if word.strip("|&;<>") == "" or word.startswith((">", "2>", "<")):
            current = None
        elif current is not None:
            current.append(word.rstrip(";"))
        elif word == "eyeflow" or word.endswith("/eyeflow"):
            current = []
            found.append(current)
    return found


COMMANDS = [
    (name(page), arguments) for page in pages() for line in shell_lines(page) for arguments in eyeflow_arguments(line)
]


def test_the_documentation_has_commands() -> None:
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "arguments"), COMMANDS, ids=lambda value: " ".join(value)[:60])
def test_commands_exist(page: str, arguments: list[str]) -> None:
    parse(arguments)


def parse(arguments: list[str]) -> None:
    """Parse a command line by the real command tree, without running anything; raises a usage error if it is wrong."""
    from typer.main import get_command

    from eyeflow.cli.main import command_line

    command: Any = get_command(command_line())
    name, parent, rest = "eyeflow", None, list(arguments)
    if "--help" in rest or "--version" in rest:
        return
    while True:
        context = command.make_context(name, rest, parent=parent)
        if not hasattr(command, "resolve_command") or (not rest and command.invoke_without_command):
            return
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parent = context


def test_a_wrong_command_is_noticed() -> None:
    for wrong in (["chekc", "a.eye"], ["check", "--no-such-option", "a.eye"], ["keys", "nwe"]):
        with pytest.raises(Exception, match=r"No such"):
            parse(wrong)
