"""Pushing a program: a conversation without I/O. docs/serial-link.md, Push."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.codec import Encoded, Encoding, encode_smallest
from eyeflow.board_link.messages import DATA_BYTES_MAX, Code, Fields, Hello, Request, push_begin
from eyeflow.board_link.refusals import no_slots, refusal, too_little_memory
from eyeflow.board_link.session import Ask
from eyeflow.svm.container import SignedProgram, decode
from eyeflow.svm.opcodes import ABI
from eyeflow.svm.program import Profile, Program, SiteKind

WAITS_MAX = 4096
"""Steps of cleaning up the flash that are waited for; the largest flash has a few hundred sectors and records."""
RESTARTS_MAX = 3
STALLS_MAX = 16
"""Answers in a row that do not bring the transfer on."""

Progress = Callable[[int, int], None]
"""Is called with the bytes that the board has, and the bytes of the whole transfer."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a push. `already` means that the board had the program and nothing was sent."""

    rule: str
    program_id: str
    place: int
    already: bool
    size_bytes: int
    sent_bytes: int
    encoding: str
    resumed_from_bytes: int


class _TransferLostError(Exception):
    """Begin the transfer again."""

    def __init__(self, code: Code) -> None:
        self.code = code


@dataclass(slots=True)
class _Transfer:
    signed: SignedProgram
    encoded: Encoded
    size_bytes: int
    hello: Hello
    progress: Progress
    begin: Request
    resumed_from: int | None = None

    def refused(self, code: Code, **facts: object) -> EyeflowError:
        program = self.signed.program
        known = {"rule": program.rule, "size": self.size_bytes, "abi": ABI, "target": _target(program)}
        if code is Code.NOT_SUPPORTED:
            return no_slots(self.hello)
        known |= {"mine": program.version, "uses": _uses(program)}
        known["theirs"] = self._older_than(int(str(facts.get("number", 0))))
        return refusal(code, self.hello, **{**known, **facts})

    def _older_than(self, floor: int) -> str:
        """Return what a sequence of the board means: the version it was made from, when versions give sequences."""
        program = self.signed.program
        if _version(program.sequence) == program.version:
            return _version(floor)
        return f"sequence {floor} (this one has {program.sequence})"

    def announcement(self) -> bytes:
        encoded = (len(self.encoded.data), int(self.encoded.encoding), self.encoded.dictionary)
        program = self.signed.program
        return push_begin(self.signed.program_id, program.sequence, self.size_bytes, encoded, ABI, program.rule)


def _version(sequence: int) -> str:
    return f"{sequence >> 40}.{sequence >> 20 & 0xFFFFF}.{sequence & 0xFFFFF}"


def _target(program: Program) -> str:
    return program.chip or ("a computer (profile linux)" if program.profile is Profile.LINUX else "any chip")


def _uses(program: Program) -> str:
    """Return what a program asks of a board, for people."""
    pins = [f"pin {pin.name}" for pin in program.pins]
    capabilities = sorted({site.capability for site in program.sites if site.kind in (SiteKind.READ, SiteKind.ACT)})
    triggers = sorted({f"trigger {one.source or one.kind.name.lower()}" for one in program.triggers})
    return ", ".join([*pins, *capabilities, *triggers]) or "nothing"


def push(data: bytes, hello: Hello, progress: Progress, *, staged: bool = False) -> Generator[Ask, bytes, Pushed]:
    """Push the `.svm` file `data`; raises EyeflowError for each refusal, ProgramError for what is no program.

    `staged`: it waits in the second slot of its place until the board is told to switch.
    """
    signed = decode(data)
    fits = len(data) <= hello.program_bytes_max
    # The board says the same; but compressing what it will not take could last for minutes.
    encoded = encode_smallest(data, hello.dictionary) if fits else Encoded(Encoding.RAW, 0, data)
    begin = Request.STAGE_BEGIN if staged else Request.PUSH_BEGIN
    transfer = _Transfer(signed, encoded, len(data), hello, progress, begin)
    for _ in range(RESTARTS_MAX):
        try:
            return (yield from _attempt(transfer))
        except _TransferLostError as again:
            last = again.code
    raise transfer.refused(last)


def _attempt(transfer: _Transfer) -> Generator[Ask, bytes, Pushed]:
    start = yield from _begin(transfer)
    if start is None:
        return (yield from _end(transfer, sent=0))
    if transfer.resumed_from is None:
        transfer.resumed_from = start
    sent = yield from _send(transfer, start)
    return (yield from _end(transfer, sent=sent))


def _begin(transfer: _Transfer) -> Generator[Ask, bytes, int | None]:
    """Return where to go on, or None when the board has the program already."""
    ask = Ask(transfer.begin, transfer.announcement(), slow=True)
    for _ in range(WAITS_MAX):
        fields = Fields((yield ask))
        code = fields.code()
        number = fields.number("Q") if fields.left else 0  # older firmware: NOT_SUPPORTED, and no more
        if code == Code.OK:
            return number
        if code == Code.ALREADY:
            return None
        if code != Code.WAIT:
            raise transfer.refused(code, number=number)
    raise transfer.refused(Code.STORAGE)


def _send(transfer: _Transfer, start: int) -> Generator[Ask, bytes, int]:
    """Send what the board does not have; returns the bytes sent."""
    data = transfer.encoded.data
    at, sent, stalls = start, 0, 0
    while at < len(data):
        transfer.progress(at, len(data))
        piece = data[at : at + DATA_BYTES_MAX]
        fields = Fields((yield Ask(Request.PUSH_DATA, struct.pack("<I", at) + piece)))
        code, wanted = fields.code(), fields.number("I")
        if code in {Code.NO_TRANSFER, Code.BAD_ENCODING}:
            raise _TransferLostError(code)
        if code not in {Code.OK, Code.OFFSET}:
            raise transfer.refused(code)
        stalls = 0 if wanted > at else stalls + 1
        if stalls > STALLS_MAX:
            raise transfer.refused(Code.OFFSET)
        sent += len(piece)
        at = wanted
    transfer.progress(len(data), len(data))
    return sent


def _end(transfer: _Transfer, sent: int) -> Generator[Ask, bytes, Pushed]:
    ask = Ask(Request.PUSH_END, bytes.fromhex(transfer.signed.program_id), slow=True)
    fields = Fields((yield ask))
    code, why, at, place = fields.code(), *fields.unpack("BIB")
    if code in {Code.NO_TRANSFER, Code.OFFSET, Code.BAD_HASH, Code.BAD_ENCODING}:
        raise _TransferLostError(code)
    if code == Code.TOO_BIG:  # its bytes were counted at the beginning: this is about its memory
        raise too_little_memory(transfer.hello, transfer.signed.program.rule)
    if code not in {Code.OK, Code.ALREADY}:
        raise transfer.refused(code, why=why, at=at)
    return Pushed(
        rule=transfer.signed.program.rule,
        program_id=transfer.signed.program_id,
        place=place,
        already=code == Code.ALREADY and transfer.resumed_from is None,
        size_bytes=transfer.size_bytes,
        sent_bytes=sent,
        encoding=transfer.encoded.encoding.name.lower(),
        resumed_from_bytes=transfer.resumed_from or 0,
    )
