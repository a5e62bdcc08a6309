"""`ClusterStore` on one SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from eyeflow.base.machine import Machine
from eyeflow.coordinator.store.cluster_store import Look, Step, T
from eyeflow.coordinator.store.sqlite_file import SqliteFile, SqliteReader
from eyeflow.coordinator.store.threaded_store import Store, ThreadedStore


class SqliteStore(ThreadedStore):
    """The store of a running coordinator that is alone."""

    file: SqliteFile

    def __init__(self, path: Path, machine: Machine | None = None) -> None:
        machine = machine or Machine()
        super().__init__(SqliteFile(path, machine), SqliteReader(path, machine))


class InlineStore(Store):
    """A store without threads, for simulations and tests: every step is committed where it is handed over."""

    file: SqliteFile

    def __init__(self, path: Path, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        super().__init__(SqliteFile(path, self.machine))

    def write(self, step: Step[T]) -> Awaitable[T]:
        """Commit a step at once."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._committed([(answer, self.file.commit([step])[0])])
        return answer

    async def read(self, look: Look[T]) -> T:
        """Answer a question from what is committed now."""
        return self.file.read(look)

    async def check(self) -> None:
        """Raise EyeflowError when the disk takes nothing more, and notice when it takes again."""
        self.file.check_room()
        if self.trouble:
            await self.write(lambda writing: writing.move_cursor("check", 0))

    def close(self) -> None:
        """Close the file."""
        self.file.close()
