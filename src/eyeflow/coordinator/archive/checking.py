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


class Checker:
    """Goes through the newest chain of each node again and again; one thread at a time."""

    def __init__(self) -> None:
        self._left: list[Chain] = []
        self._rests = 0
        self._at: Chain | None = None
        self._before: tuple[int, bytes] = (0, b"")
        """The record that was checked last, and its hash."""
        self._suspect: Chain | None = None
        """The chain that did not fit at the last look through it: somebody may have begun it anew meanwhile."""

    def look(self, reader: ArchiveReader) -> Spoiled | None:
        """Check the next records; return what is wrong with the first that does not fit."""
        if self._rests:
            self._rests -= 1
            return None
        if self._at is None:
            self._left = self._left or reader.chains()
            self._at, self._before = (self._left.pop() if self._left else None), (0, b"")
        if (chain := self._at) is None:
            return None
        evidence, is_done = self._checked(reader, chain)
        if not evidence and not is_done:
            return None
        suspect, self._at, self._suspect = self._suspect, None, None
        if not evidence:
            self._rests = 0 if self._left else REST_LOOKS
            return None
        fresh = reader.chain(chain.node, chain.kept.epoch)
        if fresh is None or fresh.first_seq != chain.first_seq or fresh.kept.seq < chain.kept.seq:
            return None  # records were dropped meanwhile, or the copy was begun anew
        if suspect is not None and _is_same(suspect, chain):
            return Spoiled(chain.node, chain.kept.epoch, evidence)
        self._suspect = fresh
        self._left.append(fresh)
        return None

    def _checked(self, reader: ArchiveReader, chain: Chain) -> tuple[str, bool]:
        """Check the next records of a chain; return what is wrong, and whether its end is reached."""
        node, epoch, before = chain.node, chain.kept.epoch, self._before[0]
        rows = [row for row in reader.page(node, epoch, before, CHECK_RECORDS) if row.seq <= chain.kept.seq]
        holes = reader.holes(node, epoch, 0, chain.kept.seq) if _has_hole(rows, before) else []
        evidence = self._wrong(rows, chain, frozenset(holes))
        is_done, is_empty = len(rows) < CHECK_RECORDS, not 0 < chain.first_seq <= chain.kept.seq
        if not evidence and is_done and not is_empty and self._before[0] != chain.kept.seq:
            evidence = f"the kept records of {node} after {self._before[0]} are missing"
        return evidence, is_done

    def _wrong(self, rows: list[Row], chain: Chain, holes: frozenset[int]) -> str:
        """`holes`: before which records others are missing since the node had dropped them."""
        for row in rows:
            try:
                record = decode_record(row.data)
            except AuditError as error:
                return f"the kept record {row.seq} of {chain.node} cannot be read: {error}"
            seq, digest = self._before
            expected = seq + 1 if seq else chain.first_seq
            if row.seq != expected and not (seq and row.seq in holes):
                return f"the kept record {expected} of {chain.node} is missing"
            if replace(row_of(record, row.data), program=b"", sites=()) != row:
                return f"the kept record {row.seq} of {chain.node} is filed as something else than it is"
            if row.seq == seq + 1 and seq and record.prev != digest:
                return f"the kept record {seq} of {chain.node} has another hash than record {row.seq} names"
            self._before = (row.seq, record_hash(row.data))
        if self._before[0] == chain.kept.seq and self._before[1] not in (b"", chain.kept.hash):
            return f"the kept record {chain.kept.seq} of {chain.node} has another hash than the head that was signed"
        return ""


def _has_hole(rows: list[Row], before: int) -> bool:
    return any(row.seq != seq + 1 for row, seq in zip(rows, [before, *(row.seq for row in rows)], strict=False))


def _is_same(one: Chain, other: Chain) -> bool:
    return (one.node, one.kept.epoch) == (other.node, other.kept.epoch)
