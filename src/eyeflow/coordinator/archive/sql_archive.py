"""The archive as SQL, in the words that SQLite and PostgreSQL share, inside an open transaction."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.archive.chain import BrokenChain, Jump, Owner, Row, Tail, follow
from eyeflow.coordinator.archive.database import (
    FOREIGN,
    BegunAnewError,
    Bundle,
    Chain,
    Cosign,
    KeptState,
    Loss,
    Outcome,
)
from eyeflow.coordinator.archive.sql_searching import INDEXES
from eyeflow.coordinator.histories import Doubt, Proof
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.audit_bodies import LOSSES, AuditError, GapBody, Kind
from eyeflow.protocol.collecting import KeptHead, States, unbundled
from eyeflow.protocol.wire import ProtocolError

SCHEMA = """
    CREATE TABLE chains (
        id INTEGER PRIMARY KEY,
        node TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        first_seq INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        hash BLOB NOT NULL,
        kept_us INTEGER NOT NULL,
        signature BLOB NOT NULL,
        jump_seq INTEGER NOT NULL,
        jump_hash BLOB NOT NULL,
        jump_until INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL DEFAULT 0,
        branch INTEGER NOT NULL DEFAULT 0,
        UNIQUE (node, epoch, branch)
    ) STRICT;
    CREATE TABLE records (
        chain INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        time_us INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        rule TEXT NOT NULL,
        slot TEXT NOT NULL,
        key TEXT NOT NULL,
        outcome INTEGER NOT NULL,
        acts INTEGER NOT NULL,
        kept_us INTEGER NOT NULL,
        record BLOB NOT NULL,
        PRIMARY KEY (chain, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE acting (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        program BLOB NOT NULL,
        sites TEXT NOT NULL,
        UNIQUE (program, sites)
    ) STRICT;
    CREATE TABLE arrivals (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        chain INTEGER NOT NULL,
        first_seq INTEGER NOT NULL,
        last_seq INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE states (
        node TEXT NOT NULL,
        rule TEXT NOT NULL,
        slot TEXT NOT NULL,
        key TEXT NOT NULL,
        program TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        kept_us INTEGER NOT NULL,
        state BLOB NOT NULL,
        PRIMARY KEY (node, rule, slot, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE losses (
        chain INTEGER NOT NULL,
        reason TEXT NOT NULL,
        gaps INTEGER NOT NULL,
        records INTEGER NOT NULL,
        last_us INTEGER NOT NULL,
        PRIMARY KEY (chain, reason)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE archive_id (
        id INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX arrivals_of_chains ON arrivals (chain, first_seq);
"""
MIGRATIONS = (SCHEMA + INDEXES,)
"""As those of `store.sql_schema`; the first makes version FIRST_VERSION."""
FIRST_VERSION = 4
"""Earlier ones were those of an eyeflow before the first release: their tables or indexes were others."""
VERSION = FIRST_VERSION + len(MIGRATIONS) - 1
ID_BITS = 52
"""It stands in cursors, which are JSON: a float holds so much."""
DROP_RECORDS = 1024
DROPS_MAX = 64
"""Ranges that one commit drops at most: more than its bundles can bring."""
OTHER = "other"
"""What else than LOSSES a node may say has no bound, and counts together."""
ROW_BYTES = 400
"""What a record is counted for beside its own bytes: its other columns, and its entries in six indexes."""
_CHAIN = "node, epoch, first_seq, seq, hash, kept_us, signature, jump_seq, jump_hash, jump_until, size_bytes"
_PUT_CHAIN = f"""
    INSERT INTO chains ({_CHAIN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (node, epoch, branch) DO UPDATE SET
        first_seq = excluded.first_seq, seq = excluded.seq, hash = excluded.hash, kept_us = excluded.kept_us,
        signature = excluded.signature, jump_seq = excluded.jump_seq, jump_hash = excluded.jump_hash,
        jump_until = excluded.jump_until, size_bytes = chains.size_bytes + excluded.size_bytes
"""
_PUT_STATE = """
    INSERT INTO states (node, rule, slot, key, program, epoch, seq, kept_us, state)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (node, rule, slot, key) DO UPDATE SET program = excluded.program, state = excluded.state,
        epoch = excluded.epoch, seq = excluded.seq, kept_us = excluded.kept_us
"""
_DROP_ACTING = """
    DELETE FROM acting WHERE number = ?
    AND NOT EXISTS (SELECT 1 FROM records WHERE outcome >= 0 AND acts > 0 AND acts = acting.number)
"""
_FIND_CHAIN = "SELECT id FROM chains WHERE node = ? AND epoch = ? AND branch = 0"
_NEWEST = "SELECT node, max(epoch) FROM chains WHERE branch = 0 GROUP BY node"
_OLDEST = """
    SELECT r.kept_us, c.id, c.node FROM chains c JOIN records r ON r.chain = c.id AND r.seq = c.first_seq
    ORDER BY r.kept_us LIMIT 1
"""


def migrations_from(version: int, shown: str, move_away: str) -> Sequence[str]:
    """Return what brings an archive of this version (0: an empty one) to VERSION.

    Raises EyeflowError with the code FOREIGN for one of another eyeflow; `move_away` says how to begin without it.
    """
    if version == 0:
        return MIGRATIONS
    if FIRST_VERSION <= version <= VERSION:
        return MIGRATIONS[version - FIRST_VERSION + 1 :]
    is_newer = version > VERSION
    raise EyeflowError(
        f"{shown} is no archive that this eyeflow can use",
        cause=f"a newer eyeflow wrote it: it has schema {version}, this one knows {VERSION}"
        if is_newer
        else f"an eyeflow before the first release wrote it: it has schema {version}, the first is {FIRST_VERSION}",
        next_step="start the coordinator with that version of eyeflow, or newer"
        if is_newer
        else f"{move_away}: the nodes send again what they still have",
        code=FOREIGN,
    )


def name_anew(db: ArchiveSql) -> None:
    """Give a new archive its number: who followed an earlier one, whose numbers were others, notices by it."""
    db.run("INSERT INTO archive_id (id) VALUES (?)", (secrets.randbits(ID_BITS),))


class SpoiledRowError(Exception):
    """A row holds what nobody wrote there: its page is damaged."""


class ArchiveSql(Protocol):
    """One connection with an open transaction. Errors of the database pass through as they are."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a SELECT."""
        ...

    def run(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement that changes rows."""
        ...

    def run_each(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each of these values."""
        ...


def chains(db: ArchiveSql) -> list[Chain]:
    """Return the newest chain of each node."""
    query = f"SELECT {_CHAIN} FROM chains WHERE branch = 0 AND (node, epoch) IN ({_NEWEST})"
    return [_chain(row) for row in db.rows(query)]


def chain(db: ArchiveSql, node: str, epoch: int) -> Chain | None:
    """Return one chain, None when nothing of it is kept."""
    rows = db.rows(f"SELECT {_CHAIN} FROM chains WHERE node = ? AND epoch = ? AND branch = 0", (node, epoch))
    return _chain(rows[0]) if rows else None


def copies(db: ArchiveSql, node: str) -> list[Chain]:
    """Return all that is kept of a node, the newest epoch first, and of each the copy that grows first."""
    order = "epoch DESC, CASE WHEN branch = 0 THEN 0 ELSE 1 END, branch DESC"
    query = f"SELECT id, branch, {_CHAIN} FROM chains WHERE node = ? ORDER BY {order}"
    losses: dict[int, tuple[Loss, ...]] = {}
    of_node = "SELECT chain, reason, gaps, records, last_us FROM losses JOIN chains ON id = chain WHERE node = ?"
    for number, *loss in db.rows(f"{of_node} ORDER BY chain, reason", (node,)):
        losses[number] = (*losses.get(number, ()), Loss(*loss))
    found = db.rows(query, (node,))
    return [replace(_chain(row), branch=branch, losses=losses.get(number, ())) for number, branch, *row in found]


def page(db: ArchiveSql, node: str, epoch: int, after_seq: int, limit: int, branch: int = 0) -> list[Row]:
    """Return records of a chain that follow `after_seq`, ascending, at most `limit`."""
    query = """
        SELECT seq, time_us, kind, rule, slot, key, outcome, record FROM records
        WHERE chain = (SELECT id FROM chains WHERE node = ? AND epoch = ? AND branch = ?) AND seq > ?
        ORDER BY seq LIMIT ?
    """
    found = db.rows(query, (node, epoch, branch, after_seq, limit))
    return [Row(*(*found_by, _bytes(record))) for *found_by, record in found]


def append(db: ArchiveSql, bundle: Bundle, cosign: Cosign) -> Outcome:
    """Check a bundle and write what is new of it. One that does not hold changes nothing."""
    owner = bundle.owner
    kept_chain = chain(db, owner.node, owner.epoch) or Chain(owner.node, KeptHead(owner.epoch))
    if not _reaches(db, kept_chain, bundle.after):
        return Outcome(error=BegunAnewError())
    try:
        records = unbundled(bundle.records)
        known = _compared(db, owner, kept_chain, records)
        tail, rows = follow(owner, kept_chain.tail, records[known:], bundle.head_seq)
    except (BrokenChain, ProtocolError) as error:
        return Outcome(error=error)
    if bundle.states is not None:
        _put_states(db, owner, bundle.states, bundle.now_us)
    if not rows:
        return Outcome(kept_chain.kept)
    kept = cosign(owner.node, KeptHead(owner.epoch, tail.seq, tail.hash, bundle.now_us))
    is_empty = not 0 < kept_chain.first_seq <= kept_chain.tail.seq
    write(db, owner, rows[0].seq if is_empty else kept_chain.first_seq, kept, tail, rows)
    return Outcome(kept)


def _reaches(db: ArchiveSql, kept_chain: Chain, after: KeptHead) -> bool:
    """Say whether the copy still holds the head that was told when a bundle was asked for.

    Else it was begun anew meanwhile, and the records would look as if the node had dropped those before them.
    """
    tail = kept_chain.tail
    if after.seq >= tail.seq:
        return (after.seq, after.hash) == (tail.seq, tail.hash)
    rows = page(db, kept_chain.node, kept_chain.kept.epoch, after.seq - 1, 1) if after.seq else []
    return not rows or rows[0].seq != after.seq or record_hash(rows[0].data) == after.hash


def _put_states(db: ArchiveSql, owner: Owner, states: States, now_us: int) -> None:
    """Keep how the rules stand in place of what was told before; what the node has no more goes."""
    held = {(rule, slot.value, key) for rule, slot, key in states.held}
    there = db.rows("SELECT rule, slot, key FROM states WHERE node = ?", (owner.node,))
    gone = [(owner.node, *place) for place in there if tuple(place) not in held]
    db.run_each("DELETE FROM states WHERE node = ? AND rule = ? AND slot = ? AND key = ?", gone)
    where = (owner.epoch, states.seq, now_us)
    put = [(owner.node, one.rule, one.slot.value, one.key, one.program_id, *where, one.state) for one in states.changed]
    db.run_each(_PUT_STATE, put)
    if states.is_complete:  # what did not change stands as it did, after this record, too
        db.run("UPDATE states SET epoch = ?, seq = ?, kept_us = ? WHERE node = ?", (*where, owner.node))


def states(db: ArchiveSql, node: str) -> list[KeptState]:
    """Return how the rules of a node stood when it told last, ascending by rule, slot and key."""
    query = """
        SELECT rule, slot, key, program, epoch, seq, kept_us, state FROM states WHERE node = ?
        ORDER BY rule, slot, key
    """
    return [KeptState(*(*found, _bytes(state))) for *found, state in db.rows(query, (node,))]


def _compared(db: ArchiveSql, owner: Owner, kept_chain: Chain, records: Sequence[bytes]) -> int:
    """Return how many of the records are kept already. Raises BrokenChain when one differs from what is kept."""
    try:
        first_seq = decode_record(records[0]).seq
    except AuditError:
        return 0  # `follow` says what is wrong with it
    count = max(0, min(len(records), kept_chain.tail.seq - first_seq + 1))
    if count:
        kept = {row.seq: row.data for row in page(db, owner.node, owner.epoch, first_seq - 1, count)}
        for seq, data in enumerate(records[:count], first_seq):
            if kept.get(seq, data) != data:
                text = f"its record {seq} (epoch {owner.epoch}) is another one than it sent before"
                proof = Proof(owner.epoch, seq, record_hash(kept[seq]), record_hash(data))
                raise BrokenChain(Doubt.FORKED, text, proof)
    return count


def write(db: ArchiveSql, owner: Owner, first_seq: int, kept: KeptHead, tail: Tail, rows: Sequence[Row]) -> None:
    """Write records that were checked, and the head that they reach."""
    jump = tail.jump or Jump(0, b"", 0)
    where = (kept.seq, kept.hash, kept.time_us, kept.signature, jump.seq, jump.hash, jump.until_seq)
    size_bytes = sum(len(row.data) + ROW_BYTES for row in rows)
    db.run(_PUT_CHAIN, (owner.node, owner.epoch, first_seq, *where, size_bytes))
    ((number,),) = db.rows(_FIND_CHAIN, (owner.node, owner.epoch))
    put = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    acts = {(row.program, row.sites): _acting(db, row) for row in rows}
    db.run_each(put, [(number, *_found_by(row), acts[row.program, row.sites], kept.time_us, row.data) for row in rows])
    for row in rows:
        if row.kind == Kind.GAP:
            _count_loss(db, number, row)
    arrived = "INSERT INTO arrivals (chain, first_seq, last_seq) VALUES (?, ?, ?)"
    db.run(arrived, (number, rows[0].seq, rows[-1].seq))


def _count_loss(db: ArchiveSql, chain: int, row: Row) -> None:
    """Count what a gap says. Of its range only what nobody held was lost: the total of the epoch tells how much.

    Where gaps before this one are gone themselves, what they told of counts for the reason of this one.
    """
    gap = decode_record(row.data).body
    assert isinstance(gap, GapBody)
    ((before,),) = db.rows("SELECT coalesce(sum(records), 0) FROM losses WHERE chain = ?", (chain,))
    if (lost := gap.lost_total - int(before)) > 0:
        db.run(
            "INSERT INTO losses (chain, reason, gaps, records, last_us) VALUES (?, ?, 1, ?, ?) "
            "ON CONFLICT (chain, reason) DO UPDATE SET gaps = losses.gaps + 1, "
            "records = losses.records + excluded.records, last_us = excluded.last_us",
            (chain, gap.reason if gap.reason in LOSSES else OTHER, lost, row.time_us),
        )


def _acting(db: ArchiveSql, row: Row) -> int:
    """Return the number of the sites at which a program acted, 0 for none."""
    if not row.sites:
        return 0
    what = (row.program, " ".join(map(str, row.sites)))
    db.run("INSERT INTO acting (program, sites) VALUES (?, ?) ON CONFLICT (program, sites) DO NOTHING", what)
    ((number,),) = db.rows("SELECT number FROM acting WHERE program = ? AND sites = ?", what)
    return int(number)


def set_aside(db: ArchiveSql, node: str, epoch: int | None) -> None:
    """Begin the copy of a node's chain anew, None: of its newest; what is kept of it stays as a branch."""
    if epoch is None:
        ((epoch,),) = db.rows("SELECT coalesce(max(epoch), 0) FROM chains WHERE node = ?", (node,))
    ((branch,),) = db.rows("SELECT coalesce(max(branch), 0) FROM chains WHERE node = ? AND epoch = ?", (node, epoch))
    where = "node = ? AND epoch = ? AND branch = 0"
    db.run(f"UPDATE chains SET branch = ? WHERE {where}", (branch + 1, node, epoch))


def used_bytes(db: ArchiveSql) -> int:
    """Return what the records take, as far as it is counted here."""
    ((size_bytes,),) = db.rows("SELECT coalesce(sum(size_bytes), 0) FROM chains")
    return int(size_bytes)


@dataclass(frozen=True, slots=True)
class Oldest:
    """The chain whose first record came earliest, and when that was."""

    chain: int
    node: str
    kept_us: int


def oldest(db: ArchiveSql) -> Oldest | None:
    """Return which chain has the oldest record, None when nothing is kept."""
    return next((Oldest(number, node, kept_us) for kept_us, number, node in db.rows(_OLDEST)), None)


def drop_first(db: ArchiveSql, number: int, before_us: int) -> int:
    """Drop the first records of a chain that came before `before_us`; return how many went.

    The head of a chain stays, and so the next record fits.
    """
    ((seq,),) = db.rows("SELECT coalesce(max(first_seq), 0) FROM chains WHERE id = ?", (number,))
    ((last, count, size_bytes),) = db.rows(
        "SELECT max(seq), count(*), coalesce(sum(length(record)), 0) FROM records "
        "WHERE chain = ? AND seq < ? AND kept_us < ?",
        (number, seq + DROP_RECORDS, before_us),
    )
    if not count:
        return 0
    dropped = "FROM records WHERE chain = ? AND seq <= ?"
    acts = db.rows(f"SELECT DISTINCT acts {dropped} AND acts > 0", (number, last))
    db.run(f"DELETE {dropped}", (number, last))
    db.run_each(_DROP_ACTING, acts)
    db.run("DELETE FROM arrivals WHERE chain = ? AND first_seq <= ? AND last_seq <= ?", (number, last, last))
    # Where the node had dropped some, the next record has not the next number.
    following = "coalesce((SELECT min(records.seq) FROM records WHERE chain = chains.id), ?)"
    db.run(
        f"UPDATE chains SET first_seq = {following}, size_bytes = size_bytes - ? WHERE id = ?",
        (last + 1, int(size_bytes) + count * ROW_BYTES, number),
    )
    return int(count)


def _bytes(value: Any) -> bytes:
    """Of damaged pages a number may come instead, and `bytes` makes so many zeros of it."""
    if not isinstance(value, bytes):
        raise SpoiledRowError
    return value


def _found_by(row: Row) -> tuple[int, int, int, str, str, str, int]:
    return row.seq, row.time_us, row.kind, row.rule, row.slot, row.key, row.outcome


def _chain(row: Sequence[Any]) -> Chain:
    node, epoch, first_seq, seq, digest, kept_us, signature, *jumped, size_bytes = row
    if not all(type(one) is int for one in (epoch, first_seq, seq, kept_us, jumped[0], jumped[2], size_bytes)):
        raise SpoiledRowError
    jump = Jump(jumped[0], _bytes(jumped[1]), jumped[2]) if jumped[0] else None
    kept = KeptHead(epoch, seq, _bytes(digest), kept_us, _bytes(signature))
    return Chain(node, kept, first_seq, Tail(seq, kept.hash, jump), size_bytes=size_bytes)
