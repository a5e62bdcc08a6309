"""Simulations from seeds: how often a good candidate is condemned, and a bad one found, with a look at each increment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log
from random import Random

import pytest

from eyeflow.evidence.eprocess import OneProportion, TwoProportions
from eyeflow.evidence.outcomes import Outcomes
from unit.evidence.chances import outcomes

ALPHA = 0.05
ALARM = log(1 / ALPHA)
RUNS = 250
Increments = Iterator[tuple[Outcomes, Outcomes]]
Stream = Callable[[Random], Increments]


def steady(control_p: float, candidate_p: float, sizes: tuple[int, int], count: int) -> Stream:
    """Make increments of the same size, one after the other."""

    def stream(random: Random) -> Increments:
        for _ in range(count):
            yield outcomes(random, sizes[0], control_p), outcomes(random, sizes[1], candidate_p)

    return stream


def drifting(random: Random) -> Increments:
    """Both fail with one rate, which changes all the time; each increment has other sizes, or one of them only."""
    for _ in range(60):
        p, sizes = random.choice((0.01, 0.05, 0.3)), (random.randrange(30), random.randrange(8))
        yield outcomes(random, sizes[0], p), outcomes(random, sizes[1], p)


def great_first(random: Random) -> Increments:
    """A node that was away tells a week at once, and little by little from then on."""
    yield outcomes(random, 400, 0.1), outcomes(random, 300, 0.1)
    yield from steady(0.1, 0.1, (5, 5), 30)(random)


def when_it_fails(random: Random) -> Increments:
    """A node reports whenever the candidate failed."""
    for _ in range(40):
        count = 1
        while random.random() > 0.1:
            count += 1
        yield outcomes(random, count, 0.1), Outcomes(count, 1)


def in_turns(random: Random) -> Increments:
    """Control and candidate run on different nodes, which report in turns."""
    for _ in range(60):
        yield outcomes(random, 10, 0.08), Outcomes()
        yield Outcomes(), outcomes(random, 6, 0.08)


def alarms(stream: Stream, seed: int = 1, runs: int = RUNS) -> float:
    """Return the share of runs in which the candidate is condemned at some look."""
    random, found = Random(seed), 0
    for run in range(runs):
        test = TwoProportions(f"d-{run}", 1 / ALPHA)
        for control, candidate in stream(random):
            test = test.after(control, candidate)
            if test.log_e >= ALARM:
                found += 1
                break
    return found / runs


GOOD = {
    "20 %, each by itself": steady(0.2, 0.2, (1, 1), 150),
    "5 %, by tens": steady(0.05, 0.05, (10, 10), 40),
    "2 %, a tenth of the traffic": steady(0.02, 0.02, (9, 1), 100),
    "50 %, by hundreds": steady(0.5, 0.5, (100, 100), 10),
    "better than the control": steady(0.1, 0.05, (10, 10), 40),
    "drifting": drifting,
    "a great first increment": great_first,
    "reports when it fails": when_it_fails,
    "in turns": in_turns,
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_candidate_is_seldom_condemned(name: str) -> None:
    assert alarms(GOOD[name]) <= ALPHA


def test_control_fishers_test_at_each_look_condemns_too_often() -> None:
    """The simulation finds a test that does not hold at any time: here 5 % at each look become three times as much."""
    random, found = Random(1), 0
    for _ in range(200):
        test = TwoProportions()
        for control, candidate in steady(0.2, 0.2, (5, 5), 40)(random):
            test = test.after(control, candidate)
            if test.chance < ALPHA:
                found += 1
                break
    assert found / 200 > 3 * ALPHA


def test_control_who_bets_on_what_he_knows_condemns_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation finds the mistake that is made most easily: an increment that is known when the bet on it is made."""
    honest = TwoProportions._log_gain

    def knowing(self: TwoProportions, taken: tuple[Outcomes, Outcomes]) -> float:
        known = TwoProportions(self.seed, 1e99, self.control + taken[0], self.candidate + taken[1])
        return honest(known, taken)

    monkeypatch.setattr(TwoProportions, "_log_gain", knowing)
    assert alarms(steady(0.2, 0.2, (10, 10), 40)) > 1.5 * ALPHA


BAD = {
    "2 and 20 %, each by itself": (steady(0.02, 0.2, (1, 1), 100), 0.95),
    "2 and 20 %, by tens": (steady(0.02, 0.2, (10, 10), 10), 0.95),
    "2 and 20 %, all at once": (steady(0.02, 0.2, (100, 100), 1), 0.95),
    "2 and 20 %, a tenth of the traffic": (steady(0.02, 0.2, (90, 10), 10), 0.98),
    "5 and 30 %, by fives": (steady(0.05, 0.3, (5, 5), 20), 0.95),
    "2 and 50 %, 40 of each": (steady(0.02, 0.5, (1, 1), 40), 0.99),
    "0 and 100 %, 10 of each": (steady(0.0, 1.0, (10, 10), 1), 1),
    "10 and 30 %, the control was there before": (steady(0.1, 0.3, (2000, 200), 1), 0.99),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_candidate_is_found(name: str) -> None:
    stream, least = BAD[name]
    assert alarms(stream, runs=300) >= least


def alarms_of_one(bound: float, p: float, size: int, count: int, runs: int = RUNS) -> float:
    random, found = Random(1), 0
    for _ in range(runs):
        test = OneProportion(bound)
        for _ in range(count):
            test = test.after(outcomes(random, size, p))
            if test.log_e >= ALARM:
                found += 1
                break
    return found / runs


@pytest.mark.parametrize(("bound", "size", "count"), [(0.05, 2, 80), (0.05, 20, 30), (0.3, 5, 40), (0.002, 50, 40)])
def test_who_keeps_to_the_bound_is_seldom_condemned(bound: float, size: int, count: int) -> None:
    assert alarms_of_one(bound, bound, size, count) <= ALPHA


@pytest.mark.parametrize(
    ("bound", "p", "size", "count", "least"),
    [(0.05, 0.2, 1, 100, 0.95), (0.05, 0.2, 100, 1, 0.95), (0.05, 0.5, 1, 20, 0.97), (0.05, 1.0, 1, 2, 1.0)],
)
def test_who_is_above_the_bound_is_found(bound: float, p: float, size: int, count: int, least: float) -> None:
    assert alarms_of_one(bound, p, size, count, 200) >= least
