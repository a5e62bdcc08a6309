"""Typed test blocks: every step is evaluated, placed, and conditions run as programs of their own."""

from __future__ import annotations

from eyeflow.compiler import testplan as plan
from eyeflow.compiler.compile import compile_rule
from eyeflow.compiler.testplan import evaluate_that, show_value
from eyeflow.svm.opcodes import Trap
from eyeflow.svm.timers import initial_state
from eyeflow.svm.verify import verify
from generators.running import SECOND_US, wrapped

BODY = """
enum Mode { OFF, HEAT }
record Reading { temp: float, mode: Mode = HEAT, tags: list(int, 2) = [] }
pin LAMP: output
pin DOOR: input
param limit: float = 80.0 in 0.0..100.0
state trips: int = 4
state modes: Mode = HEAT
state temps: list(float, 3) = [1.0, 2.0]
state name: text(9) = "abc"
on event "r" as reading: Reading {
    if reading.temp > limit and gpio.read_pin(DOOR) == HIGH for 2s {
        gpio.set_pin(LAMP, HIGH)
        mqtt.publish("a", "{reading.mode} {len(reading.tags)}")
        emit hot(temp: reading.temp, mode: reading.mode)
    }
    trips = trips + 1
}
test "steps" {
    given time "2026-03-01 06:00"
    given gpio.read_pin(DOOR) = HIGH
    given gpio.read_pin(pin: DOOR) fails
    given limit = 70
    send { temp: 81 }
    send reading { temp: 81.5, mode: OFF, tags: [7] }
    after 2s expect gpio.set_pin(LAMP, HIGH)
    expect no mqtt.publish("a")
    expect 2 times mqtt.publish(payload: "x")
    expect emit hot(mode: OFF)
    expect no actions
    expect trap
    at 3s expect trips == 2 + 2
    expect sum(temps) > limit and len(name) == 3
    expect 1 / (trips - 4) == 1
    expect modes == HEAT
}
"""


def steps() -> tuple[plan.Step, ...]:
    result = compile_rule(wrapped(BODY), name="x")
    assert result.diagnostics == ()
    (test,) = result.tests
    assert (test.name, test.line) == ("steps", 21)
    return test.steps


def test_steps_are_evaluated() -> None:
    time, read, fails, param, first, second, advance, act, no, twice, emit, nothing, trap, later, *_ = steps()
    assert isinstance(time, plan.SetTime) and time.time_us == 1_772_344_800 * SECOND_US
    assert isinstance(read, plan.SetRead) and (read.capability, read.args, read.value) == ("gpio.read_pin", (1,), 1)
    assert isinstance(fails, plan.SetRead) and (fails.args, fails.value) == ((1,), None)
    assert isinstance(param, plan.SetParam) and (param.name, param.value) == ("limit", 70.0)
    assert isinstance(first, plan.SendEvent) and (first.trigger, first.inputs) == (0, (81.0, 1, 0, 0, 0))
    assert isinstance(second, plan.SendEvent) and second.inputs == (81.5, 0, 1, 7, 0)
    assert isinstance(advance, plan.Advance) and advance.time_us == 2 * SECOND_US
    assert isinstance(act, plan.ExpectAction) and (act.args, act.count) == ((0, 1), None)
    assert isinstance(no, plan.ExpectAction) and (no.args, no.count) == (("a", None, None, None), 0)
    assert isinstance(twice, plan.ExpectAction) and (twice.args, twice.count) == ((None, "x", None, None), 2)
    assert isinstance(emit, plan.ExpectEmit) and (emit.event, emit.fields, emit.count) == ("hot", (("mode", 0),), None)
    assert isinstance(nothing, plan.ExpectNoActions)
    assert isinstance(trap, plan.ExpectTrap)
    assert isinstance(later, plan.Advance) and later.time_us == 3 * SECOND_US


def test_steps_know_their_place() -> None:
    time, *_, last = steps()
    assert (time.where.line, time.where.column, time.where.text) == (22, 9, 'given time "2026-03-01 06:00"')
    assert last.where.text == "expect modes == HEAT"


def test_conditions_run_over_parameters_and_state() -> None:
    result = compile_rule(wrapped(BODY), name="x")
    assert result.program is not None
    state = initial_state(result.program)
    conditions = [step for step in result.tests[0].steps if isinstance(step, plan.ExpectThat)]
    for condition in conditions:
        verify(condition.program)
    equal, both, trapping, enum = (evaluate_that(condition, (80.0,), state, 0) for condition in conditions)
    assert (equal.holds, equal.values) == (True, (4, 4))
    assert (both.holds, both.values) == (False, ())
    assert (trapping.holds, trapping.trap, trapping.values) == (False, Trap.DIV_BY_ZERO, (None, None))
    assert (enum.holds, enum.values) == (True, (1, 1))
    assert [operand.text for operand in conditions[0].operands] == ["trips", "2 + 2"]
    assert show_value(conditions[3].operands[0].type, 1) == "HEAT"
    assert evaluate_that(conditions[1], (1.0,), state, 0).holds
