"""Records at the end of the chain are gone from the file: their numbers come no second time, and the loss shows."""

from __future__ import annotations

import logging
import zlib
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from eyeflow.node.store.audit_log import tip_bytes
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import BreakKind, decode_record, encode_record, verify_chain, verify_stored
from eyeflow.protocol.audit_bodies import GapBody
from unit.node.store.stores import KEY, batch, limits, open_store

RECORDS, LOST = 40, 10


def cut_short(path: Path) -> list[bytes]:
    """Write records and delete the last ones, as damage may; return all that were written."""
    store = open_store(path)
    store.commit(batch(*range(RECORDS)))
    written = store.audit_range(1, RECORDS)
    store.close(clean=True)
    db = apsw.Connection(str(path / "node.db"))
    db.execute("DELETE FROM audit WHERE seq > ?", (RECORDS - LOST,))
    db.close()
    return written


def test_the_chain_goes_on_behind_what_was_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written = cut_short(tmp_path)
    store = open_store(tmp_path)
    assert "audit records 31 to 40 are gone" in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.ERROR
    assert store.newest_seq == RECORDS - LOST, "whoever hands records on waits for the next one"
    assert store.commit(batch(100, 101)).first_seq == RECORDS + 1
    assert store.newest_seq == RECORDS + 2
    new = store.audit_range(RECORDS - LOST + 1, 10)
    store.close(clean=True)
    assert [decode_record(one).seq for one in new] == [RECORDS + 1, RECORDS + 2], "no number comes twice"
    assert verify_chain([*written, *new], KEY.public_key).holds, "whoever holds a copy goes on with it"
    with AuditReader(tmp_path) as reader:
        problem = verify_stored(reader.rows(), KEY.public_key, reader.tip).problem
    assert problem is not None and (problem.kind, problem.seq) == (BreakKind.MISSING, RECORDS - LOST + 1)


@pytest.mark.parametrize("records", [1, RECORDS])
def test_a_last_record_that_was_altered_is_told_and_its_number_is_not_used_again(
    tmp_path: Path, records: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path)
    store.commit(batch(*range(records)))
    head, written = store.head, store.audit_range(1, RECORDS)
    altered = encode_record(replace(decode_record(written[-1]), time_us=5))
    store._file.db.execute("UPDATE audit SET record = ? WHERE seq = ?", (altered, records))
    store.close(clean=True)
    store = open_store(tmp_path)
    assert caplog.records[-1].getMessage().startswith(f"audit record {records} is not as this node wrote it. ")
    assert (store.head, store.newest_seq) == (head, records)
    store.commit(batch(100))
    new = store.audit_range(records + 1, 1)
    store.close(clean=True)
    assert verify_chain([*written, *new], KEY.public_key).holds, "the new one follows what the node wrote"


@pytest.mark.parametrize(
    "note",
    [
        tip_bytes(RECORDS - 1, bytes(32)),
        tip_bytes(RECORDS + 1, bytes(31)),
        tip_bytes(RECORDS + 1, bytes(33)),
        tip_bytes(RECORDS + 1, bytes(32))[:-1],
        tip_bytes(RECORDS + 1, bytes(32)) + b"x",
        tip_bytes(RECORDS + 1, bytes(32))[:-1] + b"x",
        b"",
        "text",
        7,
    ],
)
def test_a_note_of_less_or_that_no_node_wrote_says_nothing(
    tmp_path: Path, note: bytes | str | int, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path)
    store.commit(batch(*range(RECORDS)))
    head = store.head
    store._file.db.execute("UPDATE meta SET value = ? WHERE key = 'tip'", (note,))
    store.close(clean=True)
    store = open_store(tmp_path)
    assert (store.head, caplog.records) == (head, [])
    store.close(clean=True)


def test_the_note_of_the_last_record_is_written_as_in_older_stores() -> None:
    """Seq (8 bytes), hash, CRC-32 of both (4 bytes), big-endian: any other form would be no note, and hide a loss."""
    noted = bytes.fromhex("0000000000000102" + "ab" * 32)
    assert tip_bytes(0x0102, b"\xab" * 32) == noted + zlib.crc32(noted).to_bytes(4, "big")


def test_a_range_that_ends_where_records_are_gone_can_be_dropped(tmp_path: Path) -> None:
    cut_short(tmp_path)
    store = open_store(tmp_path, limits())
    store.commit(batch(100))
    assert store._audit.drop_oldest("size", RECORDS - LOST + 5) == RECORDS - LOST
    first, gap = [decode_record(one) for one in store.audit_range(1, 10)]
    assert first.seq == RECORDS + 1 and isinstance(gap.body, GapBody)
    assert (gap.body.first_seq, gap.body.last_seq) == (1, RECORDS - LOST), "it says nothing of what was gone before"
    store.close(clean=True)
