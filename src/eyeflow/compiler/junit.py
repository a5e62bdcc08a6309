"""Test outcomes as JUnit XML, the form that CI servers read (schema of the Ant JUnit task, as extended by pytest)."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from eyeflow.base.record import dataclass
from eyeflow.compiler.testrun import TestOutcome


@dataclass(frozen=True, slots=True)
class RuleTests:
    """The outcomes of one rule file; `elapsed_s` is the real time they took together.

    `errors` says, a line each, why the rule does not compile; it then has no outcomes.
    """

    rule: str
    file: str
    outcomes: tuple[TestOutcome, ...]
    elapsed_s: float = 0.0
    errors: tuple[str, ...] = ()


def junit_xml(suites: Sequence[RuleTests]) -> str:
    """Return the document: a test suite for each rule, a test case for each `test` block.

    A rule that does not compile has one case, `compiles`, with an error: an empty suite would look like a success.
    """
    root = ElementTree.Element("testsuites", _counts(suites))
    for suite in suites:
        element = ElementTree.SubElement(root, "testsuite", {"name": _clean(suite.rule), **_counts([suite])})
        for outcome in suite.outcomes:
            _add_case(element, suite, outcome)
        if suite.errors:
            _add_error(element, suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _counts(suites: Sequence[RuleTests]) -> dict[str, str]:
    outcomes = [outcome for suite in suites for outcome in suite.outcomes]
    return {
        "tests": str(len(outcomes) + sum(bool(suite.errors) for suite in suites)),
        "failures": str(sum(not outcome.passed for outcome in outcomes)),
        "errors": str(sum(bool(suite.errors) for suite in suites)),
        "skipped": "0",
        "time": f"{sum(suite.elapsed_s for suite in suites):.3f}",
    }


def _add_error(parent: ElementTree.Element, suite: RuleTests) -> None:
    attributes = {"classname": _clean(suite.rule), "name": "compiles", "file": _clean(suite.file), "time": "0.000"}
    case = ElementTree.SubElement(parent, "testcase", attributes)
    error = ElementTree.SubElement(case, "error", {"message": _clean(suite.errors[0]), "type": "diagnostic"})
    error.text = _clean("\n".join(suite.errors))


def _add_case(parent: ElementTree.Element, suite: RuleTests, outcome: TestOutcome) -> None:
    attributes = {"classname": suite.rule, "name": outcome.name, "file": suite.file, "line": str(outcome.line)}
    attributes["time"] = f"{suite.elapsed_s / len(suite.outcomes):.3f}"
    case = ElementTree.SubElement(parent, "testcase", {key: _clean(value) for key, value in attributes.items()})
    if outcome.passed:
        return
    first = outcome.failures[0]
    failure = ElementTree.SubElement(case, "failure", {"message": _clean(first.message), "type": "expectation"})
    lines = []
    for item in outcome.failures:
        lines.append(f"{suite.file}:{item.where.line}:{item.where.column}: {item.message}")
        lines.append(f"    {item.where.text}")
        lines += [f"    {detail}" for detail in item.details]
    failure.text = _clean("\n".join(lines))


def _clean(text: str) -> str:
    """Return a text without the characters that XML 1.0 forbids."""
    return "".join(c if c in "\t\n\r" or 0x20 <= ord(c) <= 0xD7FF or 0xE000 <= ord(c) <= 0xFFFD or ord(c) >= 0x10000
                   else f"\\x{ord(c):02x}" for c in text)  # fmt: skip
