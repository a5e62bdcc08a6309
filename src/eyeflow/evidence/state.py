"""A test as a small JSON text, and back: what a coordinator and a node keep between two reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.evidence.eprocess import LOG_E_MAX, TwoProportions
from eyeflow.evidence.outcomes import Outcomes

NAMES = TwoProportions.__match_args__
COUNT_MAX = 2**53
"""A count is exact as a float, too."""


def to_json(test: TwoProportions) -> str:
    """Return a test as a JSON text; `from_json` gives an equal one back."""
    fields = {field: _written(getattr(test, field)) for field in NAMES}
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def _written(value: Any) -> Any:
    return [value.executions, value.failures] if isinstance(value, Outcomes) else value


def from_json(text: str) -> TwoProportions:
    """Return the test of a text that `to_json` wrote; raises Unreadable for any other."""
    found = parse_json(text, unique_names=True)
    if not isinstance(found, dict) or found.keys() != set(NAMES):
        raise Unreadable(f"a test of failures has the fields {', '.join(NAMES)}, and no others")
    test: TwoProportions = TwoProportions(*(_read(field, found[field]) for field in NAMES))
    return test


def _read(field: str, value: Any) -> Any:
    read: Callable[[Any], Any] = _FIELDS.get(field, _counts)
    found = read(value)
    if found is None:
        raise Unreadable(f"{field} is {json.dumps(value)}")
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _counts(value: Any) -> Outcomes | None:
    right = isinstance(value, list) and len(value) == 2
    return Outcomes(*value) if right and all(type(one) is int and 0 <= one < COUNT_MAX for one in value) else None


def _number(low: float, high: float) -> Callable[[Any], float | None]:
    def read(value: Any) -> float | None:
        is_number = isinstance(value, float | int) and not isinstance(value, bool)
        return float(value) if is_number and isfinite(value) and low <= value <= high else None

    return read


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "seed": _text,
    "alarm_e": _number(1, 1e100),
    "log_e": _number(-1e300, LOG_E_MAX),
}
"""How each field is read; the others are counts."""
