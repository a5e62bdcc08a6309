"""Help and completion come from a table, at once: they say what typer says, and load nothing that is slow to load."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer._completion_classes import BashComplete, FishComplete, ZshComplete
from typer.main import get_command

from eyeflow.cli import quick, surface
from eyeflow.cli.main import command_line

from .conftest import Command

CLI: Any = get_command(command_line())
PATHS = sorted(surface.HELP)
SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


def lines() -> Iterator[tuple[list[str], str]]:
    """Yield the words before the tab key and the unfinished one, for every command, option and argument."""
    for path in PATHS:
        words = path.split()
        yield from ((words, unfinished) for unfinished in ("", "-", "--", "c", "n", "x", "--j", "--x", "-x", "./x"))
        yield from (([*words, "a"], unfinished) for unfinished in ("", "-", "a"))
        yield [*words, "a", "b", "c"], ""
        for names, _about, values, _again in surface.OPTIONS.get(path, ()):
            for name in names:
                yield words, name
                if values is None:
                    yield [*words, name], ""
                    yield [*words, name], "-"
                else:
                    yield from (([*words, name], unfinished) for unfinished in ("", "m", "S", "-"))
                    yield [*words, name, "a"], "-"
                    yield [*words, name, "a"], ""
                    yield [*words, name, "a", "b"], ""


def typers(words: list[str], unfinished: str) -> list[tuple[str, str]]:
    complete = BashComplete(CLI, {}, "eyeflow", quick.COMPLETE_ENV)
    found = complete.get_completions(list(words), unfinished)
    return [(item.value, " ".join((item.help or "").split())) for item in found]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_table_completes_as_typer_does() -> None:
    asked = [(words, unfinished, quick.completions(words, unfinished)) for words, unfinished in lines()]
    answered = [(words, unfinished, list(found)) for words, unfinished, found in asked if found is not None]
    # What the table leaves to typer: serial ports, commands that take any flag, an option where a value should be.
    assert len(answered) > 1500 and len(answered) / len(asked) > 0.8
    # Sorted, because typer keeps the names of `--help` in no order; all else is in the order of the help page.
    assert [line for line in answered if sorted(line[2]) != sorted(typers(line[0], line[1]))] == []


def test_control_a_table_that_lacks_a_command_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(surface.COMMANDS, "", surface.COMMANDS[""][1:])
    assert list(quick.completions([], "") or ()) != typers([], "")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line", ["eyeflow ", "eyeflow ch", "eyeflow check --format ", "eyeflow mcu --", "eyeflow check x"]
)
def test_every_shell_reads_what_typer_would_write(
    eyeflow: Command, monkeypatch: pytest.MonkeyPatch, shell: str, line: str
) -> None:
    words = line.split(" ")
    environment = {
        quick.COMPLETE_ENV: f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected = SHELLS[shell](CLI, {}, "eyeflow", quick.COMPLETE_ENV).complete()
    ran = eyeflow(env=environment)
    assert (ran.code, ran.out, ran.err) == (0, expected + "\n", "")


@pytest.mark.parametrize(("line", "code"), [("eyeflow ", 0), ("eyeflow check x", 1)])
def test_fish_learns_whether_to_complete_files(eyeflow: Command, line: str, code: int) -> None:
    action = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "is-args"}
    assert eyeflow(env={quick.COMPLETE_ENV: "complete_fish"} | action).code == code


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("eyeflow mcu push --port ", "127.0.0.1"),  # only code knows the ports
        ("eyeflow check --format=g", "github"),  # joined by `=`
        ("eyeflow check 'a b' --js", "--json"),  # quoted
    ],
)
def test_typer_completes_what_the_table_cannot(eyeflow: Command, line: str, expected: str) -> None:
    ran = eyeflow(env={quick.COMPLETE_ENV: "complete_zsh", "_TYPER_COMPLETE_ARGS": line})
    assert ran.code == 0 and expected in ran.out, ran.err


@pytest.mark.parametrize("path", ["", "check", "mcu", "mcu new"])
def test_a_narrow_terminal_has_its_own_page(eyeflow: Command, path: str) -> None:
    wide, narrow = (eyeflow(*path.split(), "--help", env={"COLUMNS": columns}) for columns in ("200", "60"))
    assert (wide.code, wide.out) == (0, surface.HELP[path] + "\n")
    assert narrow.code == 0 and max(map(len, narrow.out.splitlines())) <= 60
    assert narrow.out.startswith(wide.out.splitlines()[0])


@pytest.mark.parametrize("columns", ["100", "60"])  # answered from the table, and by typer
@pytest.mark.parametrize("path", sorted(surface.COMMANDS.keys() - surface.ALONE.keys()))
def test_without_a_command_the_help_page_is_shown(eyeflow: Command, path: str, columns: str) -> None:
    asked, bare = (eyeflow(*path.split(), *option, env={"COLUMNS": columns}) for option in (("--help",), ()))
    assert asked.code == 0 and asked.out.count("\n") > 5
    assert (bare.code, bare.out, bare.err) == (2, "", asked.out)


@pytest.mark.parametrize("path", sorted(surface.ALONE))
def test_a_group_that_works_alone_runs(eyeflow: Command, path: str) -> None:
    ran = eyeflow(*path.split(), "--json", env={"EYEFLOW_COORDINATOR": "http://127.0.0.1:1", "EYEFLOW_TOKEN": "t"})
    assert (ran.code, ran.json["error"]["code"]) == (3, "unreachable"), "it asks the coordinator, and shows no help"


def test_an_empty_word_is_a_wrong_command(eyeflow: Command) -> None:
    ran = eyeflow("")
    assert (ran.code, ran.out) == (2, "") and "No such command ''" in ran.err


def test_help_into_a_full_disk_or_a_closed_pipe(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "eyeflow", "--help"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment)
    assert done.returncode == 3 and b"No space left" in done.stderr and b"Traceback" not in done.stderr
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_wrong_command_still_meets_all_the_others(eyeflow: Command) -> None:
    ran = eyeflow("chekc", "x.eye")
    assert ran.code == 2 and "check" in ran.err
    assert "--format" in eyeflow("check", "--fromat", "json", "x.eye").err


HEAVY = {
    *("apsw", "asyncio", "cbor2", "cryptography", "email", "httpx", "importlib.metadata", "paho", "psutil"),
    *("cronsim", "hashlib", "json", "tomllib", "zipfile"),
    *("pydantic", "rich", "serial", "sqlite3", "ssl", "starlette", "uvicorn", "websockets"),
    *("eyeflow.coordinator", "eyeflow.mcu", "eyeflow.node", "eyeflow.protocol"),
}
"""What costs tens of milliseconds to import, and neither completion nor a check of a rule needs."""
SLOW = HEAVY | {"dataclasses", "inspect", "json", "typer", "typing", "eyeflow.cli.main", "eyeflow.compiler"}
"""What a help page and a completion need not either."""

LOADED = """
import sys
from eyeflow.cli.launch import main
sys.argv = ["eyeflow", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
sys.stderr.write("\\n" + " ".join(sys.modules))
"""


def loaded(environment: dict[str, str], *arguments: str | Path) -> set[str]:
    """Return the modules that a command loads, and the packages they are in."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", LOADED, *map(str, arguments)],  # -S: what site loads is not ours
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": ":".join(sys.path)},
    )
    names = done.stderr.splitlines()[-1].split()
    assert "eyeflow.cli.launch" in names, done.stderr
    return {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2, 3)}


@pytest.mark.parametrize(
    "line", ["eyeflow ch", "eyeflow check --", "eyeflow check --format ", "eyeflow mcu new --chip "]
)
def test_completion_loads_next_to_nothing(environment: dict[str, str], line: str) -> None:
    asked = {quick.COMPLETE_ENV: "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    assert loaded(environment | asked) & SLOW == set()


@pytest.mark.parametrize(
    "arguments", [("--help",), ("check", "--help"), ("mcu", "build", "-h"), ("--version",), (), ("keys",)]
)
def test_help_loads_next_to_nothing(environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    assert loaded(environment, *arguments) & SLOW == set()


def test_check_loads_nothing_heavy(environment: dict[str, str], rule: Path) -> None:
    assert loaded(environment, "check", rule) & HEAVY == set()


def test_control_heavy_modules_are_seen(environment: dict[str, str], rule: Path) -> None:
    cluster = {"EYEFLOW_COORDINATOR": "http://127.0.0.1:1", "EYEFLOW_TOKEN": "none"}
    assert {"httpx", "ssl"} <= loaded(environment | cluster, "status") & HEAVY
    assert {"typer", "eyeflow.compiler"} <= loaded(environment, "check", rule) & SLOW
