from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.protocol.audit import (
    ZERO_HASH,
    Anchor,
    BreakKind,
    ChainReport,
    Record,
    decode_record,
    encode_record,
    record_hash,
    signature_is_valid,
    verify_chain,
    verify_stored,
)
from eyeflow.protocol.audit_bodies import (
    BODIES,
    SIGNED,
    ActionResultBody,
    AuditError,
    Body,
    CheckpointBody,
    ClockBody,
    DifferenceBody,
    ExecutionBody,
    GapBody,
    InstallBody,
    RejectedBody,
    RemoveBody,
    SlotBody,
    StartBody,
    StopBody,
    WithdrawBody,
)
from eyeflow.protocol.cbor import CborError, decode, encode
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.slot import Slot

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "audit.md"
KEY = Identity(bytes(range(32)))
OTHER = Identity(bytes(range(1, 33)))
PROGRAM = bytes(range(32))

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT = st.integers(0, 2**63 - 1)
TEXT = st.text(max_size=20)
SCALAR = st.booleans() | INT64 | st.floats() | TEXT
SCALARS = st.lists(SCALAR, max_size=4).map(tuple)
HASH = st.binary(min_size=32, max_size=32)

SLOT = st.sampled_from([slot.value for slot in Slot])

BODY: st.SearchStrategy[Body] = st.one_of(
    st.builds(
        ExecutionBody,
        rule=TEXT,
        program=HASH,
        trigger=UINT,
        event_time_us=INT64,
        outcome=UINT,
        fuel=UINT,
        inputs=SCALARS,
        answers=st.lists(st.tuples(UINT, SCALARS, SCALAR | st.none()), max_size=3).map(tuple),
        actions=st.lists(st.tuples(UINT, SCALARS, UINT), max_size=3).map(tuple),
        trap=st.none() | st.tuples(UINT, UINT),
        utc_offset_us=INT64,
        slot=SLOT,
    ),
    st.builds(ActionResultBody, TEXT, HASH, UINT, UINT, UINT, UINT, TEXT, SLOT),
    st.builds(RejectedBody, TEXT, TEXT, TEXT, TEXT, UINT, INT64, INT64, SLOT),
    st.builds(GapBody, UINT, UINT, UINT, TEXT, HASH, INT64, INT64, UINT, st.just(KEY.public_key)),
    st.builds(
        InstallBody,
        rule=TEXT,
        program=HASH,
        version=TEXT,
        deployment=TEXT,
        manifest_version=UINT,
        params=st.lists(st.tuples(TEXT, SCALAR)).map(tuple),
        previous=st.none() | HASH,
        slot=SLOT,
        withholds=st.booleans(),
    ),
    st.builds(RemoveBody, TEXT, HASH),
    st.builds(WithdrawBody, TEXT, HASH, st.lists(HASH, max_size=4).map(tuple), INT64, SLOT),
    st.builds(
        StartBody,
        version=TEXT,
        public_key=HASH,
        clean=st.booleans(),
        programs=st.lists(st.tuples(TEXT, HASH), max_size=3).map(tuple),
        replaced_epoch=UINT,
        candidates=st.lists(st.tuples(TEXT, HASH), max_size=3).map(tuple),
    ),
    st.builds(StopBody, TEXT),
    st.builds(CheckpointBody, st.just(KEY.public_key)),
    st.builds(ClockBody, TEXT, HASH, INT64, SLOT),
    st.builds(SlotBody, TEXT, UINT, HASH, st.none() | HASH, TEXT),
    st.builds(DifferenceBody, TEXT, HASH, INT64, UINT, UINT),
)
RECORD = st.builds(Record, TEXT, UINT, st.integers(1, 2**63), HASH, INT64, BODY)


def execution(number: int) -> ExecutionBody:
    return ExecutionBody("r", PROGRAM, 0, number, 0, 5, inputs=(float(number), "x"))


