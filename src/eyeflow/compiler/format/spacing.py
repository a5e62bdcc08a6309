"""Blanks between the tokens of one row."""

from __future__ import annotations

from eyeflow.compiler.tokens import RESERVED, Token, TokenKind

_TIGHT_BEFORE = frozenset((")", "]", ",", ":", ".", ".."))
_TIGHT_AFTER = frozenset(("(", "[", ".", ".."))
_STEP_WORDS = frozenset(("expect", "given", "send"))
_VALUES = frozenset(("true", "false"))


def flat(tokens: list[Token], binary: frozenset[int]) -> str:
    """Return the tokens in one row; a comma before a closing bracket falls away. `binary`: see `binary_operators`."""
    kept = [
        token
        for index, token in enumerate(tokens)
        if not (token.text == "," and index + 1 < len(tokens) and tokens[index + 1].text in (")", "]", "}"))
    ]
    pieces: list[str] = []
    for index, token in enumerate(kept):
        if index > 0 and _blank_between(kept, index, binary):
            pieces.append(" ")
        pieces.append(token.text)
    return "".join(pieces)


def _blank_between(tokens: list[Token], index: int, binary: frozenset[int]) -> bool:
    """Whether a blank stands before the token at `index`."""
    before, token = tokens[index - 1], tokens[index]
    if before.text == "{" and token.text == "}":
        return False
    if token.kind is TokenKind.OPERATOR and token.text in _TIGHT_BEFORE:
        return False
    if before.kind is TokenKind.OPERATOR:
        return before.text not in _TIGHT_AFTER and not (before.text == "-" and before.span.start not in binary)
    if token.kind is TokenKind.OPERATOR and token.text in ("(", "["):
        return not _ends_callee(tokens, index - 1)
    return True


def binary_operators(tokens: list[Token]) -> frozenset[int]:
    """Return the offsets of the operators of a whole line that have a left operand: `-` may have none."""
    return frozenset(
        token.span.start for index, token in enumerate(tokens) if index > 0 and _ends_operand(tokens, index - 1)
    )


def _ends_operand(tokens: list[Token], index: int) -> bool:
    token = tokens[index]
    if token.kind is TokenKind.OPERATOR:
        return token.text in (")", "]")
    return token.kind is not TokenKind.NAME or token.text in _VALUES or _is_plain_name(tokens, index)


def _ends_callee(tokens: list[Token], index: int) -> bool:
    """Whether `(` or `[` behind this token calls or indexes it."""
    token = tokens[index]
    if token.kind is TokenKind.OPERATOR:
        return token.text in (")", "]")
    return token.kind is TokenKind.NAME and _is_plain_name(tokens, index)


def is_keyword(tokens: list[Token], index: int) -> bool:
    """Whether a reserved word is one here, and not the name of a field or argument: `r.or`, `or: 1`, `key or`."""
    if tokens[0].text == "on" and len(tokens) > 1 and tokens[1].kind is TokenKind.NAME:
        return False  # a trigger holds no expression
    after_point = index > 0 and tokens[index - 1].text == "." and tokens[index - 1].kind is TokenKind.OPERATOR
    return not after_point and not (index + 1 < len(tokens) and tokens[index + 1].text == ":")


def _is_plain_name(tokens: list[Token], index: int) -> bool:
    token = tokens[index]
    after_point = index > 0 and tokens[index - 1].text == "." and tokens[index - 1].kind is TokenKind.OPERATOR
    step = token.text in _STEP_WORDS and (index == 0 or tokens[index - 1].kind is TokenKind.DURATION)
    return after_point or (token.text not in RESERVED and not step)
