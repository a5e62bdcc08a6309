"""`on serial "scale"`: a JSON object per line from a serial port; the home of pyserial."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.base.reasons import why
from eyeflow.node.backoff import FIRST_S, Backoff
from eyeflow.node.io.payloads import UnreadablePayload, decode_object
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription
from eyeflow.node.io.serial.settings import SerialPort

if TYPE_CHECKING:
    from serial import Serial

LINES_MAX = 1024
"""Lines read and not yet handed over, of one port; a full queue stops reading: the kernel and then the sender wait."""
NO_RULE = "no rule listens"
READ_TIMEOUT_S = 0.2
READ_BYTES = 4096


class SerialSource:
    """Reads each configured port that a rule listens to; opens it again, with backoff, when it goes away."""

    def __init__(
        self, lines: Mapping[str, SerialPort], clock: NowUs = wall_clock_us, backoff_first_s: float = FIRST_S
    ) -> None:
        self._lines = lines
        self._backoff_first_s = backoff_first_s
        self._clock = clock
        self._subscriptions: tuple[Subscription, ...] = ()
        self._changed = asyncio.Event()
        self.status = PortStatus("serial", "up", NO_RULE, {"lines": 0, "opens": 0})
        self._ports = self.status.parts
        """Each port that a rule listens to."""

    def _tell(self, name: str = "", state: str = "", detail: str = "") -> None:
        """Note how one port does and show all: a port that works must not hide one that failed."""
        if name:
            self._ports[name] = PortStatus(f"serial {name}", state, detail)
        ports = self._ports.values()
        worst = next((port.state for port in ports if port.state == "failed"), "up")
        self.status.state = worst
        self.status.detail = "; ".join(port.detail for port in ports if port.state == worst) or NO_RULE

    def update(self, subscriptions: Collection[Subscription]) -> None:
        """Replace the wanted set; see `Source`."""
        self._subscriptions = tuple(subscriptions)
        self._changed.set()

    async def run(self, deliver: Deliver) -> None:
        """Run until cancelled."""
        readers: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                wanted = {s.address for s in self._subscriptions} & self._lines.keys()
                for name in readers.keys() - wanted:
                    readers.pop(name).cancel()
                    self._ports.pop(name, None)
                self._tell()
                for name in wanted - readers.keys():
                    readers[name] = group.create_task(self._read(name, deliver))
                await self._changed.wait()

    async def _read(self, name: str, deliver: Deliver) -> None:
        backoff = Backoff(first_s=self._backoff_first_s)
        while True:
            try:
                await self._read_open_port(name, deliver, backoff)
            except OSError as error:
                delay_s = backoff.next_s()
                self._tell(name, "failed", f"{self._lines[name].device}: {why(error)}; next attempt in {delay_s:.1f}s")
                await asyncio.sleep(delay_s)

    async def _read_open_port(self, name: str, deliver: Deliver, backoff: Backoff) -> None:
        config = self._lines[name]
        port = await asyncio.to_thread(_open, config)
        backoff.reset()
        self._tell(name, "up", config.device)
        self.status.counters["opens"] += 1
        reader = _LineReader(port, config.line_bytes_max)
        try:
            while True:
                await self._deliver(name, await reader.next_line(), deliver)
        finally:
            reader.stop()

    async def _deliver(self, name: str, line: bytes, deliver: Deliver) -> None:
        if not line.strip():
            return
        self.status.counters["lines"] += 1
        payload: Mapping[str, object] = {}
        rejected = ""
        try:
            payload = decode_object(line, self._lines[name].line_bytes_max)
        except UnreadablePayload as error:
            rejected = str(error)
        now_us = self._clock()
        for subscription in [s for s in self._subscriptions if s.address == name]:
            await deliver(IncomingEvent(subscription, payload, now_us, None, rejected))


def _open(config: SerialPort) -> Serial:
    """Open a port; its errors are OSErrors. A node without serial ports loads no library for them."""
    from serial import Serial

    return Serial(config.device, config.baud, timeout=READ_TIMEOUT_S)


class _LineReader:
    """A thread that cuts what it reads into lines: pyserial blocks, and not every platform can poll its ports."""

    def __init__(self, port: Serial, line_bytes_max: int) -> None:
        self._port = port
        self._line_bytes_max = line_bytes_max
        self._lines: queue.Queue[bytes | Exception] = queue.Queue(LINES_MAX)
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"serial {port.port}", daemon=True)
        self._thread.start()

    async def next_line(self) -> bytes:
        """Return the next line without its end; raises what the port raised."""
        while True:
            self._ready.clear()
            try:
                item = self._lines.get_nowait()
            except queue.Empty:
                await self._ready.wait()
                continue
            if isinstance(item, Exception):
                raise item
            return item

    def stop(self) -> None:
        """End the thread, which closes the port."""
        self._stopped.set()

    def _run(self) -> None:
        buffer, too_long = b"", False
        try:
            while not self._stopped.is_set():
                *lines, buffer = (buffer + self._read()).split(b"\n")
                if too_long and lines:
                    lines, too_long = lines[1:], False  # the rest of that line is no line of its own
                if too_long:
                    buffer = b""
                elif len(buffer) > self._line_bytes_max:
                    # Handed over too long as it is: it becomes a rejected event that says so.
                    lines, buffer, too_long = [*lines, buffer], b"", True
                for line in lines:
                    self._put(line)
        except OSError as error:
            self._put(error)
        except Exception as error:  # pyserial's ways to say that a port went away; else the source would wait for ever
            self._put(OSError(f"the port failed: {why(error)}"))
        finally:
            self._port.close()

    def _read(self) -> bytes:
        return bytes(self._port.read(min(self._port.in_waiting or 1, READ_BYTES)))

    def _put(self, item: bytes | Exception) -> None:
        while not self._stopped.is_set():
            try:
                self._lines.put(item, timeout=READ_TIMEOUT_S)
            except queue.Full:
                continue
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._ready.set)
            return
