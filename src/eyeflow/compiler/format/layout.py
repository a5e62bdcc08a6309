"""One logical line on the page: flat when it fits, else broken at brackets and operators."""

from __future__ import annotations

from itertools import pairwise, zip_longest

from eyeflow.base.record import dataclass
from eyeflow.compiler.format.spacing import binary_operators, flat, is_keyword
from eyeflow.compiler.parser.cursor import Marks
from eyeflow.compiler.tokens import RESERVED, Token, TokenKind

WIDTH = 100
"""Columns that lines keep to where they can be broken."""

_INDENT = 4
_OPENING = {"(": ")", "[": "]", "{": "}"}
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("retry", "timeout", "then", "else"),
    ("or",),
    ("and",),
    ("==", "!=", "<", "<=", ">", ">="),
    ("&", "|", "^", "<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
)
"""Where a line without brackets to break is broken, the loosest first; each operator starts the new line."""

_LEVELS_BEFORE_BRACKETS = 3
"""This many levels are tried before a bracket is broken that leaves too long a row around it."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A pair of brackets among the tokens of a line, by index."""

    opening: int
    closing: int


def is_placed(before: Token, token: Token, marks: Marks) -> bool:
    """Whether comments between two tokens of a line can stay: next to a bracket or at the start of an element."""
    if before.kind is TokenKind.OPERATOR and before.text in ("(", "[", "{", ","):
        return True
    if token.span.start in marks.members:
        return True
    return token.kind is TokenKind.OPERATOR and token.text in (")", "]", "}")


def lay_out(tokens: list[Token], indent: int, marks: Marks) -> list[str]:
    """Return the rows of a logical line at `indent` levels."""
    return _Layout(marks, binary_operators(tokens)).rows(tokens, indent * _INDENT, is_head=tokens[-1].text == "{")


def _comma(opening: Token, following: list[Token] | None, elements: int) -> str:
    """Return the comma behind an element on a row of its own.

    In braces the end of the row stands for it, but not before a reserved word: a row that starts with `rises` or
    `timeout` would go on with the value above.
    """
    if opening.text != "{":
        return "," if elements > 1 else ""
    return "," if following is not None and following[0].text in RESERVED else ""


