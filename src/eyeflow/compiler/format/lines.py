"""From tokens to logical lines: one per item, statement, arm, step or closing brace, with its comments."""

from __future__ import annotations

from dataclasses import field
from itertools import pairwise

from eyeflow.base.record import dataclass
from eyeflow.compiler.format.layout import is_placed
from eyeflow.compiler.parser import ParseResult
from eyeflow.compiler.source import Source
from eyeflow.compiler.tokens import Comment, Token, TokenKind


@dataclass(slots=True)
class OwnLineComment:
    """A comment on a line of its own."""

    text: str
    indent: int
    blank_before: bool


@dataclass(slots=True)
class Line:
    """A logical line; the last one of a file may have comments only."""

    tokens: list[Token]
    indent: int
    comments: list[OwnLineComment] = field(default_factory=list)
    trailing: str | None = None
    blank_before: bool = False


def logical_lines(source: str, parsed: ParseResult) -> list[Line]:
    """Return the logical lines of a source that parsed without problems."""
    return _Builder(Source(source), parsed).build()


class _Builder:
    """Walks over the tokens once."""

    def __init__(self, source: Source, parsed: ParseResult) -> None:
        self._source = source
        self._parsed = parsed
        self._lines: list[Line] = []
        self._current: Line | None = None
        self._indent = 0
        self._braces: list[bool] = []  # for every open `{`: whether it is a block
        self._carried: list[OwnLineComment] = []
        self._end_line = 0  # source line of what was seen last

    def build(self) -> list[Line]:
        """Build the lines."""
        tokens = self._parsed.tokens
        for index, token in enumerate(tokens[:-1]):
            self._token(token, tokens[index + 1])
        self._current = None
        last = Line([], 0)
        self._comments_before(last, tokens[-1], 0)
        return [*self._lines, last]

    def _token(self, token: Token, following: Token) -> None:
        closes_block = token.text == "}" and token.kind is TokenKind.OPERATOR and self._braces.pop()
        if closes_block:
            self._close(token, following)
            return
        if self._current is None or token.span.start in self._parsed.marks.heads:
            self._start(token, self._indent)
        else:
            self._seen(token)
            self._current.tokens.append(token)
        if token.text == "{" and token.kind is TokenKind.OPERATOR:
            self._open(token, following)

    def _open(self, token: Token, following: Token) -> None:
        is_block = token.span.start not in self._parsed.marks.member_braces
        self._braces.append(is_block)
        if not is_block:
            return
        self._indent += 1
        # Comments that move into the block need it open, also when it is empty.
        moves_in = self._current is not None and self._current.tokens[0].text == "}" and self._unplaced(self._current)
        if following.text != "}" or following.comments or moves_in:
            self._finish()

    def _close(self, token: Token, following: Token) -> None:
        self._indent -= 1
        if self._current is not None and self._current.tokens[-1].text == "{" and not token.comments:
            self._seen(token)
            self._current.tokens.append(token)
        else:
            self._start(token, self._indent, comment_indent=self._indent + 1)
        if following.text != "else" or following.span.start in self._parsed.marks.heads:
            self._finish()

    # --- starting and ending lines ---

    def _start(self, token: Token, indent: int, comment_indent: int | None = None) -> None:
        self._finish()
        line = Line([token], indent)
        opened = bool(self._lines) and self._lines[-1].tokens[-1].text == "{"
        self._comments_before(line, token, indent if comment_indent is None else comment_indent)
        blank = self._source.line_of(token.span.start) > self._end_line + 1 and bool(self._lines or line.comments)
        line.blank_before = blank and token.text != "}"
        self._space(line, opened)
        self._seen(token)
        self._lines.append(line)
        self._current = line

    def _space(self, line: Line, opened: bool) -> None:
        """Apply the rules about empty lines: none behind `{` and before `}`, one around handlers and tests."""
        separate = not opened and line.tokens[0].text != "}" and self._separates(line)
        if line.comments:
            first = line.comments[0]
            first.blank_before = (first.blank_before or separate) and not opened and bool(self._lines)
        else:
            line.blank_before = (line.blank_before or separate) and not opened and bool(self._lines)

    def _separates(self, line: Line) -> bool:
        if not self._lines or line.indent != 1:
            return False
        before = self._lines[-1]
        return self._is_part(line) or self._was_part(before)

    def _is_part(self, line: Line) -> bool:
        """Whether the line starts a handler or a test, and no statement with such a name."""
        return line.tokens[0].text in ("on", "test") and self._second_kind(line.tokens[0]) is not TokenKind.OPERATOR

    def _was_part(self, before: Line) -> bool:
        """Whether the line before ends a handler or test, or is the trigger of a handler without braces."""
        if before.indent != 1:
            return False
        if before.tokens[0].text == "on" and len(before.tokens) > 1 and before.tokens[1].kind is TokenKind.NAME:
            return True
        return (
            before.tokens[0].text == "test"
            and before.tokens[-1].text == "}"
            and before.tokens[1].kind is TokenKind.TEXT
        )

    def _second_kind(self, token: Token) -> TokenKind:
        index = self._index_of(token)
        return self._parsed.tokens[index + 1].kind

    def _index_of(self, token: Token) -> int:
        low, high = 0, len(self._parsed.tokens)
        while low < high:
            middle = (low + high) // 2
            if self._parsed.tokens[middle].span.start < token.span.start:
                low = middle + 1
            else:
                high = middle
        return low

    def _finish(self) -> None:
        """End the current line; comments from inside it that have no place there move above it, or into its block."""
        line, self._current = self._current, None
        if line is None:
            return
        lost = self._unplaced(line)
        if line.tokens[0].text == "}":
            for comment in lost:
                comment.indent += 1
            self._carried += lost
        elif lost:
            lost[0].blank_before, line.blank_before = (
                (line.blank_before, False) if not line.comments else (False, line.blank_before)
            )
            line.comments += lost

    # --- comments ---

    def _unplaced(self, line: Line) -> list[OwnLineComment]:
        """Return the comments inside a line that cannot stay where they are."""
        found: list[OwnLineComment] = []
        depth = 0
        for before, token in pairwise(line.tokens):
            depth += self._opens_group(before) - _closes_group(before, depth)
            if not (depth > 0 and is_placed(before, token, self._parsed.marks)):
                found += [OwnLineComment(comment.text, line.indent, False) for comment in token.comments]
        return found

    def _opens_group(self, token: Token) -> bool:
        if token.kind is not TokenKind.OPERATOR:
            return False
        return token.text in ("(", "[") or token.span.start in self._parsed.marks.member_braces

    def _comments_before(self, line: Line, token: Token, indent: int) -> None:
        line.comments += self._carried
        self._carried = []
        for comment in token.comments:
            if not comment.own_line and self._lines and self._trail(comment):
                continue
            start = self._source.line_of(comment.span.start)
            line.comments.append(
                OwnLineComment(comment.text, indent, start > self._end_line + 1 and bool(self._lines or line.comments))
            )
            self._end_line = start

    def _trail(self, comment: Comment) -> bool:
        line = self._lines[-1]
        if line.trailing is not None:
            return False
        line.trailing = comment.text
        self._end_line = self._source.line_of(comment.span.start)
        return True

    def _seen(self, token: Token) -> None:
        self._end_line = self._source.line_of(max(token.span.start, token.span.end - 1))


def _closes_group(token: Token, depth: int) -> bool:
    return depth > 0 and token.kind is TokenKind.OPERATOR and token.text in (")", "]", "}")
