"""Tests that stay valid however often one looks: e-processes for a candidate against a control, and against a bound.

An e-process is the wealth of a bet against "the candidate fails no more often than it may", which begins at 1. If that
is true, the wealth ever reaches 1/alpha with a probability of at most alpha (Ville's inequality). So one may look after
each report, stop early or go on, and the rate of false alarms holds. The alarm counts when it is looked at: a candidate
that stumbles at its start and recovers before it has enough executions is not condemned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import exp, fsum, log, log1p
from random import Random

from eyeflow.base.record import dataclass
from eyeflow.evidence import hypergeometric
from eyeflow.evidence.beta import log_beta, log_beta_cdf
from eyeflow.evidence.interval import exact_interval
from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.shuffle import parts

LOG_E_MAX = 500.0
"""No more wealth than this, as a logarithm: JSON knows no infinity, and nobody needs more."""
ORDERS = 8
"""Orders of outcomes that came at once, of which the mean is taken: one alone would be a matter of luck."""
CONTROL, CANDIDATE = (0.5, 1.0), (1.0, 1.0)
"""What is expected of a control and of a bad candidate before anything is known, as beta distributions. Bets stay fair
with any; with these, 2 against 20 % takes 35 executions in the median, and 40 with (1/2, 1/2) for both."""
PRIOR = (0.25, 2.0)
"""How bad candidates usually are, as a beta distribution above the bound: most are a few times as bad. With it, 20 %
against 5 % is found within 100 executions in 97 of 100 cases; with (1/2, 1/2) in 95."""
DOUBT = 0.025
"""Failures that are less probable than this by chance are no pass, and without an alarm they are no failure either."""
HISTORY_SHORT = 100
"""Below this many executions, a history that kept to the tolerance says nothing against the tolerance."""
HISTORY_TINY = 20
"""Below this many executions, it raises the bound only if it surely did worse than the tolerance: one may be chance."""

NONE = Outcomes()


@dataclass(frozen=True, slots=True)
class TwoProportions:
    """The candidate against a control that runs at the same time: does the candidate fail more often?

    It holds for rates that change with time, as long as they change for both. `control` and `candidate` are what bets
    were made on; outcomes of one of them wait until the other one has some, too. `seed` decides the order of outcomes
    that came at once: the id of the deployment will do. `alarm_e` is where a bet in one such order ends, with what it
    has won: the test finds most if this is the wealth that condemns. Logarithms are natural.

    Source: Turner, Ly and Gruenwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
    stopping", J. Statistical Planning and Inference 230 (2024); with rates that are
    estimated from earlier outcomes.
    """

    seed: str = ""
    alarm_e: float = 20.0
    control: Outcomes = NONE
    candidate: Outcomes = NONE
    waiting_control: Outcomes = NONE
    waiting_candidate: Outcomes = NONE
    log_e: float = 0.0

    @property
    def seen_control(self) -> Outcomes:
        """All outcomes of the control so far."""
        return self.control + self.waiting_control

    @property
    def seen_candidate(self) -> Outcomes:
        """All outcomes of the candidate so far."""
        return self.candidate + self.waiting_candidate

    @property
    def chance(self) -> float:
        """How probable as many failures are by chance, at a single look: Fisher's exact test, one-sided."""
        control, candidate = self.seen_control, self.seen_candidate
        total, failed = control.executions + candidate.executions, control.failed + candidate.failed
        return hypergeometric.tail(total, failed, candidate.executions, candidate.failed)

    @property
    def hints(self) -> bool:
        """Whether the candidate failed more often, in a sample too small to say whether that is chance."""
        control, candidate = self.seen_control, self.seen_candidate
        total, count = control.executions + candidate.executions, candidate.executions
        is_small = hypergeometric.tail(total, control.failed + count, count, count) >= DOUBT
        return is_small and candidate.rate > control.rate

    def after(self, control: Outcomes = NONE, candidate: Outcomes = NONE) -> TwoProportions:
        """Return the test after more outcomes of both, which came at about the same time."""
        control, candidate = self.waiting_control + control, self.waiting_candidate + candidate
        if not control.executions or not candidate.executions:
            return replace(self, waiting_control=control, waiting_candidate=candidate)
        taken = control.counted, candidate.counted
        return replace(
            self,
            control=self.control + taken[0],
            candidate=self.candidate + taken[1],
            waiting_control=control.late,
            waiting_candidate=candidate.late,
            log_e=min(LOG_E_MAX, self.log_e + self._log_gain(taken)),
        )

    def _log_gain(self, taken: tuple[Outcomes, Outcomes]) -> float:
        """Return the factor of the wealth, as a logarithm: the mean over some orders, for a bet on each is fair."""
        control, candidate = taken
        numbers = (self.control.executions, self.candidate.executions)
        cuts = parts(numbers, (control.executions, candidate.executions))
        if len(cuts) == 1:
            return self._log_bets([taken])
        random = Random(f"{self.seed}:{numbers}")
        orders = ORDERS if control.failed or candidate.failed else 1  # all orders are the same one
        gains = [self._log_bets(_dealt(random, cuts, taken)) for _ in range(orders)]
        top = max(gains)
        return top + log(fsum(exp(gain - top) for gain in gains) / orders)

    def _log_bets(self, dealt: Iterable[Sequence[Outcomes]]) -> float:
        """Return the gain of bets on one part after the other, each with what was known before it, up to the alarm."""
        control, candidate = self.control, self.candidate
        gain, enough = 0.0, log(self.alarm_e) - self.log_e
        for control_new, candidate_new in dealt:
            gain += _log_bet(_rate(control, CONTROL), _rate(candidate, CANDIDATE), control_new, candidate_new)
            if gain >= enough:
                break
            control, candidate = control + control_new, candidate + candidate_new
        return gain


