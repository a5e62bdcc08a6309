"""The fast path gives what the interpreter gives, to the bit, and touches the host and the state as it does."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import pytest

from eyeflow.svm import fast
from eyeflow.svm.execution import Answer, CapabilityFailure, Execution, Outcome
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.program import Program, Value
from eyeflow.svm.verify import verify
from generators.compare import exact_all, exact_execution
from generators.programs import SeededHost, random_params, random_program, random_state, random_steps

BATCHES = 30
PROGRAMS_PER_BATCH = 4_000 if os.environ.get("EYEFLOW_FUZZ") == "full" else 100


class CountingHost:
    """Counts the reads and remembers their sites."""

    def __init__(self, inner: SeededHost) -> None:
        self._inner = inner
        self.reads: list[tuple[int, tuple[Value, ...]]] = []

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        self.reads.append((site, args))
        return self._inner.read(site, args)


def check_agreement(seed: int) -> set[Outcome]:
    """Run one random program on both machines; return the outcomes that occurred."""
    rng = random.Random(seed)
    verified = verify(random_program(rng))
    program = verified.program
    reference, machine = Interpreter(verified), FastMachine(verified)
    params = random_params(rng, program)
    expected_state = random_state(rng, program)
    state = list(expected_state)
    outcomes = set()
    for step in random_steps(rng, program):
        event = (step.trigger, step.time_us, step.utc_offset_us, params, step.inputs)
        expected_host = CountingHost(SeededHost(program, step.host_seed))
        host = CountingHost(SeededHost(program, step.host_seed))
        expected = reference.run(*event, expected_state, expected_host)
        found = machine.run(*event, state, host)
        assert exact_execution(found) == exact_execution(expected), f"seed {seed}"
        assert exact_all(state) == exact_all(expected_state), f"seed {seed}"
        assert [site for site, _ in host.reads] == [site for site, _ in expected_host.reads], f"seed {seed}"
        assert [exact_all(args) for _, args in host.reads] == [exact_all(args) for _, args in expected_host.reads]
        outcomes.add(expected.outcome)
    return outcomes


@pytest.mark.parametrize("batch", range(BATCHES))
def test_generated_programs_agree(batch: int) -> None:
    first = batch * PROGRAMS_PER_BATCH
    outcomes = set().union(*(check_agreement(seed) for seed in range(first, first + PROGRAMS_PER_BATCH)))
    assert {Outcome.OK, Outcome.TRAPPED} <= outcomes, "programs that only ever end one way would prove little"


def test_a_wrong_translation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: one operator translated wrongly must not pass the comparison."""
    from eyeflow.svm import fast_ops
    from eyeflow.svm.opcodes import Op

    monkeypatch.setitem(fast_ops.ONCE, Op.LE_F, "{} < {}")
    monkeypatch.setitem(fast_ops.ONCE, Op.OR_I, "{} ^ {}")
    with pytest.raises(AssertionError, match="seed"):
        for seed in range(500):
            check_agreement(seed)


def test_state_copy_is_not_written_when_the_execution_traps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: writing into the state itself instead of its copy must be found."""
    from eyeflow.svm.fast_memory import STATE_COPY, Cell, Memory

    honest = Memory.cell
    monkeypatch.setattr(Memory, "cell", lambda self, key: Cell("st", "s") if key == STATE_COPY else honest(self, key))
    with pytest.raises(AssertionError, match="seed"):
        for seed in range(500):
            check_agreement(seed)


def test_a_long_handler_stays_on_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "HANDLER_INSTRUCTIONS_MAX", 0)
    for seed in range(20):
        check_agreement(seed)


class BrokenHost:
    """A host with a bug of its own."""

    def read(self, site: int, args: Sequence[Value]) -> Value:
        raise ZeroDivisionError("the driver's own bug")


def bugs_seen(machine: Interpreter | FastMachine, program: Program) -> int:
    """Run a program on a broken host; return how often the bug came through, which must leave the state alone."""
    rng = random.Random(5)
    seen = 0
    for step in random_steps(rng, program, count=50):
        state = random_state(rng, program)
        before = list(state)
        try:
            machine.run(step.trigger, 0, 0, random_params(rng, program), step.inputs, state, BrokenHost())
        except ZeroDivisionError:
            seen += 1
            assert exact_all(state) == exact_all(before)
    return seen


def test_a_bug_of_the_host_is_not_taken_for_a_failure() -> None:
    programs = (verify(random_program(random.Random(seed))) for seed in range(1000))
    reading = (one for one in programs if one.program.limits.reads_max and one.program.regions.state)
    counts = [
        (bugs_seen(Interpreter(one), one.program), bugs_seen(FastMachine(one), one.program))
        for one in islice(reading, 10)
    ]
    assert all(interpreted == fast for interpreted, fast in counts)
    assert sum(fast for _, fast in counts) > 50


def test_made_executions_equal_ordinary_ones() -> None:
    made = fast.MadeExecution()
    made.outcome, made.fuel, made.actions, made.asked, made.trap = Outcome.OK, 7, (), (1, (2,), 3.0), None
    ordinary = Execution(Outcome.OK, 7, (), (Answer(1, (2,), 3.0),))
    assert made == ordinary
    assert hash(made) == hash(ordinary)
    assert repr(made) == repr(ordinary)
    assert made.answers == ordinary.answers == (Answer(1, (2,), 3.0),)
    assert made != Execution(Outcome.OK, 8, (), ordinary.answers)
    assert made != Answer(1, (2,), 3.0)


def test_handler_is_what_run_calls() -> None:
    verified = verify(random_program(random.Random(3)))
    machine = FastMachine(verified)
    rng = random.Random(4)
    for step in random_steps(rng, verified.program):
        state = random_state(rng, verified.program)
        params = random_params(rng, verified.program)
        rest = (step.time_us, step.utc_offset_us, params, step.inputs)
        host_seed = step.host_seed
        direct = machine.handler(step.trigger)(*rest, list(state), SeededHost(verified.program, host_seed))
        run = machine.run(step.trigger, *rest, list(state), SeededHost(verified.program, host_seed))
        assert exact_execution(direct) == exact_execution(run)


def test_the_repeat_refuses_answers_to_other_questions() -> None:
    """What makes the fast path and the interpreter differ in their reads must not go unseen."""
    answers = fast._Answers((0, (1,), None, 0, (1,), 2.0))
    with pytest.raises(CapabilityFailure):
        answers.read(0, (1,))
    with pytest.raises(AssertionError):
        answers.read(1, (1,))


def test_nothing_of_a_program_enters_the_source() -> None:
    """Names and texts of a program are constants of the generated function, never part of its text."""
    from eyeflow.svm.fast_code import Pool
    from eyeflow.svm.fast_flow import Handler

    evil = '"\n__import__("os")\n# {x} \\'
    for seed in range(60):
        program = random_program(random.Random(seed))
        program = replace(
            program,
            constants=tuple(f"{evil}{index}" if isinstance(v, str) else v for index, v in enumerate(program.constants)),
            sites=tuple(replace(site, capability=evil) for site in program.sites),
        )
        for trigger in program.triggers:
            source = Handler(verify(program), trigger, Pool()).source()
            assert "import" not in source
            assert "os" not in source
