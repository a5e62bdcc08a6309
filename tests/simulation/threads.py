"""In the place of the product's threads: what runs in them runs on the virtual loop, in order, and ends later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.database import Bounds, Cosign
from eyeflow.coordinator.archive.sqlite_archive import SqliteArchive, SqliteReader
from eyeflow.coordinator.store.cluster_store import Look, Step
from eyeflow.coordinator.store.sqlite_file import SqliteReader as StoreReader
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, Committed

T = TypeVar("T")


async def in_thread(job: Callable[[], T], /) -> T:
    """As `eyeflow.base.threads.in_thread`."""
    answer: T = await asyncio.get_running_loop().run_in_executor(None, job)
    return answer


class SimWriter:
    """As `ThreadWriter` of the node."""

    def __init__(self, store: Store, on_written: Callable[[Store], None] = lambda store: None) -> None:
        """`on_written` sees the store after each of its jobs."""
        self.store, self._on_written = store, on_written

    async def commit(self, batch: Batch) -> Committed:
        return await self.run(lambda store: store.commit(batch))

    async def run(self, job: Callable[[Store], T]) -> T:
        answer: T = await asyncio.get_running_loop().run_in_executor(self, self._done, job)  # type: ignore[arg-type]
        return answer

    def _done(self, job: Callable[[Store], T]) -> T:
        answer = job(self.store)
        self._on_written(self.store)
        return answer

    def stop(self) -> None:
        return None


class _Worker:
    """A thread that the virtual loop plays."""


def sim_archive(path: Path, machine: Machine, cosign: Cosign, bounds: Bounds) -> Archive:
    """As `usual_archive` of the coordinator."""
    return Archive(SqliteArchive(path, machine, cosign, bounds), SqliteReader(path, machine), _Worker(), _Worker())


class SimStore(InlineStore):
    """As `SqliteStore` of the coordinator: what waits goes into one commit, and reads have a connection of their own."""

    def __init__(self, path: Path, machine: Machine | None = None) -> None:
        super().__init__(path, machine)
        self._readable = StoreReader(path, self.machine)
        self._waiting: list[tuple[asyncio.Future[Any], Step[Any]]] = []
        self._is_busy = self._is_closed = False

    def write(self, step: Step[T]) -> Awaitable[T]:
        if self._is_closed:
            raise EyeflowError("the coordinator stops: its store takes no more changes", code="store_closed")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, step))
        self._go()
        return answer

    def _go(self) -> None:
        if self._waiting and not self._is_busy:
            self._is_busy = True
            done = asyncio.get_running_loop().run_in_executor(self, self._commit_all)  # type: ignore[arg-type]
            done.add_done_callback(self._is_done)

    def _commit_all(self) -> list[Any]:
        group, self._waiting = self._waiting, []
        outcomes = self.file.commit([step for _, step in group])
        return [(answer, outcome) for (answer, _), outcome in zip(group, outcomes, strict=True)]

    def _is_done(self, done: asyncio.Future[list[Any]]) -> None:
        self._is_busy = False
        self._committed(done.result())
        if not self._is_closed:
            self._go()

    async def read(self, look: Look[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readable, self._readable.read, look)  # type: ignore[arg-type]

    def close(self) -> None:
        self._is_closed = True
        if self._waiting:
            self._commit_all()
        self._readable.close()
        self.file.close()
