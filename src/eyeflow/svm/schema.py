"""From the payload of an event to the input slots of a trigger: docs/language.md, Handlers and triggers.

`PayloadDecoder` builds one small function per field beforehand; a payload then costs one call of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from eyeflow.svm.layout import is_scalar
from eyeflow.svm.program import Field, Trigger, TypeTag, Value
from eyeflow.svm.schema_text import cell_decoder, flat_cell_decoder
from eyeflow.svm.schema_values import Flat, RejectedEvent, flat_decoder, scalar_decoder

__all__ = ["PayloadDecoder", "RejectedEvent"]

Payload = Mapping[str, Any]
Read = Callable[[Payload], tuple[Value, ...]]
ReadScalar = Callable[[Payload], Value]

_ABSENT = object()


class PayloadDecoder:
    """Checks payloads against the schema of one trigger and flattens them as docs/svm.md, Memory, says.

    Both methods return one value for each input slot of the trigger and raise RejectedEvent, whose text names the
    field, what was expected and what came. Fields that the schema does not name are ignored.
    """

    def __init__(self, trigger: Trigger) -> None:
        fields = trigger.fields
        if all(is_scalar(field.type) for field in fields):
            self._json = _row_of_scalars([_quick(field, _scalar(field)) for field in fields])
            self._text = _row_of_scalars([_quick_cell(field, _scalar_cell(field)) for field in fields])
        else:
            self._json = _row([_flat(field, flat_decoder(field.type)) for field in fields])
            self._text = _row([_flat_cell(field, flat_cell_decoder(field.type)) for field in fields])

    def from_mapping(self, payload: Payload) -> tuple[Value, ...]:
        """Return the inputs of a payload with the types of JSON: bool, int, float, str, list, dict, None."""
        return self._json(payload)

    def from_text_row(self, row: Mapping[str, str]) -> tuple[Value, ...]:
        """Return the inputs of a row of texts, as a CSV file has them.

        An empty cell counts as absent, except that of a text without a default: it is the empty text. A list or a
        record is written in its cell as JSON.
        """
        return self._text(row)


def _row_of_scalars(readers: list[ReadScalar]) -> Read:
    """The common case, a payload of scalars: nothing needs to be joined."""
    if len(readers) == 1:
        only = readers[0]
        return lambda payload: (only(payload),)
    return lambda payload: tuple([read(payload) for read in readers])


def _row(readers: list[Read]) -> Read:
    return lambda payload: tuple([value for read in readers for value in read(payload)])


def _absent(field: Field) -> tuple[Value, ...]:
    """Return the default of a field that a payload lacks."""
    if field.default is None:
        raise RejectedEvent("a value", "nothing", field.name)
    return field.default


def _scalar(field: Field) -> ReadScalar:
    name, decode = field.name, scalar_decoder(field.type)

    def read(payload: Payload) -> Value:
        raw = payload.get(name, _ABSENT)
        if raw is _ABSENT:
            return _absent(field)[0]
        try:
            return decode(raw)
        except RejectedEvent as error:
            raise error.within(name) from None

    return read


def _scalar_cell(field: Field) -> ReadScalar:
    name, keeps_empty, decode = field.name, _keeps_empty(field), cell_decoder(field.type)

    def read(row: Payload) -> Value:
        raw = row.get(name)
        if not raw and (raw is None or not keeps_empty):
            return _absent(field)[0]
        try:
            return decode(raw)
        except RejectedEvent as error:
            raise error.within(name) from None

    return read


def _quick(field: Field, careful: ReadScalar) -> ReadScalar:
    """Return a reader that takes the most common values itself and leaves all others to `careful`."""
    name, size = field.name, field.type.size

    def read_float(payload: Payload) -> Value:
        raw: Value = payload.get(name)  # type: ignore[assignment]
        return raw if type(raw) is float and raw == raw else careful(payload)

    def read_text(payload: Payload) -> Value:
        raw = payload.get(name)
        return raw if type(raw) is str and raw and len(raw) <= size and raw.isascii() else careful(payload)

    return {TypeTag.FLOAT: read_float, TypeTag.TEXT: read_text}.get(field.type.tag, careful)


def _quick_cell(field: Field, careful: ReadScalar) -> ReadScalar:
    """As `_quick`, for cells."""
    name = field.name

    def read_float(row: Payload) -> Value:
        raw = row.get(name)
        if type(raw) is str and raw.isascii() and "_" not in raw:
            try:
                value = float(raw)
            except ValueError:
                return careful(row)
            if isfinite(value):
                return value
        return careful(row)

    if field.type.tag is TypeTag.TEXT:
        return _quick(field, careful)
    return read_float if field.type.tag is TypeTag.FLOAT else careful


def _flat(field: Field, decode: Flat) -> Read:
    name = field.name

    def read(payload: Payload) -> tuple[Value, ...]:
        raw = payload.get(name, _ABSENT)
        if raw is _ABSENT:
            return _absent(field)
        try:
            return decode(raw)
        except RejectedEvent as error:
            raise error.within(name) from None

    return read


def _flat_cell(field: Field, decode: Flat) -> Read:
    name, keeps_empty = field.name, _keeps_empty(field)

    def read(row: Payload) -> tuple[Value, ...]:
        raw = row.get(name)
        if not raw and (raw is None or not keeps_empty):
            return _absent(field)
        try:
            return decode(raw)
        except RejectedEvent as error:
            raise error.within(name) from None

    return read


def _keeps_empty(field: Field) -> bool:
    """Say whether an empty cell is a value of this field."""
    return field.type.tag is TypeTag.TEXT and field.default is None
