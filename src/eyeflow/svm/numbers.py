"""Exact number and text semantics of the SVM, shared by the interpreter and the generated fast path.

Every function follows docs/svm.md, Numbers. Ints are Python ints in [-2^63, 2^63), floats IEEE 754 binary64, texts
valid UTF-8. A function that can trap raises `TrapError`.
"""

from __future__ import annotations

import math
import struct

from eyeflow.base.duration import UNITS_US
from eyeflow.svm.opcodes import Trap

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
NAN = math.nan
NAN_BITS = 0x7FF8000000000000
"""The bits of the one NaN that leaves the SVM."""

DECIMALS_SHORTEST = 255
"""Operand of TEXT_F that drops zeros at the end."""
DECIMALS_MAX = 6
TEXT_I_BYTES_MAX = 20
TEXT_F_BYTES_MAX = 27
TEXT_D_BYTES_MAX = 22
SHIFT_MAX = 63

_INTEGRAL_FROM = 2.0**52
_WORD = 2**64


class TrapError(Exception):
    """An instruction trapped; the machine that runs it adds the instruction's index."""

    def __init__(self, trap: Trap) -> None:
        super().__init__(trap.name)
        self.trap = trap


# --- int -----------------------------------------------------------------------------------------------------------


def checked(exact: int) -> int:
    """Return an exact result that fits 64 bits; raises INT_OVERFLOW otherwise."""
    if INT_MIN <= exact <= INT_MAX:
        return exact
    raise TrapError(Trap.INT_OVERFLOW)


def div_int(lower: int, top: int) -> int:
    """Return the quotient rounded toward zero; raises DIV_BY_ZERO, and INT_OVERFLOW for -2^63 / -1."""
    if top == 0:
        raise TrapError(Trap.DIV_BY_ZERO)
    # Of the magnitudes: `//` of Python rounds down, the SVM toward zero.
    magnitude = abs(lower) // abs(top)
    return checked(magnitude if (lower < 0) == (top < 0) else -magnitude)


def mod_int(lower: int, top: int) -> int:
    """Return the remainder with the sign of `lower`; raises DIV_BY_ZERO."""
    if top == 0:
        raise TrapError(Trap.DIV_BY_ZERO)
    # Of the magnitudes: `%` of Python takes the sign of the divisor, the SVM that of the dividend.
    magnitude = abs(lower) % abs(top)
    return -magnitude if lower < 0 else magnitude


def shl_int(value: int, count: int) -> int:
    """Return `value` shifted left, bits beyond bit 63 lost; raises SHIFT_RANGE."""
    if not 0 <= count <= SHIFT_MAX:
        raise TrapError(Trap.SHIFT_RANGE)
    return wrapped(value << count)


def shr_int(value: int, count: int) -> int:
    """Return `value` shifted right, the sign kept; raises SHIFT_RANGE."""
    if not 0 <= count <= SHIFT_MAX:
        raise TrapError(Trap.SHIFT_RANGE)
    return value >> count


def wrapped(value: int) -> int:
    """Return the low 64 bits as two's complement."""
    low = value & (_WORD - 1)
    return low - _WORD if low > INT_MAX else low


# --- float ---------------------------------------------------------------------------------------------------------


def div_float(lower: float, top: float) -> float:
    """Return the IEEE 754 quotient; Python alone would raise for a zero divisor."""
    if top != 0.0:
        return lower / top
    if lower == 0.0 or lower != lower:
        return NAN
    return math.copysign(math.inf, lower) * math.copysign(1.0, top)


def min_float(lower: float, top: float) -> float:
    """Return NaN when either is NaN, else `top` when it is less, else `lower`."""
    if lower != lower or top != top:
        return NAN
    return top if top < lower else lower


def max_float(lower: float, top: float) -> float:
    """Return NaN when either is NaN, else `top` when it is greater, else `lower`."""
    if lower != lower or top != top:
        return NAN
    return top if top > lower else lower


