"""Files that others, older versions or damage left in the place of a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.node.run_key import active, previous
from eyeflow.node.store.file import STORE_NAME
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.schema import APPLICATION_ID, MIGRATIONS
from eyeflow.node.store.types import (
    Batch,
    PendingRow,
    RejectedRow,
    SlotRow,
    Standing,
    StateRow,
)
from eyeflow.protocol.cbor import encode
from unit.node.store.stores import PROGRAM, open_store


def test_a_store_that_others_could_read_is_made_private_with_its_log(tmp_path: Path) -> None:
    """A copy that `sqlite3 .backup` made has the rights of the umask."""
    open_store(tmp_path).close(clean=True)
    path = tmp_path / STORE_NAME
    path.chmod(0o644)
    store = open_store(tmp_path)
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob("node.db*")}
    assert modes == dict.fromkeys(("node.db", "node.db-shm", "node.db-wal"), 0o600)
    store.close(clean=True)


OURS = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = "


@pytest.mark.parametrize(
    "script",
    ["CREATE TABLE t (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 3; CREATE TABLE t (x)", f"{OURS}99"],
)
def test_a_file_of_others_is_refused_and_stays_as_it_is(tmp_path: Path, script: str) -> None:
    path = tmp_path / STORE_NAME
    db = apsw.Connection(str(path))
    db.execute(script)
    db.close()
    path.chmod(0o644)
    before = path.read_bytes()
    for opened in (open_store, AuditReader):
        with pytest.raises(EyeflowError) as error:
            opened(tmp_path)
        assert error.value.code == ("store_version" if "99" in script else "store_foreign")
        assert str(path) in error.value.message
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (before, 0o644)


@pytest.mark.parametrize("version", [1, len(MIGRATIONS)])  # one that is brought forward, one that is read as it is
def test_a_store_without_its_tables_is_damaged_and_the_disk_is_not_to_blame(tmp_path: Path, version: int) -> None:
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute(f"{OURS}{version}; CREATE TABLE t (x)")
    db.close()
    with pytest.raises(EyeflowError) as error:
        open_store(tmp_path)
    assert error.value.code == "store_damaged" and "its tables are not those" in error.value.cause
    with AuditReader(tmp_path) as reader, pytest.raises(EyeflowError) as error:
        list(reader.records())
    assert error.value.code == "store_damaged" and "restore node.db from a backup" in error.value.next_step


def test_an_empty_file_becomes_a_store_and_has_no_audit_before(tmp_path: Path) -> None:
    (tmp_path / STORE_NAME).touch()
    with pytest.raises(EyeflowError, match="is empty"):
        AuditReader(tmp_path)
    open_store(tmp_path).close(clean=True)
    AuditReader(tmp_path).close()


def test_actions_that_an_older_store_left_are_still_pending(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute(MIGRATIONS[0])
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
    db.execute("INSERT INTO pending VALUES (7, 0, 'r', ?, 4, ?)", (PROGRAM, encode([1, "x"])))
    db.close()
    store = open_store(tmp_path)
    assert store.restore().pending == (PendingRow(7, 0, active("r"), PROGRAM, 4, (1, "x"), time_us=0, hops=1),)
    store.close(clean=True)


def test_programs_and_state_of_an_older_store_keep_their_slots(tmp_path: Path) -> None:
    """Version 3 kept one state for each rule, and the program's bytes in each slot."""
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    for migration in MIGRATIONS[:3]:
        db.execute(migration)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 3")
    old, waiting, params = b"o" * 32, b"w" * 32, encode([["limit", 2.5]])
    for place, program_id in (("active", PROGRAM), ("previous", old)):
        row = ("r", place, program_id, b"bytes of " + place.encode(), params, "d1", 3, 17)
        db.execute("INSERT INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.execute("INSERT INTO state VALUES ('r', ?, x'00ff')", (PROGRAM,))
    db.execute("INSERT INTO kept_programs VALUES (?, x'77')", (waiting,))
    db.execute("INSERT INTO pending VALUES (7, 0, 'r', ?, 4, ?, 5, 2)", (waiting, encode([1])))
    db.close()
    with AuditReader(tmp_path) as reader:
        assert reader.program(PROGRAM) == b"bytes of active", "the audit is read before a node brings the store forward"
    store = open_store(tmp_path)
    found = store.restore()
    kept = SlotRow(previous("r"), old, b"bytes of previous", {"limit": 2.5}, "d1", 3, 17, standing=Standing.PASSED)
    assert found.slots == (replace(kept, key=active("r"), program_id=PROGRAM, program=b"bytes of active"), kept)
    assert found.states == {active("r"): StateRow(active("r"), PROGRAM, b"\x00\xff")}
    assert found.pending == (PendingRow(7, 0, active("r"), waiting, 4, (1,), time_us=5, hops=2),)
    assert found.pending_programs == {waiting: b"w"} and found.rejected == {}
    store.close(clean=True)


def test_slots_of_an_older_store_know_the_one_deployment_that_they_name(tmp_path: Path) -> None:
    """Version 4 did not keep which deployments wanted a program before the newest one."""
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    for migration in MIGRATIONS[:4]:
        db.execute(migration)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 4")
    db.execute("INSERT INTO programs VALUES (?, x'77')", (PROGRAM,))
    row = ("r", "active", PROGRAM, encode([]), "d1", 3, 17, "passed", "perform")
    db.execute("INSERT INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.execute("INSERT INTO rejected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, b"memory", "it trapped", 99))
    db.close()
    store = open_store(tmp_path)
    kept = SlotRow(active("r"), PROGRAM, b"w", {}, "d1", 3, 17, standing=Standing.PASSED)
    assert store.restore().slots == (kept,) and kept.deployments == ("d1",)
    assert store.restore().rejected == {"r": RejectedRow(kept, b"memory", "it trapped", 99)}
    again = replace(kept, deployment="d2", wanted_before=("d1",))
    store.commit(Batch(put_slots=[again], put_rejected=[RejectedRow(again, b"", "", 100)]))
    assert store.restore().slots == (again,) and store.restore().rejected["r"].row == again
    store.close(clean=True)
