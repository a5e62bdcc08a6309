"""Random sources that parse: every production of the grammar, names short and long, blanks and comments anywhere.

`random_source(rng)` makes no sense to the checker and need not: it is for what reads or writes the form of a rule. The
methods follow the grammar of docs/language.md, one for each production.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass

from eyeflow.compiler.tokens import RESERVED

DEPTH_MAX = 3
_NEWLINE, _CUT = "\n", ";"
"""Ends a statement; a separator of members, for which a comma or the end of the line may stand."""
_COMMENTS = ("#", "# plain", "#tight", '# with { and "', "# ends with ,", "# " + "long " * 25 + "end")
_OPENING, _CLOSING = ("(", "["), (")", "]")
_GOES_ON = ("=", "==", "+", "*", "and", "or", "&", "<=", ",")
"""Behind these a line may end anywhere."""


class _Syntax:
    """Writes the tokens of one source."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.tokens: list[str] = []
        self.depth = 0
        self.else_taken = False

    def put(self, *tokens: str) -> None:
        self.tokens += tokens

    def maybe(self, chance: float = 0.5) -> bool:
        return self.rng.random() < chance

    def name(self) -> str:
        length = self.rng.choice((0, 1, 6, 12, 55))
        return self.rng.choice("abxyz") + "_" + "q" * length + str(self.rng.randrange(10))

    def word(self) -> str:
        return self.rng.choice((*sorted(RESERVED), "version", "on", "test")) if self.maybe(0.3) else self.name()

    def text(self, *, plain: bool = False) -> str:
        inside = self.rng.choice(
            ("", "a", "\\{\\}", "gr\u00fc\u00dfe \\n # no comment", "long text " * self.rng.randint(1, 9))
        )
        if plain or self.maybe(0.6):
            return f'"{inside}"'
        return f'"{inside}{{a_1}} {{limit:{self.rng.randrange(9)}}} {{if a then "x" else "{{b}}"}}"'

    def duration(self) -> str:
        return self.rng.choice(("1s", "250ms", "1h30min", "3us", "10d"))

    def several(self, one: Callable[[], None], most: int, least: int = 0, separator: str = ",") -> None:
        """Write some, and perhaps a separator behind the last."""
        count = self.rng.randint(least, most)
        for number in range(count):
            one()
            if number < count - 1 or (count and self.maybe(0.2)):
                self.put(separator)

    # --- items ---

    def rule(self) -> None:
        self.put("rule", self.name(), "{", _NEWLINE)
        for header in (("version", '"1.2.3"'), ("priority", "high"), ("description", self.text(plain=True))):
            if self.maybe():
                self.put(*header, _NEWLINE)
        declarations = [self.enum, self.record, self.pin, self.param, self.const, self.state]
        for _ in range(self.rng.randint(0, 8)):
            self.rng.choice(declarations)()
            self.put(_NEWLINE)
        for _ in range(self.rng.randint(0, 3)):
            self.handler()
        for _ in range(self.rng.randint(0, 2)):
            self.test()
        self.put("}", _NEWLINE)

    def enum(self) -> None:
        self.put("enum", self.name(), "{")
        self.several(lambda: self.put(self.name()), 6, 1, _CUT)
        self.put("}")

    def record(self) -> None:
        self.put("record", self.name(), "{")
        self.several(self.field, 4, 1, _CUT)
        self.put("}")

    def field(self) -> None:
        self.put(self.word(), ":")
        self.type()
        if self.maybe(0.3):
            self.put("=")
            self.literal()

    def type(self) -> None:
        kind = self.rng.choice(("bool", "int", "float", "duration", "text", "list", self.name()))
        self.put(kind)
        if kind == "text":
            self.put("(", "32", ")")
        if kind == "list":
            self.put("(")
            self.type()
            self.put(",", "10", *([","] if self.maybe(0.2) else []), ")")

    def literal(self) -> None:
        choice = self.rng.randrange(5)
        if choice == 0:
            self.put("[")
            self.several(self.literal, 3)
            self.put("]")
        elif choice == 1:
            self.put(*(["-"] if self.maybe() else []), self.rng.choice(("1", "0.5", "1s", "0x2A", "1_000")))
        elif choice == 2:
            self.put(self.name(), *([".", self.word()] if self.maybe() else []))
        else:
            self.put(self.rng.choice((self.text(plain=True).replace("{", "").replace("}", ""), "true", "false")))

    def pin(self) -> None:
        self.put("pin", self.name(), ":", self.rng.choice(("input", "output")))

    def param(self) -> None:
        self.put("param", self.name(), ":")
        self.type()
        self.put("=")
        self.literal()
        if self.maybe(0.4):
            self.put("in")
            self.literal()
            self.put("..")
            self.literal()

    def const(self) -> None:
        self.put("const", self.name())
        if self.maybe():
            self.put(":")
            self.type()
        self.put("=")
        self.expression()

    def state(self) -> None:
        self.put("state", self.name(), ":")
        self.type()
        if self.maybe(0.7):
            self.put("=")
            self.expression()

    def handler(self) -> None:
        self.put("on")
        self.rng.choice((self.every, self.cron, self.gpio, self.source))()
        if self.maybe():
            self.block()
            self.put(_NEWLINE)
        else:
            self.put(_NEWLINE)
            for _ in range(self.rng.randint(0, 3)):
                self.statement()
                self.put(_NEWLINE)

    def every(self) -> None:
        self.put("every", self.duration())

    def cron(self) -> None:
        self.put("cron", '"0 6 * * 1-5"')

    def gpio(self) -> None:
        self.put("gpio", self.name(), self.rng.choice(("rises", "falls", "changes")))

    def source(self) -> None:
        self.put(self.rng.choice(("mqtt", "event", "http", "kafka", "serial", "host")))
        self.put(*([self.text(plain=True)] if self.maybe(0.7) else []))
        self.put(*(["every", self.duration()] if self.maybe(0.3) else []))
        self.put("as", self.name(), ":", self.name())
        self.put(*(["key", self.word()] if self.maybe(0.3) else []))

    # --- statements ---

    def block(self) -> None:
        self.put("{")
        self.depth += 1
        count = self.rng.randint(0, 2 if self.depth < DEPTH_MAX else 0)
        for number in range(count):
            self.put(*([_NEWLINE] if number or self.maybe(0.8) else []))
            self.statement()
        self.put(*([_NEWLINE] if self.maybe(0.8) else []), "}")
        self.depth -= 1

    def statement(self) -> None:
        self.rng.choice((
            self.let, self.assign, self.branch, self.loop, self.count, self.match, self.change_list, self.emit, self.action,
        ))()  # fmt: skip

    def let(self) -> None:
        self.put(self.rng.choice(("let", "var")), self.name())
        if self.maybe(0.3):
            self.put(":")
            self.type()
        self.put("=")
        self.expression()

    def assign(self) -> None:
        self.place()
        self.put("=")
        self.expression()

    def place(self) -> None:
        self.put(self.name())
        while self.maybe(0.4):
            if self.maybe():
                self.put(".", self.word())
            else:
                self.put("[")
                self.expression()
                self.put("]")

    def branch(self) -> None:
        self.put("if")
        self.expression()
        self.block()
        while self.maybe(0.3):
            self.put("else", "if")
            self.expression()
            self.block()
        if self.maybe(0.4):
            self.put("else")
            self.block()

    def loop(self) -> None:
        self.put("for", self.name(), "in")
        self.expression()
        self.block()

    def count(self) -> None:
        self.put("for", self.name(), "in")
        if self.maybe():
            self.put("0", "..", "10")
        else:
            self.expression()
            self.put("..")
            self.expression()
            self.put("max", "10")
        self.block()

    def match(self) -> None:
        self.put("match")
        self.expression()
        self.put("{", _NEWLINE)
        for _ in range(self.rng.randint(0, 2)):
            self.several_names()
            self.put("=>")
            self.block()
            self.put(_NEWLINE)
        if self.maybe():
            self.put("else", "=>")
            self.block()
            self.put(_NEWLINE)
        self.put("}")

    def several_names(self) -> None:
        self.put(self.name())
        for _ in range(self.rng.randint(0, 3)):
            self.put(",", self.name())

    def change_list(self) -> None:
        self.put(self.rng.choice(("append", "clear")), "(")
        self.place()
        if self.tokens[-1] and self.maybe():
            self.put(",")
            self.expression()
        self.put(")")

    def emit(self) -> None:
        self.put("emit", self.name())
        self.arguments()

    def action(self) -> None:
        self.capability()
        self.failure()

    # --- expressions ---

    def expression(self) -> None:
        """A whole expression, time words included."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            self.simple()
        elif self.maybe(0.1):
            self.choice()
        else:
            self.either()
            while self.maybe(0.15):
                word = self.rng.choice(("for", "cooldown", "rises", "falls"))
                self.put(word)
                if word in ("for", "cooldown"):
                    self.put(self.rng.choice((self.name(), self.duration(), f"( {self.name()} )")))
        self.depth -= 1

    def inside(self, opening: str, write: Callable[[], object], closing: str) -> None:
        """Inside brackets an `else` is free again."""
        before, self.else_taken = self.else_taken, False
        self.put(opening)
        write()
        self.put(closing)
        self.else_taken = before

    def choice(self) -> None:
        before, self.else_taken = self.else_taken, False
        self.put("if")
        self.expression()
        self.put("then")
        self.else_taken = True
        self.expression()
        self.put("else")
        self.else_taken = before
        self.expression()

    def chain(self, part: Callable[[], None], operators: tuple[str, ...]) -> None:
        part()
        while self.maybe(0.12):
            self.put(self.rng.choice(operators))
            part()

    def either(self) -> None:
        self.chain(self.both, ("or",))

    def both(self) -> None:
        self.chain(self.negation, ("and",))

    def negation(self) -> None:
        if self.maybe(0.1):
            self.put("not")
            self.negation()
            return
        self.bits()
        if self.maybe(0.3):
            self.put(self.rng.choice(("==", "!=", "<", "<=", ">", ">=")))
            self.bits()
            if self.maybe(0.3):
                self.put("hysteresis")
                self.bits()

    def bits(self) -> None:
        self.chain(self.sum, ("&", "|", "^", "<<", ">>"))

    def sum(self) -> None:
        self.chain(self.product, ("+", "-"))

    def product(self) -> None:
        self.chain(self.unary, ("*", "/", "%"))

    def unary(self) -> None:
        self.put(*(["-"] if self.maybe(0.15) else []))
        self.depth += 1
        if self.depth > DEPTH_MAX or self.maybe(0.3):
            self.simple()
        else:
            self.rng.choice((self.postfix, self.brackets, self.list, self.function, self.read, self.window))()
        self.depth -= 1

    def simple(self) -> None:
        self.put(self.rng.choice((self.name(), "1", "0.5", "2.5e6", self.duration(), self.text(), "true", "0b101")))

    def postfix(self) -> None:
        self.place()

    def brackets(self) -> None:
        self.inside("(", self.choice if self.maybe(0.3) else self.expression, ")")

    def list(self) -> None:
        self.inside("[", lambda: self.several(self.expression, 3), "]")

    def function(self) -> None:
        self.put(self.name())
        self.arguments()

    def read(self) -> None:
        self.capability()
        if not self.else_taken:
            self.failure()

    def window(self) -> None:
        def inside() -> None:
            self.expression()
            self.put(
                ",", "last", self.rng.choice(("5min", "20", self.name())), *(["max", "300"] if self.maybe() else [])
            )

        self.put(self.rng.choice(("mean", "rate", "count")))
        self.inside("(", inside, ")")

    def capability(self) -> None:
        self.put(self.name(), ".", self.word())
        self.arguments()

    def arguments(self) -> None:
        self.inside("(", lambda: self.several(self.argument, 4), ")")

    def argument(self) -> None:
        self.put(*([self.word(), ":"] if self.maybe(0.3) else []))
        self.expression()

    def failure(self) -> None:
        if self.maybe(0.3):
            self.put("retry", "3", *(["backoff", "1s"] if self.maybe() else []))
        if self.maybe(0.3):
            self.put("timeout", self.duration())
        if self.maybe(0.4):
            self.put("else")
            self.rng.choice((lambda: self.put("skip"), lambda: self.put("abort"), self.simple))()

    # --- tests ---

    def test(self) -> None:
        self.put("test", self.text(plain=True), "{", _NEWLINE)
        for _ in range(self.rng.randint(0, 6)):
            moment = self.maybe(0.4)
            self.put(*([self.rng.choice(("at", "after")), self.duration()] if moment else []))
            if not moment or self.maybe(0.7):
                self.rng.choice((self.given, self.send, self.expect))()
            self.put(_NEWLINE)
        self.put("}", _NEWLINE)

    def given(self) -> None:
        self.put("given")
        if self.maybe(0.2):
            self.put("time", '"2026-03-01 06:00"')
            return
        if self.maybe(0.3):
            self.put(self.name())
        else:
            self.capability()
            if self.maybe(0.3):
                self.put("fails")
                return
        self.put("=")
        self.expression()

    def send(self) -> None:
        self.put("send", *([self.name()] if self.maybe() else []))
        if self.maybe(0.8):
            self.put("{")
            self.several(self.sent_field, 4, 0, _CUT)
            self.put("}")

    def sent_field(self) -> None:
        self.put(self.word(), ":")
        self.expression()

    def expect(self) -> None:
        self.put("expect")
        choice = self.rng.randrange(5)
        if choice == 0:
            self.put(*self.rng.choice((("no", "actions"), ("trap",))))
        elif choice == 1:
            self.expression()
        else:
            self.put(*self.rng.choice(((), ("no",), ("3", "times"))))
            if choice == 2:
                self.capability()
            else:
                self.put("emit", self.name())
                if self.maybe():
                    self.arguments()


class _Page:
    """Puts tokens on a page: blanks, ends of lines and comments wherever they mean nothing."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.pieces: list[str] = []
        self.brackets: list[str] = []
        self.comments = rng.choice((0.0, 0.05, 0.3))

    def end_of_line(self) -> str:
        comment = f" {self.rng.choice(_COMMENTS)}" if self.rng.random() < self.comments else ""
        own = "".join(
            f"\n\t{self.rng.choice(_COMMENTS)}" for _ in range(2) if self.rng.random() < self.comments
        )  # fmt: skip
        return comment + own + "\n" * self.rng.choice((1, 1, 1, 2, 4))

    def show(self, tokens: list[str]) -> str:
        before_that = ["", "", *tokens]
        for point, before, token, after in zip(before_that, before_that[1:], tokens, [*tokens[1:], ""], strict=False):
            before = "field" if point == "." else before
            self.pieces.append(self.gap(before, token, after))
            if token not in (_NEWLINE, _CUT):
                self.pieces.append(token)
        return "".join(self.pieces)

    def gap(self, before: str, token: str, after: str) -> str:
        members = self.brackets[-1:] == ["members"]
        if token in ("(", "[", "{"):
            self.brackets.append("members" if token == "{" and self._holds_members() else token)
        elif token in (")", "]", "}"):
            self.brackets.pop()
        if token == _NEWLINE:
            return self.end_of_line()
        if token == _CUT:
            comma = self.rng.random() < 0.5 or after in RESERVED
            return "," if comma else self.end_of_line()
        inside = self.brackets[-1:] in (["("], ["["]) and token not in ("(", "[")
        free = inside or before in _GOES_ON or (members and (before in ("{", ",", _CUT) or token == "}"))
        if free and self.rng.random() < 0.3:
            return self.end_of_line()
        return self.rng.choice((" ", " ", "  ", "\t"))

    def _holds_members(self) -> bool:
        """Whether the `{` that comes next belongs to an enum, a record or a `send`."""
        words = [piece for piece in self.pieces[-8:] if piece.strip()]
        return any(word in ("enum", "record", "send") for word in words[-2:])


def random_source(rng: random.Random) -> str:
    """Return a source that the parser takes without a problem."""
    syntax = _Syntax(rng)
    syntax.rule()
    return _Page(rng).show(syntax.tokens)


def nodes(node: object) -> Iterator[object]:
    """Yield a node of a syntax tree and all below it."""
    if isinstance(node, tuple):
        for child in node:
            yield from nodes(child)
    elif is_dataclass(node) and not isinstance(node, type):
        yield node
        for field in fields(node):
            yield from nodes(getattr(node, field.name))
