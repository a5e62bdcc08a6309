"""The pieces that the fast path builds Python source from: values on the symbolic stack, constants, lines, paths.

Nothing of a program ever enters the source as text: texts, odd floats and tuples live in the `Pool` and are named by
number; ints and plain floats are written as literals that Python itself printed.
"""

from __future__ import annotations

import math
import re
from dataclasses import field

from eyeflow.base.record import dataclass
from eyeflow.svm.execution import Action
from eyeflow.svm.program import Value, ValueType

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
DEPTH_MAX = 10
"""Deepest expression that is written in one line; a deeper one goes through a temporary: parsers have limits."""

_ATOM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9.]*|\(-[0-9][0-9.]*\)")
_NO_DEPS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Val:
    """One entry of the operand stack: a pure Python expression that yields its value.

    `deps` are the variables it reads that may still change; `value` is set for a constant; `low` and `high` bound an
    int; `size_bytes_max` bounds a text made by an instruction, -1 when nothing is known.
    """

    text: str
    type: ValueType
    deps: frozenset[str] = _NO_DEPS
    depth: int = 0
    value: Value | None = None
    low: int = INT_MIN
    high: int = INT_MAX
    size_bytes_max: int = -1

    @property
    def is_atom(self) -> bool:
        """Whether reading it twice costs nothing: a name or a literal."""
        return _ATOM.fullmatch(self.text) is not None


class Pool:
    """The constants of the generated functions, by name: `K0`, `K1`."""

    def __init__(self) -> None:
        self.names: dict[str, object] = {}
        self._known: dict[tuple[type, str], str] = {}

    def name(self, constant: object) -> str:
        """Return the name of a constant, the same for equal ones (-0.0 and 0.0 are not equal here)."""
        key = (type(constant), repr(constant))
        if key not in self._known:
            self._known[key] = f"K{len(self._known)}"
            self.names[self._known[key]] = constant
        return self._known[key]

    def val(self, value: Value) -> Val:
        """Return a constant as an operand."""
        if isinstance(value, bool):
            return Val(str(value), ValueType.BOOL, value=value)
        if isinstance(value, int):
            return Val(int_text(value), ValueType.INT, value=value, low=value, high=value)
        if isinstance(value, float):
            return Val(self._float_text(value), ValueType.FLOAT, value=value)
        return Val(self.name(value), ValueType.TEXT, value=value, size_bytes_max=len(value.encode()))

    def _float_text(self, value: float) -> str:
        if math.isfinite(value) and math.copysign(1.0, value) > 0:
            return repr(float(value))
        return self.name(value)


def int_text(value: int) -> str:
    """Return an int as a literal that may stand anywhere in an expression."""
    return str(value) if value >= 0 else f"({value})"


class Writer:
    """Lines of Python with their indentation (one space a level: a deep nesting stays short), and fresh names."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.indent = 1
        self._temps = 0

    def line(self, text: str) -> None:
        """Add one statement at the current level."""
        self.lines.append(" " * self.indent + text)

    def fresh(self, prefix: str = "t") -> str:
        """Return a name that no other line uses."""
        self._temps += 1
        return f"{prefix}{self._temps}"

    def capture(self) -> list[str]:
        """Start a new list of lines and return the old one; put it back with `restore`."""
        outer, self.lines = self.lines, []
        return outer

    def restore(self, outer: list[str]) -> list[str]:
        """Go back to the lines before `capture`; return those written since."""
        inner, self.lines = self.lines, outer
        return inner


@dataclass(frozen=True, slots=True)
class Entry:
    """An action or answer that a path has produced: the expression, and the action when it is a constant."""

    text: str
    constant: Action | None = None


@dataclass(slots=True)
class Path:
    """What is known, while the source is written, about the execution that reaches this place.

    `fuel`, `actions` and `answers` are what comes on top of the variables `f`, `acts` and `ans`; `uses` names those of
    the three that this path may have put something into. `loaded` are the slots whose variable is set, `dirty` those
    state slots whose variable may differ from the state.
    """

    stack: list[Val] = field(default_factory=list)
    fuel: int = 0
    actions: list[Entry] = field(default_factory=list)
    answers: list[Entry] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)
    loaded: set[int] = field(default_factory=set)
    dirty: set[int] = field(default_factory=set)
    closed: bool = False

    def fork(self) -> Path:
        """Return an independent copy, for one arm of a branch."""
        return Path(
            list(self.stack), self.fuel, list(self.actions), list(self.answers),
            set(self.uses), set(self.loaded), set(self.dirty), self.closed,
        )  # fmt: skip


def tuple_text(variable: str, path: Path, entries: list[Entry]) -> str:
    """Return the expression of a tuple: what is in the variable, if this path uses it, then the entries."""
    parts = [f"*{variable}"] if variable in path.uses else []
    parts += [entry.text for entry in entries]
    return f"({', '.join(parts)},)" if parts else "()"


def constants_of(entries: list[Entry]) -> tuple[Action, ...] | None:
    """Return the entries as a tuple when all of them are constants, else None."""
    constants = tuple(entry.constant for entry in entries if entry.constant is not None)
    return constants if len(constants) == len(entries) else None
