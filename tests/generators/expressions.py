"""Random expressions that parse: every production of the grammar that stands within a statement."""

from __future__ import annotations

import random
from collections.abc import Callable

from eyeflow.compiler.tokens import RESERVED

DEPTH_MAX = 3


class Expressions:
    """Writes tokens of expressions; the methods follow the grammar of docs/language.md, one for each production."""

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

    def place(self) -> None:
        self.put(self.name())
        while self.maybe(0.4):
            if self.maybe():
                self.put(".", self.word())
            else:
                self.put("[")
                self.expression()
                self.put("]")

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
