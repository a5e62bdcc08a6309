"""One meaning for a webhook's path: what the compiler takes is what a request finds."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.svm.addresses import PATH_CHARACTERS_MAX, path_problem, requested_path

PART = st.text(string.ascii_letters + string.digits + "-._~", min_size=1, max_size=8).filter(
    lambda part: part not in {".", ".."}
)


REFUSED = ["hooks", "/a%20b", "/a%2Fb", "/a b", "/a//b", "//", "/a/", "/./a", "/a/..", "/a?b", "/a#b", "/tür", "/a\n"]


@pytest.mark.parametrize("path", ["", "/" + "a" * PATH_CHARACTERS_MAX, *REFUSED])
def test_a_path_that_a_request_may_write_otherwise_is_refused(path: str) -> None:
    assert path_problem(path)


@given(parts=st.lists(PART, min_size=1, max_size=4), escaped=st.sets(st.integers(0, 40)))
def test_a_path_is_found_however_a_client_escapes_it(parts: list[str], escaped: set[int]) -> None:
    path = "/" + "/".join(parts)
    assert path_problem(path) == ""
    raw = "".join(f"%{ord(one):02x}" if index in escaped and one != "/" else one for index, one in enumerate(path))
    assert requested_path(raw.encode()) == path


@given(raw=st.binary(max_size=30))
def test_no_request_makes_an_address_of_what_is_none(raw: bytes) -> None:
    path = requested_path(b"/" + raw)
    assert path_problem(path) or requested_path(path.encode()) == path


def test_an_escaped_slash_is_no_slash() -> None:
    assert requested_path(b"/hooks%2Fdoor") == "/hooks%2Fdoor"
