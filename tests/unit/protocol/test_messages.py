from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from eyeflow.protocol import collecting as z
from eyeflow.protocol import executions as x
from eyeflow.protocol import lines as n
from eyeflow.protocol import messages as m
from eyeflow.protocol import opening as o
from eyeflow.protocol import replays as y
from eyeflow.protocol import wire
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.versions import PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN, VERSIONS
from eyeflow.protocol.wire import ProtocolError
from unit.protocol.examples import (
    ASKED,
    DIFFERED,
    EVIDENCE,
    EXAMPLES,
    FAILED,
    ID,
    LISTEN,
    LISTENED,
    NEW_EXAMPLES,
    OPENINGS,
    REPLAYED,
    TRIAL,
    extensions,
    hellos,
    manifests_of,
    messages_of,
    welcomes,
)

OPENING = o.OPENING
BOTH = pytest.mark.parametrize("version", VERSIONS)
SAID = [
    (version, one) for version in VERSIONS for one in [*EXAMPLES, *OPENINGS, *(NEW_EXAMPLES if version > 2 else [])]
]
"""Each kind of message in each version that has it."""


class Spoken:
    """Encodes and decodes any message: openings alike in every version, the others as one version writes them."""

    def __init__(self, version: int) -> None:
        self.version = VERSIONS[version]

    def encode(self, message: Any) -> bytes:
        return OPENING.encode(message) if isinstance(message, o.Opening) else self.version.encode(message)

    def decode(self, data: bytes, like: Any) -> Any:
        return OPENING.decode(data) if isinstance(like, o.Opening) else self.version.decode(data)


def test_two_versions_are_spoken() -> None:
    assert list(VERSIONS) == [PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX] == [2, 3]
    assert all(version.number == number for number, version in VERSIONS.items())
    status = EXAMPLES[4]
    assert VERSIONS[2].encode(status) != VERSIONS[3].encode(status), "else there is one version only"


@BOTH
@seed(1)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_decode_undoes_encode(version: int, data: st.DataObject) -> None:
    message = data.draw(messages_of(version) | hellos | welcomes)
    spoken = Spoken(version)
    written = spoken.encode(message)
    assert spoken.decode(written, message) == message
    assert spoken.encode(spoken.decode(written, message)) == written


@BOTH
@seed(2)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_decode_undoes_encode_of_manifests(version: int, data: st.DataObject) -> None:
    manifest = data.draw(manifests_of(version))
    body = VERSIONS[version].encode_manifest(manifest)
    assert VERSIONS[version].decode_manifest(body) == manifest
    for other in VERSIONS.keys() - {version}:
        with pytest.raises(ProtocolError, match="protocol"):
            VERSIONS[other].decode_manifest(body)


@seed(7)
@settings(max_examples=150, deadline=None)
@given(messages_of(3))
def test_an_older_peer_is_told_no_evidence_and_no_executions(message: m.Message) -> None:
    new = x.Differences | x.Failures | y.Replay | y.Replayed | z.Collect | z.Collected | n.Listen | n.Listened
    if isinstance(message, new):
        with pytest.raises(ProtocolError, match="version 2"):
            VERSIONS[2].encode(message)
        return
    found = VERSIONS[2].decode(VERSIONS[2].encode(message))
    assert found == (replace(message, evidence=()) if isinstance(message, m.Status) else message)


@seed(8)
@settings(max_examples=100, deadline=None)
@given(manifests_of(3))
def test_an_older_node_is_told_of_no_trial_and_its_candidates_only_watch(manifest: m.WantedManifest) -> None:
    found = VERSIONS[2].decode_manifest(VERSIONS[2].encode_manifest(manifest))
    entries = (replace(one, share=0, keyless=False, trial=None, is_return=False) for one in manifest.entries)
    assert found == replace(manifest, entries=tuple(entries))


@seed(9)
@settings(max_examples=200, deadline=None)
@given(hellos, extensions)
def test_extensions_that_nobody_knows_are_kept_and_signed(hello: o.Hello, more: o.Extensions) -> None:
    extended = replace(hello, extensions=more)
    found = OPENING.decode(OPENING.encode(extended))
    assert isinstance(found, o.Hello) and found.extensions == more
    assert replace(found, extensions=hello.extensions) == hello, "nothing else follows from them"
    welcome = OPENINGS[1]
    assert isinstance(welcome, o.Welcome)
    assert (o.welcome_bytes(hello, welcome) == o.welcome_bytes(extended, welcome)) is (more == hello.extensions)