def chain(bodies: list[Body], *, start: int = 1, prev: bytes = ZERO_HASH, node: str = "n") -> list[bytes]:
    records = []
    for offset, body in enumerate(bodies):
        records.append(encode_record(Record(node, 7, start + offset, prev, 1000 + offset, body), KEY))
        prev = record_hash(records[-1])
    return records


def gap(last_seq: int, last_hash: bytes) -> GapBody:
    return GapBody(1, last_seq, last_seq, "size", last_hash, 1, 2, last_seq, KEY.public_key)


# --- encoding ----------------------------------------------------------------------------------------------------


def vectors() -> list[tuple[bytes, bytes]]:
    blocks = re.findall(r"```\n([0-9a-f\n]+?)\n```", PAGE.read_text().split("## Vectors")[1])
    data = [bytes.fromhex(block.replace("\n", "")) for block in blocks]
    return list(zip(data[::2], data[1::2], strict=True))


def test_the_documented_vectors_are_what_is_written() -> None:
    found = vectors()
    assert len(found) == 4
    for data, digest in found:
        record = decode_record(data)
        assert encode_record(replace(record, signature=b""), KEY) == data
        assert record_hash(data) == digest
    report = verify_chain([data for data, _ in found], KEY.public_key)
    assert report.holds and report.checkpoints == 1 and report.unvouched == 0


def test_every_kind_and_key_is_documented() -> None:
    text = PAGE.read_text()
    for kind, body in BODIES.items():
        section = text.split(f"### {int(kind)} {kind.name}\n")[1].split("###")[0]
        for name, field in body.__dataclass_fields__.items():
            assert f"| {field.metadata['key']} | `{name}` |" in section


@settings(max_examples=300)
@given(RECORD)
def test_decode_of_encode_is_the_identity(record: Record) -> None:
    data = encode_record(record, KEY)
    decoded = decode_record(data)
    assert encode_record(replace(decoded, signature=b""), KEY) == data
    assert repr(replace(decoded, signature=b"")) == repr(record)  # repr: NaN equals no NaN, 1 is not 1.0 is not True
    assert signature_is_valid(decoded, KEY.public_key) == (record.kind in SIGNED)


@settings(max_examples=500)
@given(RECORD, st.integers(0, 2**20), st.integers(1, 255))
def test_changed_bytes_are_refused_or_another_record(record: Record, place: int, flip: int) -> None:
    data = bytearray(encode_record(record, KEY))
    data[place % len(data)] ^= flip
    try:
        decoded = decode_record(bytes(data))
    except AuditError:
        return
    assert repr(decoded) != repr(decode_record(encode_record(record, KEY)))


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_truncated_and_longer_bytes_are_refused(cut: int) -> None:
    data = chain([execution(1)])[0]
    for bad in (data[:-cut], data + bytes(cut)):
        with pytest.raises(AuditError):
            decode_record(bad)


@pytest.mark.parametrize(
    "bad",
    [
        "1801",
        "a2020101",
        "a10102ff",
        "a2010201 02",
        "bf0102ff",
        "fb3ff0000000000000",
        "c11a514b67b0",
        "c249010000000000000000",
        "f97e01",
        "a16161 01",
        "a12001",
        "a1f90000 01",
        "5f4101ff",
        "f7",
        "1bffffffffffffffff00",
        "e0",
        "81" * 40 + "01",
    ],
)
def test_only_the_deterministic_encoding_is_read(bad: str) -> None:
    with pytest.raises(CborError):
        decode(bytes.fromhex(bad))


def test_numbers_take_their_shortest_form_and_there_is_one_nan() -> None:
    assert encode([1.0, 0.1, -0.0, math.inf, 100000.0]).hex() == "85f93c00fb3fb999999999999af98000f97c00fa47c35000"
    other_nan = float.fromhex("nan") * -1
    assert encode(other_nan).hex() == encode(math.nan).hex() == "f97e00"


