"""Tokens, their values, and what the lexer says about text that has none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.compiler.lexer import tokenize
from eyeflow.compiler.source import SOURCE_SIZE_BYTES_MAX, Position, Source, decode_source
from eyeflow.compiler.tokens import RESERVED, TokenKind


def kinds(source: str) -> list[tuple[TokenKind, str]]:
    tokens, problems = tokenize(source)
    assert not problems
    return [(token.kind, token.text) for token in tokens[:-1]]


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("42", TokenKind.INT, 42),
        ("1_000", TokenKind.INT, 1000),
        ("007", TokenKind.INT, 7),
        ("0x2A", TokenKind.INT, 42),
        ("0xff_ff", TokenKind.INT, 65535),
        ("0b1010", TokenKind.INT, 10),
        ("9223372036854775807", TokenKind.INT, 2**63 - 1),
        ("0.5", TokenKind.FLOAT, 0.5),
        ("1e-3", TokenKind.FLOAT, 0.001),
        ("2.5e6", TokenKind.FLOAT, 2.5e6),
        ("1_0.0_1", TokenKind.FLOAT, 10.01),
        ("1e3", TokenKind.FLOAT, 1000.0),
        ("0s", TokenKind.DURATION, 0),
        ("500us", TokenKind.DURATION, 500),
        ("500ms", TokenKind.DURATION, 500_000),
        ("2s", TokenKind.DURATION, 2_000_000),
        ("5min", TokenKind.DURATION, 300_000_000),
        ("1h30min", TokenKind.DURATION, 5_400_000_000),
        ("1d2h3min4s5ms6us", TokenKind.DURATION, 93_784_005_006),
        ("1_000ms", TokenKind.DURATION, 1_000_000),
    ],
)
def test_numbers_and_durations(text: str, kind: TokenKind, number: float) -> None:
    tokens, problems = tokenize(text)
    assert not problems
    assert (tokens[0].kind, tokens[0].text, tokens[0].number) == (kind, text, number)
    assert type(tokens[0].number) is type(number)


def test_a_range_is_not_two_floats() -> None:
    assert kinds("0..10") == [(TokenKind.INT, "0"), (TokenKind.OPERATOR, ".."), (TokenKind.INT, "10")]
    assert [text for _, text in kinds("20.0..120.0")] == ["20.0", "..", "120.0"]


def test_operators_take_the_longest_match() -> None:
    assert [text for _, text in kinds("a<<b<=c<d=>e==f=g..h.i != --j")] == (
        ["a", "<<", "b", "<=", "c", "<", "d", "=>", "e", "==", "f", "=", "g", "..", "h", ".", "i", "!=", "-", "-", "j"]
    )


def test_texts_have_pieces() -> None:
    tokens, problems = tokenize(r'"a\n\t\"\\\{\}\u{1F525} {temp} of {limit:1}!"')
    assert not problems
    plain, first, between, second, end = tokens[0].pieces
    assert plain.text == 'a\n\t"\\{}\U0001f525 '
    assert (between.text, end.text) == (" of ", "!")
    assert first.tokens is not None
    assert second.tokens is not None
    assert [token.text for token in first.tokens] == ["temp", ""]
    assert (first.decimals, second.decimals) == (None, 1)
    assert tokens[0].text[first.span.start : first.span.end] == "{temp}"


def test_an_interpolation_may_hold_calls_with_names_and_texts() -> None:
    tokens, problems = tokenize('"{f(a: 1, b: "x{y}")} {list[0]:2}"')
    assert not problems
    call, _, element = tokens[0].pieces
    assert call.tokens is not None
    assert [token.text for token in call.tokens] == ["f", "(", "a", ":", "1", ",", "b", ":", '"x{y}"', ")", ""]
    assert element.decimals == 2


def test_comments_ride_on_the_next_token() -> None:
    tokens, problems = tokenize("# one\na # two \n# three\n\nb\n# four")
    assert not problems
    assert [comment.text for comment in tokens[0].comments] == ["# one"]
    assert [(comment.text, comment.own_line) for comment in tokens[1].comments] == [("# two", False), ("# three", True)]
    assert [comment.text for comment in tokens[2].comments] == ["# four"]
    assert [token.line_start for token in tokens[:2]] == [True, True]


def test_a_hash_in_a_text_is_no_comment() -> None:
    assert kinds('"#a"') == [(TokenKind.TEXT, '"#a"')]


def test_only_the_first_token_of_a_line_starts_it() -> None:
    tokens, _ = tokenize("a b\r\n\tc d")
    assert [token.line_start for token in tokens] == [True, False, True, False, False]


def test_a_span_gives_back_the_text_of_its_token() -> None:
    source = 'rule x {\n  let a = "é{b}" + 0x1F >= 5ms # c\n}'
    for token in tokenize(source)[0]:
        assert source[token.span.start : token.span.end] == token.text


def test_a_whole_source_may_be_large_but_not_larger() -> None:
    tokenize("#" * SOURCE_SIZE_BYTES_MAX)
    with pytest.raises(EyeflowError) as refused:
        tokenize("#" * 10_000_000)
    assert refused.value.code == "source_too_large"
    assert refused.value.exit_code is ExitCode.PROBLEMS
    assert "10,000,000 bytes, at most 1,000,000" in refused.value.message


def test_the_size_of_a_source_is_counted_in_bytes() -> None:
    with pytest.raises(EyeflowError):
        tokenize("#" + "é" * (SOURCE_SIZE_BYTES_MAX // 2))


def test_bytes_are_decoded_and_a_byte_order_mark_dropped() -> None:
    assert decode_source("rule é".encode(), "a.eye") == "rule é"
    assert decode_source(b"\xef\xbb\xbfrule", "a.eye") == "rule"


@pytest.mark.parametrize(
    ("data", "code", "part"),
    [
        (b"rule\n\xff", "source_not_utf8", "byte 5 is 0xff"),
        (b"\xef\xbb\xbfab\xe9", "source_not_utf8", "byte 5 is 0xe9"),
        (b"ru\xc3", "source_not_utf8", "byte 2 is 0xc3"),
        ("é\0".encode(), "source_has_nul", "byte 2 is NUL"),
        (b"#" * (SOURCE_SIZE_BYTES_MAX + 1), "source_too_large", "1,000,001 bytes"),
    ],
)
def test_bytes_that_are_no_source_are_refused(data: bytes, code: str, part: str) -> None:
    with pytest.raises(EyeflowError) as refused:
        decode_source(data, "a.eye")
    assert refused.value.code == code
    assert part in refused.value.message
    assert refused.value.next_step
    assert refused.value.exit_code is ExitCode.PROBLEMS


def test_positions_count_from_one() -> None:
    source = Source("ab\n\nc\r\n")
    assert [source.position(offset) for offset in (0, 2, 3, 4, 7)] == (
        [Position(1, 1), Position(1, 3), Position(2, 1), Position(3, 1), Position(4, 1)]
    )
    assert [source.line_text(line) for line in (1, 2, 3, 4)] == ["ab", "", "c", ""]


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_tokens_in_order(source: str) -> None:
    tokens, problems = tokenize(source)
    assert tokens[-1].kind is TokenKind.END
    starts = [token.span.start for token in tokens]
    assert starts == sorted(starts)
    for span in [token.span for token in tokens] + [problem.span for problem in problems]:
        assert 0 <= span.start <= span.end <= len(source)


@given(st.lists(st.sampled_from([*sorted(RESERVED), "x", "42", "0.5", "2s", '"t"', "==", "(", ")", "{", "..", "-"])))
def test_tokens_survive_a_round_trip(words: list[str]) -> None:
    assert [text for _, text in kinds(" ".join(words))] == words
