"""Cases of the number and text semantics. Every expected value is written here or comes from `oracles`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import oracles
from assembler import Case, op_case

from eyeflow.svm.opcodes import Op, Trap
from eyeflow.svm.program import Value

LOW, HIGH = -(2**63), 2**63 - 1
NAN, INF = math.nan, math.inf
TINY, SMALLEST_NORMAL, LARGEST = 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308
OVERFLOW, ZERO, SHIFT, RANGE = Trap.INT_OVERFLOW, Trap.DIV_BY_ZERO, Trap.SHIFT_RANGE, Trap.CONVERT_RANGE

INT_CASES: dict[Op, list[tuple[int, int, int | bool | Trap]]] = {
    Op.ADD_I: [(2, 3, 5), (HIGH, 0, HIGH), (HIGH, 1, OVERFLOW), (LOW, -1, OVERFLOW), (LOW, HIGH, -1)],
    Op.SUB_I: [(2, 3, -1), (LOW, 1, OVERFLOW), (0, LOW, OVERFLOW), (-1, LOW, HIGH), (LOW, LOW, 0)],
    Op.MUL_I: [
        (-4, 6, -24), (2**31, 2**32, OVERFLOW), (-(2**31), 2**32, LOW), (LOW, -1, OVERFLOW), (-1, LOW, OVERFLOW),
        (3037000500, 3037000500, OVERFLOW), (3037000499, 3037000499, 9223372030926249001), (LOW, 0, 0),
    ],
    Op.DIV_I: [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (-7, -2, 3), (7, 0, ZERO), (LOW, -1, OVERFLOW), (LOW, 1, LOW),
               (LOW, HIGH, -1), (HIGH, LOW, 0), (0, -5, 0), (LOW, 2, -(2**62))],
    Op.MOD_I: [(7, 3, 1), (-7, 3, -1), (7, -3, 1), (-7, -3, -1), (7, 0, ZERO), (LOW, -1, 0), (LOW, HIGH, -1),
    (HIGH, LOW, HIGH),
               (6, 3, 0), (LOW, 2, 0)],
    Op.MIN_I: [(3, -3, -3), (LOW, HIGH, LOW)],
    Op.MAX_I: [(3, -3, 3), (LOW, HIGH, HIGH)],
    Op.AND_I: [(12, 10, 8), (-1, HIGH, HIGH), (LOW, -1, LOW)],
    Op.OR_I: [(12, 10, 14), (LOW, HIGH, -1), (-8, 1, -7)],
    Op.XOR_I: [(12, 10, 6), (-1, -1, 0), (LOW, -1, HIGH)],
    Op.SHL_I: [(1, 62, 2**62), (1, 63, LOW), (3, 63, LOW), (2, 63, 0), (5, 0, 5), (1, 64, SHIFT), (1, -1, SHIFT),
    (-1, 63, LOW),
               (HIGH, 1, -2), (1, LOW, SHIFT)],
    Op.SHR_I: [(-8, 1, -4), (-1, 63, -1), (HIGH, 62, 1), (LOW, 63, -1), (5, 0, 5), (1, 64, SHIFT), (1, -1, SHIFT)],
    Op.EQ_I: [(1, 1, True), (1, -1, False)],
    Op.LT_I: [(-1, 1, True), (1, 1, False), (LOW, HIGH, True)],
    Op.LE_I: [(1, 1, True), (2, 1, False)],
    Op.GT_I: [(2, 1, True), (1, 1, False)],
    Op.GE_I: [(1, 1, True), (LOW, HIGH, False)],
}  # fmt: skip
INT_UNARY: dict[Op, list[tuple[int, int | Trap]]] = {
    Op.NEG_I: [(5, -5), (LOW, OVERFLOW), (HIGH, -HIGH)],
    Op.ABS_I: [(-5, 5), (5, 5), (LOW, OVERFLOW), (-HIGH, HIGH)],
}

FLOAT_PAIRS = [
    (0.1, 0.2), (1.0, 2.0**-53), (1.0, 3 * 2.0**-54), (0.0, -0.0), (-0.0, -0.0), (-0.0, 0.0), (LARGEST, LARGEST),
    (TINY, 2.0),
    (TINY, -TINY), (SMALLEST_NORMAL, 0.5), (SMALLEST_NORMAL, 3.0), (1e300, -1e300), (9007199254740993.0, 1.0),
    (-7.5, 2.5),
    (1.0, 3.0),
]  # fmt: skip
FLOAT_ORACLES = {
    Op.ADD_F: oracles.add, Op.SUB_F: oracles.subtract, Op.MUL_F: oracles.multiply, Op.DIV_F: oracles.divide,
}  # fmt: skip
FLOAT_SPECIAL: dict[Op, list[tuple[float, float, float]]] = {
    Op.ADD_F: [(INF, -INF, NAN), (INF, 1.0, INF), (NAN, 1.0, NAN)],
    Op.SUB_F: [(INF, INF, NAN), (1.0, NAN, NAN), (1.0, INF, -INF)],
    Op.MUL_F: [(INF, 0.0, NAN), (-INF, 2.0, -INF), (INF, -0.0, NAN), (NAN, 0.0, NAN)],
    Op.DIV_F: [(1.0, 0.0, INF), (1.0, -0.0, -INF), (-1.0, 0.0, -INF), (-1.0, -0.0, INF), (0.0, 0.0, NAN),
    (-0.0, 0.0, NAN),
               (NAN, 0.0, NAN), (INF, INF, NAN), (1.0, INF, 0.0), (-1.0, INF, -0.0), (INF, 0.0, INF),
               (INF, -0.0, -INF)],
    Op.MIN_F: [(1.0, 2.0, 1.0), (2.0, 1.0, 1.0), (0.0, -0.0, 0.0), (-0.0, 0.0, -0.0), (NAN, 1.0, NAN), (1.0, NAN, NAN),
               (-INF, INF, -INF)],
    Op.MAX_F: [(1.0, 2.0, 2.0), (2.0, 1.0, 2.0), (0.0, -0.0, 0.0), (-0.0, 0.0, -0.0), (NAN, 1.0, NAN), (1.0, NAN, NAN),
               (-INF, INF, INF)],
}  # fmt: skip
FLOAT_COMPARE: dict[Op, list[tuple[float, float, bool]]] = {
    Op.EQ_F: [(0.0, -0.0, True), (NAN, NAN, False), (1.0, 1.0, True), (INF, INF, True), (TINY, 0.0, False)],
    Op.LT_F: [(1.0, 2.0, True), (NAN, 1.0, False), (1.0, NAN, False), (-0.0, 0.0, False), (-INF, LARGEST, True)],
    Op.LE_F: [(1.0, 1.0, True), (NAN, NAN, False), (0.0, -0.0, True), (2.0, 1.0, False)],
    Op.GT_F: [(2.0, 1.0, True), (NAN, 1.0, False), (1.0, NAN, False), (1.0, 1.0, False), (TINY, 0.0, True)],
    Op.GE_F: [(1.0, 1.0, True), (NAN, NAN, False), (-0.0, 0.0, True), (1.0, 2.0, False)],
}
INTEGRALS = [
    0.0, -0.0, 0.3, -0.3, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999999999999994, -0.49999999999999994,
    4503599627370495.5,
    -4503599627370495.5, 4503599627370497.0, 9007199254740993.0, 1e300, TINY, -TINY, 2.0**51 + 0.25,
]  # fmt: skip
FLOAT_UNARY: dict[Op, list[tuple[float, float]]] = {
    Op.NEG_F: [(0.0, -0.0), (-0.0, 0.0), (INF, -INF), (NAN, NAN), (TINY, -TINY)],
    Op.ABS_F: [(-0.0, 0.0), (-INF, INF), (NAN, NAN), (-1.5, 1.5)],
    Op.FLOOR_F: [(INF, INF), (-INF, -INF), (NAN, NAN), *((x, oracles.floor(x)) for x in INTEGRALS)],
    Op.CEIL_F: [(INF, INF), (NAN, NAN), *((x, oracles.ceil(x)) for x in INTEGRALS)],
    Op.ROUND_F: [(INF, INF), (-INF, -INF), (NAN, NAN), *((x, oracles.round_away(x)) for x in INTEGRALS)],
    Op.SQRT_F: [(INF, INF), (-INF, NAN), (NAN, NAN), (-0.0, -0.0), (-TINY, NAN), (-1.0, NAN),
                *((x, oracles.sqrt(x)) for x in (0.0, 2.0, 4.0, 1e-300, TINY, LARGEST, 0.1, 15241578750190521.0))],
}  # fmt: skip
TO_INT: list[tuple[float, int | Trap]] = [
    (0.0, 0), (-0.0, 0), (1.9, 1), (-1.9, -1), (0.9999999999999999, 0), (9223372036854774784.0, 9223372036854774784),
    (9223372036854775808.0, RANGE), (-9223372036854775808.0, LOW), (-9223372036854777856.0, RANGE), (INF, RANGE),
    (-INF, RANGE),
    (NAN, RANGE), (TINY, 0), (9007199254740993.0, 9007199254740992),
]  # fmt: skip
TO_FLOAT = [0, 1, -1, 2**53, 2**53 + 1, 2**53 + 3, -(2**53) - 1, HIGH, LOW, 2**62 + 2**9, 2**62 + 2**9 + 1]

TEXT_INTS = [(0, "0"), (-5, "-5"), (HIGH, "9223372036854775807"), (LOW, "-9223372036854775808")]
TEXT_DURATIONS = [
    (0, "0s"), (1, "1us"), (-1_500_000, "-1500ms"), (90_000_000, "90s"), (60_000_000, "1min"), (5_400_000_000, "90min"),
    (7_200_000_000, "2h"), (86_400_000_000, "1d"), (172_800_000_000, "2d"), (1_001, "1001us"), (-86_400_000_000, "-1d"),
    (HIGH, "9223372036854775807us"), (LOW, "-9223372036854775808us"), (90_000_000_000, "25h"),
]  # fmt: skip
TEXT_FLOATS = [
    (80.0, 255, "80.0"), (0.1, 255, "0.1"), (-0.0, 255, "0.0"), (-0.0, 0, "0"), (1.25, 1, "1.2"), (1.35, 1, "1.4"),
    (0.5, 0, "0"),
    (1.5, 0, "2"), (2.5, 0, "2"), (-2.5, 0, "-2"), (-0.4, 0, "0"), (-0.04, 1, "0.0"), (-0.06, 1, "-0.1"),
    (2.675, 2, "2.68"),
    (1.005, 2, "1.00"), (123456.789, 3, "123456.789"), (123456.789, 255, "123456.789"), (1e-7, 255, "0.0"),
    (5e-7, 255, "0.0"),
    (1.5e-6, 255, "0.000002"), (1e-6, 255, "0.000001"), (100.0, 2, "100.00"), (9.2e18, 0, "9200000000000000000"),
    (9223372036854775808.0, 0, ">9.2e18"), (-9223372036854775808.0, 0, "->9.2e18"), (1e13, 6, ">9.2e12"),
    (-1e300, 255, "->9.2e12"),
    (9e12, 6, "9000000000000.000000"), (TINY, 6, "0.000000"), (0.999999, 5, "1.00000"), (0.9999996, 255, "1.0"),
    (LARGEST, 0, ">9.2e18"), (1e308, 6, ">9.2e12"),
]  # fmt: skip
TEXT_FLOATS_SPECIAL = [(NAN, 2, "nan"), (NAN, 255, "nan"), (INF, 0, "inf"), (-INF, 6, "-inf"), (INF, 255, "inf")]

CONCATS = [
    ("ab", "cd", 4, "abcd"), ("ab", "cd", 3, "abc"), ("ab", "cd", 0, ""), ("", "", 0, ""), ("ä", "ö", 4, "äö"),
    ("ä", "ö", 3, "ä"),
    ("ä", "ö", 1, ""), ("日", "本", 5, "日"), ("日", "本", 6, "日本"), ("a", "🔥", 4, "a"), ("a", "🔥", 5, "a🔥"),
    ("🔥", "a", 3, ""),
    ("e\u0301", "", 2, "e"), ("\0", "x", 2, "\0x"),
]  # fmt: skip
TEXT_PAIRS: dict[Op, list[tuple[str, str, bool]]] = {
    Op.EQ_T: [("", "", True), ("a", "a", True), ("a", "b", False), ("é", "e\u0301", False), ("a", "a\0", False)],
    Op.CONTAINS: [("", "", True), ("abc", "", True), ("abc", "bc", True), ("abc", "ac", False), ("", "a", False),
                  ("日本語", "本", True), ("äö", "\u00f6", True)],
    Op.STARTS_WITH: [("abc", "ab", True), ("abc", "bc", False), ("", "", True), ("a", "ab", False),
    ("🔥a", "🔥", True)],
}  # fmt: skip
LENGTHS = [("", 0), ("abc", 3), ("äöü", 3), ("日本語", 3), ("a🔥b", 3), ("e\u0301", 2), ("\0", 1)]


def _case(group: str, op: Op, operands: tuple[Value, ...], expected: Value | Trap, *, a: int = 0, b: int = 0) -> Case:
    shown = ", ".join(repr(operand) for operand in operands)
    extra = "".join(f" {letter}={value}" for letter, value in (("a", a), ("b", b)) if value)
    return op_case(f"{group}: {op.name}({shown}){extra}", op, operands, expected, a=a, b=b)


def int_cases() -> Iterator[Case]:
    for op, rows in INT_CASES.items():
        for x, y, expected in rows:
            yield _case("int", op, (x, y), expected)
    for op, unary in INT_UNARY.items():
        for x, result in unary:
            yield _case("int", op, (x,), result)
    for x in (9, -9, 10**18, LOW + 1):
        for y in (2, -4, 10**9 + 7):
            yield _case("int", Op.DIV_I, (x, y), oracles.divide_int(x, y))
            yield _case("int", Op.MOD_I, (x, y), oracles.remainder_int(x, y))


def float_cases() -> Iterator[Case]:
    for op, oracle in FLOAT_ORACLES.items():
        for x, y in FLOAT_PAIRS:
            if op is not Op.DIV_F or y != 0.0:
                yield _case("float", op, (x, y), oracle(x, y))
    for op, special in FLOAT_SPECIAL.items():
        for x, y, expected in special:
            yield _case("float", op, (x, y), expected)
    for op, compared in FLOAT_COMPARE.items():
        for x, y, truth in compared:
            yield _case("float", op, (x, y), truth)
    for op, unary in FLOAT_UNARY.items():
        for x, expected in unary:
            yield _case("float", op, (x,), expected)
    for x, whole in TO_INT:
        yield _case("float", Op.F_TO_I, (x,), whole)
    for number in TO_FLOAT:
        yield _case("float", Op.I_TO_F, (number,), oracles.int_to_float(number))


def logic_cases() -> Iterator[Case]:
    for x in (False, True):
        yield _case("logic", Op.NOT, (x,), not x)
        yield _case("text", Op.TEXT_B, (x,), "true" if x else "false")
        for y in (False, True):
            yield _case("logic", Op.AND, (x, y), (x, y) == (True, True))
            yield _case("logic", Op.OR, (x, y), (x, y) != (False, False))
            yield _case("logic", Op.EQ_B, (x, y), (x, y) in ((True, True), (False, False)))


def text_cases() -> Iterator[Case]:
    for number, shown in TEXT_INTS:
        yield _case("text", Op.TEXT_I, (number,), shown)
    for duration_us, shown in TEXT_DURATIONS:
        yield _case("text", Op.TEXT_D, (duration_us,), shown)
    for x, decimals, shown in TEXT_FLOATS:
        if decimals != 255:
            assert oracles.text_of_float(x, decimals) == shown, (x, decimals, shown, oracles.text_of_float(x, decimals))
        yield _case("text", Op.TEXT_F, (x,), shown, a=decimals)
    for x, decimals, shown in TEXT_FLOATS_SPECIAL:
        yield _case("text", Op.TEXT_F, (x,), shown, a=decimals)
    for lower, top, limit, joined in CONCATS:
        yield _case("text", Op.CONCAT, (lower, top), joined, b=limit)
    for op, pairs in TEXT_PAIRS.items():
        for lower, top, truth in pairs:
            yield _case("text", op, (lower, top), truth)
    for given, length in LENGTHS:
        yield _case("text", Op.LEN_T, (given,), length)
    for ordinal, name in enumerate(("off", "warm", "cold")):
        yield _case("text", Op.TEXT_ENUM, (ordinal,), name, a=3)
    for ordinal in (-1, 3, LOW, HIGH):
        yield _case("text", Op.TEXT_ENUM, (ordinal,), Trap.ENUM_RANGE, a=3)


def cases() -> Iterator[Case]:
    yield from int_cases()
    yield from float_cases()
    yield from logic_cases()
    yield from text_cases()
