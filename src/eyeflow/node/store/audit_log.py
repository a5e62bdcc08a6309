"""The audit log: records in one chain, the signed gaps of those that were dropped, and who holds copies of them."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from eyeflow.base.clock import NowUs
from eyeflow.node.store.cursors import Cursors
from eyeflow.node.store.meta import read_meta, read_meta_or_set, read_named, write_meta
from eyeflow.node.store.transaction import transaction
from eyeflow.node.store.types import Batch, Draft, StoreCounters
from eyeflow.protocol.audit import ZERO_HASH, decode_record, encode_next, record_hash
from eyeflow.protocol.audit_bodies import COPIED, AuditError, Body, GapBody
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.identity import Identity

_log = logging.getLogger("eyeflow.node")

Row = tuple[int, int, bytes]
"""Seq, time (us) and bytes of a record."""
_PUT = "INSERT INTO audit VALUES (?, ?, ?)"
_OLDEST = "SELECT seq, time_us FROM audit ORDER BY seq LIMIT 1"
DROPPED = "dropped."
"""How many records were dropped, by reason: numbers in `meta` whose names begin so."""
TIP = "tip"
"""The name in `meta` of seq and hash of the last record. No later record has its hash: a flipped bit would not show."""
SEQ_BYTES, TIP_BYTES = 8, 40


@dataclass(frozen=True, slots=True)
class Chained:
    """Records to follow the chain that are not written yet: what it ends with then, and what was ever lost by then."""

    rows: Sequence[Row]
    tip: tuple[int, bytes]
    lost_total: int
    dropped: Mapping[str, int]


class AuditLog:
    """The records of one node in one epoch. It belongs to the thread of the store; raises apsw.Error.

    `epoch` is to be set, and `attach` to be called, before anything else.
    """

    epoch: int
    tip: tuple[int, bytes]
    """Seq and hash of the last record. Others read them from their thread: both at once, or it looks like a fork."""
    newest_seq: int
    """Seq of the last record that is there; less than that of the tip where damage took the last ones."""
    oldest: tuple[int, int]
    """Seq and time (us) of the oldest record that is kept; zeros when there is none."""
    dropped: Mapping[str, int]
    """How many records were dropped, by reason."""
    _db: apsw.Connection
    _lost_total: int

    def __init__(self, node: str, identity: Identity, counters: StoreCounters, now_us: NowUs) -> None:
        self.node, self.cursors = node, Cursors()
        self._identity, self._counters, self._now_us = identity, counters, now_us

    def attach(self, db: apsw.Connection) -> None:
        """Read where the log in `db` stands; call it again when the file was opened anew."""
        self._db = db
        self._lost_total = int(read_meta_or_set(db, "lost_total", 0))
        row = db.execute("SELECT seq, record FROM audit ORDER BY seq DESC LIMIT 1").get
        self.tip = (row[0], record_hash(row[1])) if row else (0, ZERO_HASH)
        self.newest_seq, noted = self.tip[0], read_tip(db)
        if noted is not None and noted[0] >= self.tip[0] and noted != self.tip:
            what = f"audit record {noted[0]} is not as this node wrote it"
            if noted[0] > self.tip[0]:
                what = f"audit records {self.tip[0] + 1} to {noted[0]} are gone"
            _log.error(
                "%s. The chain goes on behind what was written, so that this shows: keep a copy of the data, and run "
                "`eyeflow audit verify`",
                what,
            )
            self.tip = noted
        self.oldest = read_oldest(db)
        self.dropped = read_dropped(db)

    @property
    def head_seq(self) -> int:
        """Seq of the last record, 0 when there is none."""
        return self.tip[0]

    def chained(self, batch: Batch) -> Chained:
        """Give the drafts of a batch their places in the chain, and a gap to executions that went unrecorded."""
        drafts, total, dropped = batch.drafts, self._lost_total, self.dropped
        if (lost := batch.unrecorded) is not None:
            total += lost.count
            key = self._identity.public_key
            gap = GapBody(0, 0, lost.count, lost.reason, ZERO_HASH, lost.since_us, lost.until_us, total, key)
            drafts = (*drafts, Draft(self._now_us(), gap))
            dropped = _more(dropped, {lost.reason: lost.count})
        rows, (seq, head) = list[Row](), self.tip
        for draft in drafts:
            seq += 1
            data = self._encode(seq, head, draft.time_us, draft.body)
            rows.append((seq, draft.time_us, data))
            head = record_hash(data)
        return Chained(rows, (seq, head), total, dropped)

    def _encode(self, seq: int, prev: bytes, time_us: int, body: Body) -> bytes:
        return encode_next(self.node, self.epoch, seq, prev, time_us, body, self._identity)

    def write(self, new: Chained) -> None:
        """Write records, and cursors that were noted meanwhile; call it inside a transaction."""
        self._db.executemany(_PUT, new.rows)
        if new.rows:
            write_meta(self._db, TIP, tip_bytes(*new.tip))
        self.cursors.write(self._db)
        if new.lost_total != self._lost_total:
            write_meta(self._db, "lost_total", new.lost_total)
        for reason, count in new.dropped.items():
            if count != self.dropped.get(reason):
                write_meta(self._db, DROPPED + reason, count)

    def were_written(self, new: Chained) -> None:
        """The transaction of the last `write` was committed."""
        self.tip, self._lost_total, self.dropped = new.tip, new.lost_total, new.dropped
        if new.rows:
            self.newest_seq = new.tip[0]
            self.oldest = self.oldest if self.oldest[0] else new.rows[0][:2]
        self.cursors.were_written()

    def drop_oldest(self, reason: str, count: int) -> int:
        """Replace the oldest `count` records (never the last one) by a signed gap; return how many went.

        Only those that some destination does not hold count as lost; where each holds all, the gap says COPIED.
        """
        db, first_seq = self._db, self.oldest[0]
        if first_seq in (0, self.head_seq):
            return 0
        # What damage took from the chain is not there; a range with such a hole in it goes as one.
        found = "SELECT seq, record FROM audit WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
        last_seq, record = db.execute(found, (min(first_seq + count - 1, self.head_seq - 1),)).get
        # Not the first and the last time: the clock may have been set back between them.
        since_us, until_us = db.execute("SELECT min(time_us), max(time_us) FROM audit WHERE seq <= ?", (last_seq,)).get
        dropped: int = last_seq - first_seq + 1
        lost: int = max(0, last_seq - max(first_seq - 1, self.cursors.held_by_all))
        counts = {reason: lost, COPIED: dropped - lost}
        lost_total, key, told = self._lost_total + lost, self._identity.public_key, reason if lost else COPIED
        gap = GapBody(first_seq, last_seq, dropped, told, record_hash(record), since_us, until_us, lost_total, key)
        self._replace(gap, _more(self.dropped, counts))
        self._counters.dropped_records += lost
        self._counters.dropped_copies += dropped - lost
        self._counters.gaps += lost > 0
        return dropped

    def _replace(self, gap: GapBody, dropped: Mapping[str, int]) -> None:
        now_us, seq = self._now_us(), self.head_seq + 1
        data = self._encode(seq, self.tip[1], now_us, gap)
        new = Chained([(seq, now_us, data)], (seq, record_hash(data)), gap.lost_total, dropped)
        with transaction(self._db):
            self._db.execute("DELETE FROM audit WHERE seq <= ?", (gap.last_seq,))
            self.write(new)  # with the cursors: what the gap says of them must be as durable
        self.were_written(new)
        self.oldest = read_oldest(self._db)

    def note_kept(self, destination: str, kept: KeptHead) -> bool:
        """As `Store.note_kept`."""
        if kept.epoch != self.epoch or kept.seq > self.head_seq:
            return False
        record = self._db.execute("SELECT record FROM audit WHERE seq = ?", (kept.seq,)).get
        if record is not None and record_hash(record) != kept.hash:
            return False
        self.cursors.note(destination, kept)
        return True

    def begins_with_gaps(self, count: int) -> bool:
        """Whether the oldest `count` records are gaps alone: they tell of others, and hold nothing that grows old."""
        rows: list[Any] = self._db.execute("SELECT record FROM audit ORDER BY seq LIMIT ?", (count,)).fetchall()
        try:
            return all(isinstance(decode_record(data).body, GapBody) for (data,) in rows)
        except AuditError:
            return False

    def is_as_written(self, seq: int) -> bool:
        """Whether a record has the time that is stored beside it, and the hash that the next one names."""
        query = "SELECT time_us, record FROM audit WHERE seq IN (?, ?) ORDER BY seq"
        rows: list[Any] = self._db.execute(query, (seq, seq + 1)).fetchall()
        (time_us, data), *after = rows
        try:
            whole: bool = decode_record(data).time_us == time_us
            return whole and (not after or decode_record(after[0][1]).prev == record_hash(data))
        except AuditError:
            return False


def _more(dropped: Mapping[str, int], counts: Mapping[str, int]) -> Mapping[str, int]:
    return dict(dropped) | {reason: dropped.get(reason, 0) + count for reason, count in counts.items() if count}


def read_oldest(db: apsw.Connection) -> tuple[int, int]:
    """Return seq and time (us) of the oldest record; zeros when there is none."""
    return db.execute(_OLDEST).get or (0, 0)


def tip_bytes(seq: int, digest: bytes) -> bytes:
    """Return what is noted of the last record, with a check sum of its own: it, too, may be damaged."""
    noted = seq.to_bytes(SEQ_BYTES, "big") + digest
    return noted + zlib.crc32(noted).to_bytes(4, "big")


def read_tip(db: apsw.Connection) -> tuple[int, bytes] | None:
    """Return seq and hash that the last record had when it was written; None where nobody can tell."""
    value = read_meta(db, TIP)
    if not isinstance(value, bytes):
        return None
    noted = value[:TIP_BYTES]
    seq, digest = int.from_bytes(noted[:SEQ_BYTES], "big"), noted[SEQ_BYTES:]
    return (seq, digest) if len(noted) == TIP_BYTES and value == tip_bytes(seq, digest) else None


def read_dropped(db: apsw.Connection) -> dict[str, int]:
    """Return how many records were dropped in this epoch, by reason."""
    return {reason: int(count) for reason, count in read_named(db, DROPPED).items()}
