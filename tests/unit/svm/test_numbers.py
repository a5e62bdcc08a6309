"""The number semantics against exact rationals and decimals, over everything that a 64-bit value can be."""

from __future__ import annotations

import math
import random
import struct
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eyeflow.base.duration import UNITS_US
from eyeflow.svm import numbers as n
from eyeflow.svm.opcodes import Trap

CONFORMANCE = str(Path(__file__).parents[2] / "conformance")
if CONFORMANCE not in sys.path:
    sys.path.insert(0, CONFORMANCE)

import oracles  # noqa: E402

ints = st.integers(n.INT_MIN, n.INT_MAX)
bits = st.integers(0, 2**64 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)


def same(one: float, other: float) -> bool:
    return n.float_bits(one) == n.float_bits(other)


@given(ints, ints)
@example(n.INT_MIN, -1)
@example(n.INT_MIN, n.INT_MAX)
def test_division_rounds_toward_zero_and_the_remainder_fits(x: int, y: int) -> None:
    if y == 0:
        with pytest.raises(n.TrapError) as caught:
            n.div_int(x, y)
        assert caught.value.trap is Trap.DIV_BY_ZERO
        return
    exact = oracles.divide_int(x, y)
    assert n.mod_int(x, y) == oracles.remainder_int(x, y)
    if exact > n.INT_MAX:
        with pytest.raises(n.TrapError) as caught:
            n.div_int(x, y)
        assert caught.value.trap is Trap.INT_OVERFLOW
    else:
        assert n.div_int(x, y) == exact


@given(ints, st.integers(0, 63))
def test_shifts_are_those_of_64_bit_words(x: int, count: int) -> None:
    word = struct.unpack("<Q", struct.pack("<q", x))[0]
    left = struct.unpack("<q", struct.pack("<Q", word << count & 2**64 - 1))[0]
    assert n.shl_int(x, count) == left
    assert n.shr_int(x, count) == math.floor(Fraction(x, 2**count))


@given(finite, finite)
@example(-0.0, 5.0)
@example(5e-324, 3.0)
def test_division_of_floats_is_correctly_rounded(x: float, y: float) -> None:
    if y != 0.0:
        assert same(n.div_float(x, y), oracles.divide(x, y))
    else:
        expected = math.nan if x == 0.0 else math.copysign(math.inf, x) * math.copysign(1.0, y)
        assert same(n.div_float(x, y), expected)


@given(finite)
@example(0.49999999999999994)
@example(4503599627370495.5)
@example(-0.0)
@example(-0.3)
def test_rounding_to_integral_floats(x: float) -> None:
    assert same(n.floor_float(x), oracles.floor(x))
    assert same(n.ceil_float(x), oracles.ceil(x))
    assert same(n.round_float(x), oracles.round_away(x))


@given(finite.filter(lambda x: x >= 0.0))
def test_square_root_is_correctly_rounded(x: float) -> None:
    assert same(n.sqrt_float(x), oracles.sqrt(x))


@given(bits)
@example(0xFFF8000000000000)
@example(0x7FF0000000000001)
def test_every_nan_leaves_with_one_pattern(pattern: int) -> None:
    value = n.float_from_bits(pattern)
    assert n.float_bits(value) == (n.NAN_BITS if math.isnan(value) else pattern)


@given(bits)
@example(0x43E0000000000000)
@example(0xC3E0000000000000)
def test_float_to_int_is_exact_or_traps(pattern: int) -> None:
    value = n.float_from_bits(pattern)
    exact = math.trunc(Fraction(value)) if math.isfinite(value) else None
    if exact is not None and n.INT_MIN <= exact <= n.INT_MAX:
        assert n.float_to_int(value) == exact
    else:
        with pytest.raises(n.TrapError):
            n.float_to_int(value)


@given(finite, st.integers(0, 6))
@example(2.5, 0)
@example(-0.4, 0)
@example(9223372036854775808.0, 0)
def test_text_of_float_follows_the_page(x: float, decimals: int) -> None:
    shown = n.text_of_float(x, decimals)
    assert shown == oracles.text_of_float(x, decimals)
    assert len(shown) <= n.TEXT_F_BYTES_MAX


@given(finite)
def test_shortest_text_is_the_six_digit_text_without_trailing_zeros(x: float) -> None:
    full, short = n.text_of_float(x, 6), n.text_of_float(x, n.DECIMALS_SHORTEST)
    if ">" in full:
        assert short == full
    else:
        assert full.startswith(short)
        assert set(full[len(short) :]) <= {"0"}
        assert short.endswith(".0") or not short.endswith("0")


@given(ints)
def test_text_of_duration_is_exact_and_in_the_largest_unit(duration_us: int) -> None:
    shown = n.text_of_duration(duration_us)
    number = shown.rstrip("dhminsu")
    size_us = UNITS_US[shown[len(number) :]]
    assert int(number) * size_us == duration_us
    assert len(shown) <= n.TEXT_D_BYTES_MAX
    larger = [each for each in UNITS_US.values() if each > size_us]
    assert duration_us == 0 or all(duration_us % each for each in larger)


@given(st.text(), st.integers(0, 20))
@example("a🔥b", 4)
@example("ää", 3)
def test_cut_keeps_the_longest_whole_characters(text: str, limit: int) -> None:
    kept = n.cut_text(text, limit)
    assert text.startswith(kept)
    assert n.text_bytes(kept) <= limit
    assert kept == text or n.text_bytes(text[: len(kept) + 1]) > limit


def test_minimum_and_maximum_of_zeros_give_the_first() -> None:
    assert same(n.min_float(0.0, -0.0), 0.0)
    assert same(n.max_float(-0.0, 0.0), -0.0)
    rng = random.Random(1)
    for _ in range(200):
        x, y = rng.uniform(-5, 5), rng.uniform(-5, 5)
        assert (n.min_float(x, y), n.max_float(x, y)) == tuple(sorted((x, y)))
