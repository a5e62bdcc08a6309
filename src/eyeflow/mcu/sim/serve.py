"""Runs a simulated chip in real time with its serial line on a socket or a pseudo-terminal, as `mcu push` uses it."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Event

from eyeflow.mcu.sim.chip import Power, SimulatedChip
from eyeflow.mcu.sim.endpoints import Endpoint
from eyeflow.mcu.sim.events import SerialText, SimEvent

SLICE_US = 2_000
"""Virtual time between two looks at the serial line."""

LAG_US_MAX = 250_000
"""A machine that falls further behind than this lets virtual time run late instead of catching up."""

LINE_BYTES_MAX = 4096
TEXT_LINE_BYTES_MAX = 512

Command = Callable[[SimulatedChip], None]


class SimServer:
    """Paces a chip by the wall clock and carries bytes between one of its serial ports and an endpoint.

    `speed` 2 runs twice as fast as real. `events()` does the work and yields what happens until `stop()`; other threads
    act on the chip through `post`.
    """

    def __init__(self, chip: SimulatedChip, endpoint: Endpoint, link_port: int, speed: float = 1.0) -> None:
        self.chip, self.endpoint, self.link_port, self.speed = chip, endpoint, link_port, speed
        self.url = endpoint.url
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._stopped = Event()
        self._lines: dict[int, bytearray] = {port: bytearray() for port in chip.serial_ports if port != link_port}

    def post(self, command: Command) -> None:
        """Let the serving thread do something to the chip between two slices; safe from any thread."""
        self._commands.put(command)

    def stop(self) -> None:
        """End `events()`; safe from any thread and from a signal handler."""
        self._stopped.set()

    def events(self) -> Iterator[SimEvent]:
        """Run until stopped and yield each event soon after it has happened."""
        wall, virtual = time.monotonic(), self.chip.time_us
        while not self._stopped.is_set():
            due_us = virtual + int((time.monotonic() - wall) * 1e6 * self.speed)
            if due_us - self.chip.time_us > LAG_US_MAX or self.chip.power is Power.OFF:
                wall, virtual = time.monotonic(), self.chip.time_us
            self.chip.run(min(due_us, self.chip.time_us + SLICE_US))
            self._run_commands()
            self._exchange()
            yield from self.chip.take_events()
            yield from self._texts()
            if self.chip.time_us >= due_us or self.chip.power is Power.OFF:
                self._wait()

    def _run_commands(self) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except Empty:
                return
            command(self.chip)

    def _exchange(self) -> None:
        self.endpoint.send(self.chip.serial_read(self.link_port))
        if self.chip.serial_waiting(self.link_port) < LINE_BYTES_MAX:
            data = self.endpoint.receive()
            if data:
                self.chip.serial_write(self.link_port, data)

    def _wait(self) -> None:
        files = self.endpoint.files() if self.chip.serial_waiting(self.link_port) < LINE_BYTES_MAX else []
        select.select(files, [], [], SLICE_US / 1e6 / max(self.speed, 1.0))

    def _texts(self) -> Iterator[SimEvent]:
        for port, line in self._lines.items():
            line += self.chip.serial_read(port)
            while b"\n" in line or len(line) >= TEXT_LINE_BYTES_MAX:
                text, _, rest = line.partition(b"\n")
                line[:] = rest
                yield SerialText(self.chip.time_us, f"UART{port}", text.decode("utf-8", "replace").rstrip("\r"))

    def close(self) -> None:
        """Close endpoint and chip."""
        self.endpoint.close()
        self.chip.close()
