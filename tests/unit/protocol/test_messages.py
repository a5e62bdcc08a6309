from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from eyeflow.protocol import messages as m
from eyeflow.protocol import wire
from eyeflow.protocol.wire import ProtocolError

ID = "ab" * 32
EXAMPLES: list[m.Message] = [
    m.Hello(1, 1, "eyeflow 0.1", "node-1", 3, 99, 7, bytes(32), (m.InstalledRule("pump", ID, (("limit", 1.5),)),)),
    m.Welcome(1, "eyeflow 0.1", ID, 8, 0, 10, bytes(64)),
    m.Manifest(b"body", bytes(64)),
    m.Fetch(8, (ID, "cd" * 32)),
    m.Install(8, "pump", ID, b"\x7fSVM"),
    m.ManifestResult(8, (m.RuleResult("pump", ID, m.RuleState.REFUSED, "not granted"),)),
    m.Status(1, 3, 99, 8, (m.Health("rule", "pump", m.HealthState.RUNNING, "", ID, (("executions", 7),)),)),
    m.Recall(3, 98),
    m.Recalled(3, 98, bytes(32)),
    m.Head(bytes(16), 3, 98, bytes(32)),
]

naturals = st.integers(0, 2**63 - 1)
versions = st.integers(1, 255)
ids = st.binary(min_size=32, max_size=32).map(bytes.hex)
rules = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
short = st.text(st.characters(exclude_categories=["Cs"]), max_size=16)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | short
params = st.dictionaries(rules, scalars, max_size=4).map(lambda one: tuple(sorted(one.items())))
counters = st.dictionaries(short, naturals, max_size=4).map(lambda one: tuple(sorted(one.items())))


def lists(item: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(item, max_size=3).map(tuple)


installed = st.builds(m.InstalledRule, rules, ids, params)
results = st.builds(m.RuleResult, rules, ids | st.just(""), st.sampled_from(m.RuleState), short)
health = st.builds(
    m.Health,
    st.sampled_from(["rule", "port"]),
    short,
    st.sampled_from(m.HealthState),
    short,
    ids | st.just(""),
    counters,
)
any_message = st.one_of(
    st.builds(
        m.Hello,
        versions,
        versions,
        short,
        names,
        naturals,
        naturals,
        naturals,
        st.binary(min_size=32, max_size=32),
        lists(installed),
    ),
    st.builds(
        m.Welcome, versions, short, ids, naturals, naturals, st.integers(1, 3600), st.binary(min_size=64, max_size=64)
    ),
    st.builds(m.Manifest, st.binary(min_size=1, max_size=64), st.binary(min_size=64, max_size=64)),
    st.builds(m.Fetch, naturals, lists(ids)),
    st.builds(m.Install, naturals, rules, ids, st.binary(max_size=64)),
    st.builds(m.ManifestResult, naturals, lists(results)),
    st.builds(m.Status, naturals, naturals, naturals, naturals, lists(health)),
    st.builds(m.Recall, naturals, naturals),
    st.builds(m.Recalled, naturals, naturals, st.just(b"") | st.binary(min_size=32, max_size=32)),
    st.builds(m.Head, st.binary(min_size=16, max_size=16), naturals, naturals, st.binary(min_size=32, max_size=32)),
)
entries = st.lists(
    st.builds(m.ManifestEntry, rules, ids, short, params), max_size=4, unique_by=lambda one: one.rule
).map(lambda found: tuple(sorted(found, key=lambda one: one.rule)))
signers = st.sets(st.binary(min_size=32, max_size=32), max_size=3).map(lambda keys: tuple(sorted(keys)))


@seed(1)
@settings(max_examples=300, deadline=None)
@given(any_message)
def test_decode_undoes_encode(message: m.Message) -> None:
    data = m.encode_message(message)
    assert m.decode_message(data) == message
    assert m.encode_message(m.decode_message(data)) == data


@seed(2)
@settings(max_examples=150, deadline=None)
@given(st.builds(m.WantedManifest, ids, names, naturals, naturals, entries, signers))
def test_decode_undoes_encode_of_manifests(manifest: m.WantedManifest) -> None:
    assert m.decode_manifest(m.encode_manifest(manifest)) == manifest


@seed(3)
@settings(max_examples=600, deadline=None)
@given(st.sampled_from(EXAMPLES), st.data())
def test_changed_bytes_are_refused_or_are_another_message(message: m.Message, data: st.DataObject) -> None:
    """There is one encoding of each message: whatever else is accepted encodes to exactly what was received."""
    good = m.encode_message(message)
    position = data.draw(st.integers(0, len(good) - 1))
    bad = data.draw(
        st.sampled_from(
            [
                good[:position],
                good + b"\0",
                good[:position] + bytes([good[position] ^ 1 << data.draw(st.integers(0, 7))]) + good[position + 1 :],
                good[:position] + good[position + 1 :],
            ]
        )
    )
    try:
        found = m.decode_message(bad)
    except ProtocolError as error:
        assert error.message and error.next_step
    else:
        assert m.encode_message(found) == bad
        assert found != message


@seed(4)
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(ProtocolError):
        m.decode_message(noise)


def packed(message: m.Message, **change: Any) -> bytes:
    code, plain = msgpack.unpackb(m.encode_message(message))
    plain = {**plain, **change}
    return bytes(msgpack.packb([code, {name: value for name, value in plain.items() if value is not ...}]))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda one: type(one).__name__)