def floor_float(value: float) -> float:
    """Return the integral float toward minus infinity; keeps -0.0, infinities and NaN."""
    if not abs(value) < _INTEGRAL_FROM:
        return value
    return math.copysign(float(math.floor(value)), value)


def ceil_float(value: float) -> float:
    """Return the integral float toward plus infinity; of (-1, 0) it is -0.0."""
    if not abs(value) < _INTEGRAL_FROM:
        return value
    return math.copysign(float(math.ceil(value)), value)


def round_float(value: float) -> float:
    """Return the nearest integral float, ties away from zero, the sign of zero kept."""
    magnitude = abs(value)
    if not magnitude < _INTEGRAL_FROM:
        return value
    whole = float(math.floor(magnitude))
    if magnitude - whole >= 0.5:
        whole += 1.0
    return math.copysign(whole, value)


def sqrt_float(value: float) -> float:
    """Return the correctly rounded square root; NaN below zero, -0.0 of -0.0."""
    return NAN if value < 0.0 else math.sqrt(value)


def float_to_int(value: float) -> int:
    """Return `value` rounded toward zero; raises CONVERT_RANGE for NaN, infinities and out of range."""
    if -9223372036854775808.0 <= value < 9223372036854775808.0:
        return int(value)
    raise TrapError(Trap.CONVERT_RANGE)


def float_bits(value: float) -> int:
    """Return the 64 bits of a float as it leaves the SVM: every NaN is the one NaN."""
    if value != value:
        return NAN_BITS
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits


def float_from_bits(bits: int) -> float:
    """Return the float with these bits; every NaN is the object NAN."""
    value: float = struct.unpack("<d", struct.pack("<Q", bits))[0]
    return NAN if value != value else value


# --- text ----------------------------------------------------------------------------------------------------------


def cut_text(text: str, size_bytes_max: int) -> str:
    """Return `text` cut after the last whole character that ends at or before `size_bytes_max` bytes of UTF-8."""
    # A character has at most 4 bytes of UTF-8, so most texts need not be encoded to be measured.
    if len(text) * 4 <= size_bytes_max or (len(text) <= size_bytes_max and text.isascii()):
        return text
    raw = text.encode("utf-8")
    if len(raw) <= size_bytes_max:
        return text
    return raw[:size_bytes_max].decode("utf-8", "ignore")


def text_bytes(text: str) -> int:
    """Return the size of a text in bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def text_of_bool(value: bool) -> str:
    """Return `true` or `false`."""
    return "true" if value else "false"


def text_of_float(value: float, decimals: int) -> str:
    """Return a float with 0 to 6 `decimals`; 255: up to 6, zeros at the end dropped, the first decimal kept."""
    if value != value:
        return "nan"
    if value in (math.inf, -math.inf):
        return "inf" if value > 0 else "-inf"
    digits = DECIMALS_MAX if decimals == DECIMALS_SHORTEST else decimals
    scaled = abs(value) * float(10**digits)
    if scaled >= 9223372036854775808.0:
        return f"{'-' if value < 0 else ''}>9.2e{18 - digits}"
    # `round` of Python takes ties to even, as docs/svm.md asks for here; ROUND_F takes them away from zero.
    rounded = round(scaled)
    whole, fraction = divmod(rounded, 10**digits)
    text = ("-" if value < 0 and rounded > 0 else "") + str(whole)
    if digits == 0:
        return text
    shown = f"{fraction:0{digits}d}"
    if decimals == DECIMALS_SHORTEST:
        shown = shown[0] + shown[1:].rstrip("0")
    return f"{text}.{shown}"


def text_of_duration(duration_us: int) -> str:
    """Return a duration in the largest unit in which it is a whole number; zero is `0s`."""
    if duration_us == 0:
        return "0s"
    for name, size_us in UNITS_US.items():
        if duration_us % size_us == 0:
            return f"{duration_us // size_us}{name}"
    raise AssertionError("every duration is a whole number of microseconds")
