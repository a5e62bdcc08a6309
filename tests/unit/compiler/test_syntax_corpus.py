"""Broken sources and the diagnostics that people see for them: `golden/syntax/NAME.eye` and `NAME.txt`."""

from __future__ import annotations

from pathlib import Path

import pytest

import golden
from eyeflow.compiler.codes import all_codes
from eyeflow.compiler.parser import parse
from eyeflow.compiler.render import render_text

CORPUS = Path(__file__).parent / "golden" / "syntax"
CASES = sorted(CORPUS.glob("*.eye"))


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_broken_source_is_explained(path: Path) -> None:
    source = read(path)
    diagnostics = parse(source).diagnostics
    assert diagnostics, "a case of this corpus is a source that does not parse"
    golden.check(path.with_suffix(".txt"), render_text(diagnostics, source, path.name))


def test_the_corpus_is_large_and_shows_every_syntax_code() -> None:
    assert len(CASES) >= 60
    seen = {diagnostic.code for path in CASES for diagnostic in parse(read(path)).diagnostics}
    assert seen == {code for code in all_codes() if code.startswith("EF01")}


def test_every_golden_file_has_its_source() -> None:
    assert {path.stem for path in CORPUS.glob("*.txt")} == {path.stem for path in CASES}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_one_place_is_reported_once_and_spans_lie_in_the_source(path: Path) -> None:
    source = read(path)
    diagnostics = parse(source).diagnostics
    places = [diagnostic.span.start for diagnostic in diagnostics]
    assert len(set(places)) == len(places)
    for diagnostic in diagnostics:
        for span in (diagnostic.span, *(label.span for label in diagnostic.labels)):
            assert 0 <= span.start <= span.end <= len(source)
        assert diagnostic.label
        assert not diagnostic.message.endswith(".")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_proposed_fix_removes_its_diagnostic(path: Path) -> None:
    source = read(path)
    for diagnostic in parse(source).diagnostics:
        if diagnostic.fix is None:
            continue
        span = diagnostic.fix.span
        mended = source[: span.start] + diagnostic.fix.replacement + source[span.end :]
        left = [(found.code, found.span.start) for found in parse(mended).diagnostics]
        assert (diagnostic.code, diagnostic.span.start) not in left, diagnostic.message
