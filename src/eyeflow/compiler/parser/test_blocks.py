"""The `test` blocks of a rule."""

from __future__ import annotations

from eyeflow.base.diagnostic import Fix, Span
from eyeflow.base.names import near
from eyeflow.compiler import ast
from eyeflow.compiler.parser.cursor import Stop
from eyeflow.compiler.parser.statements import StatementParser
from eyeflow.compiler.tokens import Token, TokenKind

_STEPS = ("at", "after", "given", "send", "expect")


class TestBlockParser(StatementParser):
    """Parses tests. A mistake costs its step."""

    __test__ = False

    def test_block(self) -> ast.TestDecl:
        """Parse `test "name" { steps }`."""
        word = self.take()
        name = self.plain_text("the name of the test in quotes")
        opening = self.open_block(word)
        steps: list[ast.Step] = []
        margin = self.column(word)
        while not (self.on("}") or self.on_kind(TokenKind.END) or self.at_item()):
            if opening is None and self.column(self.token) <= margin:
                break
            self._step_or_skip(steps)
        if opening is not None:
            self.close_block(opening)
        elif self.on("}") and self.column(self.token) == margin:
            self.take()
        return ast.TestDecl(name, tuple(steps), self.span_from(word.span))

    def plain_text(self, what: str) -> str:
        """Take a text without interpolation and return its value."""
        token = self.expect_kind(TokenKind.TEXT, what)
        if any(piece.tokens is not None for piece in token.pieces):
            self.report(
                "EF0147",
                "this text cannot hold an interpolation",
                token.span,
                label="must be a plain text",
                help="write `\\{` and `\\}` for the characters themselves",
            )
        return "".join(piece.text for piece in token.pieces)

    def _step_or_skip(self, steps: list[ast.Step]) -> None:
        before = self.at
        if self.token.line_start or self.previous.text == "{":
            self.marks.heads.add(self.token.span.start)
        try:
            if moment := self.accept("at", "after"):
                time_us = self.duration(f"after `{moment.text}`")
                steps.append(ast.Advance(moment.text, time_us, self.span_from(moment.span)))
                if self.token.line_start or self.on("}"):
                    return
            steps.append(self._step())
            self.end_of_statement()
        except Stop:
            self.skip_broken(before)

    def _step(self) -> ast.Step:
        token = self.token
        self.stop_if_reported()
        if self.on("given", "expect") and self.peek().line_start:
            word = self.take()
            what = "a condition or an action" if word.text == "expect" else "a read or a parameter"
            self.fail_expected(what, f"after `{word.text}`")
        if self.accept("given"):
            return self._given(token)
        if self.accept("send"):
            return self._send(token)
        if self.accept("expect"):
            return self._expect(token)
        raise self._unknown_step(token)

    def _unknown_step(self, token: Token) -> Stop:
        better = near(token.text, _STEPS) if token.kind is TokenKind.NAME else None
        shown = "this" if token.kind is TokenKind.TEXT else f"`{token.text}`"
        return self.fail(
            "EF0145",
            f"{shown} starts no step of a test",
            token.span,
            label="not a step",
            help=f"write `{better}`" if better else "a step starts with given, send, expect, at or after",
            note="`given` sets inputs, `send` sends events, `at` and `after` move the clock, `expect` checks",
            fix=Fix(token.span, better, f"write `{better}`") if better else None,
        )

    # --- given and send ---

    def _given(self, word: Token) -> ast.GivenRead | ast.GivenParam | ast.GivenTime:
        if self.on("time") and self.peek().kind is TokenKind.TEXT:
            self.take()
            return ast.GivenTime(self.plain_text("a date and time"), self.span_from(word.span))
        self.operators = 0
        target = self.postfix(with_failure=False)
        if isinstance(target, ast.CallExpr):
            if self.accept("fails"):
                return ast.GivenRead(target, None, self.span_from(word.span))
            return ast.GivenRead(target, self._given_value("`=` or `fails`"), self.span_from(word.span))
        if not isinstance(target, ast.NameExpr):
            raise self.fail(
                "EF0145",
                "`given` sets a read or a parameter",
                target.span,
                label="neither",
                help="write `given adc.read_channel(0) = 850` or `given limit = 70.0`",
            )
        value = self._given_value("`=`")
        return ast.GivenParam(ast.Name(target.name, target.span), value, self.span_from(word.span))

    def _given_value(self, what: str) -> ast.Expr:
        if self.on("=="):
            token = self.take()
            self.report(
                "EF0120",
                "`given` sets a value with `=`",
                token.span,
                label="expected `=`",
                help="write `=`",
                fix=Fix(token.span, "=", "write `=`"),
            )
        elif not self.accept("="):
            self.fail_expected(what, "after what is given")
        return self.expression()

    def _send(self, word: Token) -> ast.Send:
        binding = None
        if self.on_kind(TokenKind.NAME) and not self.token.line_start:
            binding = self.name("the name after `as`")
        fields: list[ast.Argument] = []
        if self.on("{") and not self.token.line_start:
            opening = self.take()
            self.marks.member_braces.add(opening.span.start)
            self.operators = 0
            with self.bracket(opening):
                while not (self.on("}") or (self.token.line_start and self.peek().text not in (":", "="))):
                    fields.append(self._field_of_send())
                    if not self.accept(",") and not self.token.line_start:
                        break
                self.close("}", opening)
        return ast.Send(binding, tuple(fields), self.span_from(word.span))

    def _field_of_send(self) -> ast.Argument:
        self.marks.members.add(self.token.span.start)
        argument = self.argument()
        if argument.name is None:
            raise self.fail(
                "EF0120",
                "a field of an event needs its name",
                argument.span,
                label="which field?",
                help="write `send { temp: 81.5 }`",
            )
        return argument

    # --- expect ---

    def _expect(self, word: Token) -> ast.Step:
        if self.on("no") and self.peek().kind is not TokenKind.OPERATOR:
            self.take()
            if self.token.line_start:
                self.fail_expected("an action", "after `no`", "write for example `expect no actions`")
            if self.on("actions") and self.peek().text != ".":
                self.take()
                return ast.ExpectNoActions(self.span_from(word.span))
            return self._expect_counted(word, 0)
        if self.on_kind(TokenKind.INT) and self.peek().text == "times":
            count = int(self.take().number)
            self.take()
            return self._expect_counted(word, count)
        if self.on("emit"):
            return self._expect_counted(word, None)
        if self.on("trap") and (self.peek().line_start or self.peek().text == "}" or self.peek().kind is TokenKind.END):
            self.take()
            return ast.ExpectTrap(self.span_from(word.span))
        condition = self.condition()
        if isinstance(condition, ast.CallExpr) and len(condition.path) > 1 and condition.failure is None:
            return ast.ExpectAction(condition, None, self.span_from(word.span))
        return ast.ExpectThat(condition, self.span_from(word.span))

    def _expect_counted(self, word: Token, count: int | None) -> ast.ExpectAction | ast.ExpectEmit:
        if self.accept("emit"):
            event = self.name("the name of the event")
            fields = self.arguments() if self.on("(") and not self.token.line_start else ()
            return ast.ExpectEmit(event, fields, count, self.span_from(word.span))
        self.operators = 0
        start = self.token.span
        call = self.postfix(with_failure=False)
        if not isinstance(call, ast.CallExpr):
            raise self._no_action(call, start.to(self.previous.span))
        return ast.ExpectAction(call, count, self.span_from(word.span))

    def _no_action(self, found: ast.Expr, span: Span) -> Stop:
        fix = None
        if isinstance(found, ast.FieldExpr):
            fix = Fix(Span(span.end, span.end), "()", "add `()`: arguments left out fit any")
        return self.fail(
            "EF0145",
            "an action is expected here",
            span,
            label="not the call of a capability",
            help=fix.title
            if fix
            else "write `expect no gpio.set_pin(RELAY, HIGH)`, `expect 2 times ...` or `expect no actions`",
            fix=fix,
        )
