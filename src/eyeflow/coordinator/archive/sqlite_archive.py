"""The archive as one SQLite file beside the coordinator's store, so that neither waits for a commit of the other."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.base.reasons import why
from eyeflow.base.whole_file import sync_directory
from eyeflow.coordinator.archive import sql_archive as sql
from eyeflow.coordinator.archive.database import DAMAGED, FOREIGN, Bounds, Bundle, Cosign, Outcome
from eyeflow.coordinator.archive.sql_reader import SqlReader

_log = logging.getLogger("eyeflow.coordinator")

T = TypeVar("T")

ARCHIVE_FILE = "archive.db"
DAMAGED_FILE = f"{ARCHIVE_FILE}.damaged"
"""A file of which pages could not be read, as evidence; the newest one only."""
SPOILED = (apsw.NotADBError, apsw.CorruptError, UnicodeDecodeError, sql.SpoiledRowError)
"""What shows that pages are damaged: SQLite says so, a text is none any more, or a value has another type."""
FAILED = (apsw.Error, *SPOILED)
LOGS = ("-wal", "-shm")
"""Ends of the names of what SQLite has beside a file."""
APPLICATION_ID = 0x45594131
"""`EYA1`: marks the file as an archive (PRAGMA application_id)."""
MOVE_AWAY = "move the file away"
BUSY_MS = 5_000
USUAL_BOUNDS = Bounds(8 << 30)
LOG_BYTES_MAX = 16 << 20
"""What one commit of as many bundles as go into one may take, in the log beside the file and in the file itself."""
FOR_EVER_US = 1 << 62


class _Sql:
    """Satisfies `ArchiveSql`."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def rows(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._db.execute(text, values).fetchall()

    def run(self, text: str, values: Sequence[Any] = ()) -> None:
        self._db.execute(text, values)

    def run_each(self, text: str, values: Sequence[Sequence[Any]]) -> None:
        self._db.executemany(text, values)


class SqliteReader(SqlReader):
    """Satisfies `ArchiveReader`. After an I/O error it opens the file anew."""

    _names_index = True  # SQLite keeps no statistics of the file

    def __init__(self, path: Path, machine: Machine) -> None:
        self.path, self._machine = path, machine
        self._opened: apsw.Connection | None = None

    @property
    def _db(self) -> apsw.Connection:
        if self._opened is None:
            self._opened = _open(self.path, self._machine.vfs)
        return self._opened

    def reopen(self) -> None:
        """Look at the file that has this name now."""
        broken, self._opened = self._opened, None
        if broken is not None:
            with contextlib.suppress(apsw.Error):
                broken.close()

    def close(self) -> None:
        """Close the connection. What a disk that fails does not take now is in the log, and stays there."""
        self.reopen()

    def _look(self, look: Callable[[sql.ArchiveSql], T]) -> T:
        try:
            return look(_Sql(self._db))
        except FAILED as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> EyeflowError:
        """After an I/O error pages in memory may not be what the disk holds."""
        if isinstance(error, apsw.IOError):
            self.reopen()
        return _trouble(self.path, error)


