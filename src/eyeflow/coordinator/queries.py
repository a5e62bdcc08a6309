"""Queries of the REST API: which parameters a path takes, and their values as they came.

A parameter that is not known is refused: a filter with a typing mistake in its name would show what nobody asked for.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eyeflow.base.names import near
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.schema import check_shape
from eyeflow.coordinator.shape_words import Shape
from eyeflow.coordinator.store.lists import Key

INTEGER_MAX = 2**63 - 1
CURSOR_CHARS_MAX = 512
_INTEGER = re.compile(r"0|[1-9][0-9]{0,18}")
_TEXT = re.compile(r"[ -~]{0,128}")


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a query. `is_list`: it may stand there several times, `count_max` times at most."""

    name: str
    shape: Shape
    description: str
    is_list: bool = False
    count_max: int = 32

    @property
    def schema(self) -> Shape:
        """The schema of the parameter as OpenAPI has it."""
        if not self.is_list:
            return self.shape
        return {"type": "array", "items": self.shape, "maxItems": self.count_max, "uniqueItems": True}


Query = Mapping[str, Any]


def parse_query(params: Sequence[Param], sent: Sequence[tuple[str, str]]) -> Query:
    """Return the values by name; what is left out is not in it. Raises Problem `invalid_query`."""
    known = {one.name: one for one in params}
    found: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, text in sent:
        if (param := known.get(name)) is None:
            guess = near(name, known)
            errors.append(FieldError(name[:64], "is not known here" + (f"; did you mean `{guess}`?" if guess else "")))
        elif param.is_list:
            found.setdefault(name, []).append(text)
        elif name in found:
            errors.append(FieldError(name, "stands there twice"))
        else:
            found[name] = _value(param.shape, text)
    for name, value in found.items():
        errors += [FieldError(name, message) for message in check_shape(known[name].schema, value)]
    if errors:
        first = f"{errors[0].pointer or 'A parameter without a name'} {errors[0].message}"
        raise Problem("invalid_query", f"{first[0].upper()}{first[1:]}.", errors=errors)
    return found


def _value(shape: Shape, text: str) -> Any:
    """Return a text as the type of its shape; as it is, when it is none: the schema refuses it then."""
    if shape["type"] == "integer" and _INTEGER.fullmatch(text) and int(text) <= INTEGER_MAX:
        return int(text)
    if shape["type"] == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def cursor_of(key: Key | None) -> str:
    """Return the cursor of the next page; empty: this one was the last."""
    if key is None:
        return ""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def key_of(query: Query, *kinds: type | tuple[type, ...]) -> Key | None:
    """Return the key in the cursor of a query, None without one; raises Problem unless its parts are of these types."""
    if "cursor" not in query:
        return None
    text = str(query["cursor"])
    try:
        key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        is_known = isinstance(key, list) and len(key) == len(kinds)
        if is_known and all(_is_one(part, kind) for part, kind in zip(key, kinds, strict=True)):
            return tuple(key)
    except (binascii.Error, ValueError, RecursionError):
        pass
    raise bad_cursor()


def bad_cursor() -> Problem:
    """Return the refusal of a cursor that the list cannot have given."""
    errors = [FieldError("cursor", "is none that this list gave")]
    return Problem("invalid_query", "The cursor is none that this list gave.", "begin without a cursor", errors)


def _is_one(part: Any, kind: type | tuple[type, ...]) -> bool:
    if isinstance(part, bool) or not isinstance(part, kind):
        return False
    if isinstance(part, int):
        return abs(part) <= INTEGER_MAX
    return isinstance(part, float) or _TEXT.fullmatch(str(part)) is not None
