"""Properties of random programs: the bytes are the program, the proof holds, and both machines agree."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from eyeflow.svm import interpreter
from eyeflow.svm.container import decode, encode
from eyeflow.svm.execution import Execution, Machine, Outcome
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.numbers import text_bytes
from eyeflow.svm.opcodes import OPS, Op
from eyeflow.svm.program import Program, SiteKind, ValueType
from eyeflow.svm.verify import compute_limits, verify
from generators.compare import exact_all, exact_execution
from generators.programs import SeededHost, random_params, random_program, random_state, random_steps

PROGRAMS = 600
SHARES = 6


def programs(share: int) -> list[tuple[random.Random, Program]]:
    made = []
    for seed in range(share * PROGRAMS // SHARES, (share + 1) * PROGRAMS // SHARES):
        rng = random.Random(seed)
        made.append((rng, random_program(rng)))
    return made


@pytest.mark.parametrize("share", range(SHARES))
def test_decode_of_encode_is_the_identity(share: int) -> None:
    for _, program in programs(share):
        data = encode(program)
        signed = decode(data)
        assert signed.program == program
        assert encode(signed.program) == data
        assert compute_limits(program) == program.limits


@pytest.mark.parametrize("share", range(SHARES))
def test_machines_agree_and_keep_within_the_proven_limits(share: int) -> None:
    outcomes: Counter[Outcome] = Counter()
    for rng, program in programs(share):
        verified = verify(program)
        machines: tuple[Machine, ...] = (Interpreter(verified), FastMachine(verified))
        state, params = random_state(rng, program), random_params(rng, program)
        states = [list(state), list(state)]
        for step in random_steps(rng, program):
            before = list(states[0])
            results = [
                machine.run(step.trigger, step.time_us, step.utc_offset_us, params, step.inputs, own,
                            SeededHost(program, step.host_seed))
                for machine, own in zip(machines, states, strict=True)
            ]  # fmt: skip
            execution = results[0]
            assert exact_execution(execution) == exact_execution(results[1])
            assert exact_all(states[0]) == exact_all(states[1])
            check_limits(program, execution, verified.handler_fuel[step.trigger])
            outcomes[execution.outcome] += 1
            if execution.outcome is not Outcome.OK:
                assert exact_all(states[0]) == exact_all(before)
                assert execution.actions == ()
            check_state(program, states[0])
    assert min(outcomes[outcome] for outcome in Outcome) > 0, outcomes


def check_limits(program: Program, execution: Execution, fuel_max: int) -> None:
    limits = program.limits
    kinds = Counter(program.sites[action.site].kind for action in execution.actions)
    asked = Counter(program.sites[answer.site].kind for answer in execution.answers)
    assert execution.fuel <= fuel_max <= limits.fuel_max
    assert kinds[SiteKind.ACT] <= limits.actions_max
    assert kinds[SiteKind.EMIT] <= limits.emits_max
    assert asked[SiteKind.READ] <= limits.reads_max
    assert asked[SiteKind.LLM] <= limits.llm_max


def check_state(program: Program, state: list[object]) -> None:
    base = program.regions.params + program.regions.inputs
    for slot, value in zip(program.slots[base:], state, strict=False):
        assert type(value) is (bool, int, float, str)[slot.type]
        if slot.type is ValueType.TEXT:
            assert text_bytes(str(value)) <= slot.size_bytes_max


class _Watched(list[object]):
    """A stack that remembers how deep it was and how many bytes of new text came onto it."""

    askers = (Op.LOAD_RESOURCE, Op.LLM_CALL)
    makers = (Op.CONCAT, Op.TEXT_I, Op.TEXT_F, Op.TEXT_D, *askers)

    def __init__(self, run: interpreter._Run) -> None:
        super().__init__()
        self.run = run
        self.deepest = 0
        self.scratch_bytes = 0

    def append(self, value: object) -> None:
        super().append(value)
        self.deepest = max(self.deepest, len(self))
        opcode = self.run._program.code[self.run.pc].opcode
        falls_back = opcode in self.askers and self.run.answers[-1].value is None
        if isinstance(value, str) and opcode in self.makers and not falls_back:
            self.scratch_bytes += text_bytes(value)


def test_stack_and_scratch_stay_within_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watches the interpreter's own stack. A fallback is not new text: it was on the stack before."""
    stacks: list[_Watched] = []
    plain = interpreter._Run.__init__

    def watched(self: interpreter._Run, *args: Any) -> None:
        plain(self, *args)
        self._stack = _Watched(self)
        stacks.append(self._stack)

    monkeypatch.setattr(interpreter._Run, "__init__", watched)
    reached = texts = 0
    for rng, program in programs(0):
        machine, state, params = Interpreter(verify(program)), random_state(rng, program), random_params(rng, program)
        for step in random_steps(rng, program, count=4):
            host = SeededHost(program, step.host_seed)
            machine.run(step.trigger, step.time_us, step.utc_offset_us, params, step.inputs, state, host)
            stack = stacks.pop()
            assert stack.deepest <= program.limits.stack_max
            assert stack.scratch_bytes <= program.limits.scratch_bytes
            reached += stack.deepest == program.limits.stack_max
            texts += stack.scratch_bytes > 0
    assert reached > 0, "no execution came near its proven stack: the test proves nothing"
    assert texts > 0, "no execution made a text: the test proves nothing"


def test_generator_covers_every_instruction() -> None:
    used = {word.opcode for share in range(SHARES) for _, program in programs(share) for word in program.code}
    assert used == set(OPS)
