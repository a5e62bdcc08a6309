"""Compression for the serial link: LZ77 matches and literals as bits. docs/serial-link.md, Compression.

The decoder on the board needs no window in RAM: it reads back what it wrote to flash. The encoder here chooses the
cheapest sequence of tokens for each program (shortest path over its bytes).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice

from eyeflow.board_link.dictionary import DICTIONARIES

NEAR_BITS = 4
FAR_BITS_MAX = 12
LENGTH_MIN = 2
LENGTH_MAX = 64
"""An Elias gamma number of 1 to 63, plus one."""


CANDIDATES_MAX = 256
"""Earlier places that are tried for one match: without a bound, time would grow with the square of equal bytes."""


class Encoding(IntEnum):
    """How a program is sent."""

    RAW = 0
    COMPRESSED = 1
    WITH_DICTIONARY = 2


@dataclass(frozen=True, slots=True)
class Encoded:
    """A program as it is sent; `dictionary` is the version, 0 without one."""

    encoding: Encoding
    dictionary: int
    data: bytes


class BrokenEncodingError(ValueError):
    """Bytes that are no compressed program of the announced size."""


def encode_smallest(program: bytes, dictionary_version: int) -> Encoded:
    """Return the smallest encoding of a program for a board with this dictionary; an unknown one is not used."""
    choices = [Encoded(Encoding.RAW, 0, program), Encoded(Encoding.COMPRESSED, 0, compress(program))]
    prior = DICTIONARIES.get(dictionary_version)
    if prior is not None:
        choices.append(Encoded(Encoding.WITH_DICTIONARY, dictionary_version, compress(program, prior)))
    return min(choices, key=lambda choice: (len(choice.data), choice.encoding))


def far_bits(reach: int) -> int:
    """Return the bits of a far distance when `reach` bytes lie before."""
    return min(max((reach - 1).bit_length(), NEAR_BITS), FAR_BITS_MAX)


@dataclass(slots=True)
class _Bits:
    value: int = 0
    count: int = 0

    def put(self, value: int, count: int) -> None:
        self.value = self.value << count | value
        self.count += count

    def to_bytes(self) -> bytes:
        padding = -self.count % 8
        return (self.value << padding).to_bytes((self.count + padding) // 8, "big")


def compress(data: bytes, prior: bytes = b"") -> bytes:
    """Return `data` compressed, with `prior` standing before its first byte."""
    bits = _Bits()
    at = 0
    for length, distance in _cheapest(prior + data, len(prior)):
        if distance == 0:
            bits.put(0x100 | data[at], 9)
        else:
            _put_match(bits, length, distance, len(prior) + at)
        at += length
    return bits.to_bytes()


def _put_match(bits: _Bits, length: int, distance: int, reach: int) -> None:
    if distance <= 1 << NEAR_BITS:
        bits.put(distance - 1, 2 + NEAR_BITS)
    else:
        width = far_bits(reach)
        bits.put(1 << width | distance - 1, 2 + width)
    number = length - LENGTH_MIN + 1
    bits.put(number, 2 * number.bit_length() - 1)


def _cheapest(buffer: bytes, start: int) -> list[tuple[int, int]]:
    """Return the tokens (length, distance; distance 0 is a literal) of the fewest bits."""
    count = len(buffer) - start
    cost = [0] + [1 << 60] * count
    token = [(0, 0)] * (count + 1)
    places: dict[bytes, list[int]] = defaultdict(list)
    for at in range(1, start):
        places[buffer[at - 1 : at + 1]].append(at - 1)
    for index in range(count):
        at = start + index
        if at:
            places[buffer[at - 1 : at + 1]].append(at - 1)
        _offer(cost, token, index, 1, 0, 9)
        for length, distance in _matches(buffer, at, places):
            width = NEAR_BITS if distance <= 1 << NEAR_BITS else far_bits(at)
            for size in range(LENGTH_MIN, length + 1):
                gamma = 2 * (size - LENGTH_MIN + 1).bit_length() - 1
                _offer(cost, token, index, size, distance, 2 + width + gamma)
    return _walk_back(token, count)


def _offer(cost: list[int], token: list[tuple[int, int]], index: int, length: int, distance: int, bits: int) -> None:
    if cost[index] + bits < cost[index + length]:
        cost[index + length] = cost[index] + bits
        token[index + length] = (length, distance)


def _walk_back(token: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    tokens = []
    while count:
        tokens.append(token[count])
        count -= token[count][0]
    return tokens[::-1]


def _matches(buffer: bytes, at: int, places: dict[bytes, list[int]]) -> list[tuple[int, int]]:
    """Return the longest near match and the longest far one, as (length, distance)."""
    best: dict[bool, tuple[int, int]] = {}
    limit = min(LENGTH_MAX, len(buffer) - at)
    for place in islice(reversed(places.get(buffer[at : at + 2], ())), CANDIDATES_MAX):
        distance = at - place
        near = distance <= 1 << NEAR_BITS
        longest = best.get(near, (LENGTH_MIN - 1, 0))[0]
        # What is farther away is never better than a match that cannot be longer.
        if distance > 1 << FAR_BITS_MAX or (longest == limit and not near):
            break
        length = _common(buffer, place, at)
        if length > longest:
            best[near] = (length, distance)
    return list(best.values())


def _common(buffer: bytes, place: int, at: int) -> int:
    limit = min(LENGTH_MAX, len(buffer) - at)
    length = 0
    while length < limit and buffer[place + length] == buffer[at + length]:
        length += 1
    return length


def decompress(data: bytes, size: int, prior: bytes = b"") -> bytes:
    """Return the `size` bytes that `compress` was given, as the board does; raises BrokenEncodingError."""
    bits = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        if at + count > len(bits):
            raise BrokenEncodingError("the bits end inside a token")
        at += count
        return int(bits[at - count : at], 2)

    out = bytearray(prior)
    end = len(prior) + size
    while len(out) < end:
        if take(1):
            out.append(take(8))
            continue
        distance = take(far_bits(len(out)) if take(1) else NEAR_BITS) + 1
        zeros = 0
        while not take(1):
            zeros += 1
            if zeros > 5:
                raise BrokenEncodingError("a match is too long")
        length = (1 << zeros | (take(zeros) if zeros else 0)) + LENGTH_MIN - 1
        if distance > len(out) or len(out) + length > end:
            raise BrokenEncodingError("a match lies outside of the program")
        for _ in range(length):
            out.append(out[-distance])
    if len(bits) - at >= 8 or "1" in bits[at:]:
        raise BrokenEncodingError("bits are left over")
    return bytes(out[len(prior) :])
