"""Broken rules and what the checker says about them: golden files that a person has read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import eye_sources as sources
import golden
from eyeflow.base.diagnostic import Severity
from eyeflow.compiler.check import check_rule
from eyeflow.compiler.codes import all_codes, explain
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.compiler.limits import ChipLimits
from eyeflow.compiler.render import render_text
from eyeflow.svm.program import Profile

HERE = Path(__file__).parent
CASES_MIN = 80
OPTIONS = {
    "": CompileOptions(),
    "mcu": CompileOptions(profile=Profile.MCU),
    "chip": CompileOptions(profile=Profile.MCU, chip="STM32F401CC", chip_limits=ChipLimits(state_bytes_max=512)),
    "board": CompileOptions(profile=Profile.MCU, chip="STM32F401CC", hardware=sources.BOARD),
}
CHECKER_CODES = [code for code in all_codes() if code >= "EF02"]


def wrapped(body: str) -> str:
    indented = "".join(f"    {line}\n" if line else "\n" for line in body.strip("\n").split("\n"))
    return f'rule example {{\n    version "1.0.0"\n\n{indented}}}\n'


def cases(path: Path) -> list[tuple[str, str]]:
    parts = re.split(r"^=== (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [(name, wrapped(body)) for name, body in zip(parts[1::2], parts[2::2], strict=True)]


def examples(code: str, kind: str) -> list[tuple[str, str]]:
    return re.findall(rf"^```eye,{kind},?(\w*)\n(.*?)^```", explain(code) or "", flags=re.MULTILINE | re.DOTALL)


GROUPS = sorted((HERE / "broken").glob("*.eyes"))


@pytest.mark.parametrize("path", GROUPS, ids=lambda path: path.stem)
def test_broken_rules_get_their_diagnostics(path: Path) -> None:
    shown = []
    for name, source in cases(path):
        result = compile_rule(source, name="example.eye")
        assert name[:6] in {found.code for found in result.diagnostics}, name
        shown.append(f"=== {name}\n{render_text(result.diagnostics, source, 'example.eye', 100)}\n")
    golden.check(HERE / "golden" / "check" / f"{path.stem}.txt", "".join(shown))


def test_there_are_enough_broken_rules() -> None:
    assert sum(len(cases(path)) for path in GROUPS) >= CASES_MIN


def test_pages_show_what_they_explain() -> None:
    shown = []
    for code in CHECKER_CODES:
        for option, source in examples(code, "error"):
            result = compile_rule(source, name="example.eye", options=OPTIONS[option])
            assert {found.code for found in result.diagnostics} == {code}
            shown.append(f"=== {code}\n{render_text(result.diagnostics, source, 'example.eye', 100)}\n")
    golden.check(HERE / "golden" / "check" / "pages.txt", "".join(shown))


@pytest.mark.parametrize("code", CHECKER_CODES)
def test_page_has_a_broken_and_a_right_rule(code: str) -> None:
    assert (explain(code) or "").startswith(f"# {code}: ")
    assert examples(code, "error")
    for option, source in examples(code, "ok"):
        result = compile_rule(source, name="example.eye", options=OPTIONS[option])
        assert result.program is not None
        assert result.diagnostics == ()


def test_every_code_of_the_checker_has_a_page_and_no_page_lacks_its_code() -> None:
    sources = [*Path(check_rule.__code__.co_filename).parent.glob("*.py")]
    sources += [sources[0].parents[1] / name for name in ("compile.py", "limits.py")]
    used = {code for path in sources for code in re.findall(r'"(EF\d{4})"', path.read_text(encoding="utf-8"))}
    assert used == set(CHECKER_CODES)


def test_a_mistake_does_not_drag_others_along() -> None:
    source = wrapped(
        'on every 1s\nlet a = unknown_name + 1\nlet b = a * 2.0\nif b > 3 for 2s {\n    log.info("{b}")\n}'
    )
    assert [found.code for found in compile_rule(source, name="x").diagnostics] == ["EF0203"]


@pytest.mark.parametrize(
    ("body", "help_"),
    [
        ("on every 1s\ngpio.set_pin(HIGH, LOW)", "declare it: `pin HIGH: output`"),
        ("pin DOOR: input\non gpio DOR changes", "did you mean `DOOR`?"),
        ('on every 1s\ntest "x" {\n    expect log.warn\n}', "call it: `log.warn(...)`"),
        ("on every 1s\nlet a = adc", "call one: `adc.read_channel(...)`"),
        ('on every 1s\nlog.warn("x")\ntest "x" {\n    expect no log.warn\n}', "add `()`: arguments left out fit any"),
    ],
)
def test_what_is_suggested_can_stand_there(body: str, help_: str) -> None:
    source = wrapped(body)
    found = [one for one in compile_rule(source, name="example.eye").diagnostics if one.help == help_]
    assert len(found) == 1
    for fix in [found[0].fix] if found[0].fix else []:
        mended = source[: fix.span.start] + fix.replacement + source[fix.span.end :]
        after = compile_rule(mended, name="example.eye").diagnostics
        assert [one for one in after if one.severity is Severity.ERROR] == [], mended


PATH_IS_MADE_OF = "a webhook's path is made of letters a-z and A-Z, digits, `-`, `.`, `_`, `~` and `/`; "


@pytest.mark.parametrize(
    ("source", "address", "problem"),
    [
        ("mqtt", "a/#/b", "`#` stands alone and only as the last level"),
        ("mqtt", "a+/b", "`+` stands for a whole level"),
        ("http", "hooks/door", "a webhook's path starts with `/`"),
        ("http", "/door?x=1", PATH_IS_MADE_OF + "'?' is none"),
        ("http", "/hooks/a%20b", PATH_IS_MADE_OF + "'%' is none"),
        ("http", "/hooks//door", "a webhook's path has no `//`, and no `/` at its end"),
        ("http", "/hooks/", "a webhook's path has no `//`, and no `/` at its end"),
        ("http", "/hooks/../door", "a webhook's path has no part `.` or `..`"),
    ],
)
def test_an_address_that_no_node_can_serve_is_an_error_of_the_rule(source: str, address: str, problem: str) -> None:
    text = wrapped(f'record In {{ a: int }}\non {source} "{address}" as e: In\nlog.info("{{e.a}}")')
    (found,) = compile_rule(text, name="example.eye").diagnostics
    assert (found.code, found.label) == ("EF0308", problem) and text[
        found.span.start : found.span.end
    ] == f'"{address}"'
