"""The archive as one SQLite file beside the coordinator's store, so that neither waits for a commit of the other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.base.reasons import why
from eyeflow.coordinator.archive.chain import BrokenChain, Jump, Owner, Row, Tail, follow
from eyeflow.coordinator.archive.database import Bounds, Bundle, Chain, Cosign, Outcome
from eyeflow.coordinator.archive.sql_searching import INDEXES
from eyeflow.coordinator.archive.sqlite_searching import Searching
from eyeflow.coordinator.histories import Doubt, Proof
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.audit_bodies import AuditError
from eyeflow.protocol.collecting import KeptHead, unbundled
from eyeflow.protocol.wire import ProtocolError

ARCHIVE_FILE = "archive.db"
DAMAGED, FOREIGN = "archive_damaged", "archive_version"
"""Codes of the errors that no other disk, and no free space, takes away."""
APPLICATION_ID = 0x45594131
"""`EYA1`: marks the file as an archive (PRAGMA application_id)."""
BUSY_MS = 5_000
USUAL_BOUNDS = Bounds(8 << 30)
LOG_BYTES_MAX = 16 << 20
"""What one commit of as many bundles as go into one may take, in the log beside the file and in the file itself."""
DROP_RECORDS = 1024
DROPS_MAX = 64
"""Ranges that one commit drops at most: more than its bundles can bring."""
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
        number INTEGER PRIMARY KEY,
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
    CREATE INDEX arrivals_of_chains ON arrivals (chain, last_seq);
"""
MIGRATIONS = (SCHEMA + INDEXES,)
_CHAIN = "node, epoch, first_seq, seq, hash, kept_us, signature, jump_seq, jump_hash, jump_until"


_PUT_CHAIN = f"""
    INSERT INTO chains ({_CHAIN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (node, epoch, branch) DO UPDATE SET
        first_seq = excluded.first_seq, seq = excluded.seq, hash = excluded.hash, kept_us = excluded.kept_us,
        signature = excluded.signature, jump_seq = excluded.jump_seq, jump_hash = excluded.jump_hash,
        jump_until = excluded.jump_until
"""
_FIND_CHAIN = "SELECT id FROM chains WHERE node = ? AND epoch = ? AND branch = 0"


class SqliteReader(Searching):
    """Satisfies `ArchiveReader`. After an I/O error it opens the file anew."""

    def __init__(self, path: Path, machine: Machine) -> None:
        self.path, self._machine = path, machine
        self._opened: apsw.Connection | None = None

    @property
    def _db(self) -> apsw.Connection:
        if self._opened is None:
            self._opened = _open(self.path, self._machine.vfs)
        return self._opened

    def chains(self) -> list[Chain]:
        """Return the newest chain of each node."""
        newest = "SELECT node, max(epoch) FROM chains WHERE branch = 0 GROUP BY node"
        query = f"SELECT {_CHAIN} FROM chains WHERE branch = 0 AND (node, epoch) IN ({newest})"
        return [_chain(row) for row in self._rows(query)]

    def chain(self, node: str, epoch: int) -> Chain | None:
        """Return one chain, None when nothing of it is kept."""
        rows = self._rows(f"SELECT {_CHAIN} FROM chains WHERE node = ? AND epoch = ? AND branch = 0", (node, epoch))
        return _chain(rows[0]) if rows else None

    def copies(self, node: str) -> list[Chain]:
        """Return all that is kept of a node, the newest epoch first, and of each the copy that grows first."""
        query = f"SELECT {_CHAIN}, branch FROM chains WHERE node = ? ORDER BY epoch DESC, branch = 0 DESC, branch DESC"
        return [replace(_chain(row[:-1]), branch=row[-1]) for row in self._rows(query, (node,))]

    def page(self, node: str, epoch: int, after_seq: int, limit: int, branch: int = 0) -> list[Row]:
        """Return records of a chain that follow `after_seq`, ascending, at most `limit`."""
        query = """
            SELECT seq, time_us, kind, rule, slot, key, outcome, record FROM records
            WHERE chain = (SELECT id FROM chains WHERE node = ? AND epoch = ? AND branch = ?) AND seq > ?
            ORDER BY seq LIMIT ?
        """
        return [Row(*row) for row in self._rows(query, (node, epoch, branch, after_seq, limit))]

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return list(self._db.execute(query, values))
        except apsw.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: apsw.Error) -> EyeflowError:
        """After an I/O error pages in memory may not be what the disk holds."""
        if isinstance(error, apsw.IOError) and self._opened is not None:
            broken, self._opened = self._opened, None
            with contextlib.suppress(apsw.Error):
                broken.close()
        return _trouble(self.path, error)


