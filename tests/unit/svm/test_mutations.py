"""100,000 mutated programs: each is refused, or runs to an outcome; none causes an internal error."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import replace

from eyeflow.svm.container import ProgramError, SignedProgram, decode, encode
from eyeflow.svm.execution import Outcome
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.opcodes import OPS
from eyeflow.svm.program import Instruction, Program
from eyeflow.svm.signing import check_signatures, public_key_of, sign, sign_program
from eyeflow.svm.verify import Verified, compute_limits, verify
from generators.compare import exact_all, exact_execution
from generators.programs import SeededHost, random_params, random_program, random_state, random_steps

MUTATIONS = int(os.environ.get("EYEFLOW_MUTATIONS", "100000"))
BASES = 60
FAST_EVERY = 8
"""One in so many mutants of bytes also runs on the fast path: making its code is what takes the time."""
KEY = bytes(range(32))


def short_programs(rng: random.Random) -> list[Program]:
    """Return the shorter half of many programs: in them a mutation hits something other than one more instruction."""
    programs = sorted((random_program(rng) for _ in range(2 * BASES)), key=lambda program: len(program.code))
    return programs[:BASES]


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip a bit, set a byte or a word, cut, drop, repeat or insert a piece."""
    at = rng.randrange(len(data))
    size = rng.choice((1, 1, 2, 4, 8))
    piece = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return rng.choice((
        data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
        data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        data[:at] + piece + data[at + size :],
        data[:at],
        data[:at] + data[at + size :],
        data[:at] + data[at : at + size] + data[at:],
        data[:at] + piece + data[at:],
    ))  # fmt: skip


def mutated_code(rng: random.Random, program: Program) -> Program:
    """Change one to three instructions; the limits are those of the new code, so that the verifier decides on it."""
    code = list(program.code)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(code))
        word = code[at]
        code[at] = rng.choice((
            Instruction(rng.choice(list(OPS)), word.a, word.b),
            Instruction(word.opcode, word.a, (word.b + rng.choice((-2, -1, 1, 2))) & 0xFFFF),
            Instruction(word.opcode, rng.randrange(4), word.b),
            Instruction(rng.choice(list(OPS)), 0, rng.choice((0, 1, 2, len(code) - 1))),
            code[rng.randrange(len(code))],
        ))  # fmt: skip
    changed = replace(program, code=tuple(code))
    return replace(changed, limits=compute_limits(changed))


def run_both(rng: random.Random, verified: Verified, *, fast: bool = True) -> set[Outcome]:
    """Run a few events on both machines (without `fast` the interpreter twice); they agree, within the proven fuel."""
    program = verified.program
    machines = (Interpreter(verified), FastMachine(verified) if fast else Interpreter(verified))
    state, params = random_state(rng, program), random_params(rng, program)
    states = [list(state), list(state)]
    outcomes = set()
    for step in random_steps(rng, program, count=2):
        results = [
            machine.run(step.trigger, step.time_us, step.utc_offset_us, params, step.inputs, own,
                        SeededHost(program, step.host_seed))
            for machine, own in zip(machines, states, strict=True)
        ]  # fmt: skip
        assert exact_execution(results[0]) == exact_execution(results[1])
        assert exact_all(states[0]) == exact_all(states[1])
        assert results[0].fuel <= program.limits.fuel_max
        outcomes.add(results[0].outcome)
    return outcomes


def test_mutated_bytes_are_refused_or_run() -> None:
    rng = random.Random(20261124)
    bases = [encode(program) for program in short_programs(rng)]
    fates: Counter[str] = Counter()
    for _ in range(MUTATIONS * 3 // 4):
        data = mutated_bytes(rng, rng.choice(bases))
        try:
            program = decode(data).program
            fates["decoded"] += 1
            verified = verify(program)
        except ProgramError as error:
            assert error.reason
            continue
        fates["verified"] += 1
        run_both(rng, verified, fast=fates["verified"] % FAST_EVERY == 0)
    assert fates["decoded"] > fates["verified"] > 0, fates


def test_mutated_code_with_honest_limits_is_refused_or_runs() -> None:
    """The control beside the bytes: here mutants get past decoder and limits, and many of them do run."""
    rng = random.Random(20261125)
    bases = short_programs(rng)
    ran, outcomes = 0, set()
    for _ in range(MUTATIONS // 4):
        try:
            program = mutated_code(rng, rng.choice(bases))
            verified = verify(decode(encode(program)).program)
        except ProgramError:
            continue
        ran += 1
        outcomes |= run_both(rng, verified)
    assert ran > MUTATIONS // 100
    assert outcomes == set(Outcome)


def test_a_mutant_is_never_taken_for_signed() -> None:
    rng = random.Random(20261126)
    data = sign_program(encode(random_program(rng)), KEY)
    trusted = {public_key_of(KEY)}
    decoded = decode(data)
    assert check_signatures(decoded, trusted)
    refused = 0
    for _ in range(300):
        signed_bytes = mutated_bytes(rng, decoded.signed_bytes)
        if signed_bytes == decoded.signed_bytes:
            continue
        forged = SignedProgram(decoded.program, "", decoded.signatures, signed_bytes)
        try:
            check_signatures(forged, trusted)
        except ProgramError as error:
            refused += error.code == "bad_signature"
    assert refused > 200
    again = SignedProgram(
        decoded.program, "", ((public_key_of(KEY), sign(decoded.signed_bytes, KEY)),), decoded.signed_bytes
    )
    assert check_signatures(again, trusted)
