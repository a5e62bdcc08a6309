"""What a host asks of a board, as conversations without I/O: generators of `session.Ask`. docs/serial-link.md."""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass

from eyeflow.board_link import failures
from eyeflow.board_link.messages import (
    PROTOCOL,
    Code,
    Counters,
    Fields,
    Health,
    Hello,
    Installed,
    MalformedAnswerError,
    Request,
)
from eyeflow.board_link.refusals import refusal
from eyeflow.board_link.session import Ask


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `eyeflow mcu status` shows; `counters` belong to `programs` one by one."""

    hello: Hello
    health: Health
    programs: tuple[Installed, ...]
    counters: tuple[Counters, ...]

    @property
    def pairs(self) -> tuple[tuple[Installed, Counters], ...]:
        """Each program with its counters."""
        return tuple(zip(self.programs, self.counters, strict=True))


def hello(url: str) -> Generator[Ask, bytes, Hello]:
    """Ask who the board is; `url` is for the message of one that speaks another protocol."""
    fields = Fields((yield Ask(Request.HELLO)))
    code = fields.code()
    if code != Code.OK:
        raise refusal(code, None)
    protocol = fields.payload[fields.at] if fields.left else -1
    if protocol != PROTOCOL:
        raise failures.other_protocol(url, protocol)
    return Hello.read(fields)


def programs(hello: Hello) -> Generator[Ask, bytes, tuple[Installed, ...]]:
    """Ask what is installed, by place."""
    found = []
    for place in range(hello.places):
        fields = Fields((yield Ask(Request.INFO, bytes([place]))))
        code = fields.code()
        if code == Code.OK:
            found.append(Installed.read(place, fields))
        elif code != Code.UNKNOWN:
            raise refusal(code, hello)
    return tuple(found)


def status(hello: Hello) -> Generator[Ask, bytes, Status]:
    """Ask how the board is, what it runs and what that did."""
    health = Health.read((yield from _accepted(Ask(Request.HEALTH), hello)))
    installed = yield from programs(hello)
    counters = []
    for program in installed:
        ask = Ask(Request.COUNTERS, bytes([program.place]))
        counters.append(Counters.read((yield from _accepted(ask, hello))))
    return Status(hello, health, installed, tuple(counters))


def _accepted(ask: Ask, hello: Hello, rule: str = "") -> Generator[Ask, bytes, Fields]:
    fields = Fields((yield ask))
    code = fields.code()
    if code != Code.OK:
        raise refusal(code, hello, rule=rule or "the program")
    return fields


def done(ask: Ask, hello: Hello, rule: str) -> Generator[Ask, bytes, None]:
    """Ask for something that has no answer but that it is done."""
    yield from _accepted(ask, hello, rule)


def ping(data: bytes) -> Generator[Ask, bytes, None]:
    """Ask for the same bytes back."""
    fields = Fields((yield Ask(Request.PING, data)))
    if fields.code() != Code.OK or fields.take(fields.left) != data:
        raise MalformedAnswerError("the board sent other bytes back")


def set_time(time_us: int, utc_offset_s: int, hello: Hello) -> Generator[Ask, bytes, None]:
    """Tell the wall-clock time, in microseconds since 1970 UTC."""
    yield from done(Ask(Request.TIME, struct.pack("<Qi", time_us, utc_offset_s)), hello, "")
