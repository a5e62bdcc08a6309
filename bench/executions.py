"""What a filter over an archive of 1,000,000 executions costs: with its index, and as a look at every record."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import Report, Row
from eyeflow.base.machine import Machine
from eyeflow.coordinator.archive.chain import Owner, Tail
from eyeflow.coordinator.archive.chain import Row as Kept
from eyeflow.coordinator.archive.database import Bounds, ExecutionsAsked
from eyeflow.coordinator.archive.sql_archive import write
from eyeflow.coordinator.archive.sql_searching import INDEXES
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, SqliteArchive
from eyeflow.protocol.audit import Record, encode_record
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.collecting import KeptHead

RECORDS, FEW = 1_000_000, 100_000
NODES, RULES, BATCH = 20, 25, 20_000
START_US = 1_790_000_000_000_000
SCAN = "SELECT record FROM records NOT INDEXED WHERE +outcome >= 0 AND +{} ORDER BY +time_us DESC LIMIT 100"
ASKED = ExecutionsAsked(100)
WAYS = (
    ("newest of all nodes", ASKED, "outcome >= 0"),
    ("one rule", replace(ASKED, rule="rule_3"), "rule = 'rule_3'"),
    ("one node", replace(ASKED, nodes=frozenset({"node-7"})), "chain = 8"),
    ("one key", replace(ASKED, key="key-777"), "key = 'key-777'"),
    ("traps", replace(ASKED, outcome=2), "outcome = 2"),
    ("one action, of a tenth", replace(ASKED, acts=frozenset({2})), "acts = 2"),
    ("one rule on one node", replace(ASKED, rule="rule_3", nodes=frozenset({"node-7"})),
     "rule = 'rule_3' AND +chain = 8"),
    ("traps of one rule", replace(ASKED, rule="rule_7", outcome=2), "rule = 'rule_7' AND +outcome = 2"),
)  # fmt: skip


def report() -> Report:
    """Measure an archive and one of a tenth of its size."""
    with TemporaryDirectory() as few, TemporaryDirectory() as many:
        small, _ = filled(Path(few), FEW)
        large, rate = filled(Path(many), RECORDS)
        rows = []
        for name, asked, condition in WAYS:
            count = len(large.executions(asked)[0])
            spent = middle_s(lambda one=asked: large.executions(one))  # type: ignore[misc]
            before = middle_s(lambda one=asked: small.executions(one))  # type: ignore[misc]
            whole = middle_s(lambda sql=SCAN.format(condition): large._rows(sql), 1)  # type: ignore[misc]
            told = f"{count} rows; {spent / before:.1f} times as in an archive of {FEW:,}"
            rows.append(
                Row(name, spent * 1000, "ms", f"{told}; every record: {whole * 1000:.0f} ms, {whole / spent:.0f}x")
            )
        for archive in (small, large):
            archive.close()
    with TemporaryDirectory() as directory:
        plain = filled(Path(directory), RECORDS, has_indexes=False)[1]
    told = f"of processor time; without these indexes {plain:,.0f}/s"
    rows.append(Row("records that the archive writes", rate, "/s", told))
    return Report(f"Executions by filters, of {RECORDS:,} in the archive", tuple(rows))


def filled(path: Path, records: int, *, has_indexes: bool = True) -> tuple[SqliteArchive, float]:
    """Return an archive with executions, and how many a second of processor time. Chains are not checked here."""
    archive = SqliteArchive(path / ARCHIVE_FILE, Machine(), lambda node, kept: kept, Bounds(1 << 40))
    if not has_indexes:
        for line in INDEXES.strip().splitlines():
            archive._db.execute(f"DROP INDEX {line.split()[2]}")
    spent_s, each = 0.0, BATCH // NODES
    for first in range(1, records // NODES + 1, each):
        batch = [(node, executions(node, first, each)) for node in range(NODES)]
        began_s = time.process_time()
        with archive._transaction() as db:
            for node, rows in batch:
                last = rows[-1].seq
                write(db, Owner(f"node-{node}", 1, bytes(32)), 1, KeptHead(1, last), Tail(last), rows)
        spent_s += time.process_time() - began_s
    return archive, records / spent_s


def executions(node: int, first: int, count: int) -> list[Kept]:
    """Return executions as nodes have them; one in 10,000 traps, and each key comes every 50,000 records."""
    found = []
    for number in range(first, first + count):
        at = number * NODES + node
        time_us, outcome = START_US + at * 1000, 2 if number % 10_000 == 7 else 0
        sites = (0,) if number % 10 else (0, 1)
        actions = tuple((site, (True,), 0) for site in sites)
        given = (f"rule_{number % RULES}", bytes(32), 0, time_us, outcome, 40, (20.5, number), (), actions)
        body = ExecutionBody(*given, key=f"key-{at % 50_000}")
        data = encode_record(Record(f"node-{node}", 1, number, bytes(32), time_us, body))
        what = (number, time_us, 1, body.rule, "active", body.key, outcome, data)
        found.append(Kept(*what, body.program, sites))
    return found


def middle_s(run: Callable[[], object], runs: int = 9) -> float:
    """Return the median time of a call."""
    spent = []
    for _ in range(runs):
        began_s = time.perf_counter()
        run()
        spent.append(time.perf_counter() - began_s)
    return statistics.median(spent)