class SqliteArchive(SqliteReader):
    """Satisfies `ArchiveDatabase`. `cosign` signs the head that each commit reaches."""

    def __init__(self, path: Path, machine: Machine, cosign: Cosign, bounds: Bounds = USUAL_BOUNDS) -> None:
        """Open or make the file. Raises EyeflowError."""
        super().__init__(path, machine)
        self._cosign, self._bounds = cosign, bounds
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._prepare()
        except (OSError, apsw.Error) as error:
            raise _trouble(path, error) from error

    def append(self, bundles: Sequence[Bundle]) -> list[Outcome]:
        """Check bundles and make those durable that hold, in one commit; see `ArchiveDatabase`."""
        try:
            with self._transaction():
                outcomes = [self._append(bundle) for bundle in bundles]
                self._make_room()
                return outcomes
        except apsw.SQLError:
            raise  # a bug, which trying again would hide
        except apsw.Error as error:
            return [Outcome(error=self._failed(error))] * len(bundles)
        except EyeflowError as error:  # the file could not be opened anew
            return [Outcome(error=error)] * len(bundles)

    def _append(self, bundle: Bundle) -> Outcome:
        owner = bundle.owner
        chain = self.chain(owner.node, owner.epoch) or Chain(owner.node, KeptHead(owner.epoch))
        try:
            records = unbundled(bundle.records)
            known = self._compared(owner, chain, records)
            tail, rows = follow(owner, chain.tail, records[known:], bundle.head_seq)
        except (BrokenChain, ProtocolError) as error:
            return Outcome(error=error)
        if not rows:
            return Outcome(chain.kept)
        kept = self._cosign(owner.node, KeptHead(owner.epoch, tail.seq, tail.hash, bundle.now_us))
        is_empty = not 0 < chain.first_seq <= chain.tail.seq
        self._write(owner, rows[0].seq if is_empty else chain.first_seq, kept, tail, rows)
        return Outcome(kept)

    def _compared(self, owner: Owner, chain: Chain, records: Sequence[bytes]) -> int:
        """Return how many of the records are kept already. Raises BrokenChain when one differs from what is kept."""
        try:
            first_seq = decode_record(records[0]).seq
        except AuditError:
            return 0  # `follow` says what is wrong with it
        count = max(0, min(len(records), chain.tail.seq - first_seq + 1))
        if count:
            kept = {row.seq: row.data for row in self.page(owner.node, owner.epoch, first_seq - 1, count)}
            for seq, data in enumerate(records[:count], first_seq):
                if kept.get(seq, data) != data:
                    text = f"its record {seq} (epoch {owner.epoch}) is another one than it sent before"
                    proof = Proof(owner.epoch, seq, record_hash(kept[seq]), record_hash(data))
                    raise BrokenChain(Doubt.FORKED, text, proof)
        return count

    def _write(self, owner: Owner, first_seq: int, kept: KeptHead, tail: Tail, rows: Sequence[Row]) -> None:
        jump = tail.jump or Jump(0, b"", 0)
        where = (kept.seq, kept.hash, kept.time_us, kept.signature, jump.seq, jump.hash, jump.until_seq)
        self._db.execute(_PUT_CHAIN, (owner.node, owner.epoch, first_seq, *where))
        number = self._db.execute(_FIND_CHAIN, (owner.node, owner.epoch)).get
        put = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        acts = {(row.program, row.sites): self._acting(row) for row in rows}
        self._db.executemany(
            put,
            [(number, *_found_by(row), acts[row.program, row.sites], kept.time_us, row.data) for row in rows],
        )
        arrived = "INSERT INTO arrivals (chain, first_seq, last_seq) VALUES (?, ?, ?)"
        self._db.execute(arrived, (number, rows[0].seq, rows[-1].seq))

    def _acting(self, row: Row) -> int:
        """Return the number of the sites at which a program acted, 0 for none."""
        if not row.sites:
            return 0
        what = (row.program, " ".join(map(str, row.sites)))
        self._db.execute("INSERT OR IGNORE INTO acting (program, sites) VALUES (?, ?)", what)
        return int(self._db.execute("SELECT number FROM acting WHERE program = ? AND sites = ?", what).get)

    def set_aside(self, node: str) -> None:
        """Begin the copy of a node's newest chain anew; see `ArchiveDatabase`."""
        newest = "(SELECT max(epoch) FROM chains WHERE node = ?)"
        query = (
            f"UPDATE chains SET branch = (SELECT max(branch) + 1 FROM chains WHERE node = ? AND epoch = {newest}) "
            f"WHERE node = ? AND branch = 0 AND epoch = {newest}"
        )
        try:
            with self._transaction():
                self._db.execute(query, (node, node, node, node))
        except apsw.Error as error:
            raise self._failed(error) from error

    def tidy(self, now_us: int) -> int:
        """Drop some of the records that are older than the bound; see `ArchiveDatabase`."""
        if not self._bounds.age_us_max:
            return 0
        try:
            with self._transaction():
                return self._drop_oldest(now_us - self._bounds.age_us_max)
        except apsw.Error as error:
            raise self._failed(error) from error

    def _make_room(self) -> None:
        """Drop the oldest until what is used fits; the pages that become free take what comes next."""
        for _ in range(DROPS_MAX):
            if self._used_bytes() <= self._bounds.size_bytes_max - 2 * LOG_BYTES_MAX or not self._drop_oldest():
                return

    def _used_bytes(self) -> int:
        pages: int = self._db.pragma("page_count") - self._db.pragma("freelist_count")
        return pages * int(self._db.pragma("page_size"))

    def _drop_oldest(self, before_us: int | None = None) -> int:
        """Drop the first records of the chain whose first one came earliest; return how many went.

        Only those that came before `before_us`, if it is given. The head of a chain stays, and so the next record fits.
        """
        first = (
            "SELECT r.kept_us, r.chain, r.seq FROM chains c JOIN records r ON r.chain = c.id AND r.seq = c.first_seq"
        )
        oldest: list[Any] = self._db.execute(f"{first} ORDER BY r.kept_us LIMIT 1").fetchall()
        if not oldest or (before_us is not None and oldest[0][0] >= before_us):
            return 0
        _, chain, seq = oldest[0]
        until_us = before_us if before_us is not None else 1 << 62
        last: Any = self._db.execute(
            "SELECT max(seq) FROM records WHERE chain = ? AND seq >= ? AND seq < ? AND kept_us < ?",
            (chain, seq, seq + DROP_RECORDS, until_us),
        ).get
        self._db.execute("DELETE FROM records WHERE chain = ? AND seq <= ?", (chain, last))
        count = self._db.changes()
        self._db.execute("DELETE FROM arrivals WHERE chain = ? AND last_seq <= ?", (chain, last))
        # Where the node had dropped some, the next record has not the next number.
        following = "coalesce((SELECT min(records.seq) FROM records WHERE chain = chains.id), ? + 1)"
        self._db.execute(f"UPDATE chains SET first_seq = {following} WHERE id = ?", (last, chain))
        return count

    @property
    def _db(self) -> apsw.Connection:
        """The connection; whatever an earlier one left in the log is made durable before anything builds on it.

        A commit whose sync failed is in the log all the same, and after it a sync that succeeds says nothing of the
        pages that were lost: only writing them again makes sure.
        """
        if self._opened is None:
            opened = _open(self.path, self._machine.vfs)
            try:
                opened.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.Error as error:
                with contextlib.suppress(apsw.Error):
                    opened.close()
                raise _trouble(self.path, error) from error
            self._opened = opened
        return self._opened

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Never `with db:`: apsw holds the interpreter's lock while that commits, and the event loop stands still."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._opened is not None and self._opened.in_transaction:
                self._opened.execute("ROLLBACK")

    def _prepare(self) -> None:
        version = self._db.pragma("user_version")
        if version < len(MIGRATIONS):
            with self._transaction():
                for number in range(version, len(MIGRATIONS)):
                    self._db.execute(MIGRATIONS[number])
                self._db.pragma("application_id", APPLICATION_ID)
                self._db.pragma("user_version", len(MIGRATIONS))


