"""Damaged pages of the archive: found, set aside, and collected anew; a record that is wrong never comes out."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from components.failing_disk import Disk
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator import collecting
from eyeflow.coordinator.archive import checking, sql_archive, sqlite_archive
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.checking import Checker, Spoiled
from eyeflow.coordinator.archive.database import DAMAGED, BegunAnewError, Bounds, Bundle, Outcome
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, DAMAGED_FILE, SqliteArchive, SqliteReader
from eyeflow.coordinator.collecting import Collector, Copies
from eyeflow.protocol.collecting import Collect, Collected, bundled
from unit.coordinator.archive.chains import EPOCH, NODE, OWNER, START_US, Chain, cosign, execution
from unit.coordinator.conftest import until

FLIPS = 10_000 if os.environ.get("EYEFLOW_FUZZ") == "full" else 60
RECORDS = 600


def opened(directory: Path) -> SqliteArchive:
    return SqliteArchive(directory / ARCHIVE_FILE, Machine(), cosign)


def looked_through(archive: SqliteArchive) -> Spoiled | None:
    checker = Checker()
    for _ in range(2 * (RECORDS // checking.CHECK_RECORDS + 2)):
        if (found := checker.look(archive)) is not None:
            return found
    return None


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Chain]:
    directory, chain = tmp_path_factory.mktemp("archive"), Chain().run(RECORDS + 49)
    archive = opened(directory)
    for first in range(1, RECORDS, 100):
        assert archive.append([chain.bundle(first, first + 99)])[0].kept is not None
    archive.close()
    return directory, chain


def flip(path: Path, random: Random) -> None:
    """Change some bits of one page, as a disk does that is about to fail."""
    data = bytearray(path.read_bytes())
    page = random.randrange(len(data) // 4096)
    for _ in range(random.choice((1, 1, 8, 64))):
        data[page * 4096 + random.randrange(4096)] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def became(directory: Path, chain: Chain) -> str:
    """Return what a coordinator makes of the file: what is wrong is found, or nothing of the records is."""
    try:
        archive = opened(directory)
    except EyeflowError as error:
        return str(error.code)
    try:
        if (directory / DAMAGED_FILE).exists():
            return "set aside at the start"
        if looked_through(archive) is not None:
            return "a chain was set aside"
        (outcome,) = archive.append([chain.bundle(RECORDS + 1, RECORDS + 50)])
        if isinstance(outcome.error, EyeflowError) and outcome.error.code == DAMAGED:
            return "set aside at a commit"
        kept = [row.data for row in archive.page(NODE, EPOCH, 0, 10_000)]
        return "unharmed" if kept == chain.records[: len(kept)] and len(kept) >= RECORDS else "WRONG"
    except EyeflowError as error:
        return "set aside at a look" if error.code == DAMAGED else str(error.code)
    finally:
        archive.close()


def played(filled: tuple[Path, Chain], directory: Path, count: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for number in range(count):
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(filled[0], directory)
        flip(directory / ARCHIVE_FILE, Random(number))
        found[became(directory, filled[1])] += 1
    return found


def test_no_flipped_bit_makes_a_record_another_one_unseen(filled: tuple[Path, Chain], tmp_path: Path) -> None:
    found = played(filled, tmp_path / "case", FLIPS)
    print(f"{FLIPS} damaged pages: {dict(found)}")
    assert found["WRONG"] == 0 and sum(found.values()) - found["unharmed"] > FLIPS // 4, found


def test_control_without_the_look_at_hashes_wrong_records_come_out(
    filled: tuple[Path, Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checker, "look", lambda self, reader: None)
    assert played(filled, tmp_path / "case", 60)["WRONG"] > 0


def test_an_archive_that_is_begun_anew_takes_nothing_that_was_asked_for_before(tmp_path: Path) -> None:
    """Else the records that follow would look as if those before them had been dropped without a gap."""

    async def walk() -> None:
        chain, path = Chain().run(60), tmp_path / ARCHIVE_FILE
        database = opened(tmp_path)
        archive = Archive(database, SqliteReader(path, Machine()))
        told: list[EyeflowError] = []
        archive.on_damage = told.append
        await archive.append(chain.bundle(1, 20))
        assert len(await archive.page(NODE, EPOCH, 0, 100)) == 20
        database._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        database.reopen()
        path.write_bytes(os.urandom(path.stat().st_size))
        for _ in range(2):
            with pytest.raises(BegunAnewError):
                await archive.append(chain.bundle(21, 40))
        assert len(told) == 1 and archive.generation == 1 and (tmp_path / DAMAGED_FILE).exists()
        assert await archive.page(NODE, EPOCH, 0, 100) == [] == await archive.chains()
        kept = await archive.append(replace(chain.bundle(1, 40), generation=1))
        assert kept.seq == 40
        archive.close()

    asyncio.run(walk())


@pytest.mark.parametrize("drops", [8, 40])
def test_a_changed_record_is_found_while_the_oldest_are_dropped(
    tmp_path: Path, drops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the bound of the archive, where its first records go between any two looks: slower than it looks, or faster."""
    monkeypatch.setattr(checking, "CHECK_RECORDS", 16)
    monkeypatch.setattr(sql_archive, "DROP_RECORDS", drops)
    for is_changed in (False, True):
        directory = tmp_path / str(is_changed)
        directory.mkdir()
        archive, checker = SqliteArchive(directory / ARCHIVE_FILE, Machine(), cosign, Bounds(1 << 30, 1)), Checker()
        archive.append([Chain().run(799).bundle(1, 800)])
        if is_changed:
            archive._db.execute("UPDATE records SET time_us = time_us + 1 WHERE seq = 500")
        found = []
        for _ in range(80):
            found.append(checker.look(archive))
            archive.tidy(START_US + 10)
        assert any(found) is is_changed, found
        archive.close()


