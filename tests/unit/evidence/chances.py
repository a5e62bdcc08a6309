"""Random outcomes for simulations, and exact probabilities to compare with: slow and simple, by whole numbers."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import accumulate
from math import comb, exp, lgamma, log, log1p
from random import Random

from eyeflow.evidence.outcomes import Outcomes


def binomial(count: int, p: Fraction | float) -> list[float]:
    """How probable 0, 1, ... `count` failures are."""
    if count > 1000:  # a binomial coefficient is no float any more
        return [exp(_log_binomial(count, failed, float(p))) for failed in range(count + 1)]
    return [float(comb(count, failed) * p**failed * (1 - p) ** (count - failed)) for failed in range(count + 1)]


def _log_binomial(count: int, failed: int, p: float) -> float:
    ways = lgamma(count + 1) - lgamma(failed + 1) - lgamma(count - failed + 1)
    return ways + failed * log(p) + (count - failed) * log1p(-p)


@cache
def _sums(count: int, p: float) -> Sequence[float]:
    return list(accumulate(binomial(count, p)))


def outcomes(random: Random, count: int, p: float) -> Outcomes:
    """Draw what becomes of `count` executions that fail with `p`, each by itself."""
    return Outcomes(count, min(count, bisect(_sums(count, p), random.random())))
