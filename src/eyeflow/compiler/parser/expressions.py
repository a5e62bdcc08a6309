"""Expressions: precedence climbing for operators, so that few frames of the stack stand for one level of nesting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eyeflow.base.diagnostic import Fix, Label, Span
from eyeflow.compiler import ast
from eyeflow.compiler.lex_numbers import INT_MAX
from eyeflow.compiler.parser.cursor import Cursor, Stop
from eyeflow.compiler.parser.names import path_of, shortened
from eyeflow.compiler.tokens import RESERVED, Token, TokenKind

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_BINDING = {
    "or": 1, "and": 2,
    **dict.fromkeys(_COMPARISONS, 4),
    **dict.fromkeys(("&", "|", "^", "<<", ">>"), 5),
    **dict.fromkeys(("+", "-"), 6),
    **dict.fromkeys(("*", "/", "%"), 7),
}  # fmt: skip
_NOT_BINDING = 3
_OPERAND_BINDING = 5
"""The operands of a comparison and the band of a hysteresis."""


class ExpressionParser(Cursor):
    """Parses expressions. `expression` is the entry; each method returns its node or raises Stop."""

    statement_at = 0
    """The token with which the current statement starts: an expression may stand there although the line is new."""

    _else_is_taken = False
    """Inside `if c then HERE else y` an `else` belongs to the `if`, not to a call."""

    def expression(self) -> ast.Expr:
        """Parse a whole expression, time words included; the count of operators starts again."""
        self.operators = 0
        with self._else_taken(False):
            return self._timed()

    def _timed(self) -> ast.Expr:
        left = self._binary(1)
        while self.on("for", "cooldown", "rises", "falls"):
            if self.token.text == "for" and self.token.line_start and not self._bracketed:
                break
            left = self._time_word(left)
            left = self._joined_to(left)
        return left

    def _joined_to(self, timed: ast.Expr) -> ast.Expr:
        """Report an `and` or `or` right behind a time word, and read on as if parentheses stood there."""
        while self.on("and", "or"):
            operator = self.take()
            written = self.source.text[timed.span.start : timed.span.end]
            self.report(
                "EF0151",
                f"`{operator.text}` cannot follow a time word without parentheses",
                operator.span,
                label="what does it join?",
                note="time words bind loosest: `a and b for 2s` is `(a and b) for 2s`",
                help=f"write `({written}) {operator.text} ...`",
                fix=Fix(timed.span, f"({written})", "put parentheses around the timed condition"),
            )
            right = self._binary(1)
            span = timed.span.to(right.span)
            timed = ast.BinaryExpr(operator.text, timed, right, operator.span, span)
        return timed

    _bracketed = 0
    """How many `(` and `[` are open: inside them the end of a line means nothing."""

    def _time_word(self, condition: ast.Expr) -> ast.Expr:
        token = self.take()
        self.count_operator(token)
        word = ast.TimeWord(token.text)
        duration: ast.Expr | None = None
        if word in (ast.TimeWord.FOR, ast.TimeWord.COOLDOWN):
            duration = self.duration_operand(token)
        return ast.TimeExpr(word, condition, duration, self.span_from(condition.span))

    def duration_operand(self, word: Token) -> ast.Expr:
        """Parse the duration behind a time word; a bare number is reported, with the seconds it may have meant."""
        if self.on_kind(TokenKind.INT) or self.on_kind(TokenKind.FLOAT):
            token = self.take()
            self.missing_unit(token, f"after `{word.text}`")
            return ast.DurationLiteral(int(token.number * 1_000_000), token.span)
        return self._unary()

    def missing_unit(self, token: Token, where: str) -> None:
        """Report a number where a duration is wanted; takes a unit that stands apart with it."""
        unit = self.token
        better = f"{token.text}s"
        span = token.span
        if unit.kind is TokenKind.NAME and not unit.line_start and unit.text in ("us", "ms", "s", "min", "h", "d"):
            self.take()
            better, span = token.text + unit.text, token.span.to(unit.span)
            label = "a number and its unit stand together"
        else:
            label = "the unit is missing"
        whole = token.kind is TokenKind.INT
        self.report(
            "EF0135",
            f"a duration {where} needs a unit",
            span,
            label=label,
            help=f"write for example `{better}`" if whole else "write for example `1500ms`",
            note="units are us, ms, s, min, h and d",
            fix=Fix(span, better, f"write `{better}`") if whole else None,
        )

    # --- operators ---

    def _binary(self, binding: int) -> ast.Expr:
        left = self._not() if binding <= _NOT_BINDING and self.on("not") else self._unary()
        while True:
            token = self.token
            found = _BINDING.get(token.text, 0) if token.kind in (TokenKind.OPERATOR, TokenKind.NAME) else 0
            if self._in_condition and token.text == "=" and binding <= 4 and token.kind is TokenKind.OPERATOR:
                found, token = 4, self._meant_equal(token)
            if found < binding or found == 0:
                return left
            self.count_operator(self.take())
            right = self._binary(found + 1)
            band = self._hysteresis(token) if found == 4 else None
            left = ast.BinaryExpr(token.text, left, right, token.span, self.span_from(left.span), band)
            if found == 4:
                self._refuse_chain(left)

    def condition(self) -> ast.Expr:
        """Parse a condition: an expression in which `=` is reported and read as `==`."""
        self._in_condition = True
        try:
            return self.expression()
        finally:
            self._in_condition = False

    _in_condition = False

    def _meant_equal(self, token: Token) -> Token:
        self.report(
            "EF0130",
            "`=` assigns; a comparison is written `==`",
            token.span,
            label="expected `==`",
            help="write `==`",
            fix=Fix(token.span, "==", "write `==`"),
        )
        return Token(TokenKind.OPERATOR, "==", token.span)

    def _hysteresis(self, operator: Token) -> ast.Expr | None:
        if not self.on("hysteresis"):
            return None
        self.count_operator(self.take())
        return self._binary(_OPERAND_BINDING)

    def _refuse_chain(self, left: ast.BinaryExpr) -> None:
        """Report `a < b < c` once; the first comparison stays, the rest is read and dropped."""
        token = self.token
        if not self.on(*_COMPARISONS):
            return
        middle = self.source.text[left.right.span.start : left.right.span.end]
        self.report(
            "EF0140",
            "comparisons cannot be chained",
            token.span,
            label="the second comparison",
            labels=(Label(left.operator_span, "the first comparison"),),
            help=f"join two comparisons with `and`: `... and {shortened(middle)} {token.text} ...`",
        )
        while self.on(*_COMPARISONS):
            self.count_operator(self.take())
            self._binary(_OPERAND_BINDING)

    def _not(self) -> ast.Expr:
        token = self.take()
        self.count_operator(token)
        with self.nested(token):
            operand = self._not() if self.on("not") else self._binary(_NOT_BINDING + 1)
        return ast.UnaryExpr("not", operand, token.span.to(operand.span))

    def _unary(self) -> ast.Expr:
        if not self.on("-"):
            return self.postfix()
        token = self.take()
        self.count_operator(token)
        if self.on_kind(TokenKind.INT) and self.token.number == INT_MAX + 1:
            return ast.IntLiteral(-INT_MAX - 1, token.span.to(self.take().span))
        with self.nested(token):
            operand = self._unary()
        return ast.UnaryExpr("-", operand, token.span.to(operand.span))

    # --- operands ---

    def postfix(self, *, with_failure: bool = True) -> ast.Expr:
        """Parse a value with its fields and indexes, and what happens when a capability fails."""
        expr = self._primary()
        while True:
            if self.on("."):
                expr = self._field(expr)
            elif self.on("(") and self._same_row() and isinstance(expr, ast.NameExpr | ast.FieldExpr):
                expr = self._call(expr)
            elif self.on("[") and self._same_row():
                expr = self._index(expr)
            elif with_failure and isinstance(expr, ast.CallExpr) and self._at_failure():
                expr = self.with_failure(expr)
            else:
                return expr

    def _same_row(self) -> bool:
        """Whether the current token belongs to what stands before it: inside brackets ends of lines mean nothing."""
        return self._bracketed > 0 or not self.token.line_start

    def _field(self, base: ast.Expr) -> ast.Expr:
        self.count_operator(self.take())
        if not self._same_row():
            self.fail_expected("a name after the point", "")
        field = self.name("a name after the point", any_word=True)
        return ast.FieldExpr(base, field, self.span_from(base.span))

    def _index(self, base: ast.Expr) -> ast.Expr:
        opening = self.take()
        self.count_operator(opening)
        with self.bracket(opening):
            index = self._timed()
            self.close("]", opening)
        return ast.IndexExpr(base, index, self.span_from(base.span))

    def _call(self, callee: ast.Expr) -> ast.Expr:
        path = path_of(callee)
        opening = self.token
        if path is None:
            raise self.fail(
                "EF0120",
                "this cannot be called",
                callee.span,
                label="not a function or capability",
                help="functions and capabilities are called by name: `gpio.set_pin(RELAY, HIGH)`",
            )
        self.count_operator(opening)
        args = self.arguments()
        return ast.CallExpr(path, args, self.span_from(callee.span))

    def arguments(self) -> tuple[ast.Argument, ...]:
        """Parse `( argument, ... )`."""
        opening = self.take()
        args: list[ast.Argument] = []
        with self.bracket(opening):
            while not self.on(")"):
                args.append(self.argument())
                if not self.accept(","):
                    break
            self.close(")", opening)
        return tuple(args)

    def argument(self) -> ast.Argument:
        """Parse `value` or `name: value`."""
        start = self.token.span
        name: ast.Name | None = None
        if self.on_kind(TokenKind.NAME) and self.peek().text in (":", "=") and self.peek().kind is TokenKind.OPERATOR:
            name = self.name("the name of an argument", any_word=True, new_line=True)
            colon = self.take()
            if colon.text == "=":
                self.report(
                    "EF0120",
                    "an argument is named with `:`",
                    colon.span,
                    label="expected `:`",
                    help=f"write `{name.text}: ...`",
                    fix=Fix(colon.span, ":", "write `:`"),
                )
        value = self._timed()
        return ast.Argument(value, self.span_from(start), name)

    @contextmanager
    def bracket(self, opening: Token) -> Iterator[None]:
        """Inside `(` or `[`: one level deeper, and ends of lines and a taken `else` mean nothing."""
        with self.nested(opening), self._else_taken(False):
            self._bracketed += 1
            try:
                yield
            finally:
                self._bracketed -= 1

    @contextmanager
    def _else_taken(self, taken: bool) -> Iterator[None]:
        before, self._else_is_taken = self._else_is_taken, taken
        try:
            yield
        finally:
            self._else_is_taken = before

    def close(self, closing: str, opening: Token) -> None:
        """Take the bracket that closes `opening`, or report it missing with both places."""
        if self.accept(closing):
            return
        self.stop_if_reported()
        found, span = self._found()
        raise self.fail(
            "EF0121",
            f"this `{opening.text}` is never closed: expected `{closing}`, found {found}",
            span,
            label=f"expected `{closing}`" + (" or `,`" if closing != "}" else ""),
            labels=(Label(opening.span, "opened here"),),
        )

    def _primary(self) -> ast.Expr:
        token = self.token
        if self.on_new_line() and not self._bracketed and self.at != self.statement_at:
            self.fail_expected("an expression", "")
        if token.kind in _LITERALS:
            return self._literal(self.take())
        if self.on("(", "["):
            return self._bracketed_primary()
        if token.kind is TokenKind.NAME:
            return self._word()
        if self.on("="):
            raise self.fail("EF0120", "expected an expression, found `=`", token.span, label="expected an expression")
        self.fail_expected("an expression", "")
        raise AssertionError("fail_expected raises")

    def _literal(self, token: Token) -> ast.Expr:
        if token.kind is TokenKind.INT:
            if token.number > INT_MAX:
                self.report(
                    "EF0107",
                    f"the number `{token.text}` is too large",
                    token.span,
                    label=f"the largest int is {INT_MAX}",
                )
            return ast.IntLiteral(min(int(token.number), INT_MAX), token.span)
        if token.kind is TokenKind.FLOAT:
            return ast.FloatLiteral(float(token.number), token.span)
        if token.kind is TokenKind.DURATION:
            return ast.DurationLiteral(int(token.number), token.span)
        return self._text(token)

    def _text(self, token: Token) -> ast.TextLiteral:
        parts: list[ast.TextPart] = []
        for piece in token.pieces:
            if piece.tokens is None:
                parts.append(ast.TextPart(piece.span, piece.text))
            else:
                parts.append(ast.TextPart(piece.span, expr=self._interpolated(piece.tokens), decimals=piece.decimals))
        return ast.TextLiteral(tuple(parts), token.span)

    def _interpolated(self, tokens: tuple[Token, ...]) -> ast.Expr:
        """Parse the tokens of one interpolation with the bounds of the expression around it."""
        outer = self.tokens, self.at, self._bracketed, self._reported_at
        self.tokens, self.at, self._bracketed, self._reported_at = tokens, 0, 1, -1
        try:
            with self.nested(tokens[0]), self._else_taken(False):
                expr = self._timed()
                if not self.on_kind(TokenKind.END):
                    self.fail_expected("the end of the interpolation", "", "one expression stands between the braces")
            return expr
        except Stop:
            return ast.ErrorExpr(Span(tokens[0].span.start, tokens[-1].span.end))
        finally:
            self.tokens, self.at, self._bracketed, self._reported_at = outer

    def _bracketed_primary(self) -> ast.Expr:
        opening = self.take()
        with self.bracket(opening):
            if opening.text == "(":
                inner = self._timed()
                self.close(")", opening)
                return inner
            items: list[ast.Expr] = []
            while not self.on("]"):
                items.append(self._timed())
                if not self.accept(","):
                    break
            self.close("]", opening)
        return ast.ListExpr(tuple(items), self.span_from(opening.span))

    def _word(self) -> ast.Expr:
        token = self.token
        if token.text in ("true", "false"):
            return ast.BoolLiteral(self.take().text == "true", token.span)
        if token.text == "if":
            return self._if_expression()
        if token.text == "last":
            return self._last()
        if token.text in RESERVED:
            self.fail_expected("an expression", "")
        self.take()
        return ast.NameExpr(token.text, token.span)

    def _if_expression(self) -> ast.Expr:
        token = self.take()
        with self.nested(token):
            with self._else_taken(False):
                condition = self._timed()
            self._then(token)
            with self._else_taken(True):
                then = self._timed()
            if not self.accept("else"):
                raise self.fail(
                    "EF0132",
                    "an `if` expression needs an `else`",
                    self._found()[1],
                    label="expected `else`",
                    labels=(Label(token.span, "this `if` gives a value"),),
                    help="write `if condition then a else b`",
                )
            otherwise = self._timed()
        return ast.IfExpr(condition, then, otherwise, token.span.to(otherwise.span))

    def _then(self, opening: Token) -> None:
        if self.accept("then"):
            return
        self.stop_if_reported()
        raise self.fail(
            "EF0132",
            "`then` is missing in this `if` expression",
            self._found()[1],
            label="expected `then`",
            labels=(Label(opening.span, "this `if` gives a value"),),
            help="write `if condition then a else b`",
        )

    def _last(self) -> ast.Expr:
        token = self.take()
        size = self._unary()
        bound: int | None = None
        if self.on("max") and self.peek().kind is TokenKind.INT:
            self.take()
            bound = int(self.take().number)
        return ast.LastExpr(size, bound, self.span_from(token.span))

    # --- what happens when a capability fails ---

    def _at_failure(self) -> bool:
        return self.on("retry", "timeout") or (self.on("else") and not self._else_is_taken)

    def with_failure(self, call: ast.CallExpr) -> ast.CallExpr:
        """Parse `retry n backoff d timeout d else ...` behind a call."""
        first = self.token
        if len(call.path) < 2:
            self.report(
                "EF0146",
                f"`{first.text}` follows a call of a capability only",
                first.span,
                label="cannot follow a function",
                labels=(Label(call.span, "a function never fails"),),
            )
        retries = backoff_us = timeout_us = None
        if self.accept("retry"):
            retries = self.whole_number("the number of retries")
            if word := self.accept("backoff"):
                backoff_us = self.duration(f"after `{word.text}`")
        if word := self.accept("timeout"):
            timeout_us = self.duration(f"after `{word.text}`")
        self._refuse_failure_order()
        kind, fallback = self._failure_else()
        failure = ast.Failure(self.span_from(first.span), retries, backoff_us, timeout_us, kind, fallback)
        return ast.CallExpr(call.path, call.args, self.span_from(call.span), failure)

    def _refuse_failure_order(self) -> None:
        if self.on("retry", "backoff", "timeout"):
            raise self.fail(
                "EF0146",
                f"`{self.token.text}` stands in the wrong place",
                self.token.span,
                label="not here",
                help="the order is `retry 3 backoff 1s timeout 5s else skip`",
            )

    def _failure_else(self) -> tuple[ast.FailureKind | None, ast.Expr | None]:
        if not self.on("else") or self._else_is_taken:
            return None, None
        self.take()
        if self.accept("skip"):
            return ast.FailureKind.SKIP, None
        if self.accept("abort"):
            return ast.FailureKind.ABORT, None
        return ast.FailureKind.FALLBACK, self._unary()

    def whole_number(self, what: str) -> int:
        """Take an int literal."""
        return int(self.expect_kind(TokenKind.INT, what).number)

    def duration(self, where: str) -> int:
        """Take a duration literal, in microseconds; a number without a unit is reported and read as seconds."""
        if self.on_kind(TokenKind.INT) or self.on_kind(TokenKind.FLOAT):
            token = self.take()
            self.missing_unit(token, where)
            return int(token.number * 1_000_000)
        return int(self.expect_kind(TokenKind.DURATION, f"a duration {where}", "write for example `500ms`").number)


_LITERALS = (TokenKind.INT, TokenKind.FLOAT, TokenKind.DURATION, TokenKind.TEXT)