def test_unknown_missing_and_mistyped_fields_are_refused(message: m.Message) -> None:
    with pytest.raises(ProtocolError, match="unknown field `more`"):
        m.decode_message(packed(message, more=1))
    for field in fields(message):
        with pytest.raises(ProtocolError, match=f"lacks the field `{field.name}`"):
            m.decode_message(packed(message, **{field.name: ...}))
        for wrong in (None, -1, 2**64 - 1, True, 1.5, "x" * 5000, b"", [None] * 2000, {"a": None}):
            if (type(message), field.name, wrong) == (m.Recalled, "hash", b""):  # allowed: the node does not hold it
                continue
            if (field.name, wrong) == ("program", b""):  # allowed: the coordinator lost the program
                continue
            with pytest.raises(ProtocolError, match=field.name):
                m.decode_message(packed(message, **{field.name: wrong}))


def test_malformed_outer_shapes_are_refused() -> None:
    for plain in ([], [1], [1, {}, 2], {1: 2}, 3, ["hello", {}], [True, {}], [99, {}], [1, []]):
        with pytest.raises(ProtocolError):
            m.decode_message(bytes(msgpack.packb(plain)))
    with pytest.raises(ProtocolError, match="twice"):
        m.decode_message(b"\x92\x03\x82\xa1a\x01\xa1a\x01")
    with pytest.raises(ProtocolError, match="extension"):
        m.decode_message(b"\x92\x03\xd4\x05\x00")
    with pytest.raises(ProtocolError, match="longer than"):
        m.decode_message(bytes(wire.MESSAGE_BYTES_MAX + 1))
    with pytest.raises(ProtocolError):
        m.decode_message(b"\x91" * 5000 + b"\xc0")


def test_a_longer_encoding_of_the_same_values_is_refused() -> None:
    good = m.encode_message(m.Fetch(8, ()))
    assert good == b"\x92\x04\x82\xb0manifest_version\x08\xabprogram_ids\x90"
    with pytest.raises(ProtocolError, match="one encoding"):
        m.decode_message(good.replace(b"\x08", b"\xcc\x08"))
    reordered = b"\x92\x04\x82\xabprogram_ids\x90\xb0manifest_version\x08"
    with pytest.raises(ProtocolError, match="one encoding"):
        m.decode_message(reordered)


def test_what_would_be_refused_is_not_sent() -> None:
    hello = EXAMPLES[0]
    assert isinstance(hello, m.Hello)
    for change in ({"node": "../x"}, {"nonce": b""}, {"epoch": -1}, {"software": "x" * 65}, {"protocol_min": 0}):
        with pytest.raises(ProtocolError):
            m.encode_message(replace(hello, **change))
    with pytest.raises(ProtocolError, match="NaN"):
        m.encode_message(replace(hello, installed=(m.InstalledRule("pump", ID, (("x", float("nan")),)),)))


def test_manifests_name_each_rule_once_in_order() -> None:
    first, second = m.ManifestEntry("a", ID, "d"), m.ManifestEntry("b", ID, "d")
    good = m.WantedManifest(ID, "node", 1, 1, (first, second))
    assert m.decode_manifest(m.encode_manifest(good)) == good
    for bad in ((second, first), (first, first)):
        with pytest.raises(ProtocolError, match="ascend"):
            m.encode_manifest(replace(good, entries=bad))
    with pytest.raises(ProtocolError, match="ascend"):
        m.encode_manifest(replace(good, signers=(bytes(32), bytes(32))))


def test_what_is_signed_differs_for_each_purpose_and_value() -> None:
    signed = {
        m.link_bytes(ID, "node", bytes(32)),
        m.join_bytes(ID, "node", bytes(32)),
        m.welcome_bytes(ID, "node", bytes(32), 1, 1),
        m.welcome_bytes(ID, "node", bytes(32), 1, 2),
        m.welcome_bytes(ID, "node", bytes(32), 2, 1),
        m.link_bytes(ID, "nod", b"e" + bytes(31)),
        m.manifest_bytes(bytes(32)),
    }
    assert len(signed) == 7
