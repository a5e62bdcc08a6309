"""Nodes of the cluster: joining, leaving, and what they tell of themselves while their link is up.

What a node tells in passing (when it was seen, where its audit chain ends) stays in memory and is written down with the
next tick: written each time, it would be the coordinator's only steady load. What contradicts a node's history is
written before anything follows from it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace

from eyeflow.coordinator.boards import JoiningBoard, let_join
from eyeflow.coordinator.choosing import check_labels, found_node
from eyeflow.coordinator.deployments import disown, drop_node
from eyeflow.coordinator.histories import (
    NEXT_STEPS,
    Contradiction,
    Dial,
    Doubt,
    History,
    judge,
    recollected,
    went_back,
)
from eyeflow.coordinator.judging import tally_of
from eyeflow.coordinator.manifests import WantedSets
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.rates import Rates
from eyeflow.coordinator.room import check_room
from eyeflow.coordinator.standings import Standings
from eyeflow.coordinator.store.cluster_store import ClusterStore, Writing
from eyeflow.coordinator.store.facts import EvidenceRow, Kept, LogEntry, NodeRecord
from eyeflow.coordinator.tokens import NEW_JOIN_TOKEN, NODE_ACTOR, check_join_token, use_join_token
from eyeflow.protocol.identity import verifies
from eyeflow.protocol.messages import Evidence, EvidenceStanding, Head, Status, join_bytes
from eyeflow.protocol.node_facts import facts_in
from eyeflow.protocol.opening import Hello
from eyeflow.protocol.versions import VERSIONS
from eyeflow.rollout.deployment import NODES_MAX

_log = logging.getLogger("eyeflow.coordinator")


class Nodes:
    """The nodes in `store`, and in memory what those with a link told last."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self.health: dict[str, Status] = {}
        self.seen_us: dict[str, int] = {}
        self.rates: dict[str, Rates] = {}
        self.standings = Standings(is_shared=store.is_shared)
        self._told_us: dict[str, int] = {}
        self._taken_back: dict[str, frozenset[tuple[str, str, str]]] = {}
        self._histories: dict[str, History] = {}
        self._unwritten: set[str] = set()

    async def join(self, token: str, name: str, public_key: bytes, signature: bytes, now_us: int) -> None:
        """Register a node's key under a name. The same name with the same key is fine, with another key refused.

        A node whose answer was lost may ask again with its token; the token registers nothing but the key it did.
        """
        if not verifies(public_key, join_bytes(self._store.coordinator_id, name, public_key), signature):
            raise Problem("bad_signature", "The signature does not prove that the node holds its key.")
        # Before anything waits for the disk: whoever has no token must not make others wait.
        await self._store.read(lambda reading: check_join_token(reading, token, name, now_us))

        def step(writing: Writing) -> bool:
            is_fresh = use_join_token(writing, token, name, now_us)
            known = writing.node(name)
            _check_key(name, public_key, known, is_fresh)
            if known is None:
                check_room(writing, Kept.NODES, NODES_MAX)
                writing.register_node(name, public_key, now_us)
                self._renew_manifests(writing, [name], now_us)
            elif is_fresh:
                _accept(writing, name, now_us, f"{NODE_ACTOR}{name}")
                self._overtake(writing, name, now_us)
            writing.add_log_entry(LogEntry(now_us, f"{NODE_ACTOR}{name}", "join", name))
            return is_fresh

        if await self._store.write(step):  # somebody gave it a new token: what it has now is right
            await self._forget_history(name)

    async def join_board(self, gateway: str, board: JoiningBoard, now_us: int) -> None:
        """Let a node join that is a board behind the node `gateway`, which has proved who it is. Raises Problem."""

        def step(writing: Writing) -> None:
            if let_join(writing, gateway, board, now_us):
                self._renew_manifests(writing, [board.name], now_us)

        await self._store.write(step)

    async def remove(self, name: str, now_us: int, actor: str) -> None:
        """Remove a node: its key opens no link any more. Raises Problem 404."""

        def step(writing: Writing) -> None:
            found_node(writing, name)
            drop_node(writing, name, now_us)
            writing.remove_node(name, now_us)
            writing.add_log_entry(LogEntry(now_us, actor, "remove_node", name))

        await self._store.write(step)
        self.forget_health(name)
        self._histories.pop(name, None)
        self._unwritten.discard(name)

    def label(self, name: str, labels: Mapping[str, str], now_us: int, actor: str) -> Awaitable[None]:
        """Make these the labels of a node. Raises Problem 404, and 422 for names that no label may have."""
        check_labels(labels)

        def step(writing: Writing) -> None:
            found_node(writing, name)
            writing.set_labels(name, labels, now_us)
            told = " ".join(f"{key}={value}" for key, value in sorted(labels.items()))
            writing.add_log_entry(LogEntry(now_us, actor, "label_node", name, told))

        return self._store.write(step)

    async def accept(self, name: str, now_us: int, actor: str) -> None:
        """Take the history that the node has now for the right one, whatever was seen of it before."""

        def step(writing: Writing) -> None:
            found_node(writing, name)
            if not writing.history(name).findings:
                writing.add_log_entry(LogEntry(now_us, actor, "accept_node", name, "nothing was in doubt"))
            _accept(writing, name, now_us, actor)
            self._overtake(writing, name, now_us)

        await self._store.write(step)
        await self._forget_history(name)

    async def is_ahead(self, name: str, manifest_version: int, now_us: int) -> None:
        """The node has accepted a manifest that this store never knew: the store is an older copy."""
        if await self._store.read(lambda reading: reading.ahead(name)) != manifest_version:
            _log.error(
                "node %s has manifest %d, which this store never knew: is the store an old copy? What the node runs "
                "stays. To send it what the store knows: eyeflow nodes accept %s",
                *(name, manifest_version, name),
            )
            await self._store.write(lambda writing: writing.record_ahead(name, manifest_version, now_us))

    def _overtake(self, writing: Writing, name: str, now_us: int) -> None:
        """Let the next manifest of a node be newer than the one it has: it refuses any other, for ever.

        Any coordinator may be asked to, so how far the node is ahead stands in the store.
        """
        if version := writing.ahead(name):
            writing.raise_manifest_version(name, version)
            writing.record_ahead(name, 0, now_us)
            self._renew_manifests(writing, [name], now_us)

    async def _forget_history(self, name: str) -> None:
        if name in self._histories:
            self._histories[name] = await self._store.read(lambda reading: reading.history(name))

    async def link_opens(self, name: str) -> History:
        """A node's link is about to open: read what is known of its audit chain, and return it."""
        # Another coordinator may have held the last link: what it saw of the node counts.
        if name not in self._histories or (self._store.is_shared and name not in self._unwritten):
            self._histories[name] = await self._store.read(lambda reading: reading.history(name))
        return self._histories[name]

    async def refresh(self, name: str) -> None:
        """Another coordinator may have changed what is known of the node: judge it by that."""
        if name not in self._histories:
            return
        history = await self._store.read(lambda reading: reading.history(name))
        if name in self._histories:
            ours = self._histories[name]
            self._histories[name] = ours.with_quarantine(history.by_hand) if name in self._unwritten else history

    def forget_health(self, name: str) -> None:
        """The node's link is gone: what it tells next, it may tell another coordinator."""
        for kept in (self.health, self.seen_us, self.rates, self._told_us, self._taken_back):
            kept.pop(name, None)
        self.standings.forget(name)

    async def link_closed(self, name: str, now_us: int) -> None:
        """A node's link is gone: it may come back as an old copy, so how far it had come is kept now.

        It stays in memory, too: the node's next link may be opening at this moment, and judges by it.
        """
        await self._write_histories([name], now_us)

    async def said_hello(self, name: str, hello: Hello, protocol: int, now_us: int) -> None:
        """The node's link is up and speaks `protocol`: its manifest is signed anew unless it has that form."""
        facts = facts_in(hello)
        known = await self._store.read(lambda reading: reading.node(name))
        if known is not None and hello.manifest_version < known.applied_version:
            await self._find(name, [went_back(known.applied_version, hello.manifest_version)], now_us)

        def step(writing: Writing) -> None:
            writing.record_hello(name, hello.software, protocol, now_us, facts)
            manifest = writing.manifest(name)
            if manifest is not None and not VERSIONS[protocol].wrote(manifest.body):
                self._renew_manifests(writing, [name], now_us)

        await self._store.write(step)

    def saw(self, name: str, status: Status, now_us: int) -> None:
        """The node told its health."""
        if name in self._histories:  # else it was removed, and this is the last that its link brought
            self.health[name], self.seen_us[name] = status, now_us
            self.rates.setdefault(name, Rates()).saw(status, now_us)
            self.standings.saw(name, status)

    async def told(self, name: str, head: Head, now_us: int, address: str = "", dialled_us: int = 0) -> None:
        """The node told where its audit chain ends, over a link from `address` that opened at `dialled_us`."""
        if name not in self._histories:
            return  # as in `saw`: the next node of this name must not be judged by it
        before = self._history(name)
        history, found = judge(before.with_dial(Dial(head.boot, address, dialled_us)), head)
        self._keep(name, history)
        if history.boots != before.boots or found:
            await self._find(name, found, now_us)

    async def recollected(self, name: str, known: Head, record_hash: bytes, now_us: int) -> None:
        """The node told the hash of its record `known.seq`; `known` is what the coordinator had seen under it."""
        if found := recollected(known, record_hash):
            self._keep(name, replace(self._history(name), head=known))
            await self._find(name, found, now_us)

    async def history(self, name: str) -> History:
        """Return what is known of a node, whoever holds its link."""
        if name in self._histories and not self._store.is_shared:
            return self._histories[name]
        return await self._store.read(lambda reading: reading.history(name))

    def is_doubtful(self, name: str) -> bool:
        """Return whether what the node says of itself counts for nothing now."""
        return self._history(name).doubtful

    async def contradicted(self, name: str, found: Contradiction, now_us: int) -> None:
        """The audit records that the node sent contradict themselves, or those that are kept."""
        if name in self._histories:
            await self._find(name, [found], now_us)

    async def quarantine(self, name: str, reason: str, now_us: int, actor: str) -> None:
        """Let nothing count that the node says, whatever its history, until somebody accepts it. Raises Problem 404."""
        found = Contradiction(Doubt.QUARANTINED, f"{actor} set it aside" + (f": {reason}" if reason else ""))

        def step(writing: Writing) -> None:
            found_node(writing, name)
            writing.set_quarantine(name, writing.history(name).with_findings([found], now_us).by_hand, now_us)
            disown(writing, name, now_us)
            writing.add_log_entry(LogEntry(now_us, actor, "quarantine_node", name, reason))

        await self._store.write(step)
        if name in self._histories:
            self._histories[name] = self._histories[name].with_findings([found], now_us)

    async def troubled(self, name: str, problem: str, now_us: int) -> None:
        """The node's link was refused or closed for a reason that people should see."""
        await self._store.write(lambda writing: writing.record_problem(name, problem, now_us))

    async def write_down(self, now_us: int) -> None:
        """Make durable what nodes told in passing since the last time."""
        await self._write_histories(sorted(self._unwritten), now_us)
        if due := self.standings.due(self.health, self.seen_us, self.rates, now_us):
            await self._store.write(lambda writing: writing.record_seen(due))
            self.standings.wrote()
        await self._write_evidence(now_us)

    async def _write_evidence(self, now_us: int) -> None:
        """Only what an open deployment is judged by, and what a node takes back.

        Written for all rules, it would be a load that never ends.
        """
        new = {name: seen_us for name, seen_us in self.seen_us.items() if seen_us != self._told_us.get(name)}
        watched = await self._store.read(lambda reading: reading.watched_rules()) if new else frozenset()
        told = {
            name: evidence_rows(name, self.health[name].evidence, seen_us)
            for name, seen_us in new.items()
            if name in self.health  # else its link ended meanwhile
        }
        found = [row for rows in told.values() for row in rows if row.rule in watched]
        if found:
            await self._store.write(lambda writing: writing.record_evidence(found))
        await self._write_taken_back(told, now_us)
        self._told_us |= {name: seen_us for name, seen_us in new.items() if name in self.health}

    async def _write_taken_back(self, told: Mapping[str, Sequence[EvidenceRow]], now_us: int) -> None:
        """No deployment may be open any more that would hear of it: people see it in what the node runs.

        One step for all nodes: a bad program is taken back by many at once.
        """
        back = {
            name: [one for one in rows if one.standing == EvidenceStanding.ROLLED_BACK.value]
            for name, rows in told.items()
        }
        keys = {
            name: frozenset((one.rule, one.slot, one.deployment_id) for one in found) for name, found in back.items()
        }
        news = {name: found for name, found in back.items() if found and keys[name] != self._taken_back.get(name)}

        def step(writing: Writing) -> None:
            for name, found in news.items():
                writing.record_taken_back(name, found, now_us)

        if news:
            await self._store.write(step)
        self._taken_back |= {name: one for name, one in keys.items() if name in self.health}

    def evidence_of(self, rules: frozenset[str]) -> list[EvidenceRow]:
        """Return what nodes told last of the programs of these rules."""
        return [
            row
            for name, status in self.health.items()
            for row in evidence_rows(name, status.evidence, self.seen_us[name])
            if row.rule in rules
        ]

    def signers_changed(self, writing: Writing, now_us: int) -> None:
        """Give every node a manifest that names the signers that are trusted now."""
        self._renew_manifests(writing, writing.node_names(), now_us)

    def _renew_manifests(self, writing: Writing, names: Sequence[str], now_us: int) -> None:
        wanted = WantedSets(self._store, writing, now_us)
        for name in names:
            wanted.touch(name)
        wanted.sign()

    def _history(self, name: str) -> History:
        return self._histories.get(name, History())

    def _keep(self, name: str, history: History) -> None:
        if history != self._histories.get(name):
            self._histories[name] = history
            self._unwritten.add(name)

    async def _find(self, name: str, found: Sequence[Contradiction], now_us: int) -> None:
        """Keep a finding before anything follows from it, then let the open deployments of the node see it."""
        before = self._history(name)
        for kind, evidence, _ in found:
            if kind not in {one.kind for one in before.findings}:
                _log.warning("node %s: %s. %s", name, evidence, NEXT_STEPS[kind].format(node=name))
        self._keep(name, before.with_findings(found, now_us))
        await self._write_histories([name], now_us)

    async def _write_histories(self, names: Sequence[str], now_us: int) -> None:
        """What is not committed stays to be written with the next tick."""
        histories = {name: self._histories[name] for name in names if name in self._unwritten}
        if not histories:
            return

        def step(writing: Writing) -> None:
            writing.record_histories(histories, now_us)
            for name, history in histories.items():
                if history.doubtful:
                    disown(writing, name, now_us)

        await self._store.write(step)
        self._unwritten -= {name for name, history in histories.items() if self._histories.get(name) is history}


