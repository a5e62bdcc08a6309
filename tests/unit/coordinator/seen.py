"""A coordinator without sockets, in memory but for its store, with two nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from eyeflow.coordinator.choosing import Where
from eyeflow.coordinator.drafts import Change, Draft
from eyeflow.coordinator.histories import History
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.protocol.messages import Head, ManifestResult, RuleResult, RuleState
from eyeflow.rollout.deployment import Deployment, NodeProgress, Rollback

PROGRAM, OLDER_PROGRAM = "1" * 64, "2" * 64

T = TypeVar("T")


class Seen:
    """A coordinator without sockets, over a real store, with the nodes a and b; links are up unless said otherwise."""

    def __init__(self, path: Path) -> None:
        self.path, self.now_us = path, 1_000_000
        self.runner = asyncio.Runner()
        self.start()
        for name in "ab":
            outcome = self.store.file.commit([partial(add_node, hub=self.hub, name=name)])[0]
            assert outcome.error is None, outcome.error

    def start(self) -> None:
        self.store = InlineStore(self.path)
        self.hub = self.runner.run(Hub.started(self.store, lambda: self.now_us, lambda: self.now_us))
        for name in "ab":
            self.run(lambda name=name: self.hub.nodes.link_opens(name))  # type: ignore[misc]

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        async def working() -> T:
            done = await call()
            await self.hub.follow()
            return done

        return self.runner.run(working())

    def close(self) -> None:
        self.runner.close()
        self.store.close()

    def look(self, look: Callable[[Reading], T]) -> T:
        return self.store.file.read(look)

    def restart(self) -> None:
        """The coordinator is killed and starts again."""
        self.store.close()
        self.start()

    def tick(self) -> None:
        self.run(self.hub.tick)

    def history(self, node: str = "a") -> History:
        """What is known of a node: in memory, before it is written down."""
        return self.hub.nodes._history(node)

    def told(self, *heads: Head, node: str = "a") -> History:
        for one in heads:
            self.now_us += 1_000_000
            self.run(lambda one=one: self.hub.nodes.told(node, one, self.now_us))  # type: ignore[misc]
        return self.history(node)

    def recollected(self, known: Head, record_hash: bytes) -> list[str]:
        self.run(lambda: self.hub.nodes.recollected("a", known, record_hash, self.now_us))
        return [one.kind.value for one in self.history().findings]

    def accept(self, node: str) -> None:
        self.run(lambda: self.hub.nodes.accept(node, self.now_us, "admin"))

    def deploy(
        self, program_id: str | None = PROGRAM, rollback: Rollback = Rollback.ON_ERROR, nodes: str = "ab"
    ) -> Deployment:
        draft = Draft((Change("pump", program_id),), Where(tuple(nodes)), "immediate", rollback)
        return self.run(lambda: self.hub.deployments.deploy(draft, self.now_us, "test"))

    def answer(self, node: str, program_id: str = PROGRAM) -> None:
        """It does what it is told: runs this program, or nothing if that is empty."""
        version = self.look(lambda reading: reading.node(node).manifest_version)  # type: ignore[union-attr]
        state = RuleState.INSTALLED if program_id else RuleState.REMOVED
        result = ManifestResult(version, (RuleResult("pump", program_id, state),))
        self.run(lambda: self.hub.deployments.reported(node, result, self.now_us))

    def progress(self, deployment: Deployment) -> dict[str, NodeProgress]:
        return {one.node: one for one in self.look(lambda reading: reading.progress(deployment.id))}

    def now(self, deployment: Deployment) -> Deployment:
        found = self.look(lambda reading: reading.deployment(deployment.id))
        assert found is not None
        return found

    def states(self, deployment: Deployment) -> tuple[str, list[str]]:
        return self.now(deployment).state.value, [one.state.value for one in self.progress(deployment).values()]


def add_node(writing: Writing, hub: Hub, name: str) -> None:
    writing.register_node(name, bytes(32), 1)
    hub.nodes._renew_manifests(writing, [name], 1)
