"""Types and values of the language in a `.svm` file."""

from __future__ import annotations

from eyeflow.svm.layout import SCALARS, flat_types, is_scalar, scalar_slot, value_fault
from eyeflow.svm.program import Direction, MemorySlot, Type, TypeTag, Value, ValueType
from eyeflow.svm.wire import Reader, Writer

TYPE_DEPTH_MAX = 4
TEXT_LIMIT_BYTES_MAX = 4_096
TEXT_LIMIT_MCU_BYTES_MAX = 255
FLAT_SLOTS_MAX = 4_096
"""A type that flattens to more slots than a program can have is refused before it is flattened."""


def write_type(out: Writer, type_: Type) -> None:
    """Append a type."""
    out.pack("B", type_.tag.value)
    write_detail(out, type_)


def write_detail(out: Writer, type_: Type) -> None:
    """Append what stands behind the tag of a type."""
    if type_.tag is TypeTag.TEXT:
        out.pack("H", type_.size)
    elif type_.tag is TypeTag.ENUM:
        out.name(type_.name)
        out.pack("B", len(type_.members))
        for member in type_.members:
            out.name(member)
    elif type_.tag is TypeTag.LIST and type_.element is not None:
        out.pack("H", type_.size)
        write_type(out, type_.element)
    elif type_.tag is TypeTag.RECORD:
        out.name(type_.name)
        out.pack("B", len(type_.fields))
        for name, _ in type_.fields:
            out.name(name)
        for _, field_type in type_.fields:
            write_type(out, field_type)
    elif type_.tag is TypeTag.PIN:
        out.pack("B", type_.direction)


def read_type(reader: Reader, depth: int = 1) -> Type:
    """Return a type: well formed, nested at most 4 deep, of at most 4,096 slots."""
    if depth > TYPE_DEPTH_MAX:
        raise reader.fail(f"a type is nested more than {TYPE_DEPTH_MAX} deep")
    return read_detail(reader, read_tag(reader), depth)


def read_tag(reader: Reader) -> TypeTag:
    """Return the tag of a type."""
    at, tag = reader.position, reader.number("B", "the tag of a type")
    if tag > TypeTag.PIN.value:
        raise reader.fail(f"type tag {tag} is not known", at)
    return TypeTag(tag)


def read_detail(reader: Reader, tag: TypeTag, depth: int = 1) -> Type:
    """Return the type of a tag, by what stands behind the tag."""
    at = reader.position
    type_ = _read_tagged(reader, tag, depth)
    fault = type_fault(type_)
    if fault:
        raise reader.fail(fault, at)
    return type_


def _read_tagged(reader: Reader, tag: TypeTag, depth: int) -> Type:
    if tag is TypeTag.TEXT:
        return Type(tag, size=reader.number("H", "the limit of a text"))
    if tag is TypeTag.ENUM:
        name = reader.name("the name of an enum")
        count = reader.number("B", "the number of members")
        return Type(tag, name=name, members=tuple(reader.name("a member") for _ in range(count)))
    if tag is TypeTag.LIST:
        size = reader.number("H", "the capacity of a list")
        return Type(tag, size=size, element=read_type(reader, depth + 1))
    if tag is TypeTag.RECORD:
        name = reader.name("the name of a record")
        count = reader.number("B", "the number of fields")
        names = [reader.name("the name of a field") for _ in range(count)]
        return Type(tag, name=name, fields=tuple((each, read_type(reader, depth + 1)) for each in names))
    if tag is TypeTag.PIN:
        return Type(tag, direction=reader.member(Direction, "the direction of a pin"))
    return Type(tag)


def type_fault(type_: Type) -> str:
    """Say what is wrong with one level of a type, or ""; its element and fields are taken to be right."""
    if type_.tag is TypeTag.TEXT and not 1 <= type_.size <= TEXT_LIMIT_BYTES_MAX:
        return f"a text limit of {type_.size} bytes is not within 1 to {TEXT_LIMIT_BYTES_MAX}"
    if type_.tag is TypeTag.ENUM and not (type_.members and len(set(type_.members)) == len(type_.members)):
        return "an enum has no members, or one twice"
    if type_.tag is TypeTag.RECORD and not (
        type_.fields and len({name for name, _ in type_.fields}) == len(type_.fields)
    ):
        return "a record has no fields, or one twice"
    if type_.tag is TypeTag.LIST and not _is_element(type_.element):
        return "the element of a list is neither a scalar nor a record of scalars"
    if type_.tag is TypeTag.LIST and type_.size == 0:
        return "a list has no room for an element"
    if flat_size(type_) > FLAT_SLOTS_MAX:
        return f"a type takes more than {FLAT_SLOTS_MAX} slots"
    return ""


def _is_element(element: Type | None) -> bool:
    if element is None:
        return False
    return is_scalar(element) or (
        element.tag is TypeTag.RECORD and all(is_scalar(field_type) for _, field_type in element.fields)
    )


def flat_size(type_: Type) -> int:
    """Return how many slots a type takes, without flattening it."""
    if type_.tag is TypeTag.RECORD:
        return sum(flat_size(field_type) for _, field_type in type_.fields)
    if type_.tag is TypeTag.LIST and type_.element is not None:
        return 1 + type_.size * flat_size(type_.element)
    return 1


def write_value(out: Writer, slot: MemorySlot, value: Value) -> None:
    """Append one scalar as its slot's type says."""
    if slot.type is ValueType.TEXT:
        out.text(str(value))
    elif slot.type is ValueType.FLOAT:
        out.bits(float(value))
    else:
        out.pack("B" if slot.type is ValueType.BOOL else "q", int(value))


def read_value(reader: Reader, slot: MemorySlot, type_: Type | None = None) -> Value:
    """Return one scalar of a slot's type, checked against its limit and, where known, the type in it."""
    at = reader.position
    value: Value
    if slot.type is ValueType.TEXT:
        value = reader.text("a text value")
    elif slot.type is ValueType.FLOAT:
        value = reader.bits("a float value")
    elif slot.type is ValueType.BOOL:
        value = reader.flag("a bool value")
    else:
        value = reader.number("q", "an int value")
    fault = value_fault(value, slot, type_)
    if fault:
        raise reader.fail(fault, at)
    return value


def read_scalar(reader: Reader, type_: Type) -> Value:
    """Return a value of a scalar type."""
    if type_.tag not in SCALARS:
        raise reader.fail(f"a {type_.tag.name.lower()} stands where one value is needed")
    return read_value(reader, scalar_slot(type_), type_)


def write_values(out: Writer, type_: Type, values: tuple[Value, ...]) -> None:
    """Append the flattened values of a type."""
    for (slot, _), value in zip(flat_types(type_), values, strict=True):
        write_value(out, slot, value)


def read_values(reader: Reader, type_: Type) -> tuple[Value, ...]:
    """Return the flattened values of a type."""
    return tuple(read_value(reader, slot, scalar) for slot, scalar in flat_types(type_))
