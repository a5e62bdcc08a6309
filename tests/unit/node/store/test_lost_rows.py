"""Records at the end of the chain are gone from the file: their numbers come no second time, and the loss shows."""

from __future__ import annotations

import logging
from pathlib import Path

import apsw
import pytest

from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import BreakKind, decode_record, verify_chain, verify_stored
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


def test_a_range_that_ends_where_records_are_gone_can_be_dropped(tmp_path: Path) -> None:
    cut_short(tmp_path)
    store = open_store(tmp_path, limits())
    store.commit(batch(100))
    assert store._audit.drop_oldest("size", RECORDS - LOST + 5) == RECORDS - LOST
    first, gap = [decode_record(one) for one in store.audit_range(1, 10)]
    assert first.seq == RECORDS + 1 and isinstance(gap.body, GapBody)
    assert (gap.body.first_seq, gap.body.last_seq) == (1, RECORDS - LOST), "it says nothing of what was gone before"
    store.close(clean=True)
