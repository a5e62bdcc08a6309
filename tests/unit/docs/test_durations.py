"""Durations in the documentation are taken by the options that they are given to: people copy them."""

from __future__ import annotations

import pytest

from eyeflow.base.reading import Unreadable
from eyeflow.cli.durations import duration_us, seconds

from .test_links import COMMANDS

DURATIONS = {"--observe", "--timeout", "--valid", "--period", "--replay"}


def test_durations_are_taken() -> None:
    given = [(page, w[n + 1]) for page, w in COMMANDS for n, word in enumerate(w[:-1]) if word in DURATIONS]
    assert len(given) > 5
    for page, text in given:
        assert text == "forever" or seconds()(text) > 0, page


@pytest.mark.parametrize(("text", "us"), [("5m", 300), ("5min", 300), ("1h30m", 5400), ("2m30s", 150), ("500ms", 0.5)])
def test_minutes_have_two_names(text: str, us: float) -> None:
    assert duration_us(text) == us * 1e6


@pytest.mark.parametrize("text", ["m", "5mm", "5mi", "5m5min", ""])
def test_other_words_are_no_durations(text: str) -> None:
    with pytest.raises(Unreadable):
        duration_us(text)
