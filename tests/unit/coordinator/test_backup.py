"""A backup is made while the coordinator writes, and a coordinator that was put back is obeyed by nodes that saw more."""

from __future__ import annotations

import asyncio
import tarfile
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest

from eyeflow.base.dir_lock import DataDirLock
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator import backup as backup_module
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, SqliteArchive
from eyeflow.coordinator.backup import back_up, restore
from eyeflow.coordinator.serve import STORE_FILE
from eyeflow.coordinator.store.cluster_store import CursorTooOldError, Writing
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.store.sqlite_backup import AHEAD
from eyeflow.coordinator.store.sqlite_file import SqliteFile
from eyeflow.coordinator.tls import init_tls, open_tls
from unit.coordinator.archive.chains import Chain, cosign

NOW_US = 1_790_000_000_000_000
MACHINE = Machine()


def made(data_dir: Path, *names: str) -> SqliteFile:
    data_dir.mkdir(mode=0o700, exist_ok=True)
    file = SqliteFile(data_dir / STORE_FILE, MACHINE)

    def step(writing: Writing) -> None:
        for name in names:
            writing.register_node(name, bytes(32), NOW_US)

    assert file.commit([step])[0].error is None
    return file


def test_a_backup_that_is_made_while_the_coordinator_writes_is_of_one_moment(tmp_path: Path) -> None:
    file, stops = made(tmp_path / "c"), threading.Event()
    written: list[int] = []

    def pair(number: int) -> Any:
        def step(writing: Writing) -> None:
            for half in ("a", "b"):
                writing.register_node(f"n{number:06}-{half}", bytes(32), NOW_US)

        return step

    def write() -> None:
        while not stops.is_set():
            assert file.commit([pair(len(written))])[0].error is None
            written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    try:
        for number in range(4):
            counts.append(back_up(tmp_path / "c", tmp_path / f"backup-{number}.tar", MACHINE).nodes)
    finally:
        stops.set()
        writer.join()
        file.close()
    assert all(count % 2 == 0 for count in counts), "no half of a step"
    assert counts == sorted(counts) and len(written) > 0
    path = tmp_path / "backup-3.tar"
    assert path.stat().st_mode & 0o777 == 0o600
    assert restore(path, tmp_path / "new", MACHINE, NOW_US).nodes == counts[3]


def test_a_restored_coordinator_is_the_same_one_with_its_ca_and_goes_on_ahead(tmp_path: Path) -> None:
    file = made(tmp_path / "c", "n")
    init_tls(tmp_path / "c", ("plant.example",), NOW_US)
    tls = open_tls(tmp_path / "c")
    assert tls is not None
    done = back_up(tmp_path / "c", tmp_path / "backup.tar", MACHINE)
    assert done.files == (STORE_FILE, "tls/authority.pem", "tls/ca.pem", "tls/server.pem")

    def after(writing: Writing) -> None:
        writing.register_node("later", bytes(32), NOW_US)
        for _ in range(50):
            writing.next_manifest_version("n")
            writing.add_change(NOW_US, ChangeKind.NODE, "n")

    file.commit([after])
    cursor, identity = file.newest_change, file.identity.public_key
    file.close()
    restored = restore(tmp_path / "backup.tar", tmp_path / "c", MACHINE, NOW_US)
    assert (restored.coordinator_id, restored.nodes) == (file.coordinator_id, 1)
    again = SqliteFile(tmp_path / "c" / STORE_FILE, MACHINE)
    assert again.identity.public_key == identity
    node = again.read(lambda reading: reading.node("n"))
    assert node is not None and node.manifest_version == AHEAD + 1, "above what the node may have got since"
    manifest = again.read(lambda reading: reading.manifest("n"))
    assert manifest is not None and manifest.version == node.manifest_version
    with pytest.raises(CursorTooOldError):  # who followed the feed before reads everything again
        again.read(lambda reading: reading.changes(cursor, 10))
    assert again.read(lambda reading: reading.log_entries(1))[0].action == "restore"
    again.close()
    restored_tls = open_tls(tmp_path / "c")
    assert restored_tls is not None and restored_tls.fingerprint == tls.fingerprint
    assert restored.kept is not None
    old = SqliteFile(restored.kept / STORE_FILE, MACHINE)
    assert old.read(lambda reading: reading.node("later")) is not None, "nothing is thrown away"
    old.close()


