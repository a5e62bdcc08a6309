"""The coordinators' PostgreSQL database: whole transactions of steps, one after the other in the whole cluster.

Each transaction that writes first takes one advisory lock (docs/decisions/0013). So steps see what those before them
did, as in SQLite, and the numbers of the feed become visible in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.coordinator.store.cluster_store import Look, Step, T
from eyeflow.coordinator.store.database import Outcome
from eyeflow.coordinator.store.postgres_connection import ENVIRONMENT, Address, Connection, Later, Opened, PostgresSql
from eyeflow.coordinator.store.postgres_schema import postgres_schema
from eyeflow.coordinator.store.sql import Row
from eyeflow.coordinator.store.sql_reading import SqlReading
from eyeflow.coordinator.store.sql_schema import MIGRATIONS, SCHEMA_VERSION
from eyeflow.coordinator.store.sql_writing import SqlWriting
from eyeflow.coordinator.store.sqlite_columns import check_columns
from eyeflow.protocol.identity import Identity, key_fingerprint

CHANGED = "eyeflow_changed"
"""The channel of the hints that the feed grew."""
ATTEMPTS = 2
"""How often a transaction is tried when its connection turns out to be broken before COMMIT was sent."""
ASKS = 5
"""How often the server is asked what became of a COMMIT whose answer was lost."""
ASK_S = 1.0

OWN_DATABASE = "make a database of its own for eyeflow: createdb eyeflow"
COLUMNS = b"SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"

FindIdentity = Callable[[bytes | None], Identity]
"""Returns the cluster's key: that of the given public key, or of None for a new cluster. Raises EyeflowError."""


class _MustUndoError(Exception):
    """A step of several failed that has written something."""


_Run = Callable[[Connection, Sequence[Step[Any]]], tuple[list[Outcome], int]]


class PostgresDatabase:
    """The connection that writes. `identity` is the cluster's key, which is not in the database."""

    def __init__(self, address: Address, find_identity: FindIdentity) -> None:
        self.address = address
        self.trouble = ""
        self.newest_change = 0
        self._opened = Opened(lambda: address.connect("writer"))
        self._find_identity = find_identity
        try:
            self._prepare()
        except ENVIRONMENT as error:
            self._opened.drop()
            raise address.trouble(error) from error
        except BaseException:
            self._opened.drop()
            raise

    def close(self) -> None:
        """Close the connection; every committed transaction stays."""
        self._opened.drop()

    def commit(self, steps: Sequence[Step[Any]]) -> list[Outcome]:
        """Run steps as one durable transaction. A step that fails leaves nothing; the others are kept all the same.

        When the database refuses, nothing of any step is kept and each outcome is the error that says so.
        """
        try:
            outcomes = self._attempted(steps)
        except (*ENVIRONMENT, EyeflowError) as error:
            failed = error if isinstance(error, EyeflowError) else self.address.trouble(error)
            self.trouble = failed.brief
            return [Outcome(error=failed)] * len(steps)
        self.trouble = ""
        return outcomes

    def read(self, look: Look[T]) -> T:
        """Answer a question; all of its answers are of one moment."""
        return look_at(self._opened, self.address, look)

    def check_room(self) -> None:
        """The server looks after its disk; what it refuses shows in the next write."""

    def _attempted(self, steps: Sequence[Step[Any]]) -> list[Outcome]:
        for attempt in range(ATTEMPTS):
            try:
                return self._transaction(steps)
            except ENVIRONMENT:
                # What a broken connection had not committed may be done again; what the server refused may not.
                if self._opened.is_open or attempt + 1 == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _transaction(self, steps: Sequence[Step[Any]]) -> list[Outcome]:
        """Run steps together, or one after the other where one of them must be undone: that costs many round trips."""
        try:
            return self._committed(steps, self._run_together)
        except _MustUndoError:
            return self._committed(steps, self._run_apart)

    def _committed(self, steps: Sequence[Step[Any]], run: _Run) -> list[Outcome]:
        connection = self._opened.connection
        try:
            transaction_id = self._begin(connection)
            outcomes, newest_change = run(connection, steps)
        except BaseException:
            self._roll_back(connection)
            raise
        self._commit(connection, transaction_id)
        self.newest_change = newest_change
        return outcomes

    def _begin(self, connection: Connection) -> str:
        """One round trip: each statement behind the lock has a snapshot that is younger than the lock."""
        cursor = connection.execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED;"
            "SELECT pg_advisory_xact_lock(hashtext('eyeflow write ' || current_schema()), 0);"
            "SELECT pg_current_xact_id()::text, (SELECT value FROM meta WHERE key = 'schema')"
        )
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        assert row is not None
        _check_version(self.address, int(row[1]))
        return str(row[0])

    def _run_together(self, connection: Connection, steps: Sequence[Step[Any]]) -> tuple[list[Outcome], int]:
        """Wait for answers only: what changes rows goes out with what follows, and its error comes later.

        So nobody can tell of which step it is. Raises _MustUndoError for that, and for a step that fails after it has
        written. Steps touch nothing but the store, so they can run again.
        """
        outcomes: list[Outcome] = []
        expected: list[psycopg.Cursor[Row]] = []
        later = Later(expected=expected)
        try:
            with connection.pipeline():
                for step in steps:
                    sql = PostgresSql(connection, later)
                    try:
                        outcomes.append(Outcome(step(SqlWriting(sql))))
                    except psycopg.Error:
                        raise
                    except Exception as error:
                        if sql.has_written:
                            raise _MustUndoError from error
                        outcomes.append(Outcome(error=error))
                PostgresSql(connection, later).flush()
                newest_change = self._finish(connection)
            if not all(cursor.rowcount for cursor in expected):
                raise _MustUndoError
        except ENVIRONMENT:
            raise
        except psycopg.Error as error:
            raise _MustUndoError from error
        return outcomes, newest_change

    def _finish(self, connection: Connection) -> int:
        writing = SqlWriting(PostgresSql(connection))
        writing.compact()
        newest_change = writing.newest_change()
        if newest_change != self.newest_change:
            connection.execute(f"NOTIFY {CHANGED}".encode())
        return newest_change

    def _run_apart(self, connection: Connection, steps: Sequence[Step[Any]]) -> tuple[list[Outcome], int]:
        outcomes: list[Outcome] = []
        for step in steps:
            connection.execute("SAVEPOINT step")
            try:
                sql = PostgresSql(connection)
                outcomes.append(Outcome(step(SqlWriting(sql))))
                sql.flush()
            except ENVIRONMENT:
                raise
            except Exception as error:
                connection.execute("ROLLBACK TO step")
                outcomes.append(Outcome(error=error))
            connection.execute("RELEASE step")
        return outcomes, self._finish(connection)

    def _commit(self, connection: Connection, transaction_id: str) -> None:
        try:
            connection.execute("COMMIT")
        except ENVIRONMENT as error:
            self._opened.drop()
            if not self._was_kept(transaction_id, error):
                raise

    def _was_kept(self, transaction_id: str, error: Exception) -> bool:
        """The answer to COMMIT was lost: ask the server what became of the transaction."""
        for asked in range(ASKS):
            try:
                row = self._opened.connection.execute("SELECT pg_xact_status(%s::xid8)", (transaction_id,)).fetchone()
                if row is not None and row[0] != "in progress":
                    return bool(row[0] == "committed")
            except ENVIRONMENT:
                self._opened.drop()
            if asked + 1 < ASKS:
                time.sleep(ASK_S)
        next_step = "look whether it was, once the database answers again"
        raise self.address.trouble(f"{why(error)}; nobody knows whether the last change was kept", next_step) from error

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            self._opened.drop()

    def _prepare(self) -> None:
        with self._opened.transaction("BEGIN") as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('eyeflow write ' || current_schema()), 0)")
            version = _version(connection, self.address)
            for number in range(version, SCHEMA_VERSION):
                for statement in postgres_schema(MIGRATIONS[number]):
                    connection.execute(statement.encode())
            columns = connection.execute(COLUMNS).fetchall()
            known = ((str(table), str(column)) for table, column in columns)
            check_columns(self.address.shown, MIGRATIONS, known, OWN_DATABASE)
            found = connection.execute("SELECT value FROM meta WHERE key = 'public_key'").fetchone()
            self.identity = self._find_identity(None if found is None else bytes(found[0]))
            _keep(connection, "schema", str(SCHEMA_VERSION).encode())
            _keep(connection, "public_key", self.identity.public_key)
            self.newest_change = SqlReading(PostgresSql(connection)).newest_change()
        self.coordinator_id = key_fingerprint(self.identity.public_key)


