"""The archive in the PostgreSQL database that several coordinators share (docs/decisions/0017).

It has connections of its own and a lock of its own: neither it nor the store waits for a commit of the other. One
transaction at a time appends in the whole cluster. In the same transaction it looks who holds the link of a node: a
coordinator that lost it while it stood still appends nothing of that node any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.archive import sql_archive as sql
from eyeflow.coordinator.archive.database import Bounds, Bundle, Cosign, NotHeldError, Outcome
from eyeflow.coordinator.archive.sql_reader import SqlReader
from eyeflow.coordinator.store.postgres_connection import ENVIRONMENT, Address, Connection, Opened
from eyeflow.coordinator.store.postgres_schema import postgres_schema, postgres_statement

T = TypeVar("T")

ATTEMPTS = 2
"""How often a transaction is tried when its connection turns out to be broken. What comes twice changes nothing."""
VERSION = "archive_schema"
"""The key in `meta` of the version of the archive's tables (`sql_archive.VERSION`)."""
MOVE_AWAY = (
    "drop the tables chains, records, acting, arrivals, states, losses and archive_id, "
    "and the row archive_schema of the table meta"
)
BUGS = (
    psycopg.DataError,
    psycopg.ProgrammingError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
)
"""What is the fault of what was to be written, unless it is one of ENVIRONMENT."""
FOR_EVER_US = 1 << 62


class _Sql:
    """Satisfies `ArchiveSql`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._connection.execute(postgres_statement(text), _stored(values)).fetchall()

    def run(self, text: str, values: Sequence[Any] = ()) -> None:
        self._connection.execute(postgres_statement(text), _stored(values))

    def run_each(self, text: str, values: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(postgres_statement(text), [_stored(one) for one in values])


def _stored(values: Sequence[Any]) -> list[Any]:
    """PostgreSQL keeps no NUL in a text. The record itself has it; these are columns by which it is found."""
    return [one.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(one, str) else one for one in values]


class PostgresReader(SqlReader):
    """Satisfies `ArchiveReader`, over a connection of its own."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._opened = Opened(lambda: address.connect("archive reader"))

    def reopen(self) -> None:
        """Take a new connection."""
        self._opened.drop()

    def close(self) -> None:
        """Close the connection."""
        self._opened.drop()

    def _look(self, look: Callable[[sql.ArchiveSql], T]) -> T:
        return self._within("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", look)

    def _within(self, begin: str, work: Callable[[_Sql], T]) -> T:
        """Work in one transaction, over a new connection when the one that there was is broken."""
        for attempt in range(ATTEMPTS):
            try:
                with self._opened.transaction(begin) as connection:
                    return work(_Sql(connection))
            except psycopg.Error as error:  # a damaged page is an InternalError, or a DataError
                if not isinstance(error, ENVIRONMENT) or self._opened.is_open or attempt + 1 == ATTEMPTS:
                    raise self._address.trouble(error) from error
        raise AssertionError("unreachable")


class PostgresArchive(PostgresReader):
    """Satisfies `ArchiveDatabase`. `own_id` is this coordinator, as it holds links in the store."""

    def __init__(self, address: Address, own_id: str, cosign: Cosign, bounds: Bounds) -> None:
        """Make the tables unless they are there. Raises EyeflowError."""
        super().__init__(address)
        # Whoever made commits asynchronous for the whole server did not mean what is acknowledged to nodes.
        self._opened = Opened(lambda: address.connect("archive writer", synchronous_commit="on"))
        self._own_id, self._cosign, self._bounds = own_id, cosign, bounds
        try:
            self._write(self._prepare)
        except BaseException:
            self._opened.drop()
            raise

    def append(self, bundles: Sequence[Bundle]) -> list[Outcome]:
        """Check bundles and make those durable that hold, in one commit; see `ArchiveDatabase`."""
        try:
            outcomes = self._write(lambda db: self._append(db, bundles))
            self._make_room()
            return outcomes
        except EyeflowError as error:
            if isinstance(error.__cause__, BUGS) and len(bundles) > 1:
                raise  # of one of them, maybe
            return [Outcome(error=error)] * len(bundles)

    def _append(self, db: _Sql, bundles: Sequence[Bundle]) -> list[Outcome]:
        _lock(db)
        held = {node: _holds(db, node, self._own_id) for node in {one.owner.node for one in bundles}}
        return [
            sql.append(db, one, self._cosign) if held[one.owner.node] else Outcome(error=NotHeldError(one.owner.node))
            for one in bundles
        ]

    def set_aside(self, node: str, epoch: int | None = None) -> None:
        """Begin the copy of a node's chain anew; see `ArchiveDatabase`."""

        def work(db: _Sql) -> None:
            _lock(db)
            sql.set_aside(db, node, epoch)

        self._write(work)

    def begin_anew(self) -> None:
        """Raise EyeflowError: pages of the server are its administrator's, and no error here has the code DAMAGED."""
        raise self._address.trouble("its pages cannot be read", "restore the database from a backup")

    def tidy(self, now_us: int) -> int:
        """Drop some of the records that are older than the bound; see `ArchiveDatabase`."""
        before_us = now_us - self._bounds.age_us_max
        return self._write(lambda db: self._drop_oldest(db, before_us)) if self._bounds.age_us_max else 0

    def _make_room(self) -> None:
        """Drop the oldest until what is counted fits: a transaction for each range, so that no node waits for long."""
        for _ in range(sql.DROPS_MAX):
            if self._look(sql.used_bytes) <= self._bounds.size_bytes_max:
                return
            if not self._write(lambda db: self._drop_oldest(db, FOR_EVER_US)):
                return

    def _drop_oldest(self, db: _Sql, before_us: int) -> int:
        _lock(db)  # else a bundle that comes now would bring back where the chain began
        found = sql.oldest(db)
        if found is None or found.kept_us >= before_us:
            return 0
        return sql.drop_first(db, found.chain, before_us)

    def _write(self, work: Callable[[_Sql], T]) -> T:
        """Each statement sees what was committed before it: behind a lock, what others did who held it."""
        return self._within("BEGIN ISOLATION LEVEL READ COMMITTED", work)

    def _prepare(self, db: _Sql) -> None:
        lock = "pg_advisory_xact_lock(hashtext('eyeflow write ' || current_schema()), 0)"
        db.rows(f"SELECT 1 FROM (SELECT {lock}) AS one")
        found = db.rows("SELECT value FROM meta WHERE key = ?", (VERSION,))
        version = int(bytes(found[0][0])) if found else 0
        for migration in sql.migrations_from(version, f"the archive in {self._address.shown}", MOVE_AWAY):
            # An identity never comes back there, as AUTOINCREMENT says of SQLite's.
            for statement in postgres_schema(migration.replace(" AUTOINCREMENT", "")):
                db.run(statement)
        if not version:
            sql.name_anew(db)
        db.run(
            "INSERT INTO meta VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            (VERSION, str(sql.VERSION).encode()),
        )


def _lock(db: _Sql) -> None:
    """Wait until nobody else appends or drops: numbers of arrivals become visible in their order, then."""
    lock = "pg_advisory_xact_lock(hashtext('eyeflow archive ' || current_schema()), 0)"
    db.rows(f"SELECT 1 FROM (SELECT {lock}) AS one")


def _holds(db: _Sql, node: str, own_id: str) -> bool:
    rows = db.rows("SELECT coordinator FROM links WHERE node = ?", (node,))
    return bool(rows) and rows[0][0] == own_id
