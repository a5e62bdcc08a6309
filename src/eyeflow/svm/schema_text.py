"""How one cell of a CSV file becomes slots: as JSON does, after its text was read as the field's type."""

from __future__ import annotations

import re

from eyeflow.base.reading import Unreadable, parse_float, parse_json
from eyeflow.svm.layout import is_scalar
from eyeflow.svm.program import Type, TypeTag, Value
from eyeflow.svm.schema_values import (
    Flat,
    RejectedEvent,
    Scalar,
    decode_duration,
    decode_int,
    flat_decoder,
    scalar_decoder,
    shown,
)

BOOLS = {"true": True, "false": False, "1": True, "0": False}
_INT = re.compile(r"[+-]?[0-9]{1,20}")
"""What may be an int of 64 bits; a longer one is read as a float, and refused for its size."""


def cell_float(raw: object) -> float:
    """Return the float of a cell: finite, as in JSON."""
    try:
        return parse_float(str(raw))
    except Unreadable:
        raise RejectedEvent("a number", shown(raw)) from None


def cell_int(raw: object) -> int:
    """Return the int of a cell; `80.0` is one too."""
    text = str(raw).strip()
    return decode_int(int(text) if _INT.fullmatch(text) else cell_float(raw))


def cell_bool(raw: object) -> bool:
    """Return the bool of a cell: true, false, 1 or 0, in any case."""
    value = BOOLS.get(str(raw).strip().lower())
    if value is None:
        raise RejectedEvent("true or false", shown(raw))
    return value


def cell_duration(raw: object) -> int:
    """Return the microseconds of a cell: a number of seconds, or `1.5s`."""
    text = str(raw).strip()
    if _INT.fullmatch(text):
        return decode_duration(int(text))
    try:
        return decode_duration(text)
    except RejectedEvent:
        return decode_duration(_number(text))


def _number(text: str) -> object:
    try:
        return cell_float(text)
    except RejectedEvent:
        return text


_CELLS: dict[TypeTag, Scalar] = {
    TypeTag.BOOL: cell_bool,
    TypeTag.INT: cell_int,
    TypeTag.PIN: cell_int,
    TypeTag.FLOAT: cell_float,
    TypeTag.DURATION: cell_duration,
}


def cell_decoder(type_: Type) -> Scalar:
    """Return the decoder of a cell whose type has one slot."""
    return _CELLS.get(type_.tag) or scalar_decoder(type_)


def flat_cell_decoder(type_: Type) -> Flat:
    """Return the decoder of a cell of any type; a list or a record is written in it as JSON."""
    if is_scalar(type_):
        scalar = cell_decoder(type_)
        return lambda raw: (scalar(raw),)
    decode = flat_decoder(type_)

    def read(raw: object) -> tuple[Value, ...]:
        try:
            value = parse_json(str(raw))
        except Unreadable:
            raise RejectedEvent("JSON", shown(raw)) from None
        return decode(value)

    return read
