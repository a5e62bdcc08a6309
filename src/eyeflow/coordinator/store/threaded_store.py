"""`ClusterStore` on any database: a thread that writes, with group commit, and one that reads."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.store.cluster_store import Look, Step, T
from eyeflow.coordinator.store.coordination import ALONE, Standing
from eyeflow.coordinator.store.database import Database, Outcome, Reader

WAITING_STEPS_MAX = 49_152
"""Steps that wait for the writer: four of each connection, more than all together can have handed over."""
GROUP_STEPS_MAX = 256
"""Steps of one commit. One disk sync for all of them; the first waits for what the last costs."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    step: Step[Any]
    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Store:
    """What all stores share."""

    def __init__(self, database: Database) -> None:
        self.file = database
        self.identity = self.file.identity
        self.coordinator_id = self.file.coordinator_id
        self.own_id, self.is_shared = "0", False
        self._tell: Callable[[], None] = lambda: None
        self._told = self.file.newest_change

    @property
    def trouble(self) -> str:
        """Why the last write failed or the next one will; empty while all is well."""
        return self.file.trouble

    @trouble.setter
    def trouble(self, why: str) -> None:
        self.file.trouble = why

    async def stand(self) -> Standing:
        """A store of one process: it leads."""
        return ALONE

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call `tell` on the event loop after each commit that appended to the feed."""
        self._tell = tell

    def _committed(self, answers: list[tuple[asyncio.Future[Any], Outcome]]) -> None:
        """Answer what was committed: on the event loop, and before anybody hears of the change."""
        for answer, outcome in answers:
            if answer.done():
                continue  # who asked has gone
            if outcome.error is not None:
                answer.set_exception(outcome.error)
            else:
                answer.set_result(outcome.result)
        if self._told != self.file.newest_change:
            self._told = self.file.newest_change
            self._tell()


class ThreadedStore(Store):
    """The store of a running coordinator. Steps and looks run in two threads, so that no disk stops the event loop."""

    def __init__(self, database: Database, reader: Reader) -> None:
        super().__init__(database)
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(WAITING_STEPS_MAX)
        self._writer = threading.Thread(target=self._write_all, name="eyeflow-store-writer", daemon=True)
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eyeflow-store-reader")
        self._readable = reader
        self._is_closed = False
        self._writer.start()

    def write(self, step: Step[T]) -> Awaitable[T]:
        """Hand a step over at once; the answer comes after its commit."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        if self._is_closed:
            raise EyeflowError("the coordinator stops: its store takes no more changes", code="store_closed")
        try:
            self._waiting.put_nowait(_Waiting(step, answer, loop))
        except queue.Full:
            raise EyeflowError(
                "the coordinator's store has too much to write",
                cause=f"{WAITING_STEPS_MAX} changes wait for the disk",
                next_step="try again later; look at the speed of the coordinator's disk",
                code="store_busy",
            ) from None
        return answer

    async def read(self, look: Look[T]) -> T:
        """Answer a question from what is committed now."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._readable.read, look)

    async def check(self) -> None:
        """Raise EyeflowError when the disk takes nothing more, and notice when it takes again."""
        await asyncio.get_running_loop().run_in_executor(self._reader, self.file.check_room)
        if self.trouble:
            # Only a commit shows that the disk takes again, and no other one may come.
            await self.write(lambda writing: writing.move_cursor("check", 0))

    def close(self) -> None:
        """Commit what was handed over, then close."""
        self._is_closed = True
        self._waiting.put(None)
        self._writer.join()
        self._reader.shutdown(wait=True)
        self._readable.close()
        self.file.close()

    def _write_all(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, ends = [first], False
            while len(group) < GROUP_STEPS_MAX and not ends:
                try:
                    after = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if after is None:
                    ends = True
                else:
                    group.append(after)
            self._commit(group)
            if ends:
                return

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            outcomes = self.file.commit([one.step for one in group])
        except Exception as error:  # a bug: those who asked hear of it, and the others are still answered
            outcomes = [Outcome(error=error)] * len(group)
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = {}
        for one, outcome in zip(group, outcomes, strict=True):
            by_loop.setdefault(one.loop, []).append((one.answer, outcome))
        for loop, answers in by_loop.items():
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(self._committed, answers)
