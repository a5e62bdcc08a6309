"""Which files a node takes for its store, and that an older one is brought forward whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.node.store import schema
from eyeflow.node.store.schema import APPLICATION_ID, MIGRATIONS, VERSION, migrate, require_store
from eyeflow.node.store.transaction import transaction


def file_with(path: Path, version: int, application: int) -> apsw.Connection:
    db = apsw.Connection(str(path))
    db.execute(f"CREATE TABLE t (x); PRAGMA user_version = {version}; PRAGMA application_id = {application}")
    return db


def refused(check: Callable[[apsw.Connection], None], db: apsw.Connection) -> EyeflowError:
    with pytest.raises(EyeflowError) as error:
        check(db)
    assert error.value.cause and error.value.next_step and error.value.exit_code is ExitCode.ENVIRONMENT
    return error.value


@pytest.mark.parametrize("check", [migrate, require_store])
def test_the_store_of_a_newer_eyeflow_is_left_alone(tmp_path: Path, check: Callable[[apsw.Connection], None]) -> None:
    check(file_with(tmp_path / "now", VERSION, APPLICATION_ID))
    db = file_with(tmp_path / "newer", VERSION + 1, APPLICATION_ID)
    error = refused(check, db)
    assert error.code == "store_version" and f"version {VERSION + 1}" in error.message
    assert db.pragma("user_version") == VERSION + 1


@pytest.mark.parametrize("check", [migrate, require_store])
@pytest.mark.parametrize(
    ("version", "application"), [(VERSION, 5), (0, 5), (0, 0), (1, 0), (VERSION, 0), (VERSION, APPLICATION_ID + 1)]
)
def test_the_file_of_another_program_is_left_alone(
    tmp_path: Path, check: Callable[[apsw.Connection], None], version: int, application: int
) -> None:
    db = file_with(tmp_path / "foreign", version, application)
    error = refused(check, db)
    assert error.code == "store_foreign" and hex(application) in error.cause
    assert (db.pragma("user_version"), db.pragma("application_id")) == (version, application)


@pytest.mark.parametrize("version", range(1, VERSION))
def test_an_older_store_is_only_read_where_it_can_be_brought_forward(tmp_path: Path, version: int) -> None:
    db = file_with(tmp_path / "old", version, APPLICATION_ID)
    error = refused(require_store, db)
    assert error.code == "store_version" and f"version {version}" in error.message


@pytest.mark.parametrize("version", range(VERSION))
def test_a_store_of_each_version_is_brought_forward(tmp_path: Path, version: int) -> None:
    db = apsw.Connection(str(tmp_path / "store"))
    for number in range(version):
        db.execute(MIGRATIONS[number])
    db.execute(f"PRAGMA user_version = {version}; PRAGMA application_id = {APPLICATION_ID if version else 0}")
    migrate(db)
    assert (db.pragma("user_version"), db.pragma("application_id")) == (VERSION, APPLICATION_ID)
    new = apsw.Connection("")
    migrate(new)
    columns = "SELECT m.name, c.name, c.type FROM sqlite_schema m, pragma_table_info(m.name) c ORDER BY 1, 2"
    assert list(db.execute(columns)) == list(new.execute(columns)), "as one that was made anew"
    before = (tmp_path / "store").read_bytes()
    migrate(db)
    assert (tmp_path / "store").read_bytes() == before, "one that is up to date is not written: its disk may be full"


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", ("CREATE TABLE a (x)", "CREATE TABLE b (x); nonsense"))
    monkeypatch.setattr(schema, "VERSION", 2)
    db = apsw.Connection(str(tmp_path / "store"))
    with pytest.raises(apsw.SQLError):
        migrate(db)
    assert db.execute("SELECT count(*) FROM sqlite_schema").get == 0 and db.pragma("user_version") == 0


def test_a_transaction_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    db, other = apsw.Connection(str(tmp_path / "db")), apsw.Connection(str(tmp_path / "db"))
    db.execute("CREATE TABLE t (x)")
    with transaction(db):
        db.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(apsw.BusyError):  # from its first moment on: two writers never read before both write
            other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ZeroDivisionError), transaction(db):
        db.execute("INSERT INTO t VALUES (2)")
        raise ZeroDivisionError
    assert not db.in_transaction and [row[0] for row in other.execute("SELECT x FROM t")] == [1]
