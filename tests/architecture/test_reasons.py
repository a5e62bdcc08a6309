"""No text of an exception of the system or of a library reaches a user: `base.reasons` says all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "eyeflow"
HOMES = {SOURCE / name for name in ("base/reasons.py", "base/reading.py", "svm/schedule.py", "cli/bug.py")}
"""The modules that turn foreign texts into ours, and the report of a bug."""
WORDS = {"strerror", "msg", "args", "reason", "verify_message"}
"""Where exceptions of others keep their texts."""


def own_exceptions(trees: list[ast.Module]) -> set[str]:
    """The exceptions that eyeflow defines: they hold words of ours."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    roots = {"Exception", "ValueError", "OSError", "RuntimeError", "BaseException"}
    own: set[str] = set()
    for _ in range(5):  # deeper than any of our exceptions derives from another
        own |= {one.name for one in classes if {last_name(base) for base in one.bases} & (own | roots)}
    return own


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def alternatives(kind: ast.expr | None) -> list[ast.expr]:
    if isinstance(kind, ast.Tuple):
        return kind.elts
    if isinstance(kind, ast.BinOp) and isinstance(kind.op, ast.BitOr):
        return [*alternatives(kind.left), *alternatives(kind.right)]
    return [] if kind is None else [kind]


def foreign_errors(tree: ast.AST, own: set[str]) -> Iterator[tuple[str, ast.AST]]:
    """Each name that holds an exception of others, and the code in which it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.name:
            if any(last_name(kind) not in own for kind in alternatives(node.type)):
                yield node.name, node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for arg in [*node.args.args, *node.args.kwonlyargs]:
                names = {last_name(kind) for kind in alternatives(arg.annotation)}
                if any(name.endswith(("Error", "Exception")) and name not in own for name in names):
                    yield arg.arg, node


def told(name: str, code: ast.AST) -> Iterator[int]:
    """The lines in which the text of an exception is taken."""

    def is_it(node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == name

    for node in ast.walk(code):
        match node:
            case ast.FormattedValue(value=value) if any(map(is_it, operands(value))):
                yield node.lineno
            case ast.Call(func=ast.Name(id="str" | "repr"), args=[argument]) if is_it(argument):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id="_log")), args=[_, *values]) if any(map(is_it, values)):
                yield node.lineno
            case ast.Attribute(value=value, attr=attribute) if is_it(value) and attribute in WORDS:
                yield node.lineno


def operands(value: ast.expr) -> list[ast.expr]:
    return value.values if isinstance(value, ast.BoolOp) else [value]


def raw_texts(path: Path, tree: ast.AST, own: set[str]) -> list[str]:
    if path in HOMES:
        return []
    lines = {line for name, code in foreign_errors(tree, own) for line in told(name, code)}
    return [
        f"{path.relative_to(ROOT)}:{line} tells the text of an exception: take base.reasons" for line in sorted(lines)
    ]


def test_no_text_of_a_foreign_exception_is_told() -> None:
    trees = {path: ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
    own = own_exceptions(list(trees.values()))
    assert {"EyeflowError", "Unreadable", "CapabilityFailure"} <= own and "OSError" not in own
    errors = [error for path, tree in trees.items() for error in raw_texts(path, tree, own)]
    assert not errors, "\n" + "\n".join(errors)


BAD = [
    "try: f()\nexcept OSError as error: raise E(str(error))",
    "try: f()\nexcept (Own, httpx.HTTPError) as error: x = f'{error}'",
    "try: f()\nexcept OSError as error: x = f'{error or 1}'",
    "try: f()\nexcept OSError as error: x = error.strerror",
    "try: f()\nexcept OSError as e: _log.warning('%s', e)",
    "def f(error: OSError | Own): return f'{error!r}'",
]
GOOD = [
    "try: f()\nexcept Own as error: x = str(error)",
    "try: f()\nexcept OSError as error: raise E(why(error)) from error",
    "def f(error: Own): return f'{error}'",
]


def test_the_check_can_fail() -> None:
    assert all(len(raw_texts(SOURCE / "x.py", ast.parse(text), {"Own"})) == 1 for text in BAD)
    assert not any(raw_texts(SOURCE / "x.py", ast.parse(text), {"Own"}) for text in GOOD)
