"""The audit record: deterministic CBOR with integer keys, chained by SHA-256 over the exact stored bytes.

A chain belongs to one (node, epoch). The hash of a record is the SHA-256 of its bytes; `prev` of the next one is that
hash, and 32 zero bytes in the first record (seq 1). Format and golden vectors: `docs/reference/audit.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from eyeflow.protocol.audit_bodies import (
    HASH_BYTES,
    KINDS,
    SIGNED,
    AuditError,
    Body,
    CheckpointBody,
    GapBody,
    Kind,
    StartBody,
    body_from_map,
    encode_body,
)
from eyeflow.protocol.cbor import DEPTH_MAX, NOT_THE_ONE, CborError, decode_any, encode
from eyeflow.protocol.identity import SIGNATURE_BYTES, Identity, key_fingerprint, verifies

FORMAT = 1
ZERO_HASH = bytes(HASH_BYTES)
SIGNATURE_DOMAIN = b"eyeflow audit v1\0"
RECORD_BYTES_MAX = 4 * 1024 * 1024
"""Longest record that is read. A program within the limits of the SVM stays far below."""

_FORMAT, _KIND, _NODE, _EPOCH, _SEQ, _PREV, _TIME, _BODY, _SIGNATURE = range(9)


@dataclass(frozen=True, slots=True)
class Record:
    """One audit record. `time_us` is the node's wall clock (UTC) when it was recorded; it may go back, seq never."""

    node: str
    epoch: int
    seq: int
    prev: bytes
    time_us: int
    body: Body
    signature: bytes = b""

    @property
    def kind(self) -> Kind:
        """What the record is about."""
        return KINDS[type(self.body)]


def record_hash(data: bytes) -> bytes:
    """Return the hash of a stored record, 32 bytes: the `prev` of its successor."""
    return hashlib.sha256(data).digest()


def encode_record(record: Record, key: Identity | None = None) -> bytes:
    """Return the record's bytes; kinds in SIGNED are signed with `key` (raises AuditError when it is None)."""
    return encode_next(record.node, record.epoch, record.seq, record.prev, record.time_us, record.body, key)


def encode_next(
    node: str, epoch: int, seq: int, prev: bytes, time_us: int, body: Body, key: Identity | None = None
) -> bytes:
    """Return the bytes of the record with these fields, as `encode_record`, without a `Record` for each."""
    kind = KINDS[type(body)]
    fields = _fields(kind, node, epoch, seq, prev, time_us, body)
    if kind not in SIGNED:
        return _UNSIGNED_MAP + fields
    if key is None:
        raise AuditError(f"a record of kind {kind.name} must be signed")
    return _SIGNED_MAP + fields + _SIGNATURE_KEY + encode(key.sign(_signed_message(fields)))


def decode_record(data: bytes) -> Record:
    """Return the record in `data`. Raises AuditError on anything that `encode_record` would not have written."""
    if not isinstance(data, bytes):  # of a damaged row SQLite may make NULL
        raise AuditError("a record is no bytes")
    if len(data) > RECORD_BYTES_MAX:
        raise AuditError(f"a record is longer than {RECORD_BYTES_MAX} bytes")
    try:
        fields = decode_any(data)
        if type(fields) is not dict or not fields.keys() <= _KEYS:
            raise AuditError("a record is not a map with the keys 0 to 8")
        record = _from_map(fields)
        # Written again as a record: that is shorter than to write the map, and compares the same bytes.
        if _with_signature(record) != data:
            raise AuditError(NOT_THE_ONE)
    except CborError as error:
        raise AuditError(str(error)) from error
    return record


def _with_signature(record: Record) -> bytes:
    fields = _fields(record.kind, record.node, record.epoch, record.seq, record.prev, record.time_us, record.body)
    if record.kind in SIGNED:
        return _SIGNED_MAP + fields + _SIGNATURE_KEY + encode(record.signature)
    return _UNSIGNED_MAP + fields


def signature_is_valid(record: Record, public_key: bytes) -> bool:
    """Return whether a record of a signed kind carries the signature of `public_key`."""
    fields = _fields(record.kind, record.node, record.epoch, record.seq, record.prev, record.time_us, record.body)
    return verifies(public_key, _signed_message(fields), record.signature)


