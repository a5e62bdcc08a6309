"""The types of the language. A type is `svm.program.Type`; this module names, shows, compares and lays them out."""

from __future__ import annotations

from collections.abc import Iterator

from eyeflow.svm.program import Direction, MemorySlot, Profile, Type, TypeTag, Value, ValueType

BOOL = Type(TypeTag.BOOL)
INT = Type(TypeTag.INT)
FLOAT = Type(TypeTag.FLOAT)
DURATION = Type(TypeTag.DURATION)
ERROR = Type(TypeTag.RECORD, name="?")
"""The type of whatever was reported already: it fits everywhere, so that one mistake gives one message."""

TEXT_BYTES_MAX = {Profile.LINUX: 4096, Profile.MCU: 255}
NESTING_MAX = 4
LIST_CAPACITY_MAX = 4096

_NAMES = {TypeTag.BOOL: "bool", TypeTag.INT: "int", TypeTag.FLOAT: "float", TypeTag.DURATION: "duration"}
_SCALARS = {TypeTag.BOOL: ValueType.BOOL, TypeTag.FLOAT: ValueType.FLOAT, TypeTag.TEXT: ValueType.TEXT}
_ZEROS: dict[ValueType, Value] = {
    ValueType.BOOL: False,
    ValueType.INT: 0,
    ValueType.FLOAT: 0.0,
    ValueType.TEXT: "",
}


def text(size_bytes_max: int) -> Type:
    """Return text(n)."""
    return Type(TypeTag.TEXT, size=size_bytes_max)


def enum(name: str, members: tuple[str, ...]) -> Type:
    """Return an enum type."""
    return Type(TypeTag.ENUM, name=name, members=members)


def list_of(element: Type, capacity: int) -> Type:
    """Return list(element, capacity)."""
    return Type(TypeTag.LIST, size=capacity, element=element)


def record(name: str, fields: tuple[tuple[str, Type], ...]) -> Type:
    """Return a record type."""
    return Type(TypeTag.RECORD, name=name, fields=fields)


def pin(direction: Direction) -> Type:
    """Return the type of a pin."""
    return Type(TypeTag.PIN, direction=direction)


def is_list_element(kind: Type) -> bool:
    """Say whether a list can hold this type: a scalar, or a record of scalars."""
    flat_record = kind.tag is TypeTag.RECORD and all(is_scalar(field) for _, field in kind.fields)
    return is_scalar(kind) or flat_record


def show(kind: Type) -> str:
    """Return a type as a rule writes it."""
    match kind.tag:
        case TypeTag.TEXT:
            return f"text({kind.size})"
        case TypeTag.LIST:
            return f"list({show(element_of(kind))}, {kind.size})"
        case TypeTag.PIN:
            return f"{kind.direction.name.lower()} pin"
        case TypeTag.ENUM | TypeTag.RECORD:
            return kind.name
        case _:
            return _NAMES[kind.tag]


def element_of(kind: Type) -> Type:
    """Return the element type of a list."""
    return kind.element or ERROR


def is_error(kind: Type) -> bool:
    """Tell whether a type stands for a reported problem, alone or inside a list."""
    return kind == ERROR or (kind.tag is TypeTag.LIST and element_of(kind) == ERROR)


def is_scalar(kind: Type) -> bool:
    """Tell whether a value of this type is one slot."""
    return kind.tag not in (TypeTag.LIST, TypeTag.RECORD)


def is_flat(kind: Type) -> bool:
    """Tell whether a type is a scalar or a record without lists inside: a fixed row of scalars."""
    if kind.tag is TypeTag.RECORD:
        return all(is_flat(field) for _, field in kind.fields)
    return kind.tag is not TypeTag.LIST


def is_ordered(kind: Type) -> bool:
    """Tell whether `<` works on a type: int, float and duration."""
    return kind.tag in (TypeTag.INT, TypeTag.FLOAT, TypeTag.DURATION)


def fits(source: Type, target: Type) -> bool:
    """Tell whether a value of type `source` may stand where `target` is expected without a conversion."""
    if source == target or is_error(source) or is_error(target):
        return True
    if source.tag is TypeTag.TEXT and target.tag is TypeTag.TEXT:
        return source.size <= target.size
    if source.tag is TypeTag.LIST and target.tag is TypeTag.LIST:
        return source.size <= target.size and fits(element_of(source), element_of(target))
    return False


def join(left: Type, right: Type) -> Type | None:
    """Return the type that holds values of both, or None: only texts differ in bounds."""
    if is_error(left) or is_error(right):
        return ERROR
    if left.tag is TypeTag.TEXT and right.tag is TypeTag.TEXT:
        return text(max(left.size, right.size))
    return left if left == right else None


def value_type(kind: Type) -> ValueType:
    """Return the slot type of a scalar."""
    return _SCALARS.get(kind.tag, ValueType.INT)


def slot(kind: Type) -> MemorySlot:
    """Return the slot of a scalar."""
    return MemorySlot(value_type(kind), max(1, kind.size) if kind.tag is TypeTag.TEXT else 0)


def scalars(kind: Type) -> tuple[Type, ...]:
    """Return the scalar types of a flat type, in the order of its slots."""
    if kind.tag is not TypeTag.RECORD:
        return (kind,)
    return tuple(scalar for _, field in kind.fields for scalar in scalars(field))


def slots(kind: Type) -> tuple[MemorySlot, ...]:
    """Return the flattened slots of a type: docs/svm.md, Memory."""
    return tuple(_slots(kind))


def _slots(kind: Type) -> Iterator[MemorySlot]:
    if kind.tag is TypeTag.RECORD:
        for _, field in kind.fields:
            yield from _slots(field)
    elif kind.tag is TypeTag.LIST:
        yield MemorySlot(ValueType.INT)
        for scalar in scalars(element_of(kind)):
            yield from [slot(scalar)] * kind.size
    else:
        yield slot(kind)


def slot_count(kind: Type) -> int:
    """Return how many slots a value of this type takes."""
    if kind.tag is TypeTag.RECORD:
        return sum(slot_count(field) for _, field in kind.fields)
    if kind.tag is TypeTag.LIST:
        return 1 + len(scalars(element_of(kind))) * kind.size
    return 1


def field_offset(kind: Type, name: str) -> tuple[int, Type] | None:
    """Return the slot offset and type of a record's field, None when there is none."""
    offset = 0
    for field, field_type in kind.fields:
        if field == name:
            return offset, field_type
        offset += slot_count(field_type)
    return None


def depth(kind: Type) -> int:
    """Return how deep a type nests; a scalar is 1."""
    if kind.tag is TypeTag.RECORD:
        return 1 + max((depth(field) for _, field in kind.fields), default=0)
    return 1 + depth(element_of(kind)) if kind.tag is TypeTag.LIST else 1


def zero(slot: MemorySlot) -> Value:
    """Return the value a slot of this type starts with."""
    return _ZEROS[slot.type]


def zeros(kind: Type) -> tuple[Value, ...]:
    """Return the flattened zero of a type."""
    return tuple(zero(slot) for slot in slots(kind))
