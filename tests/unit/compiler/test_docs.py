"""The rules in the documentation are true: they parse, whole ones compile, and their tests pass."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import pytest

import eye_sources as sources
from eyeflow.base.diagnostic import Severity
from eyeflow.compiler.compile import compile_rule
from eyeflow.compiler.parser import parse
from eyeflow.compiler.testrun import run_test
from eyeflow.compiler.tokens import RESERVED
from eyeflow.svm.verify import verify

DOCS = sources.ROOT / "docs"
PLAYED = DOCS / "tutorial.md"
"""Makes mistakes on purpose on its way; `tests/unit/docs/test_tutorial.py` plays it from end to end."""

PAGES = [page for page in (*sorted(DOCS.rglob("*.md")), sources.ROOT / "README.md") if page != PLAYED]
SNIPPETS = [
    pytest.param(text, info, id=f"{page.relative_to(sources.ROOT)}-{number}")
    for page in PAGES
    if page.exists()
    for number, (info, text) in enumerate(sources.blocks(page.read_text(encoding="utf-8")), 1)
]


def is_whole(text: str) -> bool:
    return re.match(r"(?:[ \t]*(?:#.*)?\n)*rule\b", text) is not None


def places(text: str) -> Iterator[str]:
    """The rules in which a fragment may stand: as statements, steps or items, or items first and statements behind."""
    inside = textwrap.dedent(text).replace("{ ... }", "{}")
    yield f"rule snippet {{\non every 1s\n{inside}\n}}\n"
    yield f'rule snippet {{\non every 1s\ntest "snippet" {{\n{inside}\n}}\n}}\n'
    yield f"rule snippet {{\n{inside}\n}}\n"
    for gap in re.finditer(r"\n\n", inside):
        yield f"rule snippet {{\n{inside[: gap.start()]}\non every 1s\n{inside[gap.end() :]}\n}}\n"


@pytest.mark.parametrize(("text", "info"), SNIPPETS)
def test_snippet_parses(text: str, info: str) -> None:
    found = [parse(place).diagnostics for place in ([text] if is_whole(text) else places(text))]
    assert all(found) == ("error" in info.split(",")), found[0]


WHOLE = [snippet for snippet in SNIPPETS if is_whole(str(snippet.values[0])) and "error" not in str(snippet.values[1])]


@pytest.mark.parametrize(("text", "info"), WHOLE)
def test_whole_rule_compiles_and_its_tests_pass(text: str, info: str) -> None:
    result = compile_rule(text, name="snippet.eye")
    assert [found for found in result.diagnostics if found.severity is Severity.ERROR] == []
    assert result.program is not None
    verified = verify(result.program)
    for plan in result.tests:
        outcome = run_test(plan, verified)
        assert outcome.passed, outcome


def test_the_reference_names_every_reserved_word() -> None:
    page = re.sub(r"\s+", " ", (DOCS / "language.md").read_text(encoding="utf-8"))
    found = re.search(r"reserved words `([a-z ]+)`", page)
    assert found is not None
    assert set(found[1].split()) == set(RESERVED)


def test_there_are_snippets_to_check() -> None:
    assert (sources.ROOT / "tests" / "unit" / "docs" / "test_tutorial.py").exists()
    assert len(WHOLE) >= 1
    assert len(SNIPPETS) > len(WHOLE)
