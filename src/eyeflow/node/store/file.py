"""The SQLite file itself: opening, its size bounds, and what its errors mean for the node."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import apsw

from eyeflow.base.errors import EyeflowError
from eyeflow.node.store.schema import migrate
from eyeflow.node.store.types import StorageError

STORE_NAME = "node.db"
PAGE_BYTES = 4096
WAL_SHARE = 8
"""One part in so many of the buffer is for the write-ahead log, within the two bounds below."""
WAL_BYTES_MIN = 512 * 1024
WAL_BYTES_MAX = 32 * 1024 * 1024
SIZE_BYTES_MIN = 2 * 1024 * 1024
SHM_BYTES = 256 * 1024
"""Room for the index of the write-ahead log (`-shm`), 32 KiB for each 4096 of its frames."""
BUSY_MS = 2_000


class StoreFile:
    """An open connection whose files together never outgrow `size_bytes_max`; use it from one thread at a time."""

    def __init__(self, path: Path, size_bytes_max: int, vfs: str | None = None) -> None:
        """Open or create the file; `vfs` names an apsw VFS (tests inject a failing disk). Raises EyeflowError."""
        self.path = path
        self.wal_bytes_max = max(WAL_BYTES_MIN, min(size_bytes_max // WAL_SHARE, WAL_BYTES_MAX))
        self.pages_max = (size_bytes_max - self.wal_bytes_max - SHM_BYTES) // PAGE_BYTES
        self._wal_pages = 0
        try:
            self.db = self._open(vfs)
        except apsw.Error as error:
            raise store_error(error, path) from error

    def _open(self, vfs: str | None) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        db = apsw.Connection(str(self.path), flags=flags, vfs=vfs)
        self.path.chmod(0o600)
        db.set_busy_timeout(BUSY_MS)
        db.pragma("page_size", PAGE_BYTES)
        db.pragma("journal_mode", "WAL")
        db.pragma("synchronous", "FULL")
        db.pragma("trusted_schema", False)
        migrate(db)
        db.pragma("max_page_count", self.pages_max)
        db.pragma("journal_size_limit", self.wal_bytes_max)
        db.set_wal_hook(self._committed)
        return db

    def _committed(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def close(self) -> None:
        """Close the connection; the log goes into the file when nobody else reads it."""
        # First, so that `close` finds nothing to sync: it would hold the interpreter's lock meanwhile.
        self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self.db.close()

    def abandon(self) -> None:
        """Close a connection that failed. What its log could not be moved for is still in the log."""
        with suppress(apsw.Error):
            self.db.close()

    @property
    def used_bytes(self) -> int:
        """Bytes of pages that hold something."""
        return int(self.db.pragma("page_count") - self.db.pragma("freelist_count")) * PAGE_BYTES

    @property
    def room_bytes(self) -> int:
        """Bytes of pages that may still be filled."""
        return self.pages_max * PAGE_BYTES - self.used_bytes

    @property
    def disk_bytes(self) -> int:
        """Bytes that all files of the store take on disk."""
        files = (self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal", "-shm"))
        return sum(file.stat().st_size for file in files if file.exists())

    def tidy(self) -> None:
        """Move the write-ahead log into the file before it reaches its bound. Raises StorageError when it cannot.

        A log that was moved whole is written from its start again. A reader that holds an old snapshot prevents that.
        """
        if self._wal_pages * PAGE_BYTES <= self.wal_bytes_max // 4:
            return
        logged, moved = self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if moved < logged and logged * PAGE_BYTES > self.wal_bytes_max * 3 // 4:
            raise StorageError(
                "the log of the node's store has reached its bound",
                cause=f"Another process has been reading {self.path} for long.",
                next_step="End that process: a second `eyeflow audit`, a backup or a database browser.",
                full=True,
            )

    def settle(self) -> None:
        """Write everything that the log holds into the file, and sync it. Raises StorageError when the disk fails.

        After a failed fsync the kernel may take pages for written that are not: only writing them again makes sure.
        """
        try:
            self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            raise storage_error(error, self.path) from error


def storage_error(error: apsw.Error, path: Path) -> StorageError:
    """Say what an SQLite error means for whoever runs the node."""
    full = isinstance(error, apsw.FullError)
    return StorageError(
        f"the disk of the node's store {'is full' if full else 'failed'}",
        cause=f"{path}: {error}",
        next_step="Free space on this disk." if full else "Check the disk and its permissions (dmesg, df, ls -l).",
        full=full,
    )


def store_error(error: apsw.Error, path: Path) -> EyeflowError:
    """Say what an SQLite error means for a store that is being opened: a damaged file, or the disk."""
    if not isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return storage_error(error, path)
    return EyeflowError(
        f"the node's store {path} is damaged or no store at all",
        cause=str(error),
        next_step="Keep the file for inspection (`eyeflow audit verify`), then start with another data_dir.",
        code="store_damaged",
    )
