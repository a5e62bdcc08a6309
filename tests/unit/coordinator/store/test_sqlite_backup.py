"""Copies of the coordinator's file: of what is committed, for nobody else to read, and with numbers that go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.store import sqlite_backup
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.coordination import Link
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.store.sqlite_backup import AHEAD, copy_store, go_ahead, is_whole
from eyeflow.coordinator.store.sqlite_file import SqliteFile

MACHINE = Machine()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def file(path: Path) -> Iterator[SqliteFile]:
    file = SqliteFile(path, MACHINE)
    yield file
    file.close()


def do(file: SqliteFile, step: Any) -> Any:
    (outcome,) = file.commit([step])
    assert outcome.error is None, outcome.error
    return outcome.result


def names(path: Path) -> list[str]:
    file = SqliteFile(path, MACHINE)
    found = file.read(lambda reading: reading.node_names())
    file.close()
    return found


def refused(path: Path, copy: Path) -> EyeflowError:
    with pytest.raises(EyeflowError) as error:
        copy_store(path, copy)
    assert error.value.code == "backup" and str(path) in error.value.message
    return error.value


def test_a_copy_holds_what_is_committed_and_only_its_owner_may_read_it(path: Path, file: SqliteFile) -> None:
    do(file, lambda writing: writing.register_node("kept", bytes(32), 1))
    file._db.execute("BEGIN IMMEDIATE")
    file._writing().register_node("not yet", bytes(32), 1)
    before = os.umask(0)
    copy_store(path, path.with_name("copy"))
    os.umask(before)
    file._db.execute("ROLLBACK")
    assert path.with_name("copy").stat().st_mode & 0o777 == 0o600
    assert names(path.with_name("copy")) == ["kept"]


def test_no_file_is_copied_over_and_none_is_made_of_nothing(path: Path, file: SqliteFile) -> None:
    taken = path.with_name("taken")
    taken.write_bytes(b"")
    refused(path, taken)
    assert taken.read_bytes() == b""
    refused(path.with_name("nowhere"), path.with_name("copy"))
    assert not path.with_name("nowhere").exists()


def test_a_file_that_another_process_holds_is_waited_for_and_then_refused(
    path: Path, file: SqliteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_backup, "BUSY_MS", 1)
    file._db.pragma("locking_mode", "exclusive")
    do(file, lambda writing: writing.register_node("n", bytes(32), 1))
    assert "another process uses it" in refused(path, path.with_name("copy")).cause


def test_a_damaged_file_is_not_whole_and_neither_is_one_that_is_no_database(path: Path) -> None:
    assert not is_whole(path) and not path.exists(), "it only looks"
    file = SqliteFile(path, MACHINE)
    do(file, lambda writing: [writing.register_node(f"n{number:03}", bytes(32), 1) for number in range(200)])
    file.close()
    assert is_whole(path)
    data = path.read_bytes()
    path.write_bytes(data[:-8192] + bytes(8192))
    assert not is_whole(path)
    path.write_bytes(b"this is no database at all" * 100)
    assert not is_whole(path)


def test_a_store_that_was_put_back_goes_on_where_nobody_has_been(path: Path) -> None:
    def step(writing: Writing) -> None:
        for name in ("gone", "served", "new"):
            writing.register_node(name, bytes(32), 1)
        for name in ("gone", "gone", "served", "served", "served"):
            writing.next_manifest_version(name)
        writing.remove_node("gone", 2)
        writing.take_link(Link("served", "0", 1, 2))

    file = SqliteFile(path, MACHINE)
    do(file, step)
    newest = file.newest_change
    file.close()
    go_ahead(path)
    file = SqliteFile(path, MACHINE)
    versions = file.read(lambda reading: {one.name: one.manifest_version for one in reading.nodes()})
    assert versions == {"served": AHEAD + 3, "new": AHEAD}
    assert file.read(lambda reading: reading.links()) == [], "no coordinator holds one yet"
    assert file.newest_change == 0, "the old changes are not those that a reader knows by these numbers"
    do(file, lambda writing: writing.register_node("gone", bytes(32), 3))
    assert do(file, lambda writing: writing.next_manifest_version("gone")) == AHEAD + 3
    assert file.newest_change == newest + 1 + AHEAD + 1, "after the newest, and the one that makes the numbers go on"
    file.close()


def test_a_feed_without_a_change_goes_on_ahead_as_well(path: Path) -> None:
    SqliteFile(path, MACHINE).close()
    go_ahead(path)
    file = SqliteFile(path, MACHINE)
    do(file, lambda writing: writing.add_change(1, ChangeKind.NODE, "n"))
    assert file.newest_change == 1 + AHEAD + 1
    file.close()


def test_numbers_go_on_only_where_there_is_a_store(path: Path) -> None:
    with pytest.raises(apsw.CantOpenError):
        go_ahead(path)
    assert not path.exists()
