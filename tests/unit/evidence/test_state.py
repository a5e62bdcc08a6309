"""Tests as JSON: they come back as they were, and nothing else is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.base.reading import Unreadable
from eyeflow.evidence.eprocess import OneProportion, Test, TwoProportions, against
from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.state import from_json, to_json

OUTCOMES = st.builds(Outcomes, st.integers(0, 300), st.integers(0, 300))
TWO = st.builds(
    lambda seed, pairs: _fed(TwoProportions(seed, 40.0), pairs),
    st.text(),
    st.lists(st.tuples(OUTCOMES, OUTCOMES), max_size=4),
)
ONE = st.builds(
    lambda bound, before, news: against(bound, before).after(news), st.floats(0, 1), st.none() | OUTCOMES, OUTCOMES
)


def _fed(test: TwoProportions, pairs: list[tuple[Outcomes, Outcomes]]) -> TwoProportions:
    for control, candidate in pairs:
        test = test.after(control, candidate)
    return test


@given(TWO | ONE)
def test_a_test_comes_back_as_it_was(test: Test) -> None:
    text = to_json(test)
    assert from_json(text) == test
    assert to_json(from_json(text)) == text


def test_the_text_is_small_and_stays_the_same() -> None:
    """Stores of running deployments hold it."""
    two = TwoProportions("d-1", control=Outcomes(9, 1), waiting_control=Outcomes(1, 0), log_e=0.25)
    assert to_json(two) == (
        '{"test":"twoProportions","seed":"d-1","alarm_e":20.0,"control":[9,1],"candidate":[0,0],'
        '"waiting_control":[1,0],"waiting_candidate":[0,0],"log_e":0.25}'
    )
    one = OneProportion(0.05, None, Outcomes(40, 7))
    assert to_json(one) == '{"test":"oneProportion","bound":0.05,"before":null,"candidate":[40,7]}'
    assert from_json(to_json(two)) == two and from_json(to_json(one)) == one


ONE_TEXT = to_json(against(0.05, Outcomes(100, 2)).after(Outcomes(40, 7)))
TWO_TEXT = to_json(TwoProportions("d-1").after(Outcomes(100, 2), Outcomes(40, 7)))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", '{"test":1}', '{"test":"three"}', '{"test":["oneProportion"]}']
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(Unreadable, match=r"not JSON|it is no test of failures"):
        from_json(text)


@pytest.mark.parametrize("text", [ONE_TEXT, TWO_TEXT])
def test_a_field_more_or_less_is_refused(text: str) -> None:
    fields = json.loads(text)
    for name in fields.keys() - {"test"}:
        with pytest.raises(Unreadable, match="has the fields"):
            from_json(json.dumps({key: value for key, value in fields.items() if key != name}))
    with pytest.raises(Unreadable, match="has the fields"):
        from_json(json.dumps({**fields, "more": 1}))
    with pytest.raises(Unreadable, match="twice"):
        from_json(text.replace("{", '{"candidate":[0,0],', 1))


WRONG: list[tuple[str, Any]] = [
    *(
        ("candidate", value)
        for value in (None, 3, [1], [1, 2, 3], [-1, 0], [0, -1], [1.0, 0], [True, 0], ["1", 0], [2**53, 0])
    ),
    *(("bound", value) for value in (None, "1", True, [1], -0.1, 1.1)),
    *(("before", value) for value in (0, [1], False)),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_value_against_a_bound_is_refused(field: str, value: Any) -> None:
    with pytest.raises(Unreadable, match=f"{field} is "):
        from_json(json.dumps({**json.loads(ONE_TEXT), field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 1),
        ("seed", None),
        ("alarm_e", 0.9),
        ("alarm_e", None),
        ("log_e", None),
        ("log_e", 501),
        ("control", None),
    ],
)
def test_a_wrong_value_of_two_is_refused(field: str, value: Any) -> None:
    with pytest.raises(Unreadable, match=f"{field} is "):
        from_json(json.dumps({**json.loads(TWO_TEXT), field: value}))


def test_no_number_is_refused() -> None:
    with pytest.raises(Unreadable):
        from_json(ONE_TEXT.replace('"bound":', '"bound":NaN,"x":'))
