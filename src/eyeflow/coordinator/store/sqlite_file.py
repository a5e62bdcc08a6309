"""The coordinator's SQLite file, in WAL mode with synchronous=FULL: a commit that returned is kept. One thread only."""

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
from eyeflow.coordinator.store.cluster_store import ConflictError, Look, Step, T
from eyeflow.coordinator.store.database import Outcome
from eyeflow.coordinator.store.sql import Row
from eyeflow.coordinator.store.sql_reading import SqlReading
from eyeflow.coordinator.store.sql_schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from eyeflow.coordinator.store.sql_writing import SqlWriting
from eyeflow.coordinator.store.sqlite_columns import COLUMNS, check_columns
from eyeflow.protocol.identity import Identity, key_fingerprint

BUSY_MS = 5_000
ROOM_BYTES_MIN = 1 << 20
"""With less room on its disk the store is in trouble before a write fails: a program and its log need as much."""
ENVIRONMENT = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ReadOnlyError,
    apsw.CorruptError,
    apsw.CantOpenError,  # of the log or a temporary file: no descriptor is left, or the directory has gone
    apsw.NotADBError,
)
"""What disk, rights and other processes can do to us; any other error of SQLite is a bug and stays one."""

MOVE_AWAY = "name another --data-dir, or move the file away: the nodes then join again"
DAMAGED = (apsw.NotADBError, apsw.CorruptError, apsw.SQLError, apsw.ConstraintError, apsw.MismatchError)
"""What SQLite says of a file whose pages or tables are not those that a coordinator wrote."""


class _Sql:
    """Satisfies `sql.Sql`."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def rows(self, sql: str, values: Sequence[Any]) -> list[Row]:
        return list(self._db.execute(sql, values))

    def run(self, sql: str, values: Sequence[Any]) -> None:
        self._db.execute(sql, values)

    def append(self, change: Row) -> None:
        self.run("INSERT INTO changes(time_us, kind, subject, node, labels) VALUES(?, ?, ?, ?, ?)", change)

    def count(self, deployment_id: str, state: str, change: int) -> None:
        self.run(
            "INSERT INTO progress_counts VALUES(?, ?, ?) "
            "ON CONFLICT(deployment, state) DO UPDATE SET nodes = progress_counts.nodes + excluded.nodes",
            (deployment_id, state, change),
        )

    def must_change(self, sql: str, values: Sequence[Any], what: str) -> None:
        if not self.changed(sql, values):
            raise ConflictError(what)

    def changed(self, sql: str, values: Sequence[Any]) -> int:
        self._db.execute(sql, values)
        return self._db.changes()


class SqliteFile:
    """The open file; `identity` is the coordinator's key, made on the first start."""

    def __init__(self, path: Path, machine: Machine) -> None:
        self.path = path
        self.trouble = ""
        self._machine = machine
        self._opened: apsw.Connection | None = _open(path, machine.vfs, creates=True)
        self.newest_change = 0
        """The number of the newest change that is committed."""
        try:
            self._prepare()
        except apsw.Error as error:
            raise _trouble(path, error) from error

    @property
    def _db(self) -> apsw.Connection:
        """The connection. After an I/O error it is opened anew, as often as the disk refuses that, too."""
        if self._opened is None:
            self._opened = _open(self.path, self._machine.vfs)
        return self._opened

    def close(self) -> None:
        """Close the file; every committed transaction stays."""
        if self._opened is not None:
            self._opened.close()

    def commit(self, steps: Sequence[Step[Any]]) -> list[Outcome]:
        """Run steps as one durable transaction. A step that fails leaves nothing; the others are kept all the same.

        When the disk refuses, nothing of any step is kept and each outcome is the error that says so.
        """
        try:
            with self._transaction():
                outcomes = [self._run(step) for step in steps]
                self._writing().compact()
                # Before COMMIT: read after it, a disk that fails would call steps lost that are kept.
                newest_change = self._reading().newest_change()
        except (*ENVIRONMENT, EyeflowError) as error:  # EyeflowError: the file could not be opened anew
            failed = error if isinstance(error, EyeflowError) else self._failed(error)
            self.trouble = failed.brief
            return [Outcome(error=failed)] * len(steps)
        self.trouble, self.newest_change = "", newest_change
        return outcomes

    def read(self, look: Look[T]) -> T:
        """Answer a question; all of its answers are of one moment."""
        return _look_at(self._db, self.path, look)

    def check_room(self) -> None:
        """Raise EyeflowError when the disk takes nothing more. It only looks: writing would wear a flash card out."""
        try:
            free_bytes, flags = self._machine.free_bytes(self.path.parent), os.statvfs(self.path.parent).f_flag
        except OSError as error:
            raise _trouble(self.path, error) from error
        if flags & os.ST_RDONLY:
            raise _trouble(self.path, "its disk is read-only")
        if free_bytes < ROOM_BYTES_MIN:
            raise _trouble(self.path, f"its disk has {free_bytes} bytes left, it needs {ROOM_BYTES_MIN}")

    def _run(self, step: Step[Any]) -> Outcome:
        self._db.execute("SAVEPOINT step")
        try:
            result = step(self._writing())
        except ENVIRONMENT:
            raise
        except Exception as error:
            self._db.execute("ROLLBACK TO step")
            self._db.execute("RELEASE step")
            return Outcome(error=error)
        self._db.execute("RELEASE step")
        return Outcome(result)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Never `with db:`: apsw holds the interpreter's lock while that commits, and the event loop stands still."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        finally:
            if self._opened is not None and self._opened.in_transaction:
                self._opened.execute("ROLLBACK")

    def _reading(self) -> SqlReading:
        return SqlReading(_Sql(self._db))

    def _writing(self) -> SqlWriting:
        return SqlWriting(_Sql(self._db))

    def _failed(self, error: apsw.Error) -> EyeflowError:
        """After an I/O error pages in memory may not be what the disk holds: forget them and read the file again."""
        if isinstance(error, apsw.IOError) and self._opened is not None:
            broken, self._opened = self._opened, None
            with contextlib.suppress(apsw.Error):
                broken.close()
        return _trouble(self.path, error)

    def _prepare(self) -> None:
        version = self._db.pragma("user_version")
        if version < SCHEMA_VERSION:
            with self._transaction():
                for number in range(version, SCHEMA_VERSION):
                    self._db.execute(MIGRATIONS[number])
                if version == 0:
                    self._db.execute(
                        "INSERT INTO meta VALUES('identity', ?)",
                        (Identity.generate(self._machine.random).private_bytes(),),
                    )
                self._db.pragma("application_id", APPLICATION_ID)
                self._db.pragma("user_version", SCHEMA_VERSION)
        columns = ((str(table), str(column)) for table, column in self._db.execute(COLUMNS))
        check_columns(str(self.path), MIGRATIONS, columns, MOVE_AWAY)
        self.identity = Identity(bytes(self._db.execute("SELECT value FROM meta WHERE key = 'identity'").get))
        self.coordinator_id = key_fingerprint(self.identity.public_key)
        self.newest_change = self._reading().newest_change()


