"""The page for maintainers names tests, modules and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
MAP = re.findall(r"^\| (`.+?) \| .+ \|$", PAGE.split("## Map")[1].split("\n## ")[0], re.MULTILINE)


def exists(path: str, test: str) -> bool:
    """Say whether a test function of this name is in a file below `tests/`."""
    file = ROOT / "tests" / path
    return file.exists() and f"def {test}(" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("path", "test"), NAMED, ids=[test for _path, test in NAMED])
def test_every_named_test_exists(path: str, test: str) -> None:
    assert exists(path, test)


def test_every_invariant_names_a_test() -> None:
    lines = re.findall(r"^\d+\. .+$", PAGE.split("## Invariants")[1].split("\n## ")[0], re.MULTILINE)
    assert len(lines) >= 20
    assert [line for line in lines if not re.search(r"`[\w/]+\.py::test_\w+`", line)] == []


def modules(row: str) -> list[tuple[str, str]]:
    """Return (folder, name) of each module of a row of the map; names without a folder share that of the one before."""
    found, folder = [], ""
    for name in re.findall(r"`([^`]+)`", row):
        if "/" in name.rstrip("/") and not name.startswith("catalog/"):
            folder, _, name = name.rpartition("/") if not name.endswith("/") else name[:-1].rpartition("/")
        elif name.endswith("/") and not folder:
            folder, name = "", name[:-1]
        found.append((folder, name.rstrip("/")))
    return found


@pytest.mark.parametrize("row", MAP, ids=lambda row: row[:40])
def test_every_module_of_the_map_exists(row: str) -> None:
    for folder, name in modules(row):
        base = ROOT / "src" / "eyeflow" / folder
        places = [base / name, base / f"{name}.py", ROOT / name, *base.glob(f"{name}.py")]
        assert any(place.exists() for place in places), f"{folder}/{name}"


def test_control_a_missing_test_is_noticed() -> None:
    assert not exists("unit/node/store/test_store.py", "test_that_nobody_wrote")
    assert not exists("unit/node/no_such_file.py", "test_everything_comes_back_after_a_restart")


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [
        path.name for path in (ROOT / "docs" / "decisions").glob("*.md") if f"decisions/{path.name}" not in index
    ] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    folders = ("how-to", "explanation", "reference")
    pages = [path for folder in folders for path in (ROOT / "docs" / folder).glob("*.md")]
    assert [path.name for path in pages if f"{path.parent.name}/{path.name}" not in index] == []
