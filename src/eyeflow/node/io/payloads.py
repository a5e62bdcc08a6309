"""From the bytes of a message to a JSON object, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from eyeflow.base.reading import Unreadable, parse_json


class UnreadablePayload(Exception):  # noqa: N818 - it is an answer, not a failure of the node
    """The bytes hold no JSON object; the text is the reason of the rejected event."""


def decode_object(data: bytes, size_bytes_max: int) -> Mapping[str, object]:
    """Return the JSON object (RFC 8259) in `data`; raises UnreadablePayload with a reason that names the place."""
    if len(data) > size_bytes_max:
        raise UnreadablePayload(f"the payload has {len(data)} bytes, more than {size_bytes_max}")
    try:
        value = parse_json(data)
    except Unreadable as error:
        raise UnreadablePayload(f"the payload is {error}") from None
    if not isinstance(value, dict):
        raise UnreadablePayload(f"the payload is not a JSON object but {_kind(value)}")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {list: "a list", str: "a text", bool: "a bool", int: "a number", float: "a number"}
    return names[type(value)]
