"""A light board on a pseudo-terminal: it speaks the real frames and messages of the link, and has no firmware.

What it does not prove (verifier, flash, timing) the tests with firmware prove. It costs a thread, and no build.
"""

from __future__ import annotations

import os
import pty
import select
import struct
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from eyeflow.board_link.codec import Encoding, decompress
from eyeflow.board_link.dictionary import DICTIONARIES
from eyeflow.board_link.frames import ANSWER, Frame, Receiver, encode_frame
from eyeflow.board_link.messages import Code, Fields, Request, Reset, Slot, Unasked, text
from eyeflow.protocol.board_records import first_chain, next_chain
from eyeflow.svm.container import SignedProgram, decode
from eyeflow.svm.opcodes import ABI

PLACES = 4
PAYLOAD_BYTES_MAX = 128
PROGRAM_BYTES_MAX = 6764


@dataclass(slots=True)
class HeldProgram:
    """A program on the board; `trap` and `pc` are its last fault."""

    signed: SignedProgram
    size_bytes: int
    running: bool = True
    trap: int = 0
    pc: int = 0
    executions: int = 0
    traps: int = 0
    failures: int = 0
    previous: HeldProgram | None = None
    good: bool = False
    """It has proved itself: then it is what the board goes back to."""


@dataclass(slots=True)
class BoardDouble:
    """The board. `answers` False: it says nothing. `says` is sent without being asked, as fast as the line takes it.

    `times` are the times that it was told, `requests` what it was asked.
    """

    chip: str = "STM32F401CC"
    device: bytes = bytes(range(8))
    boot: int = 1
    delegates_llm: bool = False
    abi: int = ABI
    answers: bool = True
    says: bytes = b""
    refuses_push: Code | None = None
    programs: dict[int, HeldProgram] = field(default_factory=dict)
    staged: dict[int, HeldProgram] = field(default_factory=dict)
    is_old: bool = False
    """Its firmware is older: it has no second slots, and its answers are shorter."""
    params: dict[tuple[str, int], bytes] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    pieces: int = 0
    """Pieces of programs that it took."""
    breaks: bool = False
    """What it is sent does not run: it stops a new program after faults at once."""
    pieces_max: int = 1 << 30
    """After so many pieces of a program it stops answering, until `answers` is set again."""
    reset_cause: Reset = Reset.POWER
    refuses_remove: Code | None = None
    executes: int = 0
    """Executions that it counts more of each program when it is asked: a rule that runs all the time."""
    goes_back_from: str = ""
    """The version that faults here: after three executions it runs the program before again, or none."""
    loses: Request | None = None
    """The next answer to this request is lost on the line."""
    records: list[bytes] = field(default_factory=list)
    """The records of this start, from number 0 on; `oldest` is the first that waits, `lost` made room for others."""
    ring_records: int = 15
    oldest: int = 0
    lost: int = 0
    llm_answers: list[bytes] = field(default_factory=list)
    """What it was answered to its questions: the payloads of LLM_ANSWER."""
    once: list[bytes] = field(default_factory=list)
    """Frames that it sends once, unasked."""
    _wanted: tuple[str, int, int, int, int, bool] | None = None
    _received: bytearray = field(default_factory=bytearray)

    def restart(self) -> None:
        """Lose power: what is on flash stays."""
        self.boot += 1
        self.records, self.oldest, self.lost = [], 0, 0
        self._wanted, self._received = None, bytearray()

    def record(self, raw: bytes) -> None:
        """Record something, as its firmware does."""
        self.records.append(raw)
        if len(self.records) - self.oldest > self.ring_records:
            self.oldest, self.lost = self.oldest + 1, self.lost + 1

    def run(self, levels: int, *, time_us: int = 0, trap: int = 0, place: int = 0) -> None:
        """Record an execution of the program in a place."""
        key = bytes.fromhex(self.programs[place].signed.program_id)[:8] if place in self.programs else bytes(8)
        head = struct.pack("<4BHHIQ8s", 1, place, 2 if trap else 0, trap, 3, 0, 40, time_us, key)
        self.record(head + struct.pack("<IB", levels, 1))

    def ask(self, number: int, site: int, *texts: str, place: int = 0) -> None:
        """Ask for a language model, in pieces as its firmware does."""
        question = b"".join(bytes([3, len(one.encode())]) + one.encode() for one in texts)
        for offset in range(0, len(question), 120):
            head = struct.pack("<BBHHH", number, place, site, offset, len(question))
            self.once.append(encode_frame(Frame(Unasked.LLM_REQUEST, 0, head + question[offset : offset + 120])))

    def emit(self, number: int, site: int, fields: bytes, place: int = 0) -> None:
        """Say that a rule emitted an event; `fields` are its values, each with its type."""
        for offset in range(0, max(len(fields), 1), 120):
            head = struct.pack("<BBHHH", number, place, site, offset, len(fields))
            self.once.append(encode_frame(Frame(Unasked.EVENT, 0, head + fields[offset : offset + 120])))

    def _chain(self, count: int) -> bytes:
        chain = first_chain(self.device.hex(), self.boot)
        for number, raw in enumerate(self.records[:count]):
            chain = next_chain(chain, number, raw)
        return chain

    def _records(self, request: Request, fields: Fields) -> bytes:
        if request is Request.RECORDS_READ:
            return self._read(fields.number("I"))
        if request is Request.RECORDS_ACK:
            self.oldest = min(max(self.oldest, fields.number("I")), len(self.records))
            return bytes([Code.OK])
        if request is Request.LLM_ANSWER:
            self.llm_answers.append(fields.payload)
            return bytes([Code.OK])
        numbers = (self.oldest, len(self.records), self.lost)
        ends = self._chain(self.oldest) + self._chain(len(self.records))
        return struct.pack("<BIII", Code.OK, *numbers) + ends

    def _read(self, wanted: int) -> bytes:
        first = wanted if self.oldest <= wanted <= len(self.records) else self.oldest
        found = bytearray(struct.pack("<BI", Code.OK, first))
        for raw in self.records[first:]:
            if len(found) + 1 + len(raw) > PAYLOAD_BYTES_MAX:
                break
            found += bytes([len(raw)]) + raw
        return bytes(found)

    def answer(self, frame: Frame) -> bytes:
        """Return the payload of the answer."""
        request, fields = Request(frame.kind), Fields(frame.payload)
        self.requests.append(request)
        match request:
            case Request.HELLO:
                return self._hello()
            case Request.PING:
                return bytes([Code.OK]) + frame.payload
            case Request.TIME:
                self.times.append(fields.number("Q"))
                return bytes([Code.OK])
            case Request.INFO:
                return self._info(fields.number("B"), fields.take(fields.left))
            case Request.COUNTERS:
                return self._counters(fields.number("B"))
            case Request.HEALTH:
                return self._health()
            case Request.PUSH_BEGIN:
                return self._begin(fields, staged=False)
            case Request.STAGE_BEGIN | Request.SWITCH | Request.BACK | Request.DROP | Request.GOOD if not self.is_old:
                return self._answer_slots(request, fields)
            case Request.PUSH_DATA:
                return self._data(fields.number("I"), fields.take(fields.left))
            case Request.PUSH_END:
                return self._end(frame.payload.hex())
            case Request.REMOVE:
                return self._remove(fields.text())
            case Request.RECORDS_INFO | Request.RECORDS_READ | Request.RECORDS_ACK | Request.LLM_ANSWER:
                return self._records(request, fields)
            case Request.SET_PARAM:
                rule, index = fields.text(), fields.number("B")
                self.params[rule, index] = fields.take(8)
                return bytes([Code.OK])
        return bytes([Code.NOT_SUPPORTED])

    def _answer_slots(self, request: Request, fields: Fields) -> bytes:
        if request is Request.STAGE_BEGIN:
            return self._begin(fields, staged=True)
        if request is Request.GOOD:
            place = self._find(fields.payload.hex(), Slot.RUNNING)
            if place is not None:
                self.programs[place].good = True
            return bytes([Code.UNKNOWN if place is None else Code.OK])
        if request is Request.DROP:
            return bytes([self._drop(fields.payload.hex())])
        return bytes([self._exchange(request, fields.payload)])

    def _hello(self) -> bytes:
        numbers = struct.pack("<BHBIBB", 1, 1, PLACES, PROGRAM_BYTES_MAX, self.abi, 2 * self.delegates_llm)
        return (
            bytes([Code.OK])
            + numbers
            + self.device
            + bytes(8)
            + struct.pack("<I", self.boot)
            + (text(self.chip) + text("0.1.0"))
        )

    def _health(self) -> bytes:
        numbers = (65536, 4096, 65536, 9000, 1000, 900, 50, 0, 1, 60_000)
        stack = b"" if self.is_old else struct.pack("<BII", self.reset_cause, 4096, 1800)
        return bytes([Code.OK]) + struct.pack("<9IQ", *numbers) + stack

    def _info(self, place: int, slot: bytes) -> bytes:
        if self.is_old and slot:
            return bytes([Code.MALFORMED])
        running = self.programs.get(place)
        previous, staged = running and running.previous, self.staged.get(place)
        held = {Slot.RUNNING: running, Slot.PREVIOUS: previous, Slot.STAGED: staged}[Slot(slot[0] if slot else 0)]
        flags = 2 * (previous is not None) + 4 * (staged is not None)
        if held is None:
            return bytes([Code.UNKNOWN] if self.is_old else [Code.UNKNOWN, flags])
        flags += held.good
        numbers = struct.pack("<BIQ", flags, held.size_bytes, held.signed.program.sequence)
        program = held.signed.program
        return (
            bytes([Code.OK])
            + numbers
            + bytes.fromhex(held.signed.program_id)
            + (text(program.rule) + text(program.version))
        )

    def _counters(self, place: int) -> bytes:
        self._run(place)
        held = self.programs.get(place)
        if held is None:  # as the firmware does; a test may have taken it away between two questions
            return bytes([Code.OK]) + bytes(24)
        return bytes([Code.OK]) + struct.pack(
            "<BBH5I", held.running, held.trap, held.pc, held.executions, held.traps, 0, held.failures, 40
        )

    def _run(self, place: int) -> None:
        held = self.programs.get(place)
        if held is None or not held.running:
            return
        held.executions += self.executes
        if held.signed.program.version != self.goes_back_from:
            return
        held.traps, held.trap, held.pc = held.traps + 1, 4, 17
        if held.traps >= 3 and held.previous is not None:
            self.programs[place] = held.previous
        elif held.traps >= 3:
            held.running = False

    def _place_of(self, rule: str) -> int | None:
        there = [*self.programs.items(), *self.staged.items()]
        return next((place for place, held in there if held.signed.program.rule == rule), None)

    def _find(self, program_id: str, slot: Slot) -> int | None:
        running = self.programs.items()
        there = {
            Slot.RUNNING: running,
            Slot.PREVIOUS: [(place, held.previous) for place, held in running if held.previous is not None],
            Slot.STAGED: self.staged.items(),
        }[slot]
        return next((place for place, held in there if held.signed.program_id == program_id), None)

    def _exchange(self, request: Request, payload: bytes) -> Code:
        ids = [payload[at : at + 32].hex() for at in range(0, len(payload), 32)]
        slot = Slot.STAGED if request is Request.SWITCH else Slot.PREVIOUS
        waiting = [one for one in ids if self._find(one, Slot.RUNNING) is None]
        places = [self._find(one, slot) for one in waiting]
        if None in places:
            return Code.UNKNOWN
        for place in places:
            assert place is not None
            before = self.programs.get(place)
            if slot is Slot.PREVIOUS:
                assert before is not None and before.previous is not None
                self.programs[place] = before.previous
            else:
                self._install(place, self.staged.pop(place))
        return Code.OK if waiting else Code.ALREADY

    def _install(self, place: int, made: HeldProgram) -> None:
        """As the firmware: last known good stays what has proved itself, when there is such a program."""
        before = self.programs.get(place)
        is_kept = before is None or before.good or before.previous is None
        made.previous = before if is_kept or before is None else before.previous
        self.programs[place] = made

    def _drop(self, program_id: str) -> Code:
        place = self._find(program_id, Slot.STAGED)
        if place is None:
            return Code.UNKNOWN
        del self.staged[place]
        return Code.OK

    def _begin(self, fields: Fields, *, staged: bool) -> bytes:
        program_id = fields.take(32).hex()
        _, size, encoded, _, encoding, dictionary = fields.unpack("QIIBBH")
        fields.text()
        if self.refuses_push is not None:
            return struct.pack("<BQ", self.refuses_push, 0)
        slots = (Slot.RUNNING, Slot.STAGED) if staged else (Slot.RUNNING,)
        if any(self._find(program_id, slot) is not None for slot in slots):
            self._wanted = None
            return struct.pack("<BQ", Code.ALREADY, 0)
        wanted = (program_id, size, encoded, encoding, dictionary, staged)
        if wanted != self._wanted:
            self._wanted, self._received = wanted, bytearray()
        return struct.pack("<BQ", Code.OK, len(self._received))

    def _data(self, offset: int, data: bytes) -> bytes:
        if self._wanted is None:
            return struct.pack("<BI", Code.NO_TRANSFER, 0)
        if offset != len(self._received):
            return struct.pack("<BI", Code.OFFSET, len(self._received))
        self._received += data
        self.pieces += 1
        self.pieces_max -= 1
        if self.pieces_max == 0:
            self.answers = False
        return struct.pack("<BI", Code.OK, len(self._received))

    def _end(self, program_id: str) -> bytes:
        if self._wanted is None:
            found = self._find(program_id, Slot.RUNNING)
            found = self._find(program_id, Slot.STAGED) if found is None else found
            return struct.pack("<BBIB", Code.NO_TRANSFER if found is None else Code.ALREADY, 0, 0, found or 0)
        _, size, _, encoding, dictionary, staged = self._wanted
        data = bytes(self._received)
        if encoding != Encoding.RAW:
            data = decompress(data, size, DICTIONARIES[dictionary] if dictionary else b"")
        signed = decode(data)
        assert signed.program_id == program_id
        place = self._place_of(signed.program.rule)
        if place is None:
            place = next(number for number in range(PLACES) if number not in {*self.programs, *self.staged})
        made = HeldProgram(signed, len(data), not self.breaks, 7 * self.breaks)
        self._wanted = None
        if staged:
            self.staged[place] = made
        else:
            self._install(place, made)
            self.staged.pop(place, None)
        return struct.pack("<BBIB", Code.OK, 0, 0, place)

    def _remove(self, rule: str) -> bytes:
        place = self._place_of(rule)
        if place is None or self.refuses_remove is not None:
            return bytes([self.refuses_remove or Code.UNKNOWN])
        self.programs.pop(place, None)
        self.staged.pop(place, None)
        return bytes([Code.OK])


