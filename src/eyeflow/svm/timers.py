"""The time words: what EVAL and RESET do to a timer's slots. docs/svm.md, Timers and windows."""

from __future__ import annotations

from typing import Any

from eyeflow.svm.execution import TIME_UNSET
from eyeflow.svm.layout import state_base, zero
from eyeflow.svm.numbers import NAN, div_float
from eyeflow.svm.opcodes import TIMERS, TimerKind
from eyeflow.svm.program import Program, Timer, Value

WINDOW_HEAD_SLOTS = 2
TIME_MAX = 2**63 - 1
_UNSET_KINDS = (TimerKind.HOLD, TimerKind.COOLDOWN)


def initial_slots(timer: Timer) -> tuple[Value, ...]:
    """Return what the slots of a timer hold before its first evaluation."""
    if TIMERS[timer.kind].window:
        return (0,) * (WINDOW_HEAD_SLOTS + timer.capacity) + (0.0,) * timer.capacity
    return (TIME_UNSET,) if timer.kind in _UNSET_KINDS else (False,)


def reset(memory: list[Any], timer: Timer) -> None:
    """Put a timer back; of a window only head and count, its samples keep their bits."""
    size = WINDOW_HEAD_SLOTS if TIMERS[timer.kind].window else 1
    memory[timer.base : timer.base + size] = initial_slots(timer)[:size]


def evaluate(memory: list[Any], timer: Timer, time_us: int, operands: tuple[Any, ...]) -> Value:
    """Evaluate a timer at `time_us` on its operands (sample or condition, then the span in us) and return its value."""
    if TIMERS[timer.kind].window:
        samples = _push_sample(memory, timer, time_us, operands[0], operands[1])
        return _window_value(TimerKind(timer.kind), samples)
    if timer.kind == TimerKind.HOLD:
        return _hold(memory, timer.base, time_us, operands[0], operands[1])
    if timer.kind == TimerKind.COOLDOWN:
        return _cooldown(memory, timer.base, time_us, operands[0], operands[1])
    before, memory[timer.base] = memory[timer.base], operands[0]
    rises = timer.kind == TimerKind.RISES
    return bool(operands[0] and not before) if rises else bool(before and not operands[0])


def _hold(memory: list[Any], base: int, time_us: int, condition: bool, span_us: int) -> bool:
    if not condition:
        memory[base] = TIME_UNSET
        return False
    if memory[base] == TIME_UNSET:
        memory[base] = time_us
    return bool(time_us - memory[base] >= span_us)


def _cooldown(memory: list[Any], base: int, time_us: int, condition: bool, span_us: int) -> bool:
    passes = condition and (memory[base] == TIME_UNSET or time_us - memory[base] >= span_us)
    if passes:
        memory[base] = time_us
    return bool(passes)


def _push_sample(
    memory: list[Any], timer: Timer, time_us: int, sample: float | bool, span_us: int
) -> list[tuple[int, float]]:
    """Drop what is too old, store the sample unless it is NaN or false; return (time, sample), the oldest first."""
    times, size = timer.base + WINDOW_HEAD_SLOTS, timer.capacity
    head, count = memory[timer.base], memory[timer.base + 1]
    # A program may STORE into state slots, these among them: nothing there may lead beyond the window.
    if not (0 <= head < size and 0 <= count <= size):
        head, count = 0, 0
    while count and time_us - memory[times + head] >= span_us:
        head, count = (head + 1) % size, count - 1
    stores = sample if timer.kind == TimerKind.COUNT else sample == sample
    if stores:
        if count == size:
            head, count = (head + 1) % size, count - 1
        place = (head + count) % size
        memory[times + place], memory[times + size + place] = time_us, float(sample)
        count += 1
    memory[timer.base : times] = head, count
    places = [(head + index) % size for index in range(count)]
    return [(memory[times + place], memory[times + size + place]) for place in places]


def _window_value(kind: TimerKind, samples: list[tuple[int, float]]) -> Value:
    values = [value for _, value in samples]
    if kind is TimerKind.COUNT:
        return len(values)
    if kind is TimerKind.RATE:
        return _rate(samples)
    if kind is TimerKind.SUM:
        return _sum(values)
    if not values:
        return NAN
    if kind is TimerKind.MEAN:
        return _sum(values) / float(len(values))
    return _extreme(values, smallest=kind is TimerKind.MIN)


def _sum(values: list[float]) -> float:
    """Add one float at a time: `sum` compensates from Python 3.12 on, which would change the bits."""
    total = 0.0
    for value in values:
        total += value
    return total


def _extreme(values: list[float], *, smallest: bool) -> float:
    best = values[0]
    for value in values[1:]:
        if value < best if smallest else value > best:
            best = value
    return best


def _rate(samples: list[tuple[int, float]]) -> float:
    if len(samples) < 2:
        return 0.0
    (oldest_us, oldest), (newest_us, newest) = samples[0], samples[-1]
    if newest_us == oldest_us:
        return 0.0
    return div_float(newest - oldest, float(newest_us - oldest_us) / 1000000.0)


def shift_times(program: Program, state: list[Any], step_us: int) -> None:
    """Add `step_us` to every time that the time words remember in `state`, the slots of the state region."""
    base = state_base(program)
    for timer in program.timers:
        first, count = timer.base - base, 1
        if TIMERS[timer.kind].window:
            first, count = first + WINDOW_HEAD_SLOTS, timer.capacity
        elif timer.kind not in _UNSET_KINDS:
            continue
        for place in range(first, first + count):
            if state[place] != TIME_UNSET:
                # Never TIME_UNSET itself, which says that nothing is remembered.
                state[place] = min(max(state[place] + step_us, TIME_UNSET + 1), TIME_MAX)


def initial_state(program: Program) -> list[Value]:
    """Return the state of a program that has never run: initial values and timers, every other slot zero."""
    base = state_base(program)
    state = [zero(slot) for slot in program.slots[base : base + program.regions.state]]
    for variable in program.state:
        start = variable.base - base
        state[start : start + len(variable.initial)] = variable.initial
    for timer in program.timers:
        values = initial_slots(timer)
        state[timer.base - base : timer.base - base + len(values)] = values
    return state
