"""The coordinator's own log: who changed what, chained by SHA-256, with heads that the coordinator signs. No I/O.

An entry holds the hash of the one before. So who changes, inserts or removes an entry must change all that follow, and
then no head fits any more that was signed or seen before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eyeflow.protocol import wire
from eyeflow.protocol.identity import verifies

ZERO_HASH = bytes(32)


class LogError(Exception):
    """The log was changed; its message says where, for people."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. Numbers ascend without a gap; `prev` is the hash of the entry before, zeros for number 1."""

    number: int
    time_us: int
    actor: str
    action: str
    subject: str
    detail: str
    prev: bytes

    @property
    def hash(self) -> bytes:
        """The SHA-256 (32 bytes) of all that the entry holds."""
        fields = [self.number, self.time_us, self.actor, self.action, self.subject, self.detail, self.prev]
        return hashlib.sha256(b"eyeflow coordinator log v1\0" + wire.pack(fields)).digest()


@dataclass(frozen=True, slots=True)
class Head:
    """An entry's number and hash: it stands for the whole log up to there."""

    number: int = 0
    hash: bytes = ZERO_HASH


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head with the coordinator's signature over `head_bytes`."""

    head: Head
    signature: bytes

    def check(self, coordinator_id: str, public_key: bytes) -> None:
        """Raise LogError unless the coordinator signed this head."""
        if not verifies(public_key, head_bytes(coordinator_id, self.head), self.signature):
            raise LogError(f"the signature of head {self.head.number} is not the coordinator's")


def head_bytes(coordinator_id: str, head: Head) -> bytes:
    """Return what the coordinator signs of a head."""
    return b"eyeflow coordinator log head v1\0" + wire.pack([coordinator_id, head.number, head.hash])


def follow(before: Head | None, entries: Iterable[Entry], seen: Mapping[Head, str]) -> Head:
    """Check that entries continue each other, and `before` if it is given, and hold every head of `seen`.

    `seen` says of each head who saw it; one that is older than the first entry cannot be checked. Returns the last head
    (`before`, or that of an empty log, without entries). Raises LogError at the first entry that does not fit.
    """
    at = before
    by_number = {head.number: (head.hash, who) for head, who in seen.items()}
    for entry in entries:
        if at is not None and entry.number != at.number + 1:
            raise LogError(f"entry {at.number + 1} is missing")
        expected = at.hash if at is not None else ZERO_HASH if entry.number == 1 else entry.prev
        if entry.prev != expected:
            raise LogError(f"entry {entry.number - 1} was changed, or what entry {entry.number} says of it")
        at = Head(entry.number, entry.hash)
        known, who = by_number.get(at.number, (at.hash, ""))
        if known != at.hash:
            raise LogError(f"entry {at.number} or one before it was changed: it is not the one that {who}")
    end = at or Head()
    for head, who in seen.items():
        if head.number > end.number:
            raise LogError(f"the log ends at entry {end.number}, before entry {head.number} that {who}")
    return end
