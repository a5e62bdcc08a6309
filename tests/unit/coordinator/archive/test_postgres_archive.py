"""The archive in PostgreSQL: the contract of the file, for several coordinators of which one holds a node's link."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import psycopg
import pytest

from components.postgres import Server, running_server
from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.archive import postgres_archive, sql_archive, sql_reader
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.chain import BrokenChain, Owner
from eyeflow.coordinator.archive.checking import Checker
from eyeflow.coordinator.archive.database import FOREIGN, Bounds, ExecutionsAsked, NotHeldError, Outcome
from eyeflow.coordinator.archive.postgres_archive import PostgresArchive, PostgresReader
from eyeflow.coordinator.archive.sql_archive import ROW_BYTES
from eyeflow.coordinator.histories import Doubt
from eyeflow.coordinator.store.postgres_connection import Address
from eyeflow.coordinator.store.postgres_database import PostgresDatabase
from eyeflow.protocol.collecting import SlotState, States, is_cosigned
from eyeflow.protocol.slot import Slot
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
)

ROOMY = Bounds(1 << 30)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def url(server: Server) -> str:
    """A store with the node, whose link coordinator `a` holds."""
    found = server.url()
    PostgresDatabase(Address(found), lambda key: COORDINATOR_KEY).close()
    run(found, "INSERT INTO nodes(name, public_key, joined_us) VALUES ('node-a', '', 0)")
    holds(found, "a")
    return found


def run(url: str, sql: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else None


def holds(url: str, coordinator: str) -> None:
    run(url, "DELETE FROM links")
    if coordinator:
        run(url, f"INSERT INTO links VALUES ('node-a', '{coordinator}', 1, 0)")


def opened(url: str, own_id: str = "a", bounds: Bounds = ROOMY) -> PostgresArchive:
    return PostgresArchive(Address(url), own_id, cosign, bounds)


def seq_of(outcome: Outcome) -> int:
    assert outcome.kept is not None, outcome.error
    return outcome.kept.seq


def stored(archive: PostgresReader, branch: int = 0) -> list[bytes]:
    return [row.data for row in archive.page(NODE, EPOCH, 0, 10_000, branch)]


def test_what_was_appended_is_there_for_the_next_coordinator_and_its_head_is_cosigned(url: str) -> None:
    chain, archive = Chain().run(9), opened(url)
    (outcome,) = archive.append([chain.bundle(1, 10)])
    archive.close()
    again = opened(url, "b")
    assert stored(again) == chain.records
    (kept,) = again.chains()
    assert kept.kept == outcome.kept and (kept.first_seq, kept.kept.seq) == (1, 10)
    assert is_cosigned(kept.kept, COORDINATOR, COORDINATOR_KEY.public_key, NODE)
    again.close()


def test_what_comes_twice_or_overlaps_is_merged_and_a_fork_changes_nothing(url: str) -> None:
    chain, archive = Chain().run(19), opened(url)
    for first, last, until in ((1, 8, 8), (1, 8, 8), (5, 12, 12), (3, 4, 12), (10, 20, 20)):
        assert seq_of(archive.append([chain.bundle(first, last)])[0]) == until
    other = Chain().run(6).add(execution(99)).run(20)
    for first, last in ((8, 8), (1, 10), (19, 25), (21, 25)):
        (outcome,) = archive.append([other.bundle(first, last)])
        assert isinstance(outcome.error, BrokenChain) and outcome.error.found.kind is Doubt.FORKED
    assert stored(archive) == chain.records
    archive.close()


def test_only_who_holds_the_link_of_the_node_appends(url: str) -> None:
    chain, a, b = Chain().run(9), opened(url, "a"), opened(url, "b")
    assert isinstance(b.append([chain.bundle(1, 5)])[0].error, NotHeldError)
    assert seq_of(a.append([chain.bundle(1, 5)])[0]) == 5, "the control: it holds it"
    holds(url, "b")
    assert isinstance(a.append([chain.bundle(6, 10)])[0].error, NotHeldError), "it stood still meanwhile"
    assert seq_of(b.append([chain.bundle(6, 10)])[0]) == 10
    holds(url, "")
    assert isinstance(b.append([chain.bundle(1, 10)])[0].error, NotHeldError)
    assert stored(a) == chain.records
    a.close(), b.close()


def test_control_without_the_fence_whoever_has_lost_the_link_appends(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_archive, "_holds", lambda db, node, own_id: True)
    b = opened(url, "b")
    assert seq_of(b.append([Chain().run(9).bundle(1, 5)])[0]) == 5
    b.close()


def test_two_that_append_at_once_do_so_one_after_the_other(url: str) -> None:
    """Both believe that they hold the link: the lock alone keeps each record once and in order."""
    chain = Chain().run(199)
    archives = [opened(url) for _ in range(2)]
    wrong: list[object] = []

    def work(archive: PostgresArchive) -> None:
        for first in range(1, 200, 10):
            (outcome,) = archive.append([chain.bundle(1 if first < 50 else first - 15, first + 9)])
            if outcome.kept is None:
                wrong.append(outcome.error)

    threads = [threading.Thread(target=work, args=(one,)) for one in archives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and stored(archives[0]) == chain.records
    for one in archives:
        one.close()


def test_a_record_with_a_nul_in_its_key_is_what_was_kept(url: str) -> None:
    """The server keeps no NUL in a text. Were that damage, the copy would be begun anew for ever."""
    archive, checker = opened(url), Checker()
    assert archive.append([Chain().add(execution(2, key="a\0b")).bundle(1, 2)])[0].kept is not None
    assert [row.key for row in archive.page(NODE, EPOCH, 0, 9)] == ["", "a\N{REPLACEMENT CHARACTER}b"]
    assert [checker.look(archive) for _ in range(4)] == [None] * 4
    archive.close()


def test_a_copy_that_is_begun_anew_leaves_a_branch(url: str) -> None:
    chain, archive = Chain().run(9), opened(url)
    archive.append([chain.bundle(1, 10)])
    archive.set_aside(NODE)
    assert archive.chain(NODE, EPOCH) is None and stored(archive, 1) == chain.records
    other = Chain().add(execution(7)).run(3)
    assert seq_of(archive.append([other.bundle(1, 5)])[0]) == 5
    assert [(one.branch, one.kept.seq) for one in archive.copies(NODE)] == [(0, 5), (1, 10)]
    archive.close()


def test_the_oldest_go_first_by_bytes_and_by_age_and_the_head_stays(url: str) -> None:
    chain = Chain().run(2_999)
    archive = opened(url, bounds=Bounds(1_200_000, age_us_max=1))
    for first in range(1, 3_001, 500):
        assert seq_of(archive.append([chain.bundle(first, first + 499)])[0]) == first + 499
    (kept,) = archive.chains()
    assert kept.kept.seq == 3_000 and 1 < kept.first_seq <= 3_000 and kept.size_bytes <= 1_200_000
    assert stored(archive) == chain.records[kept.first_seq - 1 :]
    counted = run(url, "SELECT count(*), sum(length(record)) FROM records")[0]
    assert kept.size_bytes == counted[1] + counted[0] * ROW_BYTES
    while archive.tidy(START_US + 10):
        pass
    assert stored(archive) == [] and archive.chains()[0].kept.seq == 3_000
    more = chain.run(1)
    assert seq_of(archive.append([more.bundle(3_001, 3_001)])[0]) == 3_001, "the next record fits"
    archive.close()


def test_a_server_that_is_away_acknowledges_nothing_and_the_same_bundle_goes_later(url: str, server: Server) -> None:
    chain, archive = Chain().run(9), opened(url)
    archive.append([chain.bundle(1, 5)])
    server.stop()
    (refused,) = archive.append([chain.bundle(6, 10)])
    assert refused.kept is None and isinstance(refused.error, EyeflowError)
    with pytest.raises(EyeflowError):
        archive.chains()
    server.start()
    assert seq_of(archive.append([chain.bundle(6, 10)])[0]) == 10
    assert stored(archive) == chain.records
    archive.close()


def test_the_answer_to_a_commit_that_was_lost_is_asked_for_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle was kept: it comes again, and nothing of it is there twice."""
    chain, archive = Chain().run(9), opened(url)
    real = sql_archive.append

    def then_cut(db: Any, *rest: Any) -> Outcome:
        outcome = real(db, *rest)
        db._connection.execute(b"COMMIT")
        db._connection.close()
        monkeypatch.setattr(sql_archive, "append", real)
        return outcome

    monkeypatch.setattr(sql_archive, "append", then_cut)
    assert seq_of(archive.append([chain.bundle(1, 10)])[0]) == 10
    assert stored(archive) == chain.records
    archive.close()


