"""The coordinator's durable store: one SQLite file in WAL mode with synchronous=FULL. A commit that returned is kept.

Only `transaction` writes; nested use joins the outer transaction. The other modules of this package hold the queries.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.base.reasons import why
from eyeflow.protocol.identity import Identity, key_fingerprint

BUSY_MS = 5_000
ROOM_BYTES_MIN = 1 << 20
"""With less room on its disk the store is in trouble before a write fails: a program and its log need as much."""
LOG_ROWS_MAX = 100_000
"""Entries of who did what that are kept; the oldest go first."""
ENVIRONMENT = (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.LockedError, apsw.ReadOnlyError, apsw.CorruptError)
"""What disk, rights and other processes can do to us; any other error of SQLite is a bug and stays one."""

MIGRATIONS = (
    """
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE api_tokens(
    id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash BLOB NOT NULL,
    created_us INTEGER NOT NULL, revoked_us INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE join_tokens(
    id TEXT PRIMARY KEY, hash BLOB NOT NULL, created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL,
    used_us INTEGER NOT NULL DEFAULT 0, used_by TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE TABLE signer_keys(
    public_key BLOB PRIMARY KEY, name TEXT NOT NULL, added_us INTEGER NOT NULL,
    revoked_us INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE nodes(
    name TEXT PRIMARY KEY, public_key BLOB NOT NULL, joined_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL DEFAULT 0,
    software TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL DEFAULT 0, next_seq INTEGER NOT NULL DEFAULT 0,
    manifest_version INTEGER NOT NULL DEFAULT 0, manifest BLOB NOT NULL DEFAULT x'',
    signature BLOB NOT NULL DEFAULT x'', applied_version INTEGER NOT NULL DEFAULT 0,
    results TEXT NOT NULL DEFAULT '[]', problem TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE TABLE node_floors(name TEXT PRIMARY KEY, manifest_version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE programs(
    id TEXT PRIMARY KEY, rule TEXT NOT NULL, version TEXT NOT NULL, sequence INTEGER NOT NULL, profile TEXT NOT NULL,
    about TEXT NOT NULL, bytes BLOB NOT NULL, uploaded_us INTEGER NOT NULL, uploaded_by TEXT NOT NULL) STRICT;
CREATE INDEX programs_by_rule ON programs(rule, uploaded_us);
CREATE TABLE wanted(
    node TEXT NOT NULL, rule TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY(node, rule)) STRICT, WITHOUT ROWID;
CREATE TABLE known_good(
    node TEXT NOT NULL, rule TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY(node, rule)) STRICT, WITHOUT ROWID;
CREATE TABLE deployments(
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, rule TEXT NOT NULL, over INTEGER NOT NULL,
    body TEXT NOT NULL) STRICT;
CREATE INDEX deployments_open ON deployments(rule) WHERE over = 0;
CREATE TABLE log(
    number INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
""",
    """
CREATE TABLE heads(
    node TEXT PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL,
    boots BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE findings(
    node TEXT NOT NULL, kind TEXT NOT NULL, since_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
    evidence TEXT NOT NULL, PRIMARY KEY(node, kind)) STRICT, WITHOUT ROWID;
""",
)
"""Number n brings a file of version n to version n + 1 (PRAGMA user_version)."""
SCHEMA_VERSION = len(MIGRATIONS)


class Store:
    """The open store; `identity` is the coordinator's key, made on the first start. Use from one thread only."""

    def __init__(self, path: Path, machine: Machine | None = None) -> None:
        self.path, self._machine = path, machine or Machine()
        self._depth = 0
        self.trouble = ""
        """Why the last write failed or the next one will; empty while all is well."""
        self._db = _open(path, self._machine.vfs)
        self._prepare()
        self.identity = Identity(self._secret())
        self.coordinator_id = key_fingerprint(self.identity.public_key)

    def close(self) -> None:
        """Close the file; every committed transaction stays."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one durable transaction; on an exception nothing of it remains."""
        if self._depth:
            yield
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            yield
            self._db.execute("COMMIT")
            self.trouble = ""
        except ENVIRONMENT as error:
            failed = self._failed(error)
            self.trouble = failed.brief
            raise failed from error
        finally:
            self._depth = 0
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def check(self) -> None:
        """Raise EyeflowError when the disk takes nothing more, and notice when it takes again.

        It writes only after trouble: once a second for ever would wear a flash card out.
        """
        free_bytes = self._machine.free_bytes(self.path.parent)
        if os.statvfs(self.path.parent).f_flag & os.ST_RDONLY:
            raise _trouble(self.path, "its disk is read-only")
        if free_bytes < ROOM_BYTES_MIN:
            raise _trouble(self.path, f"its disk has {free_bytes} bytes left, it needs {ROOM_BYTES_MIN}")
        if self.trouble:
            with self.transaction():
                self.run("INSERT OR REPLACE INTO meta VALUES('checked', x'')")

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open: what is written now is durable only when that one ends."""
        return bool(self._depth)

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute a writing statement inside a transaction; returns the number of rows it changed."""
        assert self._depth, "writes happen in a transaction"
        self._db.execute(sql, tuple(values))
        return self._db.changes()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        try:
            return list(self._db.execute(sql, tuple(values)))
        except ENVIRONMENT as error:
            raise _trouble(self.path, error) from error

    def row(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        return next(iter(self.rows(sql, values)), None)

    def log(self, now_us: int, actor: str, action: str, subject: str, detail: str = "") -> None:
        """Record who did what."""
        self.run(
            "INSERT INTO log(time_us, actor, action, subject, detail) VALUES(?, ?, ?, ?, ?)",
            (now_us, actor, action, subject, detail),
        )
        self.run("DELETE FROM log WHERE number <= (SELECT max(number) FROM log) - ?", (LOG_ROWS_MAX,))

    def _failed(self, error: apsw.Error) -> EyeflowError:
        """After an I/O error pages in memory may not be what the disk holds: forget them and read the file again."""
        if isinstance(error, apsw.IOError):
            self._db.close()
            self._db = _open(self.path, self._machine.vfs)
        return _trouble(self.path, error)

    def _prepare(self) -> None:
        try:
            version = self._db.pragma("user_version")
            if version > SCHEMA_VERSION:
                raise EyeflowError(
                    f"the coordinator's store {self.path} has schema {version}, this eyeflow knows {SCHEMA_VERSION}",
                    cause="it was written by a newer eyeflow",
                    next_step="start the coordinator with the eyeflow version that wrote it, or newer",
                    code="store_version",
                )
            if version < SCHEMA_VERSION:
                self._migrate(version)
        except apsw.Error as error:
            raise _trouble(self.path, error) from error

    def _migrate(self, version: int) -> None:
        with self.transaction():
            for number in range(version, SCHEMA_VERSION):
                self._db.execute(MIGRATIONS[number])
            if version == 0:
                self.run(
                    "INSERT INTO meta VALUES('identity', ?)", (Identity.generate(self._machine.random).private_bytes(),)
                )
            self._db.pragma("user_version", SCHEMA_VERSION)

    def _secret(self) -> bytes:
        row = self.row("SELECT value FROM meta WHERE key = 'identity'")
        assert row is not None
        return bytes(row[0])


def _open(path: Path, vfs: str | None) -> apsw.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        db = apsw.Connection(str(path), vfs=vfs)
        db.set_busy_timeout(BUSY_MS)
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        db.pragma("foreign_keys", True)
    except (OSError, apsw.Error) as error:
        raise _trouble(path, error) from error
    return db


def _trouble(path: Path, error: Exception | str) -> EyeflowError:
    return EyeflowError(
        f"the coordinator's store {path} cannot be used",
        cause=error if isinstance(error, str) else why(error),
        next_step="check that the disk is not full, that you may write there, and that no other coordinator uses it",
        code="store",
    )
