"""One rule for numbers from any text, and reasons in plain words for everything that is no JSON, no TOML, no text."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.base import reading
from eyeflow.base.errors import ExitCode
from eyeflow.base.reading import (
    TooLarge,
    Unreadable,
    decode_utf8,
    exit_code,
    parse_float,
    parse_int,
    parse_json,
    parse_toml,
    read_at_once,
    read_text,
)

PYTHON_WORDS = (
    "set_int_max_str_digits",
    "invalid literal",
    "could not convert",
    "codec",
    "Exceeds",
    "recursion",
    "char ",
)
NO_NUMBER = ["nan", "-nan", "inf", "-Infinity", "1e400", "-1e999", "", " ", "1_0", "٣", "0x10", "1,5", "5 6", "1e", "."]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read(value: float) -> None:
    assert parse_float(repr(value)) == value
    assert parse_json(repr(value)) == value


@pytest.mark.parametrize("text", NO_NUMBER)
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    for read in (parse_float, parse_json, lambda number: parse_toml(f"x = {number}")):
        if read is parse_float or text not in ("1_0", "0x10"):
            with pytest.raises(Unreadable) as refused:
                read(text)
            assert not any(word in str(refused.value) for word in PYTHON_WORDS), refused.value


@given(st.integers(-(2**70), 2**70))
def test_whole_numbers_are_exact(value: int) -> None:
    assert parse_int(f" {value} ") == value == parse_json(str(value))


@pytest.mark.parametrize("text", ["", "1.0", "1e3", "9" * 5000, "٣", "1_000", "nan"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(Unreadable) as refused:
        parse_int(text)
    assert not any(word in str(refused.value) for word in PYTHON_WORDS) and len(str(refused.value)) < 120


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a value is missing, at character 1"),
        ("{} x", "more text follows the value, at character 4"),
        ("{a: 1}", "a name in double quotes is missing"),
        ('{"a" 1}', "a colon is missing"),
        ('{"a": 1 "b": 2}', "a comma is missing"),
        ('{"a": "x', "a text has no end"),
        ('{"a": "x\ny"}', "a text holds a control character, at line 1"),
        (r'{"a": "\q"}', "unknown escape"),
        (r'{"a": "\u12"}', "broken"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1e400}', "does not fit a float"),
        ("9" * 5000, "a number has too many digits"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_is_wrong_is_told_in_own_words(text: str, reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        parse_json(text)
    assert str(refused.value).startswith("not JSON: ") and reason in str(refused.value)
    assert not any(word in str(refused.value) for word in PYTHON_WORDS)


def test_each_word_of_the_json_module_has_words_of_ours() -> None:
    said = set()
    for text in ("", "1 2", "{1}", '{"a":1,}', "[1,]", '{"a"}', "[1 2]", '"', '"\n"', r'"\q"', r'"\u1"'):
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            said.add(error.msg)
    assert said <= reading._JSON_WORDS.keys() and len(said) >= 8


@given(st.binary(max_size=40))
def test_no_bytes_do_anything_but_give_a_value_or_a_reason(data: bytes) -> None:
    try:
        value = parse_json(data)
    except Unreadable as error:
        assert str(error) and not any(word in str(error) for word in PYTHON_WORDS)
    else:
        assert not isinstance(value, float) or math.isfinite(value)


def test_names_that_come_twice_are_refused_on_request() -> None:
    assert parse_json('{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(Unreadable, match="a name twice"):
        parse_json('{"a": 1, "a": 2}', unique_names=True)


@pytest.mark.parametrize(
    "text", ["x = nan", "x = -inf", "x = 1e400", f"x = {'9' * 5000}", f"x = {'[' * 50_000}", "x =", "x = 2026-02-30"]
)
def test_toml_that_is_wrong_is_told_in_own_words(text: str) -> None:
    with pytest.raises(Unreadable) as refused:
        parse_toml(text)
    assert not any(word in str(refused.value) for word in PYTHON_WORDS), refused.value


def test_a_daemon_waits_for_no_pipe_and_no_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/tty0") if Path("/dev/tty0").exists() else tmp_path):
        with pytest.raises((Unreadable, OSError)) as refused:
            read_at_once(path)
        assert exit_code(refused.value) in (ExitCode.PROBLEMS, ExitCode.ENVIRONMENT)
    (tmp_path / "x").write_bytes(b"ab")
    assert read_at_once(tmp_path / "x", 2) == b"ab"
    with pytest.raises(TooLarge):
        read_at_once(tmp_path / "x", 1)


def test_text_files_are_bounded_and_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfa")
    assert read_text(path) == "a"
    path.write_bytes(b"ab\xff")
    with pytest.raises(Unreadable, match="not UTF-8: byte 2 is 0xff"):
        read_text(path)
    with pytest.raises(Unreadable, match="more than 16777216 bytes"):
        read_text(Path("/dev/zero"))
    with pytest.raises(Unreadable):
        decode_utf8(b"\xed\xa0\x80")
