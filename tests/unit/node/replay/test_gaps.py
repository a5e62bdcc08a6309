"""How much time may lie between two events of a recording."""

from __future__ import annotations

from datetime import UTC

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.node.replay.gaps import FIRINGS_MAX, GapGuard
from eyeflow.svm.program import Trigger, TriggerKind

DAY_US = 86_400_000_000
START_US = 1_772_344_800_000_000


def every(period_us: int) -> Trigger:
    return Trigger(TriggerKind.EVERY, "", "", period_us, "", (), None, 0, 0, 1)


def cron(expression: str) -> Trigger:
    return Trigger(TriggerKind.CRON, "", expression, 0, "", (), None, 0, 0, 1)


@pytest.mark.parametrize(
    ("trigger", "days"), [(every(1_000_000), 110), (every(100_000), 11), (cron("* * * * *"), 6900), (cron("0 6 * * *"), 900_000)]
)  # fmt: skip
def test_a_long_pause_is_no_wrong_time(trigger: Trigger, days: int) -> None:
    GapGuard([trigger], UTC).check("line 2", START_US, START_US + days * DAY_US)


@pytest.mark.parametrize(
    ("triggers", "days"),
    [([every(1_000_000)], 120), ([every(100_000)], 12), ([cron("* * * * * *")], 120), ([cron("* * * * *")], 7000),
     ([every(1_000_000), every(1_000_000)], 60)],
)  # fmt: skip
def test_more_work_than_the_bound_is_refused(triggers: list[Trigger], days: int) -> None:
    with pytest.raises(EyeflowError, match=f"line 2 lies {days} days after") as refused:
        GapGuard(triggers, UTC).check("line 2", START_US, START_US + days * DAY_US)
    assert f"at most {FIRINGS_MAX:,}" in refused.value.cause


def test_a_rule_without_timers_knows_no_gap() -> None:
    GapGuard([], UTC).check("line 2", 0, START_US)


def test_many_gaps_below_the_bound_are_told_while_they_add_up() -> None:
    told: list[str] = []
    guard, time_us = GapGuard([every(500_000)], UTC, told.append), START_US
    for line in range(2, 102):
        guard.check(f"line {line}", time_us, time_us + 40 * DAY_US)  # 6,912,000 firings each, within the bound
        time_us += 40 * DAY_US
    assert told[0].startswith("line 3 lies 40d after") and "13,824,000 times" in told[0]
    assert 5 <= len(told) <= 8, "at each doubling, so that the notes do not add up, too"


def test_the_gaps_of_an_ordinary_recording_are_not_told() -> None:
    told: list[str] = []
    guard, time_us = GapGuard([every(500_000)], UTC, told.append), START_US
    for line in range(1000):
        guard.check(f"line {line}", time_us, time_us + 3_600_000_000)
        time_us += 3_600_000_000
    assert told == []