@pytest.mark.parametrize("version", [1, 99])
def test_an_archive_of_a_newer_eyeflow_or_one_before_the_first_release_is_foreign(url: str, version: int) -> None:
    opened(url).close()
    run(url, f"UPDATE meta SET value = '{version}' WHERE key = 'archive_schema'")
    with pytest.raises(EyeflowError) as refused:
        opened(url)
    assert refused.value.code == FOREIGN and f"schema {version}" in refused.value.cause


def test_a_damaged_page_of_the_server_is_an_error_that_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = opened(url)
    archive.append([Chain().run(9).bundle(1, 10)])
    for error in (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted, psycopg.errors.CharacterNotInRepertoire):

        def damaged(*rest: Any, error: Any = error) -> Any:
            raise error("invalid page in block 7 of relation base/5/16384")

        with monkeypatch.context() as patch:
            patch.setattr(sql_archive, "chains", damaged)
            patch.setattr(sql_archive, "append", damaged)
            with pytest.raises(EyeflowError) as told:
                Checker().look(archive)
            assert "invalid page" in told.value.cause
            (outcome,) = archive.append([Chain().run(9).bundle(1, 10)])
            assert isinstance(outcome.error, EyeflowError)
    assert Checker().look(archive) is None and len(archive.chains()) == 1, "the same connection goes on"
    archive.close()


