"""Strict shapes for what travels between node and coordinator: checks, and msgpack with one encoding of each value.

A `Check` turns one decoded msgpack value into what a message holds, or raises `ProtocolError` with the field's path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from eyeflow.base.errors import ExitCode, EyeflowError

PROGRAM_BYTES_MAX = 8 * 1024 * 1024
MESSAGE_BYTES_MAX = PROGRAM_BYTES_MAX + 64 * 1024
"""Largest message on a link; a program, its manifest and every status stay far below."""
RULES_MAX = 512
"""Rules of one node: more than its manifest can name would never come back after a loss."""
PARAMS_MAX = 64
SIGNERS_MAX = 64
COUNTERS_MAX = 64
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names of nodes, tokens and users."""
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
RULE = re.compile(r"[a-z][a-z0-9_]{0,62}")
PROGRAM_ID = re.compile(r"[0-9a-f]{64}")

Check = Callable[[Any, str], Any]


class ProtocolError(EyeflowError):
    """A message that does not keep the protocol; the link that sent it is closed with this reason."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            cause="the peer speaks another version of the link protocol, or the bytes were changed on the way",
            next_step="run the same eyeflow version on the node and the coordinator",
            code="protocol",
            exit_code=ExitCode.ENVIRONMENT,
        )


def integer(low: int, high: int) -> Check:
    """Accept an int in [low, high]."""

    def check(value: Any, path: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ProtocolError(f"{path} is not an integer from {low} to {high}")
        return value

    return check


def text(size_max: int, pattern: re.Pattern[str] | None = None) -> Check:
    """Accept text of at most `size_max` bytes of UTF-8 that fully matches `pattern`."""

    def check(value: Any, path: str) -> str:
        if type(value) is not str:
            raise ProtocolError(f"{path} is not text")
        if len(value.encode("utf-8", "replace")) > size_max:
            raise ProtocolError(f"{path} is longer than {size_max} bytes")
        if pattern is not None and pattern.fullmatch(value) is None:
            raise ProtocolError(f"{path} is malformed")
        return value

    return check


def cut(value: str, size_bytes_max: int) -> str:
    """Return the longest start of a text that fits in `size_bytes_max` bytes of UTF-8, without half characters."""
    return value.encode("utf-8", "replace")[:size_bytes_max].decode("utf-8", "ignore")


def binary(size_min: int, size_max: int) -> Check:
    """Accept bytes of a length in [size_min, size_max]."""

    def check(value: Any, path: str) -> bytes:
        if type(value) is not bytes or not size_min <= len(value) <= size_max:
            raise ProtocolError(f"{path} is not {size_min} to {size_max} bytes")
        return value

    return check


def choice(names: frozenset[str]) -> Check:
    """Accept one of `names`."""

    def check(value: Any, path: str) -> str:
        if type(value) is not str or value not in names:
            raise ProtocolError(f"{path} is not one of {', '.join(sorted(names))}")
        return value

    return check


def sequence(item: Check, count_max: int) -> Check:
    """Accept a list of at most `count_max` items; gives a tuple."""

    def check(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) > count_max:
            raise ProtocolError(f"{path} is not a list of at most {count_max}")
        return tuple(item(one, f"{path}[{index}]") for index, one in enumerate(value))

    return check


def mapping(key: Check, item: Check, count_max: int) -> Check:
    """Accept a map of at most `count_max` entries; gives it as a tuple of pairs, ascending by key."""

    def check(value: Any, path: str) -> tuple[tuple[str, Any], ...]:
        pairs = dict(value) if isinstance(value, tuple) else value
        if not isinstance(pairs, Mapping) or len(pairs) > count_max:
            raise ProtocolError(f"{path} is not a map of at most {count_max}")
        named = {key(name, f"{path} key"): one for name, one in pairs.items()}
        return tuple((name, item(named[name], f"{path}.{name}")) for name in sorted(named))

    return check


def scalar(value: Any, path: str) -> bool | int | float | str:
    """Accept a parameter's value: bool, 64-bit int, float that is not NaN, or text of at most 4,096 bytes."""
    if type(value) is bool:
        return value
    if type(value) is int:
        return int(integer(-(2**63), 2**63 - 1)(value, path))
    if type(value) is float:
        if math.isnan(value):
            raise ProtocolError(f"{path} is NaN")
        return value
    return str(text(4096)(value, path))


def record(make: Callable[..., Any], fields: Mapping[str, Check]) -> Check:
    """Accept a map with exactly these fields, or an instance of the dataclass; gives `make(**fields)`."""

    def check(value: Any, path: str) -> Any:
        given = value if isinstance(value, Mapping) else _fields_of(value, fields, path)
        unknown = [str(name) for name in given if name not in fields]
        missing = [name for name in fields if name not in given]
        if unknown or missing:
            what = f"has an unknown field `{unknown[0][:64]}`" if unknown else f"lacks the field `{missing[0]}`"
            raise ProtocolError(f"{path} {what}")
        return make(**{name: fields[name](given[name], f"{path}.{name}") for name in fields})

    return check


def _fields_of(value: Any, fields: Mapping[str, Check], path: str) -> dict[str, Any]:
    try:
        return {name: getattr(value, name) for name in fields}
    except AttributeError:
        raise ProtocolError(f"{path} is not a map") from None


def pack(plain: Any) -> bytes:
    """Encode plain values as msgpack."""
    data: bytes = msgpack.packb(plain, use_bin_type=True)
    return data


def unpack(data: bytes) -> Any:
    """Decode msgpack; refuses duplicate keys, extension types, trailing bytes, and all but the shortest encoding."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise ProtocolError(f"a message is longer than {MESSAGE_BYTES_MAX} bytes")
    try:
        plain = msgpack.unpackb(data, raw=False, strict_map_key=True, object_pairs_hook=_unique, ext_hook=_no_extension)
    except ProtocolError:
        raise
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise ProtocolError(f"a message is not valid msgpack: {type(error).__name__}") from error
    if _repack(plain) != data:
        raise ProtocolError("a message is not in its one encoding")
    return plain


def _repack(plain: Any) -> bytes:
    try:
        return pack(plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError("a message holds a value that the protocol does not have") from error


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ProtocolError("a message has a field twice")
    return made


def _no_extension(code: int, data: bytes) -> Any:
    raise ProtocolError(f"a message has the extension type {code}")
