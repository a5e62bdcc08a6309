"""The e-processes: fair bets by exact sums, the same answer for the same counts, and nothing counted twice."""

from __future__ import annotations

from fractions import Fraction
from math import exp, inf, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.evidence.eprocess import LOG_E_MAX, OneProportion, TwoProportions, _log_bet, against
from eyeflow.evidence.outcomes import Outcomes
from unit.evidence.chances import binomial

RATES = st.fractions(Fraction(1, 50), Fraction(49, 50), max_denominator=50)
INCREMENTS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda two: Outcomes(max(two), min(two)))
LOOSE = st.builds(Outcomes, st.integers(0, 30), st.integers(0, 30))


@given(st.integers(1, 6), st.integers(1, 6), RATES, RATES, RATES, RATES)
def test_a_bet_is_fair_whatever_the_true_rates_are(
    control: int, candidate: int, one: Fraction, other: Fraction, bet: Fraction, bet_other: Fraction
) -> None:
    """The sum over all outcomes: if the candidate fails no more often than the control, nobody wins in the mean."""
    low, high = sorted((one, other))
    bets = sorted((float(bet), float(bet_other)))
    mean = sum(
        p * q * exp(_log_bet(bets[0], bets[1], Outcomes(control, failed), Outcomes(candidate, failed_too)))
        for failed, p in enumerate(binomial(control, float(high)))
        for failed_too, q in enumerate(binomial(candidate, float(low)))
    )
    assert mean <= 1 + 1e-9


@given(st.integers(1, 6), st.integers(1, 6), RATES, RATES, RATES, RATES)
def test_a_bet_on_the_candidate_is_no_bet(
    control: int, candidate: int, one: Fraction, other: Fraction, failed: Fraction, failed_too: Fraction
) -> None:
    low, high = sorted((float(one), float(other)))
    news = Outcomes(control, int(control * failed)), Outcomes(candidate, int(candidate * failed_too))
    assert _log_bet(high, low, *news) == 0


@pytest.mark.parametrize("known", [(Outcomes(), Outcomes()), (Outcomes(3, 0), Outcomes(2, 1))])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_a_sum_that_came_at_once_is_a_fair_bet_in_the_mean_over_its_orders(
    known: tuple[Outcomes, Outcomes], p: float
) -> None:
    """Over all outcomes of 6 and 5 executions, and over 40 seeds for each."""
    mean = 0.0
    for seed in range(40):
        start = TwoProportions(str(seed), control=known[0], candidate=known[1])
        for failed, weight in enumerate(binomial(6, p)):
            for failed_too, weight_too in enumerate(binomial(5, p)):
                mean += weight * weight_too * exp(start.after(Outcomes(6, failed), Outcomes(5, failed_too)).log_e) / 40
    assert 0.8 < mean < 1.02


@given(st.lists(st.tuples(LOOSE, LOOSE), max_size=12))
def test_all_that_came_is_counted_once(pairs: list[tuple[Outcomes, Outcomes]]) -> None:
    test = TwoProportions("d-1")
    for control, candidate in pairs:
        test = test.after(control, candidate)
    assert test.seen_control == sum((one for one, _ in pairs), Outcomes())
    assert test.seen_candidate == sum((one for _, one in pairs), Outcomes())
    assert test.control.failed == test.control.failures and test.candidate.failed == test.candidate.failures
    assert not (test.waiting_control.executions and test.waiting_candidate.executions)
    assert -inf < test.log_e <= LOG_E_MAX


@given(st.lists(INCREMENTS, min_size=1, max_size=8), st.booleans())
def test_one_of_two_alone_says_nothing(news: list[Outcomes], is_control: bool) -> None:
    test = TwoProportions("d-1")
    for one in news:
        test = test.after(control=one) if is_control else test.after(candidate=one)
    assert test.log_e == 0


@given(INCREMENTS, INCREMENTS)
def test_those_who_wait_are_a_bet_once_the_other_has_come(control: Outcomes, candidate: Outcomes) -> None:
    together = TwoProportions("d-1").after(control, candidate)
    assert TwoProportions("d-1").after(control=control).after(candidate=candidate) == together
    assert TwoProportions("d-1").after(candidate=candidate).after(control=control) == together


def test_a_failure_that_comes_late_waits_for_an_execution() -> None:
    test = TwoProportions("d-1").after(Outcomes(10, 0), Outcomes(10, 0)).after(Outcomes(0, 0), Outcomes(0, 8))
    assert test.seen_candidate == Outcomes(10, 8) and test.candidate == Outcomes(10, 0)
    assert test.after(Outcomes(10, 0), Outcomes(10, 2)).candidate == Outcomes(20, 10)


@given(INCREMENTS, INCREMENTS)
def test_the_same_counts_give_the_same_answer(control: Outcomes, candidate: Outcomes) -> None:
    assert TwoProportions("d-1").after(control, candidate) == TwoProportions("d-1").after(control, candidate)


def test_the_order_of_a_sum_is_not_a_matter_of_luck() -> None:
    found = [TwoProportions(str(seed), 1e9).after(Outcomes(100, 2), Outcomes(100, 12)).log_e for seed in range(40)]
    assert max(found) - min(found) < 1


