"""An error as one line: its parts stay apart, and a part that is missing leaves no mark."""

from __future__ import annotations

import pytest

from eyeflow.base.errors import EyeflowError


@pytest.mark.parametrize(
    ("cause", "next_step", "brief", "whole"),
    [
        ("", "", "no room", "no room"),
        ("/data: No space left", "Free space.", "no room: /data: No space left", "no room: /data: No space left. Free space"),
        ("It is full.", "", "no room: It is full", "no room: It is full"),
        ("", "Free space.", "no room", "no room. Free space"),
    ],
)  # fmt: skip
def test_an_error_in_one_line(cause: str, next_step: str, brief: str, whole: str) -> None:
    error = EyeflowError("no room", cause=cause, next_step=next_step)
    assert (error.brief, error.whole) == (brief, whole)
