"""What a host asks of a board, as conversations without I/O: generators of `session.Ask`. docs/serial-link.md."""

from __future__ import annotations

import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from eyeflow.base.errors import EyeflowError
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
    Slot,
)
from eyeflow.board_link.refusals import no_slots, not_kept, refusal
from eyeflow.board_link.session import Ask


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `eyeflow mcu status` shows; `counters` belong to `programs` one by one.

    `previous` are the programs that come back when those of `programs` fail, `staged` those that wait in second slots.
    """

    hello: Hello
    health: Health
    programs: tuple[Installed, ...]
    counters: tuple[Counters, ...]
    previous: tuple[Installed, ...] = ()
    staged: tuple[Installed, ...] = ()

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
    """Ask which programs run, by place."""
    slots = yield from _slots(hello)
    return slots[Slot.RUNNING]


def program_in(place: int) -> Generator[Ask, bytes, Installed | None]:
    """Ask which program runs in a place now; None: there is none."""
    fields = Fields((yield Ask(Request.INFO, bytes([place]))))
    return Installed.read(place, fields) if fields.code() == Code.OK else None


def _slots(hello: Hello) -> Generator[Ask, bytes, dict[Slot, tuple[Installed, ...]]]:
    """Ask what is installed in which slot, by place."""
    found: dict[Slot, list[Installed]] = {slot: [] for slot in Slot}
    for place in range(hello.places):
        fields = Fields((yield Ask(Request.INFO, bytes([place]))))
        code = fields.code()
        if code == Code.OK:
            found[Slot.RUNNING].append(Installed.read(place, fields))
        elif code != Code.UNKNOWN:
            raise refusal(code, hello)
        flags = fields.payload[1] if len(fields.payload) > 1 else 0  # older firmware says UNKNOWN and no flags
        for slot, bit in ((Slot.PREVIOUS, 2), (Slot.STAGED, 4)):
            if flags & bit:
                fields = Fields((yield Ask(Request.INFO, bytes([place, slot]))))
                if fields.code() == Code.OK:  # older firmware does not know the question
                    found[slot].append(Installed.read(place, fields))
    return {slot: tuple(programs) for slot, programs in found.items()}


def status(hello: Hello) -> Generator[Ask, bytes, Status]:
    """Ask how the board is, what it runs and what that did."""
    health = Health.read((yield from _accepted(Ask(Request.HEALTH), hello)))
    slots = yield from _slots(hello)
    installed = slots[Slot.RUNNING]
    counters = []
    for program in installed:
        ask = Ask(Request.COUNTERS, bytes([program.place]))
        counters.append(Counters.read((yield from _accepted(ask, hello))))
    return Status(hello, health, installed, tuple(counters), slots[Slot.PREVIOUS], slots[Slot.STAGED])


def _accepted(ask: Ask, hello: Hello, rule: str = "") -> Generator[Ask, bytes, Fields]:
    fields = Fields((yield ask))
    code = fields.code()
    if code != Code.OK:
        raise refusal(code, hello, rule=rule or "the program")
    return fields


def done(ask: Ask, hello: Hello, rule: str) -> Generator[Ask, bytes, None]:
    """Ask for something that has no answer but that it is done."""
    yield from _accepted(ask, hello, rule)


def exchange(request: Request, program_ids: Sequence[str], hello: Hello) -> Generator[Ask, bytes, None]:
    """SWITCH to staged programs, or go BACK to those before the running ones: all that are named, or none.

    Raises EyeflowError: `not_kept` when the board has one of them neither running nor in that slot.
    """
    ids = b"".join(bytes.fromhex(one) for one in program_ids)
    code = Fields((yield Ask(request, ids, slow=True))).code()
    if code == Code.UNKNOWN:
        raise not_kept(request is Request.SWITCH, program_ids)
    if code not in {Code.OK, Code.ALREADY}:
        raise _slot_refusal(code, hello)


def drop(program_id: str, hello: Hello) -> Generator[Ask, bytes, None]:
    """Give a staged program up; one that is not staged is given up already."""
    code = Fields((yield Ask(Request.DROP, bytes.fromhex(program_id), slow=True))).code()
    if code not in {Code.OK, Code.UNKNOWN}:
        raise _slot_refusal(code, hello)


def _slot_refusal(code: Code, hello: Hello) -> EyeflowError:
    return no_slots(hello) if code is Code.NOT_SUPPORTED else refusal(code, hello)


def ping(data: bytes) -> Generator[Ask, bytes, None]:
    """Ask for the same bytes back."""
    fields = Fields((yield Ask(Request.PING, data)))
    if fields.code() != Code.OK or fields.take(fields.left) != data:
        raise MalformedAnswerError("the board sent other bytes back")


def set_time(time_us: int, utc_offset_s: int, hello: Hello) -> Generator[Ask, bytes, None]:
    """Tell the wall-clock time, in microseconds since 1970 UTC."""
    yield from done(Ask(Request.TIME, struct.pack("<Qi", time_us, utc_offset_s)), hello, "")