def test_nodes_that_saw_more_than_the_backup_run_what_it_says(cluster: Any, make: Any) -> None:
    """Without new numbers they would refuse each manifest for ever, as a rollback."""

    async def scenario() -> None:
        control = make.control("one")
        data_dir, path = cluster.directory / "coordinator", cluster.directory / "backup.tar"
        async with cluster.coordinator() as client:
            await cluster.join(client, control)
            cluster.dial(control)
            first = await uploaded(client, make, 1)
            await make.ended(client, await deployed(client, first))
            await asyncio.to_thread(back_up, data_dir, path, MACHINE)
            for sequence in (2, 3):
                await make.ended(client, await deployed(client, await uploaded(client, make, sequence)))
            assert control.history[-1] == "install overheat 3.0.0"
        await asyncio.to_thread(restore, path, data_dir, MACHINE, NOW_US)
        async with cluster.coordinator():

            async def runs_the_first() -> bool:
                return bool(control.running["overheat"][0] == first)

            await make.until(runs_the_first, "the node runs what the backup says")
            await cluster.hang_up_all()

    asyncio.run(scenario())


async def uploaded(client: Any, make: Any, sequence: int) -> str:
    data = make.program(version=f"{sequence}.0.0", sequence=sequence)
    reply = await client.post("/api/programs", content=data, headers={"content-type": "application/octet-stream"})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


async def deployed(client: Any, program_id: str) -> str:
    body = {"programId": program_id, "strategy": "immediate", "all": True}
    reply = await client.post("/api/rules/overheat/deploy", json=body)
    assert reply.status_code == 202, reply.text
    return str(reply.headers["location"])


def test_with_postgres_the_backup_holds_the_key(tmp_path: Path) -> None:
    data_dir = tmp_path / "c"
    data_dir.mkdir(mode=0o700)
    (data_dir / "cluster-key").write_text("ab" * 32)
    (data_dir / "cluster-key").chmod(0o600)
    assert back_up(data_dir, tmp_path / "backup.tar", MACHINE).files == ("cluster-key",)
    restored = restore(tmp_path / "backup.tar", tmp_path / "new", MACHINE, NOW_US)
    assert (restored.coordinator_id, restored.nodes, restored.kept) == ("", 0, None)
    assert (tmp_path / "new" / "cluster-key").read_text() == "ab" * 32
    assert (tmp_path / "new" / "cluster-key").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_done_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    made(tmp_path / "c", "n").close()
    back_up(tmp_path / "c", tmp_path / "backup.tar", MACHINE)
    before = (tmp_path / "backup.tar").read_bytes()

    def refused(code: str, *call: Any) -> EyeflowError:
        with pytest.raises(EyeflowError) as error:
            call[0](*call[1:])
        assert error.value.code == code and error.value.next_step, error.value
        return error.value

    refused("backup_exists", back_up, tmp_path / "c", tmp_path / "backup.tar", MACHINE)
    assert (tmp_path / "backup.tar").read_bytes() == before
    refused("no_coordinator", back_up, tmp_path / "nothing", tmp_path / "b.tar", MACHINE)
    refused("backup", back_up, tmp_path / "c", tmp_path / "nowhere" / "b.tar", MACHINE)
    refused("backup", restore, tmp_path / "none.tar", tmp_path / "c", MACHINE, NOW_US)
    lock = DataDirLock(tmp_path / "c", "coordinator")
    refused("data_dir_in_use", restore, tmp_path / "backup.tar", tmp_path / "c", MACHINE, NOW_US)
    lock.release()
    for name, data in {"cut.tar": before[: len(before) // 2], "text.tar": b"hello", "empty.tar": b""}.items():
        (tmp_path / name).write_bytes(data)
        refused("backup_damaged", restore, tmp_path / name, tmp_path / "c", MACHINE, NOW_US)
    assert sorted(one.name for one in (tmp_path / "c").iterdir()) == sorted([STORE_FILE, "lock"])


def archived(path: Path, name: str, data: bytes, kind: bytes = tarfile.REGTYPE, to: str = "") -> Path:
    (path.parent / "member").write_bytes(data)
    with tarfile.open(path, "w") as archive:
        member = archive.gettarinfo(path.parent / "member", name)
        member.type, member.linkname = kind, to
        archive.addfile(member, (path.parent / "member").open("rb") if kind == tarfile.REGTYPE else None)
    return path


HOSTILE = [
    ("../escaped", tarfile.REGTYPE, ""),
    ("/tmp/pg-escaped", tarfile.REGTYPE, ""),
    ("tls/../../escaped.pem", tarfile.REGTYPE, ""),
    ("other", tarfile.REGTYPE, ""),
    (STORE_FILE, tarfile.SYMTYPE, "/etc/passwd"),
    ("cluster-key", tarfile.LNKTYPE, "/etc/passwd"),
    (STORE_FILE, tarfile.REGTYPE, ""),
]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("name", "kind", "to"), HOSTILE)
def test_an_archive_that_is_no_backup_leaves_no_file(tmp_path: Path, name: str, kind: bytes, to: str) -> None:
    path = archived(tmp_path / "hostile.tar", name, b"not a database", kind, to)
    with pytest.raises(EyeflowError) as error:
        restore(path, tmp_path / "c", MACHINE, NOW_US)
    assert error.value.code == "backup_damaged"
    assert [one.name for one in (tmp_path / "c").iterdir()] == ["lock"]
    assert not (tmp_path / "escaped").exists() and not Path("/tmp/pg-escaped").exists()


def test_a_store_of_a_newer_version_is_refused_before_anything_moves(tmp_path: Path) -> None:
    made(tmp_path / "c", "n").close()
    db = apsw.Connection(str(tmp_path / "c" / STORE_FILE))
    db.pragma("user_version", 999)
    db.close()
    path = tmp_path / "newer.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "c" / STORE_FILE, STORE_FILE)
    with pytest.raises(EyeflowError) as error:
        restore(path, tmp_path / "new", MACHINE, NOW_US)
    assert error.value.code == "store_version"
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["lock"]


def test_a_full_disk_leaves_no_half_of_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "c", "n").close()
    before = set(tmp_path.iterdir())

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_module, "_sync", full)
    with pytest.raises(EyeflowError) as error:
        back_up(tmp_path / "c", tmp_path / "backup.tar", MACHINE)
    assert error.value.code == "backup" and "No space left" in error.value.cause
    assert set(tmp_path.iterdir()) == before


