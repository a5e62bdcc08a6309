"""Checks the records of a node as they come, one bundle after the other, and says what the archive keeps of each.

It is `protocol.audit.verify_chain` with a memory: the copy of a chain may end anywhere, and goes on there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eyeflow.coordinator.histories import NO_PROOF, Contradiction, Doubt, Proof
from eyeflow.protocol.audit import ZERO_HASH, Record, decode_record, record_hash, signature_is_valid
from eyeflow.protocol.audit_bodies import (
    ActionOutcome,
    ActionResultBody,
    AuditError,
    Body,
    CheckpointBody,
    Disposition,
    ExecutionBody,
    GapBody,
    SlotBody,
    SlotChange,
    StartBody,
)
from eyeflow.svm.execution import Outcome

NO_OUTCOME = -1
OUTCOMES, DISPOSITIONS = frozenset(map(int, Outcome)), frozenset(map(int, Disposition))
RESULTS, CHANGES = frozenset(map(int, ActionOutcome)), frozenset(map(int, SlotChange))
FOUND_BY_CHARS_MAX = 256
"""Of a rule or a key, so much is in the index by which it is found: a page of an index has bounds."""


class BrokenChain(Exception):  # noqa: N818 - what a node sends
    """What a node sent contradicts what is kept of it, or itself."""

    def __init__(self, kind: Doubt, evidence: str, proof: Proof = NO_PROOF) -> None:
        super().__init__(evidence)
        self.found = Contradiction(kind, evidence, proof)


@dataclass(frozen=True, slots=True)
class Jump:
    """The node sent a record that does not follow the one before: it had dropped those in between.

    `seq` and `hash` are of the last record that is missing, as the next one names it. A signed gap must say so before
    record `until_seq` is kept: the node had that one when it read, and so the gap as well.
    """

    seq: int
    hash: bytes
    until_seq: int


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the copy of a chain ends."""

    seq: int = 0
    hash: bytes = ZERO_HASH
    jump: Jump | None = None


