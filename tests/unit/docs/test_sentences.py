"""The docs are for readers whose second language is English: short sentences (design, "How we write")."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WORDS_MAX = 25
SHARE_MIN = 0.90
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
    *sorted((ROOT / "docs" / "explanation").glob("*.md")),
    *sorted((ROOT / "docs" / "chips").glob("*.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]


def sentences(text: str) -> list[str]:
    """Return the sentences of a page: no code, tables, headings or pictures; a line of a list is a text of its own."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    kept = [line for line in text.splitlines() if not re.match(r"\s*([|#>!]|\[[^\]]+\]:)", line)]
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.)\s+", "\n".join(["", *kept]))
    found: list[str] = []
    for block in blocks:
        plain = re.sub(r"`[^`]*`", "code", " ".join(block.split()))
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain)
        found += [one for one in re.split(r"(?<=[.!?:])\s+(?=[A-Z`*\"(\[]|code)", plain) if re.search(r"\w", one)]
    return found


def long_ones(text: str) -> tuple[list[str], int]:
    """Return the sentences of more than WORDS_MAX words, and how many sentences there are."""
    found = sentences(text)
    return [one for one in found if len(one.split()) > WORDS_MAX], len(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nine_sentences_in_ten_are_short(page: Path) -> None:
    long, count = long_ones(page.read_text())
    assert count and 1 - len(long) / count >= SHARE_MIN, f"{len(long)} of {count} are long:\n" + "\n".join(long)


def test_control_a_long_sentence_is_found() -> None:
    long, count = long_ones("# Head\n\nShort. Then " + "word " * 26 + "end.\n\n```sh\n" + "word " * 40 + "\n```\n")
    assert count == 2 and len(long) == 1
