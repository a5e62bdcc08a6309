"""Reading the audit of a node from outside: which files it takes, which records it gives, and what it says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.node.store import reader as reader_module
from eyeflow.node.store.file import STORE_NAME
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.schema import APPLICATION_ID, MIGRATIONS, VERSION
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, BufferLimits, Draft
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import StopBody
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.slot import Slot
from unit.node.store.stores import open_store, slot

KEY = Identity(bytes(range(32)))
RECORDS = 10


def written(path: Path, count: int = RECORDS) -> None:
    store = Store(path, "n1", KEY, BufferLimits(64 * 1024 * 1024, 10**18))
    if count:
        store.commit(Batch([Draft(1000 + number, StopBody(str(number))) for number in range(1, count + 1)]))
    store.close(clean=True)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[AuditReader]:
    written(tmp_path)
    with AuditReader(tmp_path) as made:
        yield made


def seqs(records: Iterator[bytes]) -> list[int]:
    return [decode_record(record).seq for record in records]


@pytest.mark.parametrize("page", [1, 3, RECORDS, 100])
@pytest.mark.parametrize("first", [1, 4, RECORDS, RECORDS + 1])
@pytest.mark.parametrize("last", [None, 1, 4, RECORDS, RECORDS + 1])
def test_any_range_is_read_whole_in_pages_of_any_size(
    reader: AuditReader, monkeypatch: pytest.MonkeyPatch, page: int, first: int, last: int | None
) -> None:
    monkeypatch.setattr(reader_module, "PAGE_RECORDS", page)
    wanted = list(range(first, min(last or RECORDS, RECORDS) + 1))
    assert seqs(reader.records(first, last)) == wanted
    rows = list(reader.rows(first, last))
    assert [time_us for time_us, _ in rows] == [1000 + seq for seq in wanted]
    assert seqs(record for _, record in rows) == wanted


def test_all_records_are_read_until_told_otherwise(reader: AuditReader) -> None:
    assert seqs(reader.records()) == list(range(1, RECORDS + 1)) == seqs(record for _, record in reader.rows())
    assert (reader.range, reader.public_key) == ((1, RECORDS), KEY.public_key)


def test_a_store_without_a_record_has_nothing_to_read(tmp_path: Path) -> None:
    written(tmp_path, 0)
    with AuditReader(tmp_path) as reader:
        assert (reader.range, list(reader.records())) == ((0, 0), [])


def test_what_the_node_dropped_before_is_not_missed(tmp_path: Path) -> None:
    written(tmp_path)
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute("DELETE FROM audit WHERE seq <= 3")
    with AuditReader(tmp_path) as reader:
        assert seqs(reader.records()) == list(range(4, RECORDS + 1))
    db.close()


def test_a_record_that_is_missing_in_the_middle_is_left_to_the_check_of_the_chain(tmp_path: Path) -> None:
    written(tmp_path)
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute("DELETE FROM audit WHERE seq = 5")
    db.close()
    with AuditReader(tmp_path) as reader:
        assert seqs(reader.records()) == [1, 2, 3, 4, 6, 7, 8, 9, 10]
        assert seqs(reader.records(5, 5)) == []


def test_records_that_go_while_they_are_read_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "PAGE_RECORDS", 2)
    written(tmp_path)
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    with AuditReader(tmp_path) as reader:
        records = reader.records()
        assert seqs(iter([next(records), next(records)])) == [1, 2]
        db.execute("DELETE FROM audit WHERE seq <= 4")
        with pytest.raises(EyeflowError) as error:
            next(records)
        assert error.value.code == "audit_dropped" and "record 3" in error.value.message and error.value.next_step
        others = reader.records()
        assert next(others)
        db.execute("DELETE FROM audit")
        rest = [*others]
        assert len(rest) <= 1, "the page that was read already"
    db.close()


def test_a_page_that_was_read_whole_is_given_although_its_records_go_right_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "PAGE_RECORDS", 2)
    written(tmp_path)
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    with AuditReader(tmp_path) as reader:
        read = reader._page

        def page(query: str, bindings: tuple[int | bytes, ...]) -> list[Any]:
            rows = read(query, bindings)
            if "LIMIT" in query:
                db.execute("DELETE FROM audit WHERE seq <= ?", (rows[-1][0],))
            return rows

        monkeypatch.setattr(reader, "_page", page)
        assert seqs(reader.records()) == list(range(1, RECORDS + 1))
    db.close()


def test_a_stored_program_is_found_by_its_id(tmp_path: Path) -> None:
    rows = [replace(slot(rule, Slot.ACTIVE), program_id=rule.encode() * 32, program=rule.encode()) for rule in "ab"]
    store = open_store(tmp_path)
    store.commit(Batch(put_slots=rows))
    store.close(clean=True)
    with AuditReader(tmp_path) as reader:
        assert [reader.program(name * 32) for name in (b"a", b"b", b"c")] == [b"a", b"b", None]


def test_no_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(EyeflowError) as error:
        AuditReader(tmp_path)
    assert (error.value.code, error.value.exit_code) == ("no_store", ExitCode.ENVIRONMENT)
    assert str(tmp_path) in error.value.message and STORE_NAME in error.value.cause


@pytest.mark.parametrize(
    ("version", "application", "code"),
    [
        (0, APPLICATION_ID, "no_store"),
        (VERSION + 1, APPLICATION_ID, "store_version"),
        (VERSION, APPLICATION_ID + 1, "store_foreign"),
        (VERSION, 0, "store_foreign"),
    ],
)
def test_a_file_of_another_kind_is_said(tmp_path: Path, version: int, application: int, code: str) -> None:
    written(tmp_path)
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute(f"PRAGMA user_version = {version}; PRAGMA application_id = {application}")
    db.close()
    with pytest.raises(EyeflowError) as error:
        AuditReader(tmp_path)
    assert (error.value.code, error.value.exit_code) == (code, ExitCode.ENVIRONMENT)
    assert error.value.cause and error.value.next_step


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_the_store_of_each_older_eyeflow_is_read(tmp_path: Path, version: int) -> None:
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    for migration in MIGRATIONS[:version]:
        db.execute(migration)
    db.execute(f"PRAGMA user_version = {version}; PRAGMA application_id = {APPLICATION_ID}")
    db.close()
    with AuditReader(tmp_path) as reader:
        assert (reader.range, reader.program(bytes(32))) == ((0, 0), None)


def test_damage_is_said_wherever_it_is_met(tmp_path: Path) -> None:
    written(tmp_path, 500)
    path = tmp_path / STORE_NAME
    whole = path.read_bytes()
    path.write_bytes(b"this is no database at all" * 400)
    with pytest.raises(EyeflowError) as error:
        AuditReader(tmp_path)
    assert (error.value.code, error.value.exit_code) == ("store_damaged", ExitCode.PROBLEMS)
    assert str(path) in error.value.message and error.value.cause and error.value.next_step
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with AuditReader(tmp_path) as reader:
        for look in (lambda: reader.range, lambda: reader.public_key, lambda: reader.program(bytes(32))):
            with pytest.raises(EyeflowError) as error:
                look()
            assert error.value.code == "store_damaged"


def test_a_store_that_cannot_be_opened_is_trouble_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / STORE_NAME).mkdir()
    with pytest.raises(EyeflowError) as error:
        AuditReader(tmp_path)
    assert (error.value.code, error.value.exit_code) == ("disk_failed", ExitCode.ENVIRONMENT)
    assert error.value.cause == f"{tmp_path / STORE_NAME}: the disk fails to read or write"


def test_reading_changes_nothing_and_ends_with_its_block(tmp_path: Path) -> None:
    written(tmp_path)
    with AuditReader(tmp_path) as reader, pytest.raises(apsw.ReadOnlyError):
        reader._db.execute("DELETE FROM audit")
    with pytest.raises(apsw.ConnectionClosedError):
        list(reader._db.execute("SELECT 1"))
