"""What a copy of a chain may lack, and what a store that noted its last record may not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from eyeflow.protocol.audit import (
    ZERO_HASH,
    Anchor,
    BreakKind,
    ChainReport,
    Record,
    decode_record,
    encode_record,
    record_hash,
    verify_chain,
    verify_copy,
    verify_stored,
)
from eyeflow.protocol.audit_bodies import COPIED, Body, CheckpointBody, GapBody, StopBody
from eyeflow.protocol.identity import Identity

KEY, OTHER = Identity(bytes(range(32))), Identity(bytes(range(1, 33)))
GAP_SEQ, LATER_GAP_SEQ, RECORDS = 21, 28, 30


def chain(
    *, last_hash: bytes | None = None, later_reason: str = COPIED, later_total: int = 5, public_key: bytes = b""
) -> list[bytes]:
    """30 records: the gap at 21 is of 5 to 9, and one at 28 is of 25 and 26. All that they are of are there, too."""
    records: list[bytes] = []
    for seq in range(1, RECORDS + 1):
        body: Body = StopBody(f"record {seq}")
        if seq == GAP_SEQ:
            digest = record_hash(records[8]) if last_hash is None else last_hash
            body = GapBody(5, 9, 5, "size", digest, 0, 0, 5, KEY.public_key)
        elif seq == LATER_GAP_SEQ:
            body = GapBody(25, 26, 2, later_reason, record_hash(records[25]), 0, 0, later_total, KEY.public_key)
        elif seq == RECORDS:
            body = CheckpointBody(KEY.public_key)
        prev = record_hash(records[-1]) if records else ZERO_HASH
        records.append(encode_record(Record("n", 7, seq, prev, seq, body), KEY))
    return records


def without(records: list[bytes], seqs: Collection[int]) -> list[bytes]:
    return [data for seq, data in enumerate(records, start=1) if seq not in seqs]


def fault(report: ChainReport) -> tuple[BreakKind, int, str]:
    assert report.problem is not None
    return report.problem.kind, report.problem.seq, report.problem.message


def test_of_a_whole_copy_the_same_is_said_as_of_the_chain() -> None:
    report = verify_copy(chain(), KEY.public_key)
    assert report == verify_chain(chain(), KEY.public_key)
    assert report.holds and (report.records, report.checkpoints, len(report.lost)) == (RECORDS, 1, 2)


@pytest.mark.parametrize("gone", [{5, 6, 7, 8, 9}, {5, 6, 7}, {8, 9}, {5}, {7}, {9}], ids=str)
def test_a_copy_may_lack_what_a_later_gap_accounts_for(gone: set[int]) -> None:
    """The oldest go first: a gap that ends later is of these, too."""
    copy = without(chain(), gone)
    assert verify_copy(copy, KEY.public_key).holds
    assert fault(verify_chain(copy, KEY.public_key))[:2] == (BreakKind.MISSING, min(gone)), "the control: a store"


def test_a_copy_may_lack_no_more_than_the_node_lost() -> None:
    gone = {5, 6, 7, 8, 9, 25, 26}
    assert fault(verify_copy(without(chain(), gone), KEY.public_key)) == (
        BreakKind.MISSING,
        1,
        "7 records are missing between others, and the node says that 5 were lost",
    )
    lost = chain(later_reason="size", later_total=7)
    assert verify_copy(without(lost, gone), KEY.public_key).holds
    lost = chain(later_reason="size", later_total=6)
    assert not verify_copy(without(lost, gone), KEY.public_key).holds


@pytest.mark.parametrize(("gone", "until", "before"), [({12, 13, 14}, 24, 15), ({29}, RECORDS, 30)], ids=str)
def test_what_no_gap_accounts_for_is_missing(gone: set[int], until: int, before: int) -> None:
    """A gap of what came before is none of them."""
    told = f"no signed gap accounts for the records before seq {before}"
    assert fault(verify_copy(without(chain()[:until], gone), KEY.public_key)) == (BreakKind.MISSING, 1, told)


def test_a_second_hole_before_the_first_is_accounted_for_is_missing() -> None:
    copy = without(chain(), {5, 6, 7, 8, 9, 12})
    assert fault(verify_copy(copy, KEY.public_key)) == (BreakKind.MISSING, 12, "expected this seq, found 13")


def test_a_gap_that_names_another_last_record_accounts_for_nothing() -> None:
    copy = without(chain(last_hash=bytes(32)), {5, 6, 7, 8, 9})[:18]
    assert fault(verify_copy(copy, KEY.public_key))[:2] == (BreakKind.MISSING, 1)
    assert verify_copy(without(chain(), {5, 6, 7, 8, 9})[:18], KEY.public_key).holds, "the control"


def test_a_gap_that_counts_other_than_its_range_is_altered() -> None:
    records = chain()[: GAP_SEQ - 1]
    gap = GapBody(5, 9, 4, "size", record_hash(records[8]), 0, 0, 4, KEY.public_key)
    last = encode_record(Record("n", 7, GAP_SEQ, record_hash(records[-1]), 0, gap), KEY)
    told = "GAP record: it counts 4 records from 5 to 9"
    assert fault(verify_copy([*records, last], KEY.public_key)) == (BreakKind.ALTERED, GAP_SEQ, told)


def test_an_altered_record_of_a_copy_is_found() -> None:
    copy = chain()
    copy[14] = encode_record(replace(decode_record(copy[14]), body=StopBody("altered")))
    assert fault(verify_copy(copy, KEY.public_key))[:2] == (BreakKind.ALTERED, 16)
    copy[14] = b"x"
    assert fault(verify_copy(copy, KEY.public_key))[:2] == (BreakKind.MALFORMED, 15)


def test_a_copy_of_another_key_and_an_empty_one_do_not_hold() -> None:
    assert fault(verify_copy(chain(), OTHER.public_key))[:2] == (BreakKind.UNSIGNED, GAP_SEQ)
    assert fault(verify_copy([], KEY.public_key))[:2] == (BreakKind.EMPTY, 1)


def test_a_part_of_a_copy_begins_where_its_anchor_says() -> None:
    records = chain()
    anchor, part = Anchor(14, record_hash(records[13])), records[14:27]
    assert verify_copy(part, KEY.public_key, anchor).holds
    assert fault(verify_copy(part, KEY.public_key)) == (
        BreakKind.MISSING,
        1,
        "no signed gap accounts for the records before seq 15",
    )
    assert fault(verify_copy(part, KEY.public_key, Anchor(14, bytes(32))))[:2] == (BreakKind.ALTERED, 15)


def stored(records: list[bytes], tip: tuple[int, bytes] | None) -> ChainReport:
    return verify_stored(((decode_record(data).time_us, data) for data in records), KEY.public_key, tip)


def test_a_store_holds_what_it_noted_of_its_last_record() -> None:
    records = chain()
    for seq in (RECORDS, RECORDS - 1, 1):
        assert stored(records, (seq, record_hash(records[seq - 1]))).holds, "an older note, too"
        told = "its hash is not what the store noted when it was written"
        assert fault(stored(records, (seq, bytes(32)))) == (BreakKind.ALTERED, seq, told)
    assert stored(records, None).holds


@pytest.mark.parametrize("left", [RECORDS - 1, 12])
def test_a_store_that_lacks_the_record_that_it_noted_has_lost_it(left: int) -> None:
    records = chain()
    told = f"the store wrote records up to {RECORDS}"
    report = stored(records[:left], (RECORDS, record_hash(records[-1])))
    assert fault(report) == (BreakKind.MISSING, left + 1, told)
    assert report.records == left
