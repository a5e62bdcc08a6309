"""Connections to PostgreSQL by psycopg: how they are opened, what they may cost, and what their errors mean."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.types.numeric import Int8Dumper

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reasons import why
from eyeflow.coordinator.store.cluster_store import ConflictError
from eyeflow.coordinator.store.postgres_schema import postgres_statement
from eyeflow.coordinator.store.sql import Row

Connection = psycopg.Connection[Row]

CONNECT_S = 5
LOCK_S = 15
"""How long a transaction waits until another coordinator has written."""
STATEMENT_S = 30
PAUSE_S = 10
"""After this time of silence inside a transaction the server ends it: a coordinator that stands still holds a lock."""
ENVIRONMENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
)
"""What server, network, rights and other people can do to us; any other error of the database is a bug."""
KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
"""A server that is gone without a word is noticed within about ten seconds."""
NEXT_STEP = "check that the server runs, takes connections from here, and that user and password are right"


class Address:
    """Where the database is. `shown` and the texts of errors never hold the password."""

    def __init__(self, url: str) -> None:
        try:
            parts = conninfo.conninfo_to_dict(url)
        except psycopg.Error:  # its text may repeat any part of the URL
            raise EyeflowError(
                "the address of the store is no PostgreSQL address",
                cause="it cannot be read as postgresql://USER@HOST:PORT/DATABASE",
                next_step="write it in this form, with %-escapes for special characters; the password may also "
                "stand in ~/.pgpass or PGPASSWORD",
                code="store_address",
                exit_code=ExitCode.USAGE,
            ) from None
        self._parts = {"target_session_attrs": "read-write", "connect_timeout": CONNECT_S, **KEEPALIVE, **parts}
        self._secrets = [str(parts[name]) for name in ("password", "sslpassword") if parts.get(name)]
        place = f"{parts.get('host') or 'localhost'}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"
        self.shown = f"postgresql://{place}"

    def connect(self, name: str, **settings: str) -> Connection:
        """Open a connection that commits each statement by itself. `settings` are those of its session."""
        connection = psycopg.connect(
            conninfo.make_conninfo("", **{**self._parts, "application_name": f"eyeflow {name}"}), autocommit=True
        )
        connection.adapters.register_dumper(int, Int8Dumper)
        connection.adapters.register_loader("numeric", _NumericLoader)
        wanted = {"lock_timeout": f"{LOCK_S}s", "statement_timeout": f"{STATEMENT_S}s"}
        wanted |= {"idle_in_transaction_session_timeout": f"{PAUSE_S}s", "client_encoding": "UTF8", **settings}
        for setting, value in wanted.items():
            connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
        return connection

    def trouble(self, error: Exception | str, next_step: str = NEXT_STEP) -> EyeflowError:
        """Return the error that tells people why the database cannot be used."""
        text = error if isinstance(error, str) else why(error)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return EyeflowError(
            f"the coordinator's store {self.shown} cannot be used", cause=text, next_step=next_step, code="store"
        )


APPEND = b"""
INSERT INTO changes(number, time_us, kind, subject, node, labels)
SELECT (SELECT coalesce(max(number), 0) FROM changes) + place, time_us, kind, subject, node, labels
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
AS one(time_us, kind, subject, node, labels, place)
"""
"""Numbers without a gap, in the order of the lists. Only one writes at a time."""
COUNT = b"""
INSERT INTO progress_counts SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[])
ON CONFLICT(deployment, state) DO UPDATE SET nodes = progress_counts.nodes + excluded.nodes
"""


class _NumericLoader(psycopg.adapt.Loader):
    """`sum` of whole numbers is a numeric there: let it come as the int that SQLite gives."""

    def load(self, data: Any) -> int | float:
        number = Decimal(bytes(data).decode())
        return int(number) if number == number.to_integral_value() else float(number)


@dataclass(frozen=True, slots=True)
class Later:
    """What steps leave for their end, or until it is asked for: changes of the feed, counts of nodes, and expectations.

    `expected` are statements that must change a row, where steps run together; None: each is looked at where it is.
    """

    feed: list[Row] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    expected: list[psycopg.Cursor[Row]] | None = None


class PostgresSql:
    """Satisfies `sql.Sql`. In a pipeline of its connection, `run` waits for nothing.

    Each statement has a cursor of its own: what comes late must not be taken for the answer to a later one.
    """

    def __init__(self, connection: Connection, later: Later | None = None) -> None:
        self._connection = connection
        self._later = Later() if later is None else later
        self.has_written = False

    def append(self, change: Row) -> None:
        """Append to the feed, with `flush` at the latest."""
        self.has_written = True
        self._later.feed.append(tuple(_stored(change)))

    def count(self, deployment_id: str, state: str, change: int) -> None:
        """Add to how many nodes of a deployment stand in a state, with `flush` at the latest."""
        self.has_written = True
        self._later.counts[deployment_id, state] += change

    def flush(self) -> None:
        """Write what was left for the end. It is one statement for many: one for each would be half of all."""
        if self._later.feed:
            columns = [list(column) for column in zip(*self._later.feed, strict=True)]
            self._later.feed.clear()
            self._connection.execute(APPEND, columns)
        if self._later.counts:
            counts = sorted((*key, change) for key, change in self._later.counts.items())
            self._later.counts.clear()
            self._connection.execute(COUNT, [list(column) for column in zip(*counts, strict=True)])

    def rows(self, sql: str, values: Sequence[Any]) -> list[Row]:
        """Return the rows of a SELECT."""
        if ("changes" in sql and self._later.feed) or ("progress_counts" in sql and self._later.counts):
            self.flush()
        return self._connection.execute(postgres_statement(sql), _stored(values)).fetchall()

    def run(self, sql: str, values: Sequence[Any]) -> None:
        """Run a statement that changes rows."""
        self.has_written = True
        self._connection.execute(postgres_statement(sql), _stored(values))

    def must_change(self, sql: str, values: Sequence[Any], what: str) -> None:
        """Run a statement that changes one row, or raise ConflictError; of steps that run together, `later` has it."""
        self.has_written = True
        cursor = self._connection.execute(postgres_statement(sql), _stored(values))
        if self._later.expected is not None:
            self._later.expected.append(cursor)
        elif not cursor.rowcount:
            raise ConflictError(what)

    def changed(self, sql: str, values: Sequence[Any]) -> int:
        """Run a statement that changes rows, and return how many it changed."""
        self.has_written = True
        return len(self.rows(f"{sql} RETURNING 1", values))  # in a pipeline, only rows are waited for


def _stored(values: Sequence[Any]) -> list[Any]:
    """PostgreSQL keeps no NUL in a text, and a node may send one."""
    return [one.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(one, str) else one for one in values]


class Opened:
    """A connection that is opened anew after it broke, as often as the server refuses that, too."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        """The connection; raises psycopg.OperationalError while there is none to have."""
        if self._connection is not None and self._connection.closed:
            self._connection = None
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    @property
    def is_open(self) -> bool:
        """Say whether there is a connection that is not known to be broken."""
        return self._connection is not None and not self._connection.closed

    def drop(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    @contextlib.contextmanager
    def transaction(self, begin: str) -> Iterator[Connection]:
        """A transaction that is rolled back, or with its connection dropped, when the block raises."""
        connection = self.connection
        connection.execute(begin.encode())
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            try:
                connection.execute("ROLLBACK")
            except psycopg.Error:
                self.drop()
            raise
