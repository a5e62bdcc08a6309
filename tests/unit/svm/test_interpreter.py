"""The interpreter beyond the conformance corpus: the branch trace, and that it keeps nothing between executions."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from eyeflow.svm import program as p
from eyeflow.svm.execution import CapabilityFailure, Outcome
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.opcodes import Op, Trap
from eyeflow.svm.verify import verify

CONFORMANCE = str(Path(__file__).parents[2] / "conformance")
if CONFORMANCE not in sys.path:
    sys.path.insert(0, CONFORMANCE)

from assembler import LETTERS, Handler, assemble  # noqa: E402


class Answers:
    def __init__(self, *values: p.Value | None) -> None:
        self.values = list(values)
        self.asked: list[tuple[int, tuple[p.Value, ...]]] = []

    def read(self, site: int, args: tuple[p.Value, ...]) -> p.Value:
        self.asked.append((site, args))
        value = self.values.pop(0)
        if value is None:
            raise CapabilityFailure("no")
        return value


def test_trace_reports_each_branch_with_its_condition() -> None:
    code = [(Op.LOAD, 0), (Op.BRANCH, 5), (Op.LOAD, 1), (Op.BRANCH, 4), (Op.JUMP, 5), (Op.RETURN,)]
    seen: list[tuple[int, bool]] = []
    machine = Interpreter(verify(assemble([Handler("BB", code)])), trace=lambda pc, taken: seen.append((pc, taken)))
    for inputs in ((True, False), (False, True)):
        machine.run(0, 0, 0, (), inputs, [], Answers())
    assert seen == [(1, True), (3, False), (1, False)]


def test_answers_are_recorded_also_when_the_execution_fails() -> None:
    site = p.Site(p.SiteKind.READ, "adc.read", (("channel", LETTERS["I"]),), LETTERS["F"])
    code = [
        (Op.PUSH_INT, 3),
        (Op.LOAD_RESOURCE, 0),
        (Op.POP,),
        (Op.PUSH_INT, 4),
        (Op.LOAD_RESOURCE, 0),
        (Op.POP,),
        (Op.RETURN,),
    ]
    machine = Interpreter(verify(assemble([Handler("", code)], sites=[site])))
    host = Answers(1.5, None)
    execution = machine.run(0, 0, 0, (), (), [], host)
    assert execution.outcome is Outcome.TRAPPED
    assert host.asked == [(0, (3,)), (0, (4,))]
    assert [(answer.args, answer.value) for answer in execution.answers] == [((3,), 1.5), ((4,), None)]


def test_more_fuel_than_proven_is_trapped_as_a_bug() -> None:
    """The last line of defence: a Verified that nobody proved."""
    verified = verify(assemble([Handler("", [(Op.PUSH_INT, 1), (Op.POP,), (Op.RETURN,)])]))
    limits = replace(verified.program.limits, fuel_max=2)
    forged = replace(verified, program=replace(verified.program, limits=limits))
    execution = Interpreter(forged).run(0, 0, 0, (), (), [], Answers())
    assert execution.outcome is Outcome.TRAPPED
    assert execution.trap is not None
    assert (execution.trap.code, execution.trap.pc) == (Trap.FUEL_EXHAUSTED, 2)


def test_nothing_is_kept_between_executions() -> None:
    code = [(Op.LOAD, 1), (Op.PUSH_INT, 1), (Op.ADD_I,), (Op.DUP,), (Op.STORE, 1), (Op.STORE, 0), (Op.RETURN,)]
    machine = Interpreter(verify(assemble([Handler("", code)], state="I", local="I")))
    state: list[p.Value] = [0]
    for _ in range(3):
        machine.run(0, 0, 0, (), (), state, Answers())
        assert state == [1]