class SqliteReader:
    """A second connection that only reads: it sees what is committed, and waits for no writer (WAL)."""

    def __init__(self, path: Path, machine: Machine) -> None:
        self._path, self._machine = path, machine
        self._opened: apsw.Connection | None = _open(path, machine.vfs, reads_only=True)

    def read(self, look: Look[T]) -> T:
        """As `SqliteFile.read`. After an I/O error it reads the file anew, as `SqliteFile` does."""
        if self._opened is None:  # the disk may refuse that, too: then the next look tries again
            self._opened = _open(self._path, self._machine.vfs, reads_only=True)
        try:
            return _look_at(self._opened, self._path, look)
        except EyeflowError as error:
            if isinstance(error.__cause__, apsw.IOError):
                broken, self._opened = self._opened, None
                with contextlib.suppress(apsw.Error):
                    broken.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()


def _look_at(db: apsw.Connection, path: Path, look: Look[T]) -> T:
    try:
        db.execute("BEGIN")
        try:
            return look(SqlReading(_Sql(db)))
        finally:
            if db.in_transaction:  # an I/O error has ended it
                db.execute("COMMIT")
    except ENVIRONMENT as error:
        raise _trouble(path, error) from error


def _open(path: Path, vfs: str | None, reads_only: bool = False, creates: bool = False) -> apsw.Connection:
    """Open the file. Only the start makes one: while a disk is away, a new store would begin below its mount point."""
    try:
        if creates:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite would make it with the rights of the umask, and the coordinator's private key is in it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        db.set_busy_timeout(BUSY_MS)
        _refuse_foreign(db, path)  # before anything is changed
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        db.pragma("foreign_keys", True)
        db.pragma("query_only", reads_only)
    except (OSError, apsw.Error) as error:
        raise _trouble(path, error) from error
    return db


def _refuse_foreign(db: apsw.Connection, path: Path) -> None:
    version = db.pragma("user_version")
    if db.pragma("application_id") != APPLICATION_ID:
        if version == 0 and not db.execute("SELECT count(*) FROM sqlite_schema").get:
            return
        raise EyeflowError(
            f"{path} is not a store that this eyeflow can use",
            cause="another program wrote it, or an eyeflow before the first release",
            next_step=MOVE_AWAY,
            code="store_version",
        )
    if version > SCHEMA_VERSION:
        raise EyeflowError(
            f"the coordinator's store {path} has schema {version}, this eyeflow knows {SCHEMA_VERSION}",
            cause="it was written by a newer eyeflow",
            next_step="start the coordinator with the eyeflow version that wrote it, or newer",
            code="store_version",
        )


def _trouble(path: Path, error: Exception | str) -> EyeflowError:
    if isinstance(error, DAMAGED):
        return EyeflowError(
            f"the coordinator's store {path} is damaged or no store at all",
            cause=why(error),
            next_step=f"stop the coordinator and keep a copy of {path.parent}; then restore {path.name} from a backup, "
            "or move it away with its -wal and -shm: the nodes then join again",
            code="store_damaged",
        )
    return EyeflowError(
        f"the coordinator's store {path} cannot be used",
        cause=error if isinstance(error, str) else why(error),
        next_step="check that the disk is not full, that you may write there, and that no other coordinator uses it",
        code="store",
    )