def _fields(kind: Kind, node: str, epoch: int, seq: int, prev: bytes, time_us: int, body: Body) -> bytes:
    """Return keys and values of all fields but the signature, as they stand in the map, without its head."""
    return b"".join(
        (
            _first_fields(int(kind), node, epoch),
            encode(seq),
            _PREV_KEY,
            encode(prev),
            _TIME_KEY,
            encode(time_us),
            _BODY_KEY,
            encode_body(body, DEPTH_MAX - 1),
        )
    )


@lru_cache
def _first_fields(kind: int, node: str, epoch: int) -> bytes:
    """Return the fields that are the same in each record of a kind, and the key of the next one."""
    pairs = ((_FORMAT, FORMAT), (_KIND, kind), (_NODE, node), (_EPOCH, epoch))
    return b"".join(encode(part) for pair in pairs for part in pair) + encode(_SEQ)


_PREV_KEY, _TIME_KEY, _BODY_KEY, _SIGNATURE_KEY = map(encode, (_PREV, _TIME, _BODY, _SIGNATURE))
_KEYS = frozenset(range(_SIGNATURE + 1))
_UNSIGNED_MAP, _SIGNED_MAP = (encode(dict.fromkeys(range(count), 0))[:1] for count in (_SIGNATURE, _SIGNATURE + 1))
"""The head of the map of a record without and with a signature."""


def _signed_message(fields: bytes) -> bytes:
    return SIGNATURE_DOMAIN + hashlib.sha256(_UNSIGNED_MAP + fields).digest()


_HEADER_TYPES = {_FORMAT: int, _KIND: int, _NODE: str, _EPOCH: int, _SEQ: int, _PREV: bytes, _TIME: int, _BODY: dict}


def _from_map(fields: dict[int, object]) -> Record:
    for key, kind_of_value in _HEADER_TYPES.items():
        if type(fields.get(key)) is not kind_of_value:
            raise AuditError(f"key {key} of a record is missing or has the wrong type")
    if fields[_FORMAT] != FORMAT:
        raise AuditError(f"record format {fields[_FORMAT]} is unknown: this is eyeflow's format {FORMAT}")
    kind = _kind(fields[_KIND])
    node, epoch, seq, prev = fields[_NODE], fields[_EPOCH], fields[_SEQ], fields[_PREV]
    if not (isinstance(prev, bytes) and len(prev) == HASH_BYTES and isinstance(seq, int) and seq >= 1):
        raise AuditError("seq or prev of a record is out of range")
    body = body_from_map(kind, fields[_BODY])  # type: ignore[arg-type]
    return Record(node, epoch, seq, prev, fields[_TIME], body, _signature(kind, fields))  # type: ignore[arg-type]


def _kind(raw: object) -> Kind:
    try:
        return Kind(raw)  # type: ignore[arg-type]
    except ValueError as error:
        raise AuditError(f"record kind {raw} is unknown") from error


def _signature(kind: Kind, fields: dict[int, object]) -> bytes:
    signature = fields.get(_SIGNATURE, b"")
    expected_bytes = SIGNATURE_BYTES if kind in SIGNED else 0
    if type(signature) is not bytes or len(signature) != expected_bytes or (_SIGNATURE in fields) != (kind in SIGNED):
        raise AuditError(f"the signature of a record of kind {kind.name} is missing, misplaced or of a wrong length")
    return signature


class BreakKind(Enum):
    """Why a chain does not hold."""

    MALFORMED = "malformed"
    FOREIGN = "foreign"
    MISSING = "missing"
    ALTERED = "altered"
    UNSIGNED = "unsigned"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """The first record at which the chain does not hold: its seq (the expected one when unreadable) and the reason."""

    kind: BreakKind
    seq: int
    message: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What `verify_chain` found. `lost` are the gaps, as recorded; `problem` is None when the chain holds.

    `public_key` is the key that the signatures were checked with; `checkpoints` counts the signed ones and
    `unvouched` the records after the last of them.
    """

    node: str = ""
    epoch: int = 0
    records: int = 0
    first_seq: int = 0
    last_seq: int = 0
    head: bytes = ZERO_HASH
    checkpoints: int = 0
    unvouched: int = 0
    lost: tuple[GapBody, ...] = ()
    public_key: bytes = b""
    problem: ChainBreak | None = None

    @property
    def lost_total(self) -> int:
        """How many records of the epoch are lost, so that nobody holds them, as the last gap says."""
        return self.lost[-1].lost_total if self.lost else 0

    @property
    def holds(self) -> bool:
        """Whether every record is where it belongs, unaltered, and every loss is accounted for."""
        return self.problem is None


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a part of a chain starts: the seq and hash of the record before its first one."""

    seq: int
    hash: bytes


