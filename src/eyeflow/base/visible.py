"""Text that others wrote, for a terminal or a log: nothing in it breaks its line or steers what shows it.

A message of a device, a field of a payload, a file's name may hold ESC sequences, C1 controls (U+009B is an ESC `[` of
one character: ECMA-48, section 5.4), and characters that turn the order of what follows around (Unicode Standard
Annex 9, section 2). Raw, they rewrite what the reader has seen; with escapes, they are seen.
"""

from __future__ import annotations

import unicodedata

DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Change the order of the characters around them."""
_STEERING = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, halves of surrogate pairs, separators of lines and paragraphs."""


def steers(char: str) -> bool:
    """Return whether a character moves the cursor, ends a line, changes a direction, or cannot be encoded."""
    return unicodedata.category(char) in _STEERING or char in DIRECTIONS


def visible(text: str) -> str:
    r"""Return a text as one line that is safe to print: `\n`, `\x9b`, `\u202e` for what steers, all else as it is."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    return char.encode("unicode_escape").decode() if steers(char) else char
