"""Tokens of a source on a page: blanks, ends of lines and comments wherever they mean nothing."""

from __future__ import annotations

import random

from eyeflow.compiler.tokens import RESERVED

NEWLINE, CUT = "\n", ";"
"""Ends a statement; a separator of members, for which a comma or the end of the line may stand."""
_COMMENTS = ("#", "# plain", "#tight", '# with { and "', "# ends with ,", "# " + "long " * 25 + "end")
_GOES_ON = ("=", "==", "+", "*", "and", "or", "&", "<=", ",")
"""Behind these a line may end anywhere."""


class Page:
    """Puts tokens on a page: blanks, ends of lines and comments wherever they mean nothing."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.pieces: list[str] = []
        self.brackets: list[str] = []
        self.comments = rng.choice((0.0, 0.05, 0.3))

    def end_of_line(self) -> str:
        comment = f" {self.rng.choice(_COMMENTS)}" if self.rng.random() < self.comments else ""
        own = "".join(
            f"\n\t{self.rng.choice(_COMMENTS)}" for _ in range(2) if self.rng.random() < self.comments
        )  # fmt: skip
        return comment + own + "\n" * self.rng.choice((1, 1, 1, 2, 4))

    def show(self, tokens: list[str]) -> str:
        before_that = ["", "", *tokens]
        for point, before, token, after in zip(before_that, before_that[1:], tokens, [*tokens[1:], ""], strict=False):
            before = "field" if point == "." else before
            self.pieces.append(self.gap(before, token, after))
            if token not in (NEWLINE, CUT):
                self.pieces.append(token)
        return "".join(self.pieces)

    def gap(self, before: str, token: str, after: str) -> str:
        members = self.brackets[-1:] == ["members"]
        if token in ("(", "[", "{"):
            self.brackets.append("members" if token == "{" and self._holds_members() else token)
        elif token in (")", "]", "}"):
            self.brackets.pop()
        if token == NEWLINE:
            return self.end_of_line()
        if token == CUT:
            comma = self.rng.random() < 0.5 or after in RESERVED
            return "," if comma else self.end_of_line()
        inside = self.brackets[-1:] in (["("], ["["]) and token not in ("(", "[")
        free = inside or before in _GOES_ON or (members and (before in ("{", ",", CUT) or token == "}"))
        if free and self.rng.random() < 0.3:
            return self.end_of_line()
        return self.rng.choice((" ", " ", "  ", "\t"))

    def _holds_members(self) -> bool:
        """Whether the `{` that comes next belongs to an enum, a record or a `send`."""
        words = [piece for piece in self.pieces[-8:] if piece.strip()]
        return any(word in ("enum", "record", "send") for word in words[-2:])