def test_with_the_archive_the_second_copy_is_in_the_backup_also_while_it_grows(tmp_path: Path) -> None:
    made(tmp_path / "c", "node-a").close()
    chain = Chain().run(2_000)
    archive = SqliteArchive(tmp_path / "c" / ARCHIVE_FILE, MACHINE, cosign)
    stops = threading.Event()

    def grow() -> None:
        for first in range(1, 2_001, 10):
            if not stops.is_set():
                archive.append([chain.bundle(first, first + 9)])

    writer = threading.Thread(target=grow)
    writer.start()
    without = back_up(tmp_path / "c", tmp_path / "without.tar", MACHINE)
    done = back_up(tmp_path / "c", tmp_path / "with.tar", MACHINE, with_archive=True)
    stops.set()
    writer.join()
    archive.close()
    assert ARCHIVE_FILE in done.files and ARCHIVE_FILE not in without.files
    restore(tmp_path / "with.tar", tmp_path / "new", MACHINE, NOW_US)
    again = SqliteArchive(tmp_path / "new" / ARCHIVE_FILE, MACHINE, cosign)
    (kept,) = again.chains()
    rows = [row.data for row in again.page("node-a", kept.kept.epoch, 0, 10_000)]
    assert rows == chain.records[: len(rows)] and len(rows) == kept.kept.seq, "of one moment"
    again.close()
    before = (tmp_path / "c" / ARCHIVE_FILE).read_bytes()
    restored = restore(tmp_path / "without.tar", tmp_path / "c", MACHINE, NOW_US)
    assert (tmp_path / "c" / ARCHIVE_FILE).read_bytes() == before, "without one, the archive that is there stays"
    assert restored.kept is not None and not (restored.kept / ARCHIVE_FILE).exists()
    other = restore(tmp_path / "with.tar", tmp_path / "c", MACHINE, NOW_US + 2_000_000)
    assert other.kept is not None and (other.kept / ARCHIVE_FILE).read_bytes() == before


def test_a_damaged_archive_in_a_backup_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "c", "node-a").close()
    SqliteArchive(tmp_path / "c" / ARCHIVE_FILE, MACHINE, cosign).close()
    back_up(tmp_path / "c", tmp_path / "backup.tar", MACHINE, with_archive=True)
    data = (tmp_path / "backup.tar").read_bytes()
    place = data.index(b"CREATE TABLE chains")
    (tmp_path / "backup.tar").write_bytes(data[: place - 200] + bytes(400) + data[place + 200 :])
    with pytest.raises(EyeflowError) as refused:
        restore(tmp_path / "backup.tar", tmp_path / "new", MACHINE, NOW_US)
    assert "the archive in it is damaged" in str(refused.value.cause)