def verify_stored(
    rows: Iterable[tuple[int, bytes]], public_key: bytes = b"", tip: tuple[int, bytes] | None = None
) -> ChainReport:
    """Check records as `verify_chain`, each with the time that its store keeps beside it (microseconds).

    By that time a node drops records for their age; no hash covers it. `tip`: seq and hash of the last record, as the
    store noted them when it wrote it.
    """
    walk = _Walk(public_key, None, tip)
    for stored_us, data in rows:
        problem = walk.take(data, stored_us)
        if problem is not None:
            return walk.report(problem)
    return walk.report(walk.finish())


def verify_copy(records: Iterable[bytes], public_key: bytes, anchor: Anchor | None = None) -> ChainReport:
    """Check a coordinator's copy as `verify_chain` does; it may lack records that the node dropped before they came.

    A later signed gap must account for them, and no more may be missing between others than the node says are lost:
    what it dropped because others held it must be here.
    """
    walk = _Walk(public_key, anchor, may_jump=True)
    for data in records:
        problem = walk.take(data)
        if problem is not None:
            return walk.report(problem)
    return walk.report(walk.finish())


def verify_chain(records: Iterable[bytes], public_key: bytes = b"", anchor: Anchor | None = None) -> ChainReport:
    """Check records in stored order; stops at the first that does not fit and says which and why.

    The chain must start at seq 1, or after `anchor`, or a later signed gap must account for all that came before.
    Without `public_key` the key in the chain's own records is used: that shows damage, but not a forger.
    Records cut off at the end cannot be seen from the chain alone: compare `last_seq` and `head` with another copy.
    """
    walk = _Walk(public_key, anchor)
    for data in records:
        problem = walk.take(data)
        if problem is not None:
            return walk.report(problem)
    return walk.report(walk.finish())


def _timed(record: Record, stored_us: int | None) -> ChainBreak | None:
    if stored_us is None or stored_us == record.time_us:
        return None
    message = f"the time beside it ({stored_us} us) is not its own ({record.time_us} us): the node drops records by it"
    return ChainBreak(BreakKind.ALTERED, record.seq, message)


def _accounts(gap: GapBody, seq: int, digest: bytes, is_copy: bool) -> bool:
    """Say whether a gap tells of the missing record `seq`; in a copy, that of later ones does: the oldest go first."""
    return (gap.last_seq, gap.last_hash) == (seq, digest) or (is_copy and gap.last_seq > seq)


