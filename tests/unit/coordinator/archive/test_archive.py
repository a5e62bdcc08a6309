"""The archive's file: what is acknowledged is there, once, whatever comes twice, and a disk that fails loses nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import apsw
import pytest

from components.failing_disk import Disk
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.chain import BrokenChain
from eyeflow.coordinator.archive.database import Outcome
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, SqliteArchive, SqliteReader
from eyeflow.coordinator.histories import Doubt
from eyeflow.protocol.collecting import is_cosigned
from eyeflow.protocol.wire import ProtocolError
from unit.coordinator.archive.chains import (
    COORDINATOR,
    COORDINATOR_KEY,
    EPOCH,
    NODE,
    Chain,
    cosign,
    execution,
)


def opened(directory: Path) -> SqliteArchive:
    return SqliteArchive(directory / ARCHIVE_FILE, Machine(), cosign)


def seq_of(outcome: Outcome) -> int:
    assert outcome.kept is not None, outcome.error
    return outcome.kept.seq


def stored(archive: SqliteArchive) -> list[bytes]:
    return [row.data for row in archive.page(NODE, EPOCH, 0, 10_000)]


def test_what_was_appended_is_there_after_the_next_start_and_its_head_is_cosigned(tmp_path: Path) -> None:
    chain, archive = Chain().run(9), opened(tmp_path)
    (outcome,) = archive.append([chain.bundle(1, 10)])
    archive.close()
    again = opened(tmp_path)
    assert stored(again) == chain.records
    (kept,) = again.chains()
    assert kept.kept == outcome.kept and (kept.first_seq, kept.kept.seq) == (1, 10)
    assert is_cosigned(kept.kept, COORDINATOR, COORDINATOR_KEY.public_key, NODE)
    assert not is_cosigned(kept.kept, COORDINATOR, COORDINATOR_KEY.public_key, "node-b"), "the control"
    again.close()


def test_what_comes_twice_or_overlaps_is_merged(tmp_path: Path) -> None:
    chain, archive = Chain().run(19), opened(tmp_path)
    for first, last, until in ((1, 8, 8), (1, 8, 8), (5, 12, 12), (3, 4, 12), (10, 20, 20)):
        assert seq_of(archive.append([chain.bundle(first, last)])[0]) == until
    assert stored(archive) == chain.records
    archive.close()


def test_a_record_that_is_another_one_than_before_is_a_fork_and_changes_nothing(tmp_path: Path) -> None:
    chain, archive = Chain().run(9), opened(tmp_path)
    archive.append([chain.bundle(1, 10)])
    other = Chain().run(6).add(execution(99)).run(20)
    for first, last in ((8, 8), (1, 10), (9, 20), (11, 20)):
        (outcome,) = archive.append([other.bundle(first, last)])
        assert isinstance(outcome.error, BrokenChain) and outcome.error.kind is Doubt.FORKED
    assert stored(archive) == chain.records
    archive.close()


def test_of_several_bundles_those_that_hold_are_kept(tmp_path: Path) -> None:
    chain, archive = Chain().run(9), opened(tmp_path)
    strange = chain.bundle_of([b"nonsense"])
    broken = strange.__class__(chain.owner, b"no bundle", 10, 0)
    first, second, third, fourth = archive.append([chain.bundle(1, 4), strange, broken, chain.bundle(5, 10)])
    assert (seq_of(first), seq_of(fourth)) == (4, 10)
    assert isinstance(second.error, BrokenChain) and isinstance(third.error, ProtocolError)
    assert stored(archive) == chain.records
    archive.close()


@pytest.mark.parametrize("way", ["full", "write_errors", "sync_errors"])
def test_a_disk_that_fails_acknowledges_nothing_and_takes_it_once_it_is_back(tmp_path: Path, way: str) -> None:
    chain, disk = Chain().run(30), Disk(f"archive-{way}")
    archive = SqliteArchive(tmp_path / ARCHIVE_FILE, Machine(vfs=disk.name), cosign)
    assert seq_of(archive.append([chain.bundle(1, 10)])[0]) == 10
    setattr(disk, way, True)
    for _ in range(3):
        (outcome,) = archive.append([chain.bundle(11, 31)])
        assert isinstance(outcome.error, EyeflowError) and outcome.error.code == "archive"
    setattr(disk, way, False)
    assert seq_of(archive.append([chain.bundle(11, 31)])[0]) == 31
    assert stored(archive) == chain.records
    archive.close()
    again = opened(tmp_path)
    assert stored(again) == chain.records
    again.close()


def test_a_file_of_another_program_or_a_newer_eyeflow_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / ARCHIVE_FILE)
    other.execute("CREATE TABLE something (a)")
    other.close()
    with pytest.raises(EyeflowError, match="no archive that this eyeflow can use"):
        opened(tmp_path)
    (tmp_path / ARCHIVE_FILE).unlink()
    opened(tmp_path).close()
    newer = apsw.Connection(str(tmp_path / ARCHIVE_FILE))
    newer.pragma("user_version", 99)
    newer.close()
    with pytest.raises(EyeflowError) as refused:
        opened(tmp_path)
    assert "schema 99" in refused.value.cause
    (tmp_path / ARCHIVE_FILE).write_bytes(b"nonsense" * 1000)
    with pytest.raises(EyeflowError, match="cannot be used"):
        opened(tmp_path)


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert (tmp_path / ARCHIVE_FILE).stat().st_mode & 0o077 == 0


def test_many_bundles_at_once_go_into_few_commits_and_all_are_answered(tmp_path: Path) -> None:
    commits = 0

    class Counted(SqliteArchive):
        def append(self, bundles):  # type: ignore[no-untyped-def]
            nonlocal commits
            commits += 1
            return super().append(bundles)

    chain, path = Chain().run(99), tmp_path / ARCHIVE_FILE

    async def run() -> list[int]:
        archive = Archive(Counted(path, Machine(), cosign), SqliteReader(path, Machine()))
        parts = [archive.append(chain.bundle(first, first + 9)) for first in range(1, 101, 10)]
        kept = [one.seq for one in await asyncio.gather(*parts)]
        assert [row.data for row in await archive.page(NODE, EPOCH, 0, 1000)] == chain.records
        archive.close()
        with pytest.raises(EyeflowError, match="stops"):
            await archive.append(chain.bundle(1, 2))
        return kept

    assert asyncio.run(run()) == list(range(10, 101, 10))
    assert commits <= 3
