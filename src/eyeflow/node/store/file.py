"""The SQLite file itself: opening, its size bounds, and what its errors mean for the node."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import apsw

from eyeflow.base.machine import FreeBytes, free_bytes_of
from eyeflow.base.reasons import why
from eyeflow.node.store.schema import known_version, migrate, require_store
from eyeflow.node.store.types import StorageError, StoreDamaged

STORE_NAME = "node.db"
PAGE_BYTES = 4096
WAL_SHARE = 8
"""One part in so many of the buffer is for the write-ahead log, within the two bounds below."""
WAL_BYTES_MIN = 512 * 1024
WAL_BYTES_MAX = 32 * 1024 * 1024
SIZE_BYTES_MIN = 2 * 1024 * 1024
SHM_BYTES = 256 * 1024
"""Room for the index of the write-ahead log (`-shm`), 32 KiB for each 4096 of its frames."""
SHM_STEP_BYTES, SHM_STEP_FRAMES = 32 * 1024, 4096
DISK_RESERVE_BYTES = 1024 * 1024
"""Free space that the store leaves on its disk: for the log's index at a start, the manifest, and other programs."""
BUSY_MS = 2_000
FILES = ("", "-wal", "-shm")
"""What the names of the store's files end in: the file, its write-ahead log, and the index of that."""
DAMAGED = (apsw.NotADBError, apsw.CorruptError, apsw.SQLError, apsw.ConstraintError, apsw.MismatchError)
"""What SQLite says of a file whose pages or tables are not those that a node wrote."""


