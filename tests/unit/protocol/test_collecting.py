"""Bundles of audit records, what a coordinator signs, and who may ask for what."""

from __future__ import annotations

import random

import pytest
import zstandard
from msgspec.structs import replace

from eyeflow.protocol import collecting as z
from eyeflow.protocol import wire
from eyeflow.protocol.audit import RECORD_BYTES_MAX
from eyeflow.protocol.outputs import Gather, Gathered, Send
from eyeflow.protocol.session import CoordinatorSession
from eyeflow.protocol.wire import ProtocolError
from unit.protocol.examples import COLLECT, COLLECTED, KEPT
from unit.protocol.sessions import COORDINATOR, KEY, OTHER, OWN, closed, hello, node_session, offer, ready


def coordinator_session(speaks: int = 3) -> CoordinatorSession:
    session = CoordinatorSession("node", OWN, offer(0))
    session.receive(hello(speaks=speaks))
    session.welcome(offer(0))
    return session


def test_a_bundle_gives_its_records_back() -> None:
    rng = random.Random(1)
    for records in ([b"x"], [rng.randbytes(rng.randrange(1, 5000)) for _ in range(200)]):
        assert z.unbundled(z.bundled(records)) == tuple(records)
    longest = rng.randbytes(RECORD_BYTES_MAX)
    assert z.unbundled(z.bundled([longest])) == (longest,)


def test_what_is_no_bundle_is_refused_with_a_reason() -> None:
    good = z.bundled([b"a record"] * 50)
    compress = zstandard.ZstdCompressor().compress
    plain = wire.pack([b"a record"])
    bad = {
        "nothing": b"",
        "nonsense": b"nonsense",
        "cut": good[:-3],
        "longer": good + b"\0",
        "two frames": good + good,
        "no list": compress(b"a record"),
        "an empty list": compress(wire.pack([])),
        "an empty record": compress(wire.pack([b""])),
        "a text": compress(wire.pack(["a record"])),
        "another encoding": compress(plain[:1] + b"\xc5\x00\x08" + plain[3:]),
        "too many": compress(wire.pack([b"x"] * (z.BUNDLE_RECORDS_MAX + 1))),
        "of unknown size": zstandard.ZstdCompressor(write_content_size=False).compress(plain),
    }
    for what, data in bad.items():
        with pytest.raises(ProtocolError):
            z.unbundled(data)
            pytest.fail(what)


def test_a_bundle_that_stands_for_gigabytes_is_refused_before_it_is_decompressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(z.BUNDLE_BYTES_MAX + 1))
    assert len(bomb) < 1000

    def decompress(*_: object, **__: object) -> bytes:
        raise AssertionError("it was decompressed")

    monkeypatch.setattr(zstandard, "ZstdDecompressor", decompress)
    with pytest.raises(ProtocolError, match="more than"):
        z.unbundled(bomb)


def test_bytes_that_are_changed_never_do_more_than_be_refused() -> None:
    rng = random.Random(2)
    good = z.bundled([rng.randbytes(40) for _ in range(50)])
    for _ in range(2000):
        data = bytearray(good)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            assert len(z.unbundled(bytes(data))) <= z.BUNDLE_RECORDS_MAX
        except ProtocolError:
            continue


def test_only_what_the_coordinator_signed_for_this_node_is_cosigned() -> None:
    signed = replace(KEPT, signature=KEY.sign(z.head_bytes(COORDINATOR, "node", KEPT)))
    assert z.is_cosigned(signed, COORDINATOR, KEY.public_key, "node")
    assert not z.is_cosigned(signed, COORDINATOR, OTHER.public_key, "node")
    assert not z.is_cosigned(signed, COORDINATOR, KEY.public_key, "other")
    for change in ({"seq": 99}, {"epoch": 4}, {"hash": bytes([1] * 32)}, {"time_us": 1}):
        assert not z.is_cosigned(replace(signed, **change), COORDINATOR, KEY.public_key, "node")


def test_numbers_that_contradict_each_other_are_no_message() -> None:
    with pytest.raises(ProtocolError):
        z.Collect(KEPT, 97, 1)
    for first, last, head in ((5, 4, 9), (5, 9, 8), (1, z.BUNDLE_RECORDS_MAX + 1, 2 * z.BUNDLE_RECORDS_MAX)):
        with pytest.raises(ProtocolError):
            z.Collected(3, first, last, head, b"x", None)


def test_a_node_hears_an_ask_and_answers_it() -> None:
    session = ready()
    assert session.receive(COLLECT) == (Gather(COLLECT),)
    assert session.collected(COLLECTED) == (Send(COLLECTED),)
    assert node_session().collected(COLLECTED) == ()
    assert closed(node_session().receive(COLLECT), "unexpected_message")


def test_a_coordinator_takes_one_answer_for_each_ask_and_none_that_it_did_not_ask_for() -> None:
    session = coordinator_session()
    assert closed(coordinator_session().receive(COLLECTED), "unexpected_message")
    assert session.collect(COLLECT) == (Send(COLLECT),)
    assert session.receive(replace(COLLECTED, epoch=4)) == ()
    assert session.collect(COLLECT) == (Send(COLLECT),)
    assert session.receive(COLLECTED) == (Gathered(COLLECTED),)
    assert session.receive(COLLECTED) == ()


def test_a_peer_that_is_too_old_is_asked_nothing() -> None:
    assert not coordinator_session(2).collects
    assert coordinator_session(2).collect(COLLECT) == ()
