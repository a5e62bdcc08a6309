"""Tests as JSON: they come back as they were, and nothing else is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.base.reading import Unreadable
from eyeflow.evidence.eprocess import TwoProportions
from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.state import from_json, to_json

OUTCOMES = st.builds(Outcomes, st.integers(0, 300), st.integers(0, 300))
TWO = st.builds(
    lambda seed, pairs: _fed(TwoProportions(seed, 40.0), pairs),
    st.text(),
    st.lists(st.tuples(OUTCOMES, OUTCOMES), max_size=4),
)


def _fed(test: TwoProportions, pairs: list[tuple[Outcomes, Outcomes]]) -> TwoProportions:
    for control, candidate in pairs:
        test = test.after(control, candidate)
    return test


@given(TWO)
def test_a_test_comes_back_as_it_was(test: TwoProportions) -> None:
    text = to_json(test)
    assert from_json(text) == test
    assert to_json(from_json(text)) == text


def test_the_text_is_small_and_stays_the_same() -> None:
    """Stores of running deployments hold it."""
    two = TwoProportions("d-1", control=Outcomes(9, 1), waiting_control=Outcomes(1, 0), log_e=0.25)
    assert to_json(two) == (
        '{"seed":"d-1","alarm_e":20.0,"control":[9,1],"candidate":[0,0],'
        '"waiting_control":[1,0],"waiting_candidate":[0,0],"log_e":0.25}'
    )
    assert from_json(to_json(two)) == two


TWO_TEXT = to_json(TwoProportions("d-1").after(Outcomes(100, 2), Outcomes(40, 7)))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "1", '"seed"'])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(Unreadable, match=r"not JSON|has the fields seed"):
        from_json(text)


def test_a_field_more_or_less_is_refused() -> None:
    fields = json.loads(TWO_TEXT)
    for name in fields:
        with pytest.raises(Unreadable, match="has the fields"):
            from_json(json.dumps({key: value for key, value in fields.items() if key != name}))
    with pytest.raises(Unreadable, match="has the fields"):
        from_json(json.dumps({**fields, "more": 1}))
    with pytest.raises(Unreadable, match="twice"):
        from_json(TWO_TEXT.replace("{", '{"candidate":[0,0],', 1))


WRONG: list[tuple[str, Any]] = [
    *(
        ("candidate", value)
        for value in (None, 3, [1], [1, 2, 3], [-1, 0], [0, -1], [1.0, 0], [True, 0], ["1", 0], [2**53, 0])
    ),
    *(("alarm_e", value) for value in (None, "40", True, [40], 0.9)),
    *(("log_e", value) for value in (None, 501)),
    *(("seed", value) for value in (1, None)),
    ("control", None),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_value_is_refused(field: str, value: Any) -> None:
    with pytest.raises(Unreadable, match=f"{field} is "):
        from_json(json.dumps({**json.loads(TWO_TEXT), field: value}))


def test_no_number_is_refused() -> None:
    with pytest.raises(Unreadable):
        from_json(TWO_TEXT.replace('"log_e":', '"log_e":NaN,"x":'))
