"""Compression: the shared vectors, every content, and what is broken."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.board_link import codec
from eyeflow.board_link.codec import BrokenEncodingError, Encoding, compress, decompress, encode_smallest
from eyeflow.board_link.dictionary import DICTIONARIES

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/serial_link/codec.json").read_text("utf-8"))
VERSION = max(DICTIONARIES)
CONTENT = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([b"gpio.set_pin", b"\0\0\0", b"abc", b"\xff"]), max_size=40).map(b"".join),
)


def prior_of(vector: dict[str, Any]) -> bytes:
    return DICTIONARIES[vector["dictionary"]] if vector["dictionary"] else b""


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_each_program_has_its_bytes(vector: dict[str, Any]) -> None:
    plain, compressed = bytes.fromhex(vector["plain"]), bytes.fromhex(vector["compressed"])
    assert compress(plain, prior_of(vector)) == compressed
    assert decompress(compressed, vector["size"], prior_of(vector)) == plain


@pytest.mark.parametrize("vector", VECTORS["broken"], ids=lambda vector: vector["name"])
def test_each_broken_one_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(BrokenEncodingError):
        decompress(bytes.fromhex(vector["compressed"]), vector["size"])


@settings(max_examples=60)
@given(CONTENT, st.sampled_from([b"", b"x", DICTIONARIES[VERSION]]))
def test_every_content_comes_back(content: bytes, prior: bytes) -> None:
    assert decompress(compress(content, prior), len(content), prior) == content


@given(st.binary(max_size=60), st.integers(1, 200))
def test_random_bytes_give_the_announced_size_or_are_refused(data: bytes, size: int) -> None:
    with contextlib.suppress(BrokenEncodingError):
        assert len(decompress(data, size)) == size


def test_the_smallest_encoding_is_chosen() -> None:
    noise = random.Random(2).randbytes(200)
    assert encode_smallest(noise, VERSION).encoding is Encoding.RAW
    assert encode_smallest(b"ab" * 200, VERSION).encoding is Encoding.COMPRESSED
    known = encode_smallest(DICTIONARIES[VERSION][40:140], VERSION)
    assert (known.encoding, known.dictionary) == (Encoding.WITH_DICTIONARY, VERSION)


def test_a_dictionary_that_we_do_not_know_is_not_used() -> None:
    assert encode_smallest(DICTIONARIES[VERSION][40:140], 60_000).encoding is not Encoding.WITH_DICTIONARY


def test_no_match_costs_more_than_its_literals() -> None:
    """The encoder takes the cheapest tokens: never more than a literal for each byte."""
    for seed in range(5):
        data = bytes(random.Random(seed).choices(range(40), k=300))
        assert len(compress(data)) <= (9 * len(data) + 7) // 8


@pytest.mark.parametrize(
    "data", [bytes(7000), b"\0\1" * 3500, (bytes(70) + b"\1") * 100], ids=["zeros", "pairs", "runs"]
)
def test_equal_bytes_do_not_cost_the_square_of_their_number(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted and not timed: how often two places are compared. Without a bound it was millions of times."""
    compared = [0]
    real = codec._common

    def counted(buffer: bytes, place: int, at: int) -> int:
        compared[0] += 1
        return real(buffer, place, at)

    monkeypatch.setattr(codec, "_common", counted)
    assert decompress(compress(data), len(data)) == data
    assert compared[0] <= 80 * len(data)
