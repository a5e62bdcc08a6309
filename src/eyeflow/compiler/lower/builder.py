"""Collects the nodes of the intermediate representation while a handler is lowered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eyeflow.base.diagnostic import Span
from eyeflow.compiler import ir, types
from eyeflow.compiler import typed as t
from eyeflow.svm.opcodes import Op, TimerKind
from eyeflow.svm.program import Type, Value

PUSH_INT_MIN, PUSH_INT_MAX = -(2**15), 2**15 - 1
_RESETTABLE = (TimerKind.HOLD, TimerKind.RISES, TimerKind.FALLS)


class Builder:
    """Writes nodes into the innermost open block of one handler."""

    def __init__(self, unit: ir.Unit) -> None:
        self.unit = unit
        self.nodes: list[ir.Node] = []
        self._temporaries = 0

    def do(self, op: Op, span: Span, b: ir.Operand = 0, a: int = 0) -> None:
        """Write one instruction."""
        self.nodes.append(ir.Do(op, a, b, span))

    def select(self, span: Span) -> None:
        """Write an `if-then-else` whose arms are both on the stack."""
        self.nodes.append(ir.Do(Op.SELECT, 0, 0, span, ir.Choice(span)))

    def push(self, value: Value, span: Span) -> None:
        """Push a constant in the shortest way."""
        if isinstance(value, bool):
            self.do(Op.PUSH_BOOL, span, a=int(value))
        elif isinstance(value, int) and PUSH_INT_MIN <= value <= PUSH_INT_MAX:
            self.do(Op.PUSH_INT, span, value & 0xFFFF)
        else:
            self.do(Op.CONST, span, ir.ConstSymbol(value))

    def temporary(self, kind: Type, span: Span) -> t.Variable:
        """Return a new local that the source does not name."""
        self._temporaries += 1
        return t.Variable(f"temporary {self._temporaries}", kind, t.Region.LOCAL, span)

    def load(self, variable: t.Variable, span: Span, offset: int = 0) -> None:
        """Push a slot."""
        self.do(Op.LOAD, span, ir.Cell(variable, offset))

    def store(self, variable: t.Variable, span: Span, offset: int = 0) -> None:
        """Pop into a slot."""
        self.do(Op.STORE, span, ir.Cell(variable, offset))

    def keep_int(self, name: str, span: Span) -> t.Variable:
        """Pop an int into a new local."""
        variable = self.temporary(types.INT, span)
        self.store(variable, span)
        return variable

    def timer(self, kind: TimerKind, capacity: int, span: Span) -> ir.TimerSymbol:
        """Return a new timer."""
        timer = ir.TimerSymbol(kind, capacity, span)
        self.unit.timers.append(timer)
        return timer

    def site(self, site: t.Site) -> int:
        """Return the number of a new site."""
        self.unit.sites.append(site)
        return len(self.unit.sites) - 1

    def has_room_for(self, names: tuple[str, ...]) -> bool:
        """Tell whether the names of an enum can lie together in the constant pool, where each text stands once."""
        if names in self.unit.names:
            return True
        if any(name in known for known in self.unit.names for name in names):
            return False
        self.unit.names.append(names)
        return True

    @contextmanager
    def block(self) -> Iterator[list[ir.Node]]:
        """Write into a new list of nodes."""
        before, self.nodes = self.nodes, []
        try:
            yield self.nodes
        finally:
            self.nodes = before

    def branch(
        self, then: list[ir.Node], otherwise: list[ir.Node], span: Span, *, of_source: bool = False
    ) -> None:  # fmt: skip
        """Write a branch on the condition on the stack; `of_source`: it is one of the rule, which coverage counts."""
        swapped = not then and bool(otherwise)
        if swapped:
            self.do(Op.NOT, span)
            then, otherwise = otherwise, then
        if then:
            choice = ir.Choice(span, swapped) if of_source else None
            self.nodes.append(ir.If(tuple(then), tuple(otherwise), span, choice))
        else:
            self.do(Op.POP, span)

    def timers_since(self, mark: int) -> list[ir.TimerSymbol]:
        """Return the timers made since `mark` that start anew when their branch is not taken."""
        return [timer for timer in self.unit.timers[mark:] if timer.kind in _RESETTABLE]

    def resets(self, timers: list[ir.TimerSymbol], span: Span) -> list[ir.Node]:
        """Return the instructions that let timers start anew."""
        return [ir.Do(Op.RESET, 0, timer, span) for timer in timers]
