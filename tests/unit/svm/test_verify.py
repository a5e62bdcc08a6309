"""What the verifier finds: shapes of blocks, depths, limits. What it refuses stands in the conformance corpus."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from eyeflow.svm import program as p
from eyeflow.svm.container import ProgramError
from eyeflow.svm.opcodes import Op, TimerKind
from eyeflow.svm.verify import Branch, compute_limits, verify

CONFORMANCE = str(Path(__file__).parents[2] / "conformance")
if CONFORMANCE not in sys.path:
    sys.path.insert(0, CONFORMANCE)

from assembler import LETTERS, Code, Handler, assemble, text  # noqa: E402

IF_ELSE: Code = [
    (Op.LOAD, 0),
    (Op.BRANCH, 4),
    (Op.PUSH_INT, 1),
    (Op.JUMP, 6),
    (Op.PUSH_INT, 2),
    (Op.NEG_I,),
    (Op.POP,),
    (Op.RETURN,),
]


def test_shapes_of_branches_and_loops() -> None:
    verified = verify(assemble([Handler("B", IF_ELSE)]))
    assert dict(verified.branches) == {1: Branch(4, 6)}
    assert list(verified.depths) == [0, 1, 0, 1, 0, 1, 1, 0]
    code = [(Op.LOAD, 0), (Op.BRANCH, 5), (Op.PUSH_INT, 2), (Op.LOOP, 2), (Op.END_LOOP, 4), (Op.RETURN,)]
    verified = verify(assemble([Handler("B", code)]))
    assert dict(verified.branches) == {1: Branch(None, 5)}
    assert dict(verified.loops) == {3: 4}


def test_fuel_takes_the_larger_arm() -> None:
    program = assemble([Handler("B", IF_ELSE)])
    # LOAD, BRANCH, then PUSH + JUMP = 2 or PUSH + NEG = 2, POP, RETURN
    assert program.limits.fuel_max == 1 + 1 + 2 + 1 + 1
    longer = [*IF_ELSE[:5], (Op.DUP,), (Op.DIV_I,), (Op.POP,), (Op.RETURN,)]
    code = [(op, 7) if op in (Op.JUMP,) else (op, *rest) for op, *rest in longer]
    assert assemble([Handler("B", code)]).limits.fuel_max == 1 + 1 + (1 + 1 + 2) + 1 + 1


def test_loops_multiply_and_handlers_take_the_worst() -> None:
    loop = [(Op.PUSH_INT, 3), (Op.LOOP, 5), (Op.PUSH_INT, 1), (Op.CALL_ACTION, 0), (Op.END_LOOP, 2), (Op.RETURN,)]
    site = p.Site(p.SiteKind.ACT, "a.b", (("x", LETTERS["I"]),), cost=7)
    verified = verify(
        assemble(
            [Handler("", [(Op.RETURN,)]), Handler("", [(op, *_shifted(rest, 1, op)) for op, *rest in loop])],
            sites=[site],
        )
    )
    assert verified.handler_fuel == (1, 1 + 2 + 5 * (1 + 8 + 2) + 1)
    limits = verified.program.limits
    assert (limits.fuel_max, limits.actions_max) == (59, 5)
    assert (limits.block_depth_max, limits.loop_depth_max, limits.stack_max) == (1, 1, 1)


def _shifted(operands: list[int], by: int, op: int) -> list[int]:
    return [value + by for value in operands] if op == Op.END_LOOP else operands


def test_memory_and_scratch_limits() -> None:
    code = [(Op.LOAD, 0), (Op.TEXT_I,), (Op.LOAD, 0), (Op.TEXT_D,), (Op.CONCAT, 50), (Op.STORE, 1), (Op.LOAD_RESOURCE, 0), (Op.POP,),
            (Op.RETURN,)]  # fmt: skip
    site = p.Site(p.SiteKind.READ, "a.b", (), text(33))
    limits = assemble([Handler("I", code)], state=[text(12), "F"], timers=[(TimerKind.MEAN, 3)], sites=[site]).limits
    assert limits.scratch_bytes == 20 + 22 + 50 + 33
    assert limits.state_bytes == 8 * (2 + 2 + 6) + 2 + 12
    assert (limits.reads_max, limits.emits_max, limits.llm_max) == (1, 0, 0)
    assert limits.fuel_max == 1 + 20 + 1 + 24 + 52 + 1 + 1 + 1 + 1


def test_mcu_has_smaller_texts_and_fewer_slots() -> None:
    program = assemble([Handler("", [(Op.RETURN,)])], state=[text(256)])
    verify(program)
    with pytest.raises(ProgramError, match="a text limit of 256 bytes"):
        verify(replace(program, profile=p.Profile.MCU))
    many = assemble([Handler("", [(Op.RETURN,)])], state="I" * 513)
    with pytest.raises(ProgramError, match="513 slots"):
        verify(replace(many, profile=p.Profile.MCU))


def test_a_handler_names_only_its_own_inputs() -> None:
    own = [(Op.LOAD, 1), (Op.POP,), (Op.RETURN,)]
    verify(assemble([Handler("I", [(Op.RETURN,)]), Handler("I", own)]))
    with pytest.raises(ProgramError, match=r"instruction 1 \(LOAD\): slot 0 is an input of another trigger"):
        assemble([Handler("I", [(Op.RETURN,)]), Handler("I", [(Op.LOAD, 0), *own[1:]])])


def test_declared_limits_must_be_the_proven_ones() -> None:
    program = assemble([Handler("B", IF_ELSE)])
    assert compute_limits(program) == program.limits
    for change in (1, -1):
        lied = replace(program, limits=replace(program.limits, fuel_max=program.limits.fuel_max + change))
        with pytest.raises(ProgramError, match="fuel_max is declared as"):
            verify(lied)
