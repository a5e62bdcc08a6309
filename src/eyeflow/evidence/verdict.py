"""The verdict on a candidate: pass, fail, inconclusive or no data, with the reason in numbers that people can check."""

from __future__ import annotations

from enum import Enum
from math import ceil, exp, floor, log, log10

from eyeflow.base.duration import format_duration
from eyeflow.base.record import dataclass
from eyeflow.evidence.eprocess import DOUBT, Both, OneProportion, Test, TwoProportions, against
from eyeflow.evidence.interval import exact_interval
from eyeflow.evidence.outcomes import Outcomes, Tally

DECIDED, ACTED = "executions failed", "executions failed in their actions"
"""What checks count."""
NAMED_MAX = 10
"""Nodes that a reason names; how many more there are is said as a number."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a candidate must show; the first four are those of a node's `Trial`.

    `observe_s`: how long it is watched. `samples_min`: fewest executions for a verdict on rates, 1 or more: nothing
    passes without any. `failures_max`: the share of failures, in hundredths of a percent, that is allowed without a
    control. `starts_max`: how often a node may start again in an hour; more is a crash loop. `alpha`: how probable a
    false alarm may be in all `judges` judgements of a deployment. Raises ValueError for what is none of these.
    """

    observe_s: float = 60.0
    samples_min: int = 20
    failures_max: int = 500
    starts_max: int = 3
    judges: int = 1
    alpha: float = 0.05

    def __post_init__(self) -> None:
        rates = 0 <= self.failures_max <= 10_000 and 0 < self.alpha < 1
        if not (rates and self.judges >= 1 and self.samples_min >= 1):
            raise ValueError(f"no settings: {self}")

    @property
    def alarm_e(self) -> float:
        """The wealth that condemns in a judgement of decisions and actions."""
        return 2 * self.judges / self.alpha

    @property
    def tolerance(self) -> float:
        """`failures_max` as a share, 0 to 1."""
        return self.failures_max / 10_000


HOUR_S = 3600


class Kind(Enum):
    """What is known of a candidate. Only PASS lets it go on."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "noData"


@dataclass(frozen=True, slots=True)
class Check:
    """One test, and what it counts, in the words that follow "7 of 40"."""

    test: Test
    what: str = DECIDED


def checks_against(settings: Settings, before: Tally | None, candidate: Tally) -> tuple[Check, Check]:
    """Return the checks of decisions and of actions where nothing runs beside the candidate to compare it with.

    `before` is how the program did that it replaced, None: nobody knows.
    """

    def test(was: Outcomes | None, seen: Outcomes) -> OneProportion:
        return against(settings.tolerance, was, samples_min=settings.samples_min).after(seen)

    decided = test(None if before is None else before.decisions, candidate.decisions)
    acted = test(None if before is None else before.actions, candidate.actions)
    return Check(decided, DECIDED), Check(acted, ACTED)


def checks_beside(
    settings: Settings, tests: tuple[TwoProportions, TwoProportions], before: Tally
) -> tuple[Check, Check]:
    """Return the checks of decisions and of actions where another program runs beside the candidate.

    Both decide on the same events. But one of them acts for each key, so a pump that is broken may be a matter of
    chance: actions must be worse than those of the other program now, and worse than those that were `before`.
    """
    decides, acts = tests
    _, acted = checks_against(settings, before, Tally(decides.seen_candidate, acts.seen_candidate))
    if acts.seen_control.executions:
        assert isinstance(acted.test, OneProportion)
        acted = Check(Both(acts, acted.test), ACTED)
    return Check(decides, DECIDED), acted


@dataclass(frozen=True, slots=True)
class Watch:
    """What was seen of a candidate. The first of one or more checks tells whether it had enough executions.

    `observed_s`: how long it has been watched. `starts`: process starts since it began, the most of any node, without
    the one in which it began. `silent`: nodes that run it and have not been heard of. `pending`: executions with
    actions that have not ended; no check counts them among those that acted.
    """

    checks: tuple[Check, ...]
    observed_s: float
    starts: int = 0
    silent: tuple[str, ...] = ()
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Lack:
    """What a pass still needs beside time: so many executions of the candidate, and of the active program beside it.

    `silent`: nodes that run the candidate and have not been heard of. `pending`: executions whose actions must end.
    """

    executions: int = 0
    executions_before: int = 0
    silent: tuple[str, ...] = ()
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kind`, and the reason in one line. `left_s` is what is left of the time to watch: 0 means that it is over.

    `candidate` and `before` are the counts of the reason, `e` is the wealth of their test, `alarm_e` the one that
    condemns. `of_actions`: they count executions that acted. Before the time is over, INCONCLUSIVE and NO_DATA mean:
    wait for `left_s`, and for what it lacks.
    """

    kind: Kind
    reason: str
    left_s: float
    candidate: Outcomes
    before: Outcomes | None
    e: float
    alarm_e: float
    of_actions: bool = False
    lack: Lack = Lack()


