"""The items of a rule: header, types, pins, parameters, constants, state, handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from eyeflow.base.diagnostic import Fix, Span
from eyeflow.base.names import near
from eyeflow.compiler import ast
from eyeflow.compiler.catalog_builtin import SOURCES
from eyeflow.compiler.parser.cursor import Stop
from eyeflow.compiler.parser.test_blocks import TestBlockParser
from eyeflow.compiler.tokens import Token, TokenKind

_Member = TypeVar("_Member")
_TRIGGERS = ("every", "cron", "gpio", *SOURCES)
_DIRECTIONS = ("input", "output")
_EDGES = ("rises", "falls", "changes")


class ItemParser(TestBlockParser):
    """Parses each kind of item."""

    def text_item(self) -> ast.TextItem:
        """Parse `version "1.2.0"`, `description "..."`."""
        word = self.take()
        value = self.plain_text(f"a text after `{word.text}`")
        return ast.TextItem(value, self.span_from(word.span))

    def enum(self) -> ast.EnumDecl:
        """Parse `enum Mode { OFF, HEAT }`."""
        word = self.take()
        name = self.name("a name for the enum")
        members = self._members(word, self._enum_member, "a member", "write for example `{ OFF, ON }`")
        return ast.EnumDecl(name, tuple(members), self.span_from(word.span))

    def record(self) -> ast.RecordDecl:
        """Parse `record Reading { temp: float, unit: text(8) = "C" }`."""
        word = self.take()
        name = self.name("a name for the record")
        fields = self._members(word, self._field_decl, "a field", "write for example `{ temp: float }`")
        return ast.RecordDecl(name, tuple(fields), self.span_from(word.span))

    def _members(self, word: Token, parse_one: Callable[[], _Member], what: str, help_text: str) -> list[_Member]:
        """Parse what stands between braces, separated by commas or ends of lines; a mistake costs one member."""
        opening = self.open_block(word)
        if opening is None:
            raise Stop
        self.marks.member_braces.add(opening.span.start)
        self._refuse_none(opening, what, help_text)
        found: list[_Member] = []
        while not (self.on("}") or self.on_kind(TokenKind.END) or self._unclosed_item()):
            start = self.at
            try:
                found.append(parse_one())
                if not (self.accept(",") or self.token.line_start or self.on("}")):
                    self.close("}", opening)
            except Stop:
                self._skip_member(start)
        self.close_block(opening)
        return found

    def _skip_member(self, start: int) -> None:
        if self.at == start:
            self.take()
        while not (self.on("}", ",") or self.on_kind(TokenKind.END) or self.token.line_start):
            self.take()
        self.accept(",")

    def _enum_member(self) -> ast.Name:
        self.marks.members.add(self.token.span.start)
        return self.name("a member of the enum", new_line=True)

    def _refuse_none(self, opening: Token, what: str, help_text: str) -> None:
        if self.on("}"):
            span = opening.span.to(self.token.span)
            self.report("EF0120", f"expected {what} between these braces", span, label="empty", help=help_text)

    def _unclosed_item(self) -> bool:
        return self.at_item() and self.peek().text != ":" and self.peek(2).text != ","

    def _field_decl(self) -> ast.FieldDecl:
        self.marks.members.add(self.token.span.start)
        name = self.name("the name of a field", any_word=True, new_line=True)
        self.expect(":", f"and the type of `{name.text}`", f"write `{name.text}: float`")
        kind = self.type_name()
        default = self.literal(f"the default of `{name.text}`") if self.accept("=") else None
        return ast.FieldDecl(name, kind, default, self.span_from(name.span))

    def pin(self) -> ast.PinDecl:
        """Parse `pin RELAY: output`."""
        word = self.take()
        name = self.name("a name for the pin")
        self.expect(":", "and the direction of the pin", f"write `pin {name.text}: output` or `pin {name.text}: input`")
        direction = self._choice(_DIRECTIONS, "the direction of the pin")
        return ast.PinDecl(name, direction, self.span_from(word.span))

    def _choice(self, allowed: tuple[str, ...], what: str) -> ast.Name:
        token = self.token
        if self.on(*allowed):
            self.take()
            return ast.Name(token.text, token.span)
        better = near(token.text, allowed) if token.kind is TokenKind.NAME else None
        listed = ", ".join(f"`{word}`" for word in allowed[:-1]) + f" or `{allowed[-1]}`"
        if better is None or token.line_start:
            self.fail_expected(listed, f"as {what}")
        self.report(
            "EF0120",
            f"expected {listed} as {what}, found `{token.text}`",
            token.span,
            label=f"expected {listed}",
            help=f"write `{better}`",
            fix=Fix(token.span, better or "", f"write `{better}`"),
        )
        self.take()
        return ast.Name(better or token.text, token.span)

    def param(self) -> ast.ParamDecl:
        """Parse `param limit: float = 80.0 in 20.0..120.0`."""
        word = self.take()
        name = self.name("a name for the parameter")
        kind = self._declared_type(word, name)
        self.expect(
            "=",
            "and a default",
            f"write `param {name.text}: {kind.name.text} = ...`; a deployment may set another value",
        )
        default = self.literal("the default of the parameter")
        low = high = None
        if self.accept("in"):
            low = self.literal("the lower end of the range")
            self.expect("..", "between the ends of the range", "write `in 20.0..120.0`")
            high = self.literal("the upper end of the range")
        return ast.ParamDecl(name, kind, default, low, high, self.span_from(word.span))

    def _declared_type(self, word: Token, name: ast.Name) -> ast.TypeName:
        if self.accept(":"):
            return self.type_name()
        raise self.fail(
            "EF0144",
            f"`{name.text}` needs a type",
            name.span,
            label="its type is missing",
            help=f"write `{word.text} {name.text}: float = ...`",
        )

    def const(self) -> ast.ConstDecl:
        """Parse `const STEP = 0.5`."""
        word = self.take()
        name = self.name("a name for the constant")
        kind = self.type_name() if self.accept(":") else None
        self.expect("=", "and the value of the constant", f"write `const {name.text} = value`")
        return ast.ConstDecl(name, kind, self.expression(), self.span_from(word.span))

    def state(self) -> ast.StateDecl:
        """Parse `state trips: int = 0`."""
        word = self.take()
        name = self.name("a name for the state")
        kind = self._declared_type(word, name)
        initial = self.expression() if self.accept("=") else None
        return ast.StateDecl(name, kind, initial, self.span_from(word.span))

    def literal(self, what: str) -> ast.Expr:
        """Parse a literal: a number or duration with an optional `-`, a text, `true`, `false`, a member of an enum."""
        self.operators = 0
        expr = self.postfix(with_failure=False) if not self.on("-") else self._unary()
        operator = self.on("+", "-", "*", "/", "%") and not self.token.line_start
        if operator or not _is_literal(expr):
            span = expr.span if not operator else self.token.span
            raise self.fail(
                "EF0147",
                f"{what} is a literal",
                span,
                label="not a literal",
                help='write the value itself, for example `80.0`, `2s` or `"text"`',
            )
        return expr

    # --- handlers ---

    def handler(self) -> ast.Handler:
        """Parse `on trigger { ... }`, or a trigger and the statements up to the next item."""
        word = self.take()
        trigger = self._trigger_or_skip()
        if not (self.on("{", "}") or self.token.line_start or self.on_kind(TokenKind.END)):
            self._report_behind_trigger()
        if self.on("{"):
            body, braced = self.block(word), True
        else:
            start = Span(self.previous.span.end, self.previous.span.end)
            statements = self.statements()
            span = statements[0].span.to(statements[-1].span) if statements else start
            body, braced = ast.Block(statements, span), False
        return ast.Handler(trigger, body, braced, self.span_from(word.span))

    def _report_behind_trigger(self) -> None:
        try:
            self.end_of_statement()
        except Stop:
            self._skip_to_block()

    def _trigger_or_skip(self) -> ast.TriggerDecl:
        """Parse the trigger; a broken one costs itself only, its statements are still read."""
        start = self.token.span
        try:
            return self._trigger()
        except Stop:
            self._skip_to_block()
            return ast.EveryTrigger(1_000_000, start)

    def _skip_to_block(self) -> None:
        while not (self.on("{", "}") or self.on_kind(TokenKind.END) or self.token.line_start):
            self.take()

    def _trigger(self) -> ast.TriggerDecl:
        token = self.token
        if token.kind is not TokenKind.NAME:
            self.fail_expected("a trigger", "after `on`", "write for example `on every 500ms`")
        following = self.peek()
        if token.text == "every":
            self.take()
            return ast.EveryTrigger(self.duration("after `every`"), self.span_from(token.span))
        if token.text == "cron":
            self.take()
            return ast.CronTrigger(self.plain_text('a schedule such as "0 6 * * *"'), self.span_from(token.span))
        if token.text == "gpio":
            self.take()
            pin = self.name("the name of a pin")
            edge = self._choice(_EDGES, "the edge")
            return ast.GpioTrigger(pin, edge, self.span_from(token.span))
        if (
            token.text not in SOURCES
            and following.kind not in (TokenKind.TEXT,)
            and following.text not in ("as", "every")
        ):
            raise self._unknown_trigger(token)
        return self._source()

    def _unknown_trigger(self, token: Token) -> Stop:
        better = near(token.text, _TRIGGERS)
        return self.fail(
            "EF0143",
            f"unknown trigger `{token.text}`",
            token.span,
            label="not a trigger",
            help=f"write `{better}`" if better else f"a trigger is {', '.join(_TRIGGERS[:-1])} or {_TRIGGERS[-1]}",
            fix=Fix(token.span, better, f"write `{better}`") if better else None,
        )

    def _source(self) -> ast.SourceTrigger:
        source = self.take()
        address = address_span = period_us = None
        if self.on_kind(TokenKind.TEXT) and not self.token.line_start:
            address_span = self.token.span
            address = self.plain_text("an address")
        if self.accept("every"):
            period_us = self.duration("after `every`")
        binding, record = self._payload(source)
        key = self.name("the field that is the key", any_word=True) if self.accept("key") else None
        return ast.SourceTrigger(
            ast.Name(source.text, source.span),
            address,
            address_span,
            period_us,
            binding,
            record,
            key,
            self.span_from(source.span),
        )

    def _payload(self, source: Token) -> tuple[ast.Name, ast.Name]:
        example = f"write `on {source.text} ... as reading: Reading`, with `record Reading {{ ... }}` above"
        if not self.accept("as"):
            raise self.fail(
                "EF0134",
                f"the payload of `{source.text}` needs a name and a record",
                self._found()[1],
                label="expected `as reading: Reading`",
                help=example,
                note="the record says which fields an event has; what does not fit is rejected before the rule runs",
            )
        binding = self.name("a name for the payload")
        if not self.accept(":"):
            raise self.fail(
                "EF0134",
                f"the payload `{binding.text}` needs a record",
                self._found()[1],
                label="expected `: Reading`",
                help=example,
            )
        return binding, self.name("the name of a record")


def _is_literal(expr: ast.Expr) -> bool:
    """Whether `literal` of the grammar derives this expression."""
    match expr:
        case ast.IntLiteral() | ast.FloatLiteral() | ast.DurationLiteral() | ast.BoolLiteral() | ast.NameExpr():
            return True
        case ast.ErrorExpr() | ast.FieldExpr(base=ast.NameExpr()):
            return True
        case ast.UnaryExpr(operator="-", operand=ast.IntLiteral() | ast.FloatLiteral() | ast.DurationLiteral()):
            return True
        case ast.TextLiteral(parts=parts):
            return all(part.expr is None for part in parts)
        case ast.ListExpr(items=items):
            return all(_is_literal(item) for item in items)
    return False
