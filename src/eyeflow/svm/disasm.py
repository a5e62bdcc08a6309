"""Programs as text: instructions with the names of what they touch, and the source lines they stem from."""

from __future__ import annotations

import json
from collections.abc import Sequence

from eyeflow.base.record import dataclass
from eyeflow.svm.layout import flat_types, state_base
from eyeflow.svm.opcodes import OPS, TIMERS, Op
from eyeflow.svm.program import Instruction, Program, Trigger, TriggerKind, Type, TypeTag

TEXT_SHOWN_MAX = 40
"""Characters of a text constant that are shown."""


@dataclass(frozen=True, slots=True)
class DisassembledLine:
    """One instruction. `comment` says what its operands mean; `line` is its source line (None: not known)."""

    pc: int
    opcode: int
    name: str
    operands: str
    comment: str
    line: int | None = None


def instructions(program: Program) -> list[DisassembledLine]:
    """Return every instruction of a program with its operands in words, unverified code included."""
    names = _slot_names(program)
    lines = _source_lines(program)
    return [_disassembled(program, pc, word, names, lines[pc]) for pc, word in enumerate(program.code)]


def disassemble(program: Program, source_lines: Sequence[str] | None = None) -> list[str]:
    """Return the listing: a heading for each handler, and with `source_lines` each source line before its code."""
    text: list[str] = []
    entries = {trigger.entry: trigger for trigger in program.triggers}
    shown: int | None = None
    for each in instructions(program):
        if each.pc in entries:
            text += ([""] if text else []) + [f"on {_trigger_text(entries[each.pc])}:"]
            shown = None
        if source_lines is not None and each.line not in (None, shown):
            text += _source_text(source_lines, each.line)
        shown = each.line
        comment = f"; {each.comment}" if each.comment else ""
        text.append(f"  {each.pc:5d}  {each.name:<14}{each.operands:<10}{comment}".rstrip())
    return text


def _source_text(source_lines: Sequence[str], line: int | None) -> list[str]:
    if line is None or not 1 <= line <= len(source_lines):
        return []
    return [f"{line:4d} | {source_lines[line - 1].strip()}"]


def _trigger_text(trigger: Trigger) -> str:
    if trigger.kind is TriggerKind.EVERY:
        return f"every {trigger.period_us} us"
    if trigger.kind is TriggerKind.CRON:
        return f'cron "{trigger.address}"'
    return f'{trigger.source} "{trigger.address}"'


def _source_lines(program: Program) -> list[int | None]:
    """Return the source line of each instruction."""
    lines: list[int | None] = [None] * len(program.code)
    places = {place.pc: place.line for place in program.source_map}
    current: int | None = None
    for pc in range(len(lines)):
        current = places.get(pc, current)
        lines[pc] = current
    return lines


def _disassembled(
    program: Program, pc: int, word: Instruction, names: Sequence[str], line: int | None
) -> DisassembledLine:
    info = OPS.get(word.opcode)
    if info is None:
        return DisassembledLine(pc, word.opcode, "?", f"{word.a} {word.b}", f"opcode 0x{word.opcode:02X}", line)
    operands = " ".join(str(value) for meaning, value in ((info.a, word.a), (info.b, word.b)) if meaning)
    if info.b == "i16":
        operands = str(word.b - 0x10000 if word.b & 0x8000 else word.b)
    return DisassembledLine(pc, word.opcode, info.name, operands, _comment(program, word, info.b, names), line)


def _comment(program: Program, word: Instruction, meaning: str, names: Sequence[str]) -> str:
    """Return what operand b names, in words."""
    if word.opcode == Op.TEXT_ENUM:
        return ", ".join(_constant_text(program, word.b + index) for index in range(word.a))
    if meaning == "slot":
        return _at(names, word.b)
    if meaning == "array" and word.b < len(program.arrays):
        array = program.arrays[word.b]
        return f"{_at(names, array.base).removesuffix('[0]')}[], length in {_at(names, array.length_slot)}"
    if meaning == "const":
        return _constant_text(program, word.b)
    if meaning == "site" and word.b < len(program.sites):
        site = program.sites[word.b]
        return f"{site.capability}({', '.join(name for name, _ in site.args)})"
    if meaning == "timer" and word.b < len(program.timers):
        timer = program.timers[word.b]
        room = f", at most {timer.capacity} samples" if timer.capacity else ""
        return (TIMERS[timer.kind].name if timer.kind in TIMERS else f"kind {timer.kind}") + room
    return {"target": f"to {word.b}", "bound": f"at most {word.b} trips"}.get(meaning, "")


def _at(names: Sequence[str], slot: int) -> str:
    return names[slot] if slot < len(names) else f"slot {slot}?"


def _constant_text(program: Program, index: int) -> str:
    if index >= len(program.constants):
        return f"constant {index}?"
    value = program.constants[index]
    if isinstance(value, str):
        cut = value if len(value) <= TEXT_SHOWN_MAX else value[:TEXT_SHOWN_MAX] + "..."
        return json.dumps(cut, ensure_ascii=False)
    return repr(value)


def _slot_names(program: Program) -> list[str]:
    """Return a name for each slot: of its parameter, field, state variable, timer, or its place among the locals."""
    base, total = state_base(program), len(program.slots)
    names = [f"slot {slot}" for slot in range(total)]
    for slot in range(base + program.regions.state, total):
        names[slot] = f"local {slot - base - program.regions.state}"
    for param in program.params:
        _name(names, param.slot, [param.name])
    for trigger in program.triggers:
        fields = [
            (f"{trigger.binding}.{field.name}" if trigger.binding else field.name, field.type)
            for field in trigger.fields
        ]
        _name(names, trigger.input_base, [name for prefix, type_ in fields for name in _flat_names(prefix, type_)])
    for variable in program.state:
        _name(names, variable.base, _flat_names(variable.name, variable.type))
    return names


def _name(names: list[str], base: int, given: Sequence[str]) -> None:
    """Write names into the list; a place outside (of a program that does not verify) is left out."""
    for slot, name in enumerate(given, start=base):
        if 0 <= slot < len(names):
            names[slot] = name


def _flat_names(prefix: str, type_: Type) -> list[str]:
    """Return a name for each slot of a flattened type: `x`, `x.field`, `len(x)`, `x[0]`, `x.field[0]`."""
    if type_.tag is TypeTag.RECORD:
        return [name for field, inner in type_.fields for name in _flat_names(f"{prefix}.{field}", inner)]
    if type_.tag is TypeTag.LIST and type_.element is not None:
        scalars = _flat_names(prefix, type_.element)
        return [f"len({prefix})"] + [f"{scalar}[{index}]" for scalar in scalars for index in range(type_.size)]
    return [prefix for _ in flat_types(type_)]
