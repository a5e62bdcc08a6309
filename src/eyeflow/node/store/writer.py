"""Gives the store its one thread, so that a commit never blocks the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Protocol, TypeVar

from eyeflow.base.threads import answer_from
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, Committed

T = TypeVar("T")


class Writer(Protocol):
    """Runs the store's methods, one after the other."""

    store: Store

    async def commit(self, batch: Batch) -> Committed:
        """As `Store.commit`."""
        ...

    async def run(self, job: Callable[[Store], T]) -> T:
        """Run `job` with the store and return what it returns."""
        ...

    def stop(self) -> None:
        """End after the last job."""
        ...


class ThreadWriter:
    """A `Writer` with a thread of its own; `stop` waits for what was handed over.

    A ThreadPoolExecutor would do, and take 0.1 ms more of each commit: locks, a second future and idle counts.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="eyeflow-store", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    async def commit(self, batch: Batch) -> Committed:
        """As `Store.commit`; returns after the commit is durable."""
        return await self.run(lambda store: store.commit(batch))

    async def run(self, job: Callable[[Store], T]) -> T:
        """Run `job` on the store's thread."""
        if not self._thread.is_alive():
            raise RuntimeError("the store's thread has ended")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._jobs.put(partial(answer_from, loop, answer, partial(job, self.store)))
        return await answer

    def stop(self) -> None:
        """End the thread after its last job."""
        self._jobs.put(None)
        self._thread.join()


class InlineWriter:
    """A `Writer` without a thread, for simulations: every job runs where it is awaited."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def commit(self, batch: Batch) -> Committed:
        """As `Store.commit`."""
        return self.store.commit(batch)

    async def run(self, job: Callable[[Store], T]) -> T:
        """Run `job` at once."""
        return job(self.store)

    def stop(self) -> None:
        """There is nothing to end."""
