"""A board at a serial port: `/dev/ttyACM0`, a pseudo-terminal, `socket://host:port`. The home of pyserial."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link import conversations, failures, push, records
from eyeflow.board_link.conversations import Status
from eyeflow.board_link.messages import (
    Code,
    Hello,
    Installed,
    MalformedAnswerError,
    Request,
    text,
)
from eyeflow.board_link.push import Pushed
from eyeflow.board_link.questions import answer_payload
from eyeflow.board_link.refusals import refusal
from eyeflow.board_link.session import Ask, Heard, Line, NoAnswerError, Patience

if TYPE_CHECKING:
    import serial

BAUD = 115200
POLL_S = 0.02
PORTS_SHOWN_MAX = 8
NAME_BYTES_MAX = 63
UNKNOWN_RULE = "unknown_rule"
READ_BYTES_MAX = 4096

T = TypeVar("T")


class Board:
    """A board that runs eyeflow firmware. Use it as a context manager, or call `close`.

    Every failure is an EyeflowError with its cause and the next step. `on_heard` is called with what the board says
    unasked (log lines, LLM requests, telemetry) as it arrives.
    """

    def __init__(
        self,
        url: str,
        *,
        baud: int = BAUD,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_heard: Callable[[Heard], None] | None = None,
    ) -> None:
        self.url = url
        self.baud = baud
        self._clock = clock
        self._on_heard = on_heard
        self._line = Line(patience or Patience())
        self._port = open_port(url, baud)
        self._hello: Hello | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back."""
        # When the other end is gone, pyserial's socket:// forgets its socket without closing it.
        peer = getattr(self._port, "_socket", None)
        self._port.close()
        if peer is not None:
            peer.close()

    @property
    def hello(self) -> Hello:
        """Who the board is; asked once."""
        if self._hello is None:
            self._hello = self._converse(conversations.hello(self.url))
        return self._hello

    def push(self, program: bytes, progress: push.Progress | None = None) -> push.Pushed:
        """Send a `.svm` file and let the board run it; the board goes on scanning meanwhile.

        A transfer that was interrupted goes on where it stopped; a program that the board has is success at once.
        """
        return self._converse(push.push(program, self.hello, progress or _no_progress))

    def stage(self, program: bytes) -> Pushed:
        """Send a `.svm` file that waits on the board beside the running program of its rule, until `switch`."""
        return self._converse(push.push(program, self.hello, _no_progress, staged=True))

    def switch(self, *program_ids: str) -> None:
        """Run staged programs, all from the same scan on. Raises EyeflowError: `not_kept`."""
        self._converse(conversations.exchange(Request.SWITCH, program_ids, self.hello))

    def back(self, *program_ids: str) -> None:
        """Run the programs before the running ones again. Raises EyeflowError: `not_kept`."""
        self._converse(conversations.exchange(Request.BACK, program_ids, self.hello))

    def drop(self, program_id: str) -> None:
        """Give a staged program up."""
        self._converse(conversations.drop(program_id, self.hello))

    def list(self) -> tuple[Installed, ...]:
        """Return the programs on the board, by place."""
        return self._converse(conversations.programs(self.hello))

    def status(self) -> Status:
        """Return who the board is, how it is, what it runs and what that did."""
        return self._converse(conversations.status(self.hello))

    def remove(self, rule: str) -> None:
        """Remove a rule; programs of it that are older than the last one stay refused."""
        if rule not in {program.rule for program in self.list()}:
            raise refusal(Code.UNKNOWN, self.hello, rule=rule)
        resent = self._line.resent
        try:
            self._converse(conversations.done(Ask(Request.REMOVE, text(rule), slow=True), self.hello, rule))
        except EyeflowError as error:
            # It was there. When the answer was lost and the request sent again, it is gone because of the first one.
            if error.code != UNKNOWN_RULE or self._line.resent == resent:
                raise

    def set_param(self, rule: str, index: int, value: bool | int | float) -> None:
        """Set a parameter of a rule by its index in the program."""
        if len(rule.encode()) > NAME_BYTES_MAX:
            raise refusal(Code.UNKNOWN, self.hello, rule=rule)
        bits = struct.pack("<d", value) if isinstance(value, float) else struct.pack("<q", value)
        ask = Ask(Request.SET_PARAM, text(rule) + bytes([index]) + bits, slow=True)
        self._converse(conversations.done(ask, self.hello, rule))

    def set_time(self, time_us: int, utc_offset_s: int = 0) -> None:
        """Tell the board the wall-clock time, in microseconds since 1970 UTC."""
        self._converse(conversations.set_time(time_us, utc_offset_s, self.hello))

    def ping(self, data: bytes = b"") -> float:
        """Return the seconds until the board sent these bytes (up to 64) back."""
        start_s = self._clock()
        self._converse(conversations.ping(data))
        return self._clock() - start_s

    def records(self) -> records.RecordBatch:
        """Return the execution records that wait on the board, checked against its chain. See `acknowledge`."""
        return self._converse(records.read_records())

    def acknowledge(self, next_sequence: int) -> None:
        """Let the board forget the records before this number; call it when they are safely stored.

        A board that was restarted in between numbers from 0 again: nothing is forgotten then (EyeflowError).
        """
        hello = self.hello
        if self._converse(conversations.hello(self.url)).boot != hello.boot:
            raise failures.restarted(self.url)
        self._converse(records.acknowledge(next_sequence))

    def answer_llm(self, number: int, answer: str | int | None) -> None:
        """Answer an LLM request of the board: a text of at most 126 bytes for `llm.complete`, the ordinal of the member
        for `llm.classify`; None says that the model failed. An answer that comes too late changes nothing.
        """
        self._converse(conversations.done(Ask(Request.LLM_ANSWER, answer_payload(number, answer)), self.hello, ""))

    def listen(self, seconds: float) -> Iterator[Heard]:
        """Yield what the board says unasked, for so long."""
        end_s = self._clock() + seconds
        while True:
            while self._line.heard:
                yield self._line.heard.popleft()
            if self._clock() >= end_s:
                return
            self._receive()

    def _converse(self, conversation: Generator[Ask, bytes, T]) -> T:
        answer: bytes | None = None
        try:
            while True:
                ask = next(conversation) if answer is None else conversation.send(answer)
                answer = self._exchange(ask)
        except StopIteration as stop:
            value: T = stop.value
            return value
        except MalformedAnswerError as error:
            raise failures.malformed(self.url, error) from error

    def _exchange(self, ask: Ask) -> bytes:
        self._send(self._line.start(ask, self._clock()))
        while self._line.answer is None:
            self._receive()
            try:
                again = self._line.poll(self._clock())
            except NoAnswerError as error:
                raise failures.silent(self.url, self.baud, self._line.receiver, ask) from error
            if again and self._line.answer is None:
                self._send(again)
        return self._line.answer

    def _send(self, data: bytes) -> None:
        with failures.port_lost(self.url, heard=self._line.receiver.good > 0):
            self._port.write(data)
            self._port.flush()

    def _receive(self) -> None:
        with failures.port_lost(self.url, heard=self._line.receiver.good > 0):
            data = self._port.read(min(max(self._port.in_waiting, 1), READ_BYTES_MAX))
        self._line.feed(data)
        while self._on_heard is not None and self._line.heard:
            self._on_heard(self._line.heard.popleft())


