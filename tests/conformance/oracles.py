"""Independent answers for the number cases: exact rationals and decimals, none of the code under test."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, localcontext
from fractions import Fraction

DIGITS = 2000
"""Enough for every binary64 number and its integral part to be exact."""


def to_float(exact: Fraction, sign: float) -> float:
    """Round an exact rational to binary64, ties to even; `sign` is the sign of a zero."""
    if exact == 0:
        return math.copysign(0.0, sign)
    try:
        rounded = float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
    return math.copysign(rounded, -1.0 if exact < 0 else 1.0)


def add(x: float, y: float) -> float:
    both_negative = math.copysign(1, x) < 0 and math.copysign(1, y) < 0
    return to_float(Fraction(x) + Fraction(y), -1.0 if both_negative else 1.0)


def subtract(x: float, y: float) -> float:
    return add(x, math.copysign(abs(y), -math.copysign(1, y)))


def multiply(x: float, y: float) -> float:
    return to_float(Fraction(x) * Fraction(y), math.copysign(1, x) * math.copysign(1, y))


def divide(x: float, y: float) -> float:
    return to_float(Fraction(x) / Fraction(y), math.copysign(1, x) * math.copysign(1, y))


def integral(x: float, rounding: str) -> float:
    with localcontext(Context(prec=DIGITS)):
        whole = Decimal(x).to_integral_value(rounding)
    return to_float(Fraction(whole), x)


def floor(x: float) -> float:
    return integral(x, ROUND_FLOOR)


def ceil(x: float) -> float:
    return integral(x, ROUND_CEILING)


def round_away(x: float) -> float:
    return integral(x, ROUND_HALF_UP)


def sqrt(x: float) -> float:
    """Square root to 400 digits, then one rounding; exact roots round to themselves."""
    with localcontext(Context(prec=400)):
        root = Decimal(x).sqrt()
    return to_float(Fraction(root), x)


def int_to_float(value: int) -> float:
    return to_float(Fraction(value), 1.0)


def divide_int(x: int, y: int) -> int:
    return math.trunc(Fraction(x, y))


def remainder_int(x: int, y: int) -> int:
    return x - y * divide_int(x, y)


def text_of_float(x: float, decimals: int) -> str:
    """docs/svm.md, Numbers: one float multiplication, then ties to even, on exact decimals."""
    y = Decimal(multiply(abs(x), float(10**decimals)))
    if y >= 2**63:
        return f"{'-' if x < 0 else ''}>9.2e{18 - decimals}"
    with localcontext(Context(prec=DIGITS)):
        r = int(y.to_integral_value(ROUND_HALF_EVEN))
    sign = "-" if x < 0 and r > 0 else ""
    digits = str(r).rjust(decimals + 1, "0")
    return sign + (digits if decimals == 0 else f"{digits[:-decimals]}.{digits[-decimals:]}")
