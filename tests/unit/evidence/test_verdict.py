"""What is said of a candidate, and in which words."""

from __future__ import annotations

from eyeflow.evidence.eprocess import TwoProportions, against
from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.verdict import Check, Kind, Settings, Verdict, Watch, judge

SETTINGS = Settings()


def beside(control: tuple[int, int], candidate: tuple[int, int]) -> Check:
    return Check(TwoProportions("d-1").after(Outcomes(*control), Outcomes(*candidate)))


def after(candidate: tuple[int, int], before: tuple[int, int] | None = None) -> Check:
    history = Outcomes(*before) if before else None
    return Check(against(SETTINGS.tolerance, history).after(Outcomes(*candidate)))


def said(*checks: Check, observed_s: float = 60, starts: int = 0, silent: tuple[str, ...] = ()) -> Verdict:
    return judge(Watch(checks, observed_s, starts, silent), SETTINGS)


def test_people_see_numbers() -> None:
    found = said(beside((100, 2), (40, 7)))
    assert found.kind is Kind.FAIL
    assert found.reason == (
        "7 of 40 executions failed (17.5 %, 95 % interval 7.3 to 32.8 %); the active program: 2 of 100 (2.0 %, 0.2 to 7.0 %)"
    )


def test_a_candidate_that_does_as_well_passes() -> None:
    assert said(beside((100, 2), (100, 2))).kind is Kind.PASS
    assert said(after((20, 0))).kind is Kind.PASS


def test_nothing_is_said_too_early() -> None:
    assert said(beside((100, 2), (100, 2)), observed_s=59).kind is Kind.INCONCLUSIVE
    assert said(beside((100, 2), (19, 0))).kind is Kind.INCONCLUSIVE
    assert said(beside((100, 2), (0, 0))).kind is Kind.NO_DATA


def test_a_crash_loop_fails_at_once() -> None:
    assert said(after((0, 0)), observed_s=20, starts=4).reason == "it started again 4 times in 20 s"
    assert said(after((0, 0)), observed_s=20, starts=3).kind is Kind.NO_DATA
