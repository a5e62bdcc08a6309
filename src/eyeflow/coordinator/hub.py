"""The coordinator's moving parts in one place: the store's users, the open links, the clock that drives deadlines."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Collection, Sequence
from functools import partial
from random import Random, SystemRandom
from typing import Protocol

from eyeflow import __version__
from eyeflow.base.clock import ClockWatch, NowUs, steady_clock_us, wall_clock_us
from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.aftercare import Aftercare
from eyeflow.coordinator.alarms import Alarms
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.checking import Spoiled
from eyeflow.coordinator.archive_alarms import ArchiveAlarms
from eyeflow.coordinator.authority_log import AuthorityLog
from eyeflow.coordinator.bearing import Bearing
from eyeflow.coordinator.boards import is_told_away
from eyeflow.coordinator.cases import Cases
from eyeflow.coordinator.challenges import Challenges
from eyeflow.coordinator.collecting import Copies
from eyeflow.coordinator.deployments import Deployments, lose
from eyeflow.coordinator.feed import Feed
from eyeflow.coordinator.known_programs import KnownPrograms
from eyeflow.coordinator.link_questions import Asks
from eyeflow.coordinator.log_keeper import LogKeeper
from eyeflow.coordinator.news import News, offer_of, read_news
from eyeflow.coordinator.nodes import Nodes
from eyeflow.coordinator.peers import Peers
from eyeflow.coordinator.programs import Programs
from eyeflow.coordinator.refusals import Refusals
from eyeflow.coordinator.relay import Relay
from eyeflow.coordinator.requests import Requests
from eyeflow.coordinator.sessions import Sessions
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading, Writing
from eyeflow.coordinator.store.coordination import Link
from eyeflow.coordinator.tls import OwnTls
from eyeflow.coordinator.tokens import Tokens
from eyeflow.coordinator.trends import Trends
from eyeflow.protocol.session import Coordinates, Offer

_log = logging.getLogger("eyeflow.coordinator")

TICK_S = 1.0
"""How often open deployments look at their deadlines."""


class OpenLink(Asks, Protocol):
    """One connected node, as the hub sees it. `is_away`: a board that does not answer its gateway."""

    node: str
    is_away: bool

    def offer(self, offer: Offer) -> None:
        """Send a newer manifest as soon as the link can."""
        ...

    def stop_collecting(self) -> None:
        """Ask for no more records of the node: it is in doubt."""
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
        archive: Archive | None = None,
    ) -> None:
        random = random or SystemRandom()
        self.store = store
        self._wall, self._steady, self._clock_watch = clock, steady, ClockWatch(clock, steady)
        self._step_us = 0
        """By how much the clock was set since the deadlines were last moved along."""
        self.peers = Peers(store)
        self.deployments = Deployments(store, lambda: f"d-{random.randbytes(6).hex()}", self.peers.check)
        self.nodes = Nodes(store)
        self.aftercare, self.alarms = Aftercare(store), Alarms(store)
        self.feed, self.cases = Feed(store), Cases(store, self.aftercare.takes)
        self.copies, self.archive_alarms = Copies(archive, self.clock, self.feed.copied), ArchiveAlarms(store, archive)
        self.programs, self.known_programs = Programs(store, self.nodes.signers_changed), KnownPrograms(store)
        self.tokens = Tokens(store, self.clock, random.randbytes)
        self.sessions = Sessions(store, self.clock, self.tokens, random.randbytes)
        self.log, self.authorities = LogKeeper(store), AuthorityLog(store)
        self.requests, self.refusals, self.challenges = Requests(), Refusals(), Challenges(random.randbytes)
        self.closing = asyncio.Event()
        """The coordinator stops: who watches hears of it."""
        self.tls: OwnTls | None = None
        """The cluster's own CA, when the coordinator serves with it."""
        self.checking_program = asyncio.Lock()
        """One at a time, in a thread: nodes are served meanwhile."""
        self.own = Coordinates(store.coordinator_id, f"eyeflow {__version__}", store.identity.sign)
        self.all_links: dict[str, OpenLink] = {}
        self.links = self.all_links
        """The links that this coordinator holds, by node; where a token for some nodes looks, those of these."""
        self.relay = Relay(store, self.links, self.clock, random.randbytes)
        self._links_taken = 0
        self.started_us, self._started_steady_us = clock(), steady()
        self.trends = Trends(store, self.nodes.rates, self.started_us)
        self._store_work, self._archive_work = Bearing(self.peers.resign), Bearing(self.peers.resign)
        """What is done each second, and what has its own trouble: the copies."""
        self._told = ""
        """The trouble that the log has told."""
        self._lost: set[str] = set()
        """Nodes whose link began or ended, which the store could not write down yet."""
        self._unwritten: Counter[str] = Counter()
        """Nodes whose link the store is writing down: what the feed tells of it may be older."""
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
        archive: Archive | None = None,
    ) -> Hub:
        """Return the hub of a coordinator that starts: no link is up yet, whatever the store says."""
        hub = cls(store, clock, steady, random, archive)
        if archive is not None:
            archive.on_damage = hub._archive_was_damaged
        await hub.copies.started()
        hub._offered = await store.read(lambda reading: reading.newest_change())
        await hub.peers.started(hub.started_us)
        await hub.deployments.restarted(hub.started_us)
        await hub.follow()
        store.on_change(hub._changed.set)
        return hub

    def _archive_was_damaged(self, error: EyeflowError) -> None:
        """What was asked of nodes follows what is not there any more: each dials anew, and is asked from the start."""
        _log.error("the archive was damaged, and is begun anew: %s", error.cause or error.message)
        self.copies.by_node.clear()
        self.archive_alarms.look_soon()
        for link in list(self.links.values()):
            link.close("archive", "the coordinator begins its copy of the audit anew")

    def clock(self) -> int:
        """Return microseconds since 1970 UTC. A setting of the clock shows once the deadlines have moved with it."""
        self._step_us += self._clock_watch.step_us()
        return self._wall() - self._step_us

    async def _copy_is_spoiled(self, spoiled: Spoiled, now_us: int) -> None:
        """The copy of one node is not what was kept: it stays as a branch, and the node is asked for what it has."""
        kind, node = AlarmKind.ARCHIVE_DAMAGED, spoiled.node

        def step(writing: Writing) -> None:
            if writing.node(node) is not None:  # else nothing ends the alarm
                writing.raise_alarm(kind, node, spoiled.evidence, now_us)

        await self.store.write(step)
        _log.error("%s. Its copy is begun anew", spoiled.evidence)
        link = self.links.get(node)
        if link is not None:
            link.stop_collecting()  # first: what comes now would follow records that are not there any more
        try:
            await self.copies.set_aside(node, spoiled.epoch)
        finally:
            if link is not None:
                link.close("archive", "the coordinator begins its copy of the audit anew")

    @property
    def up_us(self) -> int:
        """For how long this coordinator has been running."""
        return self._steady() - self._started_steady_us

    async def _follow_clock(self) -> None:
        """A deadline is a span of time. Were it left where it is, a clock that is corrected would end it at once."""
        self.clock()
        step_us, self._step_us = self._step_us, 0  # what is handed over after this moment reads the new time
        if not step_us or not self.peers.leads:
            return  # deadlines are the leader's
        try:
            await self.deployments.clock_was_set(step_us, self.clock())
        except Exception:
            self._step_us += step_us
            raise

    async def attach(self, link: OpenLink) -> None:
        """A node's link opened: the newest wins, an older one is closed, here or at another coordinator."""
        older = self.links.pop(link.node, None)
        self.links[link.node] = link
        if older is not None:
            older.close("replaced", "the node opened a newer link")
        await self._bear(self._write_lost({link.node}))
        if link.node in self._lost:
            link.close("storage", self.trouble)

    async def detach(self, link: OpenLink) -> None:
        """A node's link is gone; nothing to do when a newer one took its place."""
        if self.links.get(link.node) is not link:
            return
        del self.links[link.node]
        await self._bear(self._write_lost({link.node}))
        if link.node not in self.links:
            await self._bear(self.nodes.link_closed(link.node, self.clock()))
            if self.store.is_shared:
                self.nodes.forget_health(link.node)

    async def _write_lost(self, nodes: Collection[str]) -> None:
        """Handed over before the first `await`: what the next link of a node does comes after it."""
        now_us, own_id = self.clock(), self.store.own_id
        self._links_taken += 1
        taken = {node: Link(node, own_id, self._links_taken, now_us) for node in nodes if node in self.links}

        def is_lost(writing: Writing, node: str) -> bool:
            if node in taken:
                writing.take_link(taken[node])
                return True
            held = writing.link(node)
            if held is not None and held.coordinator != own_id:
                return False  # the node has gone to another coordinator
            writing.drop_link(node, own_id, now_us)
            return True

        self._lost -= set(nodes)
        self._unwritten.update(nodes)
        try:
            await self.deployments.lost(sorted(nodes), now_us, is_lost)
        except Exception:
            self._lost |= set(nodes)
            raise
        finally:
            self._unwritten.subtract(nodes)

    def _is_settling(self, node: str) -> bool:
        return node in self._lost or self._unwritten[node] > 0

    async def _bear(self, work: Awaitable[None]) -> None:
        """Go on when the store fails, or another coordinator leads by now: the next tick tries again."""
        await self._store_work.bear(lambda: work)

    async def _look_at_peers(self) -> None:
        """See who leads; end the links of coordinators that ended, and own ones that others took for ended."""
        now_us = self.clock()
        found = await self.peers.look(now_us)
        if found.leads_anew:
            self.deployments.leads_anew()
        if found.was_away:
            await self._close_forgotten_links()
        for coordinator in found.ended:
            await self._end(coordinator, now_us)

    async def _close_forgotten_links(self) -> None:
        """A node that is taken for gone comes back by a new link: what was decided meanwhile reaches it so."""
        held = await self.store.read(lambda reading: reading.links())
        own = {link.node for link in held if link.coordinator == self.store.own_id}
        for node, link in list(self.links.items()):
            if node not in own and not self._is_settling(node):
                link.close("replaced", "the coordinator was cut off from its cluster")

    async def _end(self, coordinator: str, now_us: int) -> None:
        def step(writing: Writing) -> None:
            self.peers.check(writing)
            for node in writing.forget_coordinator(coordinator, now_us):
                lose(writing, node, now_us)

        await self.store.write(step)
        _log.warning("coordinator %s of the cluster is gone: its nodes find another one", coordinator)

    def linked(self, reading: Reading) -> frozenset[str]:
        """Return the nodes whose link is open, here or at another coordinator, without boards that are away.

        May run in another thread.
        """
        here = frozenset(node for node, link in list(self.links.items()) if not link.is_away)
        if not self.store.is_shared:
            return here
        there = {link.node for link in reading.links() if link.coordinator != self.store.own_id}
        boards = reading.boards_told()
        return here | {one for one in there if one not in boards or not is_told_away(boards[one])}

    def linked_of(self, reading: Reading, nodes: Sequence[str]) -> frozenset[str]:
        """Return which of these nodes have an open link. May run in another thread."""
        return self.linked(reading) & frozenset(nodes)

    def count_linked(self, kept: int) -> int:
        """Return how many nodes have a link; `kept` is how many the store knows of."""
        return kept if self.store.is_shared else len(self.links)

    async def remove(self, node: str, actor: str) -> None:
        """Remove a node from the cluster and close its link."""
        await self.nodes.remove(node, self.clock(), actor)
        self.copies.forget(node)
        self.trends.forget(node)
        link = self.links.get(node)
        if link is not None:
            link.close("removed", "the node was removed from the cluster")

    async def quarantine(self, node: str, reason: str, actor: str) -> None:
        """Let nothing be deployed to a node, and nothing of it be copied, until somebody accepts it."""
        await self.nodes.quarantine(node, reason, self.clock(), actor)
        if (link := self.links.get(node)) is not None:
            link.stop_collecting()

    async def accept(self, node: str, actor: str) -> None:
        """Take the history that a node has now for the right one, whatever was seen of it before."""
        history = await self.nodes.history(node)
        if history.contradicted:  # first: a copy that is begun anew without need costs nothing but time
            await self.copies.set_aside(node)
        await self.nodes.accept(node, self.clock(), actor)

    async def offer(self, node: str) -> Offer | None:
        """Return the node's newest signed manifest, None for an unknown node."""
        return await self.store.read(lambda reading: offer_of(reading, node))

    async def follow(self) -> None:
        """Let follow what changed: strategies decide, and nodes with a link get their new manifests."""
        async with self._following:
            if self.peers.leads:
                await self.deployments.follow(self.clock())
            is_all = False
            while not is_all:
                linked, cursor = frozenset(self.links), self._offered
                asked = partial(read_news, cursor=cursor, linked=linked, is_shared=self.store.is_shared)
                news = await self.store.read(asked)
                self._offered, is_all = news.cursor, news.is_all
                for node, offer in news.offers.items():
                    if (link := self.links.get(node)) is not None:
                        link.offer(offer)
                if self.store.is_shared:
                    await self._hear(news)

    async def _hear(self, news: News) -> None:
        """What another coordinator changed of nodes that have their link here."""
        for node in news.others:
            if (link := self.links.get(node)) is None or self._is_settling(node):
                continue
            if node in news.holders and news.holders[node] not in ("", self.store.own_id):
                link.close("replaced", "the node opened a newer link")
            elif node not in news.known:
                link.close("removed", "the node was removed from the cluster")
            else:
                await self.nodes.refresh(node)
                if self.nodes.is_doubtful(node):
                    link.stop_collecting()

    async def tick(self) -> None:
        """Look at deadlines once; a store that fails now is tried again at the next tick."""
        await self._store_work.round(
            self._look_at_peers,
            self._follow_clock,
            lambda: self.nodes.write_down(self.clock()),
            self.cases.write_down,
            self._look_at_relay,
            self.tokens.write_down,
            self.sessions.write_down,
            self._sign_log,
            self._write_what_was_lost,
            self._look_at_deadlines,
            self.follow,
            lambda: self.aftercare.look(self.nodes.health, self.clock()),
            lambda: self.alarms.look(self.clock()),
            lambda: self.trends.look(self.links, self.clock()),
            self.store.check,
        )
        self._tell_trouble()

    async def look_at_archive(self) -> None:
        """Look once after the copies. An archive that fails, or answers late, keeps nothing else waiting."""
        await self._archive_work.round(
            self._refresh_copies,
            self._check_copies,
            lambda: self.archive_alarms.look(self.clock()),
            lambda: self.copies.tidy(self.clock()),
        )
        self._tell_trouble()

    async def _look_at_relay(self) -> None:
        if self.store.is_shared:
            await self.relay.look()

    async def _sign_log(self) -> None:
        if self.peers.leads:
            await self.log.sign()

    async def _write_what_was_lost(self) -> None:
        if self._lost:
            await self._write_lost(set(self._lost))

    async def _look_at_deadlines(self) -> None:
        if self.peers.leads:
            await self.deployments.tick(self.clock())

    async def _refresh_copies(self) -> None:
        if self.store.is_shared:
            await self.copies.refresh(self.links, self.clock())

    async def _check_copies(self) -> None:
        if (spoiled := await self.copies.check()) is not None:
            await self._copy_is_spoiled(spoiled, self.clock())

    def _tell_trouble(self) -> None:
        if bool(self.trouble) != bool(self._told):
            _log.log(logging.ERROR if self.trouble else logging.INFO, "%s", self.trouble or "the store works again")
        self._told = self.trouble

    @property
    def trouble(self) -> str:
        """Why the store or the archive takes nothing now, or what failed; empty while all is well."""
        return self._store_work.trouble or self.store.trouble or self._archive_work.trouble

    async def run(self) -> None:
        """Tick, follow the feed, and look after the archive, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_ticking())
            tasks.create_task(self._keep_following())
            tasks.create_task(self._keep_archive())

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.tick()

    async def _keep_archive(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.look_at_archive()

    async def _keep_following(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._bear(self.feed.pump())
            await self._bear(self.follow())

    async def leave(self) -> None:
        """This coordinator ends: let the others know at once."""
        self.relay.stop()
        await self._bear(self.trends.write_down(self.clock()))
        own_id, now_us = self.store.own_id, self.clock()

        def step(writing: Writing) -> None:
            for node in writing.forget_coordinator(own_id, now_us):
                lose(writing, node, now_us)

        if self.store.is_shared:
            await self._bear(self.store.write(step))

    def close_links(self) -> None:
        """Say goodbye to every node, and to who watches, before the coordinator stops."""
        self.closing.set()
        for link in list(self.links.values()):
            link.close("stopping", "the coordinator stops")
