"""Instances: parameters checked, time that never goes back, state that survives restarts and new versions."""

from __future__ import annotations

import math
import random
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.svm import program as p
from eyeflow.svm.container import ProgramError
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.instance import Instance, default_machine
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.layout import state_slots
from eyeflow.svm.opcodes import Op, TimerKind
from eyeflow.svm.verify import compute_limits, verify
from eyeflow.svm.wire import Writer
from eyeflow.svm.wire_types import write_value
from generators.compare import exact_all, exact_execution
from generators.programs import SeededHost, random_program, random_state, random_steps

CONFORMANCE = str(Path(__file__).parents[2] / "conformance")
if CONFORMANCE not in sys.path:
    sys.path.insert(0, CONFORMANCE)

from assembler import ENUM, LETTERS, Handler, assemble, list_of, text  # noqa: E402

POINT = p.Type(p.TypeTag.RECORD, name="Point", fields=(("x", LETTERS["I"]), ("name", text(4))))
POINTS = p.Type(p.TypeTag.LIST, size=2, element=POINT)
DURATION = p.Type(p.TypeTag.DURATION)


class NoHost:
    def read(self, site: int, args: tuple[p.Value, ...]) -> p.Value:
        raise AssertionError("this program reads nothing")


def counter(*names: str, kind: str = "I", timers: Any = (), code_tail: Any = ()) -> p.Program:
    """Return a program that adds 1 to its first int state variable at each event and stores the time in a local."""
    code = [(Op.LOAD, 0), (Op.PUSH_INT, 1), (Op.ADD_I,), (Op.STORE, 0), *code_tail, (Op.RETURN,)]
    program = assemble([Handler("", code)], state="I" + kind, timers=timers)
    state = tuple(replace(variable, name=name) for variable, name in zip(program.state, names, strict=True))
    return replace(program, state=state)


def with_params() -> p.Program:
    types = ["F", "I", "B", DURATION, ENUM, text(4)]
    program = assemble([Handler("", [(Op.RETURN,)])], params=types)
    names = ("limit", "count", "on", "wait", "mode", "label")
    bounds: dict[str, dict[str, p.Value]] = {
        "limit": {"default": 80.0, "low": 20.0, "high": 120.0},
        "count": {"low": 0},
    }
    params = tuple(
        replace(param, name=name, **bounds.get(name, {})) for param, name in zip(program.params, names, strict=True)
    )
    return replace(program, params=params)


def test_parameters_are_taken_in_the_forms_people_write() -> None:
    verified = verify(with_params())
    instance = Instance(verified, {"limit": 90, "wait": "1h30min", "mode": "HEAT", "label": "ab", "on": True})
    assert instance.params == [90.0, 0, True, 5_400_000_000, 1, "ab"]
    assert type(instance.params[0]) is float
    instance.set_params({"wait": "-2s", "mode": 2})
    assert instance.params[3:5] == [-2_000_000, 2]
    assert Instance(verified).params == [80.0, 0, False, 0, 0, ""]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("limit", 19.9, "is below 20.0"),
        ("limit", 120.1, "is above 120.0"),
        ("limit", float("nan"), "is below"),
        ("limit", "80", "is no float"),
        ("limit", True, "is no float"),
        ("count", -1, "is below 0"),
        ("count", 1.0, "is no int"),
        ("count", 2**63, "does not fit 64 bits"),
        ("on", 1, "is no bool"),
        ("wait", "soon", "is not a duration"),
        ("mode", "HAET", "is none of OFF, HEAT, COOL"),
        ("mode", 3, "is no member"),
        ("label", "äöü", "is longer than 4"),
        ("limt", 1.0, "there is no parameter `limt`"),
    ],
)
def test_a_wrong_parameter_is_refused_and_changes_nothing(name: str, value: p.Value, message: str) -> None:
    instance = Instance(verify(with_params()))
    before = list(instance.params)
    with pytest.raises(EyeflowError, match=message) as caught:
        instance.set_params({"on": True, name: value} if name != "on" else {name: value})
    assert caught.value.exit_code is ExitCode.PROBLEMS
    assert instance.params == before
    if name in ("limt", "mode") and isinstance(value, (str, float)):
        assert "Did you mean" in caught.value.next_step


def test_time_never_goes_back() -> None:
    code = [(Op.NOW,), (Op.STORE, 0), (Op.RETURN,)]
    instance = Instance(verify(assemble([Handler("", code)], state="I")))
    seen = []
    for time_us in (5, 9, 3, 9, 10):
        instance.step(0, (), time_us, 0, NoHost())
        seen.append(instance.state[0])
    assert seen == [5, 9, 9, 9, 10]


def test_default_machine_is_the_fast_path_and_agrees_with_the_reference() -> None:
    rng = random.Random(3)
    for _ in range(30):
        verified = verify(random_program(rng))
        assert isinstance(default_machine(verified), FastMachine)
        state = random_state(rng, verified.program)
        fast = Instance(verified, state=state)
        plain = Instance(verified, state=state, machine=Interpreter(verified))
        for step in random_steps(rng, verified.program):
            results = [
                exact_execution(
                    each.step(step.trigger, step.inputs, step.time_us, step.utc_offset_us,
                              SeededHost(verified.program, step.host_seed))
                )
                for each in (fast, plain)
            ]  # fmt: skip
            assert results[0] == results[1]
        assert fast.state_bytes() == plain.state_bytes()