def evidence_rows(node: str, evidence: Iterable[Evidence], seen_us: int) -> list[EvidenceRow]:
    """Return what a node's Evidence says, as outcomes.

    Of what it tells twice the failure counts: a node that contradicts itself must not stop the coordinator.
    """
    found: dict[tuple[str, str, str], EvidenceRow] = {}
    for one in sorted(evidence, key=lambda told: told.standing is EvidenceStanding.ROLLED_BACK):
        place = (one.rule, one.slot.value, one.program_id, one.deployment_id)
        numbers = (tally_of(one), one.pending, one.differing, one.boots)
        row = EvidenceRow(node, *place, *numbers, one.standing.value, one.reason, seen_us)
        found[row.rule, row.slot, row.deployment_id] = row
    return list(found.values())


def _check_key(name: str, public_key: bytes, known: NodeRecord | None, is_fresh: bool) -> None:
    if not is_fresh and (known is None or known.public_key != public_key):
        raise Problem("bad_join_token", "The join token was used, and not by a node with this key.", NEW_JOIN_TOKEN)
    if known is not None and known.public_key != public_key:
        raise Problem(
            "node_exists",
            f"A node named {name} with another key is in the cluster.",
            f"choose another name, or remove it first: eyeflow nodes forget {name}",
        )


def _accept(writing: Writing, name: str, now_us: int, actor: str) -> None:
    for finding in writing.history(name).findings:
        text = f"{finding.kind.value}: {finding.evidence}"
        writing.add_log_entry(LogEntry(now_us, actor, "accept_node", name, text))
    writing.forget_applied(name)
    writing.set_quarantine(name, None, now_us)
    writing.record_histories({name: History()}, now_us)
