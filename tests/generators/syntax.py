"""Random sources that parse: every production of the grammar, names short and long, blanks and comments anywhere.

`random_source(rng)` makes no sense to the checker and need not: it is for what reads or writes the form of a rule. The
methods follow the grammar of docs/language.md, one for each production.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from generators.expressions import DEPTH_MAX, Expressions
from generators.page import CUT, NEWLINE, Page


class _Rules(Expressions):
    """Writes the tokens of one source: items, statements and tests."""

    # --- items ---

    def rule(self) -> None:
        self.put("rule", self.name(), "{", NEWLINE)
        for header in (("version", '"1.2.3"'), ("priority", "high"), ("description", self.text(plain=True))):
            if self.maybe():
                self.put(*header, NEWLINE)
        declarations = [self.enum, self.record, self.pin, self.param, self.const, self.state]
        for _ in range(self.rng.randint(0, 8)):
            self.rng.choice(declarations)()
            self.put(NEWLINE)
        for _ in range(self.rng.randint(0, 3)):
            self.handler()
        for _ in range(self.rng.randint(0, 2)):
            self.test()
        self.put("}", NEWLINE)

    def enum(self) -> None:
        self.put("enum", self.name(), "{")
        self.several(lambda: self.put(self.name()), 6, 1, CUT)
        self.put("}")

    def record(self) -> None:
        self.put("record", self.name(), "{")
        self.several(self.field, 4, 1, CUT)
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
            self.put(NEWLINE)
        else:
            self.put(NEWLINE)
            for _ in range(self.rng.randint(0, 3)):
                self.statement()
                self.put(NEWLINE)

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
            self.put(*([NEWLINE] if number or self.maybe(0.8) else []))
            self.statement()
        self.put(*([NEWLINE] if self.maybe(0.8) else []), "}")
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
        self.put("{", NEWLINE)
        for _ in range(self.rng.randint(0, 2)):
            self.several_names()
            self.put("=>")
            self.block()
            self.put(NEWLINE)
        if self.maybe():
            self.put("else", "=>")
            self.block()
            self.put(NEWLINE)
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

    # --- tests ---

    def test(self) -> None:
        self.put("test", self.text(plain=True), "{", NEWLINE)
        for _ in range(self.rng.randint(0, 6)):
            moment = self.maybe(0.4)
            self.put(*([self.rng.choice(("at", "after")), self.duration()] if moment else []))
            if not moment or self.maybe(0.7):
                self.rng.choice((self.given, self.send, self.expect))()
            self.put(NEWLINE)
        self.put("}", NEWLINE)

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
            self.several(self.sent_field, 4, 0, CUT)
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


def random_source(rng: random.Random) -> str:
    """Return a source that the parser takes without a problem."""
    syntax = _Rules(rng)
    syntax.rule()
    return Page(rng).show(syntax.tokens)


def nodes(node: object) -> Iterator[object]:
    """Yield a node of a syntax tree and all below it."""
    if isinstance(node, tuple):
        for child in node:
            yield from nodes(child)
    elif is_dataclass(node) and not isinstance(node, type):
        yield node
        for field in fields(node):
            yield from nodes(getattr(node, field.name))
