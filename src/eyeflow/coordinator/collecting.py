"""Collects the audit of nodes over their links: asks for what the archive lacks, and for the next while it commits.

At most two bundles of one node are in memory: the one that is committed, and the one that was asked for meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from dataclasses import dataclass, replace

from eyeflow.base.clock import NowUs
from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.chain import BrokenChain, Owner
from eyeflow.coordinator.archive.checking import Checker, Spoiled
from eyeflow.coordinator.archive.database import BegunAnewError, Bundle, NotHeldError
from eyeflow.coordinator.histories import Contradiction
from eyeflow.protocol.collecting import PLAIN_BYTES_MAX, Collect, Collected, KeptHead
from eyeflow.protocol.wire import ProtocolError

RETRY_S = 5.0
"""How long a bundle waits that the archive's disk has refused."""

REFRESH_S = 5
"""How often it is read what other coordinators have collected."""
TIDY_S = 60
"""How often what is too old is looked for."""
TIDIES_MAX = 64
"""Ranges that are dropped for their age at one look."""

STOPPED = "a bug of the coordinator ended it, see its log; it begins again when the node links anew"

_log = logging.getLogger("eyeflow.coordinator")

Ask = Callable[[Collect], None]
Found = Callable[[Contradiction], Awaitable[None]]
GiveUp = Callable[[ProtocolError], Awaitable[None]]
Renew = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Copy:
    """How far the copy of a node's newest chain is: up to `kept`; the node had record `head_seq` when it told last.

    `trouble`: why the archive takes nothing now, empty while it does.
    """

    kept: KeptHead
    head_seq: int = 0
    trouble: str = ""

    @property
    def behind(self) -> int:
        """How many records are still to come."""
        return max(0, self.head_seq - self.kept.seq)


class Copies:
    """The copies of all nodes: in `archive`, and in memory how far they are, by node.

    `on_kept` hears of each node of which more is kept.
    """

    def __init__(
        self, archive: Archive | None, clock: NowUs, on_kept: Callable[[str], None] = lambda node: None
    ) -> None:
        self.archive, self.clock, self._on_kept = archive, clock, on_kept
        self.by_node: dict[str, Copy] = {}
        self.missing = ""
        """Why there is no archive, empty when there is one."""
        self.explaining = asyncio.Semaphore(1)
        """One execution at a time runs again: that takes a part of a core."""
        self.explanations = 0
        """Explanations that were asked for and are not answered yet."""
        self._checker = Checker()
        self._tidied_us = self._refreshed_us = 0

    async def started(self) -> None:
        """Read how far the copies were when the coordinator stopped. Raises EyeflowError."""
        if self.archive is not None:
            chains = await self.archive.chains()
            self.by_node = {one.node: Copy(one.kept, one.kept.seq) for one in chains}

    async def refresh(self, linked: Container[str], now_us: int) -> None:
        """Read, once in REFRESH_S, how far the copies are of which another coordinator holds the link."""
        if self.archive is None or 0 <= now_us - self._refreshed_us < REFRESH_S * 1_000_000:
            return
        self._refreshed_us = now_us
        found = {one.node: Copy(one.kept, one.kept.seq) for one in await self.archive.chains()}
        self.by_node |= {node: copy for node, copy in found.items() if node not in linked}

    async def set_aside(self, node: str, epoch: int | None = None) -> None:
        """What the node has now is right: begin its copy anew. What was kept stays. Raises EyeflowError."""
        if self.archive is not None:
            await self.archive.set_aside(node, epoch)
            self.by_node.pop(node, None)

    async def check(self) -> Spoiled | None:
        """Look whether some of what is kept is still what was kept; return what is not. Raises EyeflowError."""
        return None if self.archive is None else await self.archive.look(self._checker.look)

    async def tidy(self, now_us: int) -> None:
        """Let the archive drop, once in TIDY_S, what is older than its bound. Raises EyeflowError."""
        if self.archive is None or 0 <= now_us - self._tidied_us < TIDY_S * 1_000_000:
            return
        self._tidied_us = now_us
        for _ in range(TIDIES_MAX):
            if not await self.archive.tidy(now_us):
                return

    def told(self, node: str, epoch: int, seq: int) -> None:
        """A node told where its chain ends."""
        copy = self.by_node.get(node)
        if copy is None or copy.kept.epoch < epoch:
            self.by_node[node] = Copy(KeptHead(epoch), seq, self.missing)
        elif copy.kept.epoch == epoch:
            self.by_node[node] = replace(copy, head_seq=seq)

    def keeps(self, node: str, kept: KeptHead) -> None:
        """A commit reached this head."""
        copy = self.by_node.get(node)
        if copy is None or copy.kept.epoch <= kept.epoch:
            head_seq = copy.head_seq if copy is not None and copy.kept.epoch == kept.epoch else kept.seq
            self.by_node[node] = Copy(kept, max(head_seq, kept.seq))
            if copy is None or copy.kept != kept:
                self._on_kept(node)

    def is_in_trouble(self, node: str, trouble: str) -> None:
        """The archive refused a bundle of this node."""
        if (copy := self.by_node.get(node)) is not None:
            self.by_node[node] = replace(copy, trouble=trouble)

    def forget(self, node: str) -> None:
        """The node was removed from the cluster; its records stay in the archive."""
        self.by_node.pop(node, None)