@dataclass(frozen=True, slots=True)
class FoundPort:
    """A serial port of this machine; `usb_serial` and `product` are empty for one that is not on USB."""

    device: str
    usb_serial: str = ""
    product: str = ""


def found_ports() -> tuple[FoundPort, ...]:
    """Return the serial ports of this machine, by device. Nothing is sent to them."""
    from serial.tools.list_ports import comports

    found = (FoundPort(one.device, one.serial_number or "", one.product or "") for one in comports())
    return tuple(sorted(found, key=lambda port: port.device))


def serial_ports() -> list[str]:
    """Return the serial ports of this machine by name, so many as people read."""
    return [port.device for port in found_ports()][:PORTS_SHOWN_MAX]


def open_port(url: str, baud: int) -> serial.Serial:
    """Open a port for this process alone; raises EyeflowError with the cause and the next step."""
    import serial

    with failures.port_closed(url):
        port = serial.serial_for_url(url, do_not_open=True)
        port.baudrate = baud
        port.timeout = POLL_S
        port.write_timeout = None if "://" in url else 5.0
        if "://" not in url:
            port.exclusive = True
        port.open()
    return port


def _no_progress(done_bytes: int, total_bytes: int) -> None:
    """Nobody wants to know."""


__all__ = ["BAUD", "Board", "EyeflowError", "Patience", "Status", "serial_ports"]