def _dealt(random: Random, cuts: Sequence[tuple[int, int]], taken: Sequence[Outcomes]) -> Iterator[list[Outcomes]]:
    """Yield the outcomes of both in one random order, in parts."""
    left = list(taken)
    for cut in cuts:
        part = []
        for arm, (drawn, rest) in enumerate(zip(cut, left, strict=True)):
            found = hypergeometric.draw(random, rest.executions, rest.failures, drawn)
            part.append(Outcomes(drawn, found))
            left[arm] = Outcomes(rest.executions - drawn, rest.failures - found)
        yield part


def _rate(seen: Outcomes, prior: tuple[float, float]) -> float:
    """Return the rate that is expected after `seen`: the mean of a beta distribution."""
    return (seen.failures + prior[0]) / (seen.executions + prior[0] + prior[1])


def _log_bet(control_p: float, candidate_p: float, control: Outcomes, candidate: Outcomes) -> float:
    """Return the gain of one bet that the candidate fails with `candidate_p` and the control with `control_p`.

    The expected factor is at most 1 for each pair of true rates with candidate <= control, by the inequality of
    arithmetic and geometric means; also when rates change within the part, and keep that order in the mean.
    """
    if candidate_p <= control_p:  # the estimates speak for the candidate: no bet
        return 0.0
    count = control.executions + candidate.executions
    same_p = (control.executions * control_p + candidate.executions * candidate_p) / count
    return _log_ratio(control, control_p, same_p) + _log_ratio(candidate, candidate_p, same_p)


def _log_ratio(outcomes: Outcomes, p: float, other_p: float) -> float:
    good = outcomes.executions - outcomes.failed
    return outcomes.failed * log(p / other_p) + good * (log1p(-p) - log1p(-other_p))


