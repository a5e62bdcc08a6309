"""One file with all that a coordinator is: its store, its keys, its CA. Made while it runs; put back while it does not.

With PostgreSQL the store is in the database, and `pg_dump` copies it: the file holds keys and CA only.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from eyeflow.base.dir_lock import DataDirLock
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.base.reasons import why
from eyeflow.base.whole_file import sync_directory
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, LOGS
from eyeflow.coordinator.cluster_key import KEY_FILE
from eyeflow.coordinator.manifests import WantedSets
from eyeflow.coordinator.serve import STORE_FILE
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.facts import Kept, LogEntry
from eyeflow.coordinator.store.sqlite_backup import copy_store, go_ahead, is_whole
from eyeflow.coordinator.store.sqlite_file import SqliteFile
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.coordinator.tls import TLS_DIR

_FILES = "|".join(map(re.escape, (STORE_FILE, ARCHIVE_FILE, KEY_FILE)))
_MEMBER = re.compile(rf"{_FILES}|{TLS_DIR}/[A-Za-z0-9][A-Za-z0-9._-]*\.pem")
MEMBERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup: what is in it, and for a store of its own the cluster and how many nodes it has."""

    path: Path
    files: tuple[str, ...]
    coordinator_id: str = ""
    nodes: int = 0


@dataclass(frozen=True, slots=True)
class Restored:
    """A data directory that was put back. `kept`: where what was there before lies now, None when nothing was."""

    coordinator_id: str
    nodes: int
    kept: Path | None


def back_up(data_dir: Path, path: Path, machine: Machine, *, with_archive: bool = False) -> Backup:
    """Write a backup of the coordinator in `data_dir` to the new file `path` (mode 600), also while it runs.

    `with_archive`: with the second copy of the audit of the nodes, which may be many times as large.
    Raises EyeflowError: `backup`, `backup_exists`, `no_coordinator`.
    """
    if path.exists():
        raise _refused(f"{path} is there already", "a backup replaces no file", "choose another name", "backup_exists")
    found = [data_dir / KEY_FILE, *sorted((data_dir / TLS_DIR).glob("*.pem"))]
    others = [one for one in found if one.is_file()]
    has_store = (data_dir / STORE_FILE).is_file()
    if not has_store and not others:
        cause, next_step = "it holds no store and no key", "name the directory of a coordinator with --data-dir"
        raise _refused(f"there is no coordinator in {data_dir}", cause, next_step, "no_coordinator")
    with _guarded(path), tempfile.TemporaryDirectory(prefix=".backup-", dir=path.parent) as directory:
        draft = Path(directory) / "backup.tar"
        backup = Backup(path, tuple(str(one.relative_to(data_dir)) for one in others))
        with tarfile.open(draft, "x", format=tarfile.PAX_FORMAT) as archive:
            if has_store:
                copy = Path(directory) / STORE_FILE
                copy_store(data_dir / STORE_FILE, copy)
                archive.add(copy, STORE_FILE)
                backup = _described(copy, machine, (STORE_FILE, *backup.files), path)
            if with_archive and (data_dir / ARCHIVE_FILE).is_file():
                copy_store(data_dir / ARCHIVE_FILE, Path(directory) / ARCHIVE_FILE)
                archive.add(Path(directory) / ARCHIVE_FILE, ARCHIVE_FILE)
                backup = replace(backup, files=(*backup.files, ARCHIVE_FILE))
            for one in others:
                archive.add(one, str(one.relative_to(data_dir)))
        draft.chmod(0o600)
        _sync(draft)
        os.link(draft, path)  # a link, unlike a rename, never replaces a file
        sync_directory(path.parent)
    return backup


def restore(path: Path, data_dir: Path, machine: Machine, now_us: int) -> Restored:
    """Put a backup back into `data_dir`, where no coordinator may run. What is there is kept beside it.

    All nodes get their manifests anew, with numbers above those that they may have got since the backup.
    Raises EyeflowError: `backup`, `backup_damaged`, `data_dir_in_use`, `store_version`.
    """
    with _guarded(path):
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = DataDirLock(data_dir, "coordinator")
        try:
            with tempfile.TemporaryDirectory(prefix=".restore-", dir=data_dir) as directory:
                fresh = Path(directory) / "fresh"
                fresh.mkdir(mode=0o700)
                _unpack(path, fresh)
                coordinator_id, nodes = _made_newest(fresh / STORE_FILE, machine, now_us)
                kept = _set_aside(data_dir, now_us, has_archive=(fresh / ARCHIVE_FILE).exists())
                _put(fresh, data_dir)
        finally:
            lock.release()
    return Restored(coordinator_id, nodes, kept)


