"""The fast path on programs of extreme shape: as deep, as wide and as long as the verifier lets through."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from eyeflow.svm import fast
from eyeflow.svm.execution import Execution
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.fast_code import Pool
from eyeflow.svm.fast_flow import Handler
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.opcodes import Op
from eyeflow.svm.program import (
    Instruction,
    Limits,
    MemorySlot,
    Priority,
    Profile,
    Program,
    Regions,
    StateVariable,
    Trigger,
    TriggerKind,
    Type,
    TypeTag,
    Value,
    ValueType,
)
from eyeflow.svm.verify import Verified, compute_limits, verify
from generators.compare import exact_all, exact_execution

CONSTANTS: tuple[Value, ...] = (0.1, 1.5, "a", 2**40)
INT, FLOAT, TEXT = Type(TypeTag.INT), Type(TypeTag.FLOAT), Type(TypeTag.TEXT, size=8)
STATE = (
    StateVariable("a", INT, 0, (0,)),
    StateVariable("b", INT, 1, (0,)),
    StateVariable("c", FLOAT, 2, (0.0,)),
    StateVariable("d", TEXT, 3, ("",)),
)


def ins(op: Op, a: int = 0, b: int = 0) -> Instruction:
    return Instruction(int(op), a, b & 0xFFFF)


def proven(code: list[Instruction]) -> Verified:
    """Return a program of one handler with two int slots, a float and a text in its state."""
    code = [*code, ins(Op.RETURN)]
    trigger = Trigger(TriggerKind.EVERY, "", "", 1000, "", (), None, 0, 0, len(code))
    slots = (
        MemorySlot(ValueType.INT),
        MemorySlot(ValueType.INT),
        MemorySlot(ValueType.FLOAT),
        MemorySlot(ValueType.TEXT, 8),
    )
    program = Program(
        "shape", "1", "", Priority.NORMAL, Profile.LINUX, "", 1, Limits(*[0] * 10), Regions(0, 0, 4, 0), slots,
        CONSTANTS, (), (), tuple(code), (), (), (), STATE, (trigger,),
    )  # fmt: skip
    return verify(replace(program, limits=compute_limits(program)))


class Nothing:
    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        raise AssertionError("these programs read nothing")


def both(verified: Verified, start: tuple[Value, ...] = (0, 0, 0.0, "")) -> tuple[Execution, list[Value]]:
    """Run on both machines, compare, and return the result and the state."""
    found = []
    for machine in (Interpreter(verified), FastMachine(verified)):
        state = list(start)
        found.append((machine.run(0, 5, 0, (), (), state, Nothing()), state))
    (expected, expected_state), (execution, state) = found
    assert exact_execution(execution) == exact_execution(expected)
    assert exact_all(state) == exact_all(expected_state)
    return execution, state


def add(slot: int, amount: int) -> list[Instruction]:
    return [ins(Op.LOAD, b=slot), ins(Op.PUSH_INT, b=amount), ins(Op.ADD_I), ins(Op.STORE, b=slot)]


def nested(start: int, depth: int, body: Callable[[int], list[Instruction]]) -> list[Instruction]:
    """Return `depth` branches in each other, alternately with and without an else arm; code starts at `start`."""
    if depth == 0:
        return body(start)
    inner = nested(start + 2, depth - 1, body)
    otherwise = add(1, 1) if depth % 2 else []
    jump = [ins(Op.JUMP, b=start + 3 + len(inner) + len(otherwise))] if otherwise else []
    branch = ins(Op.BRANCH, b=start + 2 + len(inner) + len(jump))
    return [ins(Op.PUSH_BOOL, a=1), branch, *inner, *jump, *otherwise]


def test_sixty_four_branches_deep() -> None:
    _, state = both(proven(nested(0, 64, lambda _: add(0, 7))))
    assert state[0] == 7


def test_eight_loops_around_fifty_six_branches() -> None:
    heads: list[Instruction] = []
    starts = []
    for _ in range(8):
        heads += [ins(Op.PUSH_INT, b=2), ins(Op.LOOP, b=2)]
        starts.append(len(heads))
    code = heads + nested(len(heads), 56, lambda _: add(0, 1))
    code += [ins(Op.END_LOOP, b=start) for start in reversed(starts)]
    _, state = both(proven(code))
    assert state[0] == 2**8


def test_a_chain_of_two_hundred_else_ifs() -> None:
    code: list[Instruction] = []
    jumps = []
    for value in range(200):
        head = [ins(Op.LOAD, b=0), ins(Op.PUSH_INT, b=value), ins(Op.EQ_I)]
        arm = [ins(Op.PUSH_INT, b=value), ins(Op.STORE, b=1)]
        code += [*head, ins(Op.BRANCH, b=len(code) + 6), *arm]
        jumps.append(len(code))
    for start in (0, 57, 199):
        _, state = both(proven(code), (start, -1, 0.0, ""))
        assert state[1] == start


def test_an_expression_of_eight_thousand_operations() -> None:
    code = [ins(Op.CONST, b=0)]
    for _ in range(4_000):
        code += [ins(Op.CONST, b=1), ins(Op.MUL_F), ins(Op.CONST, b=0), ins(Op.ADD_F)]
    both(proven([*code, ins(Op.STORE, b=2)]))


def test_a_full_stack() -> None:
    code = [ins(Op.LOAD, b=0) for _ in range(64)] + [ins(Op.ADD_I)] * 63 + [ins(Op.STORE, b=0)]
    _, state = both(proven(code), (3, 0, 0.0, ""))
    assert state[0] == 192


@pytest.mark.parametrize("limit", [fast.HANDLER_INSTRUCTIONS_MAX, 10**6])
def test_the_longest_program(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """65,535 instructions: on the interpreter by our own limit, and compiled when that is lifted."""
    monkeypatch.setattr(fast, "HANDLER_INSTRUCTIONS_MAX", limit)
    verified = proven(add(0, 1) * 16_383)
    machine = FastMachine(verified)
    state: list[Value] = [0, 0, 0.0, ""]
    execution = machine.run(0, 0, 0, (), (), state, Nothing())
    assert state[0] == 16_383
    assert execution.fuel == 4 * 16_383 + 1


def test_a_value_waits_on_the_stack_while_its_slot_changes() -> None:
    """LOAD a, then STORE a in an arm, then use the loaded value: it must be the old one."""
    code = [ins(Op.LOAD, b=0), ins(Op.PUSH_BOOL, a=1), ins(Op.BRANCH, b=5), *add(0, 10)[1:2], ins(Op.STORE, b=0)]
    code += [ins(Op.LOAD, b=0), ins(Op.ADD_I), ins(Op.STORE, b=1)]
    _, state = both(proven(code), (3, 0, 0.0, ""))
    assert state[:2] == [10, 13]


def test_a_trap_in_the_second_trip_leaves_the_state() -> None:
    code = [ins(Op.PUSH_INT, b=3), ins(Op.LOOP, b=3), *add(1, 1), ins(Op.LOAD, b=0), ins(Op.CONST, b=3), ins(Op.MUL_I)]
    code += [ins(Op.STORE, b=0), ins(Op.END_LOOP, b=2)]
    execution, state = both(proven(code), (2**20, 0, 0.0, ""))
    assert execution.trap is not None
    assert state == [2**20, 0, 0.0, ""]


@pytest.mark.parametrize(
    ("op", "x", "y"),
    [
        (op, x, y)
        for op in (Op.ADD_I, Op.SUB_I, Op.MUL_I, Op.DIV_I, Op.MOD_I, Op.MIN_I, Op.MAX_I, Op.SHL_I, Op.SHR_I)
        for x in (-(2**63), -7, -1, 0, 1, 7, 2**63 - 1)
        for y in (-(2**63), -2, -1, 0, 1, 3, 63, 64, 2**63 - 1)
    ],
)
def test_ints_at_the_limits(op: Op, x: int, y: int) -> None:
    both(proven([ins(Op.LOAD, b=0), ins(Op.LOAD, b=1), ins(op), ins(Op.STORE, b=0)]), (x, y, 0.0, ""))


def test_checks_that_cannot_fail_are_not_written() -> None:
    """A small int plus a small int fits; only the counter can overflow, and only upward."""
    small = [ins(Op.PUSH_INT, b=3), ins(Op.PUSH_INT, b=4), ins(Op.ADD_I), ins(Op.STORE, b=1)]
    verified = proven([*small, *add(0, 1)])
    source = Handler(verified, verified.program.triggers[0], Pool()).source()
    assert source.count("return R(") == 1
    assert str(-(2**63)) not in source


def test_the_generated_function_reaches_no_builtins() -> None:
    machine = FastMachine(proven(add(0, 1)))
    handler = machine.handler(0)
    assert handler.__globals__["__builtins__"] == {}  # type: ignore[attr-defined]
    assert not {"open", "eval", "exec", "getattr", "__import__"} & set(handler.__globals__)  # type: ignore[attr-defined]


def test_recursion_stays_within_pythons_limit() -> None:
    """Building needs little of the recursion limit: a node calls it deep within its own stack."""
    verified = proven(nested(0, 64, lambda _: add(0, 7)))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(_depth() + 400)
    try:
        FastMachine(verified)
    finally:
        sys.setrecursionlimit(limit)


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
