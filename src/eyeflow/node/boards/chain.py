"""What one reading of a board's records adds to the board's audit: a pure function of where the audit stands.

Whatever is added goes in steps. Each is one transaction that also moves the cursor: so each record of the board is in
the audit once, wherever the gateway is killed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from eyeflow.board_link.messages import Hello
from eyeflow.board_link.records import BoardRecord, RecordBatch
from eyeflow.node.store.types import Batch, Draft, Unrecorded
from eyeflow.protocol.audit_bodies import BoardChainBody, BoardRecordBody, Body
from eyeflow.protocol.board_records import NUMBER_MAX, BoardBreak, BoardLoss, first_chain, next_chain, read_execution

CURSOR_KEY = "board_cursor"
"""The name of the cursor in the store of the board's audit."""
NEWER_MAX = NUMBER_MAX // 2
"""A number that is farther ahead than this is behind."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the records of a board are in its audit: those before `next`, of start `boot` of this device.

    `chain` is the board's hash after them, empty while it is not known: a BOARD_CHAIN has to come first. `lost` is what
    the board had counted as lost by then, `read_us` when that was (the gateway's wall clock).
    """

    device: str = ""
    boot: int = 0
    next: int = 0
    chain: bytes = b""
    lost: int = 0
    read_us: int = 0

    def is_same_start(self, other: Cursor) -> bool:
        """Whether both are of one start of one device."""
        return (self.device, self.boot) == (other.device, other.boot)

    def pack(self) -> bytes:
        """Return it as the store keeps it."""
        return json.dumps([self.device, self.boot, self.next, self.chain.hex(), self.lost, self.read_us]).encode()


def unpack_cursor(data: bytes) -> Cursor:
    """Return what `Cursor.pack` gave; raises ValueError or TypeError for anything else."""
    device, boot, following, chain, lost, read_us = json.loads(data)
    return Cursor(device, boot, following, bytes.fromhex(chain), lost, read_us)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a board had at one time: all of it belongs to the start that `hello` names."""

    hello: Hello
    batch: RecordBatch

    @property
    def first(self) -> int:
        """The number of the oldest record that waits, or of the next one to come."""
        return self.batch.next_sequence - len(self.batch.records) & NUMBER_MAX


@dataclass(frozen=True, slots=True)
class Naming:
    """What a gateway makes of bytes of its board.

    `program_of` returns rule and id of the program whose id begins with these bytes, ("", None) for one that is not
    known. `outputs` are the names of the board's outputs, in the order of their bits.
    """

    program_of: Callable[[bytes], tuple[str, bytes | None]]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What one transaction adds, and where the cursor is then."""

    cursor: Cursor
    bodies: tuple[Body, ...] = ()
    lost: Unrecorded | None = None

    def batch(self, now_us: int) -> Batch:
        """Return what the store commits."""
        drafts = [Draft(now_us, body) for body in self.bodies]
        return Batch(drafts, put_meta=((CURSOR_KEY, self.cursor.pack()),), unrecorded=self.lost)


def steps_of(before: Cursor, reading: Reading, seen: int, naming: Naming, now_us: int) -> list[Step]:
    """Return what the audit takes of a reading, in this order; nothing when it has all of it.

    `seen`: how many records behind the cursor the board had when it was asked last in the start of the cursor.
    """
    hello, at, steps, reason = reading.hello, before, list[Step](), ""
    begun = Cursor(hello.device, hello.boot, 0, first_chain(hello.device, hello.boot), 0, before.read_us or now_us)
    if not before.is_same_start(begun):
        steps += _lost(before, seen, BoardLoss.RESTART, now_us)
        at, reason = begun, BoardBreak.STARTED
    ahead = reading.first - at.next & NUMBER_MAX
    missing = ahead if ahead <= NEWER_MAX else 0
    full = min(missing, reading.batch.lost - at.lost & NUMBER_MAX)
    for count, why in ((full, BoardLoss.FULL), (missing - full, BoardLoss.TAKEN)):
        gaps = _lost(at, count, why, now_us)
        steps, at = steps + gaps, gaps[-1].cursor if gaps else at
    return steps + _taken(at, reading, BoardBreak.MISSING if not at.chain else reason, naming, now_us)


def _lost(at: Cursor, count: int, reason: BoardLoss, now_us: int) -> list[Step]:
    """Return the step over records that nobody has any more; none where there are none."""
    if not count:
        return []
    cursor = Cursor(at.device, at.boot, at.next + count & NUMBER_MAX, b"", at.lost, now_us)
    return [Step(cursor, lost=Unrecorded(count, at.read_us, now_us, str(reason)))]


def _taken(at: Cursor, reading: Reading, reason: str, naming: Naming, now_us: int) -> list[Step]:
    """Return the step that takes the records behind the cursor, behind a BOARD_CHAIN where a `reason` asks for one."""
    hello, batch = reading.hello, reading.batch
    known = at.next - reading.first & NUMBER_MAX
    if known > len(batch.records):  # numbers that went back: whatever they are, they are not those before
        known, reason = 0, BoardBreak.BROKEN
    new = batch.records[known:]
    chain = _folded(batch.chain_before, batch.records[:known])
    if (at.chain and chain != at.chain) or (new and not batch.is_whole):
        reason = BoardBreak.BROKEN
    bodies = tuple(_body(hello.boot, record, naming) for record in new)
    if new:
        bodies = (*bodies[:-1], replace(bodies[-1], chain=batch.chain_after))
    number = reading.first + known & NUMBER_MAX
    begins = BoardChainBody(hello.device, hello.boot, number, chain, str(reason), hello.firmware)
    end = Cursor(hello.device, hello.boot, batch.next_sequence, _folded(chain, new), batch.lost, now_us)
    if not bodies and not reason and end.lost == at.lost:
        return []
    return [Step(end, (begins, *bodies) if reason else bodies)]


def _folded(chain: bytes, records: Iterable[BoardRecord]) -> bytes:
    for record in records:
        chain = next_chain(chain, record.sequence, record.raw)
    return chain


def _body(boot: int, record: BoardRecord, naming: Naming) -> BoardRecordBody:
    found = read_execution(record.raw)
    if found is None:
        return BoardRecordBody(boot, record.sequence, record.raw)
    rule, program_id = naming.program_of(found.program_key)
    return BoardRecordBody(boot, record.sequence, record.raw, rule, program_id, None, naming.outputs)