EMPTY = Tail()
"""Of a chain of which nothing is kept."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose chain it is; `public_key` is the node's, known since it joined."""

    node: str
    epoch: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One record, with what it is found by. `outcome` is NO_OUTCOME for all but executions.

    `sites`: where `program` (32 bytes) acted in an execution; only for what comes, and empty for what is read.
    """

    seq: int
    time_us: int
    kind: int
    rule: str
    slot: str
    key: str
    outcome: int
    data: bytes
    program: bytes = b""
    sites: tuple[int, ...] = ()


def follow(owner: Owner, tail: Tail, records: Sequence[bytes], head_seq: int) -> tuple[Tail, list[Row]]:
    """Return where the copy ends with these records, and their rows. Raises BrokenChain.

    `head_seq` is the last record that the node had when it read them.
    """
    rows = []
    for place, data in enumerate(records):
        record = _decoded(tail, data)
        if (record.node, record.epoch) != (owner.node, owner.epoch):
            raise BrokenChain(Doubt.ALTERED, f"it sent a record of {record.node} epoch {record.epoch} as its own")
        _check_values(tail, record)
        if place == 0 and record.seq > tail.seq + 1:
            tail = Tail(record.seq - 1, record.prev, Jump(record.seq - 1, record.prev, head_seq))
        _check_place(tail, record)
        _check_signature(owner, record)
        tail = Tail(record.seq, record_hash(data), _left(tail.jump, record))
        rows.append(row_of(record, data))
    if tail.jump is not None and tail.seq >= tail.jump.until_seq:
        text = f"its records up to {tail.jump.seq} (epoch {owner.epoch}) are gone, and no signed gap accounts for them"
        raise BrokenChain(Doubt.ALTERED, text)
    return tail, rows


def _decoded(tail: Tail, data: bytes) -> Record:
    try:
        return decode_record(data)
    except AuditError as error:
        raise BrokenChain(Doubt.ALTERED, f"its record {tail.seq + 1} cannot be read: {error}") from error


def _check_values(tail: Tail, record: Record) -> None:
    """Refuse what CBOR can say and no eyeflow writes: no column takes it, and no list has a word for it."""
    told = f"its record {tail.seq + 1} ({record.kind.name})"
    for name in ("seq", "time_us"):
        if not _fits(getattr(record, name)):
            raise BrokenChain(Doubt.ALTERED, f"{told} has a {name} of more than 64 bits")
    body = record.body
    for name in body.__dataclass_fields__:
        if not _fits(getattr(body, name)):
            raise BrokenChain(Doubt.ALTERED, f"{told} has a number of more than 64 bits in {name}")
    for what, value, known in _words(body):
        if value not in known:
            raise BrokenChain(Doubt.ALTERED, f"{told} has an unknown {what}, {value}")


def _fits(value: object) -> bool:
    if type(value) is tuple:
        return all(map(_fits, value))
    return type(value) is not int or -(2**63) <= value < 2**63


def _words(body: Body) -> Iterator[tuple[str, int, frozenset[int]]]:
    """Yield the numbers that stand for words: what is meant, the number, and those that are known."""
    if isinstance(body, ExecutionBody):
        yield "outcome", body.outcome, OUTCOMES
        for _, _, disposition in body.actions:
            yield "disposition", disposition, DISPOSITIONS
    elif isinstance(body, ActionResultBody):
        yield "result", body.result, RESULTS
    elif isinstance(body, SlotBody):
        yield "change", body.change, CHANGES


def _check_place(tail: Tail, record: Record) -> None:
    if record.seq != tail.seq + 1:
        raise BrokenChain(Doubt.ALTERED, f"it sent record {record.seq} where record {tail.seq + 1} belongs")
    if record.prev != tail.hash:
        here, there = tail.hash.hex()[:12], record.prev.hex()[:12]
        text = f"its record {record.seq} follows a record {tail.seq} with the hash {there}, and {here} is kept"
        raise BrokenChain(Doubt.FORKED, text, Proof(record.epoch, tail.seq, tail.hash, record.prev))


def _check_signature(owner: Owner, record: Record) -> None:
    body = record.body
    if not isinstance(body, GapBody | CheckpointBody | StartBody):
        return
    told = f"its record {record.seq} ({record.kind.name})"
    if body.public_key != owner.public_key:
        raise BrokenChain(Doubt.ALTERED, f"{told} names another key than the one with which the node joined")
    if not isinstance(body, StartBody) and not signature_is_valid(record, owner.public_key):
        raise BrokenChain(Doubt.ALTERED, f"{told} has a signature that does not hold")


def _left(jump: Jump | None, record: Record) -> Jump | None:
    """Return the jump, None when this record accounts for it.

    A gap of later records does, too: the oldest go first, and the gap that told of the earlier ones may be among them.
    """
    if jump is None or not isinstance(record.body, GapBody):
        return jump
    gap = record.body
    return None if gap.last_seq > jump.seq or (gap.last_seq, gap.last_hash) == (jump.seq, jump.hash) else jump


def row_of(record: Record, data: bytes) -> Row:
    """Return a record with what it is found by."""
    body = record.body
    rule, slot, key = (_found_by(getattr(body, name, "")) for name in ("rule", "slot", "key"))
    return Row(
        record.seq,
        record.time_us,
        int(record.kind),
        rule,
        slot,
        key,
        getattr(body, "outcome", NO_OUTCOME),
        data,
        *_acted(body),
    )


def _found_by(text: str) -> str:
    """PostgreSQL keeps no NUL in a text; the record itself has it."""
    return text[:FOUND_BY_CHARS_MAX].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _acted(body: Body) -> tuple[bytes, tuple[int, ...]]:
    if not isinstance(body, ExecutionBody) or not body.actions:
        return b"", ()
    return body.program, tuple(sorted({site for site, _, _ in body.actions}))
