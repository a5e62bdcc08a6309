"""Whether two sources say the same: equal syntax trees apart from positions, and the same comments."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, is_dataclass

from eyeflow.base.diagnostic import Span
from eyeflow.compiler.parser import ParseResult


def difference(before: ParseResult, after: ParseResult) -> str:
    """Return what a source that parsed without problems lost in another form of it; nothing when it is the same."""
    if after.diagnostics:
        return f"it would no longer parse: {after.diagnostics[0].message}"
    if not same_tree(before.rule, after.rule):
        return "it would mean something else"
    lost = _comments(before) - _comments(after)
    if lost:
        return f"it would lose the comment {next(iter(lost))!r}"
    return "it would repeat a comment" if _comments(after) - _comments(before) else ""


def same_tree(left: object, right: object) -> bool:
    """Tell whether two syntax trees are equal but for their positions."""
    if type(left) is not type(right):
        return False
    if isinstance(left, Span):
        return True
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same_tree, left, right))
    if is_dataclass(left) and not isinstance(left, type):
        return all(same_tree(getattr(left, field.name), getattr(right, field.name)) for field in fields(left))
    return left == right


def _comments(parsed: ParseResult) -> Counter[str]:
    return Counter(comment.text for comment in parsed.comments)
