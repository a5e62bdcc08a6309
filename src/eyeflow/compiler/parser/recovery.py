"""Braces and ends of lines: where statements start and end, and where the parser goes on behind a mistake."""

from __future__ import annotations

from eyeflow.base.diagnostic import Fix, Label
from eyeflow.compiler.parser.cursor import Stop, describe
from eyeflow.compiler.parser.expressions import ExpressionParser
from eyeflow.compiler.tokens import Token, TokenKind

_CLOSING = {")": "(", "]": "["}


class RecoveringParser(ExpressionParser):
    """Opens and closes blocks, ends statements, and skips broken ones."""

    crooked: Token | None = None
    """The innermost `{` whose `}` stood at another indentation: most likely the one that misses its own."""

    def open_block(self, owner: Token) -> Token | None:
        """Take `{`; when it is missing report that, and return None."""
        if self.on("{"):
            return self.take()
        self.stop_if_reported()
        found, span = self._found()
        colon = self.on(":") and self.peek().line_start
        self.report(
            "EF0150",
            f"expected `{{` after `{owner.text}`, found {found}",
            span,
            label="expected `{`",
            labels=(Label(owner.span, "this needs a block in braces"),),
            help="blocks stand in braces: `" + owner.text + " ... {`, the statements, `}`",
            fix=Fix(span, " {" if span.start == span.end else "{", "write `{`")
            if colon or span.start == span.end
            else None,
        )
        if colon:
            self.take()
        elif not self.token.line_start:
            raise Stop
        return None

    def close_block(self, opening: Token) -> None:
        """Take the `}` of `opening`; when it is missing blame the brace that most likely lacks its own."""
        if self.on("}"):
            closing = self.take()
            if closing.line_start and self.column(closing) != self.column(opening) and self.crooked is None:
                self.crooked = opening
            return
        self.stop_if_reported()
        at_end = self.on_kind(TokenKind.END)
        blamed = self.crooked if at_end and self.crooked is not None else opening
        place = "the end of the file" if at_end else describe(self.token)
        self.report(
            "EF0121",
            "this `{` is never closed",
            blamed.span,
            label="opened here, and its `}` is missing",
            labels=(
                Label(
                    self.previous.span if at_end else self.token.span,
                    f"{place} comes before its `}}`" if not at_end else "the file ends here",
                ),
            ),
            help="add `}`",
        )
        if at_end:
            self._reported_at = self.at

    def skip_broken(self, start: int) -> None:
        """Skip what is left of a broken statement that starts at token `start`, with the blocks that it opened.

        Stops at the next line or at the `}` of the block around it; takes at least one token.
        """
        if self.at == start:
            self.take()
        self._skip_line(self._open_blocks(start))
        while self.on("else") and self.tokens[start].text == "if":
            self.take()
            self._skip_line(0)

    def _open_blocks(self, start: int) -> int:
        """Count the blocks opened and not closed since token `start`; takes a `}` of fields further on this line."""
        kinds: list[bool] = []
        for token in self.tokens[start : self.at]:
            if token.kind is TokenKind.OPERATOR and token.text == "{":
                kinds.append(token.span.start not in self.marks.member_braces)
            elif token.kind is TokenKind.OPERATOR and token.text == "}" and kinds:
                kinds.pop()
        if kinds and not kinds[-1]:
            while not (self.on("}") or self.token.line_start or self.on_kind(TokenKind.END)):
                self.take()
            if self.on("}") and not self.token.line_start:
                self.take()
        return sum(kinds)

    def _skip_line(self, depth: int) -> None:
        """Skip to the next line at brace depth 0, or to the `}` that leaves it; `depth` braces are open now."""
        while not self.on_kind(TokenKind.END):
            if depth == 0 and (self.on("}") or (self.token.line_start and not self.on("{"))):
                return
            if self.at_item():
                return
            depth += self.on("{") - self.on("}")
            self.take()

    def end_of_statement(self) -> None:
        """Check that the statement ends here: at the end of its line or before `}`."""
        token = self.token
        if token.line_start or token.kind is TokenKind.END or self.on("}"):
            return
        self.stop_if_reported()
        if self.on("else"):
            raise self.lone_else()
        if self.on(")", "]"):
            raise self.fail(
                "EF0120", f"`{token.text}` closes nothing", token.span, label=f"no `{_CLOSING[token.text]}` is open"
            )
        if self.on("{"):
            raise self.fail(
                "EF0120",
                "`{` opens a block here that nothing needs",
                token.span,
                label="unexpected block",
                help="blocks follow `if`, `else`, `for` and the arms of `match`",
            )
        raise self.fail(
            "EF0139",
            f"expected the end of the line, found {describe(token)}",
            token.span,
            label="a statement ends at the end of its line",
            help="check the operator before it, or start a new line",
        )

    def lone_else(self) -> Stop:
        """Report an `else` that follows no `if`, and return what to raise."""
        return self.fail(
            "EF0149",
            "`else` without its `if`",
            self.token.span,
            label="no `if` ends right before",
            help="`else` follows the `}` of an `if`; an `if` has one `else`, at its end",
        )
