"""The four shapes of a diagnostic."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import golden
from eyeflow.base.diagnostic import Diagnostic, Fix, Label, Severity, Span
from eyeflow.compiler.parser import parse
from eyeflow.compiler.render import render_github, render_json, render_short, render_text, summarize

GOLDEN = Path(__file__).parent / "golden" / "render"
SYNTAX = sorted((Path(__file__).parent / "golden" / "syntax").glob("*.eye"))


def at(source: str, part: str, occurrence: int = 1) -> Span:
    start = -1
    for _ in range(occurrence):
        start = source.index(part, start + 1)
    return Span(start, start + len(part))


PLAIN = "rule a {\n    on every 1s\n\n    let temp = limit + 1\n    log.info(temp)\n}\n"
WIDE = 'rule a {\n\tlog.info("温度 e\u0301 \U0001f525", wrong)\n\tx = "\x1b[31m\u202e" + wrong\n}\n'
LONG = "rule a {\n    let x = " + " + ".join(f"value_{index}" for index in range(60)) + "\n}\n"


def diagnostic(source: str, part: str, **more: object) -> Diagnostic:
    return Diagnostic("EF0201", "something is wrong", at(source, part), **more)  # type: ignore[arg-type]


CASES: dict[str, tuple[str, Diagnostic]] = {
    "plain": (PLAIN, diagnostic(PLAIN, "limit", label="here", note="a reason", help="a way out")),
    "no_label": (PLAIN, diagnostic(PLAIN, "limit")),
    "warning": (PLAIN, diagnostic(PLAIN, "limit", severity=Severity.WARNING, label="here")),
    "label_elsewhere": (PLAIN, diagnostic(PLAIN, "(temp)", label="here", labels=(Label(at(PLAIN, "rule"), "far"),))),
    "label_one_line_apart": (PLAIN, diagnostic(PLAIN, "let", label="a", labels=(Label(at(PLAIN, "on"), "two up"),))),
    "labels_on_one_line": (
        PLAIN,
        diagnostic(
            PLAIN, "+", label="middle", labels=(Label(at(PLAIN, "limit"), "left"), Label(at(PLAIN, "1", 2), "right"))
        ),
    ),
    "labels_overlap": (
        PLAIN,
        diagnostic(PLAIN, "limit + 1", label="whole", labels=(Label(at(PLAIN, "limit"), "part"),)),
    ),
    "several_lines": (PLAIN, diagnostic(PLAIN, "let temp = limit + 1\n    log.info(temp)", label="all of this")),
    "many_lines": (PLAIN, diagnostic(PLAIN, PLAIN.rstrip("\n"), label="all of this")),
    "end_of_line": (PLAIN, Diagnostic("EF0201", "missing", Span(46, 46), label="expected more")),
    "empty_source": ("", Diagnostic("EF0122", "no rule", Span(0, 0), label="expected a rule")),
    "end_of_file": ("rule a {", Diagnostic("EF0121", "open", Span(8, 8), label="expected more")),
    "wide": (WIDE, diagnostic(WIDE, "wrong", label="aligned", labels=(Label(at(WIDE, "温度"), "wide"),))),
    "control_characters": (WIDE, Diagnostic("EF0201", "hidden", at(WIDE, "wrong", 2), label="aligned")),
    "long_start": (LONG, diagnostic(LONG, "let", label="here")),
    "long_middle": (LONG, diagnostic(LONG, "value_30", label="here", labels=(Label(at(LONG, "value_2 "), "out"),))),
    "long_end": (LONG, diagnostic(LONG, "value_59", label="here")),
    "carriage_returns": (PLAIN.replace("\n", "\r\n"), diagnostic(PLAIN.replace("\n", "\r\n"), "limit", label="here")),
}


@pytest.mark.parametrize("name", CASES)
def test_text(name: str) -> None:
    source, problem = CASES[name]
    golden.check(GOLDEN / f"{name}.txt", render_text([problem], source, "rules/a.eye", width=80))


def test_color_adds_escapes_and_nothing_else() -> None:
    for source, problem in CASES.values():
        colored = render_text([problem], source, "a.eye", paint=lambda text, style: f"\x1b[{style}m{text}\x1b[0m")
        assert "\x1b[1;31m" in colored or problem.severity is Severity.WARNING
        assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render_text([problem], source, "a.eye")


def test_without_color_nothing_can_steer_the_terminal() -> None:
    source, _ = CASES["control_characters"]
    shown = render_text([problem for _, problem in CASES.values()][-1:], source, "a.eye")
    shown += render_text([CASES["control_characters"][1]], source, "a.eye")
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_several_diagnostics_are_separated_by_an_empty_line() -> None:
    shown = render_text([CASES["plain"][1], CASES["warning"][1]], PLAIN, "a.eye")
    assert shown.count("\n\n") == 1
    assert render_text([], PLAIN, "a.eye") == ""


def test_short() -> None:
    shown = render_short([CASES["plain"][1], CASES["warning"][1]], PLAIN, "a.eye")
    assert shown == ("a.eye:4:16: error[EF0201]: something is wrong\na.eye:4:16: warning[EF0201]: something is wrong\n")


def test_summary() -> None:
    error, warning = CASES["plain"][1], CASES["warning"][1]
    assert summarize([]) == ""
    assert summarize([error]) == "1 error"
    assert summarize([warning, error, error]) == "2 errors, 1 warning"


def test_json_has_every_fact() -> None:
    problem = Diagnostic(
        "EF0201",
        "wrong",
        at(PLAIN, "limit"),
        label="here",
        note="why",
        help="how",
        labels=(Label(at(PLAIN, "rule"), "there"),),
        fix=Fix(at(PLAIN, "limit"), "bound", "rename"),
    )
    (facts,) = render_json([problem], PLAIN, "a.eye")
    place = {"start": {"line": 4, "column": 16, "offset": 41}, "end": {"line": 4, "column": 21, "offset": 46}}
    assert json.loads(json.dumps(facts)) == {
        "code": "EF0201",
        "severity": "error",
        "message": "wrong",
        "file": "a.eye",
        **place,
        "label": "here",
        "note": "why",
        "help": "how",
        "labels": [
            {
                "text": "there",
                "start": {"line": 1, "column": 1, "offset": 0},
                "end": {"line": 1, "column": 5, "offset": 4},
            }
        ],
        "fix": {"title": "rename", "replacement": "bound", **place},
        "explain": "eyeflow explain EF0201",
    }


def test_json_tells_what_the_text_tells() -> None:
    for path in SYNTAX:
        source = path.read_bytes().decode()
        problems = parse(source).diagnostics
        text = render_text(problems, source, path.name, width=100_000)
        for facts in render_json(problems, source, path.name):
            place = facts["start"]
            assert f"{facts['severity']}[{facts['code']}]: {facts['message']}" in text
            assert f"--> {path.name}:{place['line']}:{place['column']}" in text
            assert facts["label"] in text
            assert all(label["text"] in text for label in facts["labels"])
            assert not facts["help"] or f"= help: {facts['help']}" in text
            assert not facts["note"] or f"= note: {facts['note']}" in text


def test_github_escapes_what_would_break_the_command() -> None:
    problem = Diagnostic("EF0201", "100%, a:b\nc", at(PLAIN, "limit"), label="50% of a, b: c", help="line\r\ntwo")
    assert render_github([problem], PLAIN, "dir,x:y.eye") == (
        "::error file=dir%2Cx%3Ay.eye,line=4,endLine=4,col=16,endColumn=21,"
        "title=EF0201%3A 100%25%2C a%3Ab%0Ac::50%25 of a, b: c%0Ahelp: line%0D%0Atwo\n"
    )


def test_github_warning_over_lines_has_no_columns() -> None:
    problem = Diagnostic("EF0901", "unused", Span(0, len(PLAIN) - 1), severity=Severity.WARNING)
    assert render_github([problem], PLAIN, "a.eye") == (
        "::warning file=a.eye,line=1,endLine=6,title=EF0901%3A unused::unused\n"
    )


@given(st.text(max_size=120), st.data())
@settings(max_examples=300, deadline=None)
def test_any_span_of_any_text_can_be_shown(source: str, data: st.DataObject) -> None:
    spans = []
    for _ in range(3):
        start = data.draw(st.integers(0, len(source)))
        spans.append(Span(start, data.draw(st.integers(start, len(source)))))
    labels = tuple(Label(span, f"label {index}") for index, span in enumerate(spans[1:]))
    problem = Diagnostic("EF0201", "wrong", spans[0], label="main", labels=labels)
    width = data.draw(st.integers(1, 200))
    shown = render_text([problem], source, "a.eye", width=width)
    assert "^" in shown
    assert "main" in shown
    assert all(label.text in shown for label in labels)
    assert render_github([problem], source, "a.eye").count("\n") == 1
    json.dumps(render_json([problem], source, "a.eye"))
