"""Where the audit chain of each node ended when it was seen last, and what contradicts that: copies, and lost stores.

A node acknowledges nothing before it is durable, so its chain never ends earlier than it did. One that does is an old
copy of its disk. Two chains with another record under one number are a fork. A start of a node's process that speaks
again after a later start had taken over is a second process with the same key (docs/reference/link-protocol.md).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from eyeflow.coordinator.store import Store
from eyeflow.protocol.messages import BOOT_BYTES, Head

_log = logging.getLogger("eyeflow.coordinator")

BOOTS_MAX = 64
"""Starts of a node's process that are remembered, to know one that speaks again."""
HASH_DIGITS = 12
"""Digits of a hash that people are shown."""


class Doubt(Enum):
    """What contradicts a node's history. All but NEW_EPOCH mean that what the node says of itself cannot count."""

    OLDER = "older"
    FORKED = "forked"
    TWINS = "twins"
    NEW_EPOCH = "newEpoch"


_ACCEPT = "eyeflow nodes {node} --accept"
NEXT_STEPS = {
    Doubt.OLDER: "This is an old copy of the node's data. Stop it and bring the newer data back, "
    f"or go on with what it has now: {_ACCEPT}",
    Doubt.FORKED: "A copy of this node's data has run. Stop the wrong one, give it a name and a data_dir of its own, "
    f"then: {_ACCEPT}",
    Doubt.TWINS: "Two machines or processes use this node's key. Stop one, give it a name and a data_dir of its own, "
    f"then: {_ACCEPT}",
    Doubt.NEW_EPOCH: "Its state and its records from before are gone. Look at its disk and its log, "
    f"then confirm: {_ACCEPT}",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction: since when it is known, when it showed last (microseconds since 1970 UTC), and the proof."""

    kind: Doubt
    since_us: int
    last_us: int
    evidence: str

    @property
    def blocks(self) -> bool:
        """Whether results of this node count as failed: nobody knows which copy they are of."""
        return self.kind is not Doubt.NEW_EPOCH


@dataclass(frozen=True, slots=True)
class History:
    """What is known of one node: its highest head (without `boot`); the starts of its process, the present one last."""

    head: Head | None = None
    boots: tuple[bytes, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether a finding blocks."""
        return any(finding.blocks for finding in self.findings)


def judge(history: History, head: Head) -> tuple[History, Sequence[tuple[Doubt, str]]]:
    """Return the history after the node told `head`, and what contradicts it.

    The highest head stays while the node is in doubt: it is the evidence, until somebody accepts what the node has.
    """
    boots, found = _started(history.boots, head.boot)
    found += _compared(history.head, head)
    doubtful = history.doubtful or any(kind is not Doubt.NEW_EPOCH for kind, _ in found)
    known = history.head if doubtful and history.head is not None else replace(head, boot=b"")
    return replace(history, head=known, boots=boots), found


def _started(boots: tuple[bytes, ...], boot: bytes) -> tuple[tuple[bytes, ...], list[tuple[Doubt, str]]]:
    if not boot or boots[-1:] == (boot,):
        return boots, []
    others = tuple(one for one in boots if one != boot)
    newer = (*others, boot)[-BOOTS_MAX:]
    if boot not in boots:
        return newer, []
    text = f"its process {boot.hex()[:8]} spoke again after its process {boots[-1].hex()[:8]} had taken its place"
    return newer, [(Doubt.TWINS, text)]


def _compared(known: Head | None, head: Head) -> list[tuple[Doubt, str]]:
    if known is None:
        return []
    if head.epoch > known.epoch:
        text = f"it lost its store: epoch {known.epoch} ended at record {known.seq}, now epoch {head.epoch}"
        return [(Doubt.NEW_EPOCH, text)]
    if head.epoch < known.epoch:
        return [(Doubt.OLDER, f"it is in epoch {head.epoch}, and was in epoch {known.epoch} before")]
    if head.seq < known.seq:
        return [(Doubt.OLDER, f"its last record is {head.seq}, and was {known.seq} before (epoch {known.epoch})")]
    if head.seq == known.seq and known.hash and head.hash and head.hash != known.hash:
        return [(Doubt.FORKED, _fork(known, head.hash))]
    return []


def _fork(known: Head, record_hash: bytes) -> str:
    here, before = record_hash.hex()[:HASH_DIGITS], known.hash.hex()[:HASH_DIGITS]
    return f"its record {known.seq} (epoch {known.epoch}) has the hash {here}, and had {before} before"


class Heads:
    """The histories of all nodes, read once and kept in memory; `write` makes durable what has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = _load(store)
        self._changed: set[str] = set()

    def of(self, node: str) -> History:
        """Return what is known of a node."""
        return self._known.get(node, History())

    def reason(self, node: str) -> str:
        """Return why results of this node cannot count, empty when they do."""
        return "; ".join(f"in doubt: {one.evidence}" for one in self.of(node).findings if one.blocks)

    def in_doubt(self) -> int:
        """Return how many nodes have a finding that blocks."""
        return sum(history.doubtful for history in self._known.values())

    def told(self, node: str, head: Head, now_us: int) -> bool:
        """The node told where its chain ends; returns whether that must be durable at once, not with the next tick."""
        before = self.of(node)
        history, found = judge(before, head)
        self._keep(node, history)
        self._find(node, found, now_us)
        return bool(found) or history.boots != before.boots

    def recollected(self, node: str, known: Head, record_hash: bytes, now_us: int) -> bool:
        """The node told the hash of its record `known.seq`; `known` is what the coordinator had seen under it."""
        if not record_hash or record_hash == known.hash:
            return False
        self._keep(node, replace(self.of(node), head=known))
        self._find(node, [(Doubt.FORKED, _fork(known, record_hash))], now_us)
        return True

    def went_back(self, node: str, applied_version: int, version: int, now_us: int) -> None:
        """The node once applied manifest `applied_version` and now knows only an older one."""
        text = f"it knows manifest {version}, and had applied manifest {applied_version} before"
        self._find(node, [(Doubt.OLDER, text)], now_us)

    def accept(self, node: str) -> None:
        """Forget what contradicts a node: what it tells next is right."""
        self._keep(node, History())

    def write(self) -> None:
        """Write what has changed; call it in a transaction, and `written` when that has been committed."""
        for node in sorted(self._changed):
            history, head = self.of(node), self.of(node).head
            self._store.run("DELETE FROM heads WHERE node = ?", (node,))
            self._store.run("DELETE FROM findings WHERE node = ?", (node,))
            if head is not None:
                self._store.run(
                    "INSERT INTO heads(node, epoch, seq, hash, boots) VALUES(?, ?, ?, ?, ?)",
                    (node, head.epoch, head.seq, head.hash, b"".join(history.boots)),
                )
            for one in history.findings:
                self._store.run(
                    "INSERT INTO findings(node, kind, since_us, last_us, evidence) VALUES(?, ?, ?, ?, ?)",
                    (node, one.kind.value, one.since_us, one.last_us, one.evidence),
                )

    def written(self) -> None:
        """What `write` wrote is durable."""
        self._changed.clear()

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return bool(self._changed)

    def _keep(self, node: str, history: History) -> None:
        if history != self._known.get(node):
            self._known[node] = history
            self._changed.add(node)

    def _find(self, node: str, found: Sequence[tuple[Doubt, str]], now_us: int) -> None:
        for kind, evidence in found:
            findings = {one.kind: one for one in self.of(node).findings}
            since_us = findings[kind].since_us if kind in findings else now_us
            if kind not in findings:
                _log.warning("node %s: %s. %s", node, evidence, NEXT_STEPS[kind].format(node=node))
            findings[kind] = Finding(kind, since_us, now_us, evidence)
            ordered = sorted(findings.values(), key=lambda one: (one.since_us, one.kind.value))
            self._keep(node, replace(self.of(node), findings=tuple(ordered)))


def _load(store: Store) -> dict[str, History]:
    known: dict[str, History] = {}
    for node, epoch, seq, record_hash, boots in store.rows("SELECT node, epoch, seq, hash, boots FROM heads"):
        split = tuple(bytes(boots[at : at + BOOT_BYTES]) for at in range(0, len(boots), BOOT_BYTES))
        known[node] = History(Head(b"", epoch, seq, bytes(record_hash)), split)
    rows = store.rows("SELECT node, kind, since_us, last_us, evidence FROM findings ORDER BY node, since_us, kind")
    for node, kind, since_us, last_us, evidence in rows:
        history = known.get(node, History())
        finding = Finding(Doubt(kind), since_us, last_us, evidence)
        known[node] = replace(history, findings=(*history.findings, finding))
    return known
