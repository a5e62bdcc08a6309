"""After `shift_times` by the step of a clock, time words go on as if nobody had set it, to the bit."""

from __future__ import annotations

import random

import pytest

from eyeflow.svm.execution import Machine
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.instance import Instance
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.verify import Verified, verify
from generators.compare import exact_all, exact_execution
from generators.running import Reads, compiled

S = 1_000_000
RULE = """
on every 1s
let x = adc.read_channel(0)
let held = x > 50.0 for 3s
let passed = x > 20.0 cooldown 7s
let rising = (x > 50.0) rises
let n = count(x > 50.0, last 5s)
let m = mean(x, last 4s)
let r = rate(x, last 6s)
let high = max(x, last 3s)
if held or passed or rising { log.info("{n} {m:3} {r:3} {high:3}") }
"""
STEPS_US = (-(10**15), -3600 * S, -1, 1, 12 * 3600 * S, 10**15)


@pytest.mark.parametrize("machine", [Interpreter, FastMachine])
@pytest.mark.parametrize("step_us", STEPS_US)
def test_nothing_changes_but_the_times(machine: type[Interpreter] | type[FastMachine], step_us: int) -> None:
    outcomes = [runs(machine, step_us, shifts=True), runs(machine, 0, shifts=True)]
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("step_us", [one for one in STEPS_US if abs(one) >= S])
def test_control_without_it_something_does(step_us: int) -> None:
    assert runs(Interpreter, step_us, shifts=False) != runs(Interpreter, 0, shifts=False)


def runs(machine: type[Interpreter] | type[FastMachine], step_us: int, *, shifts: bool) -> list[object]:
    """Return all executions of a rule on random readings under a clock that is set once, and the state put back."""
    rng = random.Random(20261129)
    program = compiled(RULE)
    verified = verify(program)
    instance = Instance(verified, machine=made(machine, verified))
    found: list[object] = []
    for number in range(200):
        time_us = 1_700_000_000 * S + number * S
        if number >= 100:
            time_us += step_us
        if number == 100 and shifts:
            instance.shift_times(step_us)
        reads = Reads(program, {"adc.read_channel": rng.uniform(0.0, 100.0)})
        found.append(exact_execution(instance.step(0, (), time_us, 0, reads)))
    if shifts:
        instance.shift_times(-step_us)
    return [*found, exact_all(instance.state)]


def made(machine: type[Interpreter] | type[FastMachine], verified: Verified) -> Machine:
    return machine(verified)


def test_what_was_never_noted_stays_so() -> None:
    instance = Instance(verify(compiled('on every 1s\nif adc.read_channel(0) > 1.0 for 3s { log.info("") }')))
    before = list(instance.state)
    instance.shift_times(10**15)
    assert instance.state == before and instance.last_time_us == 10**15
    instance.shift_times(-(2**62))
    assert instance.last_time_us == 0, "a time is never negative"
