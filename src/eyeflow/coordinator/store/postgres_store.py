"""`ClusterStore` on PostgreSQL: several coordinators serve one cluster.

Each holds four connections, and two more for the archive: one writes, one reads, one stands (advisory locks that say
who lives and who leads), one listens. A notification is a hint only: the listener also looks by itself each POLL_S.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random

import psycopg

from eyeflow.coordinator.store.coordination import Standing
from eyeflow.coordinator.store.postgres_connection import ENVIRONMENT, Address, Connection, Opened
from eyeflow.coordinator.store.postgres_database import (
    ATTEMPTS,
    CHANGED,
    FindIdentity,
    PostgresDatabase,
    PostgresReader,
)
from eyeflow.coordinator.store.threaded_store import ThreadedStore

POLL_S = 1.0
"""How often the listener looks at the feed without a hint."""
SILENCE_S = 10
"""After this time without a word the server ends a standing connection: its coordinator stands still, or is cut off."""

LIVING = """
SELECT objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND classid::bigint = (hashtext('eyeflow lives ' || current_schema())::bigint & 4294967295)
"""


class PostgresStore(ThreadedStore):
    """The store of a coordinator that may be one of several. Raises EyeflowError when the database cannot be used."""

    file: PostgresDatabase

    def __init__(self, url: str, find_identity: FindIdentity, random: Random) -> None:
        address = Address(url)
        super().__init__(PostgresDatabase(address, find_identity), PostgresReader(address))
        number = 1 + random.randrange(2**31 - 1)
        self.own_id, self.is_shared = f"{number:08x}", True
        self._address = address
        self._standing = _Standing(address, number)
        self._stander = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eyeflow-store-stander")
        self._listener: _Listener | None = None

    async def stand(self) -> Standing:
        """Say who lives, and try to lead."""
        return await asyncio.get_running_loop().run_in_executor(self._stander, self._standing.look)

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call `tell` on the event loop after each commit of any coordinator that appended to the feed."""
        super().on_change(tell)
        self._listener = _Listener(self._address, asyncio.get_running_loop(), tell)

    def close(self) -> None:
        """Commit what was handed over, then close. The lead is free at once."""
        if self._listener is not None:
            self._listener.stop()
        super().close()
        self._stander.shutdown(wait=True)
        self._standing.close()


class _Standing:
    """The session whose advisory locks say that this coordinator lives, and that it leads. One thread only."""

    def __init__(self, address: Address, number: int) -> None:
        self._address, self._number = address, number
        self._session = 0
        self._leads = False
        self._opened = Opened(self._begin)

    def look(self) -> Standing:
        """Take what is free, and return who lives. Raises EyeflowError while there is no session."""
        for attempt in range(ATTEMPTS):
            try:
                return self._look()
            except ENVIRONMENT as error:
                self._opened.drop()
                self._leads = False
                if attempt + 1 == ATTEMPTS:
                    raise self._address.trouble(error) from error
        raise AssertionError("unreachable")

    def _look(self) -> Standing:
        connection = self._opened.connection
        if not self._leads:  # a second lock of the same session would need a second unlock
            self._leads = _locks(connection, "leads", 0)
        living = frozenset(f"{number:08x}" for (number,) in connection.execute(LIVING.encode()).fetchall())
        return Standing(self._leads, self._session, living)

    def close(self) -> None:
        self._opened.drop()

    def _begin(self) -> Connection:
        self._leads = False
        connection = self._address.connect("standing", idle_session_timeout=f"{SILENCE_S}s")
        if not _locks(connection, "lives", self._number):
            # The server has not noticed yet that the session before is gone: it does, and the next look gets it.
            connection.close()
            raise psycopg.OperationalError("the server still holds the session before")
        self._session += 1
        return connection


def _locks(connection: Connection, what: str, number: int) -> bool:
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtext(%s || current_schema()), %s::int)", (f"eyeflow {what} ", number)
    ).fetchone()
    assert row is not None
    return bool(row[0])


class _Listener:
    """A thread that waits for hints and looks at the feed."""

    def __init__(self, address: Address, loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> None:
        self._loop, self._tell = loop, tell
        self._opened = Opened(lambda: _listening(address))
        self._newest = -1
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eyeflow-store-listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stops.set()
        self._thread.join()
        self._opened.drop()

    def _run(self) -> None:
        while not self._stops.is_set():
            try:
                self._look(self._opened.connection)
            except ENVIRONMENT:
                self._opened.drop()
                self._stops.wait(POLL_S)

    def _look(self, connection: Connection) -> None:
        row = connection.execute("SELECT max(number) FROM changes").fetchone()
        newest = -1 if row is None or row[0] is None else int(row[0])
        if newest != self._newest:
            self._newest = newest
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody follows any more
                self._loop.call_soon_threadsafe(self._tell)
        for _ in connection.notifies(timeout=POLL_S, stop_after=1):
            pass


def _listening(address: Address) -> Connection:
    connection = address.connect("listener")
    connection.execute(f"LISTEN {CHANGED}".encode())
    return connection