def test_state_survives_as_bytes() -> None:
    rng = random.Random(4)
    for _ in range(60):
        verified = verify(random_program(rng))
        before = Instance(verified, state=random_state(rng, verified.program))
        before.last_time_us = 77
        after = Instance(verified)
        after.load_state_bytes(before.state_bytes())
        assert exact_all(after.state) == exact_all(before.state)
        assert after.last_time_us == 77
        assert after.state_bytes() == before.state_bytes()


def slot_by_slot(instance: Instance) -> bytes:
    """The definition of the encoding: format, time, count, then type and value of each slot, one after the other."""
    out, slots = Writer(), state_slots(instance.program)
    out.pack("BqH", 1, instance.last_time_us, len(slots))
    for slot, value in zip(slots, instance.state, strict=True):
        out.pack("B", slot.type)
        write_value(out, slot, value)
    return bytes(out.buffer)


def test_state_is_packed_as_slot_by_slot() -> None:
    rng = random.Random(5)
    kinds = set()
    for _ in range(300):
        verified = verify(random_program(rng))
        instance = Instance(verified, state=random_state(rng, verified.program))
        for _ in range(3):  # what the packer keeps between two calls must not leak
            instance.state[:] = random_state(rng, verified.program)
            instance.last_time_us = rng.randrange(2**62)
            assert instance.state_bytes() == slot_by_slot(instance)
        kinds |= {
            (slot.type, type(value)) for slot, value in zip(state_slots(verified.program), instance.state, strict=True)
        }
    assert len(kinds) == 4, "ints, floats, bools and texts were among them"


@pytest.mark.parametrize("value", [-math.nan, struct.unpack("<d", b"\1" * 6 + b"\xf8\x7f")[0], -0.0, math.inf])
def test_every_nan_is_packed_as_the_one_nan(value: float) -> None:
    instance = Instance(verify(counter("a", "b", kind="F")), state=[1, 0.5])
    instance.state[1] = value
    assert instance.state_bytes() == slot_by_slot(instance)


def test_broken_state_bytes_are_refused_and_change_nothing() -> None:
    verified = verify(counter("a", "b", kind="T"))
    instance = Instance(verified, state=[1, "hot"])
    data = instance.state_bytes()
    other = Instance(verify(counter("a", "b", kind="F")), state=[1, 0.5]).state_bytes()
    for broken in (b"", data[:-1], data + b"\0", b"\x02" + data[1:], other, data[:-1] + b"\xff"):
        with pytest.raises(ProgramError):
            instance.load_state_bytes(broken)
    assert instance.state == [1, "hot"]


def test_a_state_of_another_shape_is_refused() -> None:
    verified = verify(counter("a", "b"))
    for state in ([1], [1, 2, 3], [1, 2.0], [True, 1]):
        with pytest.raises(EyeflowError):
            Instance(verified, state=state)


def test_a_new_version_adopts_variables_by_name_and_type() -> None:
    old = Instance(verify(counter("trips", "peak", kind="F")), state=[41, 99.5])
    old.last_time_us = 1000
    new = Instance(verify(counter("trips", "other", kind="F")))
    new.adopt(old)
    assert new.state == [41, 0.0]
    retyped = Instance(verify(counter("trips", "peak", kind="I")))
    retyped.adopt(old)
    assert retyped.state == [41, 0]
    retyped.step(0, (), 5, 0, NoHost())
    assert (retyped.state[0], retyped.last_time_us) == (42, 1000)


def test_lists_and_records_are_adopted_whole_and_shown_structured() -> None:
    def program(first: p.Type) -> p.Program:
        return assemble([Handler("", [(Op.RETURN,)])], state=[first, POINTS, ENUM])

    values = [7, 2, 10, 20, "a", "b", 1]
    old = Instance(verify(program(LETTERS["I"])), state=values)
    assert old.state_values() == {"s0": 7, "s1": [{"x": 10, "name": "a"}, {"x": 20, "name": "b"}], "s2": "HEAT"}
    new = Instance(verify(program(list_of("F", 3))))
    new.adopt(old)
    assert new.state == [0, 0.0, 0.0, 0.0, *values[1:]]
    assert new.state_values()["s0"] == []


def test_memory_of_time_words_goes_over_only_with_the_same_code() -> None:
    timers = [(TimerKind.HOLD, 0)]
    tail = [(Op.PUSH_BOOL, 1), (Op.PUSH_INT, 5), (Op.EVAL, 0), (Op.POP,)]
    program = counter("a", "b", timers=timers, code_tail=tail)
    old = Instance(verify(program))
    old.step(0, (), 100, 0, NoHost())
    assert old.state == [1, 0, 100]
    same = Instance(verify(replace(program, version="2", sequence=9)))
    same.adopt(old)
    assert same.state == [1, 0, 100]
    changed = replace(program, code=(*program.code[:1], p.Instruction(Op.PUSH_INT, 0, 2), *program.code[2:]))
    other = Instance(verify(replace(changed, limits=compute_limits(changed))))
    other.adopt(old)
    assert other.state == [1, 0, -(2**63)]
