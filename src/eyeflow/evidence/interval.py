"""The exact interval of a share of failures: what people are shown."""

from __future__ import annotations

from functools import lru_cache
from math import log

from eyeflow.base.record import dataclass
from eyeflow.evidence.beta import beta_quantile
from eyeflow.evidence.outcomes import Outcomes


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
    failed, good, tail = outcomes.failed, outcomes.executions - outcomes.failed, log((1 - confidence) / 2)
    low = beta_quantile(tail, failed, good + 1) if failed else 0.0
    high = 1 - beta_quantile(tail, good, failed + 1) if good else 1.0
    return Interval(low, high)
