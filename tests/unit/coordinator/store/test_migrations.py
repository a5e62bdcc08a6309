"""Files of older versions are brought up, those of newer ones and of others are refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.store import sqlite_file
from eyeflow.coordinator.store.facts import Kept
from eyeflow.coordinator.store.sql_schema import MIGRATIONS, SCHEMA_VERSION
from eyeflow.coordinator.store.sqlite_file import SqliteFile

VERSION_1 = Path(__file__).with_name("version_1.sql")
"""A store as version 1 wrote it: a node, what it shall run, an open deployment. After the first release it never changes."""


def written(path: Path, script: str) -> Path:
    db = apsw.Connection(str(path))
    db.execute(script)
    db.close()
    return path


def test_a_store_of_version_1_is_brought_up_with_all_it_holds(tmp_path: Path) -> None:
    store = SqliteFile(written(tmp_path / "store.sqlite", VERSION_1.read_text()), Machine())
    assert store._db.pragma("user_version") == SCHEMA_VERSION
    assert store.identity.private_bytes() == bytes(range(32)), "it stays the same coordinator"
    assert store.read(lambda reading: reading.count(Kept.NODES)) == 1
    ((deployment, progress),) = store.read(lambda reading: reading.open_progress("node-0000"))
    assert (deployment.rules, progress.state.value) == (("pump",), "waiting")
    assert store.read(lambda reading: reading.wanted("node-0000"))[0].rule == "pump"
    assert store.newest_change == 2
    store.close()


def test_a_step_forward_keeps_what_is_there_and_happens_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that the next version takes, with a step that would fail if it ran twice."""
    path = written(tmp_path / "store.sqlite", VERSION_1.read_text())
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", (*MIGRATIONS[:1], "ALTER TABLE nodes ADD COLUMN label TEXT"))
    monkeypatch.setattr(sqlite_file, "SCHEMA_VERSION", 2)
    for _ in range(2):
        store = SqliteFile(path, Machine())
        assert store._db.pragma("user_version") == 2
        assert list(store._db.execute("SELECT name, label FROM nodes")) == [("node-0000", None)]
        store.close()


def test_a_step_forward_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "store.sqlite", VERSION_1.read_text())
    broken = "ALTER TABLE nodes ADD COLUMN label TEXT; ALTER TABLE nowhere ADD COLUMN label TEXT"
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", (*MIGRATIONS[:1], broken))
    monkeypatch.setattr(sqlite_file, "SCHEMA_VERSION", 2)
    with pytest.raises(EyeflowError):
        SqliteFile(path, Machine())
    monkeypatch.undo()
    store = SqliteFile(path, Machine())
    assert store.read(lambda reading: reading.node("node-0000")) is not None
    store.close()


def test_a_store_of_the_same_version_with_other_tables_is_refused_with_what_it_lacks(kept: Any) -> None:
    """As one that was written between two releases: a question for the missing column would be a bug."""

    def step(writing: Any) -> None:
        writing._run("DROP INDEX progress_due")
        writing._run("ALTER TABLE deployments RENAME COLUMN targets TO rule")

    kept.do(step)
    with pytest.raises(EyeflowError) as error:
        kept.another()
    assert error.value.code == "store_version" and "it lacks deployments.targets" in error.value.cause
    assert error.value.next_step


REFUSED = [
    ("PRAGMA application_id = 0x45594543; PRAGMA user_version = 99; CREATE TABLE a(b)", "newer eyeflow", "or newer"),
    ("PRAGMA user_version = 2; CREATE TABLE meta(key TEXT)", "before the first release", "--data-dir"),
    ("CREATE TABLE a(b)", "another program", "--data-dir"),
]


@pytest.mark.parametrize(("script", "cause", "next_step"), REFUSED, ids=["newer", "unreleased", "foreign"])
def test_other_files_are_refused_and_stay_as_they_are(tmp_path: Path, script: str, cause: str, next_step: str) -> None:
    path = written(tmp_path / "store.sqlite", script)
    before = path.read_bytes()
    with pytest.raises(EyeflowError) as error:
        SqliteFile(path, Machine())
    assert path.read_bytes() == before
    assert error.value.code == "store_version" and str(path) in error.value.message
    assert cause in error.value.cause and next_step in error.value.next_step
    db = apsw.Connection(str(path))
    assert len(list(db.execute("SELECT name FROM sqlite_schema"))) == 1
    db.close()


@pytest.mark.parametrize("damage", ["no tables", "no database"])
def test_a_damaged_store_is_no_matter_of_room_or_rights(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "store.sqlite"
    if damage == "no tables":
        written(path, "PRAGMA application_id = 0x45594543; PRAGMA user_version = 1; CREATE TABLE a(b)")
    else:
        path.write_bytes(b"this is no database at all, by far" * 100)
    with pytest.raises(EyeflowError) as error:
        SqliteFile(path, Machine())
    assert error.value.code == "store_damaged" and "backup" in error.value.next_step


def test_the_recorded_store_is_one_that_version_1_makes(kept: Any) -> None:
    """Else the first test would bring up a file that never was."""
    recorded = apsw.Connection(":memory:")
    recorded.execute(VERSION_1.read_text())
    tables = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    fresh = apsw.Connection(":memory:")
    fresh.execute(MIGRATIONS[0])
    assert list(recorded.execute(tables)) == list(fresh.execute(tables))


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (("action", "actor"), "it lacks log.action, log.actor"),
        (("action", "actor", "detail"), "it lacks log.action, log.actor, log.detail"),
        (("action", "actor", "detail", "subject"), "it lacks log.action, log.actor, log.detail and 1 more columns"),
    ],
)
def test_of_many_missing_columns_the_first_three_are_named(tmp_path: Path, lost: tuple[str, ...], told: str) -> None:
    path = tmp_path / "store.sqlite"
    SqliteFile(path, Machine()).close()
    written(path, ";".join(f"ALTER TABLE log RENAME COLUMN {column} TO was_{column}" for column in lost))
    with pytest.raises(EyeflowError) as error:
        SqliteFile(path, Machine())
    assert error.value.cause.endswith(told) and error.value.message.startswith(f"{path} is not a store")