class PostgresReader:
    """A second connection that only reads: it sees what is committed, and waits for no writer."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._opened = Opened(lambda: address.connect("reader"))

    def read(self, look: Look[T]) -> T:
        """As `PostgresDatabase.read`."""
        return look_at(self._opened, self._address, look)

    def close(self) -> None:
        """Close the connection."""
        self._opened.drop()


def look_at(opened: Opened, address: Address, look: Look[T]) -> T:
    """Answer a question from one moment, over a new connection when the one that there was is broken."""
    for attempt in range(ATTEMPTS):
        try:
            with opened.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as connection:
                return look(SqlReading(PostgresSql(connection)))
        except ENVIRONMENT as error:
            if opened.is_open or attempt + 1 == ATTEMPTS:
                raise address.trouble(error) from error
    raise AssertionError("unreachable")


def _version(connection: Connection, address: Address) -> int:
    """Return the version of the schema that the database has, 0 for an empty one; raises for what is not ours."""
    row = connection.execute(
        "SELECT to_regclass('meta') IS NOT NULL, (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema())"
    ).fetchone()
    assert row is not None
    is_ours, tables = row
    if is_ours:
        found = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        if found is not None:
            _check_version(address, int(found[0]))
            return int(found[0])
    if tables:
        raise EyeflowError(
            f"{address.shown} is not a store that this eyeflow can use",
            cause="another program has tables there",
            next_step=OWN_DATABASE,
            code="store_version",
        )
    return 0


def _check_version(address: Address, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise EyeflowError(
            f"the coordinator's store {address.shown} has schema {version}, this eyeflow knows {SCHEMA_VERSION}",
            cause="a newer eyeflow has brought it up",
            next_step="start the coordinator with the eyeflow version that did so, or newer",
            code="store_version",
        )


def _keep(connection: Connection, key: str, value: bytes) -> None:
    connection.execute(
        "INSERT INTO meta VALUES(%s, %s) ON CONFLICT(key) DO UPDATE SET value = excluded.value", (key, value)
    )
