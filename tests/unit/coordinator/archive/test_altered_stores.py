"""What somebody changes in the stored records of a node is found: by `audit verify` there, or by the coordinator.

`EYEFLOW_FUZZ=full` plays each kind of change 1,000 times.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import apsw
import pytest

from eyeflow.base.machine import Machine
from eyeflow.coordinator.archive.chain import BrokenChain, Owner
from eyeflow.coordinator.archive.database import Bundle
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, SqliteArchive
from eyeflow.coordinator.histories import History, judge, recollected
from eyeflow.node.store.file import STORE_NAME
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.types import Batch, Draft
from eyeflow.protocol.audit import Record, decode_record, encode_record, record_hash, verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody, StartBody
from eyeflow.protocol.collecting import bundled
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import Head
from unit.coordinator.archive.chains import cosign
from unit.node.store.stores import KEY, batch, open_store

CASES = 1_000 if os.environ.get("EYEFLOW_FUZZ") == "full" else 30
RECORDS, KEPT = 40, 25
"""Records of the node, and how many of them the coordinator has signed for."""

Rows = dict[int, bytes]


@dataclass
class Node:
    """A node's store, and a coordinator that holds its first records."""

    template: Path
    archive: SqliteArchive
    owner: Owner
    records: list[bytes]

    def audit_finds(self, directory: Path) -> bool:
        """Say whether `eyeflow audit verify` on the node finds something."""
        with AuditReader(directory) as reader:
            return not verify_chain(reader.records(), KEY.public_key).holds

    def coordinator_finds(self, directory: Path) -> bool:
        """Say whether the coordinator finds something when the node comes back with this store."""
        with AuditReader(directory) as reader:
            last, rows = reader.range[1], list(reader.records())
        by_seq = {decode_record(one).seq: one for one in rows}
        known = Head(b"", self.owner.epoch, KEPT, record_hash(self.records[KEPT - 1]))
        told = Head(b"", self.owner.epoch, last, record_hash(by_seq[last]) if last in by_seq else b"")
        found = list(judge(History(known), told)[1])
        if last > KEPT:
            found += recollected(known, record_hash(by_seq[KEPT]) if KEPT in by_seq else b"")
        if found:
            return True
        new = [data for data in rows if decode_record(data).seq > KEPT]
        (outcome,) = self.archive.append([Bundle(self.owner, bundled(new), last, 1)]) if new else [None]
        return outcome is not None and isinstance(outcome.error, BrokenChain)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    directory = tmp_path_factory.mktemp("node")
    store = open_store(directory)
    start = Draft(1_700_000_000_000_000, StartBody("test", KEY.public_key, True))
    store.commit(Batch([start]))
    for first in range(1, RECORDS, 3):
        store.commit(batch(*range(first, min(first + 3, RECORDS))))
    epoch, records = store.epoch, store.audit_range(1, RECORDS)
    store.close(clean=True)
    owner = Owner("n1", epoch, KEY.public_key)
    archive = SqliteArchive(tmp_path_factory.mktemp("coordinator") / ARCHIVE_FILE, Machine(), cosign)
    (outcome,) = archive.append([Bundle(owner, bundled(records[:KEPT]), RECORDS, 1)])
    assert outcome.kept is not None and outcome.kept.seq == KEPT
    return Node(directory, archive, owner, records)


def other(record: Record, random: Random) -> Record:
    """Return the record as if something else had happened."""
    body = ExecutionBody("r", bytes(32), 0, random.randrange(1 << 40), 0, 9, inputs=("another",))
    return replace(record, body=body)


def chained(rows: Rows, first: int, key: Identity) -> None:
    """Make the records from `first` on a chain again, as somebody who has the key does."""
    for seq in sorted(seq for seq in rows if seq >= first):
        prev = record_hash(rows[seq - 1])
        rows[seq] = encode_record(replace(decode_record(rows[seq]), seq=seq, prev=prev), key)


def edit(rows: Rows, random: Random) -> None:
    seq = random.randrange(1, KEPT)
    rows[seq] = encode_record(other(decode_record(rows[seq]), random), KEY)