class Collector:
    """Collects over one link. `ask` sends; `found` records a contradiction; `give_up` closes the link with a reason.

    `renew` closes it since the copy was begun anew: an answer to an earlier ask may be on its way, and looks like one
    to the next. Over the next link all is asked for from the start.
    """

    def __init__(self, copies: Copies, ask: Ask, found: Found, give_up: GiveUp, renew: Renew) -> None:
        self._copies, self._ask_node, self._found, self._give_up = copies, ask, found, give_up
        self._renew = renew
        self._came: asyncio.Queue[Collected] = asyncio.Queue()
        self._working: asyncio.Task[None] | None = None

    def begin(self, owner: Owner) -> None:
        """Collect this chain, unless that goes on already."""
        if self._working is None and self._copies.archive is not None:
            self._came = asyncio.Queue()
            self._working = asyncio.create_task(self._collect(self._copies.archive, owner))

    @property
    def works(self) -> bool:
        """Whether it collects, or has found that it cannot go on over this link."""
        return self._working is not None

    def came(self, collected: Collected) -> None:
        """The node answered."""
        self._came.put_nowait(collected)

    def stop(self) -> None:
        """Ask for nothing more."""
        if self._working is not None:
            self._working.cancel()
            self._working = None

    async def _collect(self, archive: Archive, owner: Owner) -> None:
        try:
            await self._follow(archive, owner)
        except BrokenChain as broken:
            _log.error("node %s: %s. Nothing more of its audit is collected", owner.node, broken.found.evidence)
            with suppress(EyeflowError):  # the store is in trouble: the next link finds it again
                await self._found(broken.found)
        except ProtocolError as error:
            await self._give_up(error)
        except BegunAnewError as error:
            _log.info("node %s: %s", owner.node, error.message)
            self._renew()
        except NotHeldError as error:
            _log.info("node %s: %s", owner.node, error.message)
        except Exception:
            _log.exception("the audit of node %s is not collected any more", owner.node)
            self._copies.is_in_trouble(owner.node, STOPPED)

    async def _follow(self, archive: Archive, owner: Owner) -> None:
        generation = archive.generation  # first: what is kept may be begun anew at any moment
        kept = await self._kept(archive, owner)
        self._copies.keeps(owner.node, kept)
        self._ask(kept, kept.seq)
        while True:
            collected = await self._came.get()
            is_last = collected.last_seq >= collected.head_seq
            if not is_last:
                self._ask(kept, collected.last_seq)
            kept = await self._append(archive, owner, collected, generation, kept)
            self._copies.keeps(owner.node, kept)
            if is_last:
                self._ask(kept, kept.seq)

    def _ask(self, kept: KeptHead, after_seq: int) -> None:
        self._ask_node(Collect(kept, max(after_seq, kept.seq), PLAIN_BYTES_MAX))

    async def _kept(self, archive: Archive, owner: Owner) -> KeptHead:
        while True:
            try:
                chain = await archive.chain(owner.node, owner.epoch)
                return chain.kept if chain is not None else KeptHead(owner.epoch)
            except BegunAnewError:
                raise
            except EyeflowError as error:
                await self._wait(owner, error)

    async def _append(
        self, archive: Archive, owner: Owner, collected: Collected, generation: int, after: KeptHead
    ) -> KeptHead:
        now_us = self._copies.clock()
        bundle = Bundle(owner, collected.records, collected.head_seq, now_us, generation, collected.states, after)
        while True:
            try:
                return await archive.append(bundle)
            except (ProtocolError, NotHeldError, BegunAnewError):
                raise
            except EyeflowError as error:
                await self._wait(owner, error)

    async def _wait(self, owner: Owner, error: EyeflowError) -> None:
        self._copies.is_in_trouble(owner.node, error.brief)
        await asyncio.sleep(RETRY_S)
