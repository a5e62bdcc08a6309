"""The change feed for those who watch: what the store keeps of it, with the newest part in memory for all watchers.

Nobody has a queue of their own. A watcher is a cursor: who reads slowly is behind, and who is too far behind is told to
read the state again. So a thousand watchers hold as much memory as one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store.cluster_store import ClusterStore, CursorTooOldError
from eyeflow.coordinator.store.facts import Change

RECENT_MAX = 4_096
"""Changes in memory; who is further behind reads them from the store."""
READ_MAX = 500
"""Changes that are handed out at once."""
WATCHERS_MAX = 256
WATCHERS_PER_CALLER_MAX = 32


class Feed:
    """The change feed of `store`. Lives on one event loop; `pump` is called after each commit that appended to it."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self._recent: deque[Change] = deque(maxlen=RECENT_MAX)
        self._newest: int | None = None
        """The number of the newest change in memory; None while nobody watches."""
        self._watchers: Counter[str] = Counter()
        self._news, self._any_news = asyncio.Event(), asyncio.Event()
        """The second one is for those who hear of copied records, too: these come every second."""
        self._copied: dict[str, int] = {}
        """By node, when more of its records was copied last: a number that ascends."""
        self.copies = 0
        """The newest of those numbers."""
        self.left = asyncio.Event()
        """Nobody watches."""
        self.left.set()

    @contextmanager
    def watching(self, caller: str) -> Iterator[None]:
        """Hold a place among the watchers; raises Problem when there is none."""
        if self._watchers.total() >= WATCHERS_MAX or self._watchers[caller] >= WATCHERS_PER_CALLER_MAX:
            detail = f"At most {WATCHERS_PER_CALLER_MAX} watch with one token, and {WATCHERS_MAX} in all."
            raise Problem("too_many_watchers", detail, "close another one, or ask again later")
        self._watchers[caller] += 1
        self.left.clear()
        try:
            yield
        finally:
            self._watchers[caller] -= 1
            self._watchers += Counter()  # without those that are 0
            if not self._watchers:
                self._recent.clear()
                self._newest = None
                self._copied.clear()
                self.left.set()

    async def newest(self) -> int:
        """Return the cursor of who reads the whole state now."""
        return await self._store.read(lambda reading: reading.newest_change())

    async def pump(self) -> None:
        """Take what is new into memory and wake the watchers. Raises EyeflowError when the store cannot be read."""
        while self._watchers:
            after = self._newest
            if after is None:
                self._newest = await self.newest()
                break
            try:
                found = await self._read(after)
            except CursorTooOldError as error:  # so much at once, or somebody put an older store back
                self._recent.clear()
                self._newest = error.newest
                break
            if self._newest == after:  # else all watchers left meanwhile, and others came
                self._recent.extend(found)
                self._newest = found[-1].number if found else after
            if len(found) < READ_MAX:
                break
        for news in (self._news, self._any_news):
            news.set()
        self._news, self._any_news = asyncio.Event(), asyncio.Event()

    def copied(self, node: str) -> None:
        """More records of a node were copied: wake the watchers. It is a hint, which nothing keeps."""
        if self._watchers:
            self.copies += 1
            self._copied[node] = self.copies
            self._any_news.set()
            self._any_news = asyncio.Event()

    def copied_since(self, number: int) -> list[str]:
        """Return the nodes of which more was copied after the hint with this number."""
        return sorted(node for node, last in self._copied.items() if last > number)

    async def after(self, cursor: int) -> list[Change]:
        """Return the changes behind a cursor, READ_MAX at most; raises CursorTooOldError when some are gone."""
        if self._newest is not None and cursor <= self._newest and self._holds(cursor):
            skipped = cursor + 1 - self._recent[0].number if self._recent else 0
            return [self._recent[at] for at in range(skipped, min(skipped + READ_MAX, len(self._recent)))]
        return await self._read(cursor)

    async def _read(self, cursor: int) -> list[Change]:
        return await self._store.read(lambda reading: reading.changes(cursor, READ_MAX))

    def _holds(self, cursor: int) -> bool:
        """Say whether memory has all that follows a cursor: numbers of the feed have no gap."""
        return self._recent[0].number <= cursor + 1 if self._recent else cursor == self._newest

    async def wait(self, cursor: int, seconds: float, copies: int | None = None) -> None:
        """Return when something follows the cursor, or after some seconds; with `copies`, also at a newer hint."""
        news = self._news if copies is None else self._any_news
        if (self._newest is not None and self._newest > cursor) or (copies is not None and self.copies > copies):
            return
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            return
