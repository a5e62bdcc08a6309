"""What is said of a candidate, and in which words."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.evidence.eprocess import Both, OneProportion, TwoProportions, against
from eyeflow.evidence.outcomes import Outcomes, Tally
from eyeflow.evidence.verdict import (
    ACTED,
    Check,
    Kind,
    Lack,
    Settings,
    Verdict,
    Watch,
    checks_against,
    checks_beside,
    judge,
    percent,
)

SETTINGS = Settings()
COUNTS = st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda two: (max(two), min(two)))


def beside(control: tuple[int, int], candidate: tuple[int, int]) -> Check:
    return Check(TwoProportions("d-1").after(Outcomes(*control), Outcomes(*candidate)))


def after(candidate: tuple[int, int], before: tuple[int, int] | None = None) -> Check:
    history = Outcomes(*before) if before else None
    return Check(against(SETTINGS.tolerance, history).after(Outcomes(*candidate)))


def said(
    *checks: Check,
    observed_s: float = 60,
    starts: int = 0,
    silent: tuple[str, ...] = (),
    settings: Settings = SETTINGS,
    pending: int = 0,
) -> Verdict:
    return judge(Watch(checks, observed_s, starts, silent, pending), settings)


def test_people_see_numbers_of_a_candidate_beside_the_active_program() -> None:
    found = said(beside((100, 2), (40, 7)))
    assert found.kind is Kind.FAIL
    assert found.reason == (
        "7 of 40 executions failed (17.5 %, 95 % interval 7.3 to 32.8 %); "
        "the active program: 2 of 100 (2.0 %, 0.2 to 7.0 %)"
    )
    assert (found.candidate, found.before) == (Outcomes(40, 7), Outcomes(100, 2))
    assert found.e > found.alarm_e == 20


def test_people_see_numbers_of_a_candidate_after_another_program() -> None:
    found = said(after((40, 17), (100, 2)))
    assert found.kind is Kind.FAIL
    assert found.reason == (
        "17 of 40 executions failed (42.5 %, 95 % interval 27.0 to 59.1 %); "
        "before: 2 of 100 (2.0 %, 0.2 to 7.0 %); allowed: 7.0 %"
    )


def test_people_see_numbers_of_a_candidate_of_which_nothing_is_known() -> None:
    assert (
        said(after((20, 0))).reason == "0 of 20 executions failed (0.0 %, 95 % interval 0.0 to 16.8 %); allowed: 5.0 %"
    )


def test_a_candidate_that_does_as_well_passes() -> None:
    assert said(beside((100, 2), (100, 2))).kind is Kind.PASS
    assert said(beside((100, 2), (20, 0))).kind is Kind.PASS
    assert said(after((20, 0))).kind is Kind.PASS
    assert said(after((200, 10))).kind is Kind.PASS


def test_a_bad_baseline_does_not_condemn_a_good_candidate() -> None:
    assert said(beside((100, 60), (100, 55))).kind is Kind.PASS
    assert said(after((100, 55), (100, 60))).kind is Kind.PASS
    assert said(after((100, 55))).kind is Kind.FAIL


def test_a_pass_waits_for_the_time_the_samples_the_control_and_each_node() -> None:
    early = said(beside((100, 2), (100, 2)), observed_s=12.3)
    assert (early.kind, early.left_s) == (Kind.INCONCLUSIVE, pytest.approx(47.7))
    assert early.reason.endswith("; watched for 12s of 1min")
    few = said(beside((100, 2), (19, 0)))
    assert (few.kind, few.left_s) == (Kind.INCONCLUSIVE, 0)
    assert few.reason.endswith("; a verdict needs 20 executions")
    assert few.lack == Lack(executions=1)
    alone = said(beside((19, 0), (100, 0)))
    assert alone.kind is Kind.INCONCLUSIVE
    assert alone.reason.endswith("; a comparison needs 20 executions of the active program")
    assert alone.lack == Lack(executions_before=1)
    assert said(beside((100, 2), (100, 2))).lack == Lack()
    silent = said(after((100, 0)), silent=tuple(f"n{number}" for number in range(12)))
    assert silent.kind is Kind.INCONCLUSIVE
    assert silent.reason.endswith("; not heard of: n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more")


@pytest.mark.parametrize(("pending", "words"), [(1, "1 execution"), (3, "3 executions")])
def test_a_pass_waits_for_actions_under_way_until_enough_have_ended(pending: int, words: str) -> None:
    decided = after((100, 0))
    few = said(decided, Check(after((19, 0)).test, ACTED), pending=pending)
    assert (few.kind, few.left_s, few.lack) == (Kind.INCONCLUSIVE, 0, Lack(pending=pending))
    assert few.reason.endswith(f"; actions of {words} have not ended")
    assert said(decided, Check(after((19, 0)).test, ACTED)).kind is Kind.PASS
    enough = said(decided, Check(after((20, 0)).test, ACTED), pending=pending)
    assert (enough.kind, enough.lack) == (Kind.PASS, Lack()), "of a busy rule some are under way at any time"


def test_a_failure_does_not_wait_for_actions_under_way() -> None:
    assert said(after((100, 0)), Check(after((30, 30)).test, ACTED), pending=70).kind is Kind.FAIL
    assert said(after((30, 30)), Check(after((0, 0)).test, ACTED), pending=70).kind is Kind.FAIL
    assert said(after((1, 0)), starts=4, pending=1).kind is Kind.FAIL


def test_ten_silent_nodes_are_all_named() -> None:
    found = said(after((100, 0)), silent=tuple(f"n{number}" for number in range(10)))
    assert found.reason.endswith("; not heard of: n0, n1, n2, n3, n4, n5, n6, n7, n8, n9")


def test_a_program_before_that_did_nothing_is_not_told_of() -> None:
    assert "before" not in said(after((20, 0), (0, 0))).reason


def test_all_that_is_missing_is_said() -> None:
    found = said(after((3, 0)), observed_s=5, silent=("n1",), pending=2)
    missing = "a verdict needs 20 executions; actions of 2 executions have not ended; watched for 5s of 1min"
    assert found.reason.endswith(f"; {missing}; not heard of: n1")
    assert found.lack == Lack(executions=17, silent=("n1",), pending=2)


@pytest.mark.parametrize("check", [after((0, 0)), beside((100, 2), (0, 0)), beside((0, 0), (0, 0))])
def test_no_executions_are_no_data(check: Check) -> None:
    found = said(check, observed_s=600)
    assert (found.kind, found.reason) == (Kind.NO_DATA, "no executions; a verdict needs 20 executions")


def test_a_rate_needs_samples_to_fail_too() -> None:
    five = said(after((5, 5)))
    assert five.kind is Kind.INCONCLUSIVE and five.e > five.alarm_e
    assert said(after((19, 19))).kind is Kind.INCONCLUSIVE
    assert said(after((20, 20))).kind is Kind.FAIL
    assert said(after((5, 5)), settings=Settings(samples_min=5)).kind is Kind.FAIL


def test_a_stumble_at_the_start_does_not_condemn() -> None:
    """The broker was not there yet: all of the first three failed, which would be an alarm, and then all went well."""
    test = against(SETTINGS.tolerance).after(Outcomes(3, 3))
    assert test.log_e > log(20) and said(Check(test)).kind is Kind.INCONCLUSIVE
    assert said(Check(test.after(Outcomes(17, 0)))).kind is Kind.PASS


def test_a_failure_is_told_before_the_time_is_over() -> None:
    assert said(after((20, 20)), observed_s=1, silent=("n1",)).kind is Kind.FAIL


def test_what_chance_hardly_explains_does_not_pass() -> None:
    """7 of 40 against 7 %: not enough for an alarm that holds at any look, and too much to call it good."""
    doubtful = said(after((40, 7), (100, 2)))
    assert doubtful.kind is Kind.INCONCLUSIVE and doubtful.e < doubtful.alarm_e
    assert doubtful.reason.endswith("; more than chance explains well, and too few to be sure")
    assert said(after((40, 6), (100, 2))).kind is Kind.PASS
    assert said(beside((200, 20), (200, 35))).kind is Kind.INCONCLUSIVE
    assert said(beside((100, 5), (100, 13))).kind is Kind.PASS


def test_a_crash_loop_fails_at_once() -> None:
    found = said(after((0, 0)), observed_s=20, starts=4)
    assert found.kind is Kind.FAIL
    assert found.reason == "the node's process started again 4 times in 20s, and 3 an hour are allowed"
    assert said(after((0, 0)), observed_s=20, starts=3).kind is Kind.NO_DATA
    assert said(after((0, 0)), observed_s=0, starts=3).kind is Kind.NO_DATA
    assert said(after((100, 0)), observed_s=20, starts=1, settings=Settings(starts_max=0)).kind is Kind.FAIL


def test_a_long_watch_allows_more_starts() -> None:
    assert said(after((100, 0)), observed_s=3600, starts=4).kind is Kind.FAIL
    assert said(after((100, 0)), observed_s=3601, starts=6).kind is Kind.PASS
    assert said(after((100, 0)), observed_s=3601, starts=7).kind is Kind.FAIL


def test_nothing_passes_without_an_execution() -> None:
    with pytest.raises(ValueError, match="samples_min=0"):
        Settings(samples_min=0)
    one = Settings(samples_min=1)
    assert said(after((0, 0)), settings=one).kind is Kind.NO_DATA
    assert said(beside((0, 0), (0, 0)), settings=one).kind is Kind.NO_DATA
    assert said(after((1, 0)), settings=one).kind is Kind.PASS


def test_several_checks_share_the_false_alarms() -> None:
    """Each check may raise a false alarm: with two, each has half of alpha."""
    good = Check(OneProportion(0.05, candidate=Outcomes(100, 0)))
    bad = Check(OneProportion(0.05, candidate=Outcomes(100, 13)), "executions that acted failed to act")
    assert 20 < exp(bad.test.log_e) < 40
    doubtful = said(good, bad)
    assert doubtful.kind is Kind.INCONCLUSIVE and doubtful.reason.startswith("13 of 100 executions that acted")
    assert said(bad).kind is Kind.FAIL
    worse = Check(OneProportion(0.05, candidate=Outcomes(100, 14)), bad.what)
    found = said(good, worse)
    assert found.kind is Kind.FAIL and found.alarm_e == 40
    assert found.reason.startswith("14 of 100 executions that acted failed to act (14.0 %")


@pytest.mark.parametrize(("judges", "kind"), [(1, Kind.FAIL), (2, Kind.INCONCLUSIVE)])
def test_judgements_of_one_deployment_share_the_false_alarms(judges: int, kind: Kind) -> None:
    """Else one of a hundred nodes condemns a good program sooner or later."""
    doubtful = Check(OneProportion(0.05, candidate=Outcomes(100, 13)))
    assert 20 < exp(doubtful.test.log_e) < 40
    found = said(doubtful, settings=Settings(judges=judges))
    assert (found.kind, found.alarm_e) == (kind, 20 * judges)
    assert Settings(judges=judges).alarm_e == 40 * judges, "decisions and actions"


def both(control: tuple[int, ...], candidate: tuple[int, ...]) -> tuple[TwoProportions, TwoProportions]:
    """Numbers are executions and failures of decisions, then of actions."""
    return tuple(  # type: ignore[return-value]
        TwoProportions("d-1", 40.0).after(Outcomes(*control[at : at + 2]), Outcomes(*candidate[at : at + 2]))
        for at in (0, 2)
    )


@pytest.mark.parametrize(
    ("control", "before", "kind"),
    [
        ((400, 0, 40, 0), (400, 0), Kind.FAIL),
        ((400, 0, 40, 40), (400, 0), Kind.PASS),
        ((400, 0, 40, 0), (400, 400), Kind.PASS),
        ((400, 0, 0, 0), (400, 0), Kind.FAIL),
        ((400, 0, 0, 0), (400, 400), Kind.PASS),
        ((400, 0, 0, 0), (0, 0), Kind.FAIL),
    ],
)
def test_actions_must_be_worse_than_those_beside_them_and_than_those_before(
    control: tuple[int, ...], before: tuple[int, int], kind: Kind
) -> None:
    tests = both(control, (400, 0, 40, 40))
    found = said(*checks_beside(SETTINGS, tests, Tally(Outcomes(400, 0), Outcomes(*before))))
    assert found.kind is kind, found.reason


def test_decisions_are_judged_by_what_runs_beside_them_alone() -> None:
    """What was before did not see the same events."""
    tests = both((100, 0, 0, 0), (100, 100, 0, 0))
    found = said(*checks_beside(SETTINGS, tests, Tally(Outcomes(400, 400))))
    assert found.kind is Kind.FAIL and found.reason.endswith("the active program: 0 of 100 (0.0 %, 0.0 to 3.6 %)")


def test_without_anything_beside_it_decisions_and_actions_are_judged_by_what_was_before() -> None:
    bad, good = Tally(Outcomes(400, 0), Outcomes(40, 40)), Tally(Outcomes(400, 0), Outcomes(40, 0))
    assert said(*checks_against(SETTINGS, None, bad)).kind is Kind.FAIL
    assert said(*checks_against(SETTINGS, good, bad)).kind is Kind.FAIL
    assert said(*checks_against(SETTINGS, bad + bad + bad, bad)).kind is Kind.PASS
    assert said(*checks_against(SETTINGS, None, good)).kind is Kind.PASS


def test_a_check_with_few_samples_does_not_condemn() -> None:
    few = Check(OneProportion(0.05, candidate=Outcomes(19, 19)))
    assert said(after((100, 0)), few).kind is Kind.INCONCLUSIVE


@given(st.one_of(COUNTS.map(after), st.tuples(COUNTS, COUNTS).map(lambda two: beside(*two))), st.integers(0, 120))
def test_only_enough_time_and_samples_pass(check: Check, observed_s: int) -> None:
    found = said(check, observed_s=observed_s)
    seen = check.test.seen_candidate
    if found.kind is Kind.PASS:
        assert observed_s >= 60 and seen.executions >= 20 and check.test.log_e < log(20)
    if found.kind is Kind.FAIL:
        assert seen.executions >= 20 and check.test.log_e >= log(20)
    assert (found.kind is Kind.NO_DATA) == (seen.executions == 0)
    assert found.left_s == max(0, 60 - observed_s) and found.reason


@given(COUNTS, st.integers(0, 200))
def test_one_failure_more_never_makes_a_verdict_better(counts: tuple[int, int], more: int) -> None:
    order = [Kind.PASS, Kind.INCONCLUSIVE, Kind.FAIL]
    count, failed = max(20, counts[0]), counts[1]
    worse = min(count, failed + more)
    assert order.index(said(after((count, failed))).kind) <= order.index(said(after((count, worse))).kind)


@pytest.mark.parametrize(
    "wrong", [{"failures_max": -1}, {"failures_max": 10_001}, {"alpha": 0.0}, {"alpha": 1.0}, {"judges": 0}]
)
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no settings"):
        Settings(**wrong)  # type: ignore[arg-type]


def test_small_shares_are_not_hidden() -> None:
    assert [percent(share) for share in (0, 1, 0.1749, 0.001, 0.00042, 1e-7)] == [
        "0.0 %",
        "100.0 %",
        "17.5 %",
        "0.1 %",
        "0.042 %",
        "0.000010 %",
    ]


def test_a_pass_without_actions_says_so_where_the_other_program_acted() -> None:
    """Of a canary with few keys all may be those of the active program."""

    def reason(acted: int, others: int) -> str:
        decides = TwoProportions("d-1").after(Outcomes(40, 0), Outcomes(40, 0))
        acts = TwoProportions("d-1").after(Outcomes(others, 0), Outcomes(acted, 0))
        found = said(*checks_beside(SETTINGS, (decides, acts), Tally()))
        assert found.kind is Kind.PASS
        return found.reason

    assert reason(0, 5).endswith("; it has not acted, and the other program has")
    assert not any("acted" in reason(*counts) for counts in ((1, 5), (0, 0), (5, 0)))
    before = Tally(Outcomes(40, 0), Outcomes(40, 0))
    alone = said(*checks_against(SETTINGS, before, Tally(Outcomes(40, 0), Outcomes())))
    assert alone.reason.endswith("; it has not acted, and the other program has")


def test_a_sample_in_which_even_nothing_but_failures_says_nothing_clears_nobody_who_failed() -> None:
    """With few executions no share of failures is improbable: a program that failed each time would pass."""
    few = Settings(samples_min=1)
    assert said(after((1, 1)), settings=few).kind is Kind.INCONCLUSIVE
    assert said(after((1, 0)), settings=few).kind is Kind.PASS
    generous = Settings(samples_min=1, failures_max=5_000)
    for failures, kind in ((5, Kind.INCONCLUSIVE), (3, Kind.INCONCLUSIVE), (2, Kind.PASS)):
        check = Check(OneProportion(0.5, candidate=Outcomes(5, failures)))
        assert said(check, settings=generous).kind is kind
    everything = Check(OneProportion(1.0, candidate=Outcomes(5, 5)))
    assert said(everything, settings=few).kind is Kind.PASS, "somebody allows all failures"
    three = Settings(samples_min=3)
    assert said(beside((3, 0), (3, 3)), settings=three).kind is Kind.INCONCLUSIVE
    assert said(beside((3, 3), (3, 3)), settings=three).kind is Kind.PASS, "the active program does no better"
    assert said(beside((60, 0), (20, 1))).kind is Kind.PASS, "there chance can be told"


@pytest.mark.parametrize(
    ("control", "candidate", "bound", "hints"),
    [((5, 0), (1, 1), 0.05, True), ((5, 5), (1, 1), 0.05, False), ((5, 0), (1, 1), 1.0, False), ((5, 0), (1, 0), 0.05, False),
     ((200, 0), (1, 1), 0.05, True), ((5, 0), (3, 3), 0.05, False), ((200, 0), (3, 3), 0.05, False)],
)  # fmt: skip
def test_actions_of_a_canary_are_doubted_by_both_tests_or_not_at_all(
    control: tuple[int, int], candidate: tuple[int, int], bound: float, hints: bool
) -> None:
    """`hints` is for what `chance` cannot say: where both can, it says so."""
    tests = Both(TwoProportions("d-1").after(Outcomes(*control), Outcomes(*candidate)),
                 OneProportion(bound, candidate=Outcomes(*candidate)))  # fmt: skip
    assert tests.hints is hints