def _described(copy: Path, machine: Machine, files: tuple[str, ...], path: Path) -> Backup:
    reading = SqliteFile(copy, machine)
    try:
        return Backup(path, files, reading.coordinator_id, reading.read(lambda one: one.count(Kept.NODES)))
    finally:
        reading.close()
        for suffix in ("-wal", "-shm"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)


def _unpack(path: Path, directory: Path) -> None:
    try:
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            strange = [one.name for one in members if not (one.isfile() and _MEMBER.fullmatch(one.name))]
            if strange or not members or len(members) > MEMBERS_MAX:
                raise _damaged(path, f"it holds {strange[0]!r}" if strange else "it holds no files of a coordinator")
            for member in members:
                source = archive.extractfile(member)
                assert source is not None
                target = directory / member.name
                target.parent.mkdir(mode=0o700, exist_ok=True)
                with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
                    shutil.copyfileobj(source, out)
                _sync(target)
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(path, "it is no archive, or ends too early") from error
    for name, what in ((STORE_FILE, "store"), (ARCHIVE_FILE, "archive")):
        if (directory / name).exists() and not is_whole(directory / name):
            raise _damaged(path, f"the {what} in it is damaged")


def _made_newest(path: Path, machine: Machine, now_us: int) -> tuple[str, int]:
    """Bring the store up to this version and let it go on above what nodes may have; returns its id and its nodes."""
    if not path.exists():
        return "", 0
    SqliteFile(path, machine).close()  # brings it up to this version
    go_ahead(path)
    store = InlineStore(path, machine)
    try:

        def step(writing: Writing) -> int:
            names = writing.node_names()
            wanted = WantedSets(store, writing, now_us)
            for name in names:
                wanted.touch(name)
            wanted.sign()
            writing.add_log_entry(LogEntry(now_us, "coordinator", "restore", "", f"a backup with {len(names)} nodes"))
            return len(names)

        (outcome,) = store.file.commit([step])
        if outcome.error is not None:
            raise outcome.error
        return store.coordinator_id, int(outcome.result)
    finally:
        store.close()


def _set_aside(data_dir: Path, now_us: int, *, has_archive: bool) -> Path | None:
    """Move what a coordinator has in `data_dir` to a directory in it, and return that.

    An archive stays where it is unless the backup has one: records of nodes do not become wrong.
    """
    names = [STORE_FILE, f"{STORE_FILE}-wal", f"{STORE_FILE}-shm", KEY_FILE, TLS_DIR]
    names += [ARCHIVE_FILE, *(ARCHIVE_FILE + end for end in LOGS)] if has_archive else []
    there = [name for name in names if (data_dir / name).exists()]
    if not there:
        return None
    kept = data_dir / f"before-restore-{now_us // 1_000_000}"
    kept.mkdir(mode=0o700)
    for name in there:
        (data_dir / name).rename(kept / name)
    sync_directory(kept)
    return kept


def _put(fresh: Path, data_dir: Path) -> None:
    for one in sorted(fresh.iterdir(), key=lambda path: path.name == STORE_FILE):  # the store last: it begins things
        one.rename(data_dir / one.name)
    sync_directory(data_dir)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        cause, next_step = "it came meanwhile", "choose another name"
        raise _refused(f"{path} is there already", cause, next_step, "backup_exists") from error
    except OSError as error:
        next_step = "check that the file is there, that the disk has room, and that you may write there"
        raise _refused(f"the backup {path} failed", why(error), next_step, "backup") from error


def _damaged(path: Path, cause: str) -> EyeflowError:
    next_step = "take a file that `eyeflow coordinator backup` wrote"
    return _refused(f"{path} is no whole backup of a coordinator", cause, next_step, "backup_damaged")


def _refused(message: str, cause: str, next_step: str, code: str) -> EyeflowError:
    return EyeflowError(message, cause=cause, next_step=next_step, code=code)