def test_a_copy_that_is_set_aside_between_two_looks_is_not_spoiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "CHECK_RECORDS", 8)
    for looks in range(1, 14):
        directory = tmp_path / str(looks)
        directory.mkdir()
        archive, checker = opened(directory), Checker()
        archive.append([Chain().run(40).bundle(1, 41)])
        assert [checker.look(archive) for _ in range(looks)] == [None] * looks
        archive.set_aside(NODE)
        other = Chain().run(3).add(execution(99)).run(60)
        archive.append([other.bundle(1, len(other.records))])
        assert [checker.look(archive) for _ in range(30)] == [None] * 30
        archive.close()


def test_who_found_the_damage_may_go_and_the_archive_is_begun_anew_all_the_same(tmp_path: Path) -> None:
    """What waits meanwhile is answered, and what comes then is kept."""
    goes_on, is_reached = threading.Event(), threading.Event()

    class Slow(SqliteArchive):
        def begin_anew(self) -> None:
            is_reached.set()
            assert goes_on.wait(60)
            super().begin_anew()

    async def walk() -> None:
        chain, path = Chain().run(60), tmp_path / ARCHIVE_FILE
        database = Slow(path, Machine(), cosign)
        archive = Archive(database, SqliteReader(path, Machine()))
        await archive.append(chain.bundle(1, 20))
        database._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        database.reopen()
        path.write_bytes(os.urandom(path.stat().st_size))
        finder = asyncio.create_task(archive.append(chain.bundle(21, 40)))
        await asyncio.to_thread(is_reached.wait, 60)
        waiting = asyncio.create_task(archive.append(chain.bundle(21, 40)))
        finder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finder
        goes_on.set()
        with pytest.raises(BegunAnewError):
            await asyncio.wait_for(waiting, 60)
        assert archive.generation == 1
        assert (await archive.append(replace(chain.bundle(1, 40), generation=1))).seq == 40
        assert len(await archive.page(NODE, EPOCH, 0, 100)) == 40
        archive.close()

    asyncio.run(walk())