def _found_by(row: Row) -> tuple[int, int, int, str, str, str, int]:
    return row.seq, row.time_us, row.kind, row.rule, row.slot, row.key, row.outcome


def _chain(row: Sequence[Any]) -> Chain:
    node, epoch, first_seq, seq, digest, kept_us, signature, *jumped = row
    jump = Jump(*jumped) if jumped[0] else None
    return Chain(node, KeptHead(epoch, seq, digest, kept_us, signature), first_seq, Tail(seq, digest, jump))


def _open(path: Path, vfs: str | None) -> apsw.Connection:
    """Open the file. Only the start makes one: while a disk is away, a new one would begin below its mount point."""
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        db.set_busy_timeout(BUSY_MS)
        _refuse_foreign(db, path)  # before anything is changed
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        db.pragma("journal_size_limit", LOG_BYTES_MAX // 2)
    except apsw.Error as error:
        raise _trouble(path, error) from error
    return db


def _refuse_foreign(db: apsw.Connection, path: Path) -> None:
    version, application = db.pragma("user_version"), db.pragma("application_id")
    if application != APPLICATION_ID and (version or db.execute("SELECT count(*) FROM sqlite_schema").get):
        cause, next_step = "another program wrote it", "move the file away: the nodes send again what they still have"
    elif version > len(MIGRATIONS):
        cause = f"a newer eyeflow wrote it: it has schema {version}, this one knows {len(MIGRATIONS)}"
        next_step = "start the coordinator with that version of eyeflow, or newer"
    else:
        return
    raise EyeflowError(
        f"{path} is no archive that this eyeflow can use", cause=cause, next_step=next_step, code=FOREIGN
    )


def _trouble(path: Path, error: Exception) -> EyeflowError:
    return EyeflowError(
        f"the coordinator's archive {path} cannot be used",
        cause=why(error),
        next_step="check that the disk is not full and that you may write there. If the file is damaged: stop the "
        "coordinator and move it away with its -wal and -shm; the nodes send again what they still have",
        code=DAMAGED if isinstance(error, apsw.NotADBError | apsw.CorruptError) else "archive",
    )