@dataclass(frozen=True, slots=True)
class OneProportion:
    """The candidate against a fixed `bound`, 0 to 1: does it fail more often than that?

    For a candidate without a control at the same time. `before` is how the program that it replaces did, if that is
    known. The wealth is a mixture of likelihood ratios (Robbins 1970, "Statistical methods related to the law of the
    iterated logarithm") over PRIOR above the bound, so it depends on sums only.
    """

    bound: float
    before: Outcomes | None = None
    candidate: Outcomes = NONE

    @property
    def seen_control(self) -> Outcomes | None:
        """How the program before did, if that is known."""
        return self.before

    @property
    def seen_candidate(self) -> Outcomes:
        """All outcomes of the candidate so far."""
        return self.candidate

    @property
    def log_e(self) -> float:
        """The wealth now, as a natural logarithm."""
        return _log_mixture(self.bound, self.candidate)

    @property
    def chance(self) -> float:
        """How probable as many failures are by chance, at a single look: the exact binomial test, one-sided."""
        failed, count = self.candidate.failed, self.candidate.executions
        return exp(log_beta_cdf(self.bound, failed, count - failed + 1)) if failed else 1.0

    @property
    def hints(self) -> bool:
        """Whether the candidate failed more often, in a sample too small to say whether that is chance."""
        return self.bound**self.candidate.executions >= DOUBT and self.candidate.rate > self.bound

    def after(self, candidate: Outcomes) -> OneProportion:
        """Return the test after more outcomes."""
        return replace(self, candidate=self.candidate + candidate)


def against(tolerance: float, before: Outcomes | None = None, *, samples_min: int = 20) -> OneProportion:
    """Return the test against `tolerance`, 0 to 1, or against what the program before did, if that was worse.

    The bound is then the upper end of the exact 95 % interval of `before`: a candidate is not blamed for what was so
    already. Fewer than `samples_min` executions before say nothing; fewer than HISTORY_SHORT raise the bound only if
    more than `tolerance` of them failed, and fewer than HISTORY_TINY only if that interval is above `tolerance`.
    """
    if before is None or before.executions < samples_min:
        return OneProportion(tolerance, before)
    if before.executions < HISTORY_SHORT and before.rate <= tolerance:
        return OneProportion(tolerance, before)
    interval = exact_interval(before)
    if before.executions < HISTORY_TINY and interval.low <= tolerance:
        return OneProportion(tolerance, before)
    return OneProportion(max(tolerance, interval.high), before)


def _log_mixture(bound: float, outcomes: Outcomes) -> float:
    failed, good = outcomes.failed, outcomes.executions - outcomes.failed
    if bound >= 1 or not outcomes.executions:
        return 0.0
    if bound <= 0:
        if failed:
            return LOG_E_MAX
        log_bound = 0.0
    else:
        log_bound = failed * log(bound) + good * log1p(-bound)
    gain = _log_above(bound, PRIOR[0] + failed, PRIOR[1] + good) - _log_above(bound, *PRIOR) - log_bound
    return min(LOG_E_MAX, gain)


def _log_above(bound: float, a: float, b: float) -> float:
    """Return the logarithm of the integral of p^(a-1) (1-p)^(b-1) over p from `bound` to 1."""
    return log_beta(a, b) + log_beta_cdf(1 - bound, b, a)


@dataclass(frozen=True, slots=True)
class Both:
    """The candidate is condemned only by both tests: it does worse than the control, and worse than it may.

    The lower of two such wealths is one for "either is true": it never exceeds the wealth of the one that is.
    """

    control: TwoProportions
    bound: OneProportion

    @property
    def seen_control(self) -> Outcomes:
        """All outcomes of the control so far."""
        return self.control.seen_control

    @property
    def seen_candidate(self) -> Outcomes:
        """All outcomes of the candidate so far."""
        return self.bound.seen_candidate

    @property
    def log_e(self) -> float:
        """The wealth now, as a natural logarithm."""
        return min(self.control.log_e, self.bound.log_e)

    @property
    def chance(self) -> float:
        """How probable as many failures are by chance, at a single look."""
        return max(self.control.chance, self.bound.chance)

    @property
    def hints(self) -> bool:
        """Whether each of both tests doubts, and one of them for want of executions only."""
        tests = (self.control, self.bound)
        return any(one.hints for one in tests) and all(one.hints or one.chance < DOUBT for one in tests)


Test = TwoProportions | OneProportion | Both
