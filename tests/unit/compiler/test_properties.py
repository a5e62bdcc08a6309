"""Whatever compiles verifies, and runs the same on the interpreter and on the fast path, within its proven limits."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.compiler.lexer import tokenize
from eyeflow.compiler.render import render_text
from eyeflow.svm.container import decode, encode
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.numbers import text_bytes
from eyeflow.svm.program import Profile, Program, ValueType
from eyeflow.svm.timers import initial_state
from eyeflow.svm.verify import verify
from generators.compare import exact_all, exact_execution
from generators.programs import SeededHost, random_steps
from generators.rules import random_rule

EXAMPLES = Path(__file__).parents[3] / "examples"
BATCHES = 20
RULES_PER_BATCH = 100 if os.environ.get("EYEFLOW_FUZZ") == "full" else 20
EXPECTED_REFUSALS = {"EF0215"}
"""A random constant part may always trap; nothing else may be wrong with a generated rule."""
COMPILED_SHARE_MIN = 0.5


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_rules_compile_verify_and_agree(batch: int) -> None:
    compiled = 0
    for seed in range(batch * RULES_PER_BATCH, (batch + 1) * RULES_PER_BATCH):
        rng = random.Random(seed)
        result = compile_rule(random_rule(rng), name="generated.eye")
        errors = {found.code for found in result.diagnostics if found.severity.value == "error"}
        assert errors <= EXPECTED_REFUSALS, f"seed {seed}"
        if result.program is None:
            continue
        compiled += 1
        data = encode(result.program)
        assert encode(decode(data).program) == data, f"seed {seed}"
        machines_agree(result.program, rng, seed)
    assert compiled >= RULES_PER_BATCH * COMPILED_SHARE_MIN


def machines_agree(program: Program, rng: random.Random, seed: int) -> None:
    verified = verify(program)
    slow, fast = Interpreter(verified), FastMachine(verified)
    params = [param.default for param in sorted(program.params, key=lambda param: param.slot)]
    states = initial_state(program), initial_state(program)
    for step in random_steps(rng, program, 6):
        event = (step.trigger, step.time_us, step.utc_offset_us, params, step.inputs)
        expected = slow.run(*event, states[0], SeededHost(program, step.host_seed))
        found = fast.run(*event, states[1], SeededHost(program, step.host_seed))
        assert exact_execution(found) == exact_execution(expected), f"seed {seed}"
        assert exact_all(states[1]) == exact_all(states[0]), f"seed {seed}"
        assert expected.fuel <= program.limits.fuel_max
        no_text_is_longer_than_its_slot(program, states[0])


def no_text_is_longer_than_its_slot(program: Program, state: list[object]) -> None:
    base = program.regions.params + program.regions.inputs
    for slot, value in zip(program.slots[base : base + program.regions.state], state, strict=True):
        assert slot.type is not ValueType.TEXT or text_bytes(str(value)) <= slot.size_bytes_max


MUTANTS_PER_BATCH = 2000 if os.environ.get("EYEFLOW_FUZZ") == "full" else 60
WORDS = (
    "0", "1.5", "2s", "true", '"x"', "[]", "-1", "HIGH", "temp", "list(int, 3)", "text(5)", "now()", "RELAY", "reading",
    "mean(1.0, last 5)", "gpio.read_pin(DOOR)", "abs", "[1, 2]", "A", "Mode", "9999999999", "for 2s", "else skip",
)  # fmt: skip


def mutant(rng: random.Random, source: str) -> str:
    """Replace a few words of a source by others, most often of the same kind."""
    tokens = tokenize(source)[0][:-1]
    words = [source[token.span.start : token.span.end] for token in tokens]
    ends = [0, *(token.span.end for token in tokens)]
    gaps = [source[end : token.span.start] for end, token in zip(ends, tokens, strict=False)]
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(words))
        same = [word for word, token in zip(words, tokens, strict=True) if token.kind is tokens[at].kind]
        words[at] = rng.choice(same) if rng.random() < 0.75 else rng.choice((*WORDS, "", *words))
    return "".join(gap + word for gap, word in zip(gaps, words, strict=True)) + source[ends[-1] :]


@pytest.mark.parametrize("batch", range(10))
def test_broken_rules_give_diagnostics_and_never_a_failure(batch: int) -> None:
    examples = [path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*/*.eye"))]
    for seed in range(batch * MUTANTS_PER_BATCH, (batch + 1) * MUTANTS_PER_BATCH):
        rng = random.Random(seed)
        source = mutant(rng, random_rule(rng) if rng.random() < 0.3 else rng.choice(examples))
        profile = Profile.MCU if rng.random() < 0.05 else Profile.LINUX
        result = compile_rule(source, name="mutant.eye", options=CompileOptions(profile=profile))
        render_text(result.diagnostics, source, "mutant.eye")
        if result.program is None:
            assert any(found.severity.value == "error" for found in result.diagnostics), f"seed {seed}"
        else:
            verify(result.program)