def delete(rows: Rows, random: Random) -> None:
    del rows[random.randrange(1, KEPT)]


def reorder(rows: Rows, random: Random) -> None:
    first, second = random.sample(range(1, KEPT + 1), 2)
    rows[first], rows[second] = rows[second], rows[first]


def truncate(rows: Rows, random: Random) -> None:
    """Below the head that the coordinator has signed: what nobody has seen beyond it, nobody can miss."""
    for seq in range(random.randrange(2, KEPT + 1), RECORDS + 1):
        del rows[seq]


def fork(rows: Rows, random: Random) -> None:
    """Go back to an earlier record and go on otherwise, with the node's own key."""
    first, last = random.randrange(2, KEPT + 1), random.randrange(KEPT + 1, 2 * RECORDS)
    for seq in range(first, max(last, RECORDS) + 1):
        if seq > last:
            del rows[seq]
        else:
            rows[seq] = encode_record(other(decode_record(rows[first - 1]), random), KEY)
    chained(rows, first, KEY)


def rewrite(rows: Rows, random: Random) -> None:
    """Change one record and make all that follow fit, with the node's own key."""
    seq = random.randrange(2, KEPT + 1)
    rows[seq] = encode_record(other(decode_record(rows[seq]), random), KEY)
    chained(rows, seq, KEY)


CHANGES: tuple[Callable[[Rows, Random], None], ...] = (edit, delete, reorder, truncate, fork, rewrite)


def changed(node: Node, directory: Path, change: Callable[[Rows, Random], None], random: Random) -> None:
    """Write the node's store anew to `directory`, with this change."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(node.template, directory)
    rows = dict(enumerate(node.records, start=1))
    change(rows, random)
    db = apsw.Connection(str(directory / STORE_NAME))
    db.execute("BEGIN")
    db.execute("DELETE FROM audit")
    found = [(seq, decode_record(data).time_us, data) for seq, data in rows.items()]
    db.executemany("INSERT INTO audit (seq, time_us, record) VALUES (?, ?, ?)", found)
    db.execute("COMMIT")
    db.close()


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: str(one.__name__))
def test_each_change_of_what_the_coordinator_has_signed_for_is_found(
    node: Node, tmp_path: Path, change: Callable[[Rows, Random], None]
) -> None:
    by = {"both": 0, "audit verify": 0, "coordinator": 0, "nobody": 0}
    for number in range(CASES):
        changed(node, tmp_path / "case", change, Random(f"{change.__name__}-{number}"))
        there, here = node.audit_finds(tmp_path / "case"), node.coordinator_finds(tmp_path / "case")
        by["both" if there and here else "audit verify" if there else "coordinator" if here else "nobody"] += 1
    print(f"{change.__name__}: {CASES} changes, found by {by}")
    assert by["nobody"] == 0, by


def test_control_a_store_that_nobody_changed_is_whole_for_both(node: Node, tmp_path: Path) -> None:
    changed(node, tmp_path / "case", lambda rows, random: None, Random(1))
    assert not node.audit_finds(tmp_path / "case")
    copy = replace(node, archive=_archive_with_the_same(node, tmp_path))
    assert not copy.coordinator_finds(tmp_path / "case")


def _archive_with_the_same(node: Node, directory: Path) -> SqliteArchive:
    archive = SqliteArchive(directory / ARCHIVE_FILE, Machine(), cosign)
    archive.append([Bundle(node.owner, bundled(node.records[:KEPT]), RECORDS, 1)])
    return archive


@pytest.mark.parametrize("change", [truncate, fork, rewrite], ids=lambda one: str(one.__name__))
def test_control_whoever_has_the_key_fools_the_node_alone(
    node: Node, tmp_path: Path, change: Callable[[Rows, Random], None]
) -> None:
    """Only the second copy finds these."""
    changed(node, tmp_path / "case", change, Random(2))
    assert not node.audit_finds(tmp_path / "case")
    assert node.coordinator_finds(tmp_path / "case")