@pytest.mark.parametrize(
    "bad",
    [
        tuple((f"n{number:02}", b"") for number in range(o.EXTENSIONS_MAX + 1)),
        (("a", bytes(o.EXTENSION_BYTES_MAX + 1)),),
        (("a", b""), ("a", b"")),
        (("b", b""), ("a", b"")),
        (("A", b""),),
        (("", b""),),
        (("a" * 64, b""),),
    ],
)
def test_extensions_are_bounded_in_number_and_size(bad: o.Extensions) -> None:
    hello = OPENINGS[0]
    assert isinstance(hello, o.Hello)
    plain = msgpack.unpackb(OPENING.encode(hello))
    with pytest.raises(ProtocolError):
        OPENING.decode(msgpack.packb({**plain, "extensions": bad}))
    good = tuple((f"n{number:02}", bytes(o.EXTENSION_BYTES_MAX)) for number in range(o.EXTENSIONS_MAX))
    full = replace(hello, extensions=good)
    assert OPENING.decode(OPENING.encode(full)) == full, "the control: the bound itself is allowed"


@seed(3)
@settings(max_examples=900, deadline=None)
@given(said=st.sampled_from(SAID), data=st.data())
def test_changed_bytes_are_refused_or_are_another_message(said: tuple[int, Any], data: st.DataObject) -> None:
    """There is one encoding of each message: whatever else is accepted encodes to exactly what was received."""
    version, example = said
    spoken = Spoken(version)
    good = spoken.encode(example)
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
        found = spoken.decode(bad, example)
    except ProtocolError as error:
        assert error.message and error.next_step
    else:
        assert spoken.encode(found) == bad
        assert found != example


@BOTH
@seed(4)
@settings(max_examples=300, deadline=None)
@given(noise=st.binary(max_size=200))
def test_noise_is_refused(version: int, noise: bytes) -> None:
    for decode in (OPENING.decode, VERSIONS[version].decode, VERSIONS[version].decode_manifest):
        with pytest.raises(ProtocolError):
            decode(noise)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=4),
    max_leaves=12,
)


@BOTH
@seed(10)
@settings(max_examples=300, deadline=None)
@given(
    code=st.integers(0, 12),
    name=st.sampled_from(["health", "results", "entries", "extensions", "hash", "evidence"]),
    value=plain_values,
)
def test_any_msgpack_is_refused_with_a_reason(version: int, code: int, name: str, value: Any) -> None:
    for plain in (value, {"type": code, name: value}, {"protocol": version, name: value}, {name: value, "type": code}):
        for decode in (OPENING.decode, VERSIONS[version].decode, VERSIONS[version].decode_manifest):
            with pytest.raises(ProtocolError) as refused:
                decode(msgpack.packb(plain))
            assert 0 < len(refused.value.message) <= wire.FAULT_CHARS_MAX


def packed(spoken: Spoken, message: Any, **change: Any) -> bytes:
    plain = {**msgpack.unpackb(spoken.encode(message)), **change}
    return bytes(msgpack.packb({name: value for name, value in plain.items() if value is not ...}))


ALLOWED: set[tuple[type, str, Any]] = {
    (m.Recalled, "hash", b""),  # the node does not hold the record
    (m.Install, "program", b""),  # the coordinator lost the program
    (m.Manifest, "body", b"\0"),
    (m.Status, "board", None),  # a node is no board
    (z.Collected, "states", None),  # records are behind
    (n.Listen, "since", None),  # the newest ones
}


@pytest.mark.parametrize(("version", "message"), SAID, ids=[f"{number}-{type(one).__name__}" for number, one in SAID])
def test_unknown_missing_and_mistyped_fields_are_refused(version: int, message: Any) -> None:
    spoken = Spoken(version)
    with pytest.raises(ProtocolError, match="unknown field `more`"):
        spoken.decode(packed(spoken, message, more=1), message)
    written = msgpack.unpackb(spoken.encode(message)).keys()
    for name in [field.name for field in fields(message) if field.name in written]:
        with pytest.raises(ProtocolError, match=f"missing required field `{name}`|one encoding"):
            spoken.decode(packed(spoken, message, **{name: ...}), message)
        for wrong in (None, -1, 2**64 - 1, True, 1.5, "x" * 5000, b"", [None] * 3000, {"a": None}):
            if isinstance(wrong, bytes | int | None) and (type(message), name, wrong) in ALLOWED:
                continue
            with pytest.raises(ProtocolError, match=name):
                spoken.decode(packed(spoken, message, **{name: wrong}), message)


