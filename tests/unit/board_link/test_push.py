"""Pushing and reading records as conversations without I/O, against boards that restart, stall, lie and lose records."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import Code, Hello, Request
from eyeflow.board_link.push import RESTARTS_MAX, WAITS_MAX, push
from eyeflow.board_link.records import read_records
from eyeflow.board_link.session import Ask
from eyeflow.compiler.catalog import Catalog
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.protocol.board_records import next_chain
from eyeflow.svm.container import encode

T = TypeVar("T")
HELLO = Hello(1, 1, 4, 7320, 1, False, False, "01" * 8, "a0" * 8, 9, "STM32F401CC", "0.1.0")
RULE = 'rule lamp {\n    version "1.0.0"\n    pin LAMP: output\n    on every 1s\n    gpio.set_pin(LAMP, HIGH)\n}\n'


def program() -> bytes:
    result = compile_rule(RULE, name="lamp.eye", catalog=Catalog.builtin(), options=CompileOptions())
    assert result.program is not None
    return encode(result.program)


def talk(conversation: Generator[Ask, bytes, T], answer: Callable[[Ask], bytes]) -> T:
    """Carry a conversation to its end; a bound keeps a fault from running for ever."""
    reply: bytes | None = None
    for _ in range(2 * WAITS_MAX):
        try:
            ask = next(conversation) if reply is None else conversation.send(reply)
        except StopIteration as stop:
            value: T = stop.value
            return value
        reply = answer(ask)
    raise AssertionError("the conversation has no end")


@dataclass
class ModelBoard:
    """Takes any program; forgets the transfer after so many pieces, for the first `restarts` times."""

    restarts: int = 0
    pieces: int = 1
    waits: int = 2
    received: bytearray = field(default_factory=bytearray)
    begun: int = 0

    def answer(self, ask: Ask) -> bytes:
        if ask.request == Request.PUSH_BEGIN:
            return self.begin()
        if ask.request == Request.PUSH_DATA:
            return self.data(ask.payload)
        assert ask.request == Request.PUSH_END
        return struct.pack("<BBIB", Code.OK, 0, 0, 0)

    def begin(self) -> bytes:
        if self.waits:
            self.waits -= 1
            return struct.pack("<BQ", Code.WAIT, self.waits)
        self.begun += 1
        return struct.pack("<BQ", Code.OK, len(self.received))

    def data(self, payload: bytes) -> bytes:
        (offset,) = struct.unpack_from("<I", payload)
        if self.restarts and len(self.received) >= 112 * self.pieces:
            self.restarts -= 1
            self.received.clear()
            return struct.pack("<BI", Code.NO_TRANSFER, 0)
        if offset != len(self.received):
            return struct.pack("<BI", Code.OFFSET, len(self.received))
        self.received += payload[4:]
        return struct.pack("<BI", Code.OK, len(self.received))


def test_a_push_waits_sends_and_ends() -> None:
    board = ModelBoard()
    pushed = talk(push(program(), HELLO, lambda done, total: None), board.answer)
    assert (pushed.rule, pushed.already, pushed.resumed_from_bytes) == ("lamp", False, 0)
    assert pushed.sent_bytes == len(board.received) < len(program())


def test_a_board_that_restarts_gets_the_program_again() -> None:
    board = ModelBoard(restarts=RESTARTS_MAX - 1)
    talk(push(program(), HELLO, lambda done, total: None), board.answer)
    assert board.begun == RESTARTS_MAX


def test_a_board_that_restarts_for_ever_is_given_up() -> None:
    with pytest.raises(EyeflowError) as caught:
        talk(push(program(), HELLO, lambda done, total: None), ModelBoard(restarts=99).answer)
    assert caught.value.code == "no_transfer"


def test_a_transfer_goes_on_where_the_board_says() -> None:
    board = ModelBoard()
    first = push(program(), HELLO, lambda done, total: None)
    reply = board.answer(next(first))
    for _ in range(5):
        reply = board.answer(first.send(reply))
    held = len(board.received)
    assert held > 0
    pushed = talk(push(program(), HELLO, lambda done, total: None), board.answer)
    assert pushed.resumed_from_bytes == held


@pytest.mark.parametrize(("delegates", "told"), [(True, "keeps half of its memory"), (False, "do not fit.")])
def test_a_program_that_fits_the_flash_and_not_the_memory_is_refused_without_a_misleading_size(
    delegates: bool, told: str
) -> None:
    board = ModelBoard()

    def full(ask: Ask) -> bytes:
        return struct.pack("<BBIB", Code.TOO_BIG, 0, 0, 0) if ask.request == Request.PUSH_END else board.answer(ask)

    with pytest.raises(EyeflowError) as caught:
        talk(push(program(), replace(HELLO, delegates_llm=delegates), lambda done, total: None), full)
    assert (caught.value.code, int(caught.value.exit_code)) == ("program_too_big", 1)
    assert "more memory than this board has" in caught.value.message and "bytes" not in caught.value.message
    assert caught.value.cause.endswith(told) or told in caught.value.cause


@pytest.mark.parametrize("code", [Code.OFFSET, Code.WAIT, Code.STORAGE])
def test_a_board_that_never_gets_on_is_given_up(code: Code) -> None:
    def stuck(ask: Ask) -> bytes:
        if ask.request == Request.PUSH_BEGIN:
            return struct.pack("<BQ", Code.WAIT if code == Code.WAIT else Code.OK, 0)
        return struct.pack("<BI", code, 0)

    with pytest.raises(EyeflowError):
        talk(push(program(), HELLO, lambda done, total: None), stuck)


@dataclass
class Ring:
    """A ring of records; `loses` records vanish from its start at each read, `lie` changes one on the way."""

    records: list[bytes]
    loses: int = 0
    lie: bool = False
    oldest: int = 0

    def chained(self, end: int) -> bytes:
        head = bytes(32)
        for number, raw in enumerate(self.records[:end]):
            head = next_chain(head, number, raw)
        return head

    def answer(self, ask: Ask) -> bytes:
        count = len(self.records)
        if ask.request == Request.RECORDS_INFO:
            ends = self.chained(self.oldest) + self.chained(count)
            return struct.pack("<BIII", Code.OK, self.oldest, count, self.oldest) + ends
        assert ask.request == Request.RECORDS_READ
        (wanted,) = struct.unpack("<I", ask.payload)
        if self.loses and self.oldest + self.loses < count:
            self.oldest += self.loses
        first = max(wanted, self.oldest)
        raw = bytearray(self.records[first])
        if self.lie:
            raw[-1] ^= 1
        return struct.pack("<BIB", Code.OK, first, len(raw)) + raw


RECORDS = [b"\x09" + struct.pack("<I", number) for number in range(12)]


def test_records_come_in_order_with_their_chain() -> None:
    batch = talk(read_records(), Ring(RECORDS, oldest=5).answer)
    assert [record.raw for record in batch.records] == RECORDS[5:]
    assert [record.sequence for record in batch.records] == list(range(5, 12))
    assert (batch.lost, batch.next_sequence) == (5, 12)
    assert batch.records[0].execution is None, "a record of another kind"


def test_the_chain_is_the_one_of_the_page() -> None:
    assert next_chain(bytes(32), 7, b"abc") == hashlib.sha256(bytes(32) + b"\x07\0\0\0abc").digest()


def test_a_changed_record_is_noticed() -> None:
    with pytest.raises(EyeflowError) as caught:
        talk(read_records(), Ring(RECORDS, lie=True).answer)
    assert caught.value.code == "broken_chain"


def test_records_that_vanish_while_they_are_read_are_read_again() -> None:
    batch = talk(read_records(), Ring(RECORDS, loses=10).answer)
    assert [record.sequence for record in batch.records] == [10, 11]


def test_a_ring_that_always_runs_away_is_given_up() -> None:
    with pytest.raises(EyeflowError) as caught:
        talk(read_records(), Ring(RECORDS * 5, loses=1).answer)
    assert caught.value.code == "records_lost"