class StoreFile:
    """An open connection whose files together never outgrow `size_bytes_max`; use it from one thread at a time.

    `size_bytes_max` is the smaller of the setting and what the disk has room for; see `fit`.
    """

    def __init__(
        self, path: Path, size_bytes_set: int, vfs: str | None = None, free_bytes: FreeBytes = free_bytes_of
    ) -> None:
        """Open or create the file; `vfs` names an apsw VFS (tests inject a failing disk). Raises EyeflowError."""
        self.path, self._size_bytes_set, self._free_bytes = path, size_bytes_set, free_bytes
        self.size_bytes_max = size_bytes_set
        self.wal_bytes_max = self.pages_max = self._wal_pages = 0
        self.seen_used_bytes = 0
        """`used_bytes` when it was last asked for: what other threads may read."""
        self._index_fd = -1
        try:
            self._require_room_for_index()
            self.db = self._open(vfs)
            self._opened = _identity(path)
        except (apsw.Error, OSError) as error:
            raise storage_error(error, path) from error

    def _open(self, vfs: str | None) -> apsw.Connection:
        _make_file(self.path)
        db = self.db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        try:
            self._set_up(db)
        except BaseException:
            self.abandon()  # closed later, it would delete the log of whatever file is in its place by then
            raise
        return db

    def _set_up(self, db: apsw.Connection) -> None:
        db.set_busy_timeout(BUSY_MS)
        known_version(db)  # before anything is changed: it may be the file of another program
        self._make_private()
        db.pragma("page_size", PAGE_BYTES)
        db.pragma("journal_mode", "WAL")
        db.pragma("synchronous", "FULL")
        db.pragma("trusted_schema", False)
        migrate(db)
        self.fit()
        self._allocate_index()
        db.set_wal_hook(self._committed)

    def _require_room_for_index(self) -> None:
        """Refuse a disk that has no room for the log's index: writing to it through a map would end in SIGBUS."""
        if self._free_bytes(self.path.parent) < self._index_bytes(self._bytes_of("-wal")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _allocate_index(self) -> None:
        """Take all the blocks that the log's index may need, where SQLite leaves holes in it.

        SQLite maps the index and writes one byte in each 4 KiB of it. On a disk with smaller blocks that later fills
        up, writing to the next block ends the process with SIGBUS.

        The descriptor stays open as long as the connection: when a process closes any descriptor of a file, all its
        locks on the file are gone (POSIX.1-2017, fcntl). The next reader of the audit then takes itself for the first
        process, and truncates the index under the node (https://sqlite.org/howtocorrupt.html, section 2.2).
        """
        index = self._beside("-shm")
        if self.db.readonly("main") or not index.exists():
            return
        self._index_fd = os.open(index, os.O_RDWR | os.O_CLOEXEC)
        os.posix_fallocate(self._index_fd, 0, self._index_bytes(self.wal_bytes_max))

    def _release_index(self) -> None:
        if self._index_fd >= 0:
            os.close(self._index_fd)
            self._index_fd = -1

    @staticmethod
    def _index_bytes(wal_bytes: int) -> int:
        return SHM_STEP_BYTES * (1 + wal_bytes // (SHM_STEP_FRAMES * PAGE_BYTES))

    def fit(self) -> None:
        """Let the bound follow the disk: what the files have and what is free of it, less a reserve, or the setting.

        A store that its disk cannot hold would fill it, and then neither write nor start. Raises OSError.
        """
        room_bytes = self.disk_bytes + max(0, self._free_bytes(self.path.parent) - DISK_RESERVE_BYTES)
        self.size_bytes_max = max(SIZE_BYTES_MIN, min(self._size_bytes_set, room_bytes))
        self.wal_bytes_max = max(WAL_BYTES_MIN, min(self.size_bytes_max // WAL_SHARE, WAL_BYTES_MAX))
        self.pages_max = (self.size_bytes_max - self.wal_bytes_max - SHM_BYTES) // PAGE_BYTES
        self.db.pragma("max_page_count", self.pages_max)
        self.db.pragma("journal_size_limit", self.wal_bytes_max)

    def _committed(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def close(self) -> None:
        """Close the connection; the log goes into the file when nobody else reads it."""
        # First, so that `close` finds nothing to sync: it would hold the interpreter's lock meanwhile.
        self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self.db.close()
        self._release_index()

    def abandon(self) -> None:
        """Close a connection that failed. What its log could not be moved for is still in the log."""
        with suppress(apsw.Error):
            self.db.close()
        self._release_index()

    @property
    def is_in_place(self) -> bool:
        """Whether the path still names this file. One that was removed takes what is written, and loses it at the end.

        SQLite does not look for that with a write-ahead log. Raises OSError.
        """
        return _identity(self.path) == self._opened

    @property
    def used_bytes(self) -> int:
        """Bytes of pages that hold something."""
        self.seen_used_bytes = used_bytes(self.db)
        return self.seen_used_bytes

    @property
    def room_bytes(self) -> int:
        """Bytes of pages that may still be filled."""
        return self.pages_max * PAGE_BYTES - self.used_bytes

    @property
    def disk_bytes(self) -> int:
        """Bytes that all files of the store take on disk, as far as the disk tells."""
        return files_bytes(self.path)

    @property
    def is_oversized(self) -> bool:
        """Whether the file is larger than the setting: that was lowered. SQLite keeps the pages that hold nothing."""
        return int(self.db.pragma("page_count")) * PAGE_BYTES > self._size_bytes_set

    def compact(self) -> None:
        """Give the pages that hold nothing back to the disk; it writes the whole file again. Raises apsw.Error."""
        self.db.execute("VACUUM")
        self.flush_log()

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _make_private(self) -> None:
        """Let only the owner read the files; SQLite made the log with the rights that the file had until now."""
        for suffix in FILES:
            path = self._beside(suffix)
            if path.exists() and path.stat().st_mode & 0o077:
                path.chmod(0o600)

    def _bytes_of(self, suffix: str) -> int:
        return _size_bytes(self._beside(suffix))

    def tidy(self) -> None:
        """Move the write-ahead log into the file before it reaches its bound. Raises StorageError when it cannot.

        A log that was moved whole is written from its start again. A reader that holds an old snapshot prevents that.
        """
        if self._wal_pages * PAGE_BYTES <= self.wal_bytes_max // 4:
            return
        self.fit()
        logged, moved = self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if moved < logged and logged * PAGE_BYTES > self.wal_bytes_max * 3 // 4:
            raise StorageError(
                "the log of the node's store has reached its bound",
                cause=f"Another process has been reading {self.path} for long.",
                next_step="End that process: a second `eyeflow audit`, a backup or a database browser.",
                full=True,
            )

    def flush_log(self) -> None:
        """Write everything that the log holds into the file, and sync it. Raises StorageError when the disk fails.

        After a failed fsync the kernel may take pages for written that are not: only writing them again makes sure.
        """
        try:
            self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            raise storage_error(error, self.path) from error


class FrozenFile(StoreFile):
    """A store on a disk that cannot be written, read as it is: what rules start from until the disk is back."""

    def _open(self, vfs: str | None) -> apsw.Connection:
        logged = self._bytes_of("-wal") > 0
        # Without a file for the log's index SQLite reads a log only where it has no other process to mind. The
        # node's lock keeps other nodes out; a reader of the audit changes nothing.
        options = "vfs=unix-none" if logged else "immutable=1"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        db = apsw.Connection(f"{self.path.absolute().as_uri()}?{options}", flags=flags)
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        db.pragma("locking_mode", "EXCLUSIVE")
        db.pragma("trusted_schema", False)
        require_store(db)
        return db

    def _require_room_for_index(self) -> None:
        """It keeps the index in memory."""


def files_bytes(path: Path) -> int:
    """Return what all files of the store at `path` take on disk, as far as the disk tells."""
    return sum(_size_bytes(path.with_name(path.name + suffix)) for suffix in FILES)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # SQLite has just removed it, or the disk answers nothing: a status must not end the node
        return 0


def used_bytes(db: apsw.Connection) -> int:
    """Return the bytes of pages that hold something."""
    return int(db.pragma("page_count") - db.pragma("freelist_count")) * PAGE_BYTES


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others of the machine, None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _make_file(path: Path) -> None:
    """Make the file if it is not there; only its owner may read it, from its first moment on."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _is_read_only(directory: Path) -> bool:
    with suppress(OSError):
        return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    return False


def storage_error(error: apsw.Error | OSError, path: Path) -> StorageError:
    """Say what an error of SQLite or of the disk means for whoever runs the node."""
    number = error.errno if isinstance(error, OSError) else 0
    if isinstance(error, DAMAGED):
        return StoreDamaged(path, why(error))
    full = isinstance(error, apsw.FullError) or number in (errno.ENOSPC, errno.EDQUOT)
    if full:
        what, next_step = "is full", "Free space on this disk."
    elif isinstance(error, apsw.ReadOnlyError) or number == errno.EROFS or _is_read_only(path.parent):
        what, next_step = "is read-only", "Look for the reason with dmesg, then make it writable: mount -o remount,rw"
    else:
        what, next_step = "failed", "Check the disk and its permissions (dmesg, df, ls -l)."
    cause = f"{path}: {why(error)}"
    return StorageError(f"the disk of the node's store {what}", cause=cause, next_step=next_step, full=full)
