"""Values that a rule writes without quotes: a pin, a member of an enum, a duration. In JSON they are texts."""

from __future__ import annotations

import json
from typing import Any


class Word(str):
    """A text that stands for such a value, not for a text of the rule."""

    __slots__ = ()


def literal(value: Any) -> str:
    """Return a value as a rule writes it: words bare, texts in quotes."""
    return str(value) if isinstance(value, Word) else json.dumps(value, ensure_ascii=False)
