"""Each field of an audit record takes what `docs/reference/audit.md` says of it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eyeflow.protocol.audit import RECORD_BYTES_MAX, ZERO_HASH, decode_record
from eyeflow.protocol.audit_bodies import SIGNED, AuditError, Kind, StopBody
from eyeflow.protocol.cbor import DEPTH_MAX, CborError, decode, encode

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "audit.md").read_text()
ROW = re.compile(r"^\| (\d+) \| `(\w+)` \| ([^|]+) \| ([^|]*) \|$", re.M)
HASH, OTHER = bytes(32), bytes(range(32))

FITS: dict[str, tuple[object, ...]] = {
    "text": ("", "x", "active", "candidate", "previous"),
    "unsigned": (0, 1, 2**63),
    "integer": (0, 1, 2**63, -1),
    "bool": (True, False),
    "bytes (32)": (HASH, OTHER),
    "bytes (1 to 96)": (bytes(1), bytes(31), HASH, OTHER, bytes(33), bytes(64), bytes(96)),
    "list of texts": ([], ["x"]),
    "scalar": (0, 1, 2**63, -1, "", "x", "active", "candidate", "previous", True, False, 1.5),
    "list of bytes (32)": ([], [HASH], [HASH, OTHER]),
    "list of scalars": ([], ["x"], [0], [-1, 0], [0, 2**63], [0, -1], [0, "x"], [0, 1, 2], ["x", True, 1.5]),
    "list of two unsigned": ([0, 2**63],),
    "slot": ("active", "candidate", "previous"),
    "answers": ([], [[0, [], -1]], [[0, [], 0], [1, ["x", 1.5], 3]], [[0, [], None], [1, ["x", 1.5], True]]),
    "actions": ([], [[0, [], 0], [1, ["x", 1.5], 3]]),
    "params": ([], [["x", 1.5], ["y", False]]),
    "programs": ([], [["x", HASH], ["y", OTHER]]),
}
"""By the type of the page; where it says only `list of lists` or text, by the name of the field."""
SAMPLES: tuple[object, ...] = (
    *(value for values in FITS.values() for value in values),
    *(None, 1.5, b"", bytes(31), bytes(33), bytes(97), {}, [None], [[]], [-1, 0], [0], [bytes(31)], [HASH, "x"]),
    *([[0, [], None, 0]], [[0, []]], [[-1, [], None]], [[0, 5, None]], [[0, [None], None]], [[0, [], HASH]]),
    *([[0, [], 0, 0]], [["x", HASH, 0]], [["x", bytes(31)]], [[0, HASH]], [["x", []]]),
    *([["x", 1.5], 5], [["x", 1.5], []], [[[], "x"]], [{0: 1}]),
)
LEFT_OUT = {"empty": ("", []), "absent": (), "0": (0,), "false": (False,), "`active`": ("active",)}


def rows(kind: Kind) -> list[tuple[int, str, str]]:
    """Key, type and note of each field of a kind."""
    section = PAGE.split(f"### {int(kind)} {kind.name}\n")[1].split("###")[0]
    found = []
    for key, name, type_, note in ROW.findall(section):
        named = "programs" if name == "candidates" else name
        found.append((int(key), named if named in FITS else type_, note.strip().removeprefix("left out when ")))
    assert found
    return found


def is_read(kind: Kind, body: object, **header: object) -> bool:
    fields: dict[object, object] = {0: 1, 1: int(kind), 2: "n", 3: 7, 4: 1, 5: ZERO_HASH, 6: 0, 7: body}
    if kind in SIGNED:
        fields[8] = bytes(64)
    for name, value in header.items():
        fields[int(name.removeprefix("key_"))] = value
    try:
        decode_record(encode(fields))
    except AuditError:
        return False
    return True


def same(one: object, other: object) -> bool:
    return repr(one) == repr(other)  # 1 is not True


@pytest.mark.parametrize("kind", Kind)
def test_each_field_takes_its_documented_type_and_no_other(kind: Kind) -> None:
    good = {key: FITS[type_][-1] for key, type_, note in rows(kind) if note not in LEFT_OUT}
    assert is_read(kind, good), "what may be left out is left out"
    for key, type_, note in rows(kind):
        for value in SAMPLES:
            fits = any(same(value, one) for one in FITS[type_])
            if note in LEFT_OUT:
                fits = fits and not any(same(value, one) for one in LEFT_OUT[note])
            assert is_read(kind, good | {key: value}) is fits, (key, type_, value)
        if key in good:
            assert not is_read(kind, {other: value for other, value in good.items() if other != key})
    assert not is_read(kind, good | {99: 0}), "a key that nobody knows"


STOP: dict[int, object] = {1: "bye"}


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        (0, (1,)),
        (1, (int(Kind.STOP),)),
        (2, ("", "x", "active", "candidate", "previous")),
        (3, (0, 1, 2**63, -1)),
        (4, (1, 2**63)),
        (5, (HASH, OTHER)),
        (6, (0, 1, 2**63, -1)),
    ],
)
def test_each_field_of_the_header_takes_its_documented_type_and_no_other(key: int, fits: tuple[object, ...]) -> None:
    for value in SAMPLES:
        if key == 1 and type(value) is int and value in {int(kind) for kind in Kind} - {int(Kind.STOP)}:
            continue  # of another kind, with another body
        wanted = any(same(value, one) for one in fits)
        assert is_read(Kind.STOP, STOP, **{f"key_{key}": value}) is wanted, value
    for missing in range(8):
        fields = {0: 1, 1: int(Kind.STOP), 2: "n", 3: 7, 4: 1, 5: ZERO_HASH, 6: 0, 7: STOP}
        del fields[missing]
        with pytest.raises(AuditError):
            decode_record(encode(fields))


def test_only_signed_kinds_have_a_signature_and_it_has_64_bytes() -> None:
    assert is_read(Kind.STOP, STOP)
    for signature in (b"", bytes(64), "x"):
        assert not is_read(Kind.STOP, STOP, key_8=signature)
    checkpoint = {1: HASH}
    assert is_read(Kind.CHECKPOINT, checkpoint)
    for signature in (b"", bytes(63), bytes(65), "x" * 64, [0] * 64):
        assert not is_read(Kind.CHECKPOINT, checkpoint, key_8=signature)
    unsigned = {0: 1, 1: int(Kind.CHECKPOINT), 2: "n", 3: 7, 4: 1, 5: ZERO_HASH, 6: 0, 7: checkpoint}
    with pytest.raises(AuditError):
        decode_record(encode(unsigned))


def test_a_record_is_a_map_with_the_documented_keys() -> None:
    assert not is_read(Kind.STOP, STOP, key_9=0)
    for other in ([], "x", 5, None):
        with pytest.raises(AuditError):
            decode_record(encode(other))


def test_a_record_has_at_most_4_mib() -> None:
    def record(size_bytes: int) -> bytes:
        shorter = {0: 1, 1: int(Kind.STOP), 2: "n", 3: 7, 4: 1, 5: ZERO_HASH, 6: 0, 7: {1: "x" * 100_000}}
        rest = size_bytes - len(encode(shorter))
        return encode(shorter | {7: {1: "x" * (100_000 + rest)}})

    longest = record(RECORD_BYTES_MAX)
    assert len(longest) == RECORD_BYTES_MAX == 4 * 1024 * 1024
    body = decode_record(longest).body
    assert isinstance(body, StopBody) and len(body.reason) > 4_000_000
    with pytest.raises(AuditError):
        decode_record(record(RECORD_BYTES_MAX + 1))


def nested(depth: int, wrap: type) -> object:
    value: object = 0
    for _ in range(depth):
        value = {0: value} if wrap is dict else [value]
    return value


@pytest.mark.parametrize("wrap", [list, dict])
def test_values_are_nested_as_deep_as_the_bound_and_no_deeper(wrap: type) -> None:
    data = encode(nested(DEPTH_MAX, wrap))
    assert decode(data) == nested(DEPTH_MAX, wrap)
    with pytest.raises(CborError):
        encode(nested(DEPTH_MAX + 1, wrap))
    deeper = (b"\x81" if wrap is list else b"\xa1\x00") + data
    with pytest.raises(CborError):
        decode(deeper)


@pytest.mark.parametrize("value", [-(2**64), 2**64 - 1, {0: 1}, {2**64 - 1: 1}, (1, [2]), None, True, 1.5, "é", b"\0"])
def test_what_has_an_encoding_comes_back(value: object) -> None:
    assert decode(encode(value)) == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("value", [-(2**64) - 1, 2**64, {2**64: 1}, {-1: 1}, {True: 1}, "\ud800", [{"x": 1}], [2**64]])
def test_what_has_none_is_refused(value: object) -> None:
    with pytest.raises(CborError):
        encode(value)