class SqliteArchive(SqliteReader):
    """Satisfies `ArchiveDatabase`. `cosign` signs the head that each commit reaches."""

    def __init__(self, path: Path, machine: Machine, cosign: Cosign, bounds: Bounds = USUAL_BOUNDS) -> None:
        """Open or make the file. Raises EyeflowError."""
        super().__init__(path, machine)
        self._cosign, self._bounds = cosign, bounds
        try:
            self._make()
        except EyeflowError as error:
            if error.code != DAMAGED:
                raise
            _log.error("%s", error.whole)
            self.begin_anew()

    def _make(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._prepare()
        except (OSError, apsw.Error) as error:
            raise _trouble(self.path, error) from error

    def begin_anew(self) -> None:
        """Move the file to DAMAGED_FILE, in place of one that is there, and make a new one; see `ArchiveDatabase`."""
        self.reopen()
        aside = self.path.with_name(DAMAGED_FILE)
        try:
            for end in (*LOGS, ""):  # the file last: a log of it beside a new one would be taken for that one's
                if (one := self.path.with_name(self.path.name + end)).exists():
                    one.replace(aside.with_name(aside.name + end))
                else:
                    aside.with_name(aside.name + end).unlink(missing_ok=True)
            sync_directory(self.path.parent)
        except OSError as error:
            raise _trouble(self.path, error) from error
        self._make()
        _log.error("the archive begins anew; what could not be read is kept as %s", aside)

    def append(self, bundles: Sequence[Bundle]) -> list[Outcome]:
        """Check bundles and make those durable that hold, in one commit; see `ArchiveDatabase`."""
        try:
            with self._transaction() as db:
                outcomes = [sql.append(db, bundle, self._cosign) for bundle in bundles]
                self._make_room(db)
                return outcomes
        except apsw.SQLError:
            raise  # a bug, which trying again would hide
        except FAILED as error:
            return [Outcome(error=self._failed(error))] * len(bundles)
        except EyeflowError as error:  # the file could not be opened anew
            return [Outcome(error=error)] * len(bundles)

    def set_aside(self, node: str, epoch: int | None = None) -> None:
        """Begin the copy of a node's chain anew; see `ArchiveDatabase`."""
        try:
            with self._transaction() as db:
                sql.set_aside(db, node, epoch)
        except FAILED as error:
            raise self._failed(error) from error

    def tidy(self, now_us: int) -> int:
        """Drop some of the records that are older than the bound; see `ArchiveDatabase`."""
        if not self._bounds.age_us_max:
            return 0
        try:
            with self._transaction() as db:
                return _drop_oldest(db, now_us - self._bounds.age_us_max)
        except FAILED as error:
            raise self._failed(error) from error

    def _make_room(self, db: _Sql) -> None:
        """Drop the oldest until what is used fits; the pages that become free take what comes next."""
        for _ in range(sql.DROPS_MAX):
            fits = self._used_bytes() <= self._bounds.size_bytes_max - 2 * LOG_BYTES_MAX
            if fits or not _drop_oldest(db, FOR_EVER_US):
                return

    def _used_bytes(self) -> int:
        pages: int = self._db.pragma("page_count") - self._db.pragma("freelist_count")
        return pages * int(self._db.pragma("page_size"))

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
    def _transaction(self) -> Iterator[_Sql]:
        """Never `with db:`: apsw holds the interpreter's lock while that commits, and the event loop stands still."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield _Sql(self._db)
            self._db.execute("COMMIT")
        finally:
            if self._opened is not None and self._opened.in_transaction:
                self._opened.execute("ROLLBACK")

    def _prepare(self) -> None:
        version = self._db.pragma("user_version")
        if missing := sql.migrations_from(version, str(self.path), MOVE_AWAY):
            with self._transaction() as db:
                for migration in missing:
                    self._db.execute(migration)
                if not version:
                    sql.name_anew(db)
                self._db.pragma("application_id", APPLICATION_ID)
                self._db.pragma("user_version", sql.VERSION)


def _drop_oldest(db: _Sql, before_us: int) -> int:
    found = sql.oldest(db)
    return 0 if found is None or found.kept_us >= before_us else sql.drop_first(db, found.chain, before_us)


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
        raise EyeflowError(
            f"{path} is no archive that this eyeflow can use",
            cause="another program wrote it",
            next_step=f"{MOVE_AWAY}: the nodes send again what they still have",
            code=FOREIGN,
        )
    sql.migrations_from(version, str(path), MOVE_AWAY)


def _trouble(path: Path, error: Exception) -> EyeflowError:
    return EyeflowError(
        f"the coordinator's archive {path} cannot be used",
        cause="the file is damaged" if isinstance(error, SPOILED) else why(error),
        next_step="check that the disk is not full and that you may write there",
        code=DAMAGED if isinstance(error, SPOILED) else "archive",
    )
