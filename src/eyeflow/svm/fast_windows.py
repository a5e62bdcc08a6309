"""Windows of the fast path: the steps of docs/svm.md, Timers and windows, on a list that holds the state.

An evaluation changes nothing: it returns a `Step`, which `commit` writes into the memory, at RETURN when that is
possible. So no copy of a long window is needed to keep an execution atomic. `memory` is the state, `base` the
window's first slot in it; times and spans are in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from operator import add
from typing import Any

from eyeflow.svm.numbers import NAN
from eyeflow.svm.opcodes import TimerKind
from eyeflow.svm.program import Value

HEADER_SLOTS = 2
US_PER_S = 1000000.0
NOT_STORED = -1

Memory = list[Any]
Step = tuple[Value, int, int, int, float]
"""The result; the new head and count; the place in the ring where the sample is stored, or NOT_STORED; the sample."""


def advance(
    memory: Memory, base: int, capacity: int, time_us: int, span_us: int, *, stores: bool
) -> tuple[int, int, int]:
    """Drop what is too old, make room when a sample is to be stored; return head, samples kept, and its place."""
    head, count = memory[base], memory[base + 1]
    if not (0 <= head < capacity and 0 <= count <= capacity):
        head = count = 0
    times = base + HEADER_SLOTS
    while count and time_us - memory[times + head] >= span_us:
        head = head + 1 if head + 1 < capacity else 0
        count -= 1
    if not stores:
        return head, count, NOT_STORED
    if count == capacity:
        head = head + 1 if head + 1 < capacity else 0
        count -= 1
    return head, count, (head + count) % capacity


def commit(memory: Memory, base: int, capacity: int, time_us: int, step: Step) -> None:
    """Write what an evaluation at `time_us` found into the window's slots."""
    _, memory[base], memory[base + 1], place, sample = step
    if place != NOT_STORED:
        first = base + HEADER_SLOTS + place
        memory[first] = time_us
        memory[first + capacity] = sample


def _samples(memory: Memory, base: int, capacity: int, head: int, count: int) -> list[float]:
    """Return the samples in the memory, oldest first."""
    first = base + HEADER_SLOTS + capacity
    end = head + count
    if end <= capacity:
        return memory[first + head : first + end]
    return memory[first + head : first + capacity] + memory[first : first + end - capacity]


def _folded(fold: Callable[[list[float]], float]) -> Callable[..., Step]:
    """Return the evaluation of a kind whose result is a function of the samples, oldest first."""

    def evaluate(memory: Memory, base: int, capacity: int, time_us: int, span_us: int, sample: float) -> Step:
        head, count, place = advance(memory, base, capacity, time_us, span_us, stores=sample == sample)
        values = _samples(memory, base, capacity, head, count)
        if place != NOT_STORED:
            values.append(sample)
        return fold(values), head, len(values), place, sample

    return evaluate


def _sequential(values: list[float]) -> float:
    return reduce(add, values, 0.0)


_ADDS_ONE_AT_A_TIME = sum([1e16, 1.0, -1e16], 0.0) == 0.0
add_all: Callable[[list[float]], float] = partial(sum, start=0.0) if _ADDS_ONE_AT_A_TIME else _sequential
"""Add floats one at a time, the first to 0.0: the built-in `sum` does so up to Python 3.11; later ones compensate."""


def _mean(values: list[float]) -> float:
    return add_all(values) / len(values) if values else NAN


def rate(memory: Memory, base: int, capacity: int, time_us: int, span_us: int, sample: float) -> Step:
    """Evaluate RATE, in units per second."""
    head, count, place = advance(memory, base, capacity, time_us, span_us, stores=sample == sample)
    times, value = base + HEADER_SLOTS, 0.0
    newest = (memory[times + (head + count - 1) % capacity], memory[times + capacity + (head + count - 1) % capacity])
    if place != NOT_STORED:
        newest = (time_us, sample)
        count += 1
    if count >= 2 and newest[0] != memory[times + head]:
        value = (newest[1] - memory[times + capacity + head]) / (float(newest[0] - memory[times + head]) / US_PER_S)
    return value, head, count, place, sample


def count_true(memory: Memory, base: int, capacity: int, time_us: int, span_us: int, condition: bool) -> Step:
    """Evaluate COUNT."""
    head, count, place = advance(memory, base, capacity, time_us, span_us, stores=condition)
    count += place != NOT_STORED
    return count, head, count, place, 1.0


WINDOWS: dict[TimerKind, Callable[..., Step]] = {
    TimerKind.MEAN: _folded(_mean),
    TimerKind.MIN: _folded(partial(min, default=NAN)),
    TimerKind.MAX: _folded(partial(max, default=NAN)),
    TimerKind.SUM: _folded(add_all),
    TimerKind.RATE: rate,
    TimerKind.COUNT: count_true,
}
