"""Rules, catalogs and node configurations in the documentation are right: people copy them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"^( *)```(eye|toml)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "how-to").glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (place, text) of each block of a language, without the indentation of a list."""
    found = []
    for page in PAGES:
        for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")), 1):
            if match[2] == language:
                text = re.sub(f"^{match[1]}", "", match[3], flags=re.MULTILINE)
                found.append((f"{page.relative_to(ROOT)} {number}", text))
    return found


def test_the_rule_of_the_readme_compiles_and_passes_its_test() -> None:
    from eyeflow.compiler.catalog import Catalog
    from eyeflow.compiler.compile import compile_rule
    from eyeflow.compiler.format import format_source
    from eyeflow.compiler.testrun import run_test
    from eyeflow.svm.verify import verify

    rules = [text for place, text in blocks("eye") if place.startswith("README") and text.startswith("rule ")]
    assert len(rules) == 1
    result = compile_rule(rules[0], name="README.md", catalog=Catalog.builtin())
    assert result.diagnostics == () and result.program is not None
    verified = verify(result.program)
    assert [run_test(plan, verified).failures for plan in result.tests] == [()]
    assert format_source(rules[0]) == rules[0]


def test_the_catalog_of_the_how_to_is_read() -> None:
    from eyeflow.compiler.catalog import Catalog

    catalogs = [text for _place, text in blocks("toml") if "[[capability]]" in text]
    assert catalogs
    for text in catalogs:
        Catalog.builtin().with_toml(text, name="how-to")


def is_board(text: str) -> bool:
    return text.startswith("chip = ")


BOARDS = [(place, text) for place, text in blocks("toml") if is_board(text)]
CONFIGS = [
    (place, text)
    for place, text in blocks("toml")
    if "[[" not in text and re.search(r"^\[", text, re.MULTILINE) and not is_board(text)
]


@pytest.mark.parametrize(("place", "text"), BOARDS, ids=[place for place, _text in BOARDS])
def test_board_files_are_read(place: str, text: str) -> None:
    from eyeflow.mcu.board import parse_board

    assert parse_board(text, place).chip


@pytest.mark.parametrize(("place", "text"), CONFIGS, ids=[place for place, _text in CONFIGS])
def test_node_configurations_are_read(place: str, text: str, tmp_path: Path) -> None:
    from eyeflow.node.config.config import load_config

    # Keys and key files of the pages stand for the reader's own.
    text = text.replace('"0f3c..."', '"' + "0f" * 32 + '"')
    (tmp_path / "release-keys.txt").write_text("0f" * 32 + "\n", encoding="utf-8")
    config = tmp_path / "eyeflow-svm.toml"
    config.write_text(f'[node]\nname = "n"\n\n{text}', encoding="utf-8")
    assert load_config(config).name == "n", place