def test_values_that_have_no_encoding_are_refused() -> None:
    for value in ({"a": 1}, {-1: 1}, 2**64, -(2**64) - 1, {1, 2}, object(), {True: 1}):
        with pytest.raises(CborError):
            encode(value)


def test_a_gap_cannot_be_written_unsigned() -> None:
    with pytest.raises(AuditError):
        encode_record(Record("n", 1, 1, ZERO_HASH, 0, gap(1, ZERO_HASH)))


# --- chain -------------------------------------------------------------------------------------------------------


def test_a_whole_chain_holds() -> None:
    records = chain([execution(n) for n in range(20)] + [CheckpointBody(KEY.public_key), execution(21)])
    report = verify_chain(iter(records), KEY.public_key)
    assert report.holds
    assert (report.first_seq, report.last_seq, report.records) == (1, 22, 22)
    assert (report.checkpoints, report.unvouched, report.head) == (1, 1, record_hash(records[-1]))


def test_the_report_says_whose_chain_it_is_and_how_much_nobody_vouches_for() -> None:
    records = chain([execution(1), CheckpointBody(KEY.public_key), execution(2), execution(3)])
    report = verify_chain(records)
    assert (report.node, report.epoch, report.public_key) == ("n", 7, KEY.public_key), "the key of its own records"
    assert (report.checkpoints, report.unvouched) == (1, 2)
    assert verify_stored((decode_record(data).time_us, data) for data in records) == report
    assert verify_chain(records[:1], OTHER.public_key).public_key == OTHER.public_key, "the key that was asked for"


def test_an_empty_chain_does_not_hold() -> None:
    """Otherwise whoever empties it leaves nothing that does not hold."""
    report = verify_chain([])
    assert report.problem is not None
    assert (report.problem.kind, report.problem.seq) == (BreakKind.EMPTY, 1), "the seq that is missing"
    assert replace(report, problem=None) == ChainReport(), "of nothing nothing is said"
    assert verify_stored([]) == report
    assert verify_chain([], anchor=Anchor(7, ZERO_HASH)).holds, "nothing after a known record is no loss"


def test_a_chain_that_is_signed_anew_with_another_key_is_found() -> None:
    other = Identity(bytes(range(1, 33)))
    bodies = [StartBody("1", other.public_key, True), execution(1), CheckpointBody(other.public_key)]
    for count in (1, 3):
        records, head = [], ZERO_HASH
        for seq, body in enumerate(bodies[:count], start=1):
            records.append(encode_record(Record("n", 1, seq, head, 0, body), other))
            head = record_hash(records[-1])
        report = verify_chain(records, KEY.public_key)
        assert report.problem is not None and report.problem.kind is BreakKind.UNSIGNED and report.problem.seq == 1
        assert verify_chain(records).holds, "the control: a chain that names its own key vouches for itself"


def test_a_time_that_is_not_the_records_own_is_found() -> None:
    records = chain([execution(n) for n in range(5)])
    rows = [(decode_record(data).time_us, data) for data in records]
    assert verify_stored(rows, KEY.public_key).holds
    rows[2] = (0, rows[2][1])
    report = verify_stored(rows, KEY.public_key)
    assert report.problem is not None and (report.problem.kind, report.problem.seq) == (BreakKind.ALTERED, 3)
    assert verify_chain((data for _, data in rows), KEY.public_key).holds, "the control: no hash covers that time"


@settings(max_examples=100)
@given(st.integers(2, 12), st.data())
def test_any_single_change_is_found_at_the_right_place(count: int, data: st.DataObject) -> None:
    records = chain([execution(n) for n in range(count)] + [CheckpointBody(KEY.public_key)])
    place = data.draw(st.integers(0, count - 1))
    change = data.draw(st.sampled_from(["alter", "drop", "swap", "repeat", "garbage"]))
    if change == "alter":
        record = decode_record(records[place])
        records[place] = encode_record(replace(record, body=execution(999)))
    elif change == "drop":
        del records[place]
    elif change == "swap":
        records[place], records[place + 1] = records[place + 1], records[place]
    elif change == "repeat":
        records.insert(place, records[place])
    else:
        records[place] = b"\xa0"
    problem = verify_chain(records, KEY.public_key).problem
    assert problem is not None
    assert problem.seq in (place + 1, place + 2) or (change in ("drop", "swap") and place == 0 and problem.seq >= 1)


