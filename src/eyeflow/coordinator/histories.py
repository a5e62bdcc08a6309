"""Where the audit chain of each node ended when it was seen last, and what contradicts that: copies, and lost stores.

A node acknowledges nothing before it is durable, so its chain never ends earlier than it did. One that does is an old
copy of its disk. Two chains with another record under one number are a fork. A start of a node's process that speaks
again after a later start had taken over is a second process with the same key (docs/reference/link-protocol.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from eyeflow.protocol.messages import Head

BOOTS_MAX = 64
"""Starts of a node's process that are remembered, to know one that speaks again."""
DIALS_MAX = 4
"""Links of a node that are remembered with their address: two copies that take turns are among them."""
REASON_CHARS_MAX = 500
"""Of why somebody set a node aside."""
HASH_DIGITS = 12
"""Digits of a hash that people are shown."""


class Doubt(Enum):
    """What contradicts a node's history. All but NEW_EPOCH mean that what the node says of itself cannot count.

    QUARANTINED: a person said so.
    """

    OLDER = "older"
    FORKED = "forked"
    TWINS = "twins"
    ALTERED = "altered"
    NEW_EPOCH = "newEpoch"
    QUARANTINED = "quarantined"


_ACCEPT = "eyeflow nodes accept {node}"
NEXT_STEPS = {
    Doubt.OLDER: "This is an old copy of the node's data. Stop it and bring the newer data back, "
    f"or go on with what it has now: {_ACCEPT}",
    Doubt.FORKED: "A copy of this node's data has run. Stop the wrong one, give it a name and a data_dir of its own, "
    f"then: {_ACCEPT}",
    Doubt.TWINS: "Two machines or processes use this node's key. Stop one, give it a name and a data_dir of its own, "
    f"then: {_ACCEPT}",
    Doubt.ALTERED: "The audit of this node was changed, or its disk is damaged. Keep a copy of its data_dir, run "
    f"`eyeflow audit verify` there, then go on with what it has now: {_ACCEPT}",
    Doubt.NEW_EPOCH: "Its state and its records from before are gone. Look at its disk and its log, "
    f"then confirm: {_ACCEPT}",
    Doubt.QUARANTINED: f"Nothing is deployed to it and nothing of it is copied until: {_ACCEPT}",
}


@dataclass(frozen=True, slots=True)
class Dial:
    """A link that a node opened: the start of its process (`boot`), the address it came from, and when."""

    boot: bytes = b""
    address: str = ""
    time_us: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows a contradiction, as far as there is more than words.

    The record `seq` of `epoch` had the hash `known` before, and `told` says the node now; empty: no hash is at odds.
    `dials` are the last links of the node, the present one last.
    """

    epoch: int = 0
    seq: int = 0
    known: bytes = b""
    told: bytes = b""
    dials: tuple[Dial, ...] = ()


NO_PROOF = Proof()


class Contradiction(NamedTuple):
    """What contradicts a history, in words for people, and what shows it."""

    kind: Doubt
    evidence: str
    proof: Proof = NO_PROOF


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction: since when it is known, when it showed last (microseconds since 1970 UTC), and the proof."""

    kind: Doubt
    since_us: int
    last_us: int
    evidence: str
    proof: Proof = NO_PROOF

    @property
    def blocks(self) -> bool:
        """Whether results of this node count as failed: nobody knows which copy they are of."""
        return self.kind is not Doubt.NEW_EPOCH


