"""The exact interval of a share of failures: what people are shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp

from eyeflow.base.record import dataclass
from eyeflow.evidence.beta import log_beta_cdf
from eyeflow.evidence.outcomes import Outcomes

_HALVINGS = 50


@dataclass(frozen=True, slots=True)
class Interval:
    """Two shares, 0 to 1."""

    low: float
    high: float


@lru_cache(maxsize=1024)
def exact_interval(outcomes: Outcomes, confidence: float = 0.95) -> Interval:
    """Return the interval of Clopper and Pearson (1934) for the probability of a failure.

    It holds the true probability with at least `confidence`, for one look. Decisions that are taken while the counts
    grow come from `eprocess`. Without executions it is 0 to 1.
    """
    count, failed, tail = outcomes.executions, outcomes.failed, (1 - confidence) / 2
    low, high = 0.0, 1.0
    if failed:
        low = _solved(lambda p: exp(log_beta_cdf(p, failed, count - failed + 1)) < tail)
    if failed < count:
        high = _solved(lambda p: exp(log_beta_cdf(1 - p, count - failed, failed + 1)) > tail)
    return Interval(low, high)


def _solved(is_above: Callable[[float], bool]) -> float:
    """Return the p up to which `is_above` says that the solution is greater."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_above(middle) else (low, middle)
    return (low + high) / 2
