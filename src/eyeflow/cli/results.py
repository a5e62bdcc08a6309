"""How the tests of a rule went, as the coordinator keeps it beside the program and the dashboard shows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyeflow.compiler.testplan import TestPlan
    from eyeflow.compiler.testrun import TestOutcome
    from eyeflow.svm.program import Program

NAME_CHARS_MAX, MESSAGE_CHARS_MAX = 200, 1_000
"""What the coordinator keeps of a name and a message; the rest is in what `eyeflow test` prints."""


def played(program: Program, tests: Iterable[TestPlan]) -> list[dict[str, Any]]:
    """Play the tests of a rule on its program, and return how each went."""
    from eyeflow.compiler.testrun import run_test
    from eyeflow.svm.verify import verify

    verified = verify(program)
    return told(run_test(one, verified) for one in tests)


def told(outcomes: Iterable[TestOutcome]) -> list[dict[str, Any]]:
    """Return outcomes as the REST API takes them."""
    return [
        {
            "name": one.name[:NAME_CHARS_MAX],
            "line": one.line,
            "passed": one.passed,
            "message": "; ".join(_lines(one))[:MESSAGE_CHARS_MAX],
        }
        for one in outcomes
    ]


def _lines(outcome: TestOutcome) -> Iterable[str]:
    for failure in outcome.failures:
        yield f"line {failure.where.line}: {failure.message}"
        yield from failure.details
