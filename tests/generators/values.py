"""Random values that are likely to hurt: limits, ties, NaN, multi-byte texts; and hosts that answer with them."""

from __future__ import annotations

import random

from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.layout import flat_types
from eyeflow.svm.numbers import NAN, cut_text
from eyeflow.svm.program import MemorySlot, Program, Type, TypeTag, Value, ValueType

INTS = (0, 1, -1, 2, 3, 5, 7, 10, 63, 64, 100, -7, 1000, 65535, 1_000_000, 2**31, 2**53 + 1, 2**62, -(2**63), 2**63 - 1)
FLOATS = (
    0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.5, 80.0, 0.1, 1e-3, 123456.789, 5e-324, 2.2250738585072014e-308, 1e300,
    -1e300, 9.223372036854775e18, 2.0**52 + 0.5, 4503599627370497.5, float("inf"), float("-inf"), NAN,
)  # fmt: skip
TEXTS = ("", "a", "hot", "alarm at plant", "ä", "äöü", "日本語", "🔥", "a🔥b", "\0", "x" * 40)


def random_int(rng: random.Random) -> int:
    return rng.randint(-20, 20) if rng.random() < 0.7 else rng.choice(INTS)


def random_float(rng: random.Random) -> float:
    return rng.uniform(-100.0, 100.0) if rng.random() < 0.5 else rng.choice(FLOATS)


def random_value(rng: random.Random, slot: MemorySlot, type_: Type | None = None) -> Value:
    """Return a value that may stand in `slot` holding `type_`."""
    if type_ is not None and type_.tag is TypeTag.ENUM:
        return rng.randrange(len(type_.members))
    if type_ is not None and type_.tag is TypeTag.LIST:
        return rng.choice((0, type_.size, type_.size, rng.randint(0, type_.size)))
    if slot.type is ValueType.BOOL:
        return rng.random() < 0.5
    if slot.type is ValueType.INT:
        return random_int(rng)
    if slot.type is ValueType.FLOAT:
        return random_float(rng)
    return cut_text(rng.choice(TEXTS), slot.size_bytes_max)


def random_values(rng: random.Random, type_: Type) -> tuple[Value, ...]:
    """Return flattened values of a type."""
    return tuple(random_value(rng, slot, scalar) for slot, scalar in flat_types(type_))


class SeededHost:
    """Answers reads with random values, some failures and some answers of a wrong type; the same for the same seed."""

    def __init__(self, program: Program, seed: int) -> None:
        self._program = program
        self._rng = random.Random(seed)

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        result = self._program.sites[site].result
        assert result is not None
        if self._rng.random() < 0.15:
            raise CapabilityFailure("it did not answer")
        if self._rng.random() < 0.1:
            return self._rng.choice((True, 1, 2.5, "x" * 300, 2**70, -1))
        return random_values(self._rng, result)[0]
