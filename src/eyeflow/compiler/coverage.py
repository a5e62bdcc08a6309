"""Branch coverage of a rule by its tests: whether the condition of each `if`, `match` arm and `if-then-else` was seen
true and seen false, by source line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eyeflow.base.record import dataclass
from eyeflow.svm.program import Program


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of the source: an `if`, an arm of a `match` or an `if-then-else`, and the instruction that decides it.

    `swapped`: the instruction sees the condition negated. An `if` that does nothing either way is none, nor is the last
    arm of a `match`: it takes what is left.
    """

    pc: int
    line: int
    column: int
    swapped: bool


@dataclass(frozen=True, slots=True)
class BranchCoverage:
    """One branch: its place, and how many times its condition was true and false."""

    line: int
    column: int
    true_count: int
    false_count: int

    @property
    def arms_covered(self) -> int:
        """How many of the two arms were taken at least once."""
        return (self.true_count > 0) + (self.false_count > 0)


@dataclass(frozen=True, slots=True)
class Coverage:
    """The branches of one rule in the order of their places."""

    rule: str
    branches: tuple[BranchCoverage, ...]

    @property
    def arms(self) -> int:
        """Arms of all branches: two for each."""
        return 2 * len(self.branches)

    @property
    def arms_covered(self) -> int:
        """Arms that the tests took."""
        return sum(branch.arms_covered for branch in self.branches)

    @property
    def percent(self) -> float:
        """Covered arms in percent; 100.0 for a rule without branches."""
        return percent_of(self.arms_covered, self.arms)


def percent_of(covered: int, arms: int) -> float:
    """Return a share in percent, to one decimal and never rounded up: 100.0 means all. 100.0 of nothing."""
    return covered * 1000 // arms / 10 if arms else 100.0


class CoverageRecorder:
    """Counts what an `Interpreter(verified, trace=recorder.trace)` reports, over any number of tests."""

    def __init__(self, program: Program, branches: Sequence[Branch]) -> None:
        self._rule = program.rule
        self._branches = {branch.pc: branch for branch in branches}
        self._counts = {pc: [0, 0] for pc in self._branches}

    def trace(self, pc: int, taken: bool) -> None:
        """Count one decision of the instruction `pc`, when it is one of the source."""
        if pc in self._counts:
            self._counts[pc][taken != self._branches[pc].swapped] += 1

    def result(self) -> Coverage:
        """Return what was counted. Branches of one place (a condition compiled twice) count as one."""
        places: dict[tuple[int, int], list[int]] = {}
        for pc, (false_count, true_count) in self._counts.items():
            branch = self._branches[pc]
            counts = places.setdefault((branch.line, branch.column), [0, 0])
            counts[0] += true_count
            counts[1] += false_count
        branches = (BranchCoverage(line, column, *counts) for (line, column), counts in sorted(places.items()))
        return Coverage(self._rule, tuple(branches))


def coverage_json(coverage: Coverage) -> dict[str, Any]:
    """Return the coverage as JSON data."""
    return {
        "rule": coverage.rule,
        "arms": coverage.arms,
        "armsCovered": coverage.arms_covered,
        "percent": coverage.percent,
        "branches": [
            {"line": b.line, "column": b.column, "trueCount": b.true_count, "falseCount": b.false_count}
            for b in coverage.branches
        ],
    }


def annotated_listing(coverage: Coverage, source: str) -> str:
    """Return the source with a mark before each line: `+` all arms taken, `!` some never, and says which at the end."""
    by_line: dict[int, list[BranchCoverage]] = {}
    for branch in coverage.branches:
        by_line.setdefault(branch.line, []).append(branch)
    lines = source.splitlines()
    width = len(str(len(lines)))
    listing = [_annotated(f"{n:>{width}} | {text}", by_line.get(n, ())) for n, text in enumerate(lines, 1)]
    total = f"{coverage.arms_covered} of {coverage.arms} arms, {coverage.percent:.1f} %"
    return "\n".join([*listing, total]) + "\n"


def _annotated(text: str, branches: Sequence[BranchCoverage]) -> str:
    missing = [gap for branch in branches if (gap := _gap(branch))]
    if missing:
        return f"! {text}    # {'; '.join(missing)}"
    return f"{'+' if branches else ' '} {text}".rstrip()


def _gap(branch: BranchCoverage) -> str:
    if branch.arms_covered == 2:
        return ""
    place = f"column {branch.column} "
    if branch.arms_covered == 0:
        return place + "never reached"
    return place + ("never false" if branch.true_count else "never true")
