"""The pages behind the codes of diagnostics: `codes/EF0203.md` and its sisters, one a code."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_PAGE_NAME = re.compile(r"(EF\d{4})\.md")


@cache
def _pages() -> dict[str, str]:
    found = {}
    for entry in Path(__file__).with_name("codes").iterdir():
        if name := _PAGE_NAME.fullmatch(entry.name):
            found[name[1]] = entry.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def all_codes() -> tuple[str, ...]:
    """Return every code, in order."""
    return tuple(_pages())


def explain(code: str) -> str | None:
    """Return the Markdown page of a code (any case: `ef0203`), or None when there is no such code."""
    return _pages().get(code.strip().upper())


def title(code: str) -> str | None:
    """Return what a code stands for in a few words, from the first line of its page, or None."""
    page = explain(code)
    return page.partition("\n")[0].partition(": ")[2] if page else None