def test_a_bet_in_an_order_ends_at_the_alarm() -> None:
    """What was won before the end is not lost by what came later: 100 at once are as good as one by one."""
    news = Outcomes(100, 2), Outcomes(100, 12)
    gains = [
        TwoProportions(seed, 20).after(*news).log_e - TwoProportions(seed, 1e9).after(*news).log_e for seed in "abcd"
    ]
    assert min(gains) > 0.1


def test_the_alarm_is_one_of_all_wealth() -> None:
    """What was won earlier counts: a bet that begins with 10 ends when it has doubled."""
    news = Outcomes(100, 2), Outcomes(100, 12)
    for seed in "abcd":
        assert log(20) < TwoProportions(seed, 20, log_e=log(10)).after(*news).log_e < log(40)


def test_wealth_has_a_bound() -> None:
    rich = TwoProportions("d-1", 1e99, control=Outcomes(1000, 0), candidate=Outcomes(1000, 1000), log_e=499)
    assert rich.after(Outcomes(9, 0), Outcomes(9, 9)).log_e == LOG_E_MAX
    assert OneProportion(0.01).after(Outcomes(10**6, 10**6)).log_e == LOG_E_MAX


BOUNDS = st.fractions(Fraction(1, 100), Fraction(99, 100), max_denominator=100)


@given(BOUNDS, st.integers(1, 30), st.fractions(0, 1, max_denominator=20))
def test_the_wealth_against_a_bound_is_fair(bound: Fraction, count: int, below: Fraction) -> None:
    """The mean over all outcomes is 1 at the bound, and at most 1 below it."""
    wealth = [exp(OneProportion(float(bound)).after(Outcomes(count, failed)).log_e) for failed in range(count + 1)]

    def mean(p: float) -> float:
        return sum(weight * e for weight, e in zip(binomial(count, p), wealth, strict=True))

    assert mean(float(bound)) == pytest.approx(1, rel=1e-6)
    assert mean(float(bound * below)) <= 1 + 1e-9


@given(st.lists(LOOSE, max_size=6), BOUNDS)
def test_the_wealth_against_a_bound_depends_on_sums_only(news: list[Outcomes], bound: Fraction) -> None:
    test = OneProportion(float(bound))
    for one in news:
        test = test.after(one)
    assert test.candidate == sum(news, Outcomes())
    assert test.log_e == OneProportion(float(bound)).after(test.candidate).log_e


def test_nothing_may_fail_if_nothing_is_allowed() -> None:
    assert OneProportion(0.0).after(Outcomes(100, 0)).log_e < 1
    assert OneProportion(0.0).after(Outcomes(100, 1)).log_e == LOG_E_MAX
    assert OneProportion(1.0).after(Outcomes(100, 100)).log_e == 0


def test_the_chance_at_one_look() -> None:
    test = TwoProportions("d-1").after(Outcomes(100, 2), Outcomes(40, 7))
    assert test.chance == pytest.approx(0.0022893, abs=1e-7)  # by the sum of hypergeometric numbers, with fractions
    assert OneProportion(0.1).after(Outcomes(3, 1)).chance == pytest.approx(1 - 0.9**3)
    assert OneProportion(0.1).after(Outcomes(3, 0)).chance == TwoProportions().chance == 1


@pytest.mark.parametrize(
    ("before", "bound"),
    [
        (None, 0.05),
        (Outcomes(19, 19), 0.05),  # too few to say anything
        (Outcomes(20, 1), 0.05),  # few, and within what is allowed
        (Outcomes(20, 2), 0.316983),
        (Outcomes(99, 4), 0.05),
        (Outcomes(100, 4), 0.099257),
        (Outcomes(100, 2), 0.070384),
        (Outcomes(1000, 2), 0.05),
        (Outcomes(50, 50), 1.0),
    ],
)
def test_the_bound_follows_what_was_so_before(before: Outcomes | None, bound: float) -> None:
    test = against(0.05, before)
    assert test.bound == pytest.approx(bound, abs=1e-5) and test.before == before


@pytest.mark.parametrize(
    ("before", "bound"),
    [
        (Outcomes(1, 1), 0.05),  # a single failure, which may be chance, excuses nobody
        (Outcomes(2, 2), 1.0),
        (Outcomes(10, 2), 0.05),
        (Outcomes(10, 3), 0.652453),
    ],
)
def test_a_tiny_history_raises_the_bound_only_if_it_was_surely_worse(before: Outcomes, bound: float) -> None:
    assert against(0.05, before, samples_min=1).bound == pytest.approx(bound, abs=1e-5)


def test_counts_are_never_negative() -> None:
    for wrong in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="never negative"):
            Outcomes(*wrong)


def test_orders_do_not_depend_on_the_global_random_numbers() -> None:
    import random

    random.seed(1)
    one = TwoProportions("d-1").after(Outcomes(50, 5), Outcomes(50, 9))
    random.seed(2)
    assert one == TwoProportions("d-1").after(Outcomes(50, 5), Outcomes(50, 9))
    assert Random("d-1").random() == pytest.approx(Random("d-1").random())
