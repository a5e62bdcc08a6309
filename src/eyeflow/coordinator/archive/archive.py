"""The archive as the event loop sees it: a thread appends, many bundles in one commit, and another one reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.archive.chain import Row
from eyeflow.coordinator.archive.database import (
    DAMAGED,
    ArchiveDatabase,
    ArchiveReader,
    BegunAnewError,
    Bundle,
    Chain,
    Outcome,
)
from eyeflow.protocol.collecting import KeptHead

T = TypeVar("T")

GROUP_BUNDLES_MAX = 64
"""Bundles of one commit. One disk sync for all of them; the first waits for what the last costs."""


class Archive:
    """Belongs to one event loop. `writes` and `reads` are executors of one thread each, unless a simulation has own."""

    def __init__(self, database: ArchiveDatabase, reader: ArchiveReader, writes: Any = None, reads: Any = None) -> None:
        self._database, self._reader = database, reader
        self._writes = writes or ThreadPoolExecutor(1, "eyeflow-archive-writer")
        self._reads = reads or ThreadPoolExecutor(1, "eyeflow-archive-reader")
        self._waiting: list[tuple[asyncio.Future[KeptHead], Bundle]] = []
        self._busy: asyncio.Future[Any] | None = None
        self._is_closed = False
        self._renewing = asyncio.Lock()
        self._renewals: set[asyncio.Task[None]] = set()
        self.generation = 0
        """Grows each time that the archive was found damaged, and begun anew."""
        self.on_damage: Callable[[EyeflowError], None] = lambda error: None
        """Hears of damage after the archive was begun anew."""

    async def append(self, bundle: Bundle) -> KeptHead:
        """Make a bundle durable; return the cosigned head that is kept then.

        Raises BrokenChain, ProtocolError for a bundle that cannot be read, and EyeflowError while the disk refuses.
        """
        if self._is_closed:
            raise EyeflowError("the coordinator stops: its archive takes nothing more", code="archive_closed")
        if bundle.generation != self.generation:
            raise BegunAnewError
        answer: asyncio.Future[KeptHead] = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, bundle))
        self._go()
        return await self._mended(answer)

    async def _mended(self, work: Awaitable[T]) -> T:
        """Whoever finds damage, in a commit or in a look, lets the archive begin anew. Raises BegunAnewError then."""
        generation = self.generation
        try:
            return await work
        except EyeflowError as error:
            if error.code != DAMAGED:
                raise
            await self._renewed(generation, error)
            raise BegunAnewError from error

    def _renewed(self, generation: int, error: EyeflowError) -> Awaitable[None]:
        """A task of its own: who found the damage may be cancelled in the middle, and the new file is half made."""
        renewal = asyncio.create_task(self._begin_anew(generation, error))
        self._renewals.add(renewal)
        renewal.add_done_callback(self._renewals.discard)
        return asyncio.shield(renewal)

    async def _begin_anew(self, generation: int, error: EyeflowError) -> None:
        try:
            async with self._renewing:
                if generation != self.generation:
                    return  # somebody else has found it, too
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._writes, self._database.begin_anew)
                await loop.run_in_executor(self._reads, self._reader.reopen)
                self.generation += 1
                waiting, self._waiting = self._waiting, []
                for answer, _ in waiting:
                    if not answer.done():
                        answer.set_exception(BegunAnewError())
        finally:
            self._go()  # what waited meanwhile, also where the disk refused the new file
        self.on_damage(error)

    def _go(self) -> None:
        self._waiting = [one for one in self._waiting if not one[0].done()]  # who asked may have gone
        if self._waiting and self._busy is None and not self._is_closed and not self._renewing.locked():
            group, self._waiting = self._waiting[:GROUP_BUNDLES_MAX], self._waiting[GROUP_BUNDLES_MAX:]
            bundles = [bundle for _, bundle in group]
            loop = asyncio.get_running_loop()
            self._busy = loop.run_in_executor(self._writes, self._appended, bundles)
            self._busy.add_done_callback(lambda done: self._done([answer for answer, _ in group], done))

    def _appended(self, bundles: Sequence[Bundle]) -> list[Outcome]:
        """Append, in the thread that writes. A bug that one of them shows costs the others nothing."""
        try:
            return self._database.append(bundles)
        except Exception as bug:
            if len(bundles) == 1:
                return [Outcome(error=bug)]
            return [self._appended([one])[0] for one in bundles]

    def _done(self, answers: Sequence[asyncio.Future[KeptHead]], done: asyncio.Future[list[Outcome]]) -> None:
        self._busy = None
        if done.cancelled():
            return
        bug = done.exception()
        outcomes = done.result() if bug is None else [Outcome(error=Exception(str(bug)))] * len(answers)
        for answer, outcome in zip(answers, outcomes, strict=True):
            if answer.done():
                continue  # who asked has gone
            if outcome.kept is not None:
                answer.set_result(outcome.kept)
            else:
                answer.set_exception(outcome.error or Exception("a bundle has no outcome"))
        self._go()

    async def set_aside(self, node: str, epoch: int | None = None) -> None:
        """Begin the copy of a node's chain anew; see `ArchiveDatabase`."""
        loop = asyncio.get_running_loop()
        await self._mended(loop.run_in_executor(self._writes, self._database.set_aside, node, epoch))

    async def tidy(self, now_us: int) -> int:
        """Drop some of the records that are older than the bound; see `ArchiveDatabase`."""
        return await self._mended(asyncio.get_running_loop().run_in_executor(self._writes, self._database.tidy, now_us))

    async def chains(self) -> list[Chain]:
        """Return the newest chain of each node. Raises EyeflowError, as all reads do."""
        return await self.look(lambda reader: reader.chains())

    async def chain(self, node: str, epoch: int) -> Chain | None:
        """Return one chain, None when nothing of it is kept."""
        return await self.look(lambda reader: reader.chain(node, epoch))

    async def copies(self, node: str) -> list[Chain]:
        """Return all that is kept of a node; see `ArchiveReader`."""
        return await self.look(lambda reader: reader.copies(node))

    async def page(self, node: str, epoch: int, after_seq: int, limit: int, branch: int = 0) -> list[Row]:
        """Return records of a chain that follow `after_seq`, ascending, at most `limit`."""
        return await self.look(lambda reader: reader.page(node, epoch, after_seq, limit, branch))

    async def look(self, look: Callable[[ArchiveReader], T]) -> T:
        """Return what `look` finds, which the thread that reads runs. Raises EyeflowError."""
        return await self._mended(asyncio.get_running_loop().run_in_executor(self._reads, look, self._reader))

    def close(self) -> None:
        """Close after the commit that goes on; what waits for one was told nobody, and comes again."""
        self._is_closed = True
        for executor in (self._writes, self._reads):
            if isinstance(executor, ThreadPoolExecutor):
                executor.shutdown(wait=True)
        self._reader.close()
        self._database.close()
