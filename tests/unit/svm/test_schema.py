"""Payloads become input slots, or are rejected with a reason that names the field."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eyeflow.svm.layout import flat_types, flatten, structured, value_fault
from eyeflow.svm.numbers import INT_MAX, INT_MIN
from eyeflow.svm.program import Field, Trigger, TriggerKind, Type, TypeTag, Value
from eyeflow.svm.schema import PayloadDecoder, RejectedEvent
from generators.compare import exact_all

BOOL, INT, FLOAT = Type(TypeTag.BOOL), Type(TypeTag.INT), Type(TypeTag.FLOAT)
DURATION = Type(TypeTag.DURATION)
MODE = Type(TypeTag.ENUM, name="Mode", members=("OFF", "HEAT", "COOL"))


def text(size: int) -> Type:
    return Type(TypeTag.TEXT, size=size)


def listed(element: Type, size: int) -> Type:
    return Type(TypeTag.LIST, size=size, element=element)


def record(**fields: Type) -> Type:
    return Type(TypeTag.RECORD, name="R", fields=tuple(fields.items()))


def decoder(**types: Type) -> PayloadDecoder:
    return decoder_of(tuple(Field(name, type_) for name, type_ in types.items()))


def decoder_of(fields: tuple[Field, ...]) -> PayloadDecoder:
    return PayloadDecoder(Trigger(TriggerKind.SOURCE, "mqtt", "a/b", 0, "e", fields, None, 0, 0, 1))


def rejection(type_: Type, raw: object) -> str:
    with pytest.raises(RejectedEvent) as caught:
        decoder(x=type_).from_mapping({"x": raw})
    return caught.value.reason


FITTING: list[tuple[Type, object, Value]] = [
    (BOOL, True, True),
    (INT, 7, 7),
    (INT, 7.0, 7),
    (INT, -0.0, 0),
    (INT, INT_MAX, INT_MAX),
    (INT, INT_MIN, INT_MIN),
    (INT, 2.0**53 - 1, 2**53 - 1),
    (FLOAT, 1.5, 1.5),
    (FLOAT, 2, 2.0),
    (FLOAT, 2**53 + 1, float(2**53)),
    (FLOAT, math.inf, math.inf),
    (FLOAT, math.nan, math.nan),
    (FLOAT, -0.0, -0.0),
    (DURATION, 2, 2_000_000),
    (DURATION, 0.25, 250_000),
    (DURATION, -1.5, -1_500_000),
    (DURATION, "1.5s", 1_500_000),
    (DURATION, "1h30min", 5_400_000_000),
    (MODE, "COOL", 2),
    (text(4), "ab", "ab"),
    (text(4), "äö", "äö"),
    (text(4), "🔥", "🔥"),
    (text(4), "", ""),
]


@pytest.mark.parametrize(("type_", "raw", "value"), FITTING)
def test_values_that_fit(type_: Type, raw: object, value: Value) -> None:
    assert exact_all(decoder(x=type_).from_mapping({"x": raw})) == exact_all([value])


UNFIT: list[tuple[Type, object, str]] = [
    (BOOL, 1, "expected true or false, got the number 1"),
    (BOOL, "true", 'expected true or false, got the text "true"'),
    (INT, True, "expected a whole number of 64 bits, got the bool true"),
    (INT, 1.5, "expected a whole number of 64 bits, got the number 1.5"),
    (INT, "1", 'expected a whole number of 64 bits, got the text "1"'),
    (INT, 2**63, "expected a whole number of 64 bits, got the number 9223372036854775808"),
    (INT, 2.0**53, "expected a whole number of 64 bits, written without a point"),
    (INT, float(INT_MIN), "expected a whole number of 64 bits, written without a point"),
    (INT, 2.0**64, "expected a whole number of 64 bits, got the number 1.8446744073709552e+19"),
    (INT, math.inf, "expected a whole number of 64 bits, got the number Infinity"),
    (INT, math.nan, "expected a whole number of 64 bits, got the number NaN"),
    (FLOAT, "1.5", 'expected a number, got the text "1.5"'),
    (FLOAT, False, "expected a number, got the bool false"),
    (FLOAT, None, "expected a number, got null"),
    (DURATION, "soon", 'expected a duration (a number of seconds, or a text like "1.5s"), got the text "soon"'),
    (DURATION, True, 'expected a duration (a number of seconds, or a text like "1.5s"), got the bool true'),
    (DURATION, math.nan, 'expected a duration (a number of seconds, or a text like "1.5s"), got the number NaN'),
    (DURATION, 1e300, 'expected a duration (a number of seconds, or a text like "1.5s"), got the number 1e+300'),
    (DURATION, 2**62, "expected a duration"),
    (DURATION, "9" * 30 + "d", "expected a duration"),
    (MODE, "heat", 'expected one of OFF, HEAT, COOL, got the text "heat" (is `HEAT` meant?)'),
    (MODE, 1, "expected one of OFF, HEAT, COOL, got the number 1"),
    (text(4), "abcde", 'expected a text of at most 4 bytes, got one of 5 bytes: the text "abcde"'),
    (text(4), "äöü", "expected a text of at most 4 bytes, got one of 6 bytes"),
    (text(4), "\ud800", "expected a text, got a text that is not valid Unicode"),
    (text(4), ["a"], 'expected a text, got the list ["a"]'),
    (listed(INT, 2), [1, 2, 3], "expected a list of at most 2, got a list of 3"),
    (listed(INT, 2), {"a": 1}, 'expected a list, got the object {"a": 1}'),
    (record(a=INT), [1], "expected an object, got the list [1]"),
]


@pytest.mark.parametrize(("type_", "raw", "reason"), UNFIT)
def test_values_that_do_not_fit(type_: Type, raw: object, reason: str) -> None:
    found = rejection(type_, raw)
    assert found.startswith("field `x`: ")
    assert reason in found


def test_a_long_value_is_shown_in_part() -> None:
    assert len(rejection(INT, "x" * 10_000)) < 200


def test_a_number_of_thousands_of_digits_is_not_shown() -> None:
    assert rejection(INT, 10**5000).endswith("got the number that is too large to show")
    assert rejection(FLOAT, 10**5000).endswith("got the number that is too large to show")


def test_the_path_names_the_element() -> None:
    readings = listed(record(temp=FLOAT, name=text(8)), 3)
    rows = [{"temp": 1.0, "name": "a"}, {"temp": "hot", "name": "b"}]
    with pytest.raises(RejectedEvent) as caught:
        decoder(readings=readings).from_mapping({"readings": rows})
    assert caught.value.path == "readings[1].temp"
    assert caught.value.reason == 'field `readings[1].temp`: expected a number, got the text "hot"'
    assert rejection(record(inner=record(deep=INT)), {"inner": {}}).startswith("field `x.inner.deep`: expected a value")


def test_lists_are_columns_padded_with_zeros() -> None:
    found = decoder(n=INT, rows=listed(record(temp=FLOAT, name=text(8)), 3), tail=BOOL).from_mapping(
        {"n": 1, "rows": [{"temp": 1.5, "name": "a"}, {"temp": 2, "name": "b"}], "tail": True}
    )
    assert exact_all(found) == exact_all((1, 2, 1.5, 2.0, 0.0, "a", "b", "", True))


def test_absent_fields() -> None:
    fields = (Field("a", INT, (5,)), Field("rows", listed(INT, 2), (1, 9, 0)), Field("b", INT))
    assert decoder_of(fields).from_mapping({"b": 1, "unknown": object()}) == (5, 1, 9, 0, 1)
    assert decoder_of(fields).from_text_row({"b": "1", "a": ""}) == (5, 1, 9, 0, 1)
    for decode in (decoder_of(fields).from_mapping, decoder_of(fields).from_text_row):
        with pytest.raises(RejectedEvent, match="field `b`: expected a value, got nothing"):
            decode({})


CELLS: list[tuple[Type, str, Value]] = [
    (BOOL, "true", True),
    (BOOL, " False ", False),
    (BOOL, "1", True),
    (INT, " 42 ", 42),
    (INT, "+42", 42),
    (INT, "80.0", 80),
    (INT, str(INT_MIN), INT_MIN),
    (FLOAT, "81.5", 81.5),
    (FLOAT, " 1e3", 1000.0),
    (FLOAT, "-0.0", -0.0),
    (INT, "9007199254740993", 2**53 + 1),
    (DURATION, "2", 2_000_000),
    (DURATION, "0.5", 500_000),
    (DURATION, "-2", -2_000_000),
    (DURATION, "1.5s", 1_500_000),
    (MODE, "HEAT", 1),
    (text(8), "42", "42"),
    (text(8), "", ""),
]


@pytest.mark.parametrize(("type_", "cell", "value"), CELLS)
def test_cells_that_fit(type_: Type, cell: str, value: Value) -> None:
    assert exact_all(decoder(x=type_).from_text_row({"x": cell, "other": ""})) == exact_all([value])


@pytest.mark.parametrize(
    ("type_", "cell"),
    [
        (BOOL, "yes"),
        (INT, "abc"),
        (INT, "1.5"),
        (INT, "1_000"),
        (INT, "9" * 5000),
        (INT, "nan"),
        (INT, "٣"),
        (FLOAT, "1_0.5"),
        (FLOAT, "warm"),
        *((FLOAT, cell) for cell in ("nan", "NaN", "inf", "-inf", "Infinity", "1e400", "-1e400", "٣")),
        (INT, "9007199254740993.0"),
        (DURATION, "1e400"),
        (DURATION, "nan"),
        (listed(FLOAT, 2), "[1e400]"),
        (listed(FLOAT, 2), "[NaN]"),
        (listed(FLOAT, 2), "[-Infinity]"),
        (FLOAT, ""),
        (DURATION, "long"),
        (DURATION, "inf"),
        (DURATION, "9" * 5000),
        (MODE, "HEATT"),
        (text(2), "abc"),
        (listed(INT, 2), "[1"),
        (listed(INT, 2), "[" * 100_000),
        (listed(INT, 2), '["a"]'),
    ],
)
def test_cells_that_do_not_fit(type_: Type, cell: str) -> None:
    with pytest.raises(RejectedEvent, match=r"field `x(\[0\])?`: expected"):
        decoder(x=type_).from_text_row({"x": cell})


def test_a_short_row_lacks_its_last_cells() -> None:
    """`csv.DictReader` gives None for the cells that a short row lacks."""
    row: Any = {"x": None}
    with pytest.raises(RejectedEvent, match="got nothing"):
        decoder(x=text(4)).from_text_row(row)


def test_lists_and_records_in_cells_are_json() -> None:
    found = decoder(xs=listed(INT, 3), at=record(x=FLOAT, y=FLOAT)).from_text_row(
        {"xs": "[1, 2]", "at": '{"x":1,"y":2.5}'}
    )
    assert exact_all(found) == exact_all((2, 1, 2, 0, 1.0, 2.5))


# --- properties --------------------------------------------------------------------------------------------------

scalars = st.sampled_from([BOOL, INT, FLOAT, DURATION, MODE, text(5), text(40)])
elements = st.one_of(scalars, st.builds(lambda a, b: record(a=a, b=b), scalars, scalars))
types = st.one_of(
    scalars,
    elements,
    st.builds(listed, elements, st.integers(1, 4)),
    st.builds(lambda a, b: record(a=a, inner=b), scalars, elements),
)


def fitting(type_: Type) -> st.SearchStrategy[Any]:
    """Return payloads that fit a type, as `json.loads` gives them."""
    match type_.tag:
        case TypeTag.BOOL:
            return st.booleans()
        case TypeTag.INT:
            return st.integers(INT_MIN, INT_MAX)
        case TypeTag.FLOAT:
            return st.one_of(st.floats(allow_nan=False), st.integers(-(2**53), 2**53))
        case TypeTag.DURATION:
            return st.integers(-(10**9), 10**9)
        case TypeTag.ENUM:
            return st.sampled_from(type_.members)
        case TypeTag.TEXT:
            return st.one_of(
                st.text(st.characters(codec="utf-8"), max_size=type_.size // 4),
                st.text(st.characters(codec="ascii"), max_size=type_.size),
            )
        case TypeTag.LIST:
            assert type_.element is not None
            return st.lists(fitting(type_.element), max_size=type_.size)
    return st.fixed_dictionaries({name: fitting(inner) for name, inner in type_.fields})


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data(), types)
def test_what_fits_comes_back(data: st.DataObject, type_: Type) -> None:
    payload = data.draw(fitting(type_))
    values = decoder(x=type_).from_mapping({"x": payload})
    assert len(values) == len(flatten(type_))
    for value, (slot, scalar) in zip(values, flat_types(type_), strict=True):
        assert not value_fault(value, slot, scalar)
    assert same(structured(type_, values), payload, type_)


def same(found: Any, payload: Any, type_: Type) -> bool:
    if type_.tag is TypeTag.DURATION:
        return bool(found == payload * 1_000_000)
    if type_.tag is TypeTag.LIST:
        assert type_.element is not None
        pairs = zip(found, payload, strict=True)
        return all(same(one, other, type_.element) for one, other in pairs)
    if type_.tag is TypeTag.RECORD:
        return all(same(found[name], payload[name], inner) for name, inner in type_.fields)
    return bool(found == payload)


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=50)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.sampled_from(["a", "b", "inner"]), inner)),
    max_leaves=8,
)


@settings(deadline=None)
@given(types, junk)
def test_any_payload_fits_or_is_rejected(type_: Type, payload: Any) -> None:
    """Nothing but RejectedEvent ever comes out, and what does come out may stand in the slots."""
    try:
        values = decoder(x=type_).from_mapping({"x": payload})
    except RejectedEvent as error:
        assert error.path.split(".")[0].split("[")[0] == "x"
        assert error.reason
        return
    for value, (slot, scalar) in zip(values, flat_types(type_), strict=True):
        assert not value_fault(value, slot, scalar)


@settings(deadline=None)
@given(types, st.one_of(st.text(max_size=30), junk.map(lambda value: json.dumps(value, default=str))))
def test_any_cell_fits_or_is_rejected(type_: Type, cell: str) -> None:
    try:
        values = decoder(x=type_).from_text_row({"x": cell})
    except RejectedEvent:
        return
    for value, (slot, scalar) in zip(values, flat_types(type_), strict=True):
        assert not value_fault(value, slot, scalar)
