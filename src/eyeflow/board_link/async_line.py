"""The line to a board on an event loop: conversations one after another, and nothing blocks the loop.

A daemon that owns the ports of many boards uses this; a command uses `port.Board`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urlsplit

from eyeflow.board_link import failures
from eyeflow.board_link.messages import MalformedAnswerError
from eyeflow.board_link.port import open_port
from eyeflow.board_link.session import Ask, Heard, Line, NoAnswerError, Patience

if TYPE_CHECKING:
    from serial import Serial

OPEN_S = 10.0
READ_BYTES_PER_S_MIN = 32 * 1024
"""A board that floods the line is read no faster than this, or twice its baud rate: others share the loop."""
BITS_PER_BYTE = 10
WRITE_BYTES_MAX = 1024
"""What may wait for a port that takes nothing: a few questions. A system's own buffer stands before that."""

T = TypeVar("T")


class AsyncLine:
    """An open line. `on_heard` gets what the board says unasked. Use `open` and `close`."""

    def __init__(self, url: str, baud: int, patience: Patience, on_heard: Callable[[Heard], None]) -> None:
        self.url, self.baud = url, baud
        self.line = Line(patience)
        self._on_heard = on_heard
        self._busy = asyncio.Lock()
        self._arrived = asyncio.Event()
        self._wire = _Wire(self._feed, max(READ_BYTES_PER_S_MIN, 2 * baud // BITS_PER_BYTE))

    @classmethod
    async def open(
        cls,
        url: str,
        baud: int,
        patience: Patience | None = None,
        on_heard: Callable[[Heard], None] = lambda heard: None,
    ) -> Self:
        """Open a device such as /dev/ttyACM0, or socket://HOST:PORT. Raises EyeflowError with cause and next step."""
        made = cls(url, baud, patience or Patience(), on_heard)
        await made._wire.connect(url, baud)
        return made

    def close(self) -> None:
        """Give the port back."""
        self._wire.close()

    async def converse(self, conversation: Generator[Ask, bytes, T]) -> T:
        """Return what a conversation ends with; whoever asks meanwhile waits. Raises EyeflowError for each failure."""
        answer: bytes | None = None
        async with self._busy:
            try:
                while True:
                    ask = next(conversation) if answer is None else conversation.send(answer)
                    answer = await self._exchange(ask)
            except StopIteration as stop:
                value: T = stop.value
                return value
            except MalformedAnswerError as error:
                raise failures.malformed(self.url, error) from error

    async def _exchange(self, ask: Ask) -> bytes:
        now_s = asyncio.get_running_loop().time
        self._send(self.line.start(ask, now_s()))
        while self.line.answer is None:
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(self.line.deadline_s):
                    await self._arrived.wait()
            except TimeoutError:
                pass
            self._check()
            if self.line.answer is None:
                self._send(self._again(ask, now_s()))
        return self.line.answer

    def _again(self, ask: Ask, now_s: float) -> bytes:
        try:
            return self.line.poll(now_s)
        except NoAnswerError as error:
            raise failures.silent(self.url, self.baud, self.line.receiver, ask) from error

    def _send(self, data: bytes) -> None:
        self._check()
        if data:
            self._wire.write(data)
            self._check()

    def _check(self) -> None:
        if self._wire.lost is not None:
            with failures.port_lost(self.url, heard=self.line.receiver.good > 0):
                raise self._wire.lost

    def _feed(self, data: bytes) -> None:
        self.line.feed(data)
        while self.line.heard:
            self._on_heard(self.line.heard.popleft())
        self._arrived.set()


class _Wire(asyncio.Protocol):
    """The bytes of a line: a socket, or a terminal whose two directions are a pipe each. `lost` is why it ended."""

    def __init__(self, on_bytes: Callable[[bytes], None], bytes_per_s: int) -> None:
        self.lost: OSError | None = None
        self._on_bytes, self._bytes_per_s = on_bytes, bytes_per_s
        self._reading: asyncio.ReadTransport | None = None
        self._writing: asyncio.WriteTransport | None = None
        self._port: Serial | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._free_s = 0.0

    async def connect(self, url: str, baud: int) -> None:
        with failures.port_closed(url):
            async with asyncio.timeout(OPEN_S):
                if url.startswith("socket://"):
                    await self._connect_socket(url)
                    return
        await self._connect_terminal(url, baud)

    async def _connect_socket(self, url: str) -> None:
        place = urlsplit(url)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: self, place.hostname or "", place.port or 0)
        self._reading = self._writing = transport

    async def _connect_terminal(self, url: str, baud: int) -> None:
        port = await asyncio.to_thread(open_port, url, baud)  # a driver may take its time
        self._port = port
        loop = asyncio.get_running_loop()
        with failures.port_closed(url), ExitStack() as opened:
            opened.callback(self.close)
            # Each transport closes its own descriptor; the lock of the port lasts until all of them are closed.
            ends = [opened.enter_context(os.fdopen(os.dup(port.fileno()), mode, 0)) for mode in ("rb", "wb")]
            self._reading, _ = await loop.connect_read_pipe(lambda: self, ends[0])
            self._writing, _ = await loop.connect_write_pipe(lambda: _End(self), ends[1])
            opened.pop_all()

    def data_received(self, data: bytes) -> None:
        """Hand bytes on, and let a line wait that brings more than it may for long."""
        loop = asyncio.get_running_loop()
        self._free_s = max(self._free_s, loop.time() - 1.0) + len(data) / self._bytes_per_s
        wait_s = self._free_s - loop.time()
        if wait_s > 0 and self._reading is not None and self._resuming is None:
            self._reading.pause_reading()
            self._resuming = loop.call_later(wait_s, self._resume)
        self._on_bytes(data)

    def _resume(self) -> None:
        self._resuming = None
        if self._reading is not None and not self._reading.is_closing():
            self._reading.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep why it ended, and wake who waits for an answer."""
        if self.lost is None:
            self.lost = exc if isinstance(exc, OSError) else OSError("the other end hung up")
        self._on_bytes(b"")

    def writing_ended(self, exc: Exception | None) -> None:
        """The writing direction is closed: asyncio fails when such a transport is aborted once more."""
        self._writing = None
        self.connection_lost(exc)

    def write(self, data: bytes) -> None:
        """Send, or be lost when the other end takes nothing."""
        assert self._writing is not None
        if self._writing.get_write_buffer_size() + len(data) <= WRITE_BYTES_MAX:
            self._writing.write(data)
            return
        from serial import SerialTimeoutException

        self.lost = SerialTimeoutException("the port takes no more bytes")

    def close(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
        if self._writing is not None:
            self._writing.abort()  # a line that takes no more bytes would keep it open for ever
        if self._reading is not None:
            self._reading.close()
        if self._port is not None:
            self._port.close()


class _End(asyncio.BaseProtocol):
    """The writing direction of a terminal: its end is that of the line."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.writing_ended(exc)
