"""Operators of other languages that people write by habit, and what to write instead."""

from __future__ import annotations

from eyeflow.base.diagnostic import Diagnostic, Fix, Span
from eyeflow.base.record import dataclass
from eyeflow.compiler.tokens import TokenKind


@dataclass(frozen=True, slots=True)
class Foreign:
    """A foreign operator: the token it stands for (None: none fits, "": leave it out) and its explanation."""

    message: str
    help: str
    stands_for: str | None
    kind: TokenKind = TokenKind.OPERATOR
    fixable: bool = True
    skip_to: str | None = None
    ends_line: bool = False

    def diagnostic(self, text: str, span: Span) -> Diagnostic:
        """Return the diagnostic for `text` written at `span`."""
        fix = None
        if self.fixable and self.stands_for is not None:
            title = f"write `{self.stands_for}`" if self.stands_for else f"remove `{text}`"
            fix = Fix(span, self.stands_for, title)
        return Diagnostic("EF0102", self.message, span, label="from another language", help=self.help, fix=fix)


def _word(text: str, word: str) -> Foreign:
    return Foreign(f"`{text}` is written `{word}` here", f"write `{word}`", word, TokenKind.NAME)


def _other(text: str, operator: str) -> Foreign:
    return Foreign(f"`{text}` is written `{operator}` here", f"write `{operator}`", operator)


def _compound(operator: str) -> Foreign:
    return Foreign(f"there is no `{operator}=`", f"write `x = x {operator} 1` in full", "=", fixable=False)


def _none(text: str, message: str, help_text: str) -> tuple[str, Foreign]:
    return text, Foreign(message, help_text, None, TokenKind.BROKEN, fixable=False)


FOREIGN: dict[str, Foreign] = {
    "&&": _word("&&", "and"),
    "||": _word("||", "or"),
    "!": Foreign("`!` is written `not` here", "write `not`", "not", TokenKind.NAME, fixable=False),
    "===": _other("===", "=="),
    "!==": _other("!==", "!="),
    "<>": _other("<>", "!="),
    ":=": _other(":=", "="),
    "...": _other("...", ".."),
    "->": Foreign("`->` is not an operator", "an arm of `match` has `=>`", "=>", fixable=False),
    **{f"{operator}=": _compound(operator) for operator in ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")},
    ";": Foreign("`;` is not needed", "a statement ends at the end of its line", "", ends_line=True),
    "//": Foreign(
        "a comment starts with `#`", "write `#`; to divide write `/`, and `int(...)` to drop the fraction",
        "#", skip_to="\n",
    ),
    "/*": Foreign("a comment starts with `#`", "write `#` on each of its lines", "#", fixable=False, skip_to="*/"),
    **dict(
        (
            _none("**", "there is no power operator", "multiply: `x * x`"),
            _none("++", "there is no `++`", "write `x = x + 1`"),
            _none("--", "there is no `--`", "write `x = x - 1`"),
            _none("?", "there is no `? :`", "write `if condition then a else b`"),
            _none("~", "there is no `~`", "write `x ^ -1`"),
            _none("@", "there are no decorators", "a trigger is written `on every 1s`"),
            _none("`", "a backquote means nothing here", 'texts stand in double quotes: `"..."`'),
        )
    ),
    "$": Foreign("names have no `$`", "write the name alone; in a text write `{name}`", ""),
}  # fmt: skip
"""Foreign text -> what it is."""
