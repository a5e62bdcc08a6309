"""The messages of the serial link as bytes. docs/serial-link.md, Messages."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

PROTOCOL = 1
DATA_BYTES_MAX = 112
"""Bytes of a program in one PUSH_DATA."""
PLACES_MAX = 16


class Request(IntEnum):
    """What the host asks for; the answer has the same number with `frames.ANSWER` set."""

    HELLO = 0x01
    PING = 0x02
    TIME = 0x03
    INFO = 0x04
    COUNTERS = 0x05
    HEALTH = 0x06
    PUSH_BEGIN = 0x10
    PUSH_DATA = 0x11
    PUSH_END = 0x12
    REMOVE = 0x13
    SET_PARAM = 0x14
    STAGE_BEGIN = 0x15
    SWITCH = 0x16
    BACK = 0x17
    DROP = 0x18
    GOOD = 0x19
    RECORDS_INFO = 0x20
    RECORDS_READ = 0x21
    RECORDS_ACK = 0x22
    LLM_ANSWER = 0x30


class Unasked(IntEnum):
    """What the board says without being asked."""

    LOG = 0xC0
    LLM_REQUEST = 0xC1
    TELEMETRY = 0xC2
    EVENT = 0xC3


class Code(IntEnum):
    """The first byte of every answer."""

    OK = 0
    ALREADY = 1
    WAIT = 2
    TOO_BIG = 0x10
    NO_ROOM = 0x11
    UNSIGNED = 0x12
    FOREIGN_SIGNED = 0x13
    BAD_SIGNATURE = 0x14
    OLDER = 0x15
    FIFTH_PROGRAM = 0x16
    WRONG_ABI = 0x17
    WRONG_CHIP = 0x18
    OTHER_DICTIONARY = 0x19
    BAD_HASH = 0x1A
    BAD_ENCODING = 0x1B
    UNVERIFIED = 0x1C
    OTHER_PROGRAM = 0x1D
    INCAPABLE = 0x1E
    STORAGE = 0x1F
    NO_TRANSFER = 0x20
    OFFSET = 0x21
    UNKNOWN = 0x22
    MALFORMED = 0x23
    NOT_SUPPORTED = 0x24
    BAD_VALUE = 0x25


Value = bool | int | float | str


class MalformedAnswerError(ValueError):
    """An answer whose CRC is right but whose content is not of this protocol."""


def plain(raw: bytes) -> str:
    """Return a text of a board as it may be shown: what would steer a terminal is replaced."""
    text = raw.decode("utf-8", "replace").translate({10: " ", 13: " ", 9: " "})
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


class Fields:
    """Reads the fields of a payload one after the other; raises MalformedAnswerError when it is too short."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.at = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        found = self.payload[self.at : self.at + count]
        if len(found) != count:
            raise MalformedAnswerError(f"{count} bytes expected at {self.at}, {len(found)} are there")
        self.at += count
        return found

    def unpack(self, form: str) -> tuple[int, ...]:
        """Return the next little-endian numbers, in the letters of `struct`."""
        layout = struct.Struct("<" + form)
        return layout.unpack(self.take(layout.size))

    def number(self, form: str) -> int:
        """Return the next number."""
        return self.unpack(form)[0]

    def text(self) -> str:
        """Return a text with a length byte in front."""
        return plain(self.take(self.number("B")))

    def code(self) -> Code:
        """Return the code that an answer starts with."""
        number = self.number("B")
        try:
            return Code(number)
        except ValueError:
            raise MalformedAnswerError(f"code {number} is not known") from None

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self.payload) - self.at


def text(value: str) -> bytes:
    """Return a text with its length byte in front."""
    raw = value.encode("utf-8")
    return bytes([len(raw)]) + raw


@dataclass(frozen=True, slots=True)
class Hello:
    """Who the board is. `key` is the fingerprint of the public key that it trusts, `device` the chip's own number."""

    protocol: int
    dictionary: int
    places: int
    program_bytes_max: int
    abi: int
    keyed_mac: bool
    delegates_llm: bool
    device: str
    key: str
    boot: int
    chip: str
    firmware: str

    @classmethod
    def read(cls, fields: Fields) -> Hello:
        """Read the answer to HELLO, after its code."""
        protocol, dictionary, places, size_max = fields.unpack("BHBI")
        abi, flags = fields.unpack("BB")
        device, key = fields.take(8).hex(), fields.take(8).hex()
        boot = fields.number("I")
        chip, firmware = fields.text(), fields.text()
        mac, llm = bool(flags & 1), bool(flags & 2)
        return cls(protocol, dictionary, places, size_max, abi, mac, llm, device, key, boot, chip, firmware)


