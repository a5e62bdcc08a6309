"""A test as a small JSON text, and back: what a coordinator and a node keep between two reports."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.evidence.eprocess import OneProportion, Test, TwoProportions
from eyeflow.evidence.outcomes import Outcomes

_KINDS: dict[str, type[TwoProportions] | type[OneProportion]] = {
    "twoProportions": TwoProportions,
    "oneProportion": OneProportion,
}


def to_json(test: Test) -> str:
    """Return a test as a JSON text; `from_json` gives an equal one back."""
    name = next(name for name, kind in _KINDS.items() if isinstance(test, kind))
    fields = {field: _written(getattr(test, field)) for field in type(test).__match_args__}
    return json.dumps({"test": name, **fields}, separators=(",", ":"), allow_nan=False)


def _written(value: Any) -> Any:
    return [value.executions, value.failures] if isinstance(value, Outcomes) else value


def from_json(text: str) -> Test:
    """Return the test of a text that `to_json` wrote; raises Unreadable for any other."""
    found = parse_json(text, unique_names=True)
    kind = _KINDS.get(found.get("test", "")) if isinstance(found, dict) and isinstance(found.get("test"), str) else None
    if kind is None:
        raise Unreadable("it is no test of failures")
    names = kind.__match_args__
    if found.keys() != {"test", *names}:
        raise Unreadable(f"a {found['test']} has exactly the fields {', '.join(names)}")
    return kind(*(_read(name, found[name]) for name in names))


def _read(name: str, value: Any) -> Any:
    if name == "seed":
        right = isinstance(value, str)
    elif name in {"bound", "log_e", "peak"}:
        right = isinstance(value, float | int) and not isinstance(value, bool) and isfinite(value)
    elif name == "before" and value is None:
        right = True
    else:
        right = isinstance(value, list) and len(value) == 2 and all(type(one) is int and one >= 0 for one in value)
        value = Outcomes(*value) if right else value
    if not right:
        raise Unreadable(f"{name} is {json.dumps(value)}")
    return value
