"""Source text to tokens. Problems are diagnostics; the token stream goes on behind each of them."""

from __future__ import annotations

import re

from eyeflow.base.diagnostic import Diagnostic, Fix, Span
from eyeflow.compiler.foreign import FOREIGN, Foreign
from eyeflow.compiler.lex_numbers import lex_number
from eyeflow.compiler.lex_text import TextLexer
from eyeflow.compiler.source import refuse_too_large
from eyeflow.compiler.tokens import OPERATORS, Comment, Token, TokenKind

_BLANKS = re.compile(r"[ \t\r]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMMENT = re.compile(r"#[^\n]*")
_OPERATOR = re.compile("|".join(re.escape(operator) for operator in OPERATORS))
_FOREIGN = re.compile(
    "|".join(re.escape(text) for text in sorted(FOREIGN, key=len, reverse=True)).replace("|!|", "|!(?!=)|")
)
_QUOTED = re.compile(r"'([^'\n]*)'")
_UNKNOWN_WORD = re.compile(r"[^\W0-9]\w*")
_TYPOGRAPHIC_TEXT = re.compile('[\u201c\u201d\u201e\u00ab]([^\u201c\u201d\u00bb"\n]*)[\u201c\u201d\u00bb"]')
_DIGITS = "0123456789"
_MEANINGLESS = "not part of the language"
_TYPOGRAPHIC = {"\u201c": '"', "\u201d": '"', "\u2018": '"', "\u2019": '"', "\u2013": "-", "\u2212": "-", "\u00d7": "*",
                "\u2264": "<=", "\u2265": ">=", "\u2260": "!=", "\u00a0": " ", "\u2026": ".."}  # fmt: skip


def tokenize(source: str) -> tuple[list[Token], list[Diagnostic]]:
    """Return the tokens of `source`, the last of kind END, and the problems in the order of the text.

    Comments ride on the token that follows them. Raises EyeflowError for a source above SOURCE_SIZE_BYTES_MAX.
    """
    refuse_too_large(source)
    lexer = _Lexer(source)
    tokens, _ = lexer.run(0, nesting=0)
    return tokens, _without_noise(source, sorted(lexer.diagnostics, key=lambda diagnostic: diagnostic.span))


def _without_noise(source: str, problems: list[Diagnostic]) -> list[Diagnostic]:
    """Keep one problem of a line on which a character has no meaning: what follows it is noise, as in a binary file."""
    kept: list[Diagnostic] = []
    garbled_until = -1
    for problem in problems:
        if problem.span.start <= garbled_until:
            continue
        kept.append(problem)
        if problem.code == "EF0101" and problem.fix is None and problem.label == _MEANINGLESS:
            end = source.find("\n", problem.span.start)
            garbled_until = len(source) if end < 0 else end
    return kept


class _Lexer:
    """One pass over a source. `run` is entered again, at a higher `nesting`, for each interpolation in a text."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.diagnostics: list[Diagnostic] = []
        self._line_start = True
        self._comments: list[Comment] = []

    def run(self, at: int, nesting: int) -> tuple[list[Token], int]:
        """Return the tokens from `at` on and where they stop: the end, or `}`, `:` or line end of an interpolation."""
        source, tokens, depth = self._source, list[Token](), 0
        while at < len(source):
            char = source[at]
            if char in " \t\r":
                blanks = _BLANKS.match(source, at)
                assert blanks is not None
                at = blanks.end()
                continue
            if char == "\n":
                if nesting:
                    break
                self._line_start, at = True, at + 1
                continue
            if char == "#" and not nesting:
                at = self._comment(at)
                continue
            if nesting and depth == 0 and char in "}:":
                break
            if nesting:
                depth += (char in "([{") - (char in ")]}")
            token, at = self._token(char, at, nesting, tokens)
            if token is not None:
                tokens.append(token)
                self._line_start, self._comments = False, []
        tokens.append(
            Token(TokenKind.END, "", Span(at, at), self._line_start and not nesting, comments=tuple(self._comments))
        )
        return tokens, at

    def _comment(self, at: int) -> int:
        found = _COMMENT.match(self._source, at)
        assert found is not None
        text = found[0].rstrip()
        self._comments.append(Comment(text, Span(at, at + len(text)), self._line_start))
        return found.end()

    def _token(self, char: str, at: int, nesting: int, before: list[Token]) -> tuple[Token | None, int]:
        source = self._source
        if (found := _NAME.match(source, at)) and source[found.end() : found.end() + 1].isascii():
            return self._made(TokenKind.NAME, found)
        if char in _DIGITS:
            return self._number(at)
        if char == '"':
            return self._text(at, nesting)
        if char == "." and source[at + 1 : at + 2] in tuple(_DIGITS) and not _ends_operand(before, at):
            return self._bare_point(at)
        if found := _FOREIGN.match(source, at):
            return self._foreign(found)
        if found := _OPERATOR.match(source, at):
            return self._made(TokenKind.OPERATOR, found)
        return self._unknown(char, at)

    def _made(self, kind: TokenKind, found: re.Match[str]) -> tuple[Token, int]:
        span = Span(found.start(), found.end())
        return Token(kind, found[0], span, self._line_start, comments=tuple(self._comments)), found.end()

    def _placed(self, token: Token) -> tuple[Token, int]:
        placed = Token(
            token.kind, token.text, token.span, self._line_start, token.number, token.pieces, tuple(self._comments)
        )
        return placed, token.span.end

    def _number(self, at: int) -> tuple[Token, int]:
        token = lex_number(self._source, at, self.diagnostics.append)
        end = token.span.end
        after = self._source[end : end + 2]
        if (
            token.kind is TokenKind.INT
            and after[:1] == "."
            and after != ".."
            and not after[1:].isalpha()
            and after[1:] != "_"
        ):
            text = self._source[at:end] + ".0"
            self._report_point(Span(at, end + 1), text)
            return self._placed(Token(TokenKind.FLOAT, text, Span(at, end + 1), number=float(token.number)))
        return self._placed(token)

    def _bare_point(self, at: int) -> tuple[Token, int]:
        token = lex_number(self._source, at + 1, self.diagnostics.append)
        span = Span(at, token.span.end)
        self._report_point(span, f"0{self._source[at : span.end]}")
        return self._placed(Token(TokenKind.FLOAT, token.text, span, number=0.5))

    def _report_point(self, span: Span, better: str) -> None:
        self.diagnostics.append(
            Diagnostic(
                "EF0105",
                "a float needs a digit on both sides of the point",
                span,
                label="a digit is missing",
                help=f"write `{better}`",
                fix=Fix(span, better, f"write {better}"),
            )
        )

    def _text(self, at: int, nesting: int) -> tuple[Token, int]:
        line_start, comments = self._line_start, self._comments
        self._line_start, self._comments = False, []
        token = TextLexer(self._source, at, nesting, self.diagnostics, self._inside).read()
        self._line_start, self._comments = line_start, comments
        return self._placed(token)

    def _inside(self, at: int, nesting: int) -> tuple[tuple[Token, ...], int]:
        tokens, stop = self.run(at, nesting)
        return tuple(tokens), stop

    def _foreign(self, found: re.Match[str]) -> tuple[Token | None, int]:
        foreign = FOREIGN[found[0]]
        span = Span(found.start(), found.end())
        if found[0] == "--" and self._source[span.end : span.end + 1] not in ("", "\n", "\r", " "):
            return Token(
                TokenKind.OPERATOR,
                "-",
                Span(span.start, span.start + 1),
                self._line_start,
                comments=tuple(self._comments),
            ), span.start + 1
        self.diagnostics.append(foreign.diagnostic(found[0], span))
        return self._replaced(foreign, span)

    def _replaced(self, foreign: Foreign, span: Span) -> tuple[Token | None, int]:
        if foreign.skip_to is not None:
            end = self._source.find(foreign.skip_to, span.end)
            length = 0 if foreign.skip_to == "\n" else len(foreign.skip_to)
            return None, len(self._source) if end < 0 else end + length
        if foreign.stands_for == "":
            self._line_start = self._line_start or foreign.ends_line
            return None, span.end
        kind = foreign.kind
        return Token(kind, foreign.stands_for or "", span, self._line_start, comments=tuple(self._comments)), span.end

    def _unknown(self, char: str, at: int) -> tuple[Token | None, int]:
        if quoted := _QUOTED.match(self._source, at):
            return self._wrong_quotes(quoted, "EF0102", "texts stand in double quotes", "single quotes")
        if quoted := _TYPOGRAPHIC_TEXT.match(self._source, at):
            return self._wrong_quotes(quoted, "EF0101", "texts stand in plain double quotes", "typographic quotes")
        better = _TYPOGRAPHIC.get(char)
        word = _UNKNOWN_WORD.match(self._source, at)
        span = Span(at, word.end() if word else at + 1)
        shown = word[0] if word else char if char.isprintable() else f"U+{ord(char):04X}"
        label = _MEANINGLESS
        help_text = "remove it"
        if better is not None:
            help_text = f"write `{better}`" if better.strip() else "write a plain blank"
        elif word:
            label, help_text = (
                "names are ASCII letters, digits and `_`",
                "give it an ASCII name; texts may hold any character",
            )
        fix = Fix(span, better, f"write `{better}`") if better is not None else None
        message = f"the name `{shown}` is not ASCII" if word else f"unknown character `{shown}`"
        self.diagnostics.append(Diagnostic("EF0101", message, span, label=label, help=help_text, fix=fix))
        if word:
            return Token(TokenKind.NAME, word[0], span, self._line_start, comments=tuple(self._comments)), span.end
        if better in (" ", '"', None):
            return None, span.end
        return Token(TokenKind.OPERATOR, better, span, self._line_start, comments=tuple(self._comments)), span.end

    def _wrong_quotes(self, quoted: re.Match[str], code: str, message: str, label: str) -> tuple[Token, int]:
        span = Span(quoted.start(), quoted.end())
        better = '"' + quoted[1].replace('"', '\\"') + '"'
        fix = Fix(span, better, "use plain double quotes")
        self.diagnostics.append(Diagnostic(code, message, span, label=label, help=f"write `{better}`", fix=fix))
        return Token(TokenKind.TEXT, better, span, self._line_start, comments=tuple(self._comments)), span.end


def _ends_operand(before: list[Token], at: int) -> bool:
    return (
        bool(before)
        and before[-1].span.end == at
        and (before[-1].kind is TokenKind.NAME or before[-1].text in (")", "]"))
    )
