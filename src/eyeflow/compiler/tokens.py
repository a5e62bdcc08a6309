"""The words of a rule: tokens, the comments between them, and the reserved words."""

from __future__ import annotations

from enum import Enum

from eyeflow.base.diagnostic import Span
from eyeflow.base.record import dataclass


class TokenKind(Enum):
    """What sort of word a token is."""

    NAME = "name"
    INT = "int"
    FLOAT = "float"
    DURATION = "duration"
    TEXT = "text"
    OPERATOR = "operator"
    BROKEN = "broken"
    """Reported already; the parser gives up on the statement without a second message."""
    END = "end"


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, `#` included; `own_line` when nothing but blanks stands before it."""

    text: str
    span: Span
    own_line: bool


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Literal text of a text token, or the tokens of an interpolation (`tokens` ends with END) with its decimals."""

    span: Span
    text: str = ""
    tokens: tuple[Token, ...] | None = None
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One word: `text` as written, `number` for INT, FLOAT and DURATION (us), `pieces` for TEXT.

    `line_start` is true for the first token of a line; `comments` stand between the token before and this one.
    """

    kind: TokenKind
    text: str
    span: Span
    line_start: bool = False
    number: int | float = 0
    pieces: tuple[TextPiece, ...] = ()
    comments: tuple[Comment, ...] = ()


RESERVED = frozenset((
    "and", "backoff", "cooldown", "else", "emit", "false", "falls", "for", "hysteresis", "if", "in", "last", "let",
    "match", "not", "or", "retry", "rises", "rule", "then", "timeout", "true", "var",
))  # fmt: skip
"""Words that never name a value; fields of records and argument names may be any word."""

ITEM_WORDS = (
    "version", "priority", "description", "enum", "record", "pin", "param", "const", "state", "on", "test",
)  # fmt: skip
"""Words that start an item of a rule when a name or a text follows; elsewhere they are ordinary names."""

OPERATORS = (
    "=>", "==", "!=", "<=", ">=", "<<", ">>", "..",
    "<", ">", "=", "+", "-", "*", "/", "%", "&", "|", "^", "(", ")", "[", "]", "{", "}", ",", ".", ":",
)  # fmt: skip
"""Operators and punctuation, longer ones first."""