def judge(watch: Watch, settings: Settings) -> Verdict:
    """Return the verdict on what was seen so far. A failure is told at once, a pass when the time is over."""
    alarm_e = len(watch.checks) * settings.judges / settings.alpha
    ripe = [one for one in watch.checks if one.test.seen_candidate.executions >= settings.samples_min]
    failing = [one for one in ripe if one.test.log_e >= log(alarm_e)]
    doubtful = [one for one in watch.checks if one.test.chance < DOUBT or one.test.hints]
    check = (failing or doubtful or watch.checks)[0]
    left_s = max(0.0, settings.observe_s - watch.observed_s)
    lack = _lack(watch, settings)

    def verdict(kind: Kind, reason: str) -> Verdict:
        test = check.test
        seen, of_actions = (test.seen_candidate, test.seen_control), check.what == ACTED
        return Verdict(kind, reason, left_s, *seen, exp(test.log_e), alarm_e, of_actions, lack)

    if watch.starts > settings.starts_max * max(1, ceil(watch.observed_s / HOUR_S)):
        times = f"{watch.starts} times in {_duration(watch.observed_s)}"
        return verdict(
            Kind.FAIL, f"the node's process started again {times}, and {settings.starts_max} an hour are allowed"
        )
    if failing:
        return verdict(Kind.FAIL, _numbers(check))
    missing = "; ".join(_missing(watch, settings, lack, is_doubtful=bool(doubtful)))
    if not watch.checks[0].test.seen_candidate.executions:
        return verdict(Kind.NO_DATA, f"no executions; {missing}")
    if missing:
        return verdict(Kind.INCONCLUSIVE, f"{_numbers(check)}; {missing}")
    return verdict(Kind.PASS, _numbers(check) + _unproven(watch))


def _unproven(watch: Watch) -> str:
    """Say that nothing is known of its actions: all keys may be those of the active program, or it acts seldom."""
    acts = [one.test for one in watch.checks if one.what == ACTED]
    has_acted = any(one.seen_candidate.executions for one in acts)
    others_did = any(one.seen_control is not None and one.seen_control.executions for one in acts)
    return "; it has not acted, and the other program has" if others_did and not has_acted else ""


def _lack(watch: Watch, settings: Settings) -> Lack:
    test, least = watch.checks[0].test, settings.samples_min
    beside = test.seen_control.executions if isinstance(test, TwoProportions) else least
    # Once enough have acted, those under way need not end: of a busy rule some always are.
    acted = sum(one.test.seen_candidate.executions for one in watch.checks if one.what == ACTED)
    pending = watch.pending if acted < least else 0
    return Lack(max(0, least - test.seen_candidate.executions), max(0, least - beside), watch.silent, pending)


def _missing(watch: Watch, settings: Settings, lack: Lack, *, is_doubtful: bool) -> list[str]:
    """Return what a pass still needs, for people."""
    found, least = [], settings.samples_min
    if lack.executions:
        found.append(f"a verdict needs {least} executions")
    elif lack.executions_before:
        found.append(f"a comparison needs {least} executions of the active program")
    elif is_doubtful:
        found.append("more than chance explains well, and too few to be sure")
    if lack.pending:
        found.append(f"actions of {lack.pending} execution{'s' * (lack.pending > 1)} have not ended")
    if watch.observed_s < settings.observe_s:
        found.append(f"watched for {_duration(watch.observed_s)} of {_duration(settings.observe_s)}")
    if watch.silent:
        names, more = ", ".join(watch.silent[:NAMED_MAX]), len(watch.silent) - NAMED_MAX
        found.append(f"not heard of: {names}" + (f" and {more} more" if more > 0 else ""))
    return found


def _numbers(check: Check) -> str:
    test = check.test
    told = _share(test.seen_candidate, f" {check.what}", ", 95 % interval ")
    if isinstance(test, OneProportion):
        before = f"before: {_share(test.before)}; " if test.before and test.before.executions else ""
        return f"{told}; {before}allowed: {percent(test.bound)}"
    return f"{told}; the active program: {_share(test.seen_control)}"


def _share(outcomes: Outcomes, what: str = "", interval: str = ", ") -> str:
    count = f"{outcomes.failed} of {outcomes.executions}{what}"
    if not outcomes.executions:
        return count
    ends = exact_interval(outcomes)
    low = percent(ends.low).removesuffix(" %")
    return f"{count} ({percent(outcomes.rate)}{interval}{low} to {percent(ends.high)})"


def percent(share: float) -> str:
    """Return a share for people: one decimal, or the first two digits where that would hide it."""
    value = share * 100
    decimals = 1 if value >= 0.1 or not value else 1 - floor(log10(value))
    return f"{value:.{decimals}f} %"


def _duration(value_s: float) -> str:
    return format_duration(int(value_s) * 1_000_000)
