"""The store's file: its bounds by the size of its disk, and what its errors mean for whoever runs the node."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.failing_disk import registered_disk
from eyeflow.base.errors import ExitCode
from eyeflow.base.reasons import why
from eyeflow.node.store.file import (
    DISK_RESERVE_BYTES,
    PAGE_BYTES,
    SHM_BYTES,
    SIZE_BYTES_MIN,
    WAL_BYTES_MAX,
    WAL_BYTES_MIN,
    FrozenFile,
    StoreFile,
    _make_file,
    storage_error,
)
from eyeflow.node.store.types import BufferFull, StorageError, StoreDamaged

MB = 1024 * 1024
GB = 1024 * MB


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (apsw.NotADBError("x"), "store_damaged", "damaged"),
        (apsw.CorruptError("x"), "store_damaged", "damaged"),
        (apsw.FullError("x"), "disk_full", "is full"),
        (OSError(errno.ENOSPC, "x"), "disk_full", "is full"),
        (OSError(errno.EDQUOT, "x"), "disk_full", "is full"),
        (apsw.ReadOnlyError("x"), "disk_failed", "is read-only"),
        (OSError(errno.EROFS, "x"), "disk_failed", "is read-only"),
        (apsw.IOError("x"), "disk_failed", "failed"),
        (apsw.CantOpenError("x"), "disk_failed", "failed"),
        (OSError(errno.EACCES, "x"), "disk_failed", "failed"),
    ],
)
def test_each_error_of_the_disk_has_its_word_and_its_way_out(
    tmp_path: Path, error: apsw.Error | OSError, code: str, says: str
) -> None:
    said = storage_error(error, tmp_path / "node.db")
    assert (said.code, said.full, said.exit_code) == (code, code == "disk_full", ExitCode.ENVIRONMENT)
    assert isinstance(said, StoreDamaged) is (code == "store_damaged")
    assert says in said.message and said.cause and said.next_step
    assert said.cause == (why(error) if code == "store_damaged" else f"{tmp_path / 'node.db'}: {why(error)}")


def test_an_error_on_a_disk_that_is_mounted_read_only_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def mounted(flags: int) -> None:
        monkeypatch.setattr(os, "statvfs", lambda path: asked.append(path) or SimpleNamespace(f_flag=flags))

    mounted(os.ST_RDONLY | os.ST_NOSUID)
    assert "read-only" in storage_error(apsw.IOError("x"), tmp_path / "node.db").message
    mounted(os.ST_NOSUID)
    assert "failed" in storage_error(apsw.IOError("x"), tmp_path / "node.db").message
    assert asked == [tmp_path, tmp_path]
    monkeypatch.undo()
    assert "failed" in storage_error(apsw.IOError("x"), tmp_path / "gone" / "node.db").message


def test_a_damaged_store_is_named_with_what_belongs_to_it(tmp_path: Path) -> None:
    said = StoreDamaged(tmp_path / "node.db", "why")
    assert str(tmp_path / "node.db") in said.message and said.cause == "why"
    assert (said.code, said.full) == ("store_damaged", False)
    for named in (str(tmp_path), "node.db", "-wal", "-shm", "eyeflow audit verify"):
        assert named in said.next_step


def test_a_full_buffer_says_whether_the_setting_or_the_disk_bounds_it() -> None:
    for bound, named in (
        (100, "Raise [offline] max_buffer_size_mb"),
        (101, "Raise [offline] max_buffer_size_mb"),
        (99, "Free space on this disk"),
    ):
        said = BufferFull(bound, 100)
        assert said.message == "the node's buffer is full" and str(bound) in said.cause
        assert said.next_step == f'{named}, or set on_full = "drop-oldest".'
        assert (said.code, said.full) == ("disk_full", True)


def test_a_code_of_its_own_stays() -> None:
    assert StorageError("m", cause="c", next_step="n", full=True, code="own").code == "own"


# --- bounds ------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(size=st.integers(0, 8 * GB), free=st.integers(0, 8 * GB))
def test_the_bound_follows_the_setting_and_the_disk(
    tmp_path_factory: pytest.TempPathFactory, size: int, free: int
) -> None:
    """No part of it outgrows the bound, and the disk keeps its reserve, down to the smallest store there is."""
    room = [8 * GB]
    file = StoreFile(tmp_path_factory.mktemp("f") / "node.db", size, free_bytes=lambda directory: room[0])
    room[0] = free
    file.fit()
    disk = file.disk_bytes + max(0, free - DISK_RESERVE_BYTES)
    assert file.size_bytes_max == max(SIZE_BYTES_MIN, min(size, disk))
    assert file.wal_bytes_max == sorted((WAL_BYTES_MIN, file.size_bytes_max // 8, WAL_BYTES_MAX))[1]
    pages = file.pages_max * PAGE_BYTES
    assert 0 <= file.size_bytes_max - (pages + file.wal_bytes_max + SHM_BYTES) < PAGE_BYTES
    assert file.db.pragma("max_page_count") == file.pages_max
    assert file.db.pragma("journal_size_limit") == file.wal_bytes_max
    file.close()


def test_what_is_used_and_what_is_left_are_all_pages(tmp_path: Path) -> None:
    file = StoreFile(tmp_path / "node.db", 64 * MB)
    before = file.used_bytes
    assert before > 0 and before + file.room_bytes == file.pages_max * PAGE_BYTES
    file.db.execute("INSERT INTO audit VALUES (1, 1, zeroblob(1000000))")
    assert abs(file.used_bytes - before - 1_000_000) < 10 * PAGE_BYTES
    file.db.execute("DELETE FROM audit")
    assert file.used_bytes == before, "pages that were left count as free"
    assert file.disk_bytes == sum(one.stat().st_size for one in tmp_path.iterdir())
    file.close()


def test_it_is_opened_so_that_a_commit_is_durable_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    for _ in range(2):
        file = StoreFile(path, 64 * MB)
        pragmas = {one: file.db.pragma(one) for one in ("page_size", "journal_mode", "synchronous", "trusted_schema")}
        assert pragmas == {"page_size": PAGE_BYTES, "journal_mode": "wal", "synchronous": 2, "trusted_schema": 0}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        file.close()
        path.chmod(0o644)  # as a restored backup may have it


def test_the_index_of_the_log_has_its_blocks_before_it_is_written(tmp_path: Path) -> None:
    """Or a full disk would end the process with SIGBUS."""
    file = StoreFile(tmp_path / "node.db", 8 * GB)
    index = (tmp_path / "node.db-shm").stat()
    steps = 1 + file.wal_bytes_max // (4096 * PAGE_BYTES)
    assert index.st_size == 32 * 1024 * steps and index.st_blocks * 512 >= index.st_size
    fd = file._index_fd
    assert os.fstat(fd).st_ino == index.st_ino
    file.close()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_a_disk_without_room_for_the_index_is_not_even_opened(tmp_path: Path) -> None:
    def opened(free: int) -> StoreFile:
        return StoreFile(tmp_path / "node.db", 64 * MB, free_bytes=lambda directory: free)

    with pytest.raises(StorageError) as error:
        opened(32 * 1024 - 1)
    assert error.value.full and not (tmp_path / "node.db").exists()
    opened(32 * 1024).close()
    (tmp_path / "node.db-wal").write_bytes(b"")
    os.truncate(tmp_path / "node.db-wal", 4096 * PAGE_BYTES)
    with pytest.raises(StorageError):
        opened(64 * 1024 - 1)


def test_a_log_is_moved_into_the_file_at_a_quarter_of_its_bound(tmp_path: Path) -> None:
    file = StoreFile(tmp_path / "node.db", 64 * MB)
    moved: list[bool] = []

    def size(name: str) -> int:
        return (tmp_path / name).stat().st_size

    for number in range(1, 200):
        file.db.execute("INSERT INTO audit VALUES (?, 1, zeroblob(100000))", (number,))
        log, base = size("node.db-wal"), size("node.db")
        file.tidy()
        grew = size("node.db") > base
        moved.append(grew)
        if grew:
            assert log > file.wal_bytes_max // 4
        assert size("node.db-wal") <= file.wal_bytes_max // 2
    assert sum(moved) > 2, "many times"
    file.close()


@pytest.mark.parametrize(
    ("logged_bytes", "moved", "is_refused"),
    [(6 * MB, 0, False), (6 * MB + PAGE_BYTES, 0, True), (6 * MB + PAGE_BYTES, 6 * MB // PAGE_BYTES + 1, False)],
)
def test_a_log_that_somebody_keeps_from_moving_is_refused_above_three_quarters_of_its_bound(
    tmp_path: Path, logged_bytes: int, moved: int, is_refused: bool
) -> None:
    file = StoreFile(tmp_path / "node.db", 64 * MB)
    assert file.wal_bytes_max == 8 * MB
    pages, db = logged_bytes // PAGE_BYTES, file.db
    file._wal_pages = pages
    file.fit = lambda: None  # type: ignore[method-assign]
    file.db = SimpleNamespace(wal_checkpoint=lambda mode: (pages, moved))
    if is_refused:
        with pytest.raises(StorageError) as error:
            file.tidy()
        assert error.value.full and str(tmp_path / "node.db") in error.value.cause
    else:
        file.tidy()
    file.db = db
    file.close()


@pytest.mark.parametrize(("more_pages", "is_moved"), [(0, False), (1, True)])
def test_a_log_is_left_alone_up_to_a_quarter_of_its_bound(tmp_path: Path, more_pages: int, is_moved: bool) -> None:
    file, fitted = StoreFile(tmp_path / "node.db", 64 * MB), list[bool]()
    file._wal_pages = 2 * MB // PAGE_BYTES + more_pages
    file.fit = lambda: fitted.append(True)  # type: ignore[method-assign]
    file.tidy()
    assert fitted == [True] * is_moved
    file.close()


def test_on_a_disk_without_room_the_files_may_keep_what_they_have(tmp_path: Path) -> None:
    room = [8 * GB]
    file = StoreFile(tmp_path / "node.db", 64 * MB, free_bytes=lambda directory: room[0])
    file.db.execute("INSERT INTO audit VALUES (1, 1, zeroblob(?))", (4 * MB,))
    room[0] = DISK_RESERVE_BYTES
    file.fit()
    assert file.size_bytes_max == file.disk_bytes > SIZE_BYTES_MIN
    file.close()
    assert file.disk_bytes == (tmp_path / "node.db").stat().st_size, "the others are gone"


def test_a_log_that_cannot_be_written_into_the_file_is_trouble_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with registered_disk("flush") as disk:
        file = StoreFile(path, 64 * MB, disk.name)
        file.db.execute("INSERT INTO audit VALUES (1, 1, x'00')")
        disk.write_errors = True
        with pytest.raises(StorageError) as error:
            file.flush_log()
        assert error.value.cause == f"{path}: the disk fails to read or write"
        disk.write_errors = False
        file.flush_log()
        assert (tmp_path / "node.db-wal").stat().st_size == 0
        file.close()


# --- files and descriptors ---------------------------------------------------------------------------------------


def test_a_new_file_is_its_owners_from_its_first_moment_on(tmp_path: Path) -> None:
    before = os.umask(0)
    _make_file(tmp_path / "node.db")
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "node.db").stat().st_mode) == 0o600


def test_rights_that_are_narrow_enough_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    StoreFile(path, 64 * MB).close()
    path.chmod(0o700)
    StoreFile(path, 64 * MB).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_where_the_log_has_no_index_none_is_held(tmp_path: Path) -> None:
    """A disk without shared memory: SQLite keeps a journal there."""
    file = StoreFile(tmp_path / "node.db", 64 * MB, "unix-none")
    assert file.db.pragma("journal_mode") == "delete" and file._index_fd < 0
    file.close()


@pytest.mark.parametrize("descriptor", [0, 1])
def test_a_descriptor_of_any_number_is_closed_once(
    tmp_path: Path, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon without standard input gets 0."""
    file, closed = StoreFile(tmp_path / "node.db", 64 * MB), list[int]()
    own = file._index_fd
    file._index_fd = descriptor
    with monkeypatch.context() as patched:
        patched.setattr(os, "close", closed.append)
        file._release_index()
        file._release_index()
    assert closed == [descriptor]
    file._index_fd = own
    file.close()


def test_a_frozen_file_is_read_and_nothing_beside_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    file = StoreFile(path, 64 * MB)
    file.db.execute("INSERT INTO audit VALUES (1, 1, x'00')")
    file.close()
    frozen = FrozenFile(path, 64 * MB)
    assert frozen.db.execute("SELECT count(*) FROM audit").get == 1
    assert (frozen.size_bytes_max, frozen.wal_bytes_max, frozen.pages_max) == (64 * MB, 0, 0)
    assert frozen.db.pragma("trusted_schema") == 0 and frozen._index_fd < 0
    frozen.tidy()
    assert [one.name for one in tmp_path.iterdir()] == ["node.db"]
    frozen.abandon()