def test_what_one_bundle_brings_that_the_server_does_not_take_costs_the_others_of_its_group_nothing(url: str) -> None:
    """The states of a node have a place in an index, whose entries have a bound."""
    run(url, "INSERT INTO nodes(name, public_key, joined_us) VALUES ('node-b', '', 0)")
    run(url, "INSERT INTO links VALUES ('node-b', 'a', 1, 0)")
    key = "".join(map(chr, Random(1).sample(range(0x10000, 0x20000), 1024)))
    chain, other = Chain().run(9), Chain(Owner("node-b", EPOCH, NODE_KEY.public_key)).run(9)
    held = (("pump", Slot.ACTIVE, key),)
    states = States(10, held, (SlotState("pump", Slot.ACTIVE, key, "ab" * 32, b"1"),), True)

    async def work() -> list[Any]:
        archive = Archive(opened(url), PostgresReader(Address(url)))
        found = [archive._appended([replace(chain.bundle(1, 10), states=states), other.bundle(1, 10)])]
        archive.close()
        return found[0]

    refused, kept = asyncio.run(work())
    assert isinstance(refused.error, EyeflowError) and seq_of(kept) == 10


def test_executions_are_found_and_followed_there_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same statements as in SQLite: each filter, a page, and who follows."""
    archive, reader = opened(url), PostgresReader(Address(url))
    chain = Chain().run(30).add(execution(7, "valve", "k1")).run(9)
    everything = ExecutionsAsked(100)
    _, end, _ = reader.arrived(everything, None)
    for first in range(1, 42, 10):
        archive.append([chain.bundle(first, min(first + 9, 41))])
    assert [one.row.seq for one in reader.executions(everything)[0]] == list(range(41, 1, -1))
    (found,), _ = reader.executions(replace(everything, rule="valve", key="k1", nodes=frozenset({NODE})))
    assert (found.node, found.epoch, found.row.seq, found.row.data) == (NODE, EPOCH, 32, chain.records[31])
    failed, place = reader.executions(replace(everything, outcome=2, limit=3))
    older, _ = reader.executions(replace(everything, outcome=2, limit=3, before=place))
    assert len(failed) == len(older) == 3 and failed[-1].place > older[0].place
    assert reader.acting(0, 9) == [] and reader.executions(replace(everything, acts=frozenset({1}))) == ([], None)
    seen: list[int] = []
    more = True
    while more:
        part, end, more = reader.arrived(replace(everything, limit=7), end)
        seen += [one.row.seq for one in part]
    assert seen == list(range(2, 42))
    many = replace(everything, nodes=frozenset(f"node-{number}" for number in range(70_000)) | {NODE}, outcome=2)
    monkeypatch.setattr(sql_reader, "ROWS_AT_ONCE", 4)
    pages, stop = reader.executions(replace(many, rule="pump", limit=2))
    assert len(pages) < 3 and stop is not None and reader.arrived(many, (0, 0, 0))[0] != []
    assert len(reader.executions(replace(many, acts=frozenset(range(1, 70_000))))[0]) == 0
    assert len(reader.of_rule(NODE, EPOCH, "valve", 0, 41, 100)) == 2, "with the start, which is of no rule"
    assert reader.begin_of_rule(NODE, EPOCH, "pump", 41, 3) == 38
    archive.close(), reader.close()


def test_how_rules_stand_is_kept_there_too(url: str) -> None:
    chain, archive = Chain().run(9), opened(url)
    one = SlotState("pump", Slot.ACTIVE, "", "ab" * 32, b"1")
    held = (("pump", Slot.ACTIVE, ""), ("lamp", Slot.ACTIVE, ""))
    archive.append([replace(chain.bundle(1, 5), states=States(5, held, (one, replace_rule(one, "lamp")), True))])
    archive.append([replace(chain.bundle(6, 9), states=States(9, held[:1], (), True))])
    assert [(kept.rule, kept.seq, kept.state) for kept in archive.states(NODE)] == [("pump", 9, b"1")]
    archive.close()


def replace_rule(one: SlotState, rule: str) -> SlotState:
    return SlotState(rule, one.slot, one.key, one.program_id, one.state)
