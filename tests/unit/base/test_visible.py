"""What others wrote is shown as one line that steers no terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.base.visible import DIRECTIONS, steers, visible

ANY = st.text(st.characters(exclude_categories=()))
"""Also the halves of surrogate pairs, which names of files hold."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 👨‍👩‍👧", "plain ü 👨‍👩‍👧"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[2J\x9b", "\\x1b[2J\\x9b"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY)
def test_nothing_that_steers_is_left(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in DIRECTIONS for char in shown)
    assert shown.encode() and "\n" not in shown if text else shown == ""


@given(ANY)
def test_all_else_stays_as_it_is(text: str) -> None:
    plain = "".join(char for char in text if not steers(char))
    assert visible(plain) == plain


def test_control_a_mark_of_direction_is_no_control_character() -> None:
    """`isprintable` and the category of control characters alone would let these through."""
    assert {unicodedata.category(char) for char in DIRECTIONS} == {"Cf"}