class _Walk:
    """One pass over a chain."""

    def __init__(
        self,
        public_key: bytes,
        anchor: Anchor | None,
        tip: tuple[int, bytes] | None = None,
        *,
        may_jump: bool = False,
    ) -> None:
        self.key, self.tip, self.may_jump = public_key, tip, may_jump
        self.anchor = anchor
        self.first: Record | None = None
        self.last_seq = anchor.seq if anchor else 0
        self.head = anchor.hash if anchor else ZERO_HASH
        self.records = self.checkpoints = self.unvouched = 0
        self.lost: list[GapBody] = []
        self.unexplained: tuple[int, bytes] | None = None
        self.holes = 0

    def take(self, data: bytes, stored_us: int | None = None) -> ChainBreak | None:
        """Check the next record against what came before."""
        try:
            record = decode_record(data)
        except AuditError as error:
            return ChainBreak(BreakKind.MALFORMED, self.last_seq + 1, str(error))
        problem = self._place(record) or _timed(record, stored_us) or self._signed(record) or self._noted(record, data)
        if problem is None:
            self._accept(record, data)
        return problem

    def _place(self, record: Record) -> ChainBreak | None:
        if self.first is None:
            if self.anchor is None and record.seq > 1:
                self.unexplained = (record.seq - 1, record.prev)
                return None
        elif (record.node, record.epoch) != (self.first.node, self.first.epoch):
            message = f"belongs to {record.node} epoch {record.epoch}, not {self.first.node} epoch {self.first.epoch}"
            return ChainBreak(BreakKind.FOREIGN, record.seq, message)
        if self.may_jump and record.seq > self.last_seq + 1 and self.unexplained is None:
            self.unexplained = (record.seq - 1, record.prev)
            self.holes += record.seq - self.last_seq - 1
            return None
        if record.seq != self.last_seq + 1:
            return ChainBreak(BreakKind.MISSING, self.last_seq + 1, f"expected this seq, found {record.seq}")
        if record.prev != self.head:
            message = f"the record before it (seq {self.last_seq}) was altered or replaced: its hash is not `prev`"
            return ChainBreak(BreakKind.ALTERED, record.seq, message)
        return None

    def _noted(self, record: Record, data: bytes) -> ChainBreak | None:
        if self.tip is None or record.seq != self.tip[0] or record_hash(data) == self.tip[1]:
            return None
        return ChainBreak(BreakKind.ALTERED, record.seq, "its hash is not what the store noted when it was written")

    def _signed(self, record: Record) -> ChainBreak | None:
        body = record.body
        if not isinstance(body, GapBody | CheckpointBody | StartBody):
            return None
        self.key = self.key or body.public_key
        if body.public_key != self.key:
            return self._unsigned(
                record, f"it is of the key {key_fingerprint(body.public_key)[:16]}, not of this node's"
            )
        if isinstance(body, StartBody):
            return None
        if isinstance(body, GapBody) and body.first_seq and body.count != body.last_seq - body.first_seq + 1:
            message = f"GAP record: it counts {body.count} records from {body.first_seq} to {body.last_seq}"
            return ChainBreak(BreakKind.ALTERED, record.seq, message)
        return None if signature_is_valid(record, self.key) else self._unsigned(record, "its signature does not hold")

    def _unsigned(self, record: Record, message: str) -> ChainBreak:
        return ChainBreak(BreakKind.UNSIGNED, record.seq, f"{record.kind.name} record: {message}")

    def _accept(self, record: Record, data: bytes) -> None:
        self.first = self.first or record
        self.last_seq, self.head = record.seq, record_hash(data)
        self.records += 1
        self.unvouched += 1
        if isinstance(record.body, CheckpointBody):
            self.checkpoints, self.unvouched = self.checkpoints + 1, 0
        elif isinstance(record.body, GapBody):
            self.lost.append(record.body)
            if self.unexplained is not None and _accounts(record.body, *self.unexplained, self.may_jump):
                self.unexplained = None

    def finish(self) -> ChainBreak | None:
        """Say what is wrong with the chain as a whole."""
        if self.first is None and self.anchor is None:
            return ChainBreak(BreakKind.EMPTY, 1, "there is no record, and a node writes one at each start")
        if self.tip is not None and self.last_seq < self.tip[0]:
            return ChainBreak(BreakKind.MISSING, self.last_seq + 1, f"the store wrote records up to {self.tip[0]}")
        lost = self.lost[-1].lost_total if self.lost else 0
        if self.holes > lost and self.unexplained is None:
            message = f"{self.holes} records are missing between others, and the node says that {lost} were lost"
            return ChainBreak(BreakKind.MISSING, 1, message)
        if self.unexplained is None or self.first is None:
            return None
        message = f"the chain starts at seq {self.first.seq} and no signed gap accounts for what came before"
        if self.may_jump:
            message = f"no signed gap accounts for the records before seq {self.unexplained[0] + 1}"
        return ChainBreak(BreakKind.MISSING, 1, message)

    def report(self, problem: ChainBreak | None) -> ChainReport:
        """Sum the walk up."""
        return ChainReport(
            node=self.first.node if self.first else "",
            epoch=self.first.epoch if self.first else 0,
            records=self.records,
            first_seq=self.first.seq if self.first else 0,
            last_seq=self.last_seq,
            head=self.head,
            checkpoints=self.checkpoints,
            unvouched=self.unvouched,
            lost=tuple(self.lost),
            public_key=self.key,
            problem=problem,
        )
