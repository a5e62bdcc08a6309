"""Looks through what is kept, a little at a time: bytes may change on a disk long after they were written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eyeflow.coordinator.archive.chain import Row, row_of
from eyeflow.coordinator.archive.database import ArchiveReader, Chain
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.audit_bodies import AuditError

CHECK_RECORDS = 256
"""Records of one look; a coordinator looks once in a second. 20,000,000 records then take a day."""
REST_LOOKS = 600
"""Looks that are left out after everything was seen."""


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A chain of which a record is not what was kept."""

    node: str
    epoch: int
    evidence: str


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What does not fit, and from which record on."""

    seq: int
    evidence: str


class Checker:
    """Goes through the newest chain of each node again and again; one thread at a time."""

    def __init__(self) -> None:
        self._left: list[Chain] = []
        self._rests = 0
        self._at: Chain | None = None
        self._before: tuple[int, bytes | None] = (0, None)
        """The record that was checked last, and its hash; None: it is not known."""
        self._suspect = 0
        """The record that did not fit at the last look: somebody may have begun the copy anew meanwhile."""

    def look(self, reader: ArchiveReader) -> Spoiled | None:
        """Check the next records; return what is wrong with the first that does not fit."""
        if self._rests:
            self._rests -= 1
            return None
        if (chain := self._next(reader)) is None:
            return None
        wrong, is_done = self._checked(reader, chain)
        if wrong is not None:
            return self._doubted(reader, chain, wrong)
        self._suspect = 0
        if is_done:
            self._at, self._rests = None, 0 if self._left else REST_LOOKS
        return None

    def _next(self, reader: ArchiveReader) -> Chain | None:
        """Return the chain that is looked at, None when there is none or it has gone."""
        if self._at is None:
            self._left = self._left or reader.chains()
            self._begin(self._left.pop() if self._left else None)
        if self._at is not None and not self._before[0]:
            # As it is now: at the bound of the archive the first records go all the time.
            self._at = reader.chain(self._at.node, self._at.kept.epoch)
        return self._at

    def _begin(self, chain: Chain | None, seq: int = 0) -> None:
        """Go on behind record `seq` of a chain, 0: at its first."""
        self._at, self._before = chain, (seq, None)

    def _doubted(self, reader: ArchiveReader, chain: Chain, wrong: _Wrong) -> Spoiled | None:
        """Look at the same records again, at the next look, with what is kept then."""
        fresh, suspect = reader.chain(chain.node, chain.kept.epoch), self._suspect
        self._suspect = 0
        if fresh is None or fresh.kept.seq < chain.kept.seq:  # it was begun anew
            self._at = None
            return None
        if wrong.seq < fresh.first_seq:  # it was dropped; where that is faster than this, the first ones never stay
            self._begin(fresh, (fresh.first_seq + fresh.kept.seq) // 2)
            return None
        if suspect == wrong.seq:
            self._at = None
            return Spoiled(chain.node, chain.kept.epoch, wrong.evidence)
        self._suspect = wrong.seq
        self._begin(fresh, seq if (seq := wrong.seq - 2) >= fresh.first_seq else 0)
        return None

    def _checked(self, reader: ArchiveReader, chain: Chain) -> tuple[_Wrong | None, bool]:
        """Check the next records of a chain; return what is wrong, and whether its end is reached."""
        node, epoch, before = chain.node, chain.kept.epoch, self._before[0]
        rows = [row for row in reader.page(node, epoch, before, CHECK_RECORDS) if row.seq <= chain.kept.seq]
        holes = reader.holes(node, epoch, before, rows[-1].seq) if _has_hole(rows, before) else []
        wrong = self._wrong(rows, chain, frozenset(holes))
        is_done, is_empty = len(rows) < CHECK_RECORDS, not 0 < chain.first_seq <= chain.kept.seq
        last = self._before[0]
        if wrong is None and is_done and not is_empty and last != chain.kept.seq:
            wrong = _Wrong(max(last + 1, chain.first_seq), f"the kept records of {node} after {last} are missing")
        return wrong, is_done

    def _wrong(self, rows: list[Row], chain: Chain, holes: frozenset[int]) -> _Wrong | None:
        """`holes`: before which records others are missing since the node had dropped them."""
        for row in rows:
            try:
                record = decode_record(row.data)
            except AuditError as error:
                return _Wrong(row.seq, f"the kept record {row.seq} of {chain.node} cannot be read: {error}")
            seq, digest = self._before
            expected = seq + 1 if seq else chain.first_seq
            if row.seq != expected and not (seq and row.seq in holes):
                return _Wrong(expected, f"the kept record {expected} of {chain.node} is missing")
            if replace(row_of(record, row.data), program=b"", sites=()) != row:
                return _Wrong(
                    row.seq, f"the kept record {row.seq} of {chain.node} is filed as something else than it is"
                )
            if row.seq == seq + 1 and digest not in (None, record.prev):
                text = f"the kept record {seq} of {chain.node} has another hash than record {row.seq} names"
                return _Wrong(seq, text)
            self._before = (row.seq, record_hash(row.data))
        if self._before[0] == chain.kept.seq and self._before[1] not in (None, chain.kept.hash):
            text = f"the kept record {chain.kept.seq} of {chain.node} has another hash than the head that was signed"
            return _Wrong(chain.kept.seq, text)
        return None


def _has_hole(rows: list[Row], before: int) -> bool:
    return any(row.seq != seq + 1 for row, seq in zip(rows, [before, *(row.seq for row in rows)], strict=False))
