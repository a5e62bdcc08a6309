"""The place in the token stream, and what every part of the parser does with it: look, take, report, recover."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eyeflow.base.diagnostic import Diagnostic, Fix, Label, Span
from eyeflow.base.record import dataclass
from eyeflow.compiler.ast import Name
from eyeflow.compiler.source import Source
from eyeflow.compiler.tokens import ITEM_WORDS, RESERVED, Token, TokenKind

NESTING_MAX = 64
"""How deep parentheses, blocks, `else if` chains, `-` and `not` may stand in one another, all counted together."""

OPERATORS_MAX = 128
"""The most operators, calls, fields and indexes in one expression."""


_GARBLING = ("EF0101", "EF0103", "EF0108")
"""Lexical problems behind which the rest of a line cannot be trusted."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Offsets for the formatter: where items, statements, arms and steps start (`heads`), the `{` that hold members or
    fields and no statements (`member_braces`), and where those start (`members`).
    """

    heads: set[int]
    member_braces: set[int]
    members: set[int]


class Stop(Exception):  # noqa: N818 - not an error of the program: it unwinds to the next point of recovery
    """The parser gives up on the current statement, item or step; the problem has been reported."""


class Cursor:
    """A position in the tokens, with one token of memory behind it."""

    def __init__(self, source: Source, tokens: tuple[Token, ...], diagnostics: list[Diagnostic]) -> None:
        self.source = source
        self.tokens = tokens
        self.diagnostics = diagnostics
        self.at = 0
        self.nesting = 0
        self.operators = 0
        self._reported_at = -1
        self._lexical_starts = {problem.span.start for problem in diagnostics}
        self.marks = Marks(set(), set(), set())
        self._garbled_lines = {
            source.line_of(problem.span.start) for problem in diagnostics if problem.code in _GARBLING
        }

    # --- looking ---

    @property
    def token(self) -> Token:
        """The current token; END for ever at the end."""
        return self.tokens[self.at]

    @property
    def previous(self) -> Token:
        """The token taken last, or the first one."""
        return self.tokens[max(self.at - 1, 0)]

    def peek(self, ahead: int = 1) -> Token:
        """Return the token `ahead` places further on, or END."""
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def on(self, *texts: str) -> bool:
        """Return whether the current token is one of these operators or words."""
        token = self.token
        return token.text in texts and token.kind in (TokenKind.OPERATOR, TokenKind.NAME)

    def on_kind(self, kind: TokenKind) -> bool:
        """Return whether the current token is of `kind`."""
        return self.token.kind is kind

    def at_item(self) -> bool:
        """Return whether an item of the rule starts here: its word at the start of a line, then a name or a text."""
        token, following = self.token, self.peek()
        if not token.line_start or token.kind is not TokenKind.NAME or following.line_start:
            return False
        if token.text == "rule":
            return following.kind is TokenKind.NAME and self.peek(2).text == "{"
        if token.text == "test" and following.text == "{":
            return True
        return token.text in ITEM_WORDS and following.kind in (TokenKind.NAME, TokenKind.TEXT)

    def on_new_line(self) -> bool:
        """Return whether the line ended before this token, and what stands there does not go on with it."""
        before = self.previous
        goes_on = before.kind is TokenKind.OPERATOR or (before.kind is TokenKind.NAME and before.text in RESERVED)
        return self.token.line_start and self.at > 0 and not goes_on

    def column(self, token: Token) -> int:
        """Return the column of the first character on the token's line that is not blank."""
        line = self.source.line_text(self.source.line_of(token.span.start))
        return len(line) - len(line.lstrip())

    # --- taking ---

    def take(self) -> Token:
        """Take the current token."""
        token = self.token
        if token.kind is not TokenKind.END:
            self.at += 1
        return token

    def accept(self, *texts: str) -> Token | None:
        """Take the current token when it is one of these."""
        return self.take() if self.on(*texts) else None

    def expect(self, text: str, why: str, help_text: str = "") -> Token:
        """Take `text`, or report that it is missing and stop."""
        return self.accept(text) or self.fail_expected(f"`{text}`", why, help_text)

    def expect_kind(self, kind: TokenKind, what: str, help_text: str = "") -> Token:
        """Take a token of `kind`, or report that `what` is missing and stop."""
        if self.on_kind(kind) and not self.on_new_line():
            return self.take()
        return self.fail_expected(what, "", help_text)

    def name(self, what: str, *, any_word: bool = False, new_line: bool = False) -> Name:
        """Take a name that is not reserved (or any word), or report and stop. `what`: `a name for the pin`.

        The name may stand on the next line with `new_line`, or where the line before goes on.
        """
        token = self.token
        if token.kind is not TokenKind.NAME or (not new_line and self.on_new_line()):
            self.fail_expected(what, "")
        if token.text in RESERVED and not any_word:
            self.report(
                "EF0138",
                f"`{token.text}` is a word of the language and cannot be a name",
                token.span,
                label=f"{what} stands here",
                help=f"choose another name, for example `{token.text}_`",
            )
        self.take()
        return Name(token.text, token.span)

    def span_from(self, start: Span) -> Span:
        """Return the span from `start` to the end of the token taken last."""
        return start.to(self.previous.span)

    # --- reporting ---

    def report(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        label: str = "",
        note: str = "",
        help: str = "",
        labels: tuple[Label, ...] = (),
        fix: Fix | None = None,
    ) -> None:
        """Add a diagnostic, unless it follows from one that was reported: at the same token, or on a garbled line."""
        line = self.source.line_of(span.start)
        if self._reported_at == self.at or line in self._garbled_lines or span.start in self._lexical_starts:
            return
        self._reported_at = self.at
        self.diagnostics.append(
            Diagnostic(code, message, span, label=label, note=note, help=help, labels=labels, fix=fix)
        )

    def fail(self, code: str, message: str, span: Span, **more: object) -> Stop:
        """Report and return what to raise."""
        self.report(code, message, span, **more)  # type: ignore[arg-type]
        return Stop()

    def fail_expected(self, what: str, why: str, help_text: str = "") -> Token:
        """Report that `what` is missing here and stop."""
        self.stop_if_reported()
        found, span = self._found()
        reason = f" {why}" if why else ""
        raise self.fail(
            "EF0120", f"expected {what}{reason}, found {found}", span, label=f"expected {what}", help=help_text
        )

    def stop_if_reported(self) -> None:
        """Stop without a message where the lexer has reported the current token."""
        token = self.token
        repaired = token.text == "=>" and self.source.text[token.span.start : token.span.end] == "->"
        if token.kind is TokenKind.BROKEN or repaired:
            raise Stop

    def _found(self) -> tuple[str, Span]:
        """Describe the current token; what is missing at the end of a line is shown there, not on the next line."""
        token = self.token
        end = self.previous.span.end
        if token.kind is TokenKind.END:
            inside = token.span.end < len(self.source.text) and not token.line_start
            return "the end of the interpolation" if inside else "the end of the file", Span(end, end)
        if token.line_start and self.at > 0:
            return "the end of the line", Span(end, end)
        return describe(token), token.span

    # --- bounds ---

    @contextmanager
    def nested(self, opening: Token) -> Iterator[None]:
        """Count one level of nesting; report and stop when it is one too many."""
        if self.nesting >= NESTING_MAX:
            raise self.fail(
                "EF0136",
                f"nested more than {NESTING_MAX} levels deep",
                opening.span,
                label="one level too many",
                help="give inner parts a name with `let`, or split the rule",
            )
        self.nesting += 1
        try:
            yield
        finally:
            self.nesting -= 1

    def count_operator(self, token: Token) -> None:
        """Count one operator of the current expression; report and stop when it is one too many."""
        self.operators += 1
        if self.operators > OPERATORS_MAX:
            raise self.fail(
                "EF0137",
                f"an expression with more than {OPERATORS_MAX} operators",
                token.span,
                label="one operator too many",
                help="compute parts of it with `let` first",
            )


def describe(token: Token) -> str:
    """Name a token for a message."""
    text = token.text if len(token.text) <= 30 else token.text[:27] + "..."
    kinds = {
        TokenKind.INT: "the number",
        TokenKind.FLOAT: "the number",
        TokenKind.DURATION: "the duration",
        TokenKind.TEXT: "the text",
    }
    if token.kind is TokenKind.END:
        return "the end"
    prefix = kinds.get(token.kind)
    return f"{prefix} {text}" if prefix == "the text" else f"{prefix} `{text}`" if prefix else f"`{text}`"
