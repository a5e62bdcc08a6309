"""A whole cluster without sockets or clocks, from a seed: links break, nodes and the coordinator crash at any step.

The coordinator's store is the real one on disk and is reopened after each crash; both ends run the real sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from eyeflow.base.machine import Machine
from eyeflow.coordinator.deployments import Draft
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.sqlite_file import Outcome, SqliteFile
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.coordinator.store.sqlite_writing import SqliteWriting
from eyeflow.protocol.messages import (
    Head,
    InstalledRule,
    Manifest,
    RuleResult,
    RuleState,
)
from eyeflow.protocol.opening import Hello
from eyeflow.protocol.session import (
    Accepted,
    Applied,
    Apply,
    Close,
    Connected,
    CoordinatorSession,
    NeedPrograms,
    NodeSession,
    Offer,
    Output,
    Peer,
    Recollected,
    Remember,
    Send,
    Told,
)
from eyeflow.rollout.plan import INSTALL_S, RETURN_S, TERMINAL, Deployment, NodeProgress, NodeState, Rollback

T = TypeVar("T")
RULES = ("pump", "relay")
NODES = ("a", "b", "c")
STEPS = 250
SECOND = 1_000_000
DEADLINE_S = 600


class CrashError(BaseException):
    """The process dies here: nothing in it can catch that."""


class FragileWriting(SqliteWriting):
    """Dies before a chosen write: what was not committed is gone."""

    writes_left = -1

    def _run(self, sql: str, *values: Any) -> int:
        if FragileWriting.writes_left == 0:
            FragileWriting.writes_left = -1
            raise CrashError
        FragileWriting.writes_left -= 1
        return super()._run(sql, *values)


class FragileFile(SqliteFile):
    def _writing(self) -> FragileWriting:
        return FragileWriting(self._db)


class FragileStore(InlineStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file.close()
        self.file = FragileFile(path, Machine())


@dataclass
class Node:
    """A node's disk (`accepted`, `installed`) and its link, when there is one."""

    name: str
    accepted: Accepted = field(default_factory=Accepted)
    installed: frozenset[InstalledRule] = frozenset()
    manifests: dict[int, frozenset[InstalledRule]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    session: NodeSession | None = None
    peer: CoordinatorSession | None = None
    seq: int = 0
    boot: int = 1
    to_node: deque[bytes] = field(default_factory=deque)
    to_coordinator: deque[bytes] = field(default_factory=deque)

    def head(self, seq: int | None = None) -> Head:
        """The end of its audit chain, or an earlier record of it; what it did last makes the hash."""
        at = self.seq if seq is None else seq
        return Head(self.boot.to_bytes(16), 1, at, hashlib.sha256(f"{self.name} {at}".encode()).digest())

    def hang_up(self) -> None:
        self.session = self.peer = None
        self.to_node.clear()
        self.to_coordinator.clear()


class SimLink:
    """What the hub sees of a node's link; what it is offered waits until the simulation takes it."""

    def __init__(self, node: str) -> None:
        self.node, self.offered = node, None

    def offer(self, offer: Offer) -> None:
        self.offered = offer

    def close(self, code: str, reason: str) -> None:
        raise AssertionError(code, reason)


class Simulation:
    def __init__(self, seed: int, path: Path) -> None:
        self.rng = random.Random(seed)
        self.runner = asyncio.Runner()
        self.path = path
        self.now_us = SECOND
        self.nodes = {name: Node(name) for name in NODES}
        self.open()
        self.call(lambda: self.store.write(self.add_nodes))

    def add_nodes(self, writing: Writing) -> None:
        for name in NODES:
            writing.register_node(name, bytes(32), 1)
        self.hub.nodes._renew_manifests(writing, NODES, 1)

    def open(self) -> None:
        FragileWriting.writes_left = -1
        self.store = FragileStore(self.path)
        self.hub = self.runner.run(Hub.started(self.store, lambda: self.now_us, self.rng))

    def close(self) -> None:
        self.runner.close()
        self.store.close()

    def call(self, call: Callable[[], Awaitable[T]]) -> T:
        async def calling() -> T:
            return await call()

        return self.runner.run(calling())

    def look(self, look: Callable[[Reading], T]) -> T:
        return self.store.file.read(look)

    def open_deployments(self) -> list[Deployment]:
        return self.look(lambda reading: reading.open_deployments())

    def crash(self) -> None:
        self.store.close()
        for node in self.nodes.values():
            node.hang_up()
        self.open()

    def run(self) -> None:
        moves = [self.deploy, self.cancel, self.connect, self.disconnect, self.tick, self.coordinator_crash]
        weights = [3, 1, 5, 2, 3, 1]
        for _ in range(STEPS):
            if self.rng.random() < 0.02:
                FragileWriting.writes_left = self.rng.randrange(12)
            move = self.deliver if self.rng.random() < 0.7 else self.rng.choices(moves, weights)[0]
            try:
                move()
                if self.rng.random() < 0.8:  # else what follows waits, and a crash may come before it
                    self.push()
            except CrashError:
                self.crash()
            self.check_always()

    def deploy(self) -> None:
        draft = Draft(
            rule=self.rng.choice(RULES),
            program_id=self.rng.choice("123456") * 64,
            params=(("limit", self.rng.choice([1.0, 2.0])),),
            nodes=tuple(sorted(self.rng.sample(NODES, self.rng.randint(1, len(NODES))))),
            strategy="immediate",
            rollback=self.rng.choice(list(Rollback)),
            deadline_s=DEADLINE_S,
        )
        self.start(draft)

    def start(self, draft: Draft) -> Deployment:
        return self.call(lambda: self.hub.deployments.deploy(draft, self.now_us, "sim"))

    def cancel(self) -> None:
        for deployment in self.open_deployments()[:1]:
            self.call(lambda one=deployment: self.hub.deployments.cancel(one.id, self.now_us, "sim"))  # type: ignore[misc]

    def coordinator_crash(self) -> None:
        raise CrashError

    def tick(self) -> None:
        self.now_us += self.rng.choice([1, 10, INSTALL_S, RETURN_S]) * SECOND
        self.call(self.hub.tick)
        assert self.hub.trouble == ""

    def connect(self) -> None:
        self.dial(self.rng.choice(list(self.nodes.values())))

    def dial(self, node: Node) -> None:
        if node.session is not None:
            return
        self.call(lambda: self.hub.attach(SimLink(node.name)))
        history = self.call(lambda: self.hub.nodes.link_opens(node.name))
        offer = self.call(lambda: self.hub.offer(node.name))
        assert offer is not None
        node.peer = CoordinatorSession(node.name, self.hub.own, offer, known=history.head)
        hello = Hello(1, self.rng.choice([1, 2]), "sim", node.name, node.accepted.version, bytes(32))
        peer = Peer(self.store.coordinator_id, self.store.identity.public_key)
        node.session = NodeSession(hello, peer, node.accepted, node.head(), node.installed)
        self.node_acts(node, node.session.start())

    def disconnect(self) -> None:
        node = self.rng.choice(list(self.nodes.values()))
        if node.session is not None:
            self.hang_up(node)

    def hang_up(self, node: Node) -> None:
        node.hang_up()
        self.call(lambda: self.hub.detach(self.hub.links[node.name]))

    def deliver(self) -> None:
        busy = [node for node in self.nodes.values() if node.to_node or node.to_coordinator]
        if not busy:
            return
        node = self.rng.choice(busy)
        assert node.session is not None and node.peer is not None
        if node.to_node and (not node.to_coordinator or self.rng.random() < 0.5):
            self.node_acts(node, node.session.receive(node.session.read(node.to_node.popleft())))
        else:
            self.coordinator_acts(node, node.peer.receive(node.peer.read(node.to_coordinator.popleft())))

    def push(self) -> None:
        self.call(self.hub.follow)
        for name, link in list(self.hub.links.items()):
            offer, link.offered = link.offered, None  # type: ignore[attr-defined]
            peer = self.nodes[name].peer
            if offer is not None and peer is not None:
                self.coordinator_acts(self.nodes[name], peer.offer(offer))

    def coordinator_acts(self, node: Node, outputs: tuple[Output, ...]) -> None:
        """As `link._Link` does."""
        assert node.peer is not None
        deployments, nodes, now_us = self.hub.deployments, self.hub.nodes, self.now_us
        for output in outputs:
            if isinstance(output, Send):
                if isinstance(output.message, Manifest):
                    version = node.peer.offered_version
                    self.call(lambda version=version: deployments.sent(node.name, version, now_us))  # type: ignore[misc]
                node.to_node.append(node.peer.write(output.message))
            elif isinstance(output, Connected):
                self.call(lambda one=output: nodes.said_hello(node.name, one.hello, one.protocol, now_us))  # type: ignore[misc]
                offer = self.call(lambda: self.hub.offer(node.name))
                assert offer is not None
                self.coordinator_acts(node, node.peer.welcome(offer))
            elif isinstance(output, NeedPrograms):
                lost = dict.fromkeys(output.program_ids, b"program")
                self.coordinator_acts(node, node.peer.deliver(output.manifest_version, lost))
            elif isinstance(output, Applied):
                self.call(lambda one=output: deployments.reported(node.name, one.result, now_us))  # type: ignore[misc]
            elif isinstance(output, Told):
                self.call(lambda one=output: nodes.told(node.name, one.head, now_us))  # type: ignore[misc]
            elif isinstance(output, Recollected):
                self.call(lambda one=output: nodes.recollected(node.name, one.known, one.hash, now_us))  # type: ignore[misc]
            else:
                raise AssertionError(output)

    def node_acts(self, node: Node, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            if isinstance(output, Send):
                assert node.session is not None
                node.to_coordinator.append(node.session.write(output.message))
            elif isinstance(output, Apply):
                self.apply(node, output)
                if node.session is None:
                    return
            elif isinstance(output, Remember):
                assert node.session is not None and output.seq <= node.seq
                self.node_acts(node, node.session.remembered(output, node.head(output.seq).hash))
            else:
                assert not isinstance(output, Close), output

    def apply(self, node: Node, output: Apply) -> None:
        """Apply rule by rule, as `node.cluster.link` does; the node may die between any two."""
        manifest = output.manifest
        node.accepted = Accepted(manifest.version, output.digest)
        wanted = {InstalledRule(one.rule, one.program_id, one.params) for one in manifest.entries}
        node.manifests[manifest.version] = frozenset(wanted)
        results = []
        for one in sorted(node.installed, key=lambda one: one.rule):
            if one.rule not in {entry.rule for entry in wanted}:
                node.installed -= {one}
                node.seq += 1
                results.append(RuleResult(one.rule, "", RuleState.REMOVED))
        node.refused = set()
        for entry in sorted(wanted, key=lambda one: one.rule):
            if self.rng.random() < 0.03:
                self.hang_up(node)  # the node dies half way
                node.boot += 1
                return
            results.append(self.install(node, entry))
        assert node.session is not None
        self.node_acts(node, node.session.applied(tuple(results), node.installed))

    def install(self, node: Node, entry: InstalledRule) -> RuleResult:
        if entry not in node.installed and entry.program_id.startswith("6"):  # a program that every node refuses
            node.refused.add(entry.rule)
            return RuleResult(entry.rule, entry.program_id, RuleState.REFUSED, "not granted")
        node.installed = frozenset({one for one in node.installed if one.rule != entry.rule} | {entry})
        node.seq += 1
        return RuleResult(entry.rule, entry.program_id, RuleState.INSTALLED)

    def check_always(self) -> None:
        """What a node runs of a rule was wanted by some manifest it accepted, and never by two at once."""
        for node in self.nodes.values():
            assert len({one.rule for one in node.installed}) == len(node.installed)
            seen = frozenset().union(*node.manifests.values()) if node.manifests else frozenset()
            assert node.installed <= seen
        for rule in RULES:
            open_nodes = [one.node for of in self.open_deployments() if of.rule == rule for one in self.progress(of)]
            assert len(open_nodes) == len(set(open_nodes)), "two open deployments of a rule share a node"
        for deployment in self.look(lambda reading: reading.deployments(10)):
            counted = Counter(one.state for one in self.progress(deployment))
            assert self.look(lambda reading, one=deployment: reading.counts(one.id)) == counted  # type: ignore[misc]

    def progress(self, deployment: Deployment) -> list[NodeProgress]:
        return self.look(lambda reading: reading.progress(deployment.id))

    def settle(self, offline: frozenset[str] = frozenset()) -> None:
        """Connect everybody but `offline`, deliver everything."""
        FragileWriting.writes_left = -1
        for name, node in self.nodes.items():
            if name in offline and node.session is not None:
                self.hang_up(node)
        for _ in range(5_000):
            for node in self.nodes.values():
                if node.name not in offline:
                    self.dial(node)
            self.push()
            if not any(node.to_node or node.to_coordinator for node in self.nodes.values()):
                break
            self.deliver()
        self.call(self.hub.tick)
        assert self.hub.trouble == ""


def waits_only_for(nodes: list[NodeProgress], offline: frozenset[str]) -> bool:
    waiting = {one.node for one in nodes if one.state in {NodeState.WAITING, NodeState.RETURNING}}
    return bool(waiting) and waiting <= offline


@pytest.mark.parametrize("seed", range(25))
def test_every_deployment_ends_and_every_node_gets_the_whole_manifest(seed: int, tmp_path: Path) -> None:
    simulation = Simulation(seed, tmp_path / "store.sqlite")
    simulation.run()
    offline = frozenset({"b"})
    simulation.settle(offline)
    for deployment in simulation.open_deployments():
        assert waits_only_for(simulation.progress(deployment), offline), deployment
    simulation.now_us += (DEADLINE_S + RETURN_S + 1) * SECOND
    simulation.settle(offline)
    simulation.now_us += (RETURN_S + 1) * SECOND
    simulation.settle(offline)
    assert simulation.open_deployments() == [], "a deadline passed and a deployment is still open"
    assert {one.state for one in simulation.look(lambda reading: reading.deployments(1000))} <= TERMINAL
    simulation.settle()
    for node in simulation.nodes.values():
        targets = simulation.look(lambda reading, name=node.name: reading.wanted(name))  # type: ignore[misc]
        wanted = {InstalledRule(rule, target.program_id, target.params) for rule, target in targets}
        assert {one for one in wanted if one.rule not in node.refused} <= node.installed
        assert {one.rule for one in node.installed} <= {one.rule for one in wanted}
    simulation.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_failed_deployment_leaves_every_node_at_its_last_known_good(seed: int, tmp_path: Path) -> None:
    simulation = Simulation(seed, tmp_path / "store.sqlite")
    good = Draft("pump", "1" * 64, (), NODES, "immediate", Rollback.ON_ERROR)
    simulation.start(good)
    simulation.settle()
    bad = Draft("pump", "6" * 64, (), NODES, "immediate", Rollback.ON_ERROR)
    failed = simulation.start(bad)
    simulation.push()
    for _ in range(seed * 3):
        simulation.deliver()
    simulation.crash()
    simulation.settle()
    ended = simulation.look(lambda reading: reading.deployment(failed.id))
    assert ended is not None and ended.state.value == "failed", ended
    assert "not granted" in ended.reason
    assert all(node.installed == {InstalledRule("pump", "1" * 64)} for node in simulation.nodes.values())
    simulation.close()


def test_control_a_coordinator_that_forgets_is_noticed(tmp_path: Path) -> None:
    """The control: without the store's transaction the same crash does leave a half step."""
    simulation = Simulation(1, tmp_path / "store.sqlite")
    draft = Draft("pump", "1" * 64, (), NODES, "immediate", Rollback.ON_ERROR)

    def left_by_a_crash() -> tuple[int, int]:
        FragileWriting.writes_left = 20
        with pytest.raises(CrashError):
            simulation.start(draft)
        wanted = sum(len(simulation.look(lambda reading, name=name: reading.wanted(name))) for name in NODES)  # type: ignore[misc]
        return wanted, len(simulation.open_deployments())

    assert left_by_a_crash() == (0, 0)
    simulation.store.file._transaction = contextlib.nullcontext  # type: ignore[method-assign]
    simulation.store.file._run = lambda step: Outcome(step(simulation.store.file._writing()))  # type: ignore[method-assign]
    assert left_by_a_crash() != (0, 0)
    simulation.close()
