"""A whole cluster without sockets or clocks, from a seed: links break, nodes and the coordinator crash at any step.

The coordinator's store is the real one on disk and is reopened after each crash; both ends run the real sessions.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eyeflow.coordinator.fleet import Draft, Fleet
from eyeflow.coordinator.store import Store
from eyeflow.protocol.messages import (
    Head,
    Hello,
    InstalledRule,
    Manifest,
    RuleResult,
    RuleState,
    decode_message,
    encode_message,
)
from eyeflow.protocol.session import (
    Accepted,
    Applied,
    Apply,
    Close,
    Connected,
    Coordinates,
    CoordinatorSession,
    NeedPrograms,
    NodeSession,
    Output,
    Peer,
    Recollected,
    Remember,
    Send,
    Told,
)
from eyeflow.rollout.plan import INSTALL_S, RETURN_S, TERMINAL, Deployment, NodeState, Rollback

RULES = ("pump", "relay")
NODES = ("a", "b", "c")
STEPS = 250
SECOND = 1_000_000
DEADLINE_S = 600


class CrashError(Exception):
    """The process dies here."""


class FragileStore(Store):
    """The real store, which dies before a chosen write: what was not committed is gone."""

    writes_left = -1

    def run(self, sql: str, values: Any = ()) -> int:
        if self.writes_left == 0:
            self.writes_left = -1
            raise CrashError
        self.writes_left -= 1
        return super().run(sql, values)


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


class Simulation:
    def __init__(self, seed: int, path: Path) -> None:
        self.rng = random.Random(seed)
        self.path = path
        self.now_us = SECOND
        self.made = 0
        self.nodes = {name: Node(name) for name in NODES}
        self.open()
        with self.store.transaction():
            for name in NODES:
                self.store.run("INSERT INTO nodes(name, public_key, joined_us) VALUES(?, ?, 1)", (name, bytes(32)))
                self.fleet.node_joined(name, 1)

    def open(self) -> None:
        self.store = FragileStore(self.path)
        self.fleet = Fleet(self.store, self.new_id)
        self.own = Coordinates(self.store.coordinator_id, "sim", self.store.identity.sign)
        self.fleet.restarted(self.now_us)

    def new_id(self) -> str:
        self.made += 1
        return f"d-{self.made}"

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
                self.store.writes_left = self.rng.randrange(6)
            move = self.deliver if self.rng.random() < 0.7 else self.rng.choices(moves, weights)[0]
            try:
                move()
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
        self.fleet.deploy(draft, self.now_us, "sim")

    def cancel(self) -> None:
        for deployment in self.fleet.open()[:1]:
            self.fleet.cancel(deployment, self.now_us, "sim")

    def coordinator_crash(self) -> None:
        raise CrashError

    def tick(self) -> None:
        self.now_us += self.rng.choice([1, 10, INSTALL_S, RETURN_S]) * SECOND
        self.fleet.tick(self.now_us)

    def connect(self) -> None:
        self.dial(self.rng.choice(list(self.nodes.values())))

    def dial(self, node: Node) -> None:
        if node.session is not None:
            return
        offer = self.fleet.offer(node.name)
        assert offer is not None
        node.peer = CoordinatorSession(node.name, self.own, offer, known=self.fleet.heads.of(node.name).head)
        installed = tuple(sorted(node.installed, key=lambda one: one.rule))
        hello = Hello(1, 2, "sim", node.name, 1, node.seq + 1, node.accepted.version, bytes(32), installed)
        peer = Peer(self.store.coordinator_id, self.store.identity.public_key)
        node.session = NodeSession(hello, peer, node.accepted, node.head())
        self.node_acts(node, node.session.start())

    def disconnect(self) -> None:
        node = self.rng.choice(list(self.nodes.values()))
        if node.session is not None:
            node.hang_up()
            self.fleet.disconnected(node.name, self.now_us)

    def deliver(self) -> None:
        busy = [node for node in self.nodes.values() if node.to_node or node.to_coordinator]
        if not busy:
            return
        node = self.rng.choice(busy)
        assert node.session is not None and node.peer is not None
        if node.to_node and (not node.to_coordinator or self.rng.random() < 0.5):
            self.node_acts(node, node.session.receive(decode_message(node.to_node.popleft())))
        else:
            self.coordinator_acts(node, node.peer.receive(decode_message(node.to_coordinator.popleft())))

    def push(self) -> None:
        for name in sorted(self.fleet.take_changed()):
            node, offer = self.nodes[name], self.fleet.offer(name)
            assert offer is not None
            if node.peer is not None:
                self.coordinator_acts(node, node.peer.offer(offer))

    def coordinator_acts(self, node: Node, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            if isinstance(output, Send):
                node.to_node.append(encode_message(output.message))
                if isinstance(output.message, Manifest):
                    assert node.peer is not None
                    self.fleet.manifest_sent(node.name, node.peer.offered_version, self.now_us)
            elif isinstance(output, Connected):
                self.fleet.said_hello(node.name, output.hello, self.now_us)
            elif isinstance(output, NeedPrograms):
                assert node.peer is not None
                lost = dict.fromkeys(output.program_ids, b"program")
                self.coordinator_acts(node, node.peer.deliver(output.manifest_version, lost))
            elif isinstance(output, Applied):
                self.fleet.applied(node.name, output.result, self.now_us)
            elif isinstance(output, Told):
                self.fleet.told(node.name, output.head, self.now_us)
            elif isinstance(output, Recollected):
                self.fleet.recollected(node.name, output.known, output.hash, self.now_us)
            else:
                raise AssertionError(output)

    def node_acts(self, node: Node, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            if isinstance(output, Send):
                node.to_coordinator.append(encode_message(output.message))
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
                node.hang_up()  # the node dies half way
                node.boot += 1
                self.fleet.disconnected(node.name, self.now_us)
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
            open_nodes = [p.node for d in self.fleet.open() if d.rule == rule for p in d.nodes]
            assert len(open_nodes) == len(set(open_nodes)), "two open deployments of a rule share a node"

    def settle(self, offline: frozenset[str] = frozenset()) -> None:
        """Connect everybody but `offline`, deliver everything."""
        self.store.writes_left = -1
        for name, node in self.nodes.items():
            if name in offline and node.session is not None:
                node.hang_up()
                self.fleet.disconnected(name, self.now_us)
        for _ in range(5_000):
            for node in self.nodes.values():
                if node.name not in offline:
                    self.dial(node)
            self.push()
            if not any(node.to_node or node.to_coordinator for node in self.nodes.values()):
                break
            self.deliver()
        self.fleet.tick(self.now_us)


def waits_only_for(deployment: Deployment, offline: frozenset[str]) -> bool:
    waiting = {one.node for one in deployment.nodes if one.state in {NodeState.WAITING, NodeState.RETURNING}}
    return bool(waiting) and waiting <= offline


@pytest.mark.parametrize("seed", range(25))
def test_every_deployment_ends_and_every_node_gets_the_whole_manifest(seed: int, tmp_path: Path) -> None:
    simulation = Simulation(seed, tmp_path / "store.sqlite")
    simulation.run()
    offline = frozenset({"b"})
    simulation.settle(offline)
    for deployment in simulation.fleet.open():
        assert waits_only_for(deployment, offline), deployment
    simulation.now_us += (DEADLINE_S + RETURN_S + 1) * SECOND
    simulation.settle(offline)
    simulation.now_us += (RETURN_S + 1) * SECOND
    simulation.settle(offline)
    assert simulation.fleet.open() == [], "a deadline passed and a deployment is still open"
    assert {one.state for one in simulation.fleet.deployments(1000)} <= TERMINAL
    simulation.settle()
    for node in simulation.nodes.values():
        wanted = {
            InstalledRule(rule, target.program_id, target.params) for rule, target in simulation.fleet.wanted(node.name)
        }
        assert {one for one in wanted if one.rule not in node.refused} <= node.installed
        assert {one.rule for one in node.installed} <= {one.rule for one in wanted}
    simulation.store.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_failed_deployment_leaves_every_node_at_its_last_known_good(seed: int, tmp_path: Path) -> None:
    simulation = Simulation(seed, tmp_path / "store.sqlite")
    good = Draft("pump", "1" * 64, (), NODES, "immediate", Rollback.ON_ERROR)
    simulation.fleet.deploy(good, simulation.now_us, "sim")
    simulation.settle()
    bad = Draft("pump", "6" * 64, (), NODES, "immediate", Rollback.ON_ERROR)
    failed = simulation.fleet.deploy(bad, simulation.now_us, "sim")
    simulation.push()
    for _ in range(seed * 3):
        simulation.deliver()
    simulation.crash()
    simulation.settle()
    ended = simulation.fleet.deployment(failed.id)
    assert ended is not None and ended.state.value == "failed", ended
    assert "not granted" in ended.reason
    assert all(node.installed == {InstalledRule("pump", "1" * 64)} for node in simulation.nodes.values())
    simulation.store.close()


def test_control_a_coordinator_that_forgets_is_noticed(tmp_path: Path) -> None:
    """The control: without the store's transaction the same crash does leave a half step."""
    simulation = Simulation(1, tmp_path / "store.sqlite")
    draft = Draft("pump", "1" * 64, (), NODES, "immediate", Rollback.ON_ERROR)

    def without(fragile: bool) -> tuple[int, int]:
        simulation.store.writes_left = 6 if fragile else -1
        with pytest.raises(CrashError):
            simulation.fleet.deploy(draft, simulation.now_us, "sim")
        wanted = sum(len(simulation.fleet.wanted(name)) for name in NODES)
        return wanted, len(simulation.fleet.open())

    assert without(True) == (0, 0)
    simulation.store._depth = 1  # pretends that somebody else commits: statements take effect one by one
    wanted, deployments = without(True)
    assert (wanted, deployments) != (0, 0)
    simulation.store._depth = 0
    simulation.store.close()
