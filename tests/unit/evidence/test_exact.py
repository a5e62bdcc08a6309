"""The exact figures: beta function, interval and hypergeometric numbers, against tables and whole-number sums."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import asin, comb, exp, log, pi, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.evidence import hypergeometric
from eyeflow.evidence.beta import beta_quantile, log_beta_cdf
from eyeflow.evidence.interval import Interval, exact_interval
from eyeflow.evidence.outcomes import Outcomes
from unit.evidence.chances import binomial

COUNTS = st.integers(1, 60).flatmap(lambda total: st.tuples(st.just(total), st.integers(0, total)))
THREE = COUNTS.flatmap(lambda pair: st.tuples(st.just(pair[0]), st.just(pair[1]), st.integers(0, pair[0])))

PUBLISHED = {(81, 263): (0.2527, 0.3676), (15, 148): (0.0578, 0.1617), (0, 20): (0, 0.1684), (1, 29): (0.0009, 0.1776)}
"""Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I, the
method of Clopper and Pearson."""


@pytest.mark.parametrize(("failed", "count"), PUBLISHED)
def test_the_interval_is_that_of_the_published_table(failed: int, count: int) -> None:
    found = exact_interval(Outcomes(count, failed))
    assert (round(found.low, 4), round(found.high, 4)) == PUBLISHED[failed, count]


def test_the_interval_is_that_of_r() -> None:
    """`binom.test(682, 682 + 243)`, the example of its help page, after Conover (1971), page 97."""
    found = exact_interval(Outcomes(925, 682))
    assert (round(found.low, 7), round(found.high, 7)) == (0.7076683, 0.7654066)


def test_another_confidence() -> None:
    """NIST/SEMATECH handbook of statistical methods, 7.2.4.1: 4 of 20, 90 %."""
    found = exact_interval(Outcomes(20, 4), 0.90)
    assert found.low == pytest.approx(0.071354, abs=1e-6) and found.high == pytest.approx(0.401029, abs=1e-6)


def test_nothing_seen_says_nothing() -> None:
    assert exact_interval(Outcomes()) == Interval(0.0, 1.0)


@given(COUNTS)
def test_the_ends_leave_out_what_they_should(counts: tuple[int, int]) -> None:
    count, failed = counts
    found = exact_interval(Outcomes(count, failed))
    assert 0 <= found.low <= failed / count <= found.high <= 1
    if failed:
        assert sum(binomial(count, found.low)[failed:]) == pytest.approx(0.025, rel=1e-6)
    if failed < count:
        assert sum(binomial(count, found.high)[: failed + 1]) == pytest.approx(0.025, rel=1e-6)


@pytest.mark.parametrize("count", [10**4, 10**6, 10**9])
@pytest.mark.parametrize("rate", [0, 0.001, 0.5, 1])
def test_great_counts_have_an_interval(count: int, rate: float) -> None:
    found = exact_interval(Outcomes(count, int(count * rate)))
    spread = 1.96 * sqrt(rate * (1 - rate) / count)
    assert found.low == pytest.approx(rate - spread, abs=0.1 * spread + 4 / count)
    assert found.high == pytest.approx(rate + spread, abs=0.1 * spread + 4 / count)


@given(st.integers(1, 40), st.integers(1, 40), st.fractions(Fraction(1, 100), Fraction(99, 100), max_denominator=100))
def test_the_beta_function_is_a_sum_of_binomials(a: int, b: int, x: Fraction) -> None:
    wanted = sum(comb(a + b - 1, k) * x**k * (1 - x) ** (a + b - 1 - k) for k in range(a, a + b))
    assert exp(log_beta_cdf(float(x), a, b)) == pytest.approx(float(wanted), rel=1e-10)


@given(st.floats(0, 0.999))
def test_the_beta_function_of_halves_is_the_arc_sine(x: float) -> None:
    assert exp(log_beta_cdf(x, 0.5, 0.5)) == pytest.approx(2 / pi * asin(sqrt(x)), rel=1e-10, abs=1e-300)


def test_a_tiny_probability_keeps_its_logarithm() -> None:
    assert log_beta_cdf(1e-5, 200, 1) == pytest.approx(200 * log(1e-5))
    assert log_beta_cdf(0.0, 2, 3) == float("-inf") and log_beta_cdf(1.0, 2, 3) == 0


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1e-12, 1 - 1e-9))
def test_a_quantile_is_the_inverse(a: float, b: float, p: float) -> None:
    assert log_beta_cdf(beta_quantile(log(p), a, b), a, b) == pytest.approx(log(p), rel=1e-6, abs=1e-9)


@given(THREE, st.integers(0, 61))
def test_a_tail_is_a_sum_of_hypergeometric_numbers(three: tuple[int, int, int], least: int) -> None:
    total, failed, drawn = three
    ways = [comb(failed, both) * comb(total - failed, drawn - both) for both in range(drawn + 1)]
    wanted = Fraction(sum(ways[least:]), comb(total, drawn))
    assert hypergeometric.tail(total, failed, drawn, least) == pytest.approx(float(wanted), rel=1e-9, abs=1e-15)


def test_fishers_exact_test_of_great_counts() -> None:
    assert hypergeometric.tail(10**7, 10**6, 10**6, 50_000) == pytest.approx(1)
    assert hypergeometric.tail(10**7, 10**6, 10**6, 100_000) == pytest.approx(0.5, abs=0.01)
    assert hypergeometric.tail(10**7, 10**6, 10**6, 102_000) < 1e-9


@given(THREE, st.randoms(use_true_random=False))
def test_a_draw_is_possible(three: tuple[int, int, int], random: Random) -> None:
    total, failed, drawn = three
    assert max(0, drawn - (total - failed)) <= hypergeometric.draw(random, total, failed, drawn) <= min(failed, drawn)


@pytest.mark.parametrize(("total", "failed", "drawn"), [(20, 5, 8), (30, 27, 10), (50, 25, 25), (12, 1, 3)])
def test_draws_are_as_frequent_as_they_are_probable(total: int, failed: int, drawn: int) -> None:
    random, runs = Random(1), 20_000
    seen = Counter(hypergeometric.draw(random, total, failed, drawn) for _ in range(runs))
    for both in range(drawn + 1):
        p = comb(failed, both) * comb(total - failed, drawn - both) / comb(total, drawn)
        assert abs(seen[both] / runs - p) < 4.5 * sqrt(p * (1 - p) / runs) + 1e-12
