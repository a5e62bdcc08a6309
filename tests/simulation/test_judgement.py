"""What the simulation asks of verdicts: no more than what they can see."""

from __future__ import annotations

import pytest

from eyeflow.protocol.audit import Record
from eyeflow.protocol.audit_bodies import Body, Disposition, ExecutionBody, InstallBody, SlotBody, SlotChange
from simulation.judgement import check_passed, check_state
from simulation.programs import BAD, programs
from simulation.records import BrokenPromise, Chain

GOOD, OTHER = bytes.fromhex(programs()[0].id), b"o" * 32


def passed(kind: str, count: int, beside: int = 0, least: int = 100) -> dict[str, object]:
    """A deployment of a bad program that passed after so many executions, watched for 5 s, of which `least` were asked.

    The active program had `beside` executions at the same time, and none of them failed.
    """
    told = f"1 of {count} executions failed; the active program: 0 of {beside}" if beside else ""
    verdict = {"executions": count, "executionsBefore": beside, "failuresBefore": 0, "reason": told}
    options = {"observeS": 5, "samplesMin": least}
    node = {"node": "a", "previous": []}
    shown = {"id": "d", "strategy": "canary", "state": "succeeded", "options": options, "nodes": [node]}
    return shown | {"changes": [{"programId": programs()[BAD[kind]].id}], "verdict": verdict}


def thinks(times: int) -> dict[str, Chain]:
    """The chain of a node on which the program that is late asked its model so often."""
    program = bytes.fromhex(programs()[BAD["late"]].id)
    install = InstallBody("pump", program, "1.0.0", "d", 1)
    asks = ExecutionBody("pump", program, 0, 0, 0, 0, answers=((0, (), "CALM"),))
    event = ExecutionBody("pump", program, 1, 0, 0, 0)
    return {"a": chain(install, *[asks] * times, *[event] * 200)}


def test_late_timers_among_many_events_may_pass() -> None:
    """Of a timer each 500 ms whose model thinks for 1.6 s six come late in 5 s: 6 of 122 are not more than 5 %."""
    check_passed(passed("late", 122), thinks(4))
    with pytest.raises(BrokenPromise, match="a program that late passed"):
        check_passed(passed("late", 20, least=1), thinks(4))


def test_of_a_node_that_told_little_before_it_went_away_few_timers_are_late() -> None:
    check_passed(passed("late", 38, least=1), thinks(1))
    check_passed(passed("late", 38, least=1), {})


def test_one_failure_among_three_executions_may_be_chance() -> None:
    """A program that spoils its state fails from the third execution on."""
    check_passed(passed("spoils", 3), {})


def test_three_failures_of_five_beside_five_of_the_active_program_may_be_chance() -> None:
    """Of ten executions three failed: that all of them are of one side has the probability 1/12."""
    check_passed(passed("spoils", 5, beside=5), {})
    with pytest.raises(BrokenPromise, match="a program that spoils passed"):
        check_passed(passed("spoils", 5, beside=50), {})


@pytest.mark.parametrize(("kind", "count"), [("spoils", 4), ("spoils", 122), ("traps", 122), ("fails", 122)])
def test_other_bad_programs_may_not(kind: str, count: int) -> None:
    with pytest.raises(BrokenPromise, match=f"a program that {kind} passed"):
        check_passed(passed(kind, count), {})


def chain(*bodies: Body) -> Chain:
    return Chain(tuple(Record("a", 1, seq, b"", 0, body) for seq, body in enumerate(bodies, 1)), ())


def sets(level: int) -> ExecutionBody:
    """An execution that sets the pin to a level."""
    return ExecutionBody("pump", GOOD, 0, 0, 0, 0, (1,), (), ((1, (17, level), int(Disposition.SENT)),))


def slot(change: SlotChange, program: bytes, replaced: bytes | None = None) -> SlotBody:
    return SlotBody("pump", int(change), program, replaced)


def test_a_program_goes_on_with_the_memory_that_it_had() -> None:
    back = slot(SlotChange.ROLLED_BACK, GOOD, OTHER)
    check_state(chain(sets(1), sets(0), back, sets(1)))
    with pytest.raises(BrokenPromise, match="pump forgot at record 3"):
        check_state(chain(sets(1), back, sets(1)))


def test_what_it_saw_while_it_only_watched_is_gone_with_its_place_beside() -> None:
    """It comes back as the last known good, as it was when it acted last."""
    dropped, back = slot(SlotChange.DROPPED, GOOD), slot(SlotChange.ROLLED_BACK, GOOD, OTHER)
    check_state(chain(sets(1), dropped, back, sets(1)))
