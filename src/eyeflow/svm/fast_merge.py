"""Where two arms of a branch meet, and where a loop repeats: bringing what is known on both ways together."""

from __future__ import annotations

from collections.abc import Iterable

from eyeflow.svm.fast_code import Entry, Path, Val
from eyeflow.svm.fast_slots import HandlerEmitter, load_line
from eyeflow.svm.opcodes import Op
from eyeflow.svm.program import Instruction

Arm = tuple[Path, list[str]]
"""What is known at the end of an arm, and its lines, to which a join adds."""

ACTS = (Op.CALL_ACTION, Op.EMIT_EVENT)
ASKS = (Op.LOAD_RESOURCE, Op.LLM_CALL)


def join(to: HandlerEmitter, first: Arm, second: Arm, depth: int) -> None:
    """Make the first path stand for both; lines that make the arms alike are added to them.

    `depth` is the height of the stack before the branch; what lies above was pushed by both arms.
    """
    indent = " " * (to.writer.indent + 1)
    _join_stack(to, first, second, depth, indent)
    _join_fuel(to, first, second, indent)
    _join_entries(to, "acts", (first, first[0].actions), (second, second[0].actions), indent)
    _join_entries(to, "ans", (first, first[0].answers), (second, second[0].answers), indent)
    first[0].uses |= second[0].uses
    _join_slots(to, first, second, indent)


def _join_stack(to: HandlerEmitter, first: Arm, second: Arm, depth: int, indent: str) -> None:
    base = second[0].stack[:depth]
    pairs = list(zip(first[0].stack[depth:], second[0].stack[depth:], strict=True))
    names = [to.writer.fresh("m") for _ in pairs]
    for name, (x, y) in zip(names, pairs, strict=True):
        first[1].append(f"{indent}{name} = {x.text}")
        second[1].append(f"{indent}{name} = {y.text}")
    first[0].stack = base + [_hull(name, x, y) for name, (x, y) in zip(names, pairs, strict=True)]


def _hull(name: str, x: Val, y: Val) -> Val:
    size = max(x.size_bytes_max, y.size_bytes_max) if min(x.size_bytes_max, y.size_bytes_max) >= 0 else -1
    return Val(name, x.type, low=min(x.low, y.low), high=max(x.high, y.high), size_bytes_max=size)


def _join_fuel(to: HandlerEmitter, first: Arm, second: Arm, indent: str) -> None:
    least = min(first[0].fuel, second[0].fuel)
    for path, lines in (first, second):
        if path.fuel > least:
            lines.append(f"{indent}f += {path.fuel - least}")
            to.use("f")
            first[0].uses.add("f")
    first[0].fuel = least


def _join_entries(
    to: HandlerEmitter, variable: str, first: tuple[Arm, list[Entry]], second: tuple[Arm, list[Entry]], indent: str
) -> None:
    if first[1] == second[1]:
        return
    for (_, lines), entries in (first, second):
        if entries:
            lines.append(f"{indent}{variable} += {_tuple(entries)}")
    to.use(variable)
    first[0][0].uses.add(variable)
    first[1].clear()


def _tuple(entries: Iterable[Entry]) -> str:
    return f"({', '.join(entry.text for entry in entries)},)"


def _join_slots(to: HandlerEmitter, first: Arm, second: Arm, indent: str) -> None:
    """A variable that one arm has changed must be set in the other; one that only one arm has loaded is forgotten."""
    dirty = first[0].dirty | second[0].dirty
    for path, lines in (first, second):
        lines += [indent + load_line(to, key) for key in sorted(dirty - path.loaded)]
    first[0].loaded = (first[0].loaded & second[0].loaded) | dirty
    first[0].dirty = dirty


def flush_for(to: HandlerEmitter, body: tuple[Instruction, ...]) -> None:
    """Put the actions and answers so far into their variables when a loop's body makes more of them."""
    opcodes = {instruction.opcode for instruction in body}
    for variable, makers, entries in (("acts", ACTS, to.path.actions), ("ans", ASKS, to.path.answers)):
        if entries and not opcodes.isdisjoint(makers):
            to.writer.line(f"{variable} += {_tuple(entries)}")
            to.use(variable)
            entries.clear()
        if not opcodes.isdisjoint(makers):
            to.use(variable)
