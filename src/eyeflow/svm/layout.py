"""How the types of the language lie in slots: docs/svm.md, Memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eyeflow.svm.numbers import INT_MAX, INT_MIN, text_bytes
from eyeflow.svm.program import MemorySlot, Program, Type, TypeTag, Value, ValueType

SCALARS = {
    TypeTag.BOOL: ValueType.BOOL,
    TypeTag.INT: ValueType.INT,
    TypeTag.FLOAT: ValueType.FLOAT,
    TypeTag.DURATION: ValueType.INT,
    TypeTag.TEXT: ValueType.TEXT,
    TypeTag.ENUM: ValueType.INT,
    TypeTag.PIN: ValueType.INT,
}
"""The value type of each scalar type; a list or record is not among them."""

LENGTH_SLOT = MemorySlot(ValueType.INT)


def is_scalar(type_: Type) -> bool:
    """Say whether one slot holds a value of this type."""
    return type_.tag in SCALARS


def scalar_slot(type_: Type) -> MemorySlot:
    """Return the slot of a scalar type."""
    return MemorySlot(SCALARS[type_.tag], type_.size if type_.tag is TypeTag.TEXT else 0)


def flatten(type_: Type) -> tuple[MemorySlot, ...]:
    """Return the slots of a type: fields in order; of a list its length, then n for each scalar of an element."""
    return tuple(slot for slot, _ in flat_types(type_))


def flat_types(type_: Type) -> Iterator[tuple[MemorySlot, Type]]:
    """Yield each slot with the scalar type in it; the length slot of a list comes with the list's own type."""
    if type_.tag is TypeTag.RECORD:
        for _, field_type in type_.fields:
            yield from flat_types(field_type)
    elif type_.tag is TypeTag.LIST and type_.element is not None:
        yield LENGTH_SLOT, type_
        for slot, scalar in flat_types(type_.element):
            for _ in range(type_.size):
                yield slot, scalar
    else:
        yield scalar_slot(type_), type_


def zero(slot: MemorySlot) -> Value:
    """Return the zero of a slot's type."""
    return (False, 0, 0.0, "")[slot.type]


def value_fault(value: Value, slot: MemorySlot, type_: Type | None = None) -> str:
    """Say why `value` cannot stand in `slot` holding `type_` (None: not known), or "" when it can.

    Checks the exact Python type, the int range, UTF-8 and the byte limit, and the range of enums and list lengths.
    """
    if type(value) is not (bool, int, float, str)[slot.type]:
        return f"{value!r} is no {slot.type.name.lower()}"
    if isinstance(value, str):
        return _text_fault(value, slot.size_bytes_max)
    if slot.type is ValueType.INT:
        return _int_fault(int(value), type_)
    return ""


def _int_fault(value: int, type_: Type | None) -> str:
    if not INT_MIN <= value <= INT_MAX:
        return f"{value} does not fit 64 bits"
    if type_ is not None and type_.tag is TypeTag.ENUM and not 0 <= value < len(type_.members):
        return f"{value} is no member of the enum {type_.name or 'without a name'}"
    if type_ is not None and type_.tag is TypeTag.LIST and not 0 <= value <= type_.size:
        return f"{value} is no length of a list of at most {type_.size}"
    return ""


def _text_fault(value: str, size_bytes_max: int) -> str:
    try:
        size_bytes = text_bytes(value)
    except UnicodeEncodeError:
        return f"{value!r} is not valid UTF-8"
    return f"a text of {size_bytes} bytes is longer than {size_bytes_max}" if size_bytes > size_bytes_max else ""


def state_base(program: Program) -> int:
    """Return the first state slot."""
    return program.regions.params + program.regions.inputs


def state_slots(program: Program) -> tuple[MemorySlot, ...]:
    """Return the slots of the state."""
    base = state_base(program)
    return program.slots[base : base + program.regions.state]


def input_types(program: Program, trigger: int) -> tuple[tuple[MemorySlot, Type], ...]:
    """Return the slots of a trigger's flattened payload with the types in them."""
    return tuple(pair for field in program.triggers[trigger].fields for pair in flat_types(field.type))


def answer_fault(program: Program, type_: Type, value: Value) -> str:
    """Say why `value` cannot be the answer of a site whose result is of `type_`, or ""."""
    fault = value_fault(value, scalar_slot(type_), type_)
    if not fault and type_.tag is TypeTag.PIN and not 0 <= int(value) < len(program.pins):
        return f"{value} is no pin"
    return fault


def structured(type_: Type, values: Sequence[Value]) -> Any:
    """Return flattened values as people see them: an enum as its name, a list as list, a record as dict."""
    if type_.tag is TypeTag.RECORD:
        fields, at = {}, 0
        for name, field_type in type_.fields:
            size = sum(1 for _ in flat_types(field_type))
            fields[name] = structured(field_type, values[at : at + size])
            at += size
        return fields
    if type_.tag is TypeTag.LIST and type_.element is not None:
        length = min(max(int(values[0]), 0), type_.size)
        return [structured(type_.element, values[1 + index :: type_.size]) for index in range(length)]
    if type_.tag is TypeTag.ENUM and 0 <= int(values[0]) < len(type_.members):
        return type_.members[int(values[0])]
    return values[0]
