"""The coordinator's moving parts in one place: the store's users, the open links, the clock that drives deadlines."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from random import Random, SystemRandom
from typing import Protocol

from eyeflow import __version__
from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.coordinator.auth import Challenges, Tokens
from eyeflow.coordinator.fleet import Fleet
from eyeflow.coordinator.registry import Registry
from eyeflow.coordinator.store import Store
from eyeflow.protocol.messages import Status
from eyeflow.protocol.session import Coordinates, Offer

_log = logging.getLogger("eyeflow.coordinator")

TICK_S = 1.0
"""How often open deployments look at their deadlines."""
SEEN_S = 30
"""How often the time a node was last seen is written down; in between it is kept in memory."""

Clock = Callable[[], int]


class OpenLink(Protocol):
    """One connected node, as the hub sees it."""

    node: str

    def offer(self, offer: Offer) -> None:
        """Send a newer manifest."""
        ...

    def close(self, code: str, reason: str) -> None:
        """Close the link, saying why."""
        ...


def wall_clock_us() -> int:
    """Return the time in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def new_deployment_id(random: Random) -> str:
    """Return a fresh id for a deployment."""
    return f"d-{random.randbytes(6).hex()}"


class Hub:
    """Everything the API and the links share. Lives on one event loop; commits are short and happen on it."""

    def __init__(self, store: Store, clock: Clock = wall_clock_us, random: Random | None = None) -> None:
        random = random or SystemRandom()
        self.store = store
        self.clock = clock
        self.fleet = Fleet(store, lambda: new_deployment_id(random))
        self.tokens = Tokens(store, random.randbytes)
        self.registry = Registry(store, self.fleet, self.tokens)
        self.challenges = Challenges(random.randbytes)
        self.checking_program = asyncio.Lock()
        """One at a time, in a thread: nodes are served meanwhile."""
        self.own = Coordinates(store.coordinator_id, f"eyeflow {__version__}", store.identity.sign)
        self.links: dict[str, OpenLink] = {}
        self.health: dict[str, Status] = {}
        self.seen_us: dict[str, int] = {}
        self._written_us: dict[str, int] = {}
        self._told = ""
        """The trouble of the store that the log has told."""
        self.started_us = clock()
        self.fleet.restarted(self.started_us)

    def attach(self, link: OpenLink) -> None:
        """A node's link opened: the newest wins, an older one is closed."""
        older = self.links.pop(link.node, None)
        if older is not None:
            older.close("replaced", "the node opened a newer link")
            self.fleet.disconnected(link.node, self.clock())
        self.links[link.node] = link

    def detach(self, link: OpenLink) -> None:
        """A node's link is gone; nothing to do when a newer one took its place."""
        if self.links.get(link.node) is link:
            del self.links[link.node]
            self.fleet.disconnected(link.node, self.clock())

    def saw(self, node: str, status: Status) -> None:
        """A node told its health. Writing that down each time would be the coordinator's only steady load."""
        now_us = self.clock()
        self.health[node], self.seen_us[node] = status, now_us
        if now_us - self._written_us.get(node, 0) >= SEEN_S * 1_000_000:
            self._written_us[node] = now_us
            self.fleet.seen(node, status.epoch, status.next_seq, now_us)

    def remove(self, node: str, actor: str) -> None:
        """Remove a node from the cluster and close its link."""
        self.registry.remove_node(node, self.clock(), actor)
        for kept in (self.health, self.seen_us, self._written_us):
            kept.pop(node, None)
        link = self.links.get(node)
        if link is not None:
            link.close("removed", "the node was removed from the cluster")

    def send_manifests(self) -> None:
        """Send each changed manifest to its node, when the node is connected."""
        for node in sorted(self.fleet.take_changed()):
            link, offer = self.links.get(node), self.fleet.offer(node)
            if link is not None and offer is not None:
                link.offer(offer)

    def tick(self) -> None:
        """Look at deadlines once; a store that fails now is tried again at the next tick."""
        try:
            self.fleet.tick(self.clock())
            self.send_manifests()
            self.store.check()
        except (EyeflowError, OSError) as error:
            self.store.trouble = error.brief if isinstance(error, EyeflowError) else f"{self.store.path}: {why(error)}"
        if bool(self.trouble) != bool(self._told):
            _log.log(logging.ERROR if self.trouble else logging.INFO, "%s", self.trouble or "the store works again")
        self._told = self.trouble

    @property
    def trouble(self) -> str:
        """Why the store takes nothing now; empty while it does."""
        return self.store.trouble

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    def close_links(self) -> None:
        """Say goodbye to every node before the coordinator stops."""
        for link in list(self.links.values()):
            link.close("stopping", "the coordinator stops")
