"""Branch coverage from the interpreter's trace, and JUnit XML of the outcomes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from eyeflow.compiler import testplan
from eyeflow.compiler.compile import compile_rule
from eyeflow.compiler.coverage import Coverage, CoverageRecorder, annotated_listing, coverage_json
from eyeflow.compiler.junit import RuleTests, junit_xml
from eyeflow.compiler.testrun import TestFailure, TestOutcome, run_test
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.verify import verify

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
    recorder = CoverageRecorder(result.program)
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
    assert data["arms_covered"] == 3
    assert [(b["line"], b["true_count"], b["false_count"]) for b in data["branches"]] == [(6, 2, 1), (7, 2, 0)]


def test_a_rule_without_branches_is_covered() -> None:
    result = compile_rule('rule r {\n version "1.0.0"\n on every 1s\n log.info("x")\n}\n', name="r.eye")
    assert result.program is not None
    assert CoverageRecorder(result.program).result().percent == 100.0


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
