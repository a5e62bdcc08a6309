"""How one JSON value becomes slots: a decoder for each type of the language."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isfinite

from eyeflow.base.duration import parse_duration
from eyeflow.base.names import near
from eyeflow.base.reading import EXACT_BELOW
from eyeflow.svm.layout import flatten, is_scalar, zero
from eyeflow.svm.numbers import INT_MAX, INT_MIN, NAN, text_bytes
from eyeflow.svm.program import Type, TypeTag, Value

SHOWN_CHARACTERS_MAX = 60
"""Most characters of a payload's value that a reason repeats."""
US_PER_S = 1_000_000

Scalar = Callable[[object], Value]
"""Turns a raw value into the one of a slot; raises RejectedEvent."""
Flat = Callable[[object], tuple[Value, ...]]
"""Turns a raw value into those of all its slots; raises RejectedEvent."""


class RejectedEvent(Exception):  # noqa: N818 - the word of docs/language.md
    """A payload does not fit its schema. `path` is the field (`readings[2].temp`), `reason` the sentence for people."""

    def __init__(self, expected: str, got: str, path: str = "") -> None:
        self.expected = expected
        self.got = got
        self.path = path
        super().__init__(self.reason)

    @property
    def reason(self) -> str:
        """Which field, what was expected, what came."""
        return f"field `{self.path}`: expected {self.expected}, got {self.got}"

    def within(self, part: str) -> RejectedEvent:
        """Return the same with a longer path: `part` is a field's name, or an index in brackets."""
        joint = "" if self.path.startswith("[") or not self.path else "."
        return RejectedEvent(self.expected, self.got, f"{part}{joint}{self.path}")


def shown(raw: object) -> str:
    """Return a raw value for a reason: its kind in JSON's words and its beginning."""
    kind = _KINDS.get(type(raw), type(raw).__name__)
    if raw is None:
        return kind
    try:
        text = json.dumps(raw, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return f"{kind} that is too large to show"
    return f"{kind} {text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + '...'}"


_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "the bool",
    int: "the number",
    float: "the number",
    str: "the text",
    list: "the list",
    dict: "the object",
}


def decode_bool(raw: object) -> bool:
    """Return a bool."""
    if isinstance(raw, bool):
        return raw
    raise RejectedEvent("true or false", shown(raw))


def decode_int(raw: object) -> int:
    """Return an int: a whole number in the range of 64 bits.

    A float counts as one only while it is exact: 9007199254740993.0 reaches us as ...992.
    """
    whole = int(raw) if isinstance(raw, float) and raw.is_integer() and abs(raw) < EXACT_BELOW else raw
    if isinstance(whole, int) and not isinstance(whole, bool) and INT_MIN <= whole <= INT_MAX:
        return whole
    is_inexact = isinstance(raw, float) and raw.is_integer() and abs(raw) <= -INT_MIN
    raise RejectedEvent(f"a whole number of 64 bits{', written without a point' if is_inexact else ''}", shown(raw))


def decode_float(raw: object) -> float:
    """Return a float; an int becomes the nearest one."""
    if isinstance(raw, float):
        return raw if raw == raw else NAN
    if isinstance(raw, int) and not isinstance(raw, bool):
        try:
            return float(raw)
        except OverflowError:
            pass
    raise RejectedEvent("a number", shown(raw))


def decode_duration(raw: object) -> int:
    """Return microseconds, of a number of seconds or of a text like `1.5s`."""
    duration_us: int | None = None
    if isinstance(raw, str):
        try:
            duration_us = parse_duration(raw)
        except ValueError:
            duration_us = None
    elif isinstance(raw, float):
        duration_us = round(raw * US_PER_S) if isfinite(raw * US_PER_S) else None
    elif isinstance(raw, int) and not isinstance(raw, bool):
        duration_us = raw * US_PER_S
    if duration_us is not None and INT_MIN <= duration_us <= INT_MAX:
        return duration_us
    raise RejectedEvent('a duration (a number of seconds, or a text like "1.5s")', shown(raw))


