"""Cases of the time words. A row is (time, operands, result, the timer's slots afterwards)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from assembler import Case, CaseStep, Expected, Handler, assemble, timer_code

from eyeflow.svm.opcodes import TIMERS, Op, TimerKind
from eyeflow.svm.program import Value

NEVER = -(2**63)
NAN, INF = math.nan, math.inf
S = 1_000_000
Row = tuple[int, Sequence[Value], Value, Sequence[Value]]
ZEROS: dict[str, Value] = {"B": False, "I": 0, "F": 0.0}


def timer_case(
    name: str, kind: TimerKind, capacity: int, rows: Sequence[Row], start: Sequence[Value] | None = None
) -> Case:
    """Return a case that evaluates one timer at each row; `start` are its slots before, if not the initial ones."""
    info = TIMERS[kind]
    program = assemble(
        [Handler(info.pops, timer_code(kind, len(info.pops)))], state=info.pushes, timers=[(kind, capacity)]
    )
    steps = [
        CaseStep(Expected(state=[result, *slots]), inputs=operands, time_us=time_us)
        for time_us, operands, result, slots in rows
    ]
    whole = None if start is None else [ZEROS[info.pushes], *start]
    return Case(f"time: {kind.name} {name}", program, steps, start=whole, tags=(kind.name,))


def hold_cases() -> Iterator[Case]:
    kind = TimerKind.HOLD
    yield timer_case("is true at exactly the span and stays true", kind, 0, [
        (10, (True, 5), False, [10]), (14, (True, 5), False, [10]), (15, (True, 5), True, [10]), (99, (True, 5),
        True, [10]),
    ])  # fmt: skip
    yield timer_case("a false condition starts it anew", kind, 0, [
        (0, (True, 2), False, [0]), (1, (False, 2), False, [NEVER]), (2, (True, 2), False, [2]), (4, (True, 2),
        True, [2]),
    ])  # fmt: skip
    yield timer_case("a span of zero or less holds at once", kind, 0, [
        (7, (True, 0), True, [7]), (8, (False, 0), False, [NEVER]), (9, (True, -5), True, [9]),
    ])  # fmt: skip
    yield timer_case("the span may change between evaluations", kind, 0, [
        (0, (True, 100), False, [0]), (50, (True, 50), True, [0]), (51, (True, 100), False, [0]),
    ])  # fmt: skip
    yield timer_case("the longest span and the latest time do not overflow", kind, 0, [
        (0, (True, 2**63 - 1), False, [0]), (2**62 - 1, (True, 2**63 - 1), False, [0]), (2**62 - 1, (True, 2**62 - 1),
        True, [0]),
    ])  # fmt: skip
    yield timer_case("a stored time in the far past or future does not overflow", kind, 0, [
        (2**62 - 1, (True, 2**63 - 1), True, [NEVER + 1]),
    ], start=[NEVER + 1])  # fmt: skip
    yield timer_case("a stored time in the future is not yet held", kind, 0, [
        (0, (True, 1), False, [2**63 - 1]), (0, (True, NEVER), True, [2**63 - 1]),
    ], start=[2**63 - 1])  # fmt: skip
    yield timer_case(
        "several evaluations at one time", kind, 0, [(5, (True, 1), False, [5]), (5, (True, 1), False, [5])]
    )


def cooldown_cases() -> Iterator[Case]:
    kind = TimerKind.COOLDOWN
    yield timer_case("passes once in each span, again at exactly the span", kind, 0, [
        (0, (True, 10), True, [0]), (9, (True, 10), False, [0]), (10, (True, 10), True, [10]), (12, (False, 10),
        False, [10]),
        (20, (True, 10), True, [20]),
    ])  # fmt: skip
    yield timer_case("a false condition neither passes nor remembers", kind, 0, [
        (0, (False, 10), False, [NEVER]), (1, (True, 10), True, [1]),
    ])  # fmt: skip
    yield timer_case("never passed is not long ago", kind, 0, [(0, (True, 2**63 - 1), True, [0])])
    yield timer_case("a span of zero always passes", kind, 0, [(3, (True, 0), True, [3]), (3, (True, -1), True, [3])])
    yield timer_case("a stored time in the future does not pass", kind, 0, [(5, (True, 1), False, [9])], start=[9])


def edge_cases() -> Iterator[Case]:
    yield timer_case("counts the first true as an edge", TimerKind.RISES, 0, [
        (0, (True,), True, [True]), (1, (True,), False, [True]), (2, (False,), False, [False]), (2, (True,),
        True, [True]),
    ])  # fmt: skip
    yield timer_case("the first false is no edge", TimerKind.RISES, 0, [(0, (False,), False, [False])])
    yield timer_case("needs a true before", TimerKind.FALLS, 0, [
        (0, (False,), False, [False]), (1, (True,), False, [True]), (2, (False,), True, [False]), (3, (False,),
        False, [False]),
    ])  # fmt: skip


def window(head: int, count: int, times: Sequence[int], samples: Sequence[float]) -> list[Value]:
    return [head, count, *times, *samples]


def window_cases() -> Iterator[Case]:
    yield timer_case("wraps around and drops the oldest when full", TimerKind.SUM, 2, [
        (1, (1.0, 100), 1.0, window(0, 1, [1, 0], [1.0, 0.0])), (2, (2.0, 100), 3.0, window(0, 2, [1, 2], [1.0, 2.0])),
        (3, (4.0, 100), 6.0, window(1, 2, [3, 2], [4.0, 2.0])), (4, (8.0, 100), 12.0, window(0, 2, [3, 4], [4.0, 8.0])),
    ])  # fmt: skip
    yield timer_case("drops a sample at exactly the span", TimerKind.SUM, 3, [
        (0, (1.0, 10), 1.0, window(0, 1, [0, 0, 0], [1.0, 0.0, 0.0])),
        (9, (2.0, 10), 3.0, window(0, 2, [0, 9, 0], [1.0, 2.0, 0.0])),
        (10, (4.0, 10), 6.0, window(1, 2, [0, 9, 10], [1.0, 2.0, 4.0])),
        (30, (8.0, 10), 8.0, window(0, 1, [30, 9, 10], [8.0, 2.0, 4.0])),
    ])  # fmt: skip
    yield timer_case("a span of zero keeps only the new sample", TimerKind.SUM, 2, [
        (5, (1.0, 0), 1.0, window(0, 1, [5, 0], [1.0, 0.0])), (5, (2.0, 0), 2.0, window(1, 1, [5, 5], [1.0, 2.0])),
        (5, (3.0, -1), 3.0, window(0, 1, [5, 5], [3.0, 2.0])),
    ])  # fmt: skip
    yield timer_case("NaN is not stored, but old samples still leave", TimerKind.MEAN, 2, [
        (0, (NAN, 10), NAN, window(0, 0, [0, 0], [0.0, 0.0])), (1, (3.0, 10), 3.0, window(0, 1, [1, 0], [3.0, 0.0])),
        (2, (NAN, 10), 3.0, window(0, 1, [1, 0], [3.0, 0.0])), (11, (NAN, 10), NAN, window(1, 0, [1, 0], [3.0, 0.0])),
    ])  # fmt: skip
    yield timer_case("capacity 1", TimerKind.MEAN, 1, [
        (0, (1.0, 100), 1.0, window(0, 1, [0], [1.0])), (1, (-2.0, 100), -2.0, window(0, 1, [1], [-2.0])),
    ])  # fmt: skip
    for head, count in ((-1, 1), (2, 1), (0, 3), (0, -1), (2**63 - 1, 2), (-(2**63), -(2**63))):
        yield timer_case(f"head {head}, count {count} count as empty", TimerKind.SUM, 2, [
            (1, (5.0, 10), 5.0, window(0, 1, [1, 9], [5.0, 9.0])),
        ], start=window(head, count, [9, 9], [9.0, 9.0]))  # fmt: skip
    yield timer_case("the sum goes from the oldest to the newest, one float at a time", TimerKind.SUM, 3, [
        (1, (1e16, 100), 1e16, window(0, 1, [1, 0, 0], [1e16, 0.0, 0.0])),
        (2, (1.0, 100), 1e16, window(0, 2, [1, 2, 0], [1e16, 1.0, 0.0])),
        (3, (-1e16, 100), 0.0, window(0, 3, [1, 2, 3], [1e16, 1.0, -1e16])),
        (4, (2.5, 100), -9999999999999998.0, window(1, 3, [4, 2, 3], [2.5, 1.0, -1e16])),
    ])  # fmt: skip
    yield timer_case(
        "of -0.0 is 0.0: it starts from 0.0", TimerKind.SUM, 1, [(0, (-0.0, 1), 0.0, window(0, 1, [0], [-0.0]))]
    )
    yield timer_case("infinities of both signs give NaN", TimerKind.MEAN, 2, [
        (0, (INF, 9), INF, window(0, 1, [0, 0], [INF, 0.0])), (1, (-INF, 9), NAN, window(0, 2, [0, 1], [INF, -INF])),
    ])  # fmt: skip
    yield timer_case("divides the sum by the count", TimerKind.MEAN, 3, [
        (0, (0.1, 9), 0.1, window(0, 1, [0, 0, 0], [0.1, 0.0, 0.0])),
        (1, (0.2, 9), (0.1 + 0.2) / 2.0, window(0, 2, [0, 1, 0], [0.1, 0.2, 0.0])),
        (2, (0.3, 9), 0.20000000000000004, window(0, 3, [0, 1, 2], [0.1, 0.2, 0.3])),
    ])  # fmt: skip
    yield timer_case("smallest; of equal zeros the first", TimerKind.MIN, 3, [
        (0, (NAN, 9), NAN, window(0, 0, [0, 0, 0], [0.0, 0.0, 0.0])), (0, (0.0, 9),
        0.0, window(0, 1, [0, 0, 0], [0.0, 0.0, 0.0])),
        (1, (-0.0, 9), 0.0, window(0, 2, [0, 1, 0], [0.0, -0.0, 0.0])), (2, (-3.0, 9),
        -3.0, window(0, 3, [0, 1, 2], [0.0, -0.0, -3.0])),
    ])  # fmt: skip
    yield timer_case("largest; of equal zeros the first", TimerKind.MAX, 3, [
        (0, (NAN, 9), NAN, window(0, 0, [0, 0, 0], [0.0, 0.0, 0.0])), (0, (-0.0, 9),
        -0.0, window(0, 1, [0, 0, 0], [-0.0, 0.0, 0.0])),
        (1, (0.0, 9), -0.0, window(0, 2, [0, 1, 0], [-0.0, 0.0, 0.0])), (2, (7.0, 9),
        7.0, window(0, 3, [0, 1, 2], [-0.0, 0.0, 7.0])),
    ])  # fmt: skip
    for kind in (TimerKind.MIN, TimerKind.MAX):
        yield timer_case("a stored NaN that is the oldest stays the result", kind, 2, [
            (1, (2.0, 9), NAN, window(0, 2, [0, 1], [NAN, 2.0])),
        ], start=window(0, 1, [0, 0], [NAN, 0.0]))  # fmt: skip
        yield timer_case("a stored NaN that is not the oldest is passed over", kind, 2, [
            (1, (NAN, 9), 2.0, window(0, 2, [0, 0], [2.0, NAN])),
        ], start=window(0, 2, [0, 0], [2.0, NAN]))  # fmt: skip


def rate_cases() -> Iterator[Case]:
    yield timer_case("units per second between oldest and newest", TimerKind.RATE, 3, [
        (0, (10.0, 10 * S), 0.0, window(0, 1, [0, 0, 0], [10.0, 0.0, 0.0])),
        (2 * S, (14.0, 10 * S), 2.0, window(0, 2, [0, 2 * S, 0], [10.0, 14.0, 0.0])),
        (4 * S, (10.0, 10 * S), 0.0, window(0, 3, [0, 2 * S, 4 * S], [10.0, 14.0, 10.0])),
        (5 * S, (8.0, 10 * S), -2.0, window(1, 3, [5 * S, 2 * S, 4 * S], [8.0, 14.0, 10.0])),
    ])  # fmt: skip
    yield timer_case("no time between the samples gives 0.0", TimerKind.RATE, 2, [
        (3, (1.0, 9), 0.0, window(0, 1, [3, 0], [1.0, 0.0])), (3, (5.0, 9), 0.0, window(0, 2, [3, 3], [1.0, 5.0])),
    ])  # fmt: skip
    yield timer_case("one microsecond", TimerKind.RATE, 2, [
        (0, (0.0, 9), 0.0, window(0, 1, [0, 0], [0.0, 0.0])), (1, (1.0, 9),
        1.0 / 1e-6, window(0, 2, [0, 1], [0.0, 1.0])),
    ])  # fmt: skip
    yield timer_case("a third of a second is one division of floats", TimerKind.RATE, 2, [
        (0, (0.0, S), 0.0, window(0, 1, [0, 0], [0.0, 0.0])), (333_333, (1.0, S),
        1.0 / 0.333333, window(0, 2, [0, 333_333], [0.0, 1.0])),
    ])  # fmt: skip
    yield timer_case("infinite samples of one sign give NaN", TimerKind.RATE, 2, [
        (0, (INF, S), 0.0, window(0, 1, [0, 0], [INF, 0.0])), (1, (INF, S), NAN, window(0, 2, [0, 1], [INF, INF])),
    ])  # fmt: skip


def count_cases() -> Iterator[Case]:
    yield timer_case("stores only true conditions", TimerKind.COUNT, 2, [
        (0, (False, 10), 0, window(0, 0, [0, 0], [0.0, 0.0])), (1, (True, 10), 1, window(0, 1, [1, 0], [1.0, 0.0])),
        (2, (True, 10), 2, window(0, 2, [1, 2], [1.0, 1.0])), (3, (True, 10), 2, window(1, 2, [3, 2], [1.0, 1.0])),
        (12, (False, 10), 1, window(0, 1, [3, 2], [1.0, 1.0])), (13, (False, 10), 0, window(1, 0, [3, 2], [1.0, 1.0])),
    ])  # fmt: skip


def reset_cases() -> Iterator[Case]:
    for kind, start, after in (
        (TimerKind.HOLD, [5], [NEVER]),
        (TimerKind.COOLDOWN, [5], [NEVER]),
        (TimerKind.RISES, [True], [False]),
        (TimerKind.FALLS, [True], [False]),
        (TimerKind.SUM, window(1, 2, [7, 8], [1.5, NAN]), window(0, 0, [7, 8], [1.5, NAN])),
        (TimerKind.COUNT, window(-5, 99, [7, 8], [1.0, 1.0]), window(0, 0, [7, 8], [1.0, 1.0])),
    ):
        program = assemble(
            [Handler("", [(Op.RESET, 0), (Op.RETURN,)])], timers=[(kind, 2 if TIMERS[kind].window else 0)]
        )
        step = CaseStep(Expected(state=after), time_us=9)
        yield Case(f"time: RESET of {kind.name}", program, [step], start=start, tags=("RESET",))


def clock_cases() -> Iterator[Case]:
    code = [(Op.NOW,), (Op.STORE, 0), (Op.LOCAL_NOW,), (Op.STORE, 1), (Op.RETURN,)]
    program = assemble([Handler("", code)], state="II")
    steps = [
        CaseStep(Expected(state=[now, now + offset]), time_us=now, utc_offset_us=offset)
        for now, offset in ((0, 0), (0, -3_600 * S), (1_700_000_000 * S, 7_200 * S), (2**62 - 1, 50_400 * S))
    ]
    yield Case("time: NOW and LOCAL_NOW", program, steps)
    kind = TimerKind.HOLD
    twice = [(Op.PUSH_BOOL, 1), (Op.PUSH_INT, 5), (Op.EVAL, 0), (Op.STORE, 0), (Op.PUSH_BOOL, 0), (Op.PUSH_INT, 5),
             (Op.EVAL, 1), (Op.STORE, 1), (Op.RETURN,)]  # fmt: skip
    both = assemble([Handler("", twice)], state="BB", timers=[(kind, 0), (kind, 0)])
    first = CaseStep(Expected(state=[False, False, 1, NEVER]), time_us=1)
    yield Case(
        "time: two timers do not touch each other",
        both,
        [first, CaseStep(Expected(state=[True, False, 1, NEVER]), time_us=6)],
    )
    trapping = [(Op.PUSH_BOOL, 1), (Op.PUSH_INT, 5), (Op.EVAL, 0), (Op.POP,), (Op.PUSH_INT, 1), (Op.PUSH_INT, 0),
    (Op.DIV_I,),
                (Op.POP,), (Op.RETURN,)]  # fmt: skip
    trapped = assemble([Handler("", trapping)], timers=[(kind, 0)])
    yield Case("time: a trap later on takes the timer back too", trapped, [
        CaseStep(Expected("trapped", state=[NEVER], trap=2, pc=6), time_us=1),
    ])  # fmt: skip


def cases() -> Iterator[Case]:
    for make in (
        hold_cases,
        cooldown_cases,
        edge_cases,
        window_cases,
        rate_cases,
        count_cases,
        reset_cases,
        clock_cases,
    ):
        yield from make()
