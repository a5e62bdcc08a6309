"""Executions by filters: what comes back is what a look at every record finds, and costs what it returns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from eyeflow.base.machine import Machine
from eyeflow.coordinator.archive import sql_reader
from eyeflow.coordinator.archive.chain import NO_OUTCOME, Owner
from eyeflow.coordinator.archive.database import Bounds, ExecutionsAsked
from eyeflow.coordinator.archive.sql_searching import page_query
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, USUAL_BOUNDS, SqliteArchive
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import ExecutionBody, InstallBody
from unit.coordinator.archive.chains import EPOCH, NODE_KEY, START_US, Chain, cosign, execution

NODES = ("node-a", "node-b", "node-c")
PROGRAM = bytes(range(32))


def body(random: Random) -> ExecutionBody:
    one = execution(random.randrange(1000), random.choice(("pump", "valve")), random.choice(("", "k1", "k2")))
    actions = tuple((site, (True,), 0) for site in random.choice(((), (), (0,), (1, 0), (2, 2))))
    return replace(
        one, program=random.choice((PROGRAM, bytes(32))), outcome=random.choice((0, 0, 0, 1, 2)), actions=actions
    )


def filled(directory: Path, bounds: Bounds = USUAL_BOUNDS) -> SqliteArchive:
    """Three nodes of which one bundle comes after the other; their clocks are not one."""
    random, archive = Random(7), SqliteArchive(directory / ARCHIVE_FILE, Machine(), cosign, bounds)
    chains = [Chain(Owner(node, EPOCH + place, NODE_KEY.public_key)) for place, node in enumerate(NODES)]
    for chain in chains:
        chain.add(InstallBody("pump", PROGRAM, "1", "", 1), *(body(random) for _ in range(60)))
    for first, chain in itertools.product(range(1, 62, 20), chains):
        assert archive.append([chain.bundle(first, min(first + 19, 62))])[0].kept is not None
    return archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[SqliteArchive]:
    opened = filled(tmp_path)
    yield opened
    opened.close()


ANY = ExecutionsAsked(1000)
FROM_THE_FIRST = (0, 0, 0)
"""Behind nothing; no archive has this number."""


def every(archive: SqliteArchive) -> list[Any]:
    """All executions, found record by record."""
    found = []
    for place, node in enumerate(NODES):
        for row in archive.page(node, EPOCH + place, 0, 1000):
            record = decode_record(row.data)
            if isinstance(record.body, ExecutionBody):
                found.append((row.time_us, place, row.seq, record))
    return sorted(found, key=lambda one: one[:3], reverse=True)


def fits(record: Any, asked: ExecutionsAsked, acting: dict[int, tuple[bytes, tuple[int, ...]]]) -> bool:
    one = record.body
    sites = (one.program, tuple(sorted({site for site, _, _ in one.actions})))
    return (
        (asked.nodes is None or record.node in asked.nodes)
        and asked.rule in ("", one.rule)
        and asked.key in ("", one.key)
        and asked.outcome in (NO_OUTCOME, one.outcome)
        and (asked.acts is None or sites in [acting[number] for number in asked.acts])
        and (asked.since_us is None or record.time_us >= asked.since_us)
        and (asked.until_us is None or record.time_us < asked.until_us)
    )


def ways(archive: SqliteArchive) -> list[ExecutionsAsked]:
    """All filters, each alone and with each other."""
    acts = [one.number for one in archive.acting(0, 100) if 0 in one.sites]
    assert len(acts) == 4, "two programs, alone or with another site"
    choices: list[list[Any]] = [
        [None, frozenset({"node-b"}), frozenset({"node-a", "node-c"}), frozenset({"nobody"})],
        ["", "pump"],
        ["", "k1"],
        [NO_OUTCOME, 0, 2],
        [None, frozenset(acts), frozenset(acts[:1]), frozenset()],
        [None, START_US + 20],
        [None, START_US + 50],
    ]
    return [ExecutionsAsked(1000, None, *one) for one in itertools.product(*choices)]


def test_each_filter_and_all_of_them_together_find_what_a_look_at_every_record_finds(archive: SqliteArchive) -> None:
    acting = {one.number: (one.program, one.sites) for one in archive.acting(0, 100)}
    all_of_them, sizes = every(archive), set()
    assert len(all_of_them) == 180
    for asked in ways(archive):
        expected = [one[:3] for one in all_of_them if fits(one[3], asked, acting)]
        found = [(one.row.time_us, NODES.index(one.node), one.row.seq) for one in archive.executions(asked)[0]]
        assert found == expected, asked
        sizes.add(len(found))
    assert {0, 1, 180} <= sizes and len(sizes) > 20, "filters that find nothing would prove nothing"


def test_pages_are_the_whole_list_also_where_times_are_equal(archive: SqliteArchive) -> None:
    for asked in (ANY, replace(ANY, rule="valve"), replace(ANY, key="k2"), replace(ANY, nodes=frozenset(NODES[:2]))):
        whole, pages, before = [one.place for one in archive.executions(asked)[0]], [], None
        assert len({place[0] for place in whole}) < len(whole), "some have one time"
        while True:
            page, before = archive.executions(replace(asked, limit=7, before=before))
            pages += [one.place for one in page]
            if before is None:
                break
        assert pages == whole


def test_who_follows_gets_each_that_fits_once_in_the_order_in_which_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_reader, "BUNDLES_AT_ONCE", 3)
    archive = filled(tmp_path)
    nothing, end, more = archive.arrived(ANY, None)
    assert (nothing, more) == ([], False) and archive.arrived(ANY, end) == ([], end, False)
    for asked in (replace(ANY, limit=5), replace(ANY, limit=3, rule="pump"), replace(ANY, nodes=frozenset({"node-b"}))):
        found, after, more = [], FROM_THE_FIRST, True
        while more:
            part, after, more = archive.arrived(asked, after)
            found += [(one.node, one.row.seq) for one in part]
        assert after == end
        acting = {one.number: (one.program, one.sites) for one in archive.acting(0, 100)}
        expected = [(one.node, one.seq) for *_, one in every(archive) if fits(one, asked, acting)]
        bundles = sorted(expected, key=lambda one: ((one[1] - 1) // 20, one[0], one[1]))
        assert found == bundles
    archive.close()


def test_copies_that_were_set_aside_are_not_what_happened(archive: SqliteArchive) -> None:
    archive.set_aside("node-a")
    assert {one.node for one in archive.executions(ANY)[0]} == {"node-b", "node-c"}
    assert {one.node for one in archive.arrived(ANY, FROM_THE_FIRST)[0]} == {"node-b", "node-c"}
    assert archive.executions(replace(ANY, nodes=frozenset({"node-a"}))) == ([], None)


def test_what_is_dropped_is_found_no_more(tmp_path: Path) -> None:
    archive = filled(tmp_path, Bounds(1 << 30, 1))
    while archive.tidy(START_US + 10):
        pass
    assert archive.executions(ANY) == ([], None) and archive.arrived(ANY, FROM_THE_FIRST)[0] == []
    assert archive._rows("SELECT count(*) FROM arrivals") == [(0,)]
    archive.close()


def test_no_filter_reads_records_that_do_not_fit_it(archive: SqliteArchive) -> None:
    acts = frozenset({archive.acting(0, 100)[0].number})
    for asked, index in (
        (ANY, "executions_by_time"),
        (replace(ANY, nodes=frozenset({"node-a"})), "executions_by_chain"),
        (replace(ANY, rule="pump"), "executions_by_rule"),
        (replace(ANY, key="k1"), "executions_by_key"),
        (replace(ANY, outcome=2), "executions_by_outcome"),
        (replace(ANY, acts=acts), "executions_by_acts"),
        (replace(ANY, acts=frozenset(range(1, 5))), "executions_by_acts"),
    ):
        for before in (None, (START_US + 50, 1, 1)):
            query, values = page_query(replace(asked, before=before), archive._chains_of(asked), names_index=True)
            plan = [row[-1] for row in archive._rows(f"EXPLAIN QUERY PLAN {query}", values)]
            steps = [step for step in plan if "records" in step]
            word = "SCAN" if index == "executions_by_time" and before is None else "SEARCH"
            assert steps and all(step.startswith(f"{word} records") and index in step for step in steps), plan
            is_sorted = any("TEMP B-TREE" in step for step in plan)
            assert is_sorted is ("MERGE (UNION ALL)" in plan), "nothing but the pages of several values is sorted"


def test_records_of_a_rule_come_with_those_of_no_rule_and_in_order(archive: SqliteArchive) -> None:
    found = [decode_record(data) for data in archive.of_rule("node-b", EPOCH + 1, "pump", 0, 50, 1000)]
    assert [one.seq for one in found][:2] == [1, 2] and found[0].kind.name == "START"
    expected = [row.seq for row in archive.page("node-b", EPOCH + 1, 0, 50) if row.rule in ("", "pump")]
    assert [one.seq for one in found] == expected
    executions = [one for one in found if one.seq > 1]
    assert archive.begin_of_rule("node-b", EPOCH + 1, "pump", 50, 3) == executions[-4].seq
    assert archive.begin_of_rule("node-b", EPOCH + 1, "pump", 50, 100) == 0
    pages = [
        data for after in (0, 20, 40) for data in archive.of_rule("node-b", EPOCH + 1, "pump", after, after + 20, 99)
    ]
    assert [decode_record(data).seq for data in pages][: len(found)] == expected


def test_the_records_of_no_rule_come_once(archive: SqliteArchive) -> None:
    found = [decode_record(data).seq for data in archive.of_rule("node-b", EPOCH + 1, "", 0, 50, 1000)]
    assert found == [row.seq for row in archive.page("node-b", EPOCH + 1, 0, 50) if row.rule == ""]


def test_a_page_looks_through_a_bounded_part_and_all_of_them_are_the_whole_list(
    archive: SqliteArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = [one.place for one in archive.executions(ANY)[0]]
    acts = frozenset(one.number for one in archive.acting(0, 100))
    archive.set_aside("node-c")
    for asked in (
        ANY,
        replace(ANY, key="k1", rule="pump"),
        replace(ANY, key="k2", rule="nothing"),
        replace(ANY, nodes=frozenset({"node-b"}), outcome=0),
        replace(ANY, acts=acts, rule="pump", since_us=START_US + 5),
        replace(ANY, nodes=frozenset(NODES), limit=3),
    ):
        monkeypatch.setattr(sql_reader, "ROWS_AT_ONCE", 10_000)
        whole = [one.place for one in archive.executions(replace(asked, limit=1000))[0]]
        monkeypatch.setattr(sql_reader, "ROWS_AT_ONCE", 10)
        bounded, pages, before = replace(asked, limit=min(asked.limit, 5)), [], None
        while True:
            page, following = archive.executions(replace(bounded, before=before))
            pages.append([one.place for one in page])
            if following is None:
                break
            assert before is None or following < before
            if asked == ANY:
                assert order.index(following) - (order.index(before) if before else -1) <= 11
            before = following
        assert list(itertools.chain(*pages)) == whole, asked
        assert len(pages) > max(1, len(whole) // 5), "some ended before they were full" if whole else asked


def test_who_follows_looks_through_bounded_records_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_reader, "ROWS_AT_ONCE", 45)
    archive = filled(tmp_path)
    after, found, looks = FROM_THE_FIRST, [], 0
    more = True
    while more:
        part, after, more = archive.arrived(ANY, after)
        assert len(part) <= 45
        found, looks = found + part, looks + 1
    assert len(found) == 180 and looks >= 4
    archive.close()


def test_who_follows_an_archive_that_is_begun_anew_gets_all_of_the_new_one(tmp_path: Path) -> None:
    archive = filled(tmp_path)
    _, end, _ = archive.arrived(ANY, None)
    chain = Chain(Owner(NODES[0], EPOCH, NODE_KEY.public_key)).run(3)
    archive.begin_anew()
    assert archive.arrived(ANY, end)[0] == []
    archive.append([chain.bundle(1, 4)])
    found, after, more = archive.arrived(ANY, end)
    assert [one.row.seq for one in found] == [2, 3, 4] and not more
    assert archive.arrived(ANY, after) == ([], after, False)
    archive.close()


def test_a_token_for_very_many_nodes_finds_its_own(archive: SqliteArchive) -> None:
    many = frozenset(f"node-{number}" for number in range(50_000)) | {"node-b"}
    asked = replace(ANY, nodes=many, acts=frozenset(range(50_000)))
    assert {one.node for one in archive.executions(replace(ANY, nodes=many))[0]} == {"node-b"}
    assert {one.node for one in archive.arrived(replace(ANY, nodes=many), FROM_THE_FIRST)[0]} == {"node-b"}
    assert {one.node for one in archive.executions(asked)[0]} == {"node-b"}


def test_holes_are_looked_for_in_the_range_that_is_asked_for(archive: SqliteArchive) -> None:
    asked: list[tuple[str, Any]] = []
    rows = archive._rows
    archive._rows = lambda query, values=(): asked.append((query, values)) or rows(query, values)  # type: ignore[method-assign]
    assert archive.holes("node-a", EPOCH, 5, 50) == []
    plan = [row[-1] for row in rows(f"EXPLAIN QUERY PLAN {asked[0][0]}", asked[0][1])]
    assert any("(chain=? AND first_seq>? AND first_seq<?)" in step for step in plan), plan


def test_how_programs_acted_goes_with_the_last_record_of_it(tmp_path: Path) -> None:
    archive = filled(tmp_path, Bounds(1 << 30, 1))
    assert len(archive.acting(0, 100)) == 6 and len(archive.acting(0, 2)) == 2
    while archive.tidy(START_US + 10):
        assert {one.number for one in archive.acting(0, 100)} == {
            row[0] for row in archive._rows("SELECT DISTINCT acts FROM records WHERE acts > 0")
        }
    assert archive.acting(0, 100) == []
    archive.close()