def text_decoder(size_bytes_max: int) -> Scalar:
    """Return the decoder of a text of at most so many bytes of UTF-8."""

    def decode(raw: object) -> str:
        if not isinstance(raw, str):
            raise RejectedEvent("a text", shown(raw))
        if len(raw) * 4 <= size_bytes_max and raw.isascii():
            return raw
        try:
            size_bytes = text_bytes(raw)
        except UnicodeEncodeError:
            raise RejectedEvent("a text", "a text that is not valid Unicode") from None
        if size_bytes > size_bytes_max:
            raise RejectedEvent(f"a text of at most {size_bytes_max} bytes", f"one of {size_bytes} bytes: {shown(raw)}")
        return raw

    return decode


def enum_decoder(members: tuple[str, ...]) -> Scalar:
    """Return the decoder of an enum: a member's name becomes its ordinal."""
    ordinals = {name: ordinal for ordinal, name in enumerate(members)}

    def decode(raw: object) -> int:
        ordinal = ordinals.get(raw) if isinstance(raw, str) else None
        if ordinal is None:
            like = near(raw, members) if isinstance(raw, str) else None
            hint = f" (is `{like}` meant?)" if like else ""
            raise RejectedEvent(f"one of {', '.join(members)}", shown(raw) + hint)
        return ordinal

    return decode


def scalar_decoder(type_: Type) -> Scalar:
    """Return the decoder of a type that has one slot."""
    if type_.tag is TypeTag.TEXT:
        return text_decoder(type_.size)
    if type_.tag is TypeTag.ENUM:
        return enum_decoder(type_.members)
    return _PLAIN[type_.tag]


_PLAIN: dict[TypeTag, Scalar] = {
    TypeTag.BOOL: decode_bool,
    TypeTag.INT: decode_int,
    TypeTag.PIN: decode_int,
    TypeTag.FLOAT: decode_float,
    TypeTag.DURATION: decode_duration,
}


def flat_decoder(type_: Type) -> Flat:
    """Return the decoder of any type, to all its slots."""
    if is_scalar(type_):
        scalar = scalar_decoder(type_)
        return lambda raw: (scalar(raw),)
    if type_.element is not None:
        return _list_decoder(type_.element, type_.size)
    return _record_decoder(type_.fields)


def _record_decoder(fields: tuple[tuple[str, Type], ...]) -> Flat:
    decoders = [(name, flat_decoder(type_)) for name, type_ in fields]

    def decode(raw: object) -> tuple[Value, ...]:
        if not isinstance(raw, Mapping):
            raise RejectedEvent("an object", shown(raw))
        values: list[Value] = []
        for name, part in decoders:
            if name not in raw:
                raise RejectedEvent("a value", "nothing", name)
            try:
                values += part(raw[name])
            except RejectedEvent as error:
                raise error.within(name) from None
        return tuple(values)

    return decode


def _list_decoder(element: Type, capacity: int) -> Flat:
    """The length, then one run of `capacity` slots for each scalar of the element, filled up with zeros."""
    part = flat_decoder(element)
    zeros = tuple(zero(slot) for slot in flatten(element))

    def decode(raw: object) -> tuple[Value, ...]:
        if not isinstance(raw, list | tuple):
            raise RejectedEvent("a list", shown(raw))
        if len(raw) > capacity:
            raise RejectedEvent(f"a list of at most {capacity}", f"a list of {len(raw)}")
        rows = [_element(part, index, item) for index, item in enumerate(raw)]
        rows += [zeros] * (capacity - len(raw))
        return (len(raw), *(value for column in zip(*rows, strict=True) for value in column))

    return decode


def _element(part: Flat, index: int, item: object) -> tuple[Value, ...]:
    try:
        return part(item)
    except RejectedEvent as error:
        raise error.within(f"[{index}]") from None
