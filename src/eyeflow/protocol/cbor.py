"""Deterministic CBOR (RFC 8949, section 4.2.1), strictly: one encoding of each value, everything else is refused.

Reading is left to cbor2. Writing is not: a node writes CBOR for each event, and one pass that checks while it writes
takes a third of the time of a check and `cbor2.dumps(canonical=True)` (docs/decisions/0020).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import cbor2

from eyeflow.base.reasons import why

DEPTH_MAX = 16
"""Deepest nesting of lists and maps that is read."""

INT_MIN, INT_MAX = -(2**64), 2**64 - 1


class CborError(ValueError):
    """Bytes that are not the one deterministic encoding of a value, or a value that has none."""


def encode(value: object, depth: int = DEPTH_MAX) -> bytes:
    """Return the deterministic encoding: shortest integers and floats, definite lengths, map keys ascending.

    Keys of maps must be unsigned integers. Every NaN becomes f97e00 (4.2.2). `depth`: how deep lists and maps may nest.
    Raises CborError for what this profile does not have: tags, big numbers, other keys, deeper nesting.
    """
    return _ENCODERS[type(value)](value, depth)


def encode_fields(fields: Iterable[tuple[bytes, object]], depth: int = DEPTH_MAX) -> bytes:
    """Return the map of these keys, which are encoded already and ascend, and values; as `encode` otherwise."""
    parts = [key + _ENCODERS[type(value)](value, depth - 1) for key, value in fields]
    return _head(_MAP, len(parts)) + b"".join(parts)


NOT_THE_ONE = "not the deterministic encoding of RFC 8949 4.2.1, or bytes follow the value"
"""The reason of bytes that `encode` did not write."""


def decode(data: bytes) -> object:
    """Return the value that `encode` turned into `data`. Raises CborError on anything that `encode` did not write."""
    value = decode_any(data)
    if encode(value) != data:
        raise CborError(NOT_THE_ONE)
    return value


def decode_any(data: bytes) -> object:
    """Return the value of which `data` begins with any encoding, for who compares it with the one itself.

    Raises CborError for what is no CBOR.
    """
    try:
        value: object = cbor2.CBORDecoder(io.BytesIO(data)).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise CborError(f"not CBOR: {why(error)}") from error
    return value


_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP = (major << 5 for major in range(6))
"""The upper three bits of the first byte: what follows (RFC 8949, section 3.1)."""
_NAN, _FALSE, _TRUE, _NULL = b"\xf9\x7e\x00", b"\xf4", b"\xf5", b"\xf6"
_HALF, _SINGLE, _DOUBLE = 0xF9, 0xFA, 0xFB
_BYTE = tuple(bytes((number,)) for number in range(256))
_pack_16, _pack_32, _pack_64 = (struct.Struct(form).pack for form in (">BH", ">BI", ">BQ"))
_pack_half, _pack_single, _pack_double = (struct.Struct(form).pack for form in (">Be", ">Bf", ">Bd"))
_half_in, _single_in = struct.Struct(">xe").unpack, struct.Struct(">xf").unpack


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return _BYTE[major + number]
    if number < 0x100:
        return _BYTE[major + 24] + _BYTE[number]
    if number < 0x10000:
        return _pack_16(major + 25, number)
    if number < 0x100000000:
        return _pack_32(major + 26, number)
    if number <= INT_MAX:
        return _pack_64(major + 27, number)
    raise CborError("an integer is outside 64 bits")


def _int(value: int, depth: int) -> bytes:
    return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)


def _float(value: float, depth: int) -> bytes:
    if value != value:
        return _NAN
    try:
        single = _pack_single(_SINGLE, value)
        if _single_in(single)[0] != value:
            return _pack_double(_DOUBLE, value)
        half = _pack_half(_HALF, value)
        return half if _half_in(half)[0] == value else single
    except OverflowError:  # it is too large for a single, or for a half
        return _pack_double(_DOUBLE, value) if abs(value) > _SINGLE_MAX else single


_SINGLE_MAX = _single_in(b"\0\x7f\x7f\xff\xff")[0]


def _text(value: str, depth: int) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise CborError("a text is not Unicode") from error
    return _head(_TEXT, len(data)) + data


def _bytes(value: bytes, depth: int) -> bytes:
    return _head(_BYTES, len(value)) + value


def _list(value: Sequence[Any], depth: int) -> bytes:
    if depth == 0:
        raise CborError(f"nested deeper than {DEPTH_MAX}")
    return _head(_LIST, len(value)) + b"".join([_ENCODERS[type(element)](element, depth - 1) for element in value])


def _map(value: Mapping[Any, Any], depth: int) -> bytes:
    if depth == 0:
        raise CborError(f"nested deeper than {DEPTH_MAX}")
    if not all(type(key) is int and key >= 0 for key in value):
        raise CborError("a key of a map is not an unsigned integer")
    return encode_fields([(_int(key, 0), value[key]) for key in sorted(value)], depth)


def _refuse(value: object, depth: int) -> bytes:
    raise CborError(f"a {type(value).__name__} has no place here")


_Encoder = Callable[[Any, int], bytes]


class _Encoders(dict[type, _Encoder]):
    """By the very type: what is derived from one has no place in a record."""

    def __missing__(self, kind: type) -> _Encoder:
        return _refuse


_ENCODERS = _Encoders(
    {
        int: _int,
        float: _float,
        str: _text,
        bytes: _bytes,
        bool: lambda value, depth: _TRUE if value else _FALSE,
        type(None): lambda value, depth: _NULL,
        list: _list,
        tuple: _list,
        dict: _map,
    }
)
