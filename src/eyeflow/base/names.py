"""Near names for error messages."""

from __future__ import annotations

from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, ignoring case, or None when none is near."""
    from difflib import get_close_matches  # only a mistake needs it

    by_folded = {candidate.casefold(): candidate for candidate in known}
    found = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def camel_case(name: str) -> str:
    """Return a name of Python as JSON has it: `last_seq` becomes `lastSeq`."""
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)
