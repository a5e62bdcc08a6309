"""The coordinator's moving parts in one place: the store's users, the open links, the clock that drives deadlines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection
from functools import partial
from random import Random, SystemRandom
from typing import Protocol

from eyeflow import __version__
from eyeflow.base.clock import ClockWatch, NowUs, steady_clock_us, wall_clock_us
from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.aftercare import Aftercare
from eyeflow.coordinator.challenges import Challenges
from eyeflow.coordinator.deployments import Deployments
from eyeflow.coordinator.log_keeper import LogKeeper
from eyeflow.coordinator.nodes import Nodes
from eyeflow.coordinator.programs import Programs
from eyeflow.coordinator.store.cluster_store import ClusterStore, CursorTooOldError, Reading
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.tls import OwnTls
from eyeflow.coordinator.tokens import Tokens
from eyeflow.protocol.messages import Manifest
from eyeflow.protocol.session import Coordinates, Offer

_log = logging.getLogger("eyeflow.coordinator")

TICK_S = 1.0
"""How often open deployments look at their deadlines."""
CHANGES_READ_MAX = 1_000
"""Changes of the feed that are read at once to find the nodes that get a new manifest."""


class OpenLink(Protocol):
    """One connected node, as the hub sees it."""

    node: str

    def offer(self, offer: Offer) -> None:
        """Send a newer manifest as soon as the link can."""
        ...

    def close(self, code: str, reason: str) -> None:
        """Close the link, saying why."""
        ...


class Hub:
    """Everything the API and the links share. Lives on one event loop; what it commits, the store's thread commits.

    Make it by `started`. `follow` lets follow what changed: it runs after each commit that appended to the feed.
    """

    def __init__(
        self,
        store: ClusterStore,
        clock: NowUs = wall_clock_us,
        steady: NowUs = steady_clock_us,
        random: Random | None = None,
    ) -> None:
        random = random or SystemRandom()
        self.store = store
        self._wall, self._steady, self._clock_watch = clock, steady, ClockWatch(clock, steady)
        self._step_us = 0
        """By how much the clock was set since the deadlines were last moved along."""
        self.deployments = Deployments(store, lambda: f"d-{random.randbytes(6).hex()}")
        self.nodes = Nodes(store)
        self.aftercare = Aftercare(store)
        self.programs = Programs(store, self.nodes.signers_changed)
        self.tokens = Tokens(store, self.clock, random.randbytes)
        self.challenges = Challenges(random.randbytes)
        self.log = LogKeeper(store)
        self.tls: OwnTls | None = None
        """The cluster's own CA, when the coordinator serves with it."""
        self.checking_program = asyncio.Lock()
        """One at a time, in a thread: nodes are served meanwhile."""
        self.own = Coordinates(store.coordinator_id, f"eyeflow {__version__}", store.identity.sign)
        self.links: dict[str, OpenLink] = {}
        self.started_us, self._started_steady_us = clock(), steady()
        self._trouble = ""
        """Why the disk takes nothing more, though no write has failed yet."""
        self._told = ""
        """The trouble that the log has told."""
        self._lost: set[str] = set()
        """Nodes whose link ended, which the store could not write down yet."""
        self._offered = 0
        """The feed's cursor behind the manifests that were offered to the links."""
        self._changed = asyncio.Event()
        self._following = asyncio.Lock()

    @classmethod
    async def started(
        cls,
        store: ClusterStore,
        clock: NowUs = wall_clock_us,
        steady: NowUs = steady_clock_us,
        random: Random | None = None,
    ) -> Hub:
        """Return the hub of a coordinator that starts: no link is up yet, whatever the store says."""
        hub = cls(store, clock, steady, random)
        hub._offered = await store.read(lambda reading: reading.newest_change())
        await hub.deployments.restarted(hub.started_us)
        store.on_change(hub._changed.set)
        return hub

    def clock(self) -> int:
        """Return microseconds since 1970 UTC. A setting of the clock shows once the deadlines have moved with it."""
        self._step_us += self._clock_watch.step_us()
        return self._wall() - self._step_us

    @property
    def up_us(self) -> int:
        """For how long this coordinator has been running."""
        return self._steady() - self._started_steady_us

    async def _follow_clock(self) -> None:
        """A deadline is a span of time. Were it left where it is, a clock that is corrected would end it at once."""
        self.clock()
        step_us, self._step_us = self._step_us, 0  # what is handed over after this moment reads the new time
        if not step_us:
            return
        try:
            await self.deployments.clock_was_set(step_us, self.clock())
        except EyeflowError:
            self._step_us += step_us
            raise

    async def attach(self, link: OpenLink) -> None:
        """A node's link opened: the newest wins, an older one is closed."""
        older = self.links.pop(link.node, None)
        self.links[link.node] = link
        if older is not None:
            older.close("replaced", "the node opened a newer link")
            await self._bear(self._write_lost({link.node}))

    async def detach(self, link: OpenLink) -> None:
        """A node's link is gone; nothing to do when a newer one took its place."""
        if self.links.get(link.node) is not link:
            return
        del self.links[link.node]
        await self._bear(self._write_lost({link.node}))
        if link.node not in self.links:
            await self._bear(self.nodes.link_closed(link.node, self.clock()))

    async def _write_lost(self, nodes: Collection[str]) -> None:
        """Handed over before the first `await`: what the next link of a node does comes after it."""
        self._lost -= set(nodes)
        try:
            await self.deployments.lost(sorted(nodes), self.clock())
        except EyeflowError:
            self._lost |= set(nodes)
            raise

    async def _bear(self, work: Awaitable[None]) -> None:
        """Go on when the store fails: the next tick tries again."""
        try:
            await work
        except EyeflowError as error:
            self._trouble = error.brief

    async def remove(self, node: str, actor: str) -> None:
        """Remove a node from the cluster and close its link."""
        await self.nodes.remove(node, self.clock(), actor)
        link = self.links.get(node)
        if link is not None:
            link.close("removed", "the node was removed from the cluster")

    async def offer(self, node: str) -> Offer | None:
        """Return the node's newest signed manifest, None for an unknown node."""
        return await self.store.read(lambda reading: _offer(reading, node))

    async def follow(self) -> None:
        """Let follow what changed: strategies decide, and nodes with a link get their new manifests."""
        async with self._following:
            await self.deployments.follow(self.clock())
            is_all = False
            while not is_all:
                linked, cursor = frozenset(self.links), self._offered
                look = partial(_new_offers, cursor=cursor, linked=linked)
                offers, self._offered, is_all = await self.store.read(look)
                for node, offer in offers.items():
                    if (link := self.links.get(node)) is not None:
                        link.offer(offer)

    async def tick(self) -> None:
        """Look at deadlines once; a store that fails now is tried again at the next tick."""
        try:
            await self._follow_clock()
            now_us = self.clock()
            await self.nodes.write_down(now_us)
            await self.tokens.write_down()
            await self.log.sign()
            if self._lost:
                await self._write_lost(set(self._lost))
            await self.deployments.tick(now_us)
            await self.follow()
            await self.aftercare.look(self.nodes.health, now_us)
            await self.store.check()
            self._trouble = ""
        except EyeflowError as error:
            self._trouble = error.brief
        if bool(self.trouble) != bool(self._told):
            _log.log(logging.ERROR if self.trouble else logging.INFO, "%s", self.trouble or "the store works again")
        self._told = self.trouble

    @property
    def trouble(self) -> str:
        """Why the store takes nothing now; empty while it does."""
        return self._trouble or self.store.trouble

    async def run(self) -> None:
        """Tick, and follow the feed, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_ticking())
            tasks.create_task(self._keep_following())

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.tick()

    async def _keep_following(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._bear(self.follow())

    def close_links(self) -> None:
        """Say goodbye to every node before the coordinator stops."""
        for link in list(self.links.values()):
            link.close("stopping", "the coordinator stops")


def _offer(reading: Reading, node: str) -> Offer | None:
    found = reading.manifest(node)
    return None if found is None else Offer(found.version, Manifest(found.body, found.signature), found.program_ids)


def _new_offers(reading: Reading, cursor: int, linked: frozenset[str]) -> tuple[dict[str, Offer], int, bool]:
    """Return the new manifests of linked nodes, the cursor behind them, and whether there are no more."""
    try:
        changes = reading.changes(cursor, CHANGES_READ_MAX)
        nodes = {one.subject for one in changes if one.kind is ChangeKind.MANIFEST} & linked
        cursor = changes[-1].number if changes else cursor
    except CursorTooOldError as error:
        changes, nodes, cursor = [], set(linked), error.newest
    found = {node: _offer(reading, node) for node in sorted(nodes)}
    offers = {node: offer for node, offer in found.items() if offer is not None}
    return offers, cursor, len(changes) < CHANGES_READ_MAX
