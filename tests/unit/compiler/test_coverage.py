"""Branch coverage from the interpreter's trace, and JUnit XML of the outcomes."""

from __future__ import annotations

import random
from pathlib import Path
from xml.etree import ElementTree

import pytest

from eyeflow.compiler import ast, testplan
from eyeflow.compiler.compile import compile_rule
from eyeflow.compiler.coverage import Coverage, CoverageRecorder, annotated_listing, coverage_json
from eyeflow.compiler.junit import RuleTests, junit_xml
from eyeflow.compiler.parser import parse
from eyeflow.compiler.source import Source
from eyeflow.compiler.testrun import TestFailure, TestOutcome, run_test
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.opcodes import Op
from eyeflow.svm.verify import verify
from generators.rules import random_rule
from generators.syntax import nodes

SOURCE = """rule r {
    version "1.0.0"
    record R { x: float }
    state n: int = 0
    on event "e" as r: R
    if r.x > 1.0 {
        if r.x > 2.0 {
            n = n + 1
        }
    } else {
        n = n - 1
    }
    TESTS
}
"""


def cover(*sends: float) -> tuple[Coverage, str]:
    steps = "\n".join(f"send {{ x: {x} }}" for x in sends)
    source = SOURCE.replace("TESTS", f'test "t" {{\n{steps}\n}}' if sends else "")
    result = compile_rule(source, name="r.eye")
    assert result.program is not None, result.diagnostics
    verified = verify(result.program)
    recorder = CoverageRecorder(result.program, result.branches)
    for plan in result.tests:
        assert run_test(plan, verified, Interpreter(verified, recorder.trace)).passed
    return recorder.result(), source


@pytest.mark.parametrize(
    ("sends", "covered", "percent"),
    [((), 0, 0.0), ((0.0,), 1, 25.0), ((1.5,), 2, 50.0), ((1.5, 2.5), 3, 75.0), ((0.0, 1.5, 2.5), 4, 100.0)],
)
def test_each_arm_counts(sends: tuple[float, ...], covered: int, percent: float) -> None:
    coverage, _source = cover(*sends)
    assert (coverage.arms, coverage.arms_covered, coverage.percent) == (4, covered, percent)
    assert [branch.line for branch in coverage.branches] == [6, 7]


def test_the_listing_shows_the_gaps() -> None:
    coverage, source = cover(2.5, 3.5)
    listing = annotated_listing(coverage, source).splitlines()
    assert listing[5].startswith("!  6 |     if r.x > 1.0 {")
    assert listing[5].endswith("never false")
    assert listing[6].endswith("never false")
    assert listing[7] == "   8 |             n = n + 1"
    assert listing[-1] == "2 of 4 arms, 50.0 %"
    never, source = cover()
    assert annotated_listing(never, source).splitlines()[5].endswith("never reached")
    full, source = cover(0.0, 1.5, 2.5)
    assert annotated_listing(full, source).splitlines()[5].startswith("+  6 |")


def test_the_json_has_the_counts() -> None:
    data = coverage_json(cover(2.5, 3.5, 0.0)[0])
    assert data["armsCovered"] == 3
    assert [(b["line"], b["trueCount"], b["falseCount"]) for b in data["branches"]] == [(6, 2, 1), (7, 2, 0)]


def test_a_rule_without_branches_is_covered() -> None:
    result = compile_rule('rule r {\n version "1.0.0"\n on every 1s\n log.info("x")\n}\n', name="r.eye")
    assert result.program is not None
    assert CoverageRecorder(result.program, result.branches).result().percent == 100.0


def test_junit_counts_and_escapes() -> None:
    where = testplan.Where(12, 5, 'expect log.info("<&>")')
    failure = TestFailure(where, 'expected `log.info("<&>\\x00")`', ("no action was asked for", "bell \x07"))
    outcomes = (TestOutcome("good", 3, 5, (), 4, 10), TestOutcome("bad <&> \x00 ü", 10, 5, (failure,), 1, 0))
    text = junit_xml([RuleTests("r", "a/r.eye", outcomes, 0.25), RuleTests("empty", "e.eye", ())])
    root = ElementTree.fromstring(text.partition("\n")[2])
    assert (root.get("tests"), root.get("failures"), root.get("time")) == ("2", "1", "0.250")
    good, bad = root.findall("testsuite/testcase")
    assert (good.get("name"), good.get("classname"), good.get("file"), good.get("line")) == (
        "good",
        "r",
        "a/r.eye",
        "3",
    )
    assert bad.get("name") == "bad <&> \\x00 ü"
    shown = bad.find("failure")
    assert shown is not None
    assert shown.text is not None
    assert "a/r.eye:12:5:" in shown.text
    assert "bell \\x07" in shown.text


def test_junit_shows_a_rule_that_does_not_compile_as_an_error() -> None:
    text = junit_xml([RuleTests("b", "b.eye", (), 0.0, ("b.eye:3:7: EF0203 unknown name `x`", "b.eye:4:1: EF0101 <&"))])
    root = ElementTree.fromstring(text)
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("1", "0", "1")
    case = root.find("testsuite/testcase")
    assert case is not None and (case.get("name"), case.get("file")) == ("compiles", "b.eye")
    error = case.find("error")
    assert error is not None and error.get("message") == "b.eye:3:7: EF0203 unknown name `x`"
    assert error.text is not None and error.text.splitlines()[1] == "b.eye:4:1: EF0101 <&"


