"""What the simulation asks of verdicts: no more than what they can see."""

from __future__ import annotations

import pytest

from simulation.judgement import check_passed
from simulation.programs import BAD, programs
from simulation.records import BrokenPromise


def passed(kind: str, count: int) -> dict[str, object]:
    """A deployment of a bad program that passed after so many executions, watched for 5 s."""
    options = {"observeS": 5, "samplesMin": 100}
    node = {"node": "a", "previous": []}
    shown = {"id": "d", "strategy": "canary", "state": "succeeded", "options": options, "nodes": [node]}
    return shown | {"changes": [{"programId": programs()[BAD[kind]].id}], "verdict": {"executions": count}}


def test_late_timers_among_many_events_may_pass() -> None:
    """Of a timer each 500 ms whose model thinks for 1.6 s six come late in 5 s: 6 of 122 are not more than 5 %."""
    check_passed(passed("late", 122), {})


@pytest.mark.parametrize(("kind", "count"), [("late", 20), ("late", 0), ("traps", 122), ("fails", 122)])
def test_other_bad_programs_may_not(kind: str, count: int) -> None:
    with pytest.raises(BrokenPromise, match=f"a program that {kind} passed"):
        check_passed(passed(kind, count), {})