def log_line(words: str, level: int = 1) -> bytes:
    """Return a line of a board's log as it goes over the line."""
    return encode_frame(Frame(Unasked.LOG, 0, bytes([level]) + words.encode()))


@contextmanager
def plugged_in(board: BoardDouble) -> Iterator[str]:
    """The device path of the board's serial port, while it is plugged in; another one each time."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    stop_reading, stop_writing = os.pipe()
    os.set_blocking(master, False)
    thread = threading.Thread(target=_serve, args=(board, master, stop_reading))
    thread.start()
    try:
        yield path
    finally:
        os.close(stop_writing)
        thread.join()
        for end in (master, slave, stop_reading):
            os.close(end)


def _serve(board: BoardDouble, master: int, stop: int) -> None:
    receiver = Receiver()
    while True:
        ready, writable, _ = select.select([master, stop], [master] if board.says else [], [], 0.05)
        if stop in ready:
            return
        while board.once:
            _write(master, board.once.pop(0))
        if writable and board.says:
            _write(master, board.says)
        if master not in ready:
            continue
        for frame in receiver.feed(os.read(master, 4096)):
            if board.answers:
                payload = board.answer(frame)
                if frame.kind == board.loses:
                    board.loses = None
                elif board.answers:
                    _write(master, encode_frame(Frame(frame.kind | ANSWER, frame.sequence, payload)))


def _write(master: int, data: bytes) -> None:
    try:
        os.write(master, data)
    except BlockingIOError:
        return  # nobody reads: a serial line loses it
