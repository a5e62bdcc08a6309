"""Connections to PostgreSQL by psycopg: how they are opened, what they may cost, and what their errors mean."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.types.numeric import Int8Dumper

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reasons import why
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


class _NumericLoader(psycopg.adapt.Loader):
    """`sum` of whole numbers is a numeric there: let it come as the int that SQLite gives."""

    def load(self, data: Any) -> int | float:
        number = Decimal(bytes(data).decode())
        return int(number) if number == number.to_integral_value() else float(number)


class PostgresSql:
    """Satisfies `sql.Sql`."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = connection.cursor()

    def rows(self, sql: str, values: Sequence[Any]) -> list[Row]:
        """Return the rows of a SELECT."""
        return self._cursor.execute(postgres_statement(sql), _stored(values)).fetchall()

    def run(self, sql: str, values: Sequence[Any]) -> int:
        """Run a statement that changes rows, and return how many it changed."""
        return self._cursor.execute(postgres_statement(sql), _stored(values)).rowcount


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
