"""Frames: the shared vectors, every content, noise and damage."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.board_link.frames import PAYLOAD_BYTES_MAX, WIRE_BYTES_MAX, Frame, Receiver, cobs, encode_frame, uncobs

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/serial_link/frames.json").read_text("utf-8"))
FRAMES = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=PAYLOAD_BYTES_MAX))
HELLO = encode_frame(Frame(1, 1))


def frame_of(vector: dict[str, Any]) -> Frame:
    return Frame(vector["kind"], vector["sequence"], bytes.fromhex(vector["payload"]))


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=lambda vector: vector["name"])
def test_each_frame_has_its_bytes(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["wire"])
    assert encode_frame(frame_of(vector)) == wire
    assert Receiver().feed(wire) == [frame_of(vector)]


@pytest.mark.parametrize("piece", [1, 3, 10_000])
@pytest.mark.parametrize("vector", VECTORS["streams"], ids=lambda vector: vector["name"])
def test_each_stream_has_its_frames(vector: dict[str, Any], piece: int) -> None:
    receiver = Receiver()
    wire = bytes.fromhex(vector["wire"])
    found = [frame for at in range(0, len(wire), piece) for frame in receiver.feed(wire[at : at + piece])]
    assert found == [frame_of(each) for each in vector["frames"]]
    assert (receiver.good, receiver.bad) == (len(found), vector["bad"])


def test_the_bytes_of_the_page() -> None:
    """HELLO with sequence 1, as worked out by hand in docs/serial-link.md."""
    assert HELLO.hex(" ") == "00 07 01 01 28 13 c5 2f 00"


@given(FRAMES)
def test_every_frame_comes_back(frame: Frame) -> None:
    wire = encode_frame(frame)
    assert len(wire) <= WIRE_BYTES_MAX
    assert wire[0] == wire[-1] == 0
    assert 0 not in wire[1:-1]
    assert Receiver().feed(wire) == [frame]


@given(st.binary(max_size=253))
def test_stuffing_is_undone(content: bytes) -> None:
    assert uncobs(cobs(content)) == content


@given(st.lists(FRAMES, max_size=4), st.binary(max_size=300), st.integers(1, 60))
def test_noise_between_frames_costs_no_frame_after_the_next_delimiter(
    frames: list[Frame], noise: bytes, piece: int
) -> None:
    wire = b"".join(noise + encode_frame(frame) for frame in frames)
    receiver = Receiver()
    found = [frame for at in range(0, len(wire), piece) for frame in receiver.feed(wire[at : at + piece])]
    assert [frame for frame in found if frame in frames] == frames


def test_a_million_random_bytes_are_no_frame() -> None:
    noise = random.Random(1).randbytes(1_000_000)
    receiver = Receiver()
    found = [frame for at in range(0, len(noise), 997) for frame in receiver.feed(noise[at : at + 997])]
    assert found == []
    assert receiver.bad > 3000
    assert receiver.feed(HELLO) == [Frame(1, 1)]


def test_an_endless_stretch_takes_no_memory() -> None:
    receiver = Receiver()
    for _ in range(1000):
        receiver.feed(b"U" * 1000)
    assert len(receiver.unframed) <= 3 * WIRE_BYTES_MAX


@given(FRAMES, st.data())
def test_one_damaged_byte_is_noticed(frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(encode_frame(frame))
    at = data.draw(st.integers(1, len(wire) - 2))
    wire[at] ^= data.draw(st.integers(1, 255))
    assert all(found == frame for found in Receiver().feed(bytes(wire)))


def test_a_payload_too_long_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="129 bytes"):
        encode_frame(Frame(1, 1, bytes(129)))
