"""Random programs as cases of the conformance corpus, with what the interpreter gives for them; and mutants."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from eyeflow.svm.container import ProgramError, decode, encode
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.numbers import INT_MAX, INT_MIN
from eyeflow.svm.opcodes import OPS
from eyeflow.svm.program import Instruction, Program, Value
from eyeflow.svm.verify import compute_limits, verify
from generators.programs import SeededHost, Step, random_params, random_state, random_steps

CONFORMANCE = Path(__file__).resolve().parents[1] / "conformance"
if str(CONFORMANCE) not in sys.path:
    sys.path.insert(0, str(CONFORMANCE))

from assembler import write_value  # noqa: E402
from build import found  # noqa: E402


class RecordingHost:
    """Answers as `SeededHost` and keeps the answers as the corpus writes them; null is a failure."""

    def __init__(self, program: Program, seed: int) -> None:
        self._host = SeededHost(program, seed)
        self.answers: list[str | None] = []

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        try:
            value = self._host.read(site, args)
        except CapabilityFailure:
            self.answers.append(None)
            raise
        fits = not isinstance(value, int) or INT_MIN <= value <= INT_MAX
        self.answers.append(write_value(value) if fits else None)
        return value


def written(values: Iterable[Value]) -> list[str]:
    return [write_value(value) for value in values]


def run_steps(rng: random.Random, program: Program) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a case of a random program and what the interpreter gives for each of its steps."""
    machine = Interpreter(verify(program))
    state, params = random_state(rng, program), random_params(rng, program)
    case: dict[str, Any] = {"program": encode(program).hex(), "params": written(params), "start": written(state)}
    steps, expected = [], []
    for step in random_steps(rng, program):
        host = RecordingHost(program, step.host_seed)
        execution = machine.run(step.trigger, step.time_us, step.utc_offset_us, params, step.inputs, state, host)
        steps.append(_written_step(step, host.answers))
        asked = [[answer.site, written(answer.args)] for answer in execution.answers]
        expected.append({**found(execution, state), "asked": asked})
    return {**case, "steps": steps}, expected


def _written_step(step: Step, answers: list[str | None]) -> dict[str, Any]:
    return {
        "trigger": step.trigger,
        "time_us": step.time_us,
        "utc_offset_us": step.utc_offset_us,
        "inputs": written(step.inputs),
        "answers": answers,
    }


def changed_code(rng: random.Random, program: Program) -> Program:
    """Change one to three instructions, with the limits of the new code; raises ProgramError where that proves nothing."""
    code = list(program.code)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(code))
        word = code[at]
        code[at] = rng.choice((
            Instruction(rng.choice(list(OPS)), word.a, word.b),
            Instruction(word.opcode, word.a, (word.b + rng.choice((-2, -1, 1, 2))) & 0xFFFF),
            Instruction(word.opcode, rng.randrange(4), word.b),
            code[rng.randrange(len(code))],
        ))  # fmt: skip
    changed = replace(program, code=tuple(code))
    return replace(changed, limits=compute_limits(changed))


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Flip a bit, set a byte or a word, cut, drop, repeat or insert a piece."""
    at = rng.randrange(len(data))
    size = rng.choice((1, 1, 2, 4, 8))
    piece = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return rng.choice((
        data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
        data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
        data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        data[:at] + bytes([(data[at] + rng.choice((-1, 1))) & 255]) + data[at + 1 :],
        data[:at] + piece + data[at + size :],
        data[:at],
        data[:at] + data[at + size :],
        data[:at] + data[at : at + size] + data[at:],
    ))  # fmt: skip


def stage_of(data: bytes) -> str:
    """Return where Python refuses these bytes, or `accepted`."""
    try:
        program = decode(data).program
    except ProgramError:
        return "decode"
    try:
        verify(program)
    except ProgramError:
        return "verify"
    return "accepted"
