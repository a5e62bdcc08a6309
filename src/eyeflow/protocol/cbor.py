"""Deterministic CBOR (RFC 8949, section 4.2.1), strictly: one encoding of each value, everything else is refused."""

from __future__ import annotations

import io

import cbor2

from eyeflow.base.reasons import why

DEPTH_MAX = 16
"""Deepest nesting of lists and maps that is read."""

INT_MIN, INT_MAX = -(2**64), 2**64 - 1


class CborError(ValueError):
    """Bytes that are not the one deterministic encoding of a value, or a value that has none."""


def encode(value: object) -> bytes:
    """Return the deterministic encoding: shortest integers and floats, definite lengths, map keys ascending.

    Keys of maps must be unsigned integers: only for those cbor2's order (shorter first) is that of RFC 8949. Every
    NaN becomes f97e00 (4.2.2).
    """
    _check(value, DEPTH_MAX)
    try:
        return cbor2.dumps(value, canonical=True)
    except UnicodeEncodeError as error:
        raise CborError("a text is not Unicode") from error


def decode(data: bytes) -> object:
    """Return the value that `encode` turned into `data`. Raises CborError on anything that `encode` did not write."""
    try:
        value: object = cbor2.CBORDecoder(io.BytesIO(data)).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise CborError(f"not CBOR: {why(error)}") from error
    _check(value, DEPTH_MAX)
    if cbor2.dumps(value, canonical=True) != data:
        raise CborError("not the deterministic encoding of RFC 8949 4.2.1, or bytes follow the value")
    return value


def _check(value: object, depth: int) -> None:
    """Refuse what cbor2 would encode but this profile does not have: tags, big numbers, other keys, deep nesting."""
    kind = type(value)
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]
            raise CborError("an integer is outside 64 bits")
    elif kind is list or kind is tuple:
        if depth == 0:
            raise CborError(f"nested deeper than {DEPTH_MAX}")
        for element in value:  # type: ignore[attr-defined]
            _check(element, depth - 1)
    elif kind is dict:
        _check_map(value, depth)  # type: ignore[arg-type]
    elif kind not in (str, bytes, bool, float, type(None)):
        raise CborError(f"a {kind.__name__} has no place here")


def _check_map(value: dict[object, object], depth: int) -> None:
    if depth == 0:
        raise CborError(f"nested deeper than {DEPTH_MAX}")
    for key, element in value.items():
        if type(key) is not int or not 0 <= key <= INT_MAX:
            raise CborError("a key of a map is not an unsigned integer")
        _check(element, depth - 1)
