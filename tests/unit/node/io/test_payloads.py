"""From bytes to a JSON object or a reason, and between slot values and what drivers see."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.node.io.payloads import UnreadablePayload, decode_object
from eyeflow.svm.arguments import named_arguments, slot_value
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Direction, Pin, Site, SiteKind, Type, TypeTag, Value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_every_json_object_is_read(value: dict[str, object]) -> None:
    assert decode_object(json.dumps(value).encode(), 10**6) == value


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_give_an_object_or_a_reason(data: bytes) -> None:
    try:
        assert isinstance(decode_object(data, 50), dict)
    except UnreadablePayload as error:
        assert str(error)


@pytest.mark.parametrize("value", [None, [], "x", True, 1, 1.5])
def test_what_is_no_object_says_what_it_is(value: object) -> None:
    with pytest.raises(UnreadablePayload, match=r"not a JSON object but (null|a list|a text|a bool|a number)"):
        decode_object(json.dumps(value).encode(), 100)


def test_a_number_of_too_many_digits_is_a_reason() -> None:
    with pytest.raises(UnreadablePayload, match="not JSON"):
        decode_object(b'{"n": ' + b"9" * 10_000 + b"}", 100_000)


INT, FLOAT, BOOL = Type(TypeTag.INT), Type(TypeTag.FLOAT), Type(TypeTag.BOOL)
LEVEL = Type(TypeTag.ENUM, name="Level", members=("LOW", "HIGH"))
TEXT = Type(TypeTag.TEXT, size=4)
PINS = (Pin("RELAY", Direction.OUTPUT), Pin("DOOR", Direction.INPUT))


def test_arguments_have_names_and_pins_and_enums_are_names() -> None:
    site = Site(SiteKind.ACT, "gpio.set_pin", (("pin", Type(TypeTag.PIN)), ("level", LEVEL)))
    assert named_arguments(site, (0, 1), PINS) == {"pin": "RELAY", "level": "HIGH"}
    classify = Site(SiteKind.LLM, "llm.classify", (("text", TEXT),), LEVEL)
    assert named_arguments(classify, ("x",), PINS) == {"text": "x", "label": "LOW,HIGH"}
    complete = Site(SiteKind.LLM, "llm.complete", (("prompt", TEXT),), TEXT)
    assert named_arguments(complete, ("x",), PINS) == {"prompt": "x", "max": 4}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [(LEVEL, "HIGH", 1), (FLOAT, 5, 5.0), (FLOAT, 5.5, 5.5), (INT, 5, 5), (BOOL, True, True), (TEXT, "äö", "äö")],
)
def test_answers_of_the_declared_type(kind: Type, value: Value, expected: Value) -> None:
    got = slot_value(kind, value)
    assert got == expected
    assert type(got) is type(expected)


def test_a_nan_stays_one() -> None:
    assert math.isnan(float(slot_value(FLOAT, math.nan)))


@pytest.mark.parametrize(
    ("kind", "value"),
    [(LEVEL, "high"), (LEVEL, 1), (FLOAT, "5"), (FLOAT, True), (INT, 5.0), (INT, 2**63), (INT, True), (BOOL, 1),
     (TEXT, "äöü"), (TEXT, 5), (TEXT, "\ud800")],
)  # fmt: skip
def test_any_other_answer_is_a_failure(kind: Type, value: Value) -> None:
    with pytest.raises(CapabilityFailure, match="is no"):
        slot_value(kind, value)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_number_beyond_float_is_no_infinity(number: str) -> None:
    with pytest.raises(UnreadablePayload, match=number):
        decode_object(f'{{"v": {number}}}'.encode(), 100)
