"""Windows of the fast path against those of the interpreter, on memories as a store may hold them."""

from __future__ import annotations

import random

import pytest

from eyeflow.svm.fast_windows import WINDOWS, _sequential, add_all, commit
from eyeflow.svm.opcodes import TimerKind
from eyeflow.svm.program import Timer, Value
from eyeflow.svm.timers import evaluate
from generators.compare import exact, exact_all
from generators.values import random_float

EVENTS = 400


@pytest.mark.parametrize("kind", sorted(WINDOWS))
@pytest.mark.parametrize("capacity", [1, 2, 5])
def test_windows_agree(kind: TimerKind, capacity: int) -> None:
    rng = random.Random(kind * 100 + capacity)
    timer = Timer(kind, 3, capacity)
    expected: list[Value] = [0] * (3 + 2 + capacity) + [0.0] * capacity
    found = list(expected)
    time_us = 0
    for _ in range(EVENTS):
        if rng.random() < 0.02:
            expected[3:5] = found[3:5] = rng.choice([(-1, 0), (0, capacity + 1), (capacity, 1), (2**62, -5)])
        span_us = rng.choice((0, 1, 3, 10, 2**63 - 1, -1))
        sample = rng.random() < 0.5 if kind is TimerKind.COUNT else random_float(rng)
        value = evaluate(expected, timer, time_us, (sample, span_us))
        before = exact_all(found)
        step = WINDOWS[kind](found, 3, capacity, time_us, span_us, sample)
        assert exact_all(found) == before, "an evaluation changes nothing"
        commit(found, 3, capacity, time_us, step)
        assert exact(step[0]) == exact(value)
        assert exact_all(found) == exact_all(expected)
        time_us += rng.choice((0, 1, 2, 7))


def test_sums_have_the_bits_of_one_addition_after_the_other() -> None:
    rng = random.Random(7)
    for _ in range(500):
        values = [random_float(rng) * 10.0 ** rng.randint(-20, 20) for _ in range(rng.randint(0, 30))]
        total = 0.0
        for value in values:
            total += value
        assert exact(add_all(values)) == exact(total)
        assert exact(_sequential(values)) == exact(total)
