"""How often the verdict is wrong: false alarms and bad candidates found, with a look after each increment.

`python -m bench.verdicts` prints the table of docs/explanation/verdicts.md.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from math import exp, lgamma, log, log1p
from random import Random
from statistics import median

from bench.measure import Report, Row
from eyeflow.evidence.eprocess import OneProportion, Test, TwoProportions
from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.verdict import ACTED, Check, Kind, Settings, Watch, judge

RUNS = 2000
SETTINGS = Settings()
ALPHA = SETTINGS.alpha
ALARM_E = SETTINGS.alarm_e
NO_ACTIONS = Check(OneProportion(SETTINGS.tolerance), ACTED)
"""What is judged beside: these programs act on nothing."""
KINDS = (Kind.FAIL, Kind.INCONCLUSIVE, Kind.PASS)
FOUND_MIN, PASSED_MAX = 0.9, 0.02
"""Of bad candidates: the share that must be condemned, and the share that may pass. The others pause."""


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate beside a control, or against a bound (`control` 0), told in `looks` increments of these sizes."""

    before_p: float
    candidate_p: float
    control: int
    candidate: int
    looks: int

    @property
    def is_bad(self) -> bool:
        """Whether the candidate fails more often than it may."""
        return self.candidate_p > self.before_p

    @property
    def name(self) -> str:
        """The case for people."""
        beside = f"beside {self.control * self.looks} of the active program" if self.control else "against a bound"
        rates = f"{self.candidate_p:.0%} where {self.before_p:.0%} is right"
        return f"{rates}, {self.candidate * self.looks} executions {beside}, {self.looks} looks"


CASES = (
    Case(0.02, 0.02, 1, 1, 400),
    Case(0.20, 0.20, 1, 1, 400),
    Case(0.20, 0.20, 10, 10, 40),
    Case(0.05, 0.05, 90, 10, 60),
    Case(0.05, 0.05, 0, 1, 400),
    Case(0.02, 0.20, 1, 1, 100),
    Case(0.02, 0.20, 10, 10, 10),
    Case(0.02, 0.20, 100, 100, 1),
    Case(0.02, 0.20, 90, 10, 10),
    Case(0.05, 0.30, 1, 1, 100),
    Case(0.02, 0.50, 1, 1, 40),
    Case(0.05, 0.20, 0, 1, 100),
)


FEW = (
    Case(0.02, 0.20, 9, 1, 20),
    Case(0.02, 0.50, 9, 1, 20),
    Case(0.02, 1.00, 9, 1, 20),
    Case(0.05, 0.20, 0, 1, 20),
    Case(0.05, 0.50, 0, 1, 20),
)
"""With the fewest executions that a verdict is given on, for the page; no bar."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of verdicts, where a fail ends a run; of alarms of the exact test; executions until half of the fails."""

    verdicts: Mapping[Kind, float]
    exact_alarms: float
    executions: float | None


def measured(case: Case, runs: int = RUNS) -> Figures:
    """Run one case from seeds."""
    random, ends, exact, found = Random(1), Counter[Kind](), 0, []
    for run in range(runs):
        test: Test = TwoProportions(str(run), ALARM_E) if case.control else OneProportion(case.before_p)
        exact_alarmed, failed_at = False, 0
        for look in range(1, case.looks + 1):
            test = _after(test, case, random)
            exact_alarmed = exact_alarmed or test.chance < ALPHA
            if not failed_at and test.log_e >= log(ALARM_E) and _verdict(test) is Kind.FAIL:
                failed_at = look * case.candidate
        ends[Kind.FAIL if failed_at else _verdict(test)] += 1
        exact += exact_alarmed
        found += [failed_at] if failed_at else []
    shares = {kind: ends[kind] / runs for kind in Kind}
    return Figures(shares, exact / runs, median(found) if found else None)


def _verdict(test: Test) -> Kind:
    return judge(Watch((Check(test), NO_ACTIONS), SETTINGS.observe_s), SETTINGS).kind


def _after(test: Test, case: Case, random: Random) -> Test:
    candidate = _drawn(random, case.candidate, case.candidate_p)
    if isinstance(test, OneProportion):
        return test.after(candidate)
    return test.after(_drawn(random, case.control, case.before_p), candidate)


def _drawn(random: Random, count: int, p: float) -> Outcomes:
    return Outcomes(count, min(count, bisect(_sums(count, p), random.random())))


@cache
def _sums(count: int, p: float) -> list[float]:
    def one(failed: int) -> float:
        ways = lgamma(count + 1) - lgamma(failed + 1) - lgamma(count - failed + 1)
        return exp(ways + failed * log(p) + (count - failed) * log1p(-p))

    return [0.0] * count if p == 1 else list(accumulate(map(one, range(count + 1))))


def report() -> Report:
    """Measure all cases; the bars are those of the page."""
    figures = {case: measured(case) for case in CASES}
    rows = [
        Row(case.name, 100 * one.verdicts[Kind.FAIL], "% fail", f"exact test at each look: {one.exact_alarms:.1%}")
        for case, one in figures.items()
    ]
    worst = max(one.verdicts[Kind.FAIL] for case, one in figures.items() if not case.is_bad)
    least = min(one.verdicts[Kind.FAIL] for case, one in figures.items() if case.is_bad)
    through = max(one.verdicts[Kind.PASS] for case, one in figures.items() if case.is_bad)
    bars = (
        (f"at most {ALPHA:.0%} false alarms ({worst:.1%})", worst <= ALPHA),
        (f"at least {FOUND_MIN:.0%} of the bad candidates condemned ({least:.1%})", least >= FOUND_MIN),
        (f"at most {PASSED_MAX:.0%} of the bad candidates pass ({through:.1%})", through <= PASSED_MAX),
    )
    return Report("Verdicts on simulated candidates", tuple(rows), bars)


def table() -> str:
    """Return the table of the page."""
    heads = (
        "fails",
        "may fail",
        "executions",
        "beside it",
        "looks",
        *(kind.value for kind in KINDS),
        "half by",
        "exact",
    )
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for case in (*CASES, *FEW):
        one = measured(case)
        beside = f"{case.control * case.looks}" if case.control else "-"
        half = f"{one.executions:.0f}" if case.is_bad and one.executions else ""
        shares = [f"{one.verdicts[kind]:.1%}" for kind in KINDS]
        count = case.candidate * case.looks
        cells = [f"{case.candidate_p:.0%}", f"{case.before_p:.0%}", str(count), beside, str(case.looks), *shares, half]
        lines.append(f"| {' | '.join(cells)} | {one.exact_alarms:.1%} |".replace("%", " %"))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
