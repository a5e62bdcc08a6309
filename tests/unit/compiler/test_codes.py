"""Every diagnostic code has a page whose examples are true, and every page has a code that is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import eye_sources as sources
from eyeflow.base.diagnostic import Severity
from eyeflow.compiler.codes import all_codes, explain, title
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.compiler.format import format_source
from eyeflow.compiler.limits import ChipLimits
from eyeflow.compiler.parser import parse
from eyeflow.svm.program import Profile

COMPILER = sources.ROOT / "src" / "eyeflow" / "compiler"


def used_codes() -> set[str]:
    return {code for path in COMPILER.rglob("*.py") for code in re.findall(r"EF\d{4}(?!\.md)", strip_docs(path))}


def strip_docs(path: Path) -> str:
    """The code of a module without its docstrings, where codes stand as examples."""
    return re.sub(r'"""(?:[^"]|"(?!""))*"""', "", path.read_text(encoding="utf-8"))


OPTIONS = {
    "": CompileOptions(),
    "mcu": CompileOptions(profile=Profile.MCU),
    "chip": CompileOptions(profile=Profile.MCU, chip="STM32F401CC", chip_limits=ChipLimits(state_bytes_max=512)),
    "board": CompileOptions(profile=Profile.MCU, chip="STM32F401CC", hardware=sources.BOARD),
}
"""What a third word behind the fence of an example compiles for."""


def example(code: str, word: str) -> tuple[str, CompileOptions]:
    page = explain(code)
    assert page is not None
    found = [(info.split(","), text) for info, text in sources.blocks(page) if info.split(",")[1:2] == [word]]
    assert len(found) == 1, f"{code} needs one ```eye,{word} block"
    words, text = found[0]
    return text, OPTIONS["".join(words[2:])]


def problems(code: str, word: str) -> list[tuple[str, Severity]]:
    """The diagnostics of an example; of the parser alone for a wrong example about syntax."""
    source, options = example(code, word)
    if code.startswith("EF01") and word == "error":
        found = parse(source).diagnostics
    else:
        found = compile_rule(source, name=f"{code}.eye", options=options).diagnostics
    return [(diagnostic.code, diagnostic.severity) for diagnostic in found]


def test_every_used_code_has_a_page_and_every_page_is_used() -> None:
    assert used_codes() == set(all_codes())


@pytest.mark.parametrize("code", all_codes())
def test_the_page_has_a_title_and_says_why(code: str) -> None:
    page = explain(code)
    assert page is not None
    assert page.startswith(f"# {code}: {title(code)}\n\n")
    prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    assert len(prose.split()) >= 20
    assert all(len(line) <= 120 for line in prose.split("\n"))


@pytest.mark.parametrize("code", all_codes())
def test_the_wrong_example_gives_exactly_its_code(code: str) -> None:
    found = problems(code, "error")
    expected = Severity.WARNING if code.startswith("EF09") else Severity.ERROR
    assert (code, expected) in found
    assert {severity for other, severity in found if other != code} <= {Severity.WARNING}


@pytest.mark.parametrize("code", all_codes())
def test_the_right_example_has_no_error_and_not_this_warning(code: str) -> None:
    found = problems(code, "ok")
    assert code not in {other for other, _ in found}
    assert {severity for _, severity in found} <= {Severity.WARNING}


@pytest.mark.parametrize("code", all_codes())
def test_the_right_example_is_formatted(code: str) -> None:
    source, _ = example(code, "ok")
    assert format_source(source) == source


def test_a_code_is_found_in_any_case_and_an_unknown_one_is_not() -> None:
    assert explain("ef0101 ") == explain("EF0101")
    assert title("EF0101") == "unknown character"
    assert explain("EF0000") is None
    assert title("EF0000") is None