@BOTH
def test_malformed_outer_shapes_are_refused(version: int) -> None:
    decode = VERSIONS[version].decode
    for plain in ([], [3], {}, {1: 2}, 3, {"type": 99}, {"type": True}, {"type": "3"}, {"type": 3}, None):
        with pytest.raises(ProtocolError):
            decode(bytes(msgpack.packb(plain)))
    with pytest.raises(ProtocolError, match="longer than"):
        decode(bytes(wire.MESSAGE_BYTES_MAX + 1))
    for deep in (b"\x91" * 200_000 + b"\xc0", b"\x81\xa1a" + b"\x91" * 200_000 + b"\xc0"):
        with pytest.raises(ProtocolError):
            decode(deep)
    for huge in (b"\xdd\x7f\xff\xff\xff", b"\xdf\x7f\xff\xff\xff", b"\xc6\x7f\xff\xff\xff"):
        with pytest.raises(ProtocolError):
            decode(b"\x83\xa4type\x04\xb0manifest_version\x01\xabprogram_ids" + huge)


ENCODED = b"\x83\xa4type\x04\xb0manifest_version\x08\xabprogram_ids\x90"


@BOTH
@pytest.mark.parametrize(
    "other",
    [
        ENCODED.replace(b"\x08", b"\xcc\x08"),  # a longer integer
        ENCODED.replace(b"\xa4type", b"\xd9\x04type"),  # a longer text
        ENCODED.replace(b"\x90", b"\xdc\0\0"),  # a longer list
        b"\xde\0\x03" + ENCODED[1:],  # a longer map
        b"\x83\xa4type\x04\xabprogram_ids\x90\xb0manifest_version\x08",  # another order
        b"\x83\xb0manifest_version\x08\xa4type\x04\xabprogram_ids\x90",
        b"\x84" + ENCODED[1:] + b"\xabprogram_ids\x90",  # a field twice
        b"\x84\xa4type\x04\xb0manifest_version\x07" + ENCODED[7:],
        ENCODED + b"\xc0",  # something behind it
        ENCODED.replace(b"\x08", b"\xd4\x05\x00"),  # an extension type
        ENCODED.replace(b"\x08", b"\xcb\x40\x20\0\0\0\0\0\0"),  # 8.0
    ],
)
def test_another_encoding_of_the_same_values_is_refused(version: int, other: bytes) -> None:
    assert VERSIONS[version].encode(m.Fetch(8, ())) == ENCODED
    assert VERSIONS[version].decode(ENCODED) == m.Fetch(8, ())
    with pytest.raises(ProtocolError):
        VERSIONS[version].decode(other)


