"""Execution records from a board, in order and checked against its hash chain. docs/serial-link.md, Records."""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import Code, Fields, MalformedAnswerError, Request
from eyeflow.board_link.refusals import refusal
from eyeflow.board_link.session import Ask
from eyeflow.protocol.board_records import next_chain

RESTARTS_MAX = 4
"""Attempts to read a ring that loses records while it is read."""
RECORDS_MAX = 65536
HEAD_BYTES = 28
OUTCOMES = ("ok", "skipped", "trapped")


@dataclass(frozen=True, slots=True)
class BoardRecord:
    """A record of a board: `raw` is what the chain is over. Kinds other than 1 are the firmware's own."""

    sequence: int
    raw: bytes

    @property
    def kind(self) -> int:
        """1 for an execution."""
        return self.raw[0]

    @property
    def execution(self) -> BoardExecution | None:
        """Return the execution in this record, or None when it holds something else."""
        if self.kind != 1 or len(self.raw) < HEAD_BYTES:
            return None
        _, place, outcome, trap, pc, trigger, fuel, time_us = struct.unpack_from("<4BHHIQ", self.raw)
        name = OUTCOMES[outcome] if outcome < len(OUTCOMES) else str(outcome)
        key = self.raw[20:HEAD_BYTES].hex()
        return BoardExecution(place, name, trap, pc, trigger, fuel, time_us, key, self.raw[HEAD_BYTES:])


@dataclass(frozen=True, slots=True)
class BoardExecution:
    """What the record of an execution says; `program_key` is the first 16 hex digits of the program's id."""

    place: int
    outcome: str
    trap: int
    pc: int
    trigger: int
    fuel: int
    time_us: int
    program_key: str
    actions: bytes


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records in order, with the chain before the first and after the last one; `lost` counts since boot."""

    records: tuple[BoardRecord, ...]
    next_sequence: int
    lost: int
    chain_before: bytes
    chain_after: bytes

    @property
    def is_whole(self) -> bool:
        """Whether the records give the chain that the board tells."""
        head = self.chain_before
        for record in self.records:
            head = next_chain(head, record.sequence, record.raw)
        return head == self.chain_after


@dataclass(frozen=True, slots=True)
class _Ring:
    oldest: int
    next: int
    lost: int
    base: bytes
    head: bytes


def read_records() -> Generator[Ask, bytes, RecordBatch]:
    """Fetch all records that wait on the board and check their chain; they stay there until they are acknowledged."""
    batch = yield from fetch_records()
    if batch.is_whole:
        return batch
    oldest = batch.next_sequence - len(batch.records)
    raise EyeflowError(
        "the records of the board do not fit its hash chain",
        cause=f"records {oldest} to {batch.next_sequence - 1} give another chain than the board reports",
        next_step="Keep them as evidence and read again. When it stays so, the board was tampered with.",
        code="broken_chain",
    )


def fetch_records() -> Generator[Ask, bytes, RecordBatch]:
    """Fetch all records that wait on the board as they come: whether their chain holds, `RecordBatch.is_whole` says."""
    for _ in range(RESTARTS_MAX):
        ring = yield from _describe()
        records = yield from _read(ring)
        if records is not None:
            return RecordBatch(tuple(records), ring.next, ring.lost, ring.base, ring.head)
    raise EyeflowError(
        "the board loses records faster than they can be read",
        cause="its ring was full and went on while it was read",
        next_step="Read the records more often, or use a higher baud rate.",
        code="records_lost",
    )


def acknowledge(next_sequence: int, *, once: bool = False) -> Generator[Ask, bytes, None]:
    """Let the board forget the records before `next_sequence`: call it when they are safe.

    `once`: it is not sent again. A board that starts meanwhile numbers its records anew, and would forget those.
    """
    fields = Fields((yield Ask(Request.RECORDS_ACK, struct.pack("<I", next_sequence), once=once)))
    _ok(fields)


def _ok(fields: Fields) -> Fields:
    code = fields.code()
    if code != Code.OK:
        raise refusal(code, None)
    return fields


def _describe() -> Generator[Ask, bytes, _Ring]:
    fields = _ok(Fields((yield Ask(Request.RECORDS_INFO))))
    oldest, following, lost = fields.unpack("III")
    return _Ring(oldest, following, lost, fields.take(32), fields.take(32))


def _read(ring: _Ring) -> Generator[Ask, bytes, list[BoardRecord] | None]:
    """Return the records that were there, or None when the oldest ones are gone by now."""
    records: list[BoardRecord] = []
    count = ring.next - ring.oldest & 0xFFFFFFFF
    while len(records) < min(count, RECORDS_MAX):
        wanted = ring.oldest + len(records) & 0xFFFFFFFF
        fields = _ok(Fields((yield Ask(Request.RECORDS_READ, struct.pack("<I", wanted)))))
        if fields.number("I") != wanted or fields.left == 0:
            return None
        while fields.left and len(records) < count:
            raw = fields.take(fields.number("B"))
            if not raw:
                raise MalformedAnswerError("a record is empty")
            records.append(BoardRecord(ring.oldest + len(records) & 0xFFFFFFFF, raw))
    return records
