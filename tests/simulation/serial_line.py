"""A simulated chip with the very firmware image beside the virtual loop, and its serial line to a simulated node."""

from __future__ import annotations

import asyncio
import contextvars
import struct
from collections.abc import Callable
from typing import Any

from eyeflow.board_link.frames import ANSWER, Receiver
from eyeflow.board_link.messages import Request
from eyeflow.mcu.sim.chip import Power, SimulatedChip
from simulation.loop import CURRENT, Process, SimLoop
from simulation.network import Network

SLICE_US = 2_000
"""While somebody listens, the chip stops this often to hand over what it has sent."""


class SerialLine:
    """Runs `chip` in the loop's time, and carries bytes between its port and the address `socket://HOST:1`.

    `is_cut`: nobody reaches it. It breaks once `bytes_left` have passed in both directions; negative: it does not.
    `openings` are what the node asked each time it had opened the line. `oldest`, `next` and `lost` are what the board said
    last of its records: the numbers of the oldest that waits and of the next one to come, and how many it lost.
    """

    def __init__(self, loop: SimLoop, network: Network, host: str, chip: SimulatedChip, port: int) -> None:
        self.chip, self.is_cut, self.bytes_left = chip, False, -1
        self.openings: list[list[Request]] = []
        self.oldest = self.next = self.lost = self.breaks = 0
        self._loop, self._port = loop, port
        self._begun_s = loop.time() - chip.time_us / 1e6
        self._end: _End | None = None
        network.lines[host] = self._open
        loop.beside = self._run_to

    @property
    def time_s(self) -> float:
        """The time of the chip, as the loop counts it."""
        return self._begun_s + self.chip.time_us / 1e6

    def _run_to(self, until_s: float) -> float:
        """Let the chip run to a moment, or until it says something. While it has no power its time stands still."""
        until_us = int((until_s - self._begun_s) * 1e6)
        while self.chip.time_us < until_us and self.chip.power is Power.ON:
            listens = self._end is not None
            self.chip.run(min(until_us, self.chip.time_us + SLICE_US) if listens else until_us)
            said = self.chip.serial_read(self._port)
            if said and self._end is not None:
                self._end.arrive(self._passed(said))
                return min(self.time_s, until_s)
        if self.chip.power is Power.OFF:
            self._begun_s += until_s - self.time_s
        return until_s

    def cut(self) -> None:
        """Pull the cable: who had the port open hears of that."""
        self.is_cut = True
        self._break()

    def mend(self) -> None:
        """Plug it in again."""
        self.is_cut = False

    def _break(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            self.breaks += 1
            end.lose(ConnectionResetError(104, "Connection reset by peer"))

    def _open(self, factory: Callable[[], Any]) -> Any:
        if self.is_cut or (self._end is not None and self._end.works):
            raise ConnectionRefusedError(111, "Connection refused")
        self.openings.append([])
        self._asked, self._answered = Receiver(), Receiver()
        self._end = _End(self, factory())
        return self._end, self._end.protocol

    def write(self, data: bytes) -> None:
        """Take what the node sends."""
        passed = self._passed(data)
        self.openings[-1] += [Request(frame.kind) for frame in self._asked.feed(passed)]
        self.chip.serial_write(self._port, passed)

    def _passed(self, data: bytes) -> bytes:
        """Return what of the bytes passes: the line breaks behind them when its last byte is among them."""
        if self.bytes_left >= 0:
            data = data[: self.bytes_left]
            self.bytes_left -= len(data)
            if self.bytes_left == 0:
                self.bytes_left = -1
                self._loop.call_soon(self._break, context=contextvars.Context())
        return data

    def said(self, data: bytes) -> None:
        """Read along what the board answers."""
        for frame in self._answered.feed(data):
            if frame.kind == Request.RECORDS_INFO | ANSWER:
                self.oldest, self.next, self.lost = struct.unpack_from("<III", frame.payload, 1)

    def closed(self, end: _End) -> None:
        """The node has given the port back."""
        if self._end is end:
            self._end = None


class _End(asyncio.Transport):
    """The line as the node's process sees it."""

    def __init__(self, line: SerialLine, protocol: Any) -> None:
        super().__init__()
        process = CURRENT.get()
        assert process is not None
        self._line, self.protocol, self._process = line, protocol, process
        self._context = contextvars.copy_context()
        self._closing = False
        protocol.connection_made(self)

    @property
    def works(self) -> bool:
        process: Process = self._process
        return process.works

    def arrive(self, data: bytes) -> None:
        """Hand over what the board sent."""
        if self.works:
            self._line.said(data)
            self._soon(self._hand_over, data)
        else:
            self._line.closed(self)

    def _hand_over(self, data: bytes) -> None:
        if not self._closing:
            self.protocol.data_received(data)

    def lose(self, error: Exception | None) -> None:
        """The line is gone."""
        if not self._closing:
            self._closing = True
            self._soon(self.protocol.connection_lost, error)

    def _soon(self, callback: Any, *args: Any) -> None:
        self._line._loop.call_soon(callback, *args, context=self._context)

    def write(self, data: Any) -> None:
        if not self._closing and self.works:
            self._process.effect(is_message=True)
            self._line.write(bytes(data))

    def close(self) -> None:
        self._line.closed(self)
        self.lose(None)

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        """The node reads no slower than a line of 115200 baud brings."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""

    def get_write_buffer_size(self) -> int:
        return 0