def test_what_waits_while_the_new_file_is_refused_is_answered(tmp_path: Path) -> None:
    goes_on, is_reached = threading.Event(), threading.Event()

    class Refused(SqliteArchive):
        def append(self, bundles: Sequence[Bundle]) -> list[Outcome]:
            return [Outcome(error=EyeflowError("pages", code=DAMAGED))] * len(bundles)

        def begin_anew(self) -> None:
            is_reached.set()
            assert goes_on.wait(60)
            raise EyeflowError("the disk is full", code="archive")

    async def walk() -> None:
        chain, path = Chain().run(60), tmp_path / ARCHIVE_FILE
        archive = Archive(Refused(path, Machine(), cosign), SqliteReader(path, Machine()))
        finder = asyncio.create_task(archive.append(chain.bundle(1, 20)))
        await asyncio.to_thread(is_reached.wait, 60)
        waiting = asyncio.create_task(archive.append(chain.bundle(1, 20)))
        await asyncio.sleep(0)
        goes_on.set()
        for one in (finder, waiting):
            with pytest.raises(EyeflowError, match="disk is full"):
                await asyncio.wait_for(one, 60)
        archive.close()

    asyncio.run(walk())


@pytest.mark.parametrize("way", ["full", "write_errors", "sync_errors"])
def test_a_disk_that_fails_while_an_outage_is_caught_up_acknowledges_nothing_falsely(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each commit the disk fails at the next one. Whatever the node hears is read from the file by another."""
    monkeypatch.setattr(collecting, "RETRY_S", 0.01)
    chain, disk = Chain().run(199), Disk(f"catch-up-{way}")
    said: list[Collect] = []

    async def walk() -> None:
        machine = Machine(vfs=disk.name)
        archive = Archive(
            SqliteArchive(tmp_path / ARCHIVE_FILE, machine, cosign), SqliteReader(tmp_path / ARCHIVE_FILE, machine)
        )
        copies = Copies(archive, lambda: 1)

        def ask(asked: Collect) -> None:
            said.append(asked)
            with_others = SqliteReader(tmp_path / ARCHIVE_FILE, Machine())
            there = with_others.chain(NODE, EPOCH)
            with_others.close()
            assert asked.kept.seq <= (there.kept.seq if there else 0), "it is there before the node hears of it"
            setattr(disk, way, True)
            records = chain.records[asked.after_seq : asked.after_seq + 20]
            if records:
                last = asked.after_seq + len(records)
                collector.came(Collected(EPOCH, asked.after_seq + 1, last, len(chain.records), bundled(records), None))

        async def wrong(found: Any) -> None:
            raise AssertionError(found)

        collector = Collector(copies, ask, wrong, wrong, lambda: None)
        copies.told(NODE, EPOCH, len(chain.records))
        collector.begin(OWNER)
        seen = 0
        before = 0

        async def is_refused_or_done() -> bool:
            done = said[-1:] != [] and said[-1].kept.seq == len(chain.records)
            return bool(copies.by_node[NODE].trouble) or done

        async def goes_on() -> bool:
            return len(said) > before or not copies.by_node[NODE].trouble

        while not said or said[-1].kept.seq < len(chain.records):
            await until(is_refused_or_done, "the disk refuses, or all is kept")
            seen += bool(copies.by_node[NODE].trouble)
            setattr(disk, way, False)
            before = len(said)
            await until(goes_on, "it recovers by itself")
        assert seen > 3, "it did fail"
        collector.stop()
        rows = await archive.page(NODE, EPOCH, 0, 1_000)
        assert [row.data for row in rows] == chain.records
        archive.close()

    asyncio.run(walk())


def test_the_newest_damaged_file_is_kept_and_no_log_of_it_beside_the_new_one(tmp_path: Path) -> None:
    for number in range(2):
        for end in ("", "-wal", "-shm"):
            (tmp_path / f"{ARCHIVE_FILE}{end}").write_bytes(bytes([number]) * 5000)
        opened(tmp_path).close()
        assert (tmp_path / DAMAGED_FILE).read_bytes() == bytes([number]) * 5000
    assert sqlite_archive.LOGS == ("-wal", "-shm")