class _Layout:
    """Lays out one logical line, bracket by bracket."""

    def __init__(self, marks: Marks, binary: frozenset[int]) -> None:
        self._marks = marks
        self._binary = binary

    def rows(self, tokens: list[Token], blanks: int, is_head: bool = False) -> list[str]:
        """Return the rows of some tokens, the first indented by `blanks`."""
        whole = " " * blanks + flat(tokens, self._binary)
        groups = self._groups(tokens)
        forced = next((group for group in groups if self._is_forced(tokens, group)), None)
        if forced is not None:
            return self._broken_group(tokens, forced, blanks, is_head)
        if len(whole) <= WIDTH:
            return [whole]
        return self._broken(tokens, groups, blanks, is_head) or [whole]

    def _broken(self, tokens: list[Token], groups: list[_Group], blanks: int, is_head: bool) -> list[str]:
        """Break a row that is too long; return nothing when there is no place to."""
        widest = max(
            groups, key=lambda group: len(flat(tokens[group.opening : group.closing + 1], self._binary)), default=None
        )
        joined = self._cuts(tokens, ("or", "and"))
        if widest is not None and not joined and self._fits_around(tokens, widest, blanks):
            return self._broken_group(tokens, widest, blanks, is_head)
        for rank, words in enumerate(_LEVELS):
            if widest is not None and rank == _LEVELS_BEFORE_BRACKETS:
                return self._broken_group(tokens, widest, blanks, is_head)
            if cuts := self._cuts(tokens, words):
                return self._broken_at(tokens, cuts, blanks, is_head)
        return []

    def _fits_around(self, tokens: list[Token], group: _Group, blanks: int) -> bool:
        """Whether the row up to a bracket and the row from the closing one on would fit."""
        parts = (tokens[: group.opening + 1], tokens[group.closing :])
        return all(blanks + len(flat(part, self._binary)) <= WIDTH for part in parts)

    # --- brackets ---

    def _groups(self, tokens: list[Token]) -> list[_Group]:
        """Return the outermost pairs of brackets that hold something."""
        groups: list[_Group] = []
        stack: list[int] = []
        for index, token in enumerate(tokens):
            if token.kind is not TokenKind.OPERATOR:
                continue
            if token.text in _OPENING and (token.text != "{" or token.span.start in self._marks.member_braces):
                stack.append(index)
            elif token.text in (")", "]", "}") and stack:
                opening = stack.pop()
                if not stack and (index > opening + 1 or token.comments):
                    groups.append(_Group(opening, index))
        return groups

    def _is_forced(self, tokens: list[Token], group: _Group) -> bool:
        """Whether a group must be broken: it holds comments, or its members were written one a line."""
        inside = tokens[group.opening : group.closing + 1]
        return any(
            (token.comments and is_placed(before, token, self._marks)) or self._keeps_row(before, token)
            for before, token in pairwise(inside)
        )

    def _keeps_row(self, before: Token, token: Token) -> bool:
        """Whether the end of the row before `token` is the writer's: behind the brace, or in place of a comma."""
        if not token.line_start:
            return False
        in_place_of_comma = token.span.start in self._marks.members and before.text != ","
        return before.span.start in self._marks.member_braces or in_place_of_comma

    def _broken_group(self, tokens: list[Token], group: _Group, blanks: int, is_head: bool) -> list[str]:
        opening = tokens[group.opening]
        rows = self.rows(tokens[: group.opening + 1], blanks)
        inner = " " * (blanks + _INDENT)
        elements = self._elements(tokens, group)
        for element, following in zip_longest(elements, elements[1:]):
            rows += self._comments(element[0], rows, inner)
            rows += self.rows(element, blanks + _INDENT)
            rows[-1] += _comma(opening, following, len(elements))
        rows += self._comments(tokens[group.closing], rows, inner)
        return rows + self.rows(tokens[group.closing :], blanks, is_head)

    def _comments(self, token: Token, rows: list[str], inner: str) -> list[str]:
        """Put the comments before `token`: one that trailed goes to the end of the last row."""
        below: list[str] = []
        for comment in token.comments:
            if not comment.own_line and not below and "  #" not in rows[-1]:
                rows[-1] += f"  {comment.text}"
            else:
                below.append(inner + comment.text)
        return below

    def _elements(self, tokens: list[Token], group: _Group) -> list[list[Token]]:
        """Return what stands between the commas of a group, and in braces between the lines."""
        elements: list[list[Token]] = []
        current: list[Token] = []
        depth = 0
        for token in tokens[group.opening + 1 : group.closing]:
            is_operator = token.kind is TokenKind.OPERATOR
            if depth == 0 and current and token.span.start in self._marks.members:
                elements.append(current)
                current = []
            if depth == 0 and is_operator and token.text == ",":
                elements.append(current)
                current = []
                continue
            depth += (is_operator and token.text in _OPENING) - (is_operator and token.text in (")", "]", "}"))
            current.append(token)
        return [element for element in [*elements, current] if element]

    # --- operators ---

    def _cuts(self, tokens: list[Token], words: tuple[str, ...]) -> list[int]:
        cuts: list[int] = []
        depth = 0
        for index, token in enumerate(tokens):
            is_operator = token.kind is TokenKind.OPERATOR
            if is_operator and token.text in _OPENING:
                depth += 1
            elif is_operator and token.text in (")", "]", "}"):
                depth -= 1 if index else 0
            elif depth == 0 and index > 1 and token.text in words and self._may_break(tokens, index):
                cuts.append(index)
        return cuts

    def _may_break(self, tokens: list[Token], index: int) -> bool:
        """Whether a row may start with this operator or word: not with a `-` of one operand, nor with a field `or`."""
        token = tokens[index]
        return token.span.start in self._binary if token.kind is TokenKind.OPERATOR else is_keyword(tokens, index)

    def _broken_at(self, tokens: list[Token], cuts: list[int], blanks: int, is_head: bool) -> list[str]:
        further = blanks + _INDENT * (2 if is_head else 1)
        rows = self.rows(tokens[: cuts[0]], blanks)
        for first, last in zip(cuts, [*cuts[1:], len(tokens)], strict=True):
            rows += self.rows(tokens[first:last], further, is_head and last == len(tokens))
        return rows
