"""What each phase of the compiler made, as stable text for `--emit` and for golden files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum

from eyeflow.base.diagnostic import Span
from eyeflow.compiler import ir, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.lexer import tokenize
from eyeflow.compiler.source import Source
from eyeflow.svm.program import Type

INDENT = "  "


def dump_tokens(source: Source) -> str:
    """Return one line for each token: place, kind, text."""
    lines = []
    for token in tokenize(source.text)[0]:
        at = source.position(token.span.start)
        place = f"{at.line}:{at.column}"
        lines.append(f"{place:<8}{token.kind.name:<12}{source.text[token.span.start : token.span.end]!r}".rstrip())
    return "\n".join(lines) + "\n"


def dump_tree(root: object, source: Source) -> str:
    """Return a syntax tree or a typed tree: one line for each node, its place behind it."""
    return "\n".join(_node("", root, 0, source)) + "\n"


def _node(label: str, value: object, depth: int, source: Source) -> Iterator[str]:
    head = INDENT * depth + (f"{label}: " if label else "")
    if isinstance(value, Type):
        yield f"{head}{types.show(value)}"
    elif isinstance(value, t.Variable):
        yield f"{head}{value.region.value} {value.name}: {types.show(value.type)}"
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _node(f"{label}[{number}]", item, depth, source)
    elif is_dataclass(value):
        yield from _object(head, value, depth, source)
    elif isinstance(value, Enum):
        yield f"{head}{value.name}"
    elif value is not None:
        yield f"{head}{value!r}"


def _object(head: str, value: object, depth: int, source: Source) -> Iterator[str]:
    parts = {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]
    span = parts.pop("span", None)
    place = ""
    if isinstance(span, Span):
        at = source.position(span.start)
        place = f" @{at.line}:{at.column}"
    kind = parts.pop("type", None) if isinstance(parts.get("type"), Type) else None
    shown = f" -> {types.show(kind)}" if isinstance(kind, Type) else ""
    yield f"{head}{type(value).__name__}{shown}{place}"
    for name, part in parts.items():
        if not isinstance(part, Span):
            yield from _node(name, part, depth + 1, source)


# --- intermediate representation -----------------------------------------------------------------------------------


def dump_ir(unit: ir.Unit) -> str:
    """Return the intermediate representation: handlers with their branches and loops indented."""
    lines: list[str] = []
    for number, handler in enumerate(unit.handlers):
        lines += [f"handler {number} on {handler.trigger.kind.name.lower()}"]
        lines += _nodes(handler.nodes, 1, unit)
    return "\n".join(lines) + "\n"


def _nodes(nodes: tuple[ir.Node, ...], depth: int, unit: ir.Unit) -> Iterator[str]:
    indent = INDENT * depth
    for node in nodes:
        if isinstance(node, ir.Do):
            yield f"{indent}{node.op.name} {_operands(node, unit)}".rstrip()
        elif isinstance(node, ir.If):
            yield f"{indent}if"
            yield from _nodes(node.then, depth + 1, unit)
            if node.otherwise:
                yield f"{indent}else"
                yield from _nodes(node.otherwise, depth + 1, unit)
        else:
            yield f"{indent}loop at most {node.bound}"
            yield from _nodes(node.body, depth + 1, unit)


def _operands(node: ir.Do, unit: ir.Unit) -> str:
    match node.b:
        case ir.Cell(variable=variable, offset=offset):
            return f"{variable.name}" + (f" +{offset}" if offset else "")
        case ir.Row(variable=variable, offset=offset, scalar=scalar):
            return f"{variable.name}[]" + (f" +{offset}" if offset else "") + (f" .{scalar}" if scalar else "")
        case ir.TimerSymbol() as timer:
            size = f" of {timer.capacity}" if timer.capacity else ""
            return f"timer {unit.timers.index(timer)} {timer.kind.name}{size}"
        case ir.ConstSymbol(value=value):
            return repr(value)
        case ir.NamesSymbol(names=names):
            return " ".join(names)
        case number:
            return _number(node, number, unit)


def _number(node: ir.Do, number: int, unit: ir.Unit) -> str:
    if node.op.name in ("LOAD_RESOURCE", "CALL_ACTION", "LLM_CALL", "EMIT_EVENT"):
        return f"site {number} {unit.sites[number].capability}"
    if node.op.name == "PUSH_INT":
        return str(number - 0x10000 if number >= 0x8000 else number)
    if node.op.name in ("PUSH_BOOL", "TEXT_F", "LOOP_INDEX"):
        return str(node.a)
    return str(number) if number else ""