@dataclass(frozen=True, slots=True)
class History:
    """What is known of one node: its highest head (without `boot`); the starts of its process, the present one last.

    `dials` are its last links, the present one last.
    """

    head: Head | None = None
    boots: tuple[bytes, ...] = ()
    findings: tuple[Finding, ...] = ()
    dials: tuple[Dial, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether a finding blocks."""
        return any(finding.blocks for finding in self.findings)

    @property
    def contradicted(self) -> bool:
        """Whether the records that it has now are other ones than before, as far as is known."""
        return any(one.blocks and one.kind is not Doubt.QUARANTINED for one in self.findings)

    @property
    def reason(self) -> str:
        """Why results of this node cannot count, empty when they do."""
        return "; ".join(f"in doubt: {one.evidence}" for one in self.findings if one.blocks)

    @property
    def by_hand(self) -> Finding | None:
        """What a person said of the node, if it is in quarantine."""
        return next((one for one in self.findings if one.kind is Doubt.QUARANTINED), None)

    def with_quarantine(self, finding: Finding | None) -> History:
        """Return the history with this word of a person, in place of the one that it has."""
        others = (one for one in self.findings if one.kind is not Doubt.QUARANTINED)
        return replace(self, findings=(*others, *([] if finding is None else [finding])))

    def with_findings(self, found: Sequence[Contradiction], now_us: int) -> History:
        """Return the history with these contradictions in it; one that is known already shows anew."""
        findings = {one.kind: one for one in self.findings}
        for kind, evidence, proof in found:
            since_us = findings[kind].since_us if kind in findings else now_us
            findings[kind] = Finding(kind, since_us, now_us, evidence, replace(proof, dials=self.dials))
        ordered = sorted(findings.values(), key=lambda one: (one.since_us, one.kind.value))
        return replace(self, findings=tuple(ordered))

    def with_dial(self, dial: Dial) -> History:
        """Return the history with a link of the node in it, unless it is the one that is known as the last."""
        return self if self.dials[-1:] == (dial,) else replace(self, dials=(*self.dials, dial)[-DIALS_MAX:])


def went_back(applied_version: int, version: int) -> Contradiction:
    """Return what it means that a node applied one manifest and now knows only an older one."""
    told = f"it knows manifest {version}, and had applied manifest {applied_version} before"
    return Contradiction(Doubt.OLDER, told)


def recollected(known: Head, record_hash: bytes) -> list[Contradiction]:
    """Return what contradicts `known`: the node told the hash of its record `known.seq`, empty when it dropped that."""
    if not record_hash or record_hash == known.hash:
        return []
    return [_fork(known, record_hash)]


def judge(history: History, head: Head) -> tuple[History, Sequence[Contradiction]]:
    """Return the history after the node told `head`, and what contradicts it.

    The highest head stays while the node is in doubt: it is the evidence, until somebody accepts what the node has.
    """
    boots, found = _started(history.boots, head.boot)
    found += _compared(history.head, head)
    doubtful = history.doubtful or any(one.kind is not Doubt.NEW_EPOCH for one in found)
    known = history.head if doubtful and history.head is not None else Head(b"", head.epoch, head.seq, head.hash)
    return replace(history, head=known, boots=boots), found


def _started(boots: tuple[bytes, ...], boot: bytes) -> tuple[tuple[bytes, ...], list[Contradiction]]:
    if not boot or boots[-1:] == (boot,):
        return boots, []
    others = tuple(one for one in boots if one != boot)
    newer = (*others, boot)[-BOOTS_MAX:]
    if boot not in boots:
        return newer, []
    text = f"its process {boot.hex()[:8]} spoke again after its process {boots[-1].hex()[:8]} had taken its place"
    return newer, [Contradiction(Doubt.TWINS, text)]


def _compared(known: Head | None, head: Head) -> list[Contradiction]:
    if known is None:
        return []
    proof = Proof(known.epoch, known.seq, known.hash)
    if head.epoch > known.epoch:
        text = f"it lost its store: epoch {known.epoch} ended at record {known.seq}, now epoch {head.epoch}"
        return [Contradiction(Doubt.NEW_EPOCH, text, proof)]
    if head.epoch < known.epoch:
        text = f"it is in epoch {head.epoch}, and was in epoch {known.epoch} before"
        return [Contradiction(Doubt.OLDER, text, proof)]
    if head.seq < known.seq:
        text = f"its last record is {head.seq}, and was {known.seq} before (epoch {known.epoch})"
        return [Contradiction(Doubt.OLDER, text, proof)]
    if head.seq == known.seq and known.hash and head.hash and head.hash != known.hash:
        return [_fork(known, head.hash)]
    return []


def _fork(known: Head, record_hash: bytes) -> Contradiction:
    here, before = record_hash.hex()[:HASH_DIGITS], known.hash.hex()[:HASH_DIGITS]
    text = f"its record {known.seq} (epoch {known.epoch}) has the hash {here}, and had {before} before"
    return Contradiction(Doubt.FORKED, text, Proof(known.epoch, known.seq, known.hash, record_hash))
