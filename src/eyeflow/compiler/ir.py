"""The intermediate representation: SVM instructions with symbols for operands, in a tree of branches and loops.

Symbols (slots, arrays, timers, constants) get their numbers in `eyeflow.compiler.codegen`.
"""

from __future__ import annotations

from dataclasses import field

from eyeflow.base.diagnostic import Span
from eyeflow.base.record import dataclass
from eyeflow.compiler import typed as t
from eyeflow.svm.opcodes import Op, TimerKind
from eyeflow.svm.program import Type, Value


@dataclass(frozen=True, slots=True)
class Cell:
    """Slot `offset` of a variable."""

    variable: t.Variable
    offset: int


@dataclass(frozen=True, slots=True)
class Row:
    """Scalar number `scalar` of the elements of the list of type `list_type` at slot `offset` of a variable."""

    variable: t.Variable
    offset: int
    list_type: Type
    scalar: int


@dataclass(eq=False, slots=True)
class TimerSymbol:
    """The memory of one time word."""

    kind: TimerKind
    capacity: int
    span: Span


@dataclass(frozen=True, slots=True)
class ConstSymbol:
    """An entry of the constant pool."""

    value: Value


@dataclass(frozen=True, slots=True)
class NamesSymbol:
    """The names of an enum, one after the other in the constant pool."""

    names: tuple[str, ...]


Operand = int | Cell | Row | TimerSymbol | ConstSymbol | NamesSymbol


@dataclass(frozen=True, slots=True)
class Choice:
    """Marks the instruction that decides an `if`, an arm of a `match` or an `if-then-else` of the source.

    Much else lowers to a branch (copies of lists, loops, `and`) and is none to the writer of a rule: coverage counts
    these only. `swapped`: the instruction sees the condition negated.
    """

    span: Span
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Do:
    """One instruction."""

    op: Op
    a: int
    b: Operand
    span: Span
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class If:
    """Pop a condition and run one of two arms."""

    then: tuple[Node, ...]
    otherwise: tuple[Node, ...]
    span: Span
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """Pop a trip count and run the body so often, at most `bound` times."""

    bound: int
    body: tuple[Node, ...]
    span: Span


Node = Do | If | Loop


@dataclass(slots=True)
class Handler:
    """The code of one trigger, without its RETURN."""

    trigger: t.Trigger
    nodes: tuple[Node, ...]
    span: Span


@dataclass(slots=True)
class Unit:
    """A whole rule, lowered."""

    rule: t.Rule
    handlers: list[Handler] = field(default_factory=list)
    sites: list[t.Site] = field(default_factory=list)
    timers: list[TimerSymbol] = field(default_factory=list)
    names: list[tuple[str, ...]] = field(default_factory=list)
    """The enums whose names lie together in the constant pool: no text stands in two of them."""
