"""The whole file: one rule with its items in order."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from eyeflow.base.diagnostic import Diagnostic, Fix, Label, Span
from eyeflow.base.names import near
from eyeflow.base.record import dataclass
from eyeflow.compiler import ast
from eyeflow.compiler.lexer import tokenize
from eyeflow.compiler.parser.cursor import Marks, Stop, describe
from eyeflow.compiler.parser.foreign_words import FOREIGN_WORDS
from eyeflow.compiler.parser.items import ItemParser
from eyeflow.compiler.source import Source
from eyeflow.compiler.tokens import ITEM_WORDS, Comment, Token, TokenKind

DIAGNOSTICS_MAX = 100
"""So many problems of one source are kept, the first ones; others show when these are mended."""

RULE_NAME_MAX = 63
"""The longest name of a rule."""

_RULE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_GROUPS = {
    "version": 0, "priority": 0, "description": 0, "enum": 1, "record": 1, "pin": 1, "param": 1, "const": 1,
    "state": 1, "on": 2, "test": 3,
}  # fmt: skip
_GROUP_NAMES = ("header", "declarations", "handlers", "tests")


@dataclass(frozen=True, slots=True)
class ParseResult:
    """The rule as far as it could be read (None: not at all), the problems in the order of the text, the comments.

    The tokens and marks are for the formatter.
    """

    rule: ast.Rule | None
    diagnostics: tuple[Diagnostic, ...]
    comments: tuple[Comment, ...]
    tokens: tuple[Token, ...]
    marks: Marks


def parse(source: str) -> ParseResult:
    """Return the syntax tree of a rule with everything that is wrong in its spelling.

    Raises EyeflowError for a source above SOURCE_SIZE_BYTES_MAX; every other input gives a result.
    """
    tokens, problems = tokenize(source)
    parser = _RuleParser(Source(source), tuple(tokens), problems)
    rule = parser.file()
    diagnostics = tuple(sorted(parser.diagnostics, key=lambda diagnostic: diagnostic.span)[:DIAGNOSTICS_MAX])
    comments = tuple(comment for token in tokens for comment in token.comments)
    return ParseResult(rule, diagnostics, comments, tuple(tokens), parser.marks)


class _RuleParser(ItemParser):
    """Parses the file around the items."""

    def file(self) -> ast.Rule | None:
        """Parse the rule and refuse what stands around it."""
        if self.on_kind(TokenKind.END):
            self._report_empty()
            return None
        try:
            start = self._rule_word()
            rule = self._rule(start)
        except Stop:
            return None
        self._refuse_rest()
        return rule

    def _report_empty(self) -> None:
        self.report(
            "EF0122",
            "this file holds no rule",
            Span(0, 0),
            label="expected a rule",
            help="start with `rule my_rule {`, then a trigger such as `on every 1s`, and close it with `}`",
        )

    def _rule_word(self) -> Token:
        if word := self.accept("rule"):
            return word
        token = self.token
        self.stop_if_reported()
        following = self.peek()
        if token.kind is TokenKind.NAME and following.text == "{" and token.text not in FOREIGN_WORDS:
            self.report(
                "EF0123",
                "a rule starts with the word `rule`",
                token.span,
                label="expected `rule`",
                help=f"write `rule {token.text} {{`",
                fix=Fix(Span(token.span.start, token.span.start), "rule ", "write `rule`"),
            )
            return token
        if (
            token.kind is TokenKind.NAME
            and following.kind is TokenKind.NAME
            and self.peek(2).text == "{"
            and near(token.text, ["rule"])
        ):
            self.report(
                "EF0123",
                f"expected `rule`, found `{token.text}`",
                token.span,
                label="expected `rule`",
                help="write `rule`",
                fix=Fix(token.span, "rule", "write `rule`"),
            )
            return self.take()
        raise self.fail(
            "EF0123",
            f"a file starts with `rule`, found {describe(token)}",
            token.span,
            label="expected `rule`",
            help="everything of a rule stands inside `rule my_rule { ... }`",
        )

    def _rule(self, start: Token) -> ast.Rule:
        name = self._rule_name()
        opening = self.open_block(start)
        items = _Items(self)
        while not self.on_kind(TokenKind.END):
            if self.on("}") and (opening is not None or self.peek().kind is TokenKind.END or not self.token.line_start):
                break
            if self.on("rule") and self.at_item():
                break
            self._item_or_skip(items)
        if opening is not None:
            self.close_block(opening)
        else:
            self.accept("}")
        return items.rule(name, self.span_from(start.span))

    def _rule_name(self) -> ast.Name:
        name = self.name("the name of the rule")
        if not _RULE_NAME.fullmatch(name.text) or len(name.text) > RULE_NAME_MAX:
            better = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.text).lower()[:RULE_NAME_MAX].lstrip("_")
            fix = Fix(name.span, better, f"write `{better}`") if _RULE_NAME.fullmatch(better) else None
            self.report(
                "EF0126",
                f"`{name.text[:80]}` is no name for a rule",
                name.span,
                label=f"lower case letters, digits and `_`, at most {RULE_NAME_MAX}",
                help=f"write `{better}`" if fix else "write a name such as `overheat_relay`",
                note="the name of a rule is its id everywhere",
                fix=fix,
            )
        return name

    def _item_or_skip(self, items: _Items) -> None:
        before = self.at
        try:
            items.add(self.token)
            self.end_of_statement()
        except Stop:
            self.skip_broken(before)

    def _refuse_rest(self) -> None:
        token = self.token
        if token.kind is TokenKind.END or token.kind is TokenKind.BROKEN:
            return
        if token.text == "rule" and self.peek().kind is TokenKind.NAME:
            self.report(
                "EF0124",
                "a second rule in one file",
                token.span.to(self.peek().span),
                label="this one",
                help="put each rule into a file of its own",
                note="the file is what is compiled, signed and deployed as one",
            )
        elif token.text == "}":
            self.report(
                "EF0125",
                "this `}` closes nothing",
                token.span,
                label="the rule was closed before it",
                labels=(Label(self.previous.span, "this closes the rule"),),
                help="remove one of the two",
            )
        else:
            self.report(
                "EF0125",
                f"{describe(token)} stands outside the rule",
                token.span,
                label="after the end of the rule",
                labels=(Label(self.previous.span, "this closes the rule"),),
                help="move it inside, before this `}`",
            )

    # --- one item ---

    def item(self, token: Token) -> Any:
        """Parse the item that `token` starts."""
        parsers: dict[str, Callable[[], Any]] = {
            "version": self.text_item, "description": self.text_item, "priority": self._priority, "enum": self.enum,
            "record": self.record, "pin": self.pin, "param": self.param, "const": self.const, "state": self.state,
            "on": self.handler, "test": self.test_block,
        }  # fmt: skip
        return parsers[token.text]()

    def _priority(self) -> ast.Name:
        self.take()
        return self.name("critical, high, normal, low or background")

    def refuse_item(self, token: Token, items: _Items) -> Stop:
        """Report what stands where an item should, and return what to raise."""
        if token.kind is TokenKind.BROKEN:
            return Stop()
        following = self.peek()
        if token.text in ("let", "var", "if", "for", "match", "emit", "else") or following.text in ("=", "(", ".", "["):
            return self.fail(
                "EF0148",
                "a statement outside a handler",
                token.span,
                label="not inside a handler",
                help="statements follow a trigger: `on every 1s { ... }`"
                if not items.handlers
                else "move it into the braces of the handler",
            )
        if token.kind is TokenKind.NAME and token.text in FOREIGN_WORDS:
            word = FOREIGN_WORDS[token.text]
            return self.fail(
                "EF0133", f"there is no `{token.text}`", token.span, label=word.label, help=word.help, note=word.note
            )
        better = near(token.text, ITEM_WORDS) if token.kind is TokenKind.NAME else None
        return self.fail(
            "EF0129",
            f"{describe(token)} starts no item of a rule",
            token.span,
            label="not an item",
            help=f"write `{better}`"
            if better
            else "an item is version, priority, description, enum, record, pin, param, const, state, on or test",
            fix=Fix(token.span, better, f"write `{better}`") if better else None,
        )


class _Items:
    """The items of one rule while they are collected."""

    def __init__(self, parser: _RuleParser) -> None:
        self._parser = parser
        self._header: dict[str, tuple[Token, Any]] = {}
        self._of: dict[str, list[Any]] = {word: [] for word in ITEM_WORDS}
        self._latest: tuple[int, Token] | None = None
        self._misplaced: set[str] = set()

    @property
    def handlers(self) -> list[ast.Handler]:
        """The handlers so far."""
        return self._of["on"]

    def add(self, token: Token) -> None:
        """Parse the item at `token` and keep it; report a duplicate header line and a misplaced item."""
        parser = self._parser
        if token.kind is not TokenKind.NAME or token.text not in ITEM_WORDS or parser.peek().text in ("=", ".", "["):
            raise parser.refuse_item(token, self)
        parser.marks.heads.add(token.span.start)
        self._check_order(token)
        if token.text in ("version", "priority", "description") and token.text in self._header:
            parser.report(
                "EF0128",
                f"a second `{token.text}`",
                token.span,
                label="the second one",
                labels=(Label(self._header[token.text][0].span, "the first one"),),
                help="keep one of the two",
            )
        item = parser.item(token)
        self._header.setdefault(token.text, (token, item))
        self._of[token.text].append(item)

    def _check_order(self, token: Token) -> None:
        group = _GROUPS[token.text]
        if self._latest is None or group >= self._latest[0]:
            self._latest = (group, token)
            return
        if token.text in self._misplaced:
            return
        self._misplaced.add(token.text)
        behind = _GROUP_NAMES[self._latest[0]]
        self._parser.report(
            "EF0127",
            f"`{token.text}` stands after the {behind}",
            token.span,
            label="too late",
            labels=(Label(self._latest[1].span, f"the {behind} start before it"),),
            help=f"move it up, before the {behind}",
            note="the order is header, declarations, handlers, tests",
        )

    def rule(self, name: ast.Name, span: Span) -> ast.Rule:
        """Return the rule made of the items so far."""
        header = {word: item for word, (_, item) in self._header.items()}
        of = {word: tuple(found) for word, found in self._of.items()}
        return ast.Rule(
            name,
            span,
            header.get("version"),
            header.get("priority"),
            header.get("description"),
            of["enum"],
            of["record"],
            of["pin"],
            of["param"],
            of["const"],
            of["state"],
            of["on"],
            of["test"],
        )
