"""The archive's file: what is acknowledged is there, once, whatever comes twice, and a disk that fails loses nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from components.failing_disk import Disk
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.archive import sql_archive
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.chain import BrokenChain, Owner
from eyeflow.coordinator.archive.database import FOREIGN, BegunAnewError, Bounds, Outcome
from eyeflow.coordinator.archive.sqlite_archive import APPLICATION_ID, ARCHIVE_FILE, SqliteArchive, SqliteReader
from eyeflow.coordinator.histories import Doubt
from eyeflow.protocol.audit import decode_record, encode_record
from eyeflow.protocol.audit_bodies import ActionResultBody, SlotBody, StopBody
from eyeflow.protocol.collecting import SlotState, States, is_cosigned
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import ProtocolError
from unit.coordinator.archive.chains import (
    COORDINATOR,
    COORDINATOR_KEY,
    EPOCH,
    NODE,
    NODE_KEY,
    START_US,
    Chain,
    cosign,
    execution,
    gap,
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
        assert isinstance(outcome.error, BrokenChain) and outcome.error.found.kind is Doubt.FORKED
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


def test_a_copy_that_is_begun_anew_keeps_what_was_there_as_a_branch(tmp_path: Path) -> None:
    chain, archive = Chain().run(9), opened(tmp_path)
    archive.append([chain.bundle(1, 10)])
    other = Chain().run(6).add(execution(99)).run(20)
    assert isinstance(archive.append([other.bundle(1, 20)])[0].error, BrokenChain)
    archive.set_aside(NODE)
    assert archive.chain(NODE, EPOCH) is None and stored(archive) == []
    assert seq_of(archive.append([other.bundle(1, 20)])[0]) == 20
    assert stored(archive) == other.records[:20]
    archive.set_aside(NODE)
    archive.set_aside(NODE)  # nothing is there
    archive.close()
    db = apsw.Connection(str(tmp_path / ARCHIVE_FILE))
    kept = {branch: [] for branch in (1, 2)}
    for branch, data in db.execute(
        "SELECT branch, record FROM records r JOIN chains ON chain = id ORDER BY branch, r.seq"
    ):
        kept[branch].append(data)
    assert kept == {1: chain.records, 2: other.records[:20]}, "no evidence goes"
    db.close()


def test_the_archive_stays_in_its_bound_and_the_oldest_go_first(tmp_path: Path) -> None:
    size_bytes_max = 36 << 20
    path, bounds = tmp_path / ARCHIVE_FILE, Bounds(size_bytes_max)
    archive = SqliteArchive(path, Machine(), cosign, bounds)
    chains = [Chain(Owner(f"node-{number}", EPOCH, NODE_KEY.public_key)).add(*texts(300)) for number in range(2)]
    for place, chain in enumerate(chains * 1):
        for first in range(1, 301, 50):
            bundle = replace(chain.bundle(first, first + 49), now_us=START_US + place)
            assert seq_of(archive.append([bundle])[0]) == first + 49
            assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= size_bytes_max
    (old, new) = (archive.chain(f"node-{number}", EPOCH) for number in range(2))
    assert old is not None and new is not None
    assert old.first_seq > 200, "of the first one little is left"
    assert (old.kept.seq, new.kept.seq) == (300, 300), "heads stay"
    rows = archive.page("node-1", EPOCH, 0, 1000)
    assert [row.seq for row in rows] == list(range(new.first_seq, 301)), "no hole"
    assert seq_of(archive.append([chains[0].bundle(301, 301)])[0]) == 301, "and the next one still fits"
    archive.close()


def texts(count: int) -> list[StopBody]:
    """Records of 20 KB."""
    return [StopBody(f"{number}" + "x" * 20_000) for number in range(count)]


def test_what_is_too_old_goes_and_what_comes_then_goes_on(tmp_path: Path) -> None:
    chain, day_us = Chain().run(2999), 86_400_000_000
    archive = SqliteArchive(tmp_path / ARCHIVE_FILE, Machine(), cosign, Bounds(1 << 30, day_us))
    archive.append([chain.bundle(1, 2500)])
    archive.append([replace(chain.bundle(2501, 2600), now_us=START_US + day_us)])
    assert archive.tidy(START_US + day_us) == 0
    dropped = [archive.tidy(START_US + day_us + 1) for _ in range(4)]
    assert dropped == [1024, 1024, 452, 0]
    assert [row.seq for row in archive.page(NODE, EPOCH, 0, 1000)] == list(range(2501, 2601))
    assert archive.tidy(START_US + 9 * day_us) == 100
    kept = archive.chain(NODE, EPOCH)
    assert kept is not None and kept.kept.seq == 2600
    assert seq_of(archive.append([replace(chain.bundle(2590, 3000), now_us=START_US + 9 * day_us)])[0]) == 3000
    assert stored(archive) == chain.records[2600:]
    again = archive.chain(NODE, EPOCH)
    assert again is not None and again.first_seq == 2601
    assert archive.tidy(START_US + 20 * day_us) == 400
    archive.close()


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


def test_a_file_of_an_eyeflow_before_the_first_release_is_foreign_and_stays_as_it_is(tmp_path: Path) -> None:
    """Its tables have the same names, and other columns."""
    path = tmp_path / ARCHIVE_FILE
    older = apsw.Connection(str(path))
    older.execute("CREATE TABLE chains (id INTEGER PRIMARY KEY, node TEXT NOT NULL)")
    older.pragma("application_id", APPLICATION_ID)
    older.pragma("user_version", 1)
    older.close()
    before = path.read_bytes()
    with pytest.raises(EyeflowError) as refused:
        opened(tmp_path)
    assert refused.value.code == FOREIGN and "move the file away" in refused.value.next_step
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "bad",
    [
        replace(execution(1), outcome=2**64 - 1),
        replace(execution(1), outcome=3),
        replace(execution(1), inputs=(2**63,)),
        replace(execution(1), event_time_us=-(2**63) - 1),
        replace(execution(1), actions=((0, (True,), 4),)),
        ActionResultBody("pump", bytes(32), 1, 0, 5, 1),
        SlotBody("pump", 5, bytes(32)),
        replace(gap(1, b"", 1), lost_total=2**63),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_number_that_no_eyeflow_writes_breaks_the_chain_and_costs_other_nodes_nothing(
    tmp_path: Path, bad: Any
) -> None:
    chain, other = Chain().run(3).add(bad), Chain(Owner("node-b", EPOCH, NODE_KEY.public_key)).run(3)
    archive = opened(tmp_path)
    broken, kept = archive.append([chain.bundle(1, 5), other.bundle(1, 4)])
    assert isinstance(broken.error, BrokenChain) and broken.error.found.kind is Doubt.ALTERED
    assert seq_of(kept) == 4 and archive.chain(NODE, EPOCH) is None
    archive.close()


def test_a_clock_beyond_64_bits_breaks_the_chain(tmp_path: Path) -> None:
    chain, archive = Chain().run(3), opened(tmp_path)
    last = replace(decode_record(chain.records[-1]), time_us=2**63)
    (outcome,) = archive.append([chain.bundle_of([*chain.records[:-1], encode_record(last, NODE_KEY)])])
    assert isinstance(outcome.error, BrokenChain) and "time_us" in str(outcome.error)
    archive.close()


def test_a_bug_that_one_bundle_shows_costs_the_others_of_its_group_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, other = Chain().run(3), Chain(Owner("node-b", EPOCH, NODE_KEY.public_key)).run(3)
    real = sql_archive.append

    def append(db: Any, bundle: Any, cosign: Any) -> Outcome:
        if bundle.owner.node == NODE:
            raise OverflowError("a bug")
        return real(db, bundle, cosign)

    monkeypatch.setattr(sql_archive, "append", append)

    async def run() -> list[Any]:
        archive = Archive(opened(tmp_path), SqliteReader(tmp_path / ARCHIVE_FILE, Machine()))
        archive._busy = asyncio.get_running_loop().create_future()  # so that both go into one group
        parts = [asyncio.create_task(archive.append(one.bundle(1, 4))) for one in (chain, other)]
        await asyncio.sleep(0)
        archive._busy = None
        archive._go()
        found = await asyncio.gather(*parts, return_exceptions=True)
        archive.close()
        return found

    bug, kept = asyncio.run(run())
    assert isinstance(bug, OverflowError) and kept.seq == 4


def test_a_bundle_that_continues_a_copy_that_is_set_aside_meanwhile_is_no_doubt(tmp_path: Path) -> None:
    """Else a sound node would look as if it had lost records without a gap."""
    chain, archive = Chain().run(19), opened(tmp_path)
    following = replace(chain.bundle(11, 20), after=chain.head(10))
    assert seq_of(archive.append([chain.bundle(1, 10)])[0]) == 10
    archive.set_aside(NODE)
    for _ in range(2):
        assert isinstance(archive.append([following])[0].error, BegunAnewError)
    assert seq_of(archive.append([chain.bundle(1, 5)])[0]) == 5
    assert isinstance(archive.append([following])[0].error, BegunAnewError)
    assert seq_of(archive.append([replace(chain.bundle(6, 15), after=chain.head(5))])[0]) == 15
    assert seq_of(archive.append([following])[0]) == 20, "what is kept reaches it again"
    archive.set_aside(NODE)
    other = Chain().run(3).add(execution(99)).run(20)
    for last in (10, 15):  # another record 10 is kept now
        assert seq_of(archive.append([other.bundle(1, last)])[0]) == last
        assert isinstance(archive.append([following])[0].error, BegunAnewError)
    archive.close()


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


def of(rule: str, data: bytes, slot: Slot = Slot.ACTIVE) -> SlotState:
    return SlotState(rule, slot, "", "ab" * 32, data)


def told(seq: int, held: str, *changed: SlotState, is_complete: bool = True) -> States:
    return States(seq, tuple((rule, Slot.ACTIVE, "") for rule in held.split()), changed, is_complete)


def test_a_bundle_that_nobody_waits_for_any_more_is_not_kept(tmp_path: Path) -> None:
    """Its link was closed, because the copy is begun anew: the bundle would not follow what is there then."""

    async def walk() -> None:
        chain, database = Chain().run(30), opened(tmp_path)
        archive = Archive(database, SqliteReader(tmp_path / ARCHIVE_FILE, Machine()))
        first = asyncio.create_task(archive.append(chain.bundle(1, 10)))
        await asyncio.sleep(0)
        second = asyncio.create_task(archive.append(chain.bundle(11, 20)))
        await asyncio.sleep(0)
        second.cancel()
        assert (await first).seq == 10
        kept = await archive.append(chain.bundle(1, 10))
        assert kept.seq == 10
        archive.close()

    asyncio.run(walk())


def test_how_rules_stand_is_kept_with_the_record_after_which_they_did(tmp_path: Path) -> None:
    chain, archive = Chain().run(9), opened(tmp_path)

    def appended(first: int, states: States) -> list[tuple[str, int, bytes]]:
        archive.append([replace(chain.bundle(first, first), states=states)])
        return [(one.rule, one.seq, one.state) for one in archive.states(NODE)]

    lamp, pump = of("lamp", b"1"), of("pump", b"2")
    assert appended(1, told(1, "lamp pump", lamp, pump)) == [("lamp", 1, b"1"), ("pump", 1, b"2")]
    assert appended(2, told(2, "lamp pump", of("pump", b"3"))) == [("lamp", 2, b"1"), ("pump", 2, b"3")]
    later = appended(3, told(3, "lamp pump valve", of("pump", b"4"), is_complete=False))
    assert later == [("lamp", 2, b"1"), ("pump", 3, b"4")], "whether the lamp changed is not known yet"
    assert appended(4, told(4, "pump")) == [("pump", 4, b"4")], "the others are gone"
    other = Chain().add(execution(99)).run(9)
    (refused,) = archive.append([replace(other.bundle(5, 5), states=told(5, "lamp", lamp))])
    assert refused.error is not None and archive.states(NODE)[0].rule == "pump", "nothing of a fork is merged"
    archive.close()


def test_losses_are_counted_by_reason_as_signed_gaps_tell_them(tmp_path: Path) -> None:
    chain, archive = Chain().run(5), opened(tmp_path)

    def lost(reason: str, count: int, lost_total: int) -> None:
        body = replace(gap(1, chain.records[0], 1), reason=reason, count=count, lost_total=lost_total)
        chain.add(body).run(2)

    lost("size", 9, 9)
    lost("size", 20, 15)  # the coordinator held the others
    lost("copied", 7, 15)
    lost("age", 4, 19)
    for number in range(3):
        lost(f"made up {number}", 1, 20 + number)
    half = len(chain.records) // 2
    for first, last in ((1, half), (1, half), (half - 1, len(chain.records))):  # some of it comes twice
        assert archive.append([chain.bundle(first, last)])[0].error is None
    (kept,) = archive.copies(NODE)
    assert [(one.reason, one.gaps, one.records) for one in kept.losses] == [
        ("age", 1, 4),
        ("other", 3, 3),
        ("size", 2, 15),
    ]
    archive.close()
