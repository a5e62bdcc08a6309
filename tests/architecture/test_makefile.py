"""Each target of the Makefile has one recipe of its own, and the targets that help and pages name are there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = ROOT / "Makefile"
TARGETS = MAKEFILE.read_text().split(".PHONY: ", 1)[1].split("\n", 1)[0].split()
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"), ROOT / "README.md"])
NAMED = re.compile(r"(?:`|^\$ |^)make ([a-z-]+)", re.MULTILINE)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
"""Without what a `make test` around these tests tells its own children."""


def make(*arguments: str, makefile: Path = MAKEFILE) -> tuple[str, str]:
    """Return what make says: on its output, and against the file."""
    command = ["make", "--no-print-directory", "-f", str(makefile), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


def recipe(target: str, makefile: Path = MAKEFILE) -> tuple[str, str]:
    """Return what a target would run where nothing is made yet, and what make says against the file."""
    return make("--dry-run", "--always-make", target, makefile=makefile)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_a_recipe_and_make_warns_of_nothing(target: str) -> None:
    commands, complaint = recipe(target)
    assert commands.strip() and not complaint


def test_no_two_targets_end_with_the_same_command() -> None:
    last = [recipe(target)[0].splitlines()[-1] for target in TARGETS]
    assert len(set(last)) == len(TARGETS), last


def test_help_shows_each_target() -> None:
    shown, complaint = make("--silent", "help")
    assert sorted(line.split("\t")[0] for line in shown.splitlines()) == sorted(TARGETS) and not complaint


def test_pages_name_targets_that_exist() -> None:
    unknown = {page: set(NAMED.findall(page.read_text("utf-8"))) - {*TARGETS} for page in PAGES}
    assert not {page: names for page, names in unknown.items() if names}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("bench: $(VENV)/.installed-bench", "crashes: $(VENV)/.installed-bench", "overriding recipe for target"),
        ("$(VENV)/.installed-bench: ", "$(VENV)/.installed-other: ", "No rule to make target"),
    ],
)
def test_control_a_mangled_file_is_noticed(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    mangled, text = tmp_path / "Makefile", MAKEFILE.read_text()
    assert text.count(f"\n{old}") == 1
    mangled.write_text(text.replace(f"\n{old}", f"\n{new}"))
    assert complaint in recipe("bench", mangled)[1]
