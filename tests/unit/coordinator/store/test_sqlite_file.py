"""The coordinator's SQLite file: who may read it, how durable it is, and what a disk that fails does to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from components.failing_disk import Disk, registered_disk
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.sqlite_file import BUSY_MS, ROOM_BYTES_MIN, SqliteFile, SqliteReader
from eyeflow.protocol.identity import key_fingerprint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with registered_disk(f"coordinator-{tmp_path.name}") as disk:
        yield disk


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def register(writing: Writing) -> None:
    writing.register_node("n", bytes(32), 1)


def names(reading: Reading) -> list[str]:
    return reading.node_names()


def fails(_: object) -> None:
    raise apsw.IOError("the test's disk failed")


def refused(call: Any, *arguments: Any) -> EyeflowError:
    with pytest.raises(EyeflowError) as error:
        call(*arguments)
    return error.value


def is_open(db: apsw.Connection | None) -> bool:
    try:
        return db is not None and bool(db.execute("SELECT 1").get)
    except apsw.ConnectionClosedError:
        return False


@pytest.mark.usefixtures("open_umask")
def test_a_new_store_and_its_directory_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "store.sqlite"
    SqliteFile(path, Machine()).close()
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_commit_that_returned_is_on_the_disk_and_a_reader_waits_for_nobody(path: Path) -> None:
    file, reader = SqliteFile(path, Machine()), SqliteReader(path, Machine())
    for db, reads_only in ((file._db, 0), (reader._opened, 1)):
        settings = [db.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys", "query_only")]
        assert settings == ["wal", 2, 1, reads_only], "2 is FULL"
        assert db.pragma("busy_timeout") == BUSY_MS
    error = refused(reader.read, lambda reading: reading._db.run("DELETE FROM nodes", ()))
    assert error.code == "store", "a reader cannot write"
    reader.close()
    file.close()


def test_a_new_store_is_of_a_new_coordinator_and_stays_of_it(tmp_path: Path) -> None:
    keys = []
    for name, machine in (("a", Machine(random=Random(7))), ("b", Machine(random=Random(7))), ("c", Machine())):
        file = SqliteFile(tmp_path / name, machine)
        assert file.coordinator_id == key_fingerprint(file.identity.public_key)
        assert (file.trouble, file.newest_change) == ("", 0)
        keys.append(file.identity.private_bytes())
        file.close()
    assert keys[0] == keys[1] != keys[2], "the machine's random numbers make the key"
    again = SqliteFile(tmp_path / "c", Machine())
    assert again.identity.private_bytes() == keys[2]
    again.close()


def test_opening_a_store_of_this_version_writes_nothing(path: Path, disk: Disk) -> None:
    SqliteFile(path, Machine(vfs=disk.name)).close()
    before = disk.writes
    file = SqliteFile(path, Machine(vfs=disk.name))
    assert disk.writes == before > 0
    file.close()


def test_a_store_that_was_closed_is_one_file(path: Path) -> None:
    file, reader = SqliteFile(path, Machine()), SqliteReader(path, Machine())
    file.commit([register])
    assert reader.read(names) == ["n"]
    file.close()
    reader.close()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_gone_after_an_error_is_not_made_anew(path: Path, disk: Disk) -> None:
    """A new, empty store in its place would have no node, and another key."""
    file = SqliteFile(path, Machine(vfs=disk.name))
    broken = file._opened
    disk.write_errors = True
    (failed,) = file.commit([register])
    assert failed.error is not None and not is_open(broken), "its pages may not be what the disk holds"
    disk.write_errors = False
    for one in list(path.parent.iterdir()):
        one.rename(one.with_name(f"away-{one.name}"))
    (lost,) = file.commit([register])
    assert isinstance(lost.error, EyeflowError) and isinstance(lost.error.__cause__, apsw.CantOpenError)
    assert file.trouble == lost.error.brief and not path.exists()
    file.close()


def test_an_error_that_is_not_of_the_disk_closes_nothing(path: Path) -> None:
    def busy(writing: Writing) -> None:
        raise apsw.BusyError("in the test")

    file = SqliteFile(path, Machine())
    before = file._opened
    (outcome,) = file.commit([busy])
    assert isinstance(outcome.error, EyeflowError) and str(path) in outcome.error.message
    assert file._opened is before and is_open(before)
    assert str(path) in refused(file.read, fails).message
    file.close()


def test_room_is_asked_of_the_disk_that_the_store_is_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    free_bytes: list[int | OSError] = []
    flags = os.ST_NOSUID

    def free_bytes_of(directory: Path) -> int:
        asked.append(directory)
        if isinstance(free_bytes[0], OSError):
            raise free_bytes[0]
        return free_bytes[0]

    def statvfs(directory: Path) -> Any:
        asked.append(directory)
        return SimpleNamespace(f_flag=flags)

    file = SqliteFile(path, Machine(free_bytes=free_bytes_of))
    monkeypatch.setattr(os, "statvfs", statvfs)
    free_bytes[:] = [ROOM_BYTES_MIN]
    file.check_room()
    assert asked == [path.parent] * 2
    free_bytes[:] = [ROOM_BYTES_MIN - 1]
    full = refused(file.check_room)
    assert str(path) in full.message and f"{ROOM_BYTES_MIN - 1} bytes left" in full.cause
    free_bytes[:] = [ROOM_BYTES_MIN]
    flags = os.ST_NOSUID | os.ST_RDONLY
    read_only = refused(file.check_room)
    assert str(path) in read_only.message and "read-only" in read_only.cause
    free_bytes[:] = [OSError(5, "Input/output error")]
    away = refused(file.check_room)
    assert str(path) in away.message and "Input/output error" in away.cause and away.code == "store"
    file.close()


def test_a_reader_reads_the_file_anew_after_an_error_of_the_disk(path: Path, disk: Disk) -> None:
    machine = Machine(vfs=disk.name)
    file, reader = SqliteFile(path, machine), SqliteReader(path, machine)
    file.commit([register])
    first = reader._opened
    assert first is not None and first.open_vfs == disk.name
    assert reader.read(names) == ["n"] and reader._opened is first
    error = refused(reader.read, fails)
    assert str(path) in error.message and isinstance(error.__cause__, apsw.IOError)
    assert not is_open(first)
    away = path.rename(path.with_name("away"))
    assert str(path) in refused(reader.read, names).message
    assert not path.exists(), "a reader makes no store"
    reader.close()
    away.rename(path)
    assert reader.read(names) == ["n"]
    second = reader._opened
    assert second is not None and (second.open_vfs, second.pragma("query_only")) == (disk.name, 1)
    assert reader.read(names) == ["n"] and reader._opened is second
    reader.close()
    assert not is_open(second)
    file.close()


def test_a_disk_that_fails_once_more_while_the_reader_lets_go_is_told_once(path: Path, disk: Disk) -> None:
    machine = Machine(vfs=disk.name)
    file, reader = SqliteFile(path, machine), SqliteReader(path, machine)
    file.commit([register])
    file.close()
    disk.write_errors = True  # the last one that closes the file writes the log back into it
    assert refused(reader.read, fails).code == "store"
    disk.write_errors = False
    assert reader.read(names) == ["n"]
    reader.close()