def test_control_the_library_alone_takes_other_encodings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without the comparison with the own encoding, a longer integer and a doubled field are taken."""
    monkeypatch.setattr(wire.Codec, "decode", wire.Codec._read)
    assert VERSIONS[2].decode(ENCODED.replace(b"\x08", b"\xcc\x08")) == m.Fetch(8, ())
    assert VERSIONS[2].decode(b"\x84" + ENCODED[1:] + b"\xabprogram_ids\x90") == m.Fetch(8, ())


@BOTH
def test_what_would_be_refused_is_not_sent(version: int) -> None:
    hello = OPENINGS[0]
    assert isinstance(hello, o.Hello)
    for change in (
        {"node": "../x"},
        {"nonce": b""},
        {"manifest_version": -1},
        {"software": "x" * 65},
        {"protocol_min": 0},
    ):
        with pytest.raises(ProtocolError):
            OPENING.encode(replace(hello, **change))
    with pytest.raises(ProtocolError, match="below"):
        OPENING.encode(o.Hello(3, 2, "x", "node", 0, bytes(32)))
    with pytest.raises(ProtocolError, match="encod"):
        VERSIONS[version].encode(m.ManifestResult(1, (m.RuleResult("a", ID, m.RuleState.REFUSED, "\ud800"),)))
    with pytest.raises(ProtocolError, match="NaN"):
        m.ManifestEntry("pump", ID, "d", (("x", float("nan")),))
    with pytest.raises(ProtocolError, match="ascend"):
        m.ManifestEntry("pump", ID, "d", (("y", 1), ("x", 1)))


@BOTH
def test_nan_is_refused_when_it_comes(version: int) -> None:
    body = VERSIONS[version].encode_manifest(
        m.WantedManifest(ID, "node", 1, 1, (m.ManifestEntry("pump", ID, "d", (("x", 1.5),)),))
    )
    nan = body.replace(msgpack.packb(1.5), msgpack.packb(float("nan")))
    assert nan != body
    with pytest.raises(ProtocolError, match="NaN"):
        VERSIONS[version].decode_manifest(nan)


def test_manifests_name_each_place_once_in_order() -> None:
    first, second = m.ManifestEntry("a", ID, "d"), m.ManifestEntry("b", ID, "d")
    beside = m.ManifestEntry("a", ID, "d", slot=Slot.CANDIDATE)
    good = m.WantedManifest(ID, "node", 1, 1, (first, beside, second))
    for version in VERSIONS.values():
        assert version.decode_manifest(version.encode_manifest(good)) == good
    for bad in ((second, first), (first, first), (beside, first)):
        with pytest.raises(ProtocolError, match="ascend"):
            replace(good, entries=bad)
    with pytest.raises(ProtocolError, match="ascend"):
        replace(good, signers=(bytes(32), bytes(32)))
    with pytest.raises(ProtocolError, match="previous"):
        m.ManifestEntry("a", ID, "d", slot=Slot.PREVIOUS)


def test_only_a_candidate_acts_on_a_share_of_the_events() -> None:
    for change in ({"share": 1}, {"keyless": True}):
        with pytest.raises(ProtocolError, match="no candidate"):
            m.ManifestEntry("a", ID, "d", **change)  # type: ignore[arg-type]
        m.ManifestEntry("a", ID, "d", slot=Slot.CANDIDATE, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        m.ManifestEntry("a", ID, "d", slot=Slot.CANDIDATE, share=m.SHARE_MAX + 1),
        m.ManifestEntry("a", ID, "d", slot=Slot.CANDIDATE, share=-1),
        m.ManifestEntry("a", ID, "d", trial=replace(TRIAL, observe_s=m.OBSERVE_S_MAX + 1)),
        m.ManifestEntry("a", ID, "d", trial=replace(TRIAL, failures_max=m.SHARE_MAX + 1)),
        m.ManifestEntry("a", ID, "d", trial=replace(TRIAL, samples_min=-1)),
    ],
)
def test_what_a_trial_and_a_share_say_is_bounded(bad: m.ManifestEntry) -> None:
    with pytest.raises(ProtocolError, match="a manifest's body is malformed"):
        VERSIONS[3].encode_manifest(m.WantedManifest(ID, "node", 1, 1, (bad,)))


def test_lines_of_a_board_are_bounded() -> None:
    line = LISTENED.lines[0]
    whole = replace(line, text="x" * n.LINE_CHARS_MAX, asks=("x" * n.LINE_CHARS_MAX,) * n.ARGS_MAX)
    assert len(VERSIONS[3].encode(replace(LISTENED, lines=(whole,) * n.LINES_MAX))) < wire.MESSAGE_BYTES_MAX
    for bad in (
        replace(LISTEN, since=-1),
        replace(LISTENED, lines=(line,) * (n.LINES_MAX + 1)),
        replace(LISTENED, lines=(replace(line, level=256),)),
        replace(LISTENED, lines=(replace(line, text="x" * (n.LINE_CHARS_MAX + 1)),)),
        replace(LISTENED, lines=(replace(line, asks=("x",) * (n.ARGS_MAX + 1)),)),
        replace(LISTENED, lines=(replace(line, asks=("x" * (n.LINE_CHARS_MAX + 1),)),)),
    ):
        with pytest.raises(ProtocolError, match="malformed"):
            VERSIONS[3].encode(bad)


def test_a_replay_and_its_answer_are_bounded() -> None:
    (program,), (refused, result) = ASKED.programs, REPLAYED.results
    shown = y.DIFFERENCES_SHOWN_MAX
    for bad in (
        replace(ASKED, programs=()),
        replace(ASKED, seconds_max=0),
        replace(ASKED, seconds_max=y.REPLAY_S_MAX + 1),
        replace(REPLAYED, results=()),
        replace(REPLAYED, results=(replace(result, differences=result.differences * (shown + 1)),)),
        replace(REPLAYED, results=(replace(result, missing=("x",) * (y.MISSING_MAX + 1)),)),
    ):
        with pytest.raises(ProtocolError, match="malformed"):
            VERSIONS[3].encode(bad)
    big = b"x" * (y.REPLAY_BYTES_MAX // 2 + 1)
    many = [replace(program, rule=rule, program=big) for rule in ("a", "b")]
    with pytest.raises(ProtocolError, match="ascend"):
        replace(ASKED, programs=(program, program))
    with pytest.raises(ProtocolError, match="are longer than"):
        replace(ASKED, programs=tuple(many))
    assert replace(ASKED, programs=(replace(program, program=b"x" * y.REPLAY_BYTES_MAX),))
    full = (replace(result, differences=result.differences * shown),) * 9
    with pytest.raises(ProtocolError, match="more than"):
        replace(REPLAYED, results=full)
    kept = y.bounded((refused, *full))
    assert sum(len(one.differences) for one in kept) == y.DIFFERENCES_TOLD_MAX and len(kept) == 10
    assert [one.differences for one in y.bounded((result,))] == [result.differences]


def test_executions_and_evidence_are_bounded_in_number_and_length() -> None:
    difference, failure = DIFFERED.differences[0], FAILED.failures[0]
    for full in (
        x.Differences(1, (difference,) * x.DIFFERENCES_MAX),
        x.Failures(1, (failure,) * x.FAILURES_MAX),
    ):
        assert VERSIONS[3].decode(VERSIONS[3].encode(full)) == full
    for bad in (
        x.Differences(1, ()),
        x.Failures(1, ()),
        x.Differences(1, (difference,) * (x.DIFFERENCES_MAX + 1)),
        x.Failures(1, (failure,) * (x.FAILURES_MAX + 1)),
        x.Failures(1, (replace(failure, what="x" * (x.WHAT_CHARS_MAX + 1)),)),
        x.Failures(1, (replace(failure, event="x" * (x.EVENT_CHARS_MAX + 1)),)),
        x.Differences(1, (replace(difference, active=x.Trace(1, (), ("x",) * (x.ACTIONS_MAX + 1))),)),
        x.Differences(1, (replace(difference, active=x.Trace(1, ("x" * (x.ACTION_CHARS_MAX + 1),))),)),
        m.Status(1, 1, 1, 1, (), (EVIDENCE,) * (2 * m.PROGRAMS_MAX + 1)),
    ):
        with pytest.raises(ProtocolError):
            VERSIONS[3].encode(bad)
    line = ("x" * x.ACTION_CHARS_MAX,)
    with pytest.raises(ProtocolError, match="a trace is longer"):
        x.Trace(1, line * (x.TRACE_CHARS_MAX // x.ACTION_CHARS_MAX), ("x",))


def test_health_of_a_rule_names_its_slot_and_that_of_a_port_none() -> None:
    for kind, slot in ((m.HealthKind.RULE, None), (m.HealthKind.PORT, Slot.ACTIVE)):
        with pytest.raises(ProtocolError, match="slot"):
            m.Health(kind, "pump", m.HealthState.RUNNING, slot=slot)


def test_what_is_signed_differs_for_each_purpose_and_value() -> None:
    hello, welcome = OPENINGS
    assert isinstance(hello, o.Hello) and isinstance(welcome, o.Welcome)
    signed = [
        m.link_bytes(ID, "node", bytes(32)),
        m.join_bytes(ID, "node", bytes(32)),
        m.link_bytes(ID, "nod", b"e" + bytes(31)),
        m.manifest_bytes(bytes(32)),
        o.welcome_bytes(hello, welcome),
        *(
            o.welcome_bytes(replace(hello, **change), welcome)
            for change in (
                {"protocol_max": 9},
                {"software": ""},
                {"node": "b"},
                {"manifest_version": 1},
                {"nonce": b"n" * 32},
                {"extensions": ()},
            )
        ),
        *(
            o.welcome_bytes(hello, replace(welcome, **change))
            for change in (
                {"protocol": 1},
                {"software": ""},
                {"coordinator_id": "0" * 64},
                {"manifest_version": 1},
                {"status_s": 1},
                {"extensions": ()},
            )
        ),
    ]
    assert len(set(signed)) == len(signed)
    assert o.welcome_bytes(hello, welcome) == o.welcome_bytes(hello, replace(welcome, signature=b"s" * 64))