@dataclass(frozen=True, slots=True)
class Installed:
    """A program on the board. `good` says that it has proved itself, `has_previous` that there is one to go back to.

    `has_staged`: another program of the rule waits in the second slot of the place.
    """

    place: int
    rule: str
    version: str
    program_id: str
    sequence: int
    size_bytes: int
    good: bool
    has_previous: bool
    has_staged: bool = False

    @classmethod
    def read(cls, place: int, fields: Fields) -> Installed:
        """Read the answer to INFO, after its code."""
        flags, size, sequence = fields.unpack("BIQ")
        program_id = fields.take(32).hex()
        rule, version = fields.text(), fields.text()
        return cls(place, rule, version, program_id, sequence, size, bool(flags & 1), bool(flags & 2), bool(flags & 4))


@dataclass(frozen=True, slots=True)
class Counters:
    """What a program did since the board started. `trap` 0: it never trapped; else `pc` is the instruction."""

    running: bool
    trap: int
    pc: int
    executions: int
    traps: int
    skips: int
    failures: int
    fuel_max: int

    @classmethod
    def read(cls, fields: Fields) -> Counters:
        """Read the answer to COUNTERS, after its code."""
        running, *rest = fields.unpack("BBH5I")
        return cls(bool(running), *rest)


class Slot(IntEnum):
    """Which program of a place INFO is asked about."""

    RUNNING = 0
    PREVIOUS = 1
    STAGED = 2


class Reset(IntEnum):
    """Why a board started last."""

    UNKNOWN = 0
    POWER = 1
    PIN = 2
    WATCHDOG = 3
    FAULT = 4
    SOFTWARE = 5


@dataclass(frozen=True, slots=True)
class Health:
    """How the board is. `generation` counts how often the flash was cleaned up.

    `stack_used_bytes` is the most that was ever used of the `stack_bytes`; both are 0 where the firmware does not tell.
    """

    flash_bytes: int
    flash_used_bytes: int
    ram_bytes: int
    ram_used_bytes: int
    scans: int
    scan_us_max: int
    frames_good: int
    frames_bad: int
    generation: int
    uptime_ms: int
    reset: int = 0
    stack_bytes: int = 0
    stack_used_bytes: int = 0

    @classmethod
    def read(cls, fields: Fields) -> Health:
        """Read the answer to HEALTH, after its code. Older firmware tells neither reset nor stack."""
        known = fields.unpack("9IQ")
        return cls(*known, *(fields.unpack("BII") if fields.left else ()))

    @property
    def reset_cause(self) -> Reset:
        """Why the board started last; UNKNOWN for a cause that this version does not know."""
        return Reset(self.reset) if self.reset in set(Reset) else Reset.UNKNOWN


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the board's log; `level` 0 debug, 1 info, 2 warning, 3 error."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """A question of a rule on the board for the host's language model, to be answered with the same `number`.

    `args` are those of the call at `site` of the program in `place`.
    """

    number: int
    place: int
    site: int
    args: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class EmittedEvent:
    """An event that the rule in `place` emitted at `site`, with its fields as `args`. The board says it once."""

    number: int
    place: int
    site: int
    args: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A piece of a question (`kind` LLM_REQUEST) or of an event: `data` from `offset` on, of `size` bytes."""

    kind: Unasked

    number: int
    place: int
    site: int
    offset: int
    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Bytes that the firmware sends on its own."""

    data: bytes


def read_unasked(kind: int, payload: bytes) -> LogLine | CallPiece | Telemetry | None:
    """Return what the board said unasked, or None for a type that this version does not know."""
    fields = Fields(payload)
    try:
        if kind == Unasked.LOG:
            return LogLine(fields.number("B"), plain(fields.take(fields.left)))
        if kind in (Unasked.LLM_REQUEST, Unasked.EVENT):
            number, place, site, offset, size = fields.unpack("BBHHH")
            return CallPiece(Unasked(kind), number, place, site, offset, size, fields.take(fields.left))
    except MalformedAnswerError:
        return None
    return Telemetry(payload) if kind == Unasked.TELEMETRY else None


def push_begin(program_id: str, sequence: int, size: int, encoded: tuple[int, int, int], abi: int, rule: str) -> bytes:
    """Return the payload of PUSH_BEGIN and STAGE_BEGIN; `encoded` is (bytes, encoding, dictionary version)."""
    encoded_bytes, encoding, dictionary = encoded
    numbers = struct.pack("<QIIBBH", sequence, size, encoded_bytes, abi, encoding, dictionary)
    return bytes.fromhex(program_id) + numbers + text(rule)
