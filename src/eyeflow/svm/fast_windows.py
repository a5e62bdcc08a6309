"""Windows of the fast path: the steps of docs/svm.md, Timers and windows, on a list that holds the state.

`memory` is the state, `base` the window's first slot in it; times and spans are in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from operator import add
from typing import Any, cast

from eyeflow.svm.numbers import NAN
from eyeflow.svm.opcodes import TimerKind
from eyeflow.svm.program import Value

HEADER_SLOTS = 2
US_PER_S = 1000000.0


def push(
    memory: list[Value], base: int, capacity: int, time_us: int, span_us: int, sample: float | None
) -> tuple[int, int]:
    """Drop what is too old, store `sample` unless it is None, and return the new head and count."""
    head, count = cast(int, memory[base]), cast(int, memory[base + 1])
    if not (0 <= head < capacity and 0 <= count <= capacity):
        head = count = 0
    times = base + HEADER_SLOTS
    while count and time_us - cast(int, memory[times + head]) >= span_us:
        head = head + 1 if head + 1 < capacity else 0
        count -= 1
    if sample is not None and sample == sample:
        if count == capacity:
            head = head + 1 if head + 1 < capacity else 0
            count -= 1
        place = (head + count) % capacity
        memory[times + place] = time_us
        memory[times + capacity + place] = sample
        count += 1
    memory[base], memory[base + 1] = head, count
    return head, count


def samples(memory: list[Value], base: int, capacity: int, head: int, count: int) -> list[Any]:
    """Return the samples, oldest first."""
    first = base + HEADER_SLOTS + capacity
    end = head + count
    if end <= capacity:
        return memory[first + head : first + end]
    return memory[first + head : first + capacity] + memory[first : first + end - capacity]


def _sequential(values: list[Any]) -> float:
    return reduce(add, values, 0.0)


_ADDS_ONE_AT_A_TIME = sum([1e16, 1.0, -1e16], 0.0) == 0.0
add_all: Callable[[list[Any]], float] = partial(sum, start=0.0) if _ADDS_ONE_AT_A_TIME else _sequential
"""Add floats one at a time, the first to 0.0: the built-in `sum` does so up to Python 3.11; later ones compensate."""


def mean(memory: list[Value], base: int, capacity: int, time_us: int, span_us: int, sample: float) -> float:
    """Evaluate MEAN."""
    head, count = push(memory, base, capacity, time_us, span_us, sample)
    return add_all(samples(memory, base, capacity, head, count)) / count if count else NAN


def total(memory: list[Value], base: int, capacity: int, time_us: int, span_us: int, sample: float) -> float:
    """Evaluate SUM."""
    head, count = push(memory, base, capacity, time_us, span_us, sample)
    return add_all(samples(memory, base, capacity, head, count))


def smallest(memory: list[Value], base: int, capacity: int, time_us: int, span_us: int, sample: float) -> float:
    """Evaluate MIN: the first of equal samples, as `min` does; no sample is ever NaN."""
    head, count = push(memory, base, capacity, time_us, span_us, sample)
    return min(samples(memory, base, capacity, head, count), default=NAN)


def largest(memory: list[Value], base: int, capacity: int, time_us: int, span_us: int, sample: float) -> float:
    """Evaluate MAX: the first of equal samples, as `max` does."""
    head, count = push(memory, base, capacity, time_us, span_us, sample)
    return max(samples(memory, base, capacity, head, count), default=NAN)


def rate(memory: list[Value], base: int, capacity: int, time_us: int, span_us: int, sample: float) -> float:
    """Evaluate RATE, in units per second."""
    head, count = push(memory, base, capacity, time_us, span_us, sample)
    if count < 2:
        return 0.0
    times, newest = base + HEADER_SLOTS, (head + count - 1) % capacity
    elapsed_us = cast(int, memory[times + newest]) - cast(int, memory[times + head])
    if elapsed_us == 0:
        return 0.0
    change = cast(float, memory[times + capacity + newest]) - cast(float, memory[times + capacity + head])
    return change / (float(elapsed_us) / US_PER_S)


def count_true(memory: list[Value], base: int, capacity: int, time_us: int, span_us: int, condition: bool) -> int:
    """Evaluate COUNT."""
    return push(memory, base, capacity, time_us, span_us, 1.0 if condition else None)[1]


WINDOWS: dict[TimerKind, Callable[..., Value]] = {
    TimerKind.MEAN: mean,
    TimerKind.MIN: smallest,
    TimerKind.MAX: largest,
    TimerKind.SUM: total,
    TimerKind.RATE: rate,
    TimerKind.COUNT: count_true,
}