def test_the_reason_says_what_happened() -> None:
    records = chain([execution(n) for n in range(5)])
    altered = [*records]
    altered[2] = encode_record(replace(decode_record(records[2]), time_us=5))
    expectations = [
        (altered, BreakKind.ALTERED, 4),
        ([*records[:2], *records[3:]], BreakKind.MISSING, 3),
        (records[1:], BreakKind.MISSING, 1),
        ([*records[:3], b"junk"], BreakKind.MALFORMED, 4),
        ([*records, chain([execution(1)], start=6, prev=record_hash(records[-1]), node="m")[0]], BreakKind.FOREIGN, 6),
    ]
    for broken, kind, seq in expectations:
        problem = verify_chain(broken, KEY.public_key).problem
        assert problem is not None and (problem.kind, problem.seq) == (kind, seq), problem


def test_dropped_records_need_a_signed_gap_that_fits() -> None:
    records = chain([execution(n) for n in range(6)])
    hash_of_3 = record_hash(records[2])
    rest = records[3:]

    def with_gap(body: GapBody) -> list[bytes]:
        return [*rest, *chain([body], start=7, prev=record_hash(rest[-1]))]

    good = verify_chain(with_gap(gap(3, hash_of_3)), KEY.public_key)
    assert good.holds and good.first_seq == 4 and good.lost[0].count == 3
    assert verify_chain(with_gap(gap(2, hash_of_3)), KEY.public_key).problem is not None
    assert verify_chain(with_gap(gap(3, bytes(32))), KEY.public_key).problem is not None
    first = chain([execution(n) for n in range(3)])
    also_good = [*first[1:], *chain([gap(1, record_hash(first[0]))], start=4, prev=record_hash(first[2]))]
    assert verify_chain(also_good, KEY.public_key).holds, "also of a single record"
    assert verify_chain(rest, KEY.public_key, Anchor(3, hash_of_3)).holds
    assert verify_chain(rest, KEY.public_key, Anchor(3, bytes(32))).problem is not None


def test_a_forged_signature_is_found() -> None:
    thief = Identity(bytes(31) + b"\x01")
    forged_key = encode_record(Record("n", 7, 1, ZERO_HASH, 0, CheckpointBody(thief.public_key)), thief)
    forged_signature = encode_record(Record("n", 7, 1, ZERO_HASH, 0, CheckpointBody(KEY.public_key)), thief)
    for forged in (forged_key, forged_signature):
        problem = verify_chain([forged], KEY.public_key).problem
        assert problem is not None and problem.kind is BreakKind.UNSIGNED
        assert verify_stored([(0, forged)], KEY.public_key).problem == problem
    assert verify_stored([(0, forged_key)]).holds
    assert verify_chain([forged_key]).holds, "without a key to trust, only damage can be seen"
    assert verify_chain([forged_signature]).problem is not None


@pytest.mark.parametrize("count", [4, 6])
def test_a_gap_that_counts_other_records_than_its_range_has_is_found(count: int) -> None:
    """Signed by the node: then it is the node that is wrong, and what was lost is not known."""
    records = chain([StopBody("x")] * 5)
    true = gap(5, record_hash(records[-1]))
    for body, holds in ((true, True), (replace(true, count=count), False)):
        report = verify_chain(chain([StopBody("y"), body], start=6, prev=record_hash(records[-1])), KEY.public_key)
        assert report.holds is holds
    assert report.problem is not None and f"counts {count} records from 1 to 5" in report.problem.message
