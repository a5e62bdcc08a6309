"""Texts of the rule language: escapes and interpolation."""

from __future__ import annotations

import re
from collections.abc import Callable

from eyeflow.base.diagnostic import Diagnostic, Fix, Span
from eyeflow.compiler.tokens import TextPiece, Token, TokenKind

TEXT_NESTING_MAX = 4
"""How deep a text may stand inside the interpolation of another text."""

_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "{": "{", "}": "}"}
_LITERAL = re.compile(r'[^"\\{}\n]+')
_UNICODE = re.compile(r"u\{([0-9A-Fa-f]{1,6})\}")
_TEXT_END = re.compile(r'(?:[^"\\\n]|\\[^\n])*')
_DECIMALS = re.compile(r"[ \t]*([0-9]+)[ \t]*\}")
_DECIMALS_MAX = 17

LexInside = Callable[[int, int], tuple[tuple[Token, ...], int]]
"""(offset after the brace, nesting) -> tokens up to `}` or `:` at depth 0 or the line end, offset of that stop."""


class TextLexer:
    """Reads one text that starts with a quote at `start`."""

    def __init__(
        self, source: str, start: int, nesting: int, problems: list[Diagnostic], lex_inside: LexInside
    ) -> None:
        self._source = source
        self._start = start
        self._nesting = nesting
        self._problems = problems
        self._report = problems.append
        self._lex_inside = lex_inside
        self._given_up = False
        self._pieces: list[TextPiece] = []
        self._literal: list[str] = []
        self._literal_start = start + 1

    def read(self) -> Token:
        """Return the text token; it ends at its quote, or at the end of the line when the quote is missing."""
        source, at = self._source, self._start + 1
        while True:
            char = source[at : at + 1]
            if char == '"':
                return self._token(at, at + 1)
            if char in ("", "\n"):
                return self._unterminated(at)
            if char == "\\":
                at = self._escape(at)
            elif char == "{":
                at = self._interpolation(at)
            elif char == "}":
                self._lone_brace(at)
                at += 1
            else:
                literal = _LITERAL.match(source, at)
                assert literal is not None, "every other character was handled"
                self._literal.append(literal[0])
                at = literal.end()

    def _token(self, content_end: int, end: int, kind: TokenKind = TokenKind.TEXT) -> Token:
        self._flush(content_end)
        return Token(kind, self._source[self._start : end], Span(self._start, end), pieces=tuple(self._pieces))

    def _flush(self, end: int) -> None:
        if self._literal:
            self._pieces.append(TextPiece(Span(self._literal_start, end), "".join(self._literal)))
            self._literal = []

    def _unterminated(self, at: int) -> Token:
        end = self._start + len(self._source[self._start : at].rstrip())
        span = Span(self._start, end)
        if self._given_up:
            return self._token(end, at, TokenKind.BROKEN)
        self._report(
            Diagnostic(
                "EF0103",
                "this text has no closing quote",
                span,
                label='a text ends with `"` on the line where it starts',
                help='add `"`; for a new line inside a text write `\\n`',
            )
        )
        return self._token(end, at)

    def _escape(self, at: int) -> int:
        following = self._source[at + 1 : at + 2]
        if following in _ESCAPES and following:
            self._literal.append(_ESCAPES[following])
            return at + 2
        if following == "u":
            return self._unicode(at)
        if following in ("", "\n"):
            return at + 1
        self._report(
            Diagnostic(
                "EF0104",
                f"unknown escape `\\{following}`",
                Span(at, at + 2),
                label="not an escape",
                note='escapes are \\n \\t \\" \\\\ \\{ \\} and \\u{1F525}',
                help="for a backslash write `\\\\`",
                fix=Fix(Span(at, at + 1), "\\\\", "write `\\\\`"),
            )
        )
        return at + 2

    def _unicode(self, at: int) -> int:
        found = _UNICODE.match(self._source, at + 1)
        if found and (code := int(found[1], 16)) <= 0x10FFFF and code != 0 and not 0xD800 <= code <= 0xDFFF:
            self._literal.append(chr(code))
            return found.end()
        end = found.end() if found else at + 2
        self._report(
            Diagnostic(
                "EF0104",
                "this is not a Unicode escape",
                Span(at, end),
                label="wants one to six hexadecimal digits of a character"
                if not found
                else "there is no such character",
                help="write for example `\\u{1F525}`",
            )
        )
        return end

    def _lone_brace(self, at: int) -> None:
        self._report(
            Diagnostic(
                "EF0108",
                "a `}` without its `{` in a text",
                Span(at, at + 1),
                label="closes nothing",
                note="`{...}` in a text inserts the value of an expression",
                help="for the character itself write `\\}`",
                fix=Fix(Span(at, at + 1), "\\}", "write `\\}`"),
            )
        )

    def _interpolation(self, at: int) -> int:
        self._flush(at)
        if self._nesting >= TEXT_NESTING_MAX:
            return self._too_deep(at)
        known = len(self._problems)
        tokens, stop = self._lex_inside(at + 1, self._nesting + 1)
        decimals: int | None = None
        closing = self._source[stop : stop + 1]
        if closing == ":":
            found = _DECIMALS.match(self._source, stop + 1)
            if found is None or int(found[1][:4]) > _DECIMALS_MAX:
                return self._bad_decimals(at, stop)
            decimals, stop, closing = int(found[1]), found.end() - 1, "}"
        if closing != "}":
            if any(problem.code == "EF0136" for problem in self._problems[known:]):
                return self._give_up(at)
            del self._problems[known:]  # what looked wrong inside follows from the missing brace
            return self._unclosed(at)
        if len(tokens) == 1:
            self._bad(
                at,
                stop + 1,
                "nothing stands between these braces",
                "write an expression, or `\\{` and `\\}` for the characters",
            )
            return self._resume(stop + 1)
        self._pieces.append(TextPiece(Span(at, stop + 1), tokens=tokens, decimals=decimals))
        return self._resume(stop + 1)

    def _resume(self, at: int) -> int:
        self._literal_start = at
        return at

    def _skip_to_quote(self, at: int) -> int:
        found = _TEXT_END.match(self._source, at)
        return self._resume(found.end() if found else at)

    def _too_deep(self, at: int) -> int:
        self._report(
            Diagnostic(
                "EF0136",
                f"texts stand more than {TEXT_NESTING_MAX} levels deep in one another",
                Span(at, at + 1),
                label="one level too many",
                help="name the inner text with `let` first",
            )
        )
        return self._give_up(at)

    def _give_up(self, at: int) -> int:
        """Skip the rest of the line, and report nothing more about this text."""
        self._given_up = True
        end = self._source.find("\n", at)
        return self._resume(len(self._source) if end < 0 else end)

    def _bad_decimals(self, at: int, colon: int) -> int:
        end = self._skip_to_quote(colon)
        close = self._source.find("}", colon, end)
        self._bad(
            colon,
            close if close >= 0 else colon + 1,
            f"a number of decimals, 0 to {_DECIMALS_MAX}, follows the colon",
            "write for example `{temp:1}`",
        )
        return self._resume(close + 1) if close >= 0 else end

    def _unclosed(self, at: int) -> int:
        self._bad(at, at + 1, "this brace is never closed", "add `}`, or write `\\{` for the character itself")
        return self._skip_to_quote(at)

    def _bad(self, start: int, end: int, label: str, help_text: str) -> None:
        self._report(
            Diagnostic(
                "EF0108",
                "the interpolation in this text is not complete",
                Span(start, end),
                label=label,
                help=help_text,
            )
        )