# --- what is a branch ----------------------------------------------------------------------------------------------


def branches_of(source: str) -> list[tuple[int, int, int, int]]:
    """(line, column, true, false) of each branch of a rule, after its tests, which pass."""
    result = compile_rule(source, name="r.eye")
    assert result.program is not None, result.diagnostics
    verified = verify(result.program)
    recorder = CoverageRecorder(result.program, result.branches)
    for plan in result.tests:
        assert run_test(plan, verified, Interpreter(verified, recorder.trace)).failures == ()
    return [(b.line, b.column, b.true_count, b.false_count) for b in recorder.result().branches]


def test_copies_of_lists_are_no_branches() -> None:
    assert branches_of((Path(__file__).parent / "sources" / "list_copy.eye").read_text(encoding="utf-8")) == []


HEAD = """rule r {
    version "1.0.0"
    enum A { X, Y, Z }
    enum B { Y, W }
    record R { x: float, i: int = 0, a: A = X, b: B = Y, flag: bool = true }
    record P { v: float, t: text(8) }
    state xs: list(float, 5) = [1.0]
    state ps: list(P, 3) = []
    state x: float = 0.0
    on event "e" as r: R
    BODY
    test "t" {
        send { x: 1.0 }
        send { x: 2.0, a: Z }
        send { x: -5.0 }
    }
}
"""


@pytest.mark.parametrize(
    "body",
    [
        "append(xs, r.x)\nlet n = sum(xs) + max(xs) + mean(xs)\nx = n",
        "clear(ps)\nappend(ps, P(v: r.x, t: \"a\"))\nvar copy = ps\ncopy[0].v = 2.0\nps = copy",
        "for one in xs {\nx = x + one\n}",
        "for i in r.i..3 max 3 {\nx = x + float(i)\n}",
        "let both = r.x > 1.0 and r.x / 2.0 > 0.2 or r.x + 1.0 > 3.0\nlog.info(\"{both}\")",
        "x = clamp(min(r.x, 3.0, abs(r.x)), 0.0, 2.0)",
        "let on = r.x > 1.0 hysteresis 0.5\nlog.info(\"{on} {r.a} {r.b}\")",
        "let hold = r.x > 1.0 for 2s cooldown 1min\nlog.info(\"{hold} {mean(r.x, last 5)}\")",
    ],
)  # fmt: skip
def test_what_is_no_branch_in_the_source_is_none(body: str) -> None:
    """Each of these but the last lowers to BRANCH or SELECT instructions."""
    assert branches_of(HEAD.replace("BODY", body)) == []


def test_what_was_no_branch_would_have_been_counted() -> None:
    """The control: by its instructions alone, the copy of a list is a branch."""
    source = (Path(__file__).parent / "sources" / "list_copy.eye").read_text(encoding="utf-8")
    program = compile_rule(source, name="r.eye").program
    assert program is not None
    assert [word.opcode for word in program.code].count(Op.BRANCH) == 2


@pytest.mark.parametrize(
    ("body", "true", "false"),
    [
        ("if r.x > 1.5 {\n} else {\nx = 1.0\n}", 1, 2),  # the empty arm: the instruction sees the opposite
        ("if r.x > 1.5 {\nx = 1.0\n}", 1, 2),
        ("x = if r.x > 1.5 then 1.0 else 2.0", 1, 2),  # both arms at once, without a jump
        ("x = if r.x > 1.5 then 1.0 / r.x else 2.0", 1, 2),
        ("xs = if r.x > 1.5 then [1.0] else xs", 1, 2),
        ("x = float(len(if r.x > 1.5 then xs else [2.0, 3.0]))", 1, 2),  # copies a list at the place of the branch
        ("match r.a {\nX => {\nx = 1.0\n}\nelse => {}\n}", 2, 1),
        ("match r.a {\nX => {}\nelse => {\nx = 1.0\n}\n}", 2, 1),
    ],
)
def test_a_branch_of_the_source_counts_what_its_condition_was(body: str, true: int, false: int) -> None:
    assert [counts[2:] for counts in branches_of(HEAD.replace("BODY", body))] == [(true, false)]


def places_of_branches(source: str) -> set[tuple[int, int]]:
    lines = Source(source)
    parsed = parse(source)
    assert parsed.rule is not None
    found = (node for node in nodes(parsed.rule) if isinstance(node, ast.If | ast.IfExpr | ast.MatchArm))
    return {(at.line, at.column) for node in found for at in [lines.position(node.span.start)]}


@pytest.mark.parametrize("seed", range(40))
def test_branches_of_generated_rules_stand_in_their_source(seed: int) -> None:
    source = random_rule(random.Random(seed))
    branches = compile_rule(source, name="r.eye").branches
    assert {(branch.line, branch.column) for branch in branches} <= places_of_branches(source)
