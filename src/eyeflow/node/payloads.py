"""From the bytes of a message to a JSON object, or to the reason why there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite

NUMBER_SHOWN_MAX = 40


class UnreadablePayload(Exception):  # noqa: N818 - it is an answer, not a failure of the node
    """The bytes hold no JSON object; the text is the reason of the rejected event."""


def decode_object(data: bytes, size_bytes_max: int) -> Mapping[str, object]:
    """Return the JSON object (RFC 8259) in `data`; raises UnreadablePayload with a reason that names the place."""
    if len(data) > size_bytes_max:
        raise UnreadablePayload(f"the payload has {len(data)} bytes, more than {size_bytes_max}")
    try:
        value = DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnreadablePayload(f"the payload is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise UnreadablePayload(f"the payload is not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise UnreadablePayload("the payload is nested too deeply") from error
    except ValueError as error:
        raise UnreadablePayload(f"the payload is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadablePayload(f"the payload is not a JSON object but {_kind(value)}")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    """A number beyond binary64 is no infinity: it would pass every `> limit` (RFC 8259, section 6)."""
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"the number {text[:NUMBER_SHOWN_MAX]} does not fit a float")
    return value


DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
"""Reads JSON as RFC 8259 has it: no NaN, no infinities."""


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {list: "a list", str: "a text", bool: "a bool", int: "a number", float: "a number"}
    return names[type(value)]
